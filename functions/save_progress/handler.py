"""SaveProgress: fold a page into the totals, renew the lock's lease, and move the durable checkpoint."""

from typing import TYPE_CHECKING, NotRequired, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.shared import clients, configuration, timestamps
from functions.shared.errors import TableThrottled
from functions.shared.model import Cursor, PageCounts, Posture, Scan, WriteResult, first_cursor
from functions.shared.run import Run, RunEvent
from functions.shared.step import logger, step
from functions.table.fence import Fence

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient


class Event(TypedDict):
    """What the state SaveProgress sends."""

    run: RunEvent
    lock: NotRequired[str]
    """Absent in a run that was started before it was sent."""
    scan: Scan
    cursor: Cursor
    posture: NotRequired[Posture]
    """Absent in a run that was started before there was any."""
    page: PageCounts
    writes: list[WriteResult]


class Progress(TypedDict):
    """The state data for the next page: the page itself and its writes are dropped."""

    lock: NotRequired[str]
    scan: Scan
    cursor: Cursor
    posture: NotRequired[Posture]


@step("SaveProgress")
def handler(event: Event, context: LambdaContext) -> Progress:
    """Handle one invocation by the state machine."""
    return save_progress(
        event,
        Run.of(event),
        fence=Fence(clients.dynamodb(), configuration.table_name()),
        stepfunctions=clients.stepfunctions(),
        lease_seconds=configuration.lease_seconds(),
    )


def save_progress(event: Event, run: Run, *, fence: Fence, stepfunctions: "SFNClient", lease_seconds: int) -> Progress:
    """Renew the lease and record the totals after this page, in one transaction. Safe to run twice, and late.

    A run that was redriven past AcquireLock, because it had been stopped in the middle, becomes the next attempt here.

    Raises
    ------
    TableThrottled
        Nothing of the page could be written, because DynamoDB throttles. Nothing is saved: the checkpoint and the
        totals stay before the page, and a redrive lists it again.
    LockLost
        Another live execution took the lock. Two scans at once would load IAM twice, so this one ends.
    Superseded
        This call is a late one: its attempt has ended, or its page is not the next.
    """
    _check_throttling(event["cursor"], event["page"], event["writes"])
    cursor = fold(event["cursor"], event["page"], event["writes"])
    # The lock was taken after the attempt had begun, and renewed after the page before was listed.
    renewed_at = timestamps.parse(max(event["scan"]["started_at"], event["cursor"]["listed_until"] or ""))
    scan = run.fenced(
        stepfunctions,
        lambda run: fence.save(run, event["scan"], cursor, lease_seconds=lease_seconds, renewed_at=renewed_at),
    )
    if scan["attempt"] > event["scan"]["attempt"]:
        logger.append_keys(attempt=scan["attempt"])
        logger.info("Redriven: the scan goes on")
    logger.info(
        "Page saved",
        page=cursor["page"],
        users_scanned=cursor["users_scanned"],
        records_written=cursor["records_written"],
        errors=cursor["errors"],
        more_pages=cursor["marker"] is not None,
    )
    progress = Progress(scan=scan, cursor=cursor)
    if "lock" in event:
        progress["lock"] = event["lock"]
    if "posture" in event:
        progress["posture"] = event["posture"]
    return progress


def _check_throttling(cursor: Cursor, page: PageCounts, writes: list[WriteResult]) -> None:
    """Refuse a page that went by without a record: each page more would wait as long, and load the table as much."""
    throttled = sum(write.get("throttled", 0) for write in writes)
    if throttled and not any(write["written"] for write in writes):
        number = 1 if page["restarted"] else cursor["page"] + 1
        raise TableThrottled(
            f"DynamoDB throttled {throttled} of the {page['count']} writes of page {number} for as long as WriteBatch "
            "may run, and took none"
        )


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
        sequence=cursor["sequence"] + 1,
        users_scanned=base["users_scanned"] + page["count"],
        records_written=base["records_written"] + written,
        errors=base["errors"] + page["count"] - written,
        restarts=cursor["restarts"] + int(page["restarted"]),
        listed_from=base["listed_from"] or page["listed_from"],
        listed_until=page["listed_until"],
    )
