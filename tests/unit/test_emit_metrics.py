"""EmitMetrics."""

import json
from collections.abc import Callable, Collection
from typing import Any

import pytest

from functions.emit_metrics.handler import emit_metrics
from functions.shared.errors import Superseded
from functions.shared.model import Outcome
from tests.support.logs import captured_logs
from tests.support.scene import OTHER, RETENTION_DAYS, TIMESTAMP, Scene, cursor, scan

Emitted = Callable[[], list[dict[str, float]]]
DONE = cursor(sequence=2, marker=None, page=2, users=700)
DENIED = {
    "Error": "AccessDenied",
    "Cause": json.dumps({"errorType": "AccessDenied", "errorMessage": "no iam:ListUsers"}),
}
COMPLETE: dict[str, Any] = {"scan": scan(), "cursor": DONE}
FAILED: dict[str, Any] = {**COMPLETE, "error": DENIED}


@pytest.fixture
def scene(scene: Scene) -> Scene:
    """Return an execution whose scan has run for 12.345 seconds."""
    scene.begin()
    scene.clock.wait(12.345)
    return scene


SECTIONS = ("credential_report", "authorization")


def emit(
    scene: Scene,
    state: dict[str, Any],
    attempt: int = 1,
    wanted: Collection[str] = SECTIONS,
    *,
    publishes: bool = True,
) -> Outcome:
    return emit_metrics(
        state,  # type: ignore[arg-type]
        scene.run(attempt),
        fence=scene.fence,
        stepfunctions=scene.stepfunctions,
        retention_days=RETENTION_DAYS,
        wanted_sections=wanted,
        publishes=publishes,
    )


def test_a_complete_scan_emits_the_five_metrics(scene: Scene, emitted: Emitted) -> None:
    outcome = emit(scene, COMPLETE)

    assert outcome == {
        "status": "COMPLETE",
        "users_scanned": 700,
        "records_written": 700,
        "errors": 0,
        "duration_ms": 12_345,
        "attempt": 1,
        "publish": True,
    }
    assert emitted() == [{"UsersScanned": 700, "RecordsWritten": 700, "Errors": 0, "Duration": 12_345, "Success": 1}]
    assert scene.stands == ("COMPLETE", 1, 0)


def test_the_metrics_have_their_units_and_no_dimensions(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """The documented alarms name no dimension."""
    emit(scene, COMPLETE)

    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith('{"_aws"')]
    (directive,) = json.loads(line)["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "IAMUserMonitor"
    assert directive["Dimensions"] == [[]]
    assert {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]} == {
        "UsersScanned": "Count",
        "RecordsWritten": "Count",
        "Errors": "Count",
        "Duration": "Milliseconds",
        "Success": "None",
    }


def test_missing_records_make_the_scan_incomplete(scene: Scene, emitted: Emitted) -> None:
    outcome = emit(scene, {**COMPLETE, "cursor": {**DONE, "records_written": 675, "errors": 25}})

    assert outcome["status"] == "INCOMPLETE"
    (metrics,) = emitted()
    assert (metrics["Errors"], metrics["Success"]) == (25, 0)


def test_a_failed_scan_counts_its_error(scene: Scene, emitted: Emitted) -> None:
    assert emit(scene, FAILED)["status"] == "FAILED"

    assert emitted() == [{"UsersScanned": 700, "RecordsWritten": 700, "Errors": 1, "Duration": 12_345, "Success": 0}]
    assert (scene.manifest["error_type"], scene.manifest["error_message"]) == ("AccessDenied", "no iam:ListUsers")


def test_the_duration_is_that_of_the_attempt(scene: Scene) -> None:
    scene.finish(1, "FAILED")
    redriven = scene.clock.now
    scene.stepfunctions.redriven(1, redriven)
    scene.clock.wait(7)

    assert emit(scene, FAILED, 2)["duration_ms"] == 7000


