"""AcquireLock."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from functions.acquire_lock.handler import acquire_lock
from functions.shared.errors import InvalidInput, LockHeld
from functions.shared.lock import ExecutionLock
from functions.shared.manifest import Manifests
from functions.shared.model import Cursor, first_cursor
from tests.statemachine.engine import TABLE

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

ME = "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:me"
OTHER = ME.replace(":me", ":other")
STARTED = "2026-01-31T10:00:00.250Z"
SCAN = "2026-01-31T10:00:00Z"


@pytest.fixture
def lock(dynamodb: "DynamoDBClient") -> ExecutionLock:
    return ExecutionLock(dynamodb, TABLE, 600)


def acquire(lock: ExecutionLock, manifests: Manifests, execution_input: Any = None, arn: str = ME) -> dict[str, Any]:
    result = acquire_lock(
        {"execution_arn": arn, "started_at": STARTED, "input": {} if execution_input is None else execution_input},
        lock=lock,
        manifests=manifests,
        retention_days=90,
    )
    return dict(result)


def test_a_new_scan_starts_at_the_first_page(lock: ExecutionLock, manifests: Manifests) -> None:
    assert acquire(lock, manifests) == {
        "acquired": True,
        "scan": {"scan_timestamp": SCAN, "execution_arn": ME, "started_at": STARTED, "attempt": 1},
        "cursor": first_cursor(),
    }


def test_a_lost_response_and_a_retry_give_the_same_scan(lock: ExecutionLock, manifests: Manifests) -> None:
    assert acquire(lock, manifests) == acquire(lock, manifests)


def test_a_held_lock_skips_the_scan(
    lock: ExecutionLock, manifests: Manifests, capsys: pytest.CaptureFixture[str]
) -> None:
    lock.acquire(OTHER)

    result = acquire(lock, manifests)

    assert result["acquired"] is False
    assert result["holder"]["owner"] == OTHER
    assert manifests.load(SCAN) is None, "a skipped run leaves no manifest"


def test_the_second_start_of_one_second_is_skipped_even_when_the_first_has_ended(
    lock: ExecutionLock, manifests: Manifests
) -> None:
    """EventBridge may start two executions for one tick, and both would write under the same scan_timestamp."""
    acquire(lock, manifests, arn=OTHER)
    lock.release(OTHER)

    result = acquire(lock, manifests)

    assert result["acquired"] is False
    assert result["holder"] == {"owner": OTHER}
    assert lock.acquire("someone") is None, "the lock is not kept"


def test_a_redriven_scan_resumes_at_its_checkpoint(lock: ExecutionLock, manifests: Manifests) -> None:
    acquire(lock, manifests)
    cursor = Cursor(marker="m1", page=1, users_scanned=500, records_written=500, errors=0, restarts=0)
    manifests.save_progress(scan_timestamp=SCAN, execution_arn=ME, cursor=cursor)
    arguments: dict[str, Any] = {"execution_arn": ME, "started_at": STARTED, "retention_days": 90}
    manifests.note_failure(scan_timestamp=SCAN, **arguments)  # FailScan ends the attempt
    manifests.note_failure(scan_timestamp=SCAN, **arguments)  # and is called again by the redrive

    result = acquire(lock, manifests)

    assert result["cursor"] == cursor
    assert result["scan"]["scan_timestamp"] == SCAN
    assert result["scan"]["attempt"] == 2
    assert result["scan"]["started_at"] > STARTED, "the duration is that of this attempt"


def test_a_redriven_scan_that_finds_the_lock_held_is_not_called_a_success(
    lock: ExecutionLock, manifests: Manifests
) -> None:
    acquire(lock, manifests)
    lock.release(ME)
    lock.acquire(OTHER)

    with pytest.raises(LockHeld, match=f"held by {OTHER} until"):
        acquire(lock, manifests)


@pytest.mark.parametrize("execution_input", [[], "text", 1, None])
def test_an_input_that_is_no_object_is_refused_by_name(
    lock: ExecutionLock, manifests: Manifests, execution_input: Any
) -> None:
    event = {"execution_arn": ME, "started_at": STARTED, "input": execution_input}

    with pytest.raises(InvalidInput, match="must be a JSON object"):
        acquire_lock(event, lock=lock, manifests=manifests, retention_days=90)  # type: ignore[arg-type]

    assert lock.acquire(OTHER) is None, "nothing was locked"


@pytest.mark.parametrize("trigger", ["", "x" * 65, 7, None])
def test_a_bad_trigger_is_refused_by_name(lock: ExecutionLock, manifests: Manifests, trigger: Any) -> None:
    with pytest.raises(InvalidInput, match="trigger must be a text of 1 to 64 characters"):
        acquire(lock, manifests, {"trigger": trigger})


def test_the_trigger_is_kept_and_other_keys_are_let_through(lock: ExecutionLock, manifests: Manifests) -> None:
    acquire(lock, manifests, {"trigger": "schedule", "Comment": "Insert your JSON here"})

    assert manifests.load(SCAN).item["trigger"] == "schedule"  # type: ignore[union-attr]


def test_a_skipped_run_logs_the_documented_line(
    dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from functions.acquire_lock.handler import handler
    from tests.statemachine.engine import Context
    from tests.unit.logs import captured_logs

    for name, value in {"DYNAMODB_TABLE_NAME": TABLE, "RETENTION_DAYS": "90", "LEASE_SECONDS": "600"}.items():
        monkeypatch.setenv(name, value)
    ExecutionLock(dynamodb, TABLE, 600).acquire(OTHER)

    with captured_logs() as lines:
        handler({"execution_arn": ME, "started_at": STARTED, "input": {}}, Context())  # type: ignore[arg-type]

    (line,) = [line for line in lines() if line["message"] == "Failed to acquire execution lock"]
    assert line["level"] == "WARNING"
    assert line["execution_arn"] == ME
    assert line["scan_timestamp"] == SCAN
    assert line["holder"] == OTHER
    assert json.dumps(line)
