"""EmitMetrics."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.emit_metrics.handler import emit_metrics
from functions.shared.manifest import Manifests
from functions.shared.model import Cursor, Outcome, Scan, State
from tests.unit.logs import captured_logs

ME = "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:me"
STARTED = "2026-01-31T10:00:00.000Z"
TIMESTAMP = "2026-01-31T10:00:00Z"
NOW = datetime(2026, 1, 31, 10, 0, 12, 345_000, tzinfo=UTC)
SCAN = Scan(scan_timestamp=TIMESTAMP, execution_arn=ME, started_at=STARTED, attempt=1)
DONE = Cursor(marker=None, page=2, users_scanned=700, records_written=700, errors=0, restarts=0)
DENIED = {
    "Error": "AccessDenied",
    "Cause": json.dumps({"errorType": "AccessDenied", "errorMessage": "no iam:ListUsers"}),
}


def emit(manifests: Manifests, state: dict[str, Any]) -> Outcome:
    return emit_metrics(
        {"execution_arn": ME, "started_at": STARTED, "state": State(**state)},  # type: ignore[typeddict-item]
        manifests=manifests,
        retention_days=90,
        now=NOW,
    )


def emitted(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    return [line for line in lines if "_aws" in line]


def values(line: dict[str, Any]) -> dict[str, float]:
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    return {metric["Name"]: line[metric["Name"]][0] for metric in directive["Metrics"]}


def test_a_complete_scan_emits_the_five_metrics_without_dimensions(
    manifests: Manifests, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = emit(manifests, {"scan": SCAN, "cursor": DONE})

    assert outcome == {
        "status": "COMPLETE",
        "users_scanned": 700,
        "records_written": 700,
        "errors": 0,
        "duration_ms": 12_345,
    }
    (line,) = emitted(capsys)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "IAMUserMonitor"
    assert directive["Dimensions"] == [[]]
    assert {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]} == {
        "UsersScanned": "Count",
        "RecordsWritten": "Count",
        "Errors": "Count",
        "Duration": "Milliseconds",
        "Success": "None",
    }
    assert values(line) == {"UsersScanned": 700, "RecordsWritten": 700, "Errors": 0, "Duration": 12_345, "Success": 1}


def test_missing_records_make_the_scan_incomplete(manifests: Manifests, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = emit(manifests, {"scan": SCAN, "cursor": {**DONE, "records_written": 675, "errors": 25}})

    assert outcome["status"] == "INCOMPLETE"
    (line,) = emitted(capsys)
    assert values(line)["Errors"] == 25
    assert values(line)["Success"] == 0


def test_a_failed_scan_counts_its_error(manifests: Manifests, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = emit(manifests, {"scan": SCAN, "cursor": DONE, "error": DENIED})

    assert outcome["status"] == "FAILED"
    (line,) = emitted(capsys)
    assert values(line) == {"UsersScanned": 700, "RecordsWritten": 700, "Errors": 1, "Duration": 12_345, "Success": 0}
    item = manifests.load(TIMESTAMP).item  # type: ignore[union-attr]
    assert item["status"] == "FAILED"
    assert item["error_type"] == "AccessDenied"
    assert item["error_message"] == "no iam:ListUsers"


def test_a_scan_that_failed_before_it_began_has_metrics_and_a_manifest(
    manifests: Manifests, capsys: pytest.CaptureFixture[str]
) -> None:
    emit(manifests, {"error": DENIED})

    assert len(emitted(capsys)) == 1
    manifest = manifests.load(TIMESTAMP)
    assert manifest is not None
    assert manifest.item["status"] == "FAILED"
    assert manifest.item["execution_arn"] == ME
    assert manifest.finished_attempt == 1


def test_a_retry_after_a_lost_response_emits_nothing_twice(
    manifests: Manifests, capsys: pytest.CaptureFixture[str]
) -> None:
    first = emit(manifests, {"scan": SCAN, "cursor": DONE})
    second = emit(manifests, {"scan": SCAN, "cursor": DONE})

    assert second == first
    assert len(emitted(capsys)) == 1


def test_every_attempt_emits_its_own_metrics(manifests: Manifests, capsys: pytest.CaptureFixture[str]) -> None:
    emit(manifests, {"scan": SCAN, "cursor": DONE, "error": DENIED})
    emit(manifests, {"scan": {**SCAN, "attempt": 2}, "cursor": DONE})

    assert [values(line)["Success"] for line in emitted(capsys)] == [0, 1]
    assert manifests.load(TIMESTAMP).item["status"] == "COMPLETE"  # type: ignore[union-attr]


def test_the_manifest_of_another_execution_is_left_alone(
    manifests: Manifests, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests.begin(
        scan_timestamp=TIMESTAMP,
        execution_arn="another",
        attempt=1,
        started_at=STARTED,
        attempt_started_at=STARTED,
        trigger="manual",
        retention_days=90,
    )

    emit(manifests, {"error": DENIED})

    assert len(emitted(capsys)) == 1
    assert manifests.load(TIMESTAMP).item["status"] == "RUNNING"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("state", "message", "level"),
    [
        ({"scan": SCAN, "cursor": DONE}, "Scan completed successfully", "INFO"),
        ({"scan": SCAN, "cursor": {**DONE, "errors": 25}}, "Scan completed with errors", "WARNING"),
        ({"scan": SCAN, "cursor": DONE, "error": DENIED}, "Scan failed", "ERROR"),
    ],
)
def test_the_end_is_logged_with_the_documented_message_and_keys(
    manifests: Manifests, state: dict[str, Any], message: str, level: str
) -> None:
    with captured_logs() as lines:
        emit(manifests, state)

    (line,) = [line for line in lines() if line["message"] == message]
    assert line["level"] == level
    assert line["scan_timestamp"] == TIMESTAMP
    assert line["total_users"] == 700
    assert line["duration_seconds"] == 12.345
    assert {"records_written", "errors"} <= line.keys()
    if "error" in state:
        assert (line["error_type"], line["error_message"]) == ("AccessDenied", "no iam:ListUsers")
