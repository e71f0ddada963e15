"""Least privilege of what comes with an organization, proved as that of everything else.

The roles that are there without one are looked at for what they may do more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.e2e.conftest import Deployment, deployed
from tests.e2e.permissions import (
    EVIDENCE_SECONDS,
    Account,
    Permission,
    denials,
    item_by_item,
    needed,
    unprovable,
    without_all,
)
from tests.e2e.test_permissions import ROLES as ROLES_WITHOUT_ONE
from tests.local_aws.aws import faults, fleet, organization
from tests.local_aws.run import scan
from tests.local_aws.run.scan import Execution
from tests.support.waiting import awaited

USERS = 3
VARIABLES = {
    "schedule_enabled": "false",
    "lambda_timeout": "6",
    "organization_enabled": "true",
    "member_external_id": "the-monitor",
}
STEPS = ("list-accounts", "summarize-accounts", "fail-organization")
MACHINE = "organization"
NEW = (*STEPS, MACHINE)

UNPROVABLE = unprovable(STEPS, MACHINE)
ITEM_BY_ITEM = item_by_item(("list-accounts",))
RULE_ACTIONS = ("events:DescribeRule", "events:PutRule", "events:PutTargets")

SCENARIOS = {
    "list-accounts": ("fleet_scan", "failed_and_redriven_fleet_scan", "late_fleet_calls"),
    "summarize-accounts": ("failed_and_redriven_fleet_scan", "unrecorded_fleet_scan", "late_fleet_calls"),
    "fail-organization": ("failed_and_redriven_fleet_scan",),
    "organization": ("fleet_scan", "failed_and_redriven_fleet_scan", "stopped_fleet_scan", "deployment_of_the_machine"),
    "clean-up": ("stopped_fleet_scan",),
    "schedule": ("tick",),
    "list-users": ("fleet_scan",),
    "read-posture": ("fleet_scan",),
}


class Organization(Account):
    """A deployment that scans its own account, and one more."""

    scheduled_machine = "organization_state_machine_arn"

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment)
        made = fleet.make(deployment.aws, 1, USERS, deployment.outputs["member_role_trust"])
        self.member, *others = [one.account_id for one in made.members]
        # Only denials that a missing permission makes.
        organization.found(deployment.aws, left=others)
        self._table = {"TableName": deployment.outputs["dynamodb_table_name"]}

    def more_than_without(self, role: str) -> list[Permission]:
        """Return what a role may do only because there is an organization; all of one that is there only then."""
        return [
            one
            for one in self.permissions(role)
            if role in NEW or "-organization" in one.resource or one.action == "sts:AssumeRole"
        ]

    def fleet_scan(self) -> str:
        """Scan both accounts."""
        return self.told(self._run())

    def failed_and_redriven_fleet_scan(self) -> str:
        """Scan them, which fails, mend the cause, and redrive it."""
        faults.inject(self.deployment.aws, faults.fault("lambda:list_users", "error"))
        execution = self._run()
        faults.mend(self.deployment.aws)
        return self.told(execution) + self.told(self.deployment.redrive(execution.arn))

    def unrecorded_fleet_scan(self) -> str:
        """Scan them, and nobody writes what became of it."""
        for step in ("acquire_lock", "emit_metrics", "clean_up"):
            faults.inject(self.deployment.aws, faults.fault(f"lambda:{step}", "error"))
        return self.told(self._run())

    def stopped_fleet_scan(self) -> str:
        """Stop it while the scans write, and wait for CleanUp."""
        faults.inject(self.deployment.aws, faults.fault("dynamodb:BatchWriteItem", "timeout"))
        execution = self._start()
        awaited(lambda: faults.injected(self.deployment.aws)[0]["hit"], seconds=EVIDENCE_SECONDS)
        self.deployment.aws.client("stepfunctions").stop_execution(executionArn=execution)
        awaited(lambda: self._lock() is None, seconds=EVIDENCE_SECONDS)
        told = ""
        if not awaited(self._nothing_runs, seconds=EVIDENCE_SECONDS / 2):
            told = "not authorized to perform: states:StopExecution, or a scan goes on for another reason"
        faults.mend(self.deployment.aws)
        awaited(self._nothing_runs, seconds=20)
        return told + self.told(self.deployment.finish(execution))

    def late_fleet_calls(self) -> str:
        """Run it with a SummarizeAccounts that fails, wait for CleanUp, and make every call again: all are late."""
        faults.inject(self.deployment.aws, faults.fault("lambda:summarize_accounts", "error"))
        execution = self._run()
        faults.mend(self.deployment.aws)
        awaited(lambda: self._manifest(execution)["status"]["S"] != "RUNNING", seconds=EVIDENCE_SECONDS)
        functions = self.deployment.aws.client("lambda")
        return self.told(execution) + "".join(
            functions.invoke(FunctionName=function, Payload=json.dumps(payload))["Payload"].read().decode()
            for function, payload in scan.invocations_of(self.deployment.aws.client, execution.arn)
        )

    def deployment_of_the_machine(self) -> str:
        """Save the state machine once more, as a deployment does."""
        states, arn = self.deployment.aws.client("stepfunctions"), self.deployment.outputs[self.scheduled_machine]
        definition = states.describe_state_machine(stateMachineArn=arn)["definition"]
        try:
            states.update_state_machine(stateMachineArn=arn, definition=definition)
        except ClientError as error:
            if "is not authorized to create managed-rule" not in str(error):
                raise
            # AWS does not say for want of which.
            return "".join(f"not authorized to perform: {action}, or another one; " for action in RULE_ACTIONS)
        return ""

    def free_lock(self) -> None:
        for name in ("lock", "lock#organization", f"lock#{self.member}"):
            self.deployment.aws.client("dynamodb").delete_item(**self._table, Key=_key("__execution_lock__", name))

    def _start(self) -> str:
        return scan.start(self.deployment.aws.client, self.deployment.outputs[self.scheduled_machine])

    def _run(self) -> Execution:
        return self.deployment.finish(self._start())

    def _nothing_runs(self) -> bool:
        return not self.deployment.aws.client("stepfunctions").list_executions(
            stateMachineArn=self.deployment.outputs["state_machine_arn"], statusFilter="RUNNING"
        )["executions"]

    def _lock(self) -> dict[str, Any] | None:
        return self._item(_key("__execution_lock__", "lock#organization"))

    def _manifest(self, execution: Execution) -> dict[str, Any]:
        return self._item(_key("__scan__", f"organization#{execution.scan_timestamp}")) or {}

    def _item(self, key: dict[str, Any]) -> dict[str, Any] | None:
        found: dict[str, Any] | None = (
            self.deployment.aws.client("dynamodb").get_item(**self._table, Key=key, ConsistentRead=True).get("Item")
        )
        return found


def _key(partition: str, sort: str) -> dict[str, Any]:
    return {"user_name": {"S": partition}, "scan_timestamp": {"S": sort}}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Organization]:
    """Deploy with retries that take no time."""
    with deployed(tmp_path_factory.mktemp("local-aws"), USERS, VARIABLES, {"SFN_WAIT_SCALE": "0.01"}) as deployment:
        yield Organization(deployment)


def test_every_role_that_may_do_more_is_looked_at(account: Organization) -> None:
    assert account.roles == {*ROLES_WITHOUT_ONE, *NEW}
    assert {role for role in account.roles if account.more_than_without(role)} == set(SCENARIOS)


@pytest.mark.parametrize("scenario", sorted({scenario for scenarios in SCENARIOS.values() for scenario in scenarios}))
def test_with_all_permissions_nothing_is_denied(account: Organization, scenario: str) -> None:
    """Nor is anything with those that the emulator cannot show: they would have to be shown otherwise."""
    with without_all(account, UNPROVABLE):
        told = denials(account, scenario)
    assert "not authorized" not in told
    assert "AccessDenied" not in told


def test_what_cannot_be_shown_is_there(account: Organization) -> None:
    deployed_permissions = {(role, one.action) for role in NEW for one in account.permissions(role)}
    assert sorted(UNPROVABLE.keys() - deployed_permissions) == []
    by_key = {(role, one.action, one.key) for role in NEW for one in account.permissions(role)}
    assert by_key >= ITEM_BY_ITEM


def test_units_are_listed_by_the_permissions_on_them_and_no_others(account: Organization) -> None:
    """Deployed once more, for a unit: the other tests list the whole organization."""
    deployment, member = account.deployment, organization.Account(account.member, "moved", "One/Two")
    unit = organization.found(deployment.aws, [member])["One"]
    deployment.terraform.apply({**VARIABLES, "included_organizational_units": json.dumps([unit])})
    try:
        assert "not authorized" not in denials(account, "fleet_scan")
        asked = [one for one in account.permissions("list-accounts") if one.action.startswith("organizations:")]
        assert {one.action for one in asked} == {
            "organizations:ListAccountsForParent",
            "organizations:ListOrganizationalUnitsForParent",
        }
        # The root is not among the units of this deployment, and of another one it may be.
        on_units = [one for one in asked if ":root/" not in one.resource]
        assert [str(one) for one in on_units if not needed(account, one, ["fleet_scan"])] == []
    finally:
        deployment.terraform.apply(VARIABLES)


@pytest.mark.parametrize("role", SCENARIOS)
def test_no_permission_is_unnecessary(account: Organization, role: str) -> None:
    permissions = [
        one
        for one in account.more_than_without(role)
        if (role, one.action) not in UNPROVABLE and (role, one.action, one.key) not in ITEM_BY_ITEM
    ]
    assert permissions
    unneeded = [str(permission) for permission in permissions if not needed(account, permission, SCENARIOS[role])]
    assert unneeded == [], f"{role} is not shown to need this; remove it, or add the scenario that needs it"