@pytest.mark.parametrize(
    ("state", "message", "level"),
    [
        (COMPLETE, "Scan completed successfully", "INFO"),
        ({**COMPLETE, "cursor": {**DONE, "errors": 25}}, "Scan completed with errors", "WARNING"),
        (FAILED, "Scan failed", "ERROR"),
    ],
)
def test_the_end_is_logged_with_the_documented_message_and_keys(
    scene: Scene, state: dict[str, Any], message: str, level: str
) -> None:
    with captured_logs() as lines:
        emit(scene, state)

    (line,) = [line for line in lines() if line["message"].startswith("Scan ")]
    assert (line["message"], line["level"]) == (message, level)
    assert (line["total_users"], line["records_written"], line["duration_seconds"]) == (700, 700, 12.345)
    assert "errors" in line
    if "error" in state:
        assert (line["error_type"], line["error_message"]) == ("AccessDenied", "no iam:ListUsers")


# Changes


@pytest.mark.parametrize(
    ("state", "publishes", "expected"),
    [
        (COMPLETE, True, True),
        (COMPLETE, False, False),
        (FAILED, True, False),
        ({**COMPLETE, "cursor": {**DONE, "errors": 25}}, True, False),
    ],
)
def test_the_changes_of_a_complete_scan_are_to_be_published(
    scene: Scene, state: dict[str, Any], publishes: bool, expected: bool
) -> None:
    assert emit(scene, state, publishes=publishes)["publish"] is expected

    assert emit(scene, state, publishes=not publishes)["publish"] is expected, "a retry says what was noted"
    assert scene.manifest["publish"] is expected


# Posture

ROOT = {"arn": "arn:aws:iam::123456789012:root", "mfa_active": True}
CURRENT = {"state": "CURRENT", "generated_time": "2026-01-31T09:00:00Z", "users": 700}
KNOWN = {"sections": {"credential_report": CURRENT, "authorization": CURRENT}, "root": ROOT, "id": "a", "chunks": 1}


def test_the_manifest_tells_what_is_known_of_posture_and_of_root(scene: Scene) -> None:
    emit(scene, {**COMPLETE, "posture": KNOWN})

    assert (scene.manifest["sections"], scene.manifest["root"]) == (KNOWN["sections"], ROOT)
    assert scene.manifest["posture"] == {"id": "a", "chunks": 1}
    assert scene.stands == ("COMPLETE", 1, 0), "it is judged by the listing only"


def test_a_failed_scan_tells_it_too(scene: Scene) -> None:
    emit(scene, {**FAILED, "posture": KNOWN})
    assert scene.manifest["root"] == ROOT


def test_where_read_posture_failed_both_sections_say_why(scene: Scene) -> None:
    cause = json.dumps({"errorType": "AccessDenied", "errorMessage": "no report: " + "x" * 2000, "stackTrace": ["y"]})
    missing = {"state": "MISSING", "error_type": "AccessDenied"}
    sections = {"credential_report": missing, "authorization": missing}
    failed = {"sections": sections, "root": None, "id": None, "chunks": 0}

    emit(scene, {**COMPLETE, "posture": {**failed, "error": {"Error": "AccessDenied", "Cause": cause}}})

    message = ("no report: " + "x" * 2000)[:1000]
    assert scene.manifest["sections"] == {name: {**missing, "error_message": message} for name in sections}
    assert "root" not in scene.manifest


def test_where_read_posture_failed_what_is_switched_off_was_not_asked_for(scene: Scene) -> None:
    """The state machine cannot know it: it calls both sections missing."""
    missing = {"state": "MISSING", "error_type": "Throttled"}
    failed = {"sections": dict.fromkeys(SECTIONS, missing), "root": None, "id": None, "chunks": 0}

    emit(
        scene,
        {**COMPLETE, "posture": {**failed, "error": {"Error": "Throttled", "Cause": "slow down"}}},
        1,
        SECTIONS[:1],
    )

    assert scene.manifest["sections"] == {
        "credential_report": {**missing, "error_message": "slow down"},
        "authorization": {"state": "OFF"},
    }


