"""The manifest as it is stored: the checkpoint, the expiry, and what can be read from it."""

from datetime import timedelta
from typing import Any

import pytest

from functions.shared.model import Cursor, first_cursor
from functions.table.manifest import Manifest, beginning_of, expiry, progress_of, spans_too_long
from functions.table.wire import Item
from tests.support.scene import EPOCH, SPAN_LIMIT, STARTED, STARTED_AT, cursor

START = {"page": 0, "users_scanned": 0, "records_written": 0, "listed_from": None, "listed_until": None}
PAGE_3 = cursor(marker="m3", page=3, users=1500)
CHECKPOINT_3 = {
    "page": 3, "users_scanned": 1500, "records_written": 1500, "listed_from": STARTED, "listed_until": STARTED,
}  # fmt: skip


def stored(**more: Any) -> Manifest:
    return Manifest({"span_limit_seconds": SPAN_LIMIT, "marker": None, "checkpoint": START, **more})


# The checkpoint


def test_the_totals_are_always_saved() -> None:
    at = cursor(marker=None, page=3, users=1500, errors=25, restarts=1)

    assert progress_of(at) == {
        "users_scanned": 1500,
        "records_written": 1475,
        "errors": 25,
        "restarts": 1,
        "listed_from": STARTED,
        "listed_until": STARTED,
    }


def moved(at: Cursor) -> Item:
    progress = progress_of(at)
    return {name: progress[name] for name in ("marker", "checkpoint") if name in progress}


@pytest.mark.parametrize("page", [1, 3])
def test_the_checkpoint_moves_past_a_page_that_is_whole(page: int) -> None:
    assert moved({**PAGE_3, "page": page}) == {"marker": "m3", "checkpoint": {**CHECKPOINT_3, "page": page}}


def test_the_checkpoint_does_not_pass_a_page_of_which_a_record_is_missing() -> None:
    assert moved({**PAGE_3, "errors": 1}) == {}


def test_the_checkpoint_stays_before_the_last_page() -> None:
    """So that None means the first page, and never that there is nothing left to do."""
    assert moved({**PAGE_3, "marker": None}) == {}


@pytest.mark.parametrize(
    "first",
    [
        pytest.param({**PAGE_3, "page": 1, "errors": 1}, id="a record is missing"),
        pytest.param({**PAGE_3, "page": 1, "marker": None}, id="it is the last page, too"),
    ],
)
def test_row_7_the_first_page_of_a_listing_takes_the_checkpoint_of_the_listing_before_away(first: Cursor) -> None:
    """Row 7: a restarted listing that loses a record must not resume where another one was."""
    assert moved(first) == {"marker": None, "checkpoint": START}


@pytest.mark.parametrize("at", [first_cursor(), PAGE_3])
def test_an_attempt_that_begins_is_at_its_checkpoint(at: Cursor) -> None:
    checkpoint = {name: at[name] for name in START}  # type: ignore[literal-required]

    assert beginning_of(at) == {**progress_of(at), "marker": at["marker"], "checkpoint": checkpoint}


# Resuming


def test_a_scan_without_a_checkpoint_resumes_at_the_first_page() -> None:
    assert stored().resume_at(STARTED_AT, 7) == first_cursor(7)


def test_a_scan_that_never_began_resumes_at_the_first_page() -> None:
    assert Manifest({"status": "FAILED", "attempt": 1}).resume_at(STARTED_AT, 1) == first_cursor(1)


def test_a_scan_resumes_at_its_checkpoint_without_the_errors_of_the_attempt_before() -> None:
    manifest = stored(marker="m3", checkpoint=CHECKPOINT_3, errors=25, restarts=1, users_scanned=2000)

    assert manifest.resume_at(STARTED_AT, 7) == {**PAGE_3, "sequence": 7}


@pytest.mark.parametrize(
    ("seconds", "resumed"), [(SPAN_LIMIT, True), (SPAN_LIMIT + 0.001, False), (13 * 86_400, False)]
)
def test_row_8_a_listing_goes_on_only_within_the_span_that_a_scan_may_speak_for(seconds: float, resumed: bool) -> None:
    """Row 8: redriven later, all users are listed again."""
    manifest = stored(marker="m3", checkpoint=CHECKPOINT_3)

    cursor_then = manifest.resume_at(STARTED_AT + timedelta(seconds=seconds), 7)

    assert cursor_then == ({**PAGE_3, "sequence": 7} if resumed else first_cursor(7))


def test_a_listing_of_which_nobody_knows_when_it_began_is_too_old() -> None:
    assert spans_too_long(None, STARTED_AT, SPAN_LIMIT)


# Expiry


@pytest.mark.parametrize(("retention_days", "days"), [(1, 29), (29, 29), (30, 30), (3650, 3650)])
def test_row_9_no_scan_expires_while_it_can_be_redriven_or_would_be_needed_whole(
    retention_days: int, days: int
) -> None:
    """Row 9: 14 days to redrive it, and 14 days more."""
    assert expiry(STARTED_AT, retention_days) == EPOCH + days * 86_400


# Reading


def test_a_manifest_that_never_began_says_so_in_zeros() -> None:
    manifest = Manifest({"scan_timestamp": "scan#2026-01-31T10:00:00Z", "status": "FAILED", "started_at": STARTED})

    assert manifest.scan_timestamp == "2026-01-31T10:00:00Z"
    assert (manifest.attempt, manifest.sequence, manifest.reported, manifest.error) == (1, 0, frozenset(), None)
    assert manifest.attempt_started_at == STARTED_AT
    assert manifest.outcome == {
        "status": "FAILED", "users_scanned": 0, "records_written": 0, "errors": 0, "duration_ms": 0, "attempt": 1,
        "publish": False,
    }  # fmt: skip


def test_an_error_without_a_message_is_an_error() -> None:
    assert Manifest({"error_type": "States.Timeout"}).error == ("States.Timeout", "")
