"""CleanUp."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import pytest

from functions.clean_up.handler import ExecutionEnd, Result, clean_up, handler
from functions.shared import metrics
from functions.shared.model import first_cursor
from functions.table.fleet import FleetAccount, plan_of
from tests.support.engine import Context
from tests.support.logs import captured_logs
from tests.support.scene import ME, OTHER, RETENTION_DAYS, STARTED_AT, TIMESTAMP, TTL, Scene

Emitted = Callable[[], list[dict[str, float]]]
ALL_DONE: Result = {"recorded": True, "reported": True, "released": True}
NOTHING_DONE: Result = {"recorded": False, "reported": False, "released": False}


@pytest.fixture
def scene(scene: Scene) -> Scene:
    """Return an execution that saved a page and was stopped after 90 seconds."""
    scene.begin()
    scene.save(1, 1, users=500)
    scene.clock.wait(90)
    scene.stepfunctions.status = "ABORTED"
    return scene


def end_of(
    scene: Scene, status: Any = "ABORTED", redrive_count: int | None = 0, redriven_at: datetime | None = None
) -> ExecutionEnd:
    """Return the event that tells of the end of an attempt, now."""
    end = ExecutionEnd(
        executionArn=ME,
        status=status,
        startDate=milliseconds(STARTED_AT),
        stopDate=milliseconds(scene.clock.now),
        redriveDate=None if redriven_at is None else milliseconds(redriven_at),
    )
    if redrive_count is not None:
        end["redriveCount"] = redrive_count
    return end


def milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def clean(scene: Scene, end: ExecutionEnd) -> Result:
    return clean_up(end, fence=scene.fence, stepfunctions=scene.stepfunctions, retention_days=RETENTION_DAYS)


@pytest.mark.parametrize(
    ("ended", "status", "error_type"),
    [
        ("ABORTED", "ABORTED", "ExecutionAborted"),
        ("TIMED_OUT", "FAILED", "ExecutionTimedOut"),
        ("FAILED", "FAILED", "ExecutionFailed"),
    ],
)
def test_a_run_that_ended_without_its_finally_path_is_recorded_told_and_frees_the_lock(
    scene: Scene, emitted: Emitted, ended: str, status: str, error_type: str
) -> None:
    assert clean(scene, end_of(scene, ended)) == ALL_DONE

    assert not scene.lock
    assert scene.stands == (status, 1, 1)
    assert (scene.manifest["error_type"], scene.manifest["duration_ms"]) == (error_type, 90_000)
    assert emitted() == [{"UsersScanned": 500, "RecordsWritten": 500, "Errors": 1, "Duration": 90_000, "Success": 0}]


@pytest.mark.parametrize(
    ("status", "told", "message"),
    [
        ("ABORTED", {}, "the execution was stopped by hand"),
        ("ABORTED", {"error": None, "cause": None}, "the execution was stopped by hand"),
        ("ABORTED", {"error": "Op", "cause": "too early"}, "the execution was stopped by hand: Op: too early"),
        ("ABORTED", {"cause": "too early"}, "the execution was stopped by hand: too early"),
        (
            "FAILED",
            {"error": "ScanFailed", "cause": '{"errorMessage": "no EmitMetrics"}'},
            "the execution ended without its finally path: ScanFailed: no EmitMetrics",
        ),
    ],
)
@pytest.mark.parametrize("by", ["event", "description"])
def test_what_whoever_ended_the_run_said_is_kept(
    scene: Scene, status: str, told: dict[str, Any], message: str, by: str
) -> None:
    end = end_of(scene, status)
    if by == "event":
        end |= told  # type: ignore[typeddict-item]
    else:
        scene.stepfunctions.status, scene.stepfunctions.told = status, told

    clean(scene, end)

    assert scene.manifest["error_message"] == message


def test_what_is_said_of_a_later_end_is_not_taken_for_this_one(scene: Scene) -> None:
    end = end_of(scene)
    scene.stepfunctions.redrive_count, scene.stepfunctions.told = 1, {"error": "Op", "cause": "the second time"}

    clean(scene, end)

    assert scene.manifest["error_message"] == "the execution was stopped by hand"


def test_an_attempt_that_failed_counts_apart_from_the_users_without_a_record(scene: Scene, emitted: Emitted) -> None:
    """The metric Errors counts both, so that its alarm hears of every failure."""
    scene.save(1, 2, users=700, errors=30)

    clean(scene, end_of(scene))

    assert scene.manifest["errors"] == 30
    assert [line["Errors"] for line in emitted()] == [31]


def test_its_end_is_logged_with_the_documented_message_and_its_identifiers(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, configured: None
) -> None:
    monkeypatch.setattr("functions.shared.clients.stepfunctions", lambda: scene.stepfunctions)

    with captured_logs() as lines:
        handler({"detail": end_of(scene)}, Context())  # type: ignore[arg-type]

    (line,) = [line for line in lines() if line["message"] == "Scan failed"]
    told = {name: line[name] for name in ("execution_arn", "scan_timestamp", "attempt", "error_type")}
    assert told == {
        "execution_arn": ME, "scan_timestamp": TIMESTAMP, "attempt": 1, "error_type": "ExecutionAborted",
    }  # fmt: skip


def test_after_an_ordinary_failure_nothing_is_left_to_do(scene: Scene, emitted: Emitted) -> None:
    scene.finish(1, "FAILED")
    scene.fence.mark_reported(scene.run())
    scene.fence.release(scene.run())

    with scene.untouched():
        assert clean(scene, end_of(scene, "FAILED")) == NOTHING_DONE
    assert emitted() == []


def test_a_lock_that_could_not_be_released_is_freed_and_the_scan_stays_complete(scene: Scene) -> None:
    scene.finish()
    scene.fence.mark_reported(scene.run())

    assert clean(scene, end_of(scene, "FAILED")) == {**NOTHING_DONE, "released": True}

    assert scene.stands == ("COMPLETE", 1, 1)


def test_the_lock_of_another_run_is_left_alone(scene: Scene) -> None:
    held = scene.given_lock(OTHER)

    assert clean(scene, end_of(scene))["released"] is False
    assert scene.lock == held


def test_the_scan_of_another_execution_is_left_alone(scene: Scene, emitted: Emitted) -> None:
    scene.given("RUNNING", arn=OTHER)
    scene.given_lock(OTHER)

    with scene.untouched():
        assert clean(scene, end_of(scene)) == NOTHING_DONE
    assert emitted() == []


def test_a_run_that_was_stopped_when_it_had_nothing_to_do_has_no_metrics(scene: Scene, emitted: Emitted) -> None:
    scene.given("SKIPPED", holder={"owner": OTHER})
    scene.given_lock(OTHER)

    with scene.untouched():
        assert clean(scene, end_of(scene)) == NOTHING_DONE
    assert emitted() == []


def test_a_run_that_was_stopped_before_it_began_is_recorded(scene: Scene, emitted: Emitted) -> None:
    scene.dynamodb.delete_item(
        TableName=scene.fence.table_name,
        Key={"user_name": {"S": "__scan__"}, "scan_timestamp": {"S": f"scan#{TIMESTAMP}"}},
    )
    scene.fence.release(scene.run())

    assert clean(scene, end_of(scene)) == {**ALL_DONE, "released": False}

    assert (scene.stands, scene.manifest["ttl"]) == (("ABORTED", 1, 0), TTL)
    assert len(emitted()) == 1


def test_the_duration_is_that_of_the_attempt(scene: Scene, emitted: Emitted) -> None:
    clean(scene, end_of(scene, redrive_count=1, redriven_at=scene.clock.now - timedelta(seconds=7)))

    assert [said["Duration"] for said in emitted()] == [7000]


def test_the_errors_of_a_former_attempt_are_not_counted_again(scene: Scene, emitted: Emitted) -> None:
    scene.save(1, 2, users=900, errors=25)
    clean(scene, end_of(scene))
    clean(scene, end_of(scene, redrive_count=1))

    assert [said["Errors"] for said in emitted()] == [26, 1]


# Events that come twice, late, or when the run goes on


def test_the_same_event_twice_changes_and_says_nothing_more(scene: Scene, emitted: Emitted) -> None:
    clean(scene, end_of(scene))

    with scene.untouched():
        assert clean(scene, end_of(scene)) == NOTHING_DONE
    assert len(emitted()) == 1


def test_a_late_event_leaves_the_attempt_that_runs_now_and_its_lock(scene: Scene, emitted: Emitted) -> None:
    """The end of attempt 1 is still told, as nobody has."""
    late = end_of(scene)
    scene.begin(2)
    scene.stepfunctions.redriven(1, scene.clock.now)
    before = (scene.stands, scene.lock)

    assert clean(scene, late) == {**NOTHING_DONE, "reported": True}
    assert clean(scene, late) == NOTHING_DONE

    assert (scene.stands, scene.lock) == before
    assert scene.manifest["reported"] == {1}
    (said,) = emitted()
    assert said["UsersScanned"] == 0, "the totals are those of attempt 2 by now"


def test_a_run_that_goes_on_past_acquire_lock_keeps_the_lock_it_has(scene: Scene) -> None:
    late = end_of(scene)
    scene.stepfunctions.redriven(1, scene.clock.now)

    assert clean(scene, late) == {**ALL_DONE, "released": False}

    assert scene.lock["attempt"] == 1


def test_a_description_that_is_behind_its_event_does_not_keep_the_lock(scene: Scene) -> None:
    """DescribeExecution is eventually consistent: it still calls the attempt running that has ended."""
    scene.stepfunctions.status = "RUNNING"

    assert clean(scene, end_of(scene)) == ALL_DONE


@pytest.mark.parametrize(
    ("status", "redrives", "attempt"),
    [
        pytest.param("ABORTED", 0, 1, id="never redriven"),
        pytest.param("ABORTED", 1, 2, id="redriven and ended again"),
        pytest.param("RUNNING", 1, 1, id="what runs now is not what has ended"),
        pytest.param("RUNNING", 0, 1, id="the description is behind"),
    ],
)
def test_an_event_that_tells_no_count_speaks_for_the_attempt_that_ended_last(
    scene: Scene, status: str, redrives: int, attempt: int
) -> None:
    scene.stepfunctions.status, scene.stepfunctions.redrive_count = status, redrives

    assert clean(scene, end_of(scene, redrive_count=None))["recorded"] is True
    assert scene.stands == ("ABORTED", attempt, 1)


# What late callers could do before there was a fence


def test_row_3_a_run_that_took_its_lock_after_it_was_stopped_is_cleaned_up(scene: Scene) -> None:
    """Row 3: AcquireLock was in flight when the run was stopped, and came before CleanUp."""
    end = end_of(scene)
    scene.clock.wait(20)
    scene.begin()

    assert clean(scene, end) == ALL_DONE
    assert (scene.stands, scene.lock) == (("ABORTED", 1, 1), {})


def test_row_4_stopped_redriven_and_stopped_again(scene: Scene, emitted: Emitted) -> None:
    """Row 4: the second attempt was stopped before any step of it wrote."""
    assert clean(scene, end_of(scene)) == ALL_DONE
    scene.clock.wait(60)

    assert clean(scene, end_of(scene, redrive_count=1)) == {**ALL_DONE, "released": False}

    assert (scene.stands, scene.lock) == (("ABORTED", 2, 1), {})
    assert scene.manifest["reported"] == {1, 2}
    assert len(emitted()) == 2


def test_row_4_stopped_in_the_middle_of_both_attempts(scene: Scene) -> None:
    """Row 4: the second attempt had begun."""
    clean(scene, end_of(scene))
    scene.begin(2)

    assert clean(scene, end_of(scene, redrive_count=1)) == ALL_DONE
    assert (scene.stands, scene.lock) == (("ABORTED", 2, 2), {})


def test_row_5_a_redrive_that_lands_between_its_reading_and_its_writing_is_left_alone(scene: Scene) -> None:
    """Row 5: the live attempt is neither marked as ended, nor loses its lock."""

    def redriven() -> None:
        scene.stepfunctions.redriven(1, scene.clock.now)
        scene.begin(2)

    result = clean(scene.overtaken(redriven), end_of(scene))

    assert result["recorded"] is False
    assert result["released"] is False
    assert (scene.stands, scene.lock["attempt"]) == (("RUNNING", 2, 2), 2)


def test_row_10_metrics_that_the_finally_path_noted_are_not_said_again(scene: Scene, emitted: Emitted) -> None:
    """Row 10: CleanUp after metrics were marked."""
    scene.finish(1, "FAILED", error=("AccessDenied", "no"))
    scene.fence.mark_reported(scene.run())

    assert clean(scene, end_of(scene, "FAILED"))["reported"] is False
    assert emitted() == []


def test_row_10_metrics_that_the_finally_path_recorded_and_did_not_say_are_said(scene: Scene, emitted: Emitted) -> None:
    """Row 10: CleanUp after EmitMetrics died in between; it says what EmitMetrics would have said."""
    scene.finish(1, "INCOMPLETE")

    with captured_logs() as lines:
        assert clean(scene, end_of(scene, "FAILED")) == {**ALL_DONE, "recorded": False}

    assert "Scan completed with errors" in [line["message"] for line in lines()]
    assert (scene.stands, scene.manifest["reported"]) == (("INCOMPLETE", 1, 1), {1})


def test_row_10_metrics_that_clean_up_recorded_and_did_not_say_are_said_by_its_retry(
    scene: Scene, emitted: Emitted
) -> None:
    """Row 10: the first try died in between."""
    with mock.patch.object(metrics, "emit", side_effect=TimeoutError), pytest.raises(TimeoutError):
        clean(scene, end_of(scene))

    assert clean(scene, end_of(scene)) == {**ALL_DONE, "recorded": False}
    (said,) = emitted()
    assert (said["UsersScanned"], said["Errors"]) == (500, 1)


def test_row_11_a_run_that_is_stopped_three_times_counts_one_error_each(scene: Scene, emitted: Emitted) -> None:
    """Row 11: Errors 1, 1, 1."""
    for redrives in range(3):
        clean(scene, end_of(scene, redrive_count=redrives))

    assert [said["Errors"] for said in emitted()] == [1, 1, 1]
    assert scene.manifest["errors"] == 0, "no user is without a record"


def test_row_11_nor_do_the_errors_show_in_the_attempt_that_goes_on(scene: Scene) -> None:
    """Row 11: the end of attempt 1 says nothing about attempt 2."""
    clean(scene, end_of(scene))
    scene.begin(2)

    assert scene.manifest["errors"] == first_cursor()["errors"]
    assert "error_type" not in scene.manifest


# The runs of the organization machine


MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:iam-user-monitor-organization"


@pytest.fixture
def fleet(scene: Scene) -> Scene:
    """Return a run of the organization machine that was stopped after 90 seconds; a scan of the second beside it."""
    plan = plan_of([FleetAccount("222222222222", "Shop")], [], "monitor")
    run = scene.run().of_fleet()
    scene.fence.begin(run, retention_days=RETENTION_DAYS, lease_seconds=10_800, plan=plan)
    scene.clock.wait(90)
    scene.stepfunctions.told = {"stateMachineArn": MACHINE}
    return scene


def clean_fleet(scene: Scene, end: ExecutionEnd, machine: str | None = MACHINE) -> Result:
    return clean_up(
        end,
        fence=scene.fence,
        stepfunctions=scene.stepfunctions,
        retention_days=RETENTION_DAYS,
        organization_state_machine=machine,
    )


def fleet_item(scene: Scene) -> dict[str, Any]:
    (item,) = [one for one in scene.everything() if one["scan_timestamp"].startswith("organization#")]
    return item


def locks(scene: Scene) -> list[str]:
    return [one["scan_timestamp"] for one in scene.everything() if one["user_name"] == "__execution_lock__"]


@pytest.mark.parametrize(("ended", "status"), [("ABORTED", "ABORTED"), ("TIMED_OUT", "FAILED"), ("FAILED", "FAILED")])
def test_a_run_of_all_accounts_that_ended_without_its_finally_path_is_recorded_and_frees_its_lock(
    fleet: Scene, emitted: Emitted, ended: str, status: str
) -> None:
    assert clean_fleet(fleet, end_of(fleet, ended)) == {"recorded": True, "reported": False, "released": True}

    item = fleet_item(fleet)
    assert (item["status"], item["attempt"], item["duration_ms"]) == (status, 1, 180_000)
    assert [one["account_id"] for one in item["accounts"]] == ["222222222222"]
    assert not {"users_scanned", "failed", "accounts_failed", "reported"} & item.keys()
    # Its accounts have metrics of their own.
    assert emitted() == []
    # And the scan beside it, which began in the same second, goes on.
    assert locks(fleet) == ["lock"]
    assert {one["status"] for one in fleet.everything() if one["scan_timestamp"].startswith("scan#")} == {"RUNNING"}


def test_without_an_organization_the_machine_is_not_asked_about(scene: Scene) -> None:
    assert clean(scene, end_of(scene)) == ALL_DONE


def test_a_scan_is_no_run_of_all_accounts(fleet: Scene) -> None:
    fleet.stepfunctions.told = {"stateMachineArn": MACHINE.removesuffix("-organization")}
    assert clean_fleet(fleet, end_of(fleet)) == ALL_DONE
    assert fleet_item(fleet)["status"] == "RUNNING"
    assert locks(fleet) == ["lock#organization"]


def test_after_an_ordinary_failure_of_all_accounts_nothing_is_left_to_do(fleet: Scene) -> None:
    fleet.fence.finish(
        fleet.run().of_fleet(),
        {"status": "INCOMPLETE", "duration_ms": 1, "attempt": 1, "accounts_failed": 1},
        ended_at=fleet.clock.now,
        error=None,
        retention_days=RETENTION_DAYS,
    )
    fleet.fence.release(fleet.run().of_fleet())
    with fleet.untouched():
        assert clean_fleet(fleet, end_of(fleet, "FAILED")) == NOTHING_DONE


def test_a_late_event_leaves_the_run_of_all_accounts_that_goes_on_and_its_lock(fleet: Scene) -> None:
    end = end_of(fleet)
    fleet.stepfunctions.redriven(1, fleet.clock.now)
    fleet.fence.begin(fleet.run(2).of_fleet(), retention_days=RETENTION_DAYS, lease_seconds=10_800)
    with fleet.untouched():
        assert clean_fleet(fleet, end) == NOTHING_DONE
