"""AcquireLock: take the execution lock and begin the scan, or resume it where a former attempt stopped."""

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.shared import clients, configuration, metrics, timestamps
from functions.shared.errors import InvalidInput
from functions.shared.model import Cursor, Outcome, Posture, Scan, nothing_asked
from functions.shared.run import Run, RunEvent
from functions.shared.step import logger, step
from functions.table.fence import Begun, Fence, ForeignManifest
from functions.table.lock import Holder
from functions.table.manifest import Manifest

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

DEFAULT_TRIGGER = "manual"
MAX_TRIGGER_LENGTH = 64


class Event(TypedDict):
    """What the state AcquireLock sends."""

    run: RunEvent
    input: Any
    """The execution's input, any JSON."""


class Acquired(TypedDict):
    """The scan may run: the state data it begins with."""

    acquired: Literal[True]
    complete: Literal[False]
    scan: Scan
    cursor: Cursor
    posture: NotRequired[Posture]
    """Where the scan is to read none: the state machine then goes past ReadPosture."""


class Complete(TypedDict):
    """A former attempt of this run has completed the scan: only what comes after is left to do."""

    acquired: Literal[True]
    complete: Literal[True]
    scan: Scan
    outcome: Outcome


class Skipped(TypedDict):
    """The scan must not run."""

    acquired: Literal[False]
    reason: str
    holder: dict[str, str | int]


@step("AcquireLock")
def handler(event: Event, context: LambdaContext) -> Acquired | Complete | Skipped:
    """Handle one invocation by the state machine."""
    return acquire_lock(
        event["input"],
        Run.of(event),
        fence=Fence(clients.dynamodb(), configuration.table_name()),
        stepfunctions=clients.stepfunctions(),
        retention_days=configuration.retention_days(),
        lease_seconds=configuration.lease_seconds(),
        span_limit_seconds=configuration.scan_timeout_seconds(),
        reads_posture=bool(configuration.wanted_sections()),
    )


def acquire_lock(
    execution_input: Any,
    run: Run,
    *,
    fence: Fence,
    stepfunctions: "SFNClient",
    retention_days: int,
    lease_seconds: int,
    span_limit_seconds: int,
    reads_posture: bool = True,
) -> Acquired | Complete | Skipped:
    """Take the lock and create or resume the scan's manifest, in one transaction. Safe to run twice, and late.

    Parameters
    ----------
    reads_posture
        Whether the scan is to read what users could get in with and may do.

    Returns
    -------
    The scan and the cursor to start from; or the outcome of a scan that is COMPLETE already; or, where another
    execution scans or has scanned this very second, that this one must be skipped. Skipping is a success, not an error:
    it is the lock doing its work.

    Raises
    ------
    InvalidInput
        The execution's input is not an object, or its trigger is not a short text.
    LockHeld
        Another execution has the lock, and this one has begun its scan already: it was retried late or redriven, and
        skipping it would present an unfinished scan as a success.
    Superseded
        This call is a late one: its attempt has ended.
    """
    trigger = _trigger(execution_input)
    try:
        begun = run.fenced(
            stepfunctions,
            lambda run: fence.begin(
                run,
                trigger=trigger,
                retention_days=retention_days,
                lease_seconds=lease_seconds,
                span_limit_seconds=span_limit_seconds,
            ),
        )
    except ForeignManifest as foreign:
        # EventBridge delivers at least once, so one tick may start two executions in the same second.
        logger.warning("Failed to acquire execution lock", holder=str(foreign), reason="duplicate start")
        return Skipped(
            acquired=False,
            reason="another execution that started in the same second has this scan",
            holder={"owner": str(foreign)},
        )
    match begun:
        case Begun(scan, cursor):
            logger.append_keys(attempt=scan["attempt"])
            logger.info("Execution lock acquired", trigger=trigger, resumed_at_page=cursor["page"])
            acquired = Acquired(acquired=True, complete=False, scan=scan, cursor=cursor)
            if not reads_posture:
                acquired["posture"] = nothing_asked()
            return acquired
        case Manifest():
            return _complete(run, begun, fence)
        case Holder():
            return _skipped(begun)


def _complete(run: Run, manifest: Manifest, fence: Fence) -> Complete:
    logger.info("The scan is complete already; nothing of it is done again")
    metrics.report(fence, run.with_attempt(manifest.attempt), manifest, manifest.outcome)
    return Complete(
        acquired=True,
        complete=True,
        scan=Scan(
            scan_timestamp=manifest.scan_timestamp,
            execution_arn=run.execution_arn,
            started_at=timestamps.to_milliseconds(run.invoked_at),
            attempt=run.attempt,
            ttl=manifest.ttl,
        ),
        outcome={**manifest.outcome, "attempt": run.attempt},
    )


def _skipped(holder: Holder) -> Skipped:
    logger.warning(
        "Failed to acquire execution lock",
        holder=holder.owner,
        acquired_at=holder.acquired_at,
        expires_at=holder.expires_at,
    )
    return Skipped(
        acquired=False,
        reason="another execution holds the lock",
        holder={"owner": holder.owner, "acquired_at": holder.acquired_at, "expires_at": holder.expires_at},
    )


def _trigger(execution_input: Any) -> str:
    if not isinstance(execution_input, dict):
        raise InvalidInput(
            f'the execution input must be a JSON object such as {{}} or {{"trigger": "manual"}}, '
            f"not {type(execution_input).__name__}: {str(execution_input)[:100]!r}"
        )
    # Other keys are let through: the console fills in a sample comment of its own.
    trigger = execution_input.get("trigger", DEFAULT_TRIGGER)
    if not isinstance(trigger, str) or not 1 <= len(trigger) <= MAX_TRIGGER_LENGTH or not trigger.isprintable():
        raise InvalidInput(
            f"trigger must be a text of 1 to {MAX_TRIGGER_LENGTH} printable characters, not {str(trigger)[:100]!r}"
        )
    return trigger
