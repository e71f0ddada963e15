"""FailScan."""

import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from functions.fail_scan.handler import fail_scan, story
from functions.shared.errors import ScanFailed
from functions.shared.run import Run
from tests.support.scene import Clock, FakeStepFunctions, cursor, outcome, run_event, scan

CURSOR = cursor(page=2, users=700, errors=25)
ERROR = {"Error": "AccessDenied", "Cause": json.dumps({"errorMessage": "no iam:ListUsers", "stackTrace": ["…"]})}
NOT_BEGUN: dict[str, Any] = {"error": ERROR, "redrive_count": 0}


@pytest.fixture
def stepfunctions() -> FakeStepFunctions:
    return FakeStepFunctions()


def fail(clock: Clock, stepfunctions: Any, state: dict[str, Any], redrive_count: int = 0) -> dict[str, Any]:
    run = Run.of({"run": run_event(redrive_count), "state": state})
    return dict(fail_scan(state, run, stepfunctions=stepfunctions))  # type: ignore[arg-type]


def test_a_run_fails_with_its_original_error(clock: Clock, stepfunctions: FakeStepFunctions) -> None:
    with pytest.raises(ScanFailed) as raised:
        fail(clock, stepfunctions, {"error": ERROR, "scan": scan(), "cursor": CURSOR})

    message = str(raised.value)
    assert "scan 2026-01-31T10:00:00Z failed: AccessDenied: no iam:ListUsers." in message
    assert "700 users scanned, 675 records written in 2 pages." in message
    assert message.endswith("Grant what is missing, then redrive this execution to resume the scan at its checkpoint.")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("InvalidConfiguration", "Deploy again, which sets the environment of the functions, then redrive this"),
        ("LockHeld", "When that one has ended, redrive this"),
        ("LockLost", "When that one has ended, redrive this"),
        ("TableThrottled", "resume the scan with this page when the table takes writes again"),
        ("Sandbox.Timedout", ". Redrive this execution to resume the scan at its checkpoint."),
    ],
)
def test_the_advice_fits_the_failure(clock: Clock, stepfunctions: FakeStepFunctions, error: str, advice: str) -> None:
    with pytest.raises(ScanFailed) as raised:
        fail(clock, stepfunctions, {"error": {"Error": error, "Cause": "why"}, "redrive_count": 0})
    assert advice in str(raised.value)


def test_an_input_that_was_refused_is_not_to_be_redriven(clock: Clock, stepfunctions: FakeStepFunctions) -> None:
    with pytest.raises(ScanFailed, match=r"Start a new execution with another input: a redrive keeps this one\.$"):
        fail(clock, stepfunctions, {"error": {"Error": "InvalidInput", "Cause": "no object"}, "redrive_count": 0})


def test_whoever_is_called_for_a_lock_alone_hears_that_nothing_is_missing(
    clock: Clock, stepfunctions: FakeStepFunctions
) -> None:
    done = {"scan": scan(), "cursor": cursor(page=1, users=3), "release_lock_error": {"Error": "X", "Cause": "why"}}

    with pytest.raises(ScanFailed, match=r"The lock frees itself .* The scan is COMPLETE all the same: every user is"):
        fail(clock, stepfunctions, {**done, "outcome": outcome("COMPLETE")})
    with pytest.raises(ScanFailed, match="Redrive this execution to resume the scan at its checkpoint"):
        fail(clock, stepfunctions, {**done, "outcome": outcome("INCOMPLETE")})


@pytest.mark.parametrize(
    "state",
    [
        pytest.param({"error": ERROR, "redrive_count": 1}, id="AcquireLock failed in it"),
        pytest.param({"error": ERROR, "scan": scan(2)}, id="the scan went on in it"),
        pytest.param({"error": ERROR, "scan": scan(1), "outcome": outcome("FAILED", 2)}, id="EmitMetrics ended it"),
    ],
)
def test_only_a_newer_attempt_than_the_one_that_failed_goes_on(
    clock: Clock, stepfunctions: FakeStepFunctions, state: dict[str, Any]
) -> None:
    with pytest.raises(ScanFailed):
        fail(clock, stepfunctions, state, redrive_count=1)

    assert fail(clock, stepfunctions, state, redrive_count=2) == {"attempt": 3}


def test_a_redriven_run_that_is_told_its_old_attempt_goes_on(clock: Clock, stepfunctions: FakeStepFunctions) -> None:
    stepfunctions.redriven(1, clock.now)

    assert fail(clock, stepfunctions, NOT_BEGUN) == {"attempt": 2}


def test_a_late_call_of_the_failed_attempt_does_not_let_the_run_go_on(
    clock: Clock, stepfunctions: FakeStepFunctions
) -> None:
    stepfunctions.redriven(1, clock.now + timedelta(seconds=30))

    with pytest.raises(ScanFailed):
        fail(clock, stepfunctions, NOT_BEGUN)


def test_a_run_can_fail_and_be_redriven_again_and_again(clock: Clock, stepfunctions: FakeStepFunctions) -> None:
    for redrives in range(3):
        state = {"error": ERROR, "redrive_count": redrives}
        with pytest.raises(ScanFailed):
            fail(clock, stepfunctions, state, redrives)
        assert fail(clock, stepfunctions, state, redrives + 1) == {"attempt": redrives + 2}


@pytest.mark.parametrize(
    "trouble",
    [
        ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeExecution"),
        ConnectTimeoutError(endpoint_url="https://states"),
    ],
)
def test_that_step_functions_cannot_be_asked_does_not_hide_the_original_error(
    clock: Clock, stepfunctions: FakeStepFunctions, trouble: Exception
) -> None:
    stepfunctions.error = trouble

    with pytest.raises(ScanFailed, match="AccessDenied: no iam:ListUsers"):
        fail(clock, stepfunctions, NOT_BEGUN)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"cursor": CURSOR}, "25 users have no record; the WriteBatch iterations and their log lines say why."),
        ({"cursor": cursor(users=1, errors=1)}, "1 user has no record;"),
        ({"cursor": cursor(users=1)}, "1 user scanned, 1 record written in 1 page."),
        ({"emit_metrics_error": ERROR, "cursor": CURSOR}, "EmitMetrics failed with AccessDenied: no iam:ListUsers."),
        ({"release_lock_error": ERROR, "cursor": CURSOR}, "ReleaseLock failed with AccessDenied: no iam:ListUsers."),
        ({"error": {"Error": "States.Timeout", "Cause": ""}}, "States.Timeout: . No user was listed."),
        ({"error": {"Error": "Sandbox.Timedout", "Cause": "not JSON"}}, "Sandbox.Timedout: not JSON."),
    ],
)
def test_the_cause_tells_what_went_wrong(state: dict[str, Any], expected: str) -> None:
    assert expected in story(state)  # type: ignore[arg-type]


def test_a_failure_of_the_finally_path_is_told_after_the_original_one() -> None:
    text = story({"error": ERROR, "release_lock_error": {"Error": "DynamoDB.InternalServerError", "Cause": "x"}})  # type: ignore[typeddict-item]

    assert text.index("AccessDenied") < text.index("ReleaseLock failed with DynamoDB.InternalServerError")


def test_row_12_whatever_the_input_was_the_run_fails_with_the_error_of_acquire_lock(
    clock: Clock, stepfunctions: FakeStepFunctions
) -> None:
    """Row 12: an input that poses as an outcome is not in the state, so it can pass for no success."""
    with pytest.raises(ScanFailed, match=r"AccessDenied: no iam:ListUsers\. No user was listed\."):
        fail(clock, stepfunctions, {**NOT_BEGUN, "outcome": outcome("FAILED")})
