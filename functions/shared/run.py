"""The run: which execution a step works for, and which of its attempts, the fencing token of everything it writes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from functions.shared import timestamps
from functions.shared.errors import Superseded

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

T = TypeVar("T")

_CLOCK_TOLERANCE = timedelta(seconds=1)
"""How far the clocks of Lambda and Step Functions may be apart. A person takes longer to stop and redrive a run."""


class RunEvent(TypedDict):
    """What every task is given of its execution: ``run``, from the context object of Step Functions."""

    execution_arn: str
    started_at: str
    """Start of the execution, ISO 8601: it names the scan. A redrive does not change it."""
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
        )

    @property
    def scan_timestamp(self) -> str:
        """The scan's name: the start of the execution, UTC to the second."""
        return timestamps.to_seconds(self.started_at)

    @property
    def account_id(self) -> str:
        """The account that the execution is in."""
        return self.execution_arn.split(":")[4]

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
