"""SaveProgress."""

from typing import TYPE_CHECKING

import pytest

from functions.save_progress.handler import Event, fold, save_progress
from functions.shared.errors import LockLost
from functions.shared.lock import ExecutionLock
from functions.shared.manifest import Manifests
from functions.shared.model import Cursor, PageCounts, Scan, WriteResult
from tests.statemachine.engine import TABLE

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

ME = "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:me"
SCAN = Scan(scan_timestamp="2026-01-31T10:00:00Z", execution_arn=ME, started_at="2026-01-31T10:00:00.000Z", attempt=1)
CURSOR = Cursor(marker="m1", page=1, users_scanned=500, records_written=500, errors=0, restarts=0)


def page(count: int, next_marker: str | None = "m2", restarted: bool = False) -> PageCounts:
    return PageCounts(count=count, next_marker=next_marker, restarted=restarted)


def test_a_page_is_added_to_the_totals() -> None:
    writes = [WriteResult(written=100, failed=0), WriteResult(written=70, failed=30)]

    assert fold(CURSOR, page(200), writes) == {
        "marker": "m2",
        "page": 2,
        "users_scanned": 700,
        "records_written": 670,
        "errors": 30,
        "restarts": 0,
    }


def test_a_batch_that_reported_nothing_counts_as_failed() -> None:
    assert fold(CURSOR, page(200), [WriteResult(written=100, failed=0)])["errors"] == 100


def test_an_empty_page_adds_nothing() -> None:
    folded = fold(CURSOR, page(0, None), [])

    assert (folded["users_scanned"], folded["records_written"], folded["errors"]) == (500, 500, 0)
    assert folded["marker"] is None


def test_a_restarted_listing_counts_from_zero() -> None:
    folded = fold(CURSOR, page(10, restarted=True), [WriteResult(written=10, failed=0)])

    assert (folded["page"], folded["users_scanned"], folded["records_written"]) == (1, 10, 10)
    assert folded["restarts"] == 1


def test_progress_renews_the_lease_and_moves_the_checkpoint(dynamodb: "DynamoDBClient", manifests: Manifests) -> None:
    times = iter([1000, 1200])
    lock = ExecutionLock(dynamodb, TABLE, 600, lambda: next(times))
    lock.acquire(ME)
    event = Event(scan=SCAN, cursor=CURSOR, page=page(100), writes=[WriteResult(written=100, failed=0)])

    progress = save_progress(event, lock=lock, manifests=manifests)

    assert progress == {"scan": SCAN, "cursor": fold(CURSOR, event["page"], event["writes"])}
    assert manifests.load(SCAN["scan_timestamp"]).resume_at["marker"] == "m2"  # type: ignore[union-attr]
    item = dynamodb.get_item(
        TableName=TABLE, Key={"user_name": {"S": "__execution_lock__"}, "scan_timestamp": {"S": "lock"}}
    )["Item"]
    assert item["expires_at"] == {"N": "1800"}


def test_a_scan_whose_lock_is_anothers_stops_before_it_saves(dynamodb: "DynamoDBClient", manifests: Manifests) -> None:
    lock = ExecutionLock(dynamodb, TABLE, 600)
    lock.acquire("another")

    with pytest.raises(LockLost, match="held by another"):
        save_progress(Event(scan=SCAN, cursor=CURSOR, page=page(0), writes=[]), lock=lock, manifests=manifests)

    assert manifests.load(SCAN["scan_timestamp"]) is None
