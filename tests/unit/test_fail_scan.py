"""FailScan."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.fail_scan.handler import fail_scan, story
from functions.shared.errors import ScanFailed
from functions.shared.manifest import Manifests
from functions.shared.model import State

ME = "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:me"
STARTED = "2026-01-31T10:00:00.000Z"
CURSOR = {"marker": "m", "page": 2, "users_scanned": 700, "records_written": 675, "errors": 25, "restarts": 0}
ERROR = {"Error": "AccessDenied", "Cause": json.dumps({"errorMessage": "no iam:ListUsers", "stackTrace": ["…"]})}


def fail(manifests: Manifests, state: dict[str, Any]) -> dict[str, Any]:
    event = {"execution_arn": ME, "started_at": STARTED, "state": state}
    return dict(fail_scan(event, manifests=manifests, retention_days=90))  # type: ignore[arg-type]


def test_the_first_call_fails_the_run_with_the_original_error(manifests: Manifests) -> None:
    with pytest.raises(ScanFailed) as raised:
        fail(manifests, {"error": ERROR, "cursor": CURSOR})

    message = str(raised.value)
    assert "scan 2026-01-31T10:00:00Z failed: AccessDenied: no iam:ListUsers." in message
    assert "700 users scanned, 675 records written" in message
    assert message.endswith("Redrive this execution to resume the scan at its checkpoint.")


def test_the_call_after_a_redrive_lets_the_run_go_on(manifests: Manifests) -> None:
    with pytest.raises(ScanFailed):
        fail(manifests, {"error": ERROR})

    assert fail(manifests, {"error": ERROR}) == {"attempt": 2}


def test_a_second_failure_can_be_redriven_again(manifests: Manifests) -> None:
    for attempt in (2, 3, 4):
        with pytest.raises(ScanFailed):
            fail(manifests, {"error": ERROR})
        assert fail(manifests, {"error": ERROR}) == {"attempt": attempt}


def test_a_table_that_cannot_be_reached_does_not_hide_the_original_error(manifests: Manifests) -> None:
    manifests.dynamodb.delete_table(TableName=manifests.table_name)

    with pytest.raises(ScanFailed) as raised:
        fail(manifests, {"error": ERROR})

    assert "AccessDenied: no iam:ListUsers" in str(raised.value)
    assert "the first redrive will end here once more" in str(raised.value)
    assert isinstance(raised.value.__cause__, ClientError)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"cursor": CURSOR}, "25 users have no record"),
        ({"emit_metrics_error": ERROR, "cursor": CURSOR}, "EmitMetrics failed with AccessDenied: no iam:ListUsers."),
        ({"release_lock_error": ERROR, "cursor": CURSOR}, "ReleaseLock failed with AccessDenied: no iam:ListUsers."),
        ({"error": {"Error": "States.Timeout", "Cause": ""}}, "States.Timeout: . No user was listed."),
        ({"error": {"Error": "Sandbox.Timedout", "Cause": "not JSON"}}, "Sandbox.Timedout: not JSON."),
    ],
)
def test_the_cause_tells_what_went_wrong(state: dict[str, Any], expected: str) -> None:
    assert expected in story(State(**state))  # type: ignore[typeddict-item]


def test_a_failure_of_the_finally_path_is_told_after_the_original_one() -> None:
    text = story(State(error=ERROR, release_lock_error={"Error": "DynamoDB.InternalServerError", "Cause": "x"}))  # type: ignore[typeddict-item]

    assert text.index("AccessDenied") < text.index("ReleaseLock failed with DynamoDB.InternalServerError")
