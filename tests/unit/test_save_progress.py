"""SaveProgress."""

import pytest

from functions.save_progress.handler import Event, Progress, fold, save_progress
from functions.shared.errors import LockLost, Superseded, TableThrottled
from functions.shared.model import Cursor, PageCounts, WriteResult, first_cursor, nothing_asked
from functions.shared.run import Run
from tests.support.scene import EPOCH, LEASE, OTHER, STARTED, Scene, cursor, run_event, scan

LATER = "2026-01-31T10:05:00.000Z"


def page(
    count: int, next_marker: str | None = "m2", *, restarted: bool = False, listed_from: str = STARTED
) -> PageCounts:
    return PageCounts(
        count=count, next_marker=next_marker, restarted=restarted, listed_from=listed_from, listed_until=LATER
    )


def written(*counts: int) -> list[WriteResult]:
    return [WriteResult(written=count, failed=0) for count in counts]


def save(scene: Scene, at: Cursor, listed: PageCounts, writes: list[WriteResult], run: Run | None = None) -> Progress:
    return save_progress(
        Event(run=run_event(), scan=scan(), cursor=at, page=listed, writes=writes),
        run or scene.run(),
        fence=scene.fence,
        stepfunctions=scene.stepfunctions,
        lease_seconds=LEASE,
    )


def test_what_is_known_of_posture_goes_on_to_the_next_page(scene: Scene) -> None:
    scene.begin()
    event = Event(run=run_event(), scan=scan(), cursor=first_cursor(), page=page(2), writes=written(2))
    known = nothing_asked()

    after = save_progress(
        {**event, "posture": known},
        scene.run(),
        fence=scene.fence,
        stepfunctions=scene.stepfunctions,
        lease_seconds=LEASE,
    )

    assert after["posture"] == known


# Folding a page into the totals


def test_a_page_is_added_to_the_totals() -> None:
    writes = [WriteResult(written=100, failed=0), WriteResult(written=70, failed=30)]

    assert fold(cursor(sequence=4), page(200), writes) == {
        "marker": "m2",
        "page": 2,
        "sequence": 5,
        "users_scanned": 700,
        "records_written": 670,
        "errors": 30,
        "restarts": 0,
        "listed_from": STARTED,
        "listed_until": LATER,
    }


def test_a_batch_that_reported_nothing_counts_as_failed() -> None:
    assert fold(cursor(), page(200), written(100))["errors"] == 100


def test_an_empty_page_adds_nothing() -> None:
    folded = fold(cursor(), page(0, None), [])

    assert (folded["users_scanned"], folded["records_written"], folded["errors"]) == (500, 500, 0)
    assert folded["marker"] is None


def test_a_scan_lists_from_its_first_page_until_its_last() -> None:
    first = fold(first_cursor(), page(1, listed_from=STARTED), written(1))
    second = fold(first, page(1, listed_from=LATER), written(1))

    assert (second["listed_from"], second["listed_until"]) == (STARTED, LATER)


def test_a_listing_that_began_again_counts_from_zero() -> None:
    folded = fold(cursor(sequence=4, page=4, errors=7), page(10, restarted=True, listed_from=LATER), written(10))

    assert folded == {
        **cursor(sequence=5, marker="m2", page=1, users=10, restarts=1, listed_from=LATER),
        "listed_until": LATER,
    }


def test_a_restart_is_remembered_for_the_rest_of_the_attempt() -> None:
    """ListUsers allows one refused marker, so that no scan goes round in circles."""
    restarted = fold(cursor(), page(10, restarted=True), written(10))

    assert fold(restarted, page(10), written(10))["restarts"] == 1


@pytest.mark.parametrize(
    ("writes", "refused"),
    [
        ([(0, 100, 100), (0, 100, 100)], True),
        ([(0, 100, 100), (0, 100, None)], True),
        ([(0, 100, 100), (1, 99, 99)], False),
        ([(0, 100, None), (0, 100, None)], False),
        ([], False),
    ],
    ids=["throttled", "one batch fails otherwise", "one record", "no throttling", "nobody"],
)
def test_a_page_of_which_the_throttled_table_took_nothing_is_not_saved(
    scene: Scene, writes: list[tuple[int, int, int | None]], refused: bool
) -> None:
    """Every other failure of a batch is counted, and the scan goes on: the page costs no time."""
    scene.begin()
    results = [
        WriteResult(written=w, failed=f) if t is None else WriteResult(written=w, failed=f, throttled=t)
        for w, f, t in writes
    ]

    if refused:
        with scene.untouched(), pytest.raises(TableThrottled, match=r"of the 200 writes of page 1 .*, and took none"):
            save(scene, first_cursor(), page(200 if writes else 0), results)
    else:
        save(scene, first_cursor(), page(200 if writes else 0), results)


# Saving it


def test_progress_renews_the_lease_and_moves_the_checkpoint(scene: Scene) -> None:
    scene.begin()
    scene.clock.wait(200)

    progress = save(scene, first_cursor(), page(100), written(100))

    assert progress == {"scan": scan(), "cursor": fold(first_cursor(), page(100), written(100))}
    assert (scene.stands, scene.manifest["marker"]) == (("RUNNING", 1, 1), "m2")
    assert scene.lock["expires_at"] == EPOCH + 200 + LEASE


