"""AcquireLock: take the execution lock and begin the scan, or resume it where a former attempt stopped."""

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.shared import clients, configuration, timestamps
from functions.shared.errors import InvalidInput, LockHeld
from functions.shared.lock import ExecutionLock, Holder
from functions.shared.manifest import ForeignManifest, Manifests
from functions.shared.model import Cursor, Scan, first_cursor
from functions.shared.step import logger, step

DEFAULT_TRIGGER = "manual"
MAX_TRIGGER_LENGTH = 64


class Event(TypedDict):
    """What the state AcquireLock sends."""

    execution_arn: str
    started_at: str
    """Start of the execution, ISO 8601: it names the scan."""
    input: Any
    """The execution's input, any JSON."""


class Acquired(TypedDict):
    """The scan may run: the state data it begins with."""

    acquired: Literal[True]
    scan: Scan
    cursor: Cursor


class Skipped(TypedDict):
    """The scan must not run."""

    acquired: Literal[False]
    reason: str
    holder: dict[str, str | float]


@dataclass(frozen=True)
class Settings:
    """The function's configuration."""

    table_name: str
    retention_days: int
    lease_seconds: int

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read DYNAMODB_TABLE_NAME, RETENTION_DAYS and LEASE_SECONDS."""
        return cls(configuration.table_name(), configuration.retention_days(), configuration.lease_seconds())


@step("AcquireLock")
def handler(event: Event, context: LambdaContext) -> Acquired | Skipped:
    """Handle one invocation by the state machine."""
    settings = Settings.from_environment()
    dynamodb = clients.dynamodb()
    return acquire_lock(
        event,
        lock=ExecutionLock(dynamodb, settings.table_name, settings.lease_seconds),
        manifests=Manifests(dynamodb, settings.table_name),
        retention_days=settings.retention_days,
    )


def acquire_lock(event: Event, *, lock: ExecutionLock, manifests: Manifests, retention_days: int) -> Acquired | Skipped:
    """Take the lock, then create or resume the scan's manifest.

    Safe to run twice: the lock is re-entrant for its owner, and the manifest is created once.

    Returns
    -------
    The scan and the cursor to start from; or, where another execution scans or has scanned this very second, that
    this one must be skipped. Skipping is a success, not an error: it is the lock doing its work.

    Raises
    ------
    InvalidInput
        The execution's input is not an object, or its trigger is not a short text.
    LockHeld
        Another execution has the lock, and this one has begun its scan already: it was retried late or redriven, and
        skipping it would present an unfinished scan as a success.
    """
    trigger = _trigger(event["input"])
    execution_arn = event["execution_arn"]
    started_at = timestamps.parse(event["started_at"])
    scan_timestamp = timestamps.to_seconds(started_at)
    logger.append_keys(scan_timestamp=scan_timestamp)

    manifest = manifests.load(scan_timestamp)
    if manifest is not None and manifest.execution_arn != execution_arn:
        return _skip_duplicate_start(manifest.execution_arn)

    holder = lock.acquire(execution_arn)
    if holder is not None:
        if manifest is not None:
            raise LockHeld(
                f"scan {scan_timestamp} cannot go on: the execution lock is held by {holder.owner} until "
                f"{holder.expires_at} (epoch seconds). Redrive this execution when that one has ended."
            )
        return _skip_held(holder)

    attempt = manifest.current_attempt if manifest is not None else 1
    cursor = manifest.resume_at if manifest is not None else first_cursor()
    attempt_started_at = timestamps.to_milliseconds(started_at if attempt == 1 else timestamps.now())
    try:
        manifests.begin(
            scan_timestamp=scan_timestamp,
            execution_arn=execution_arn,
            attempt=attempt,
            started_at=timestamps.to_milliseconds(started_at),
            attempt_started_at=attempt_started_at,
            trigger=trigger,
            retention_days=retention_days,
        )
    except ForeignManifest:
        lock.release(execution_arn)
        return _skip_duplicate_start("unknown")

    logger.info("Execution lock acquired", attempt=attempt, trigger=trigger, resumed_at_page=cursor["page"])
    return Acquired(
        acquired=True,
        scan=Scan(
            scan_timestamp=scan_timestamp,
            execution_arn=execution_arn,
            started_at=attempt_started_at,
            attempt=attempt,
        ),
        cursor=cursor,
    )


def _trigger(execution_input: Any) -> str:
    if not isinstance(execution_input, dict):
        raise InvalidInput(
            f'the execution input must be a JSON object such as {{}} or {{"trigger": "manual"}}, '
            f"not {type(execution_input).__name__}: {str(execution_input)[:100]!r}"
        )
    # Other keys are let through: the console fills in a sample comment of its own.
    trigger = execution_input.get("trigger", DEFAULT_TRIGGER)
    if not isinstance(trigger, str) or not 1 <= len(trigger) <= MAX_TRIGGER_LENGTH:
        raise InvalidInput(
            f"trigger must be a text of 1 to {MAX_TRIGGER_LENGTH} characters, not {str(trigger)[:100]!r}"
        )
    return trigger


def _skip_held(holder: Holder) -> Skipped:
    logger.warning(
        "Failed to acquire execution lock",
        holder=holder.owner,
        acquired_at=holder.acquired_at,
        expires_at=holder.expires_at,
    )
    return Skipped(
        acquired=False,
        reason="another execution holds the lock",
        holder={
            "owner": holder.owner,
            "acquired_at": holder.acquired_at,
            "expires_at": holder.expires_at,
        },
    )


def _skip_duplicate_start(owner: str) -> Skipped:
    # EventBridge delivers at least once, so one tick may start two executions in the same second.
    logger.warning("Failed to acquire execution lock", holder=owner, reason="duplicate start")
    return Skipped(
        acquired=False,
        reason="another execution that started in the same second has this scan",
        holder={"owner": owner},
    )
