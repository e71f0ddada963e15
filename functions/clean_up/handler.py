"""CleanUp: do what the finally path would have done, for a run that ended without it.

No Catch runs when an execution is stopped or reaches the state machine's time-out. EventBridge tells of every such end,
best effort: where its event is lost, the lock's lease is the last resort.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.shared import clients, configuration, metrics, timestamps
from functions.shared.lock import ExecutionLock
from functions.shared.manifest import Manifest, Manifests, Status
from functions.shared.model import Outcome
from functions.shared.step import logger, step

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient


class ExecutionEnd(TypedDict):
    """The ``detail`` of "Step Functions Execution Status Change", as far as it is used."""

    executionArn: str
    status: Literal["FAILED", "ABORTED", "TIMED_OUT"]
    startDate: int
    """Epoch milliseconds, as is stopDate."""
    stopDate: int


class Event(TypedDict):
    """What EventBridge sends."""

    detail: ExecutionEnd


class Result(TypedDict):
    """What was done; only for those who call the function by hand."""

    recorded: bool
    released: bool


_ERRORS: dict[str, tuple[str, str]] = {
    "ABORTED": ("ExecutionAborted", "the execution was stopped by hand"),
    "TIMED_OUT": ("ExecutionTimedOut", "the execution reached the time-out of the state machine"),
    "FAILED": ("ExecutionFailed", "the execution ended without its finally path; its history says why"),
}


@dataclass(frozen=True)
class Settings:
    """The function's configuration."""

    table_name: str
    retention_days: int

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read DYNAMODB_TABLE_NAME and RETENTION_DAYS."""
        return cls(configuration.table_name(), configuration.retention_days())


@step("CleanUp")
def handler(event: Event, context: LambdaContext) -> Result:
    """Handle one event of EventBridge."""
    settings = Settings.from_environment()
    dynamodb = clients.dynamodb()
    return clean_up(
        event["detail"],
        # The lease does not matter here: CleanUp never takes the lock.
        lock=ExecutionLock(dynamodb, settings.table_name, lease_seconds=0),
        manifests=Manifests(dynamodb, settings.table_name),
        stepfunctions=clients.stepfunctions(),
        retention_days=settings.retention_days,
    )


def clean_up(
    end: ExecutionEnd,
    *,
    lock: ExecutionLock,
    manifests: Manifests,
    stepfunctions: "SFNClient",
    retention_days: int,
) -> Result:
    """Record the result of an attempt that nobody recorded, and free the lock if the execution still owns it.

    After an ordinary failure both were done by the finally path, and nothing is left to do. An event that arrives when
    the execution runs again is ignored: by when the lock was taken, which is certain but says nothing of a run that
    was redriven past AcquireLock, and by asking Step Functions, whose answer may lag behind.
    """
    execution_arn = end["executionArn"]
    started_at = datetime.fromtimestamp(end["startDate"] / 1000, UTC)
    stopped_at = datetime.fromtimestamp(end["stopDate"] / 1000, UTC)
    scan_timestamp = timestamps.to_seconds(started_at)
    logger.append_keys(execution_arn=execution_arn, scan_timestamp=scan_timestamp)

    holder = lock.holder()
    owns_lock = holder is not None and holder.owner == execution_arn
    if owns_lock and holder is not None and holder.acquired_at > stopped_at.timestamp():
        logger.info("Late event ignored: the lock was taken again since", status=end["status"])
        return Result(recorded=False, released=False)
    if stepfunctions.describe_execution(executionArn=execution_arn)["status"] == "RUNNING":
        logger.info("Late event ignored: the execution was redriven and runs", status=end["status"])
        return Result(recorded=False, released=False)

    recorded = _record(end["status"], manifests, scan_timestamp, execution_arn, started_at, stopped_at, retention_days)
    # Last, so that no other scan begins before this one is recorded.
    released = owns_lock and lock.release(execution_arn)
    if released:
        logger.warning("Execution lock freed in place of a run that ended without it", status=end["status"])
    return Result(recorded=recorded, released=released)


def _record(
    status: str,
    manifests: Manifests,
    scan_timestamp: str,
    execution_arn: str,
    started_at: datetime,
    stopped_at: datetime,
    retention_days: int,
) -> bool:
    """Record the attempt as ended, with its metrics and its log line, unless its finally path did."""
    manifest = manifests.load(scan_timestamp)
    if manifest is not None and manifest.execution_arn != execution_arn:
        return False  # another run's scan of the same second
    error = _ERRORS[status]
    attempt = _attempt(manifest, stopped_at)
    outcome = _outcome(status, manifest, started_at, stopped_at)
    result: dict[str, Any] = {
        **outcome,
        "finished_at": timestamps.to_milliseconds(stopped_at),
        "error_type": error[0],
        "error_message": error[1],
    }
    first = manifests.finish(
        scan_timestamp=scan_timestamp,
        execution_arn=execution_arn,
        attempt=attempt,
        finished_by="CleanUp",
        retention_days=retention_days,
        started_at=timestamps.to_milliseconds(started_at),
        result=result,
    )
    if status == "FAILED" and (manifest is None or manifest.failed_attempt < attempt):
        # FailScan itself failed. Unless its work is noted, the first redrive would only end there once more.
        manifests.note_end(scan_timestamp=scan_timestamp, execution_arn=execution_arn, attempt=attempt)
    if first:
        logger.append_keys(attempt=attempt)
        metrics.emit(outcome, execution_arn=execution_arn, scan_timestamp=scan_timestamp)
        metrics.log_end(outcome, error)
    return first


def _attempt(manifest: Manifest | None, stopped_at: datetime) -> int:
    """Return the attempt that was stopped."""
    if manifest is None:
        return 1
    if manifest.finished_by == "CleanUp" and stopped_at > timestamps.parse(manifest.item["finished_at"]):
        # Not the same event once more: the run was redriven and has been stopped again.
        return manifest.current_attempt
    return manifest.attempt


def _outcome(status: str, manifest: Manifest | None, started_at: datetime, stopped_at: datetime) -> Outcome:
    item = manifest.item if manifest is not None else {}
    attempt_started_at = timestamps.parse(item["attempt_started_at"]) if "attempt_started_at" in item else started_at
    return Outcome(
        status=(Status.ABORTED if status == "ABORTED" else Status.FAILED).value,
        users_scanned=item.get("users_scanned", 0),
        records_written=item.get("records_written", 0),
        errors=item.get("errors", 0) + 1,
        duration_ms=max(0, int((stopped_at - attempt_started_at).total_seconds() * 1000)),
    )