def test_a_lost_answer_and_a_retry_count_a_page_once(scene: Scene) -> None:
    scene.begin()
    first = save(scene, first_cursor(), page(100), written(100))

    with scene.untouched():
        assert save(scene, first_cursor(), page(100), written(100)) == first


def test_a_scan_whose_lock_is_anothers_stops_before_it_saves(scene: Scene) -> None:
    scene.given("RUNNING")
    scene.given_lock(OTHER)

    with scene.untouched(), pytest.raises(LockLost, match=f"held by {OTHER} until 2026-01-31T10:10:00Z, unless"):
        save(scene, first_cursor(), page(0), [])


def lost(scene: Scene, at: Cursor, run: Run | None = None) -> str:
    """Return why a page cannot be saved when another execution has the lock."""
    scene.given_lock(OTHER)
    with scene.untouched(), pytest.raises(LockLost) as raised:
        save(scene, at, page(0), [], run=run)
    return str(raised.value)


def test_a_lease_that_had_ended_is_told_from_a_lock_that_was_deleted(scene: Scene) -> None:
    scene.given("RUNNING")
    scene.clock.wait(LEASE - 1)
    assert "it was deleted while this scan had it, until 2026-01-31T10:10:00Z at least" in lost(scene, first_cursor())
    scene.clock.wait(1)
    over = "this scan has not renewed it since 2026-01-31T10:00:00Z, and its lease of 600 s is over"
    assert over in lost(scene, first_cursor())


def test_the_lease_counts_from_the_page_before(scene: Scene) -> None:
    scene.given("RUNNING", sequence=1)
    scene.clock.wait(LEASE + 60)
    assert "deleted while this scan had it, until 2026-01-31T10:15:00Z" in lost(scene, cursor(listed_from=LATER))


def test_a_lock_that_was_freed_by_a_stop_was_not_deleted(scene: Scene) -> None:
    scene.given("ABORTED")
    assert "it was freed when this run was stopped" in lost(scene, first_cursor(), run=scene.run(2))


def test_a_run_that_was_redriven_past_acquire_lock_goes_on_as_the_next_attempt(scene: Scene) -> None:
    scene.given("ABORTED", sequence=1)
    redriven = scene.clock.wait(60)

    progress = save(scene, cursor(), page(100), written(100), run=scene.run(2))

    assert progress["scan"] == {**scan(2), "started_at": redriven}
    assert (scene.stands, scene.lock["attempt"]) == (("RUNNING", 2, 2), 2)


def test_so_it_does_when_it_is_told_its_old_attempt(scene: Scene) -> None:
    scene.given("ABORTED", sequence=1)
    scene.stepfunctions.redriven(1, scene.clock.now)

    assert save(scene, cursor(), page(100), written(100))["scan"]["attempt"] == 2


# What late callers could do before there was a fence


def test_row_1_a_page_that_wakes_up_after_the_scan_was_completed_changes_nothing(scene: Scene) -> None:
    """Row 1: totals do not go back, and no lock appears for a finished execution."""
    scene.begin()
    save(scene, first_cursor(), page(100, None), written(100))
    scene.finish()
    scene.fence.release(scene.run())

    with scene.untouched(), pytest.raises(Superseded):
        save(scene, first_cursor(), page(100, None), written(90))


def test_row_2_a_page_in_flight_when_the_run_was_stopped_changes_nothing(scene: Scene) -> None:
    """Row 2: StopExecution, CleanUp, then the SaveProgress that was in flight."""
    scene.begin()
    scene.finish(1, "ABORTED")
    scene.fence.release(scene.run())
    scene.stepfunctions.status = "ABORTED"

    with scene.untouched(), pytest.raises(Superseded):
        save(scene, first_cursor(), page(100), written(100))


def test_row_2_not_even_when_the_run_goes_on_meanwhile(scene: Scene) -> None:
    """Row 2: redriven since; a call that began before the redrive is a late one of the former attempt."""
    scene.begin()
    scene.finish(1, "ABORTED")
    late = scene.run()
    scene.clock.wait(30)
    scene.begin(2)
    scene.stepfunctions.redriven(1, scene.clock.now)

    with scene.untouched(), pytest.raises(Superseded):
        save(scene, first_cursor(), page(100), written(100), run=late)


def test_row_7_a_restarted_listing_that_lost_a_record_resumes_at_the_first_page(scene: Scene) -> None:
    """Row 7: the checkpoint of the listing before says nothing about this one."""
    scene.begin()
    at = save(scene, first_cursor(), page(5), written(5))["cursor"]
    save(scene, at, page(5, "m1", restarted=True), written(4))
    scene.finish(1, "FAILED")

    assert scene.begin(2).cursor == first_cursor(3)


def test_row_7_and_so_it_does_when_that_was_the_last_page(scene: Scene) -> None:
    """Row 7: all users fit into one page now."""
    scene.begin()
    at = save(scene, first_cursor(), page(5), written(5))["cursor"]
    save(scene, at, page(5, None, restarted=True), written(5))
    scene.finish(1, "FAILED")

    assert scene.begin(2).cursor == first_cursor(3)
