"""CleanUp: do what the finally path would have done, for a run that ended without it.

No Catch runs when an execution is stopped or reaches the state machine's time-out. EventBridge tells of every such end,
best effort: where its event is lost, the lock's lease is the last resort.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.shared import clients, configuration, metrics, timestamps
from functions.shared.causes import describe
from functions.shared.errors import Superseded
from functions.shared.model import FleetOutcome, Outcome
from functions.shared.run import Run
from functions.shared.step import logger, step
from functions.table.fence import Fence, ForeignManifest
from functions.table.manifest import Manifest, Status

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient
    from types_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef


class ExecutionEnd(TypedDict):
    """The ``detail`` of "Step Functions Execution Status Change", as far as it is used."""

    executionArn: str
    status: Literal["FAILED", "ABORTED", "TIMED_OUT"]
    startDate: int
    """Epoch milliseconds, as are stopDate and redriveDate."""
    stopDate: int
    redriveCount: NotRequired[int]
    redriveDate: NotRequired[int | None]
    error: NotRequired[str | None]
    cause: NotRequired[str | None]


class Event(TypedDict):
    """What EventBridge sends."""

    detail: ExecutionEnd


class Result(TypedDict):
    """What was done; only for those who call the function by hand."""

    recorded: bool
    reported: bool
    released: bool


_ERRORS: dict[str, tuple[str, str]] = {
    "ABORTED": ("ExecutionAborted", "the execution was stopped by hand"),
    "TIMED_OUT": ("ExecutionTimedOut", "the execution reached the time-out of the state machine"),
    "FAILED": ("ExecutionFailed", "the execution ended without its finally path"),
}


@step("CleanUp")
def handler(event: Event, context: LambdaContext) -> Result:
    """Handle one event of EventBridge."""
    return clean_up(
        event["detail"],
        fence=Fence(clients.dynamodb(), configuration.table_name()),
        stepfunctions=clients.stepfunctions(),
        retention_days=configuration.retention_days(),
        organization_state_machine=configuration.organization_state_machine(),
    )


def clean_up(
    end: ExecutionEnd,
    *,
    fence: Fence,
    stepfunctions: "SFNClient",
    retention_days: int,
    organization_state_machine: str | None = None,
) -> Result:
    """Record the result of an attempt that nobody recorded, emit its metrics if nobody did, and free its lock.

    After an ordinary failure all three were done by the finally path, and nothing is left to do. The event may come
    twice, hours late, and when the run goes on already: it speaks for its own attempt only.

    Parameters
    ----------
    organization_state_machine
        The ARN of the machine whose runs are those of all accounts, None where there is none.
    """
    execution = stepfunctions.describe_execution(executionArn=end["executionArn"])
    running, redrives = execution["status"] == "RUNNING", execution.get("redriveCount", 0)
    run = Run(
        execution_arn=end["executionArn"],
        started_at=_instant(end["startDate"]),
        # Where an event does not tell: what runs now is not what has ended, unless the description is behind.
        attempt=end.get("redriveCount", max(0, redrives - int(running))) + 1,
        invoked_at=timestamps.now(),
        fleet=organization_state_machine is not None and execution["stateMachineArn"] == organization_state_machine,
    ).described_by(execution)
    # By its count: DescribeExecution may be behind, and still call the ended attempt running.
    runs_again = running and redrives + 1 > run.attempt
    logger.append_keys(
        execution_arn=run.execution_arn,
        account_id=run.account_id,
        scan_timestamp=run.scan_timestamp,
        attempt=run.attempt,
    )
    try:
        # What is described is this end only where the run has not been redriven since.
        described = execution if not running and redrives + 1 == run.attempt else None
        record = _record_fleet if run.fleet else _record
        recorded, reported = record(end, run, fence, retention_days, _error(end, described))
    except ForeignManifest:
        recorded = reported = False  # another run's scan of the same second
    # Last, so that no other scan begins before this one is recorded. A run that goes on by now renews its lock.
    released = not runs_again and fence.release(run)
    if released:
        logger.warning("Execution lock freed in place of a run that ended without it", status=end["status"])
    return Result(recorded=recorded, reported=reported, released=released)


def _record(
    end: ExecutionEnd, run: Run, fence: Fence, retention_days: int, error: tuple[str, str] | None
) -> tuple[bool, bool]:
    """Record the attempt as ended and emit its metrics; return which of both was left to do."""
    known = fence.load(run)
    outcome = _outcome(end, run, known)
    manifest, recorded = _finish(end, run, outcome, fence, retention_days, error)
    if manifest is None or manifest.status is Status.SKIPPED:
        return False, False  # expired meanwhile; or stopped when it had nothing to do
    if not recorded and manifest.attempt == run.attempt:
        # The finally path recorded it, and may have died before it told.
        outcome, error = manifest.outcome, manifest.error
    return recorded, metrics.report(fence, run, manifest, outcome, error)


def _record_fleet(
    end: ExecutionEnd, run: Run, fence: Fence, retention_days: int, error: tuple[str, str] | None
) -> tuple[bool, bool]:
    """Do the same for an attempt to scan all accounts, without metrics: nobody has counted which are complete."""
    outcome = FleetOutcome(status=_status(end), duration_ms=_duration_ms(end), attempt=run.attempt)
    _, recorded = _finish(end, run, outcome, fence, retention_days, error)
    if recorded and error is not None:
        logger.error("Organization scan failed", error_type=error[0], error_message=error[1])
    return recorded, False


def _finish(
    end: ExecutionEnd,
    run: Run,
    outcome: Outcome | FleetOutcome,
    fence: Fence,
    retention_days: int,
    error: tuple[str, str] | None,
) -> tuple[Manifest | None, bool]:
    """Record the attempt as ended; return the manifest as it is now, and whether this call wrote it."""
    try:
        return fence.finish(
            run, outcome, ended_at=_instant(end["stopDate"]), error=error, retention_days=retention_days
        )
    except Superseded as late:
        logger.info("Late event: the run was redriven since", reason=str(late), status=end["status"])
        return fence.load(run), False


def _error(end: ExecutionEnd, described: "DescribeExecutionOutputTypeDef | None") -> tuple[str, str]:
    """Return name and message of what ended the attempt, with the error and cause that whoever stopped it gave."""
    name, text = _ERRORS[end["status"]]
    given, cause = end.get("error"), end.get("cause")
    if not given and not cause and described is not None:
        given, cause = described.get("error"), described.get("cause")
    if cause:
        _, cause = describe({"Error": given or "", "Cause": cause})
    own = ": ".join(part for part in (given, cause) if part)
    return name, f"{text}: {own}" if own else text


def _outcome(end: ExecutionEnd, run: Run, known: Manifest | None) -> Outcome:
    """Return the result of an attempt that ended without its finally path: what its last saved page tells."""
    same = known is not None and known.attempt == run.attempt
    totals = known.outcome if known is not None and (same or known.attempt < run.attempt) else None
    return Outcome(
        status=_status(end),
        users_scanned=totals["users_scanned"] if totals is not None else 0,
        records_written=totals["records_written"] if totals is not None else 0,
        # The errors of a former attempt are no errors of this one.
        errors=totals["errors"] if totals is not None and same else 0,
        duration_ms=_duration_ms(end),
        attempt=run.attempt,
        publish=False,
    )


def _status(end: ExecutionEnd) -> str:
    return (Status.ABORTED if end["status"] == "ABORTED" else Status.FAILED).value


def _duration_ms(end: ExecutionEnd) -> int:
    return max(0, end["stopDate"] - (end.get("redriveDate") or end["startDate"]))


def _instant(epoch_milliseconds: int) -> datetime:
    return datetime.fromtimestamp(epoch_milliseconds / 1000, UTC)