def test_what_a_former_attempt_knew_of_root_does_not_stay(scene: Scene) -> None:
    emit(scene, {**FAILED, "posture": KNOWN})
    scene.begin(2)

    emit(scene, {**COMPLETE, "scan": scan(2), "posture": {**KNOWN, "root": None}}, 2)

    assert "root" not in scene.manifest
    assert scene.manifest["sections"] == KNOWN["sections"]


def test_a_run_from_before_there_was_any_tells_nothing(scene: Scene) -> None:
    emit(scene, COMPLETE)
    assert not {"sections", "root"} & scene.manifest.keys()


# Late, and again


def test_a_retry_after_a_lost_answer_emits_nothing_twice(scene: Scene, emitted: Emitted) -> None:
    first = emit(scene, COMPLETE)

    with scene.untouched():
        assert emit(scene, COMPLETE) == first
    assert len(emitted()) == 1
    assert scene.stepfunctions.asked == 0, "nothing that a redrive could change"


def test_a_late_call_of_a_former_attempt_emits_nothing(scene: Scene, emitted: Emitted) -> None:
    scene.finish(1, "FAILED")
    late = scene.run()
    scene.clock.wait(30)
    scene.begin(2)
    scene.stepfunctions.redriven(1, scene.clock.now)

    with scene.untouched(), pytest.raises(Superseded):
        emit_metrics(
            COMPLETE,  # type: ignore[arg-type]
            late,
            fence=scene.fence,
            stepfunctions=scene.stepfunctions,
            retention_days=RETENTION_DAYS,
            wanted_sections=SECTIONS,
            publishes=True,
        )
    assert emitted() == []


def test_a_stopped_run_is_not_turned_into_a_complete_one(scene: Scene, emitted: Emitted) -> None:
    """Stopped in EmitMetrics: CleanUp was faster."""
    scene.finish(1, "ABORTED", error=("ExecutionAborted", "stopped"))
    scene.fence.mark_reported(scene.run())
    scene.stepfunctions.status = "ABORTED"

    with scene.untouched():
        assert emit(scene, COMPLETE)["status"] == "ABORTED"
    assert emitted() == []


def test_a_stopped_run_is_not_logged_as_a_success(scene: Scene) -> None:
    """CleanUp has recorded the end and not told it yet."""
    scene.finish(1, "ABORTED", error=("ExecutionAborted", "stopped"))
    scene.stepfunctions.status = "ABORTED"

    with captured_logs() as lines:
        emit(scene, COMPLETE)

    (line,) = [line for line in lines() if line["message"].startswith("Scan ")]
    assert (line["message"], line["error_type"]) == ("Scan failed", "ExecutionAborted")


def test_a_run_that_was_redriven_into_this_step_ends_as_the_new_attempt(scene: Scene, emitted: Emitted) -> None:
    """Stopped in EmitMetrics, recorded by CleanUp, redriven; the context object still tells the old attempt."""
    scene.finish(1, "ABORTED")
    scene.stepfunctions.redriven(1, scene.clock.now)

    outcome = emit(scene, COMPLETE)

    assert (outcome["status"], outcome["attempt"]) == ("COMPLETE", 2)
    assert (scene.stands, scene.manifest["reported"]) == (("COMPLETE", 2, 0), {2})
    assert [metrics["Success"] for metrics in emitted()] == [1]


def test_an_attempt_that_is_known_to_have_been_superseded_ends_as_the_newest(scene: Scene) -> None:
    """The context object tells attempt 1; SaveProgress had found out that this is attempt 2."""
    scene.save(2, 1, told=1)
    scene.stepfunctions.redriven(1, scene.clock.now)

    assert emit(scene, COMPLETE)["attempt"] == 2
    assert scene.stands == ("COMPLETE", 2, 1)


def test_every_attempt_emits_its_own_metrics(scene: Scene, emitted: Emitted) -> None:
    emit(scene, FAILED)
    emit(scene, {**COMPLETE, "scan": scan(2)}, 2)

    assert [metrics["Success"] for metrics in emitted()] == [0, 1]
    assert scene.manifest["reported"] == {1, 2}


# Runs that failed before there was a scan


