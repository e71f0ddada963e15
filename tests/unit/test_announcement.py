"""The cursor of the change events: each row of its table, and who is refused."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from functions.table.announcement import PICTURE_KEPT_DAYS, Announcements, Cursor
from functions.table.detection import Detection, Options, Picture
from functions.table.manifest import Manifest
from functions.table.scans import RecordedScan
from tests.support.publishing import EPOCH
from tests.support.recorded import TABLE, manifest_of
from tests.support.table import Table

OPTIONS = Options(guard_percent=30, activity=True)
FIRST, SECOND, THIRD = (RecordedScan.of(Manifest(manifest_of(f"2026-01-01T0{hour}:00:00Z", 1))) for hour in range(1, 4))
SAID = Detection((), None, Picture(since=EPOCH.isoformat()), False, 1, 0, 0)


@pytest.fixture
def announcements() -> Announcements:
    """Return those of an empty table."""
    table: Any = Table()
    return Announcements(table, TABLE)


def settle(announcements: Announcements, cursor: Cursor, scan: RecordedScan) -> bool:
    return announcements.settle(cursor, scan, SAID, events=7, now=EPOCH)


def at_first(announcements: Announcements) -> Cursor:
    """Announce the first scan, and return where the cursor is."""
    assert announcements.plan(announcements.cursor(), FIRST, OPTIONS)
    assert settle(announcements, announcements.cursor(), FIRST)
    return announcements.cursor()


def test_before_the_first_scan_there_is_none(announcements: Announcements) -> None:
    assert announcements.cursor() == Cursor()


def test_a_scan_is_planned_and_settled(announcements: Announcements) -> None:
    cursor = at_first(announcements)
    assert (cursor.scan_timestamp, cursor.listed_until, cursor.plan) == (
        FIRST.scan_timestamp, FIRST.listing[1], None)  # fmt: skip

    assert announcements.plan(cursor, SECOND, OPTIONS)
    planned = announcements.cursor()
    assert planned.plan is not None
    assert (planned.plan.scan_timestamp, planned.plan.options) == (SECOND.scan_timestamp, OPTIONS)
    assert settle(announcements, planned, SECOND)

    said = announcements.of_scan(SECOND.scan_timestamp)
    assert said is not None
    assert (said.previous, said.picture, said.options, said.events) == (
        FIRST.scan_timestamp, cursor.picture, OPTIONS, 7)  # fmt: skip
    assert announcements.picture(announcements.cursor().picture or {}) == SAID.picture  # type: ignore[arg-type]


def test_what_is_planned_is_not_planned_otherwise(announcements: Announcements) -> None:
    cursor = at_first(announcements)
    assert announcements.plan(cursor, SECOND, OPTIONS)

    assert not announcements.plan(cursor, THIRD, OPTIONS)
    assert not announcements.plan(Cursor(), THIRD, OPTIONS)

    plan = announcements.cursor().plan
    assert plan is not None
    assert plan.scan_timestamp == SECOND.scan_timestamp


def test_who_is_late_plans_nothing(announcements: Announcements) -> None:
    former = at_first(announcements)
    announcements.plan(former, SECOND, OPTIONS)
    settle(announcements, announcements.cursor(), SECOND)

    assert not announcements.plan(former, THIRD, OPTIONS)
    assert not announcements.plan(Cursor(), THIRD, OPTIONS)


def test_a_scan_is_settled_once(announcements: Announcements) -> None:
    announcements.plan(at_first(announcements), SECOND, OPTIONS)
    planned = announcements.cursor()
    assert settle(announcements, planned, SECOND)
    announcements.plan(announcements.cursor(), THIRD, OPTIONS)
    now = announcements.cursor()

    assert not settle(announcements, planned, SECOND)

    assert announcements.cursor() == now


def test_what_is_not_planned_is_not_settled(announcements: Announcements) -> None:
    cursor = at_first(announcements)
    announcements.plan(cursor, SECOND, OPTIONS)
    planned = announcements.cursor()

    assert not settle(announcements, planned, THIRD)
    assert announcements.of_scan(THIRD.scan_timestamp) is None
    assert not settle(announcements, replace(planned, scan_timestamp=None), SECOND)


def test_only_what_is_planned_is_given_up(announcements: Announcements) -> None:
    cursor = at_first(announcements)
    announcements.plan(cursor, SECOND, OPTIONS)
    planned = announcements.cursor()
    assert announcements.give_up(planned)
    assert announcements.cursor() == cursor

    announcements.plan(cursor, THIRD, OPTIONS)
    assert not announcements.give_up(planned)


def test_a_picture_that_stays_the_same_is_written_once_a_week(announcements: Announcements) -> None:
    """Each time would cost a write unit for every KB of it, and most scans find nothing changed."""
    writes: list[str] = []
    table: Any = announcements.dynamodb
    table.changed.append(lambda key, _, new: writes.append(key[1]) if key[1].startswith("baseline") else None)
    at_first(announcements)
    assert len(writes) == 1

    for days, written in ((1, 1), (7, 1), (7.1, 2), (8, 2)):
        scan = RecordedScan.of(Manifest(manifest_of(f"2026-01-02T00:00:{int(days * 7):02}Z", 1)))
        announcements.plan(announcements.cursor(), scan, OPTIONS)
        assert announcements.settle(announcements.cursor(), scan, SAID, events=1, now=EPOCH + timedelta(days=days))
        assert len(writes) == written
        ((key, item),) = [(key, item) for key, item in table.items.items() if key[1].startswith("baseline")]
        assert int(item["ttl"]["N"]) - (EPOCH + timedelta(days=days)).timestamp() >= PICTURE_KEPT_DAYS * 86_400, key

    other = replace(SAID, picture=Picture(since="2026-01-01T00:00:00.001Z"))
    scan = RecordedScan.of(Manifest(manifest_of("2026-01-03T00:00:00Z", 1)))
    announcements.plan(announcements.cursor(), scan, OPTIONS)
    announcements.settle(announcements.cursor(), scan, other, events=1, now=EPOCH + timedelta(days=9))
    assert len(writes) == 3
