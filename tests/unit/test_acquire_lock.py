"""AcquireLock."""

from typing import Any

import pytest

from functions.acquire_lock.handler import acquire_lock, handler
from functions.shared.errors import InvalidInput, LockHeld, Superseded
from functions.shared.model import first_cursor
from tests.support.engine import Context
from tests.support.logs import captured_logs
from tests.support.scene import (
    LEASE,
    ME,
    OTHER,
    RETENTION_DAYS,
    SPAN_LIMIT,
    STARTED,
    TIMESTAMP,
    TTL,
    Scene,
    cursor,
    run_event,
    scan,
)


def acquire(
    scene: Scene, attempt: int = 1, execution_input: Any = None, *, arn: str = ME, retention_days: int = RETENTION_DAYS
) -> dict[str, Any]:
    result = acquire_lock(
        {} if execution_input is None else execution_input,
        scene.run(attempt, arn),
        fence=scene.fence,
        stepfunctions=scene.stepfunctions,
        retention_days=retention_days,
        lease_seconds=LEASE,
        span_limit_seconds=SPAN_LIMIT,
    )
    return dict(result)


def test_a_new_scan_starts_at_the_first_page(scene: Scene) -> None:
    begun = {"acquired": True, "complete": False, "lock": "lock", "scan": scan(), "cursor": first_cursor()}
    assert acquire(scene) == begun


@pytest.mark.usefixtures("configured", "scene")
@pytest.mark.parametrize(("report", "details"), [("true", "false"), ("false", "true"), ("false", "false")])
def test_where_no_posture_is_to_be_read_the_state_machine_is_told(
    monkeypatch: pytest.MonkeyPatch, report: str, details: str
) -> None:
    monkeypatch.setenv("CREDENTIAL_REPORT_ENABLED", report)
    monkeypatch.setenv("AUTHORIZATION_DETAILS_ENABLED", details)

    acquired: Any = handler({"run": run_event(), "input": {}}, Context())  # type: ignore[arg-type]

    nothing = {"sections": {"credential_report": {"state": "OFF"}, "authorization": {"state": "OFF"}}}
    assert acquired.get("posture") == (
        nothing | {"root": None, "id": None, "chunks": 0} if report == details == "false" else None
    )


def test_a_lost_answer_and_a_retry_give_the_same_scan(scene: Scene) -> None:
    assert acquire(scene) == acquire(scene)


def test_a_redriven_scan_resumes_at_its_checkpoint(scene: Scene) -> None:
    acquire(scene)
    scene.save(1, 1, marker="m1", page=1, users=500)
    scene.finish(1, "FAILED")
    redriven = scene.clock.wait(60)

    assert acquire(scene, 2) == {
        "acquired": True,
        "complete": False,
        "lock": "lock",
        "scan": {**scan(2), "started_at": redriven},
        "cursor": cursor(sequence=2, marker="m1", page=1, users=500),
    }


def test_a_redriven_run_that_is_told_its_old_attempt_resumes_nevertheless(scene: Scene) -> None:
    acquire(scene)
    scene.finish(1, "FAILED")
    scene.stepfunctions.redriven(1, scene.clock.now)

    assert acquire(scene)["scan"]["attempt"] == 2
    assert (scene.stands, scene.lock["attempt"]) == (("RUNNING", 2, 1), 2)


# Skipped


def test_a_held_lock_skips_the_scan(scene: Scene) -> None:
    held = scene.given_lock(OTHER)

    assert acquire(scene) == {
        "acquired": False,
        "reason": "another execution holds the lock",
        "holder": {"owner": OTHER, "acquired_at": held["acquired_at"], "expires_at": held["expires_at"]},
    }


@pytest.mark.parametrize("status", ["RUNNING", "COMPLETE", "SKIPPED"])
def test_the_second_start_of_one_second_is_skipped_and_takes_no_lock(scene: Scene, status: str) -> None:
    """EventBridge may start two executions for one tick, and both would write under the same scan_timestamp."""
    scene.given(status, arn=OTHER)

    with scene.untouched():
        result = acquire(scene)

    assert result == {
        "acquired": False,
        "reason": "another execution that started in the same second has this scan",
        "holder": {"owner": OTHER},
    }


def test_a_redriven_scan_that_finds_the_lock_held_is_not_called_a_success(scene: Scene) -> None:
    acquire(scene)
    scene.fence.release(scene.run())
    scene.given_lock(OTHER)

    with pytest.raises(LockHeld, match=f"held by {OTHER} until"):
        acquire(scene, 2)


@pytest.mark.usefixtures("configured")
def test_a_skipped_run_logs_the_documented_line(scene: Scene) -> None:
    scene.given_lock(OTHER)

    with captured_logs() as lines:
        handler({"run": run_event(), "input": {}}, Context())  # type: ignore[arg-type]

    (line,) = [line for line in lines() if line["message"] == "Failed to acquire execution lock"]
    documented = {name: line[name] for name in ("level", "execution_arn", "scan_timestamp", "attempt", "holder")}
    assert documented == {
        "level": "WARNING", "execution_arn": ME, "scan_timestamp": TIMESTAMP, "attempt": 1, "holder": OTHER,
    }  # fmt: skip


# What late callers could do before there was a fence