def test_a_run_whose_scan_never_began_has_metrics_and_a_manifest(scene: Scene, emitted: Emitted) -> None:
    scene.dynamodb.delete_item(
        TableName=scene.fence.table_name,
        Key={"user_name": {"S": "__scan__"}, "scan_timestamp": {"S": f"scan#{TIMESTAMP}"}},
    )

    emit(scene, {"error": DENIED, "redrive_count": 0})

    assert scene.stands == ("FAILED", 1, 0)
    (metrics,) = emitted()
    assert (metrics["UsersScanned"], metrics["Errors"], metrics["Success"]) == (0, 1, 0)


def test_the_manifest_of_another_execution_is_left_alone_and_the_failure_counts(scene: Scene, emitted: Emitted) -> None:
    scene.given("RUNNING", arn=OTHER)

    with scene.untouched():
        assert emit(scene, {"error": DENIED, "redrive_count": 0})["status"] == "FAILED"
    (metrics,) = emitted()
    assert metrics["Errors"] == 1


def test_a_failed_attempt_on_a_complete_scan_fails_and_leaves_the_scan(scene: Scene, emitted: Emitted) -> None:
    """Complete, redriven, and AcquireLock failed: the run has failed, the scan is what it was."""
    scene.finish()

    before = scene.manifest
    assert emit(scene, {"error": DENIED, "redrive_count": 1}, 2)["status"] == "FAILED"

    assert scene.manifest == {**before, "reported": {2}}
    (metrics,) = emitted()
    assert (metrics["Errors"], metrics["Success"]) == (1, 0)


def test_a_run_that_fails_although_it_was_to_be_skipped_counts_as_failed(scene: Scene, emitted: Emitted) -> None:
    """AcquireLock had noted the skip, and its answers were lost until its retries were used up."""
    scene.given("SKIPPED", holder={"owner": OTHER})

    with captured_logs() as lines:
        assert emit(scene, {"error": DENIED, "redrive_count": 0})["status"] == "FAILED"

    assert "Scan failed" in [line["message"] for line in lines()]
    assert scene.stands == ("SKIPPED", 1, 0)


# What late callers could do before there was a fence


def test_row_10_a_retry_while_the_first_call_still_runs_says_the_same(scene: Scene, emitted: Emitted) -> None:
    """Row 10: metrics are said before they are noted as said: perhaps twice, never not at all, and never otherwise."""
    retried: list[Outcome] = []
    first = emit(scene.overtaken(lambda: None, lambda: retried.append(emit(scene, COMPLETE))), COMPLETE)

    assert retried == [first]
    said = emitted()
    assert said == [said[0]] * 2
    assert (scene.stands, scene.manifest["reported"]) == (("COMPLETE", 1, 0), {1})


def test_row_10_a_retry_says_what_the_first_call_had_no_time_to_say(scene: Scene, emitted: Emitted) -> None:
    """Row 10: recorded, and died."""
    scene.finish()

    emit(scene, COMPLETE)

    assert [metrics["Success"] for metrics in emitted()] == [1]
    assert scene.manifest["reported"] == {1}


def test_row_11_a_scan_that_was_stopped_and_completed_later_keeps_no_error(scene: Scene) -> None:
    """Row 11: aborted, redriven, COMPLETE."""
    scene.finish(1, "ABORTED", error=("ExecutionAborted", "stopped"))

    emit(scene, {**COMPLETE, "scan": scan(2)}, 2)

    assert scene.stands == ("COMPLETE", 2, 0)
    assert not scene.manifest.keys() & {"error_type", "error_message"}


@pytest.mark.parametrize(
    "error", [{}, {"Error": "States.Runtime", "Cause": ""}, {"Error": "InvalidInput", "Cause": "x"}]
)
def test_row_12_whatever_ended_acquire_lock_is_recorded(scene: Scene, error: dict[str, str]) -> None:
    """Row 12: the state holds the error of AcquireLock and nothing of the input."""
    assert emit(scene, {"error": error, "redrive_count": 0})["status"] == "FAILED"
    assert scene.manifest["error_type"] == error.get("Error", "UnknownError")
