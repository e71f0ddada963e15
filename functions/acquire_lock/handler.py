"""AcquireLock: take the execution lock and begin the scan, or resume it where a former attempt stopped."""

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.shared import clients, configuration, metrics
from functions.shared.errors import InvalidInput
from functions.shared.model import Cursor, Outcome, Posture, Scan, nothing_asked
from functions.shared.run import Run, RunEvent
from functions.shared.step import logger, step
from functions.table.fence import Begun, Fence, ForeignManifest
from functions.table.keys import Keys
from functions.table.lock import Holder
from functions.table.manifest import Manifest

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient


class Event(TypedDict):
    """What the state AcquireLock sends."""

    run: RunEvent
    input: Any
    """The execution's input, any JSON."""


class Acquired(TypedDict):
    """The scan may run: the state data it begins with."""

    acquired: Literal[True]
    complete: Literal[False]
    lock: str
    """The sort key of the lock, for ReleaseLock."""
    scan: Scan
    cursor: Cursor
    posture: NotRequired[Posture]
    """Where the scan is to read none: the state machine then goes past ReadPosture."""


class Complete(TypedDict):
    """A former attempt of this run has completed the scan: only what comes after is left to do."""

    acquired: Literal[True]
    complete: Literal[True]
    lock: str
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
        member_role_name=configuration.member_role_name(),
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
    member_role_name: str | None = None,
) -> Acquired | Complete | Skipped:
    """Take the lock and create or resume the scan's manifest, in one transaction. Safe to run twice, and late.

    Parameters
    ----------
    reads_posture
        Whether the scan is to read what users could get in with and may do.
    member_role_name
        The name of the role that a member account has for this deployment; None where it scans its own account only.

    Returns
    -------
    The scan and the cursor to start from; or the outcome of a scan that is COMPLETE already; or, where another
    execution scans or has scanned this very second, that this one must be skipped. Skipping is a success, not an error:
    it is the lock doing its work.

    Raises
    ------
    InvalidInput
        The execution's input asks for nothing that this deployment can scan; or another execution has the scan that it
        names.
    LockHeld
        Another execution has the lock, and this one has begun its scan already: it was retried late or redriven, and
        skipping it would present an unfinished scan as a success. So it would be where the input names the scan.
    Superseded
        This call is a late one: its attempt has ended.
    """
    run = run.asked(execution_input)
    logger.append_keys(account_id=run.account_id, scan_timestamp=run.scan_timestamp)
    run = run.admitted(member_role_name)
    keys = Keys(run.member)
    try:
        begun = run.fenced(
            stepfunctions,
            lambda run: fence.begin(
                run,
                retention_days=retention_days,
                lease_seconds=lease_seconds,
                span_limit_seconds=span_limit_seconds,
            ),
        )
    except ForeignManifest as foreign:
        if run.request.scan_timestamp is not None:
            raise InvalidInput(
                f"account {run.account_id} has a scan {run.scan_timestamp} already, of another execution: {foreign}"
            ) from None
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
            logger.info("Execution lock acquired", trigger=run.request.trigger, resumed_at_page=cursor["page"])
            acquired = Acquired(acquired=True, complete=False, lock=keys.lock_name, scan=scan, cursor=cursor)
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
        lock=Keys(run.member).lock_name,
        scan=run.scan(run.invoked_at, manifest.ttl),
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