def test_row_1_a_call_that_wakes_up_after_the_scan_was_completed_changes_nothing(scene: Scene) -> None:
    """Row 1: its answer was lost, the retry completed the scan, and only now the first call goes on."""
    acquire(scene)
    scene.finish()
    scene.fence.mark_reported(scene.run())
    scene.fence.release(scene.run())

    with scene.untouched():
        assert acquire(scene)["complete"] is True


def test_row_1_the_same_when_it_slept_between_reading_and_writing(scene: Scene) -> None:
    """Row 1: COMPLETE stays, and no lock appears for a finished execution."""
    acquire(scene)

    def the_retry_completes_the_scan() -> None:
        scene.finish()
        scene.fence.release(scene.run())

    acquire(scene.overtaken(the_retry_completes_the_scan))

    assert scene.stands == ("COMPLETE", 1, 0)
    assert not scene.lock


def test_row_3_a_cold_start_that_outlives_its_execution_takes_no_lock(scene: Scene) -> None:
    """Row 3: stopped while AcquireLock is in flight; CleanUp comes first."""
    scene.finish(1, "ABORTED")
    scene.stepfunctions.status = "ABORTED"

    with scene.untouched(), pytest.raises(Superseded):
        acquire(scene)


def test_row_6_a_complete_scan_that_is_redriven_while_another_runs_stays_complete(scene: Scene) -> None:
    """Row 6: ReleaseLock had failed; all that is left to do is what comes after the scan."""
    scene.given("COMPLETE", users_scanned=25, records_written=25, reported={1})
    scene.given_lock(OTHER)

    with scene.untouched():
        result = acquire(scene, 2)

    assert (result["acquired"], result["complete"]) == (True, True)
    assert result["scan"] == {**scan(2), "started_at": STARTED}
    assert result["outcome"] == {
        "status": "COMPLETE", "users_scanned": 25, "records_written": 25, "errors": 0, "duration_ms": 0, "attempt": 2,
        "publish": False,
    }  # fmt: skip


def test_row_6_metrics_of_the_complete_scan_that_nobody_emitted_are_made_up_for(scene: Scene, emitted: Any) -> None:
    """Row 6: EmitMetrics completed the scan and died before it said so."""
    scene.given("COMPLETE", users_scanned=25, records_written=25)

    acquire(scene, 2)
    acquire(scene, 2)

    (metrics,) = emitted()
    assert (metrics["UsersScanned"], metrics["Success"]) == (25, 1)
    assert scene.manifest["reported"] == {1}


def test_row_8_a_scan_that_is_redriven_days_later_lists_all_users_again(scene: Scene) -> None:
    """Row 8: today's users beside those of then would be no picture of any moment."""
    acquire(scene)
    scene.save(1, 1, marker="m1", page=1, users=500)
    scene.finish(1, "FAILED")
    scene.clock.wait(3 * 86_400)

    assert acquire(scene, 2)["cursor"] == first_cursor(2)
    assert (scene.manifest["marker"], scene.manifest["users_scanned"]) == (None, 0)


def test_row_9_a_redriven_scan_expires_when_it_would_have(scene: Scene) -> None:
    """Row 9: retention_days was lowered between the failure and the redrive."""
    acquire(scene)
    scene.finish(1, "FAILED")

    assert acquire(scene, 2, retention_days=29)["scan"]["ttl"] == TTL
    assert scene.manifest["ttl"] == TTL


@pytest.mark.parametrize("execution_input", [[1], "x", 1, True])
def test_row_12_an_input_that_is_no_object_is_refused_by_name(scene: Scene, execution_input: Any) -> None:
    """Row 12: and nothing is locked or begun."""
    with scene.untouched(), pytest.raises(InvalidInput, match="must be a JSON object"):
        acquire(scene, 1, execution_input)


@pytest.mark.usefixtures("configured")
def test_row_12_so_is_null(scene: Scene) -> None:
    """Row 12: the input null."""
    with scene.untouched(), pytest.raises(InvalidInput, match="not NoneType"):
        handler({"run": run_event(), "input": None}, Context())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "execution_input", [{"scan": "x"}, {"outcome": {"status": "COMPLETE"}}, {"Comment": "Insert your JSON here"}]
)
def test_row_12_an_input_cannot_pose_as_state(scene: Scene, execution_input: Any) -> None:
    """Row 12: the state begins with what AcquireLock says and nothing else."""
    expected = {"acquired": True, "complete": False, "lock": "lock", "scan": scan(), "cursor": first_cursor()}

    assert acquire(scene, 1, execution_input) == expected


@pytest.mark.parametrize("trigger", ["", "x" * 65, 7, None, ["schedule"], "two\nlines"])
def test_row_12_a_bad_trigger_is_refused_by_name(scene: Scene, trigger: Any) -> None:
    """Row 12: it is stored, logged and shown."""
    with scene.untouched(), pytest.raises(InvalidInput, match="trigger must be a text of 1 to 64 printable characters"):
        acquire(scene, 1, {"trigger": trigger})


@pytest.mark.parametrize(
    ("execution_input", "trigger"),
    [({}, "manual"), ({"trigger": "schedule"}, "schedule"), ({"trigger": "x" * 64}, "x" * 64)],
)
def test_the_trigger_is_kept(scene: Scene, execution_input: Any, trigger: str) -> None:
    acquire(scene, 1, execution_input)

    assert scene.manifest["trigger"] == trigger
