"""The lock under any interleaving of two executions."""

import boto3
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from moto import mock_aws

from functions.shared.errors import LockLost
from functions.shared.lock import ExecutionLock
from tests.statemachine.engine import REGION, TABLE, create_table

LEASE = 600
EXECUTIONS = st.sampled_from(["arn:a", "arn:b"])


class TwoExecutions(RuleBasedStateMachine):
    """Two executions use one lock, each knowing only what its own calls told it, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.aws = mock_aws()
        self.aws.start()
        client = boto3.client("dynamodb", region_name=REGION)
        create_table(client)
        self.now = 1_800_000_000.0
        self.lock = ExecutionLock(client, TABLE, LEASE, lambda: self.now)
        self.held_until: dict[str, float] = {}

    @rule(execution=EXECUTIONS)
    def acquire(self, execution: str) -> None:
        if self.lock.acquire(execution) is None:
            self.held_until[execution] = self.now + LEASE
        else:
            self.held_until.pop(execution, None)

    @rule(execution=EXECUTIONS)
    def renew(self, execution: str) -> None:
        try:
            self.lock.renew(execution)
            self.held_until[execution] = self.now + LEASE
        except LockLost:
            self.held_until.pop(execution, None)

    @rule(execution=EXECUTIONS)
    def release(self, execution: str) -> None:
        self.lock.release(execution)
        self.held_until.pop(execution, None)

    @rule(seconds=st.sampled_from([0.5, 1, LEASE - 1, LEASE, LEASE + 1, 2 * LEASE]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def at_most_one_live_owner(self) -> None:
        live = [execution for execution, until in self.held_until.items() if self.now < until]
        assert len(live) <= 1

    @invariant()
    def a_live_owner_is_the_one_in_the_table(self) -> None:
        holder = self.lock.holder()
        for execution, until in self.held_until.items():
            if self.now < until:
                assert holder is not None
                assert holder.owner == execution

    def teardown(self) -> None:
        self.aws.stop()


TestLockProperty = TwoExecutions.TestCase
TestLockProperty.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
