"""SaveProgress: fold a page into the totals, renew the lock's lease, and move the durable checkpoint."""

from dataclasses import dataclass
from typing import TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.shared import clients, configuration, timestamps
from functions.shared.lock import ExecutionLock
from functions.shared.manifest import Manifests
from functions.shared.model import Cursor, PageCounts, Scan, WriteResult, first_cursor
from functions.shared.step import logger, step


class Event(TypedDict):
    """What the state SaveProgress sends."""

    scan: Scan
    cursor: Cursor
    page: PageCounts
    writes: list[WriteResult]


class Progress(TypedDict):
    """The state data for the next page: the page itself and its writes are dropped."""

    scan: Scan
    cursor: Cursor


@dataclass(frozen=True)
class Settings:
    """The function's configuration."""

    table_name: str
    lease_seconds: int

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read DYNAMODB_TABLE_NAME and LEASE_SECONDS."""
        return cls(configuration.table_name(), configuration.lease_seconds())


@step("SaveProgress")
def handler(event: Event, context: LambdaContext) -> Progress:
    """Handle one invocation by the state machine."""
    settings = Settings.from_environment()
    dynamodb = clients.dynamodb()
    return save_progress(
        event,
        lock=ExecutionLock(dynamodb, settings.table_name, settings.lease_seconds),
        manifests=Manifests(dynamodb, settings.table_name),
    )


def save_progress(event: Event, *, lock: ExecutionLock, manifests: Manifests) -> Progress:
    """Renew the lease, then record the totals after this page.

    Safe to run twice: the totals are computed from the cursor it was given, not added to what is stored. A run that
    was redriven past AcquireLock, because it had been stopped in the middle, becomes the next attempt here.

    Raises
    ------
    LockLost
        Another live execution took the lock. Two scans at once would load IAM twice, so this one ends.
    """
    scan = event["scan"]
    cursor = fold(event["cursor"], event["page"], event["writes"])
    lock.renew(scan["execution_arn"])
    scan_timestamp, execution_arn = scan["scan_timestamp"], scan["execution_arn"]
    manifest = manifests.save_progress(scan_timestamp=scan_timestamp, execution_arn=execution_arn, cursor=cursor)
    if manifest.current_attempt > scan["attempt"]:
        scan = Scan(
            scan_timestamp=scan_timestamp,
            execution_arn=execution_arn,
            started_at=timestamps.to_milliseconds(timestamps.now()),
            attempt=manifest.current_attempt,
        )
        manifests.go_on(
            scan_timestamp=scan_timestamp,
            execution_arn=execution_arn,
            attempt=scan["attempt"],
            attempt_started_at=scan["started_at"],
        )
        logger.info("Redriven: the scan goes on", attempt=scan["attempt"])
    logger.info(
        "Page saved",
        page=cursor["page"],
        users_scanned=cursor["users_scanned"],
        records_written=cursor["records_written"],
        errors=cursor["errors"],
        more_pages=cursor["marker"] is not None,
    )
    return Progress(scan=scan, cursor=cursor)


def fold(cursor: Cursor, page: PageCounts, writes: list[WriteResult]) -> Cursor:
    """Return the cursor after a page.

    What the batches did not report as written counts as an error, so that users_scanned is always records_written
    plus errors, and a lost batch cannot pass unseen.
    """
    written = sum(write["written"] for write in writes)
    base = first_cursor() if page["restarted"] else cursor
    return Cursor(
        marker=page["next_marker"],
        page=base["page"] + 1,
        users_scanned=base["users_scanned"] + page["count"],
        records_written=base["records_written"] + written,
        errors=base["errors"] + page["count"] - written,
        restarts=cursor["restarts"] + int(page["restarted"]),
    )
