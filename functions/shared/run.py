"""The run: which execution a step works for, and which of its attempts, the fencing token of everything it writes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from functions.shared import timestamps
from functions.shared.errors import InvalidInput, Superseded
from functions.shared.model import Scan
from functions.shared.request import DEFAULT, Member, Request, fleet_request_of, request_of
from functions.table.keys import FLEET, FleetKeys, Keys

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient
    from types_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

T = TypeVar("T")

_CLOCK_TOLERANCE = timedelta(seconds=1)
"""How far the clocks of Lambda and Step Functions may be apart. A person takes longer to stop and redrive a run."""


class RunEvent(TypedDict):
    """What every task is given of its execution: ``run``, from the context object of Step Functions."""

    execution_arn: str
    started_at: str
    """Start of the execution, ISO 8601: it names the scan, unless the input does. A redrive does not change it."""
    redrive_count: int


@dataclass(frozen=True)
class Run:
    """One attempt of one execution."""

    execution_arn: str
    started_at: datetime
    attempt: int
    """1, and one more after every redrive."""
    invoked_at: datetime
    """When this invocation began."""
    request: Request = DEFAULT
    """What the execution's input asks for, as far as a step knows."""
    fleet: bool = False
    """Whether it is one of the organization machine, whose manifest and lock are those of all accounts together."""

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> "Run":
        """Return the run that a task's event tells of.

        The attempt is that of the context object, or a newer one that a former step learned and passed on in
        ``$.scan``.
        """
        told: RunEvent = event["run"]
        scan = event.get("scan") or event.get("state", {}).get("scan") or {}
        return cls(
            execution_arn=told["execution_arn"],
            started_at=timestamps.parse(told["started_at"]),
            attempt=max(told["redrive_count"] + 1, scan.get("attempt", 1)),
            invoked_at=timestamps.now(),
            request=_request_of(scan),
        )

    @property
    def scan_timestamp(self) -> str:
        """The scan's name: what the input calls it, or the start of the execution, UTC to the second."""
        return self.request.scan_timestamp or timestamps.to_seconds(self.started_at)

    @property
    def own_account(self) -> str:
        """The account that the execution is in."""
        return self.execution_arn.split(":")[4]

    @property
    def member(self) -> str | None:
        """The member account that is scanned, None where it is the execution's own."""
        return self.request.member.account_id if self.request.member is not None else None

    @property
    def keys(self) -> Keys | FleetKeys:
        """Where its manifest and its lock are."""
        return FLEET if self.fleet else Keys(self.member)

    @property
    def account_id(self) -> str:
        """The account that is scanned; that of the deployment, where all are."""
        return self.member or self.own_account

    def asked(self, execution_input: Any) -> "Run":
        """Return the run with what its execution's input, any JSON, asks for.

        Raises
        ------
        InvalidInput
            See :func:`request_of`.
        """
        if self.fleet:
            return replace(self, request=fleet_request_of(execution_input))
        return replace(self, request=request_of(execution_input, self.own_account, self.started_at))

    def admitted(self, role_name: str | None) -> "Run":
        """Return the run with the role by which its account is looked into.

        Raises
        ------
        InvalidInput
            See :meth:`Member.admitted`.
        """
        member = self.request.member
        if member is None:
            return self
        member = member.admitted(role_name, self.execution_arn.split(":")[1])
        return replace(self, request=replace(self.request, member=member))

    def described_by(self, execution: "DescribeExecutionOutputTypeDef") -> "Run":
        """Return the run with what its execution was asked for, for a step that AcquireLock has not told it.

        An input that is refused asks for nothing: the run then counts as one of the deployment's own account.
        """
        try:
            return self.asked(json.loads(execution["input"]))
        except InvalidInput:
            return self

    def scan(self, started_at: datetime, ttl: int) -> Scan:
        """Return ``$.scan`` for this attempt.

        Parameters
        ----------
        started_at
            When the attempt began.
        ttl
            When every item of the scan expires, epoch seconds.
        """
        scan = Scan(
            scan_timestamp=self.scan_timestamp,
            execution_arn=self.execution_arn,
            started_at=timestamps.to_milliseconds(started_at),
            attempt=self.attempt,
            ttl=ttl,
        )
        if self.request.member is not None:
            scan["account_id"], scan["role_arn"] = self.request.member.account_id, self.request.member.role_arn
        if self.request.account_name is not None:
            scan["account_name"] = self.request.account_name
        return scan

    def of_fleet(self) -> "Run":
        """Return the run as one of the organization machine."""
        return replace(self, fleet=True)

    def with_attempt(self, attempt: int) -> "Run":
        """Return another attempt of the same execution."""
        return replace(self, attempt=attempt)

    def began_at(self, stepfunctions: "SFNClient") -> datetime:
        """Return when the attempt began: with the start of the execution, or with its last redrive."""
        if self.attempt == 1:
            return self.started_at
        return stepfunctions.describe_execution(executionArn=self.execution_arn).get("redriveDate", self.invoked_at)

    def newest(self, stepfunctions: "SFNClient") -> "Run":
        """Return this run, or its newer attempt where Step Functions knows of one that this invocation belongs to.

        How soon ``$$.Execution.RedriveCount`` follows a redrive is not documented, so the larger number counts; but
        only for an invocation that began after the redrive. One that began before is a late one of a former attempt.
        """
        execution = stepfunctions.describe_execution(executionArn=self.execution_arn)
        attempt = execution.get("redriveCount", 0) + 1
        redriven_at = execution.get("redriveDate")
        if (
            attempt > self.attempt
            and execution["status"] == "RUNNING"
            and redriven_at is not None
            and redriven_at <= self.invoked_at + _CLOCK_TOLERANCE
        ):
            return self.with_attempt(attempt)
        return self

    def fenced(self, stepfunctions: "SFNClient", act: Callable[["Run"], T]) -> T:
        """Act for this run; where the fence refuses it, ask Step Functions once whether it is a newer attempt's.

        Raises
        ------
        Superseded
            It is not. Nothing was written.
        """
        try:
            return act(self)
        except Superseded:
            newest = self.newest(stepfunctions)
            if newest is self:
                raise
            return act(newest)


def _request_of(scan: Mapping[str, Any]) -> Request:
    """Return the request that AcquireLock has passed on in ``$.scan``; of a run without, nothing is known."""
    member = Member(scan["account_id"], scan["role_arn"]) if "role_arn" in scan else None
    return Request(member=member, account_name=scan.get("account_name"), scan_timestamp=scan.get("scan_timestamp"))
