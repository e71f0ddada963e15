"""CleanUp."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from functions.clean_up.handler import ExecutionEnd, Result, clean_up
from functions.shared.lock import ExecutionLock
from functions.shared.manifest import Manifests
from functions.shared.model import Cursor
from tests.statemachine.engine import TABLE

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

ME = "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:me"
STARTED = "2026-01-31T10:00:00.000Z"
TIMESTAMP = "2026-01-31T10:00:00Z"
START = datetime(2026, 1, 31, 10, tzinfo=UTC).timestamp()
STOP = START + 90


class FakeStepFunctions:
    """Says how the execution stands now."""

    def __init__(self, status: str) -> None:
        self.status = status

    def describe_execution(self, **arguments: str) -> dict[str, str]:
        return {"status": self.status}


class Scene:
    """A run that took the lock at its start and saved one page."""

    def __init__(self, dynamodb: "DynamoDBClient") -> None:
        self.now = START + 1
        self.lock = ExecutionLock(dynamodb, TABLE, 600, lambda: self.now)
        self.manifests = Manifests(dynamodb, TABLE)
        self.lock.acquire(ME)
        self.manifests.begin(
            scan_timestamp=TIMESTAMP,
            execution_arn=ME,
            attempt=1,
            started_at=STARTED,
            attempt_started_at=STARTED,
            trigger="schedule",
            retention_days=90,
        )
        cursor = Cursor(marker="m1", page=1, users_scanned=500, records_written=500, errors=0, restarts=0)
        self.manifests.save_progress(scan_timestamp=TIMESTAMP, execution_arn=ME, cursor=cursor)

    def finish(self, attempt: int = 1) -> None:
        self.manifests.finish(
            scan_timestamp=TIMESTAMP,
            execution_arn=ME,
            attempt=attempt,
            finished_by="EmitMetrics",
            retention_days=90,
            started_at=STARTED,
            result={"status": "COMPLETE", "finished_at": "2026-01-31T10:01:00.000Z"},
        )

    def clean_up(self, status: Any = "ABORTED", now: str | None = None, stop: float = STOP) -> Result:
        end = ExecutionEnd(executionArn=ME, status=status, startDate=int(START * 1000), stopDate=int(stop * 1000))
        return clean_up(
            end,
            lock=self.lock,
            manifests=self.manifests,
            stepfunctions=FakeStepFunctions(now or status),  # type: ignore[arg-type]
            retention_days=90,
        )

    @property
    def manifest(self) -> dict[str, Any]:
        manifest = self.manifests.load(TIMESTAMP)
        assert manifest is not None
        return manifest.item


@pytest.fixture
def scene(dynamodb: "DynamoDBClient") -> Scene:
    return Scene(dynamodb)


def emitted(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"_aws"')]


@pytest.mark.parametrize(
    ("ended", "status", "error_type"),
    [
        ("ABORTED", "ABORTED", "ExecutionAborted"),
        ("TIMED_OUT", "FAILED", "ExecutionTimedOut"),
        ("FAILED", "FAILED", "ExecutionFailed"),
    ],
)
def test_a_run_that_ended_without_its_finally_path_is_recorded_and_frees_the_lock(
    scene: Scene, capsys: pytest.CaptureFixture[str], ended: str, status: str, error_type: str
) -> None:
    assert scene.clean_up(ended) == {"recorded": True, "released": True}

    assert scene.lock.holder() is None
    assert scene.manifest["status"] == status
    assert scene.manifest["error_type"] == error_type
    assert scene.manifest["duration_ms"] == 90_000
    (line,) = emitted(capsys)
    values = {name: line[name][0] for name in ("UsersScanned", "RecordsWritten", "Errors", "Duration", "Success")}
    assert values == {"UsersScanned": 500, "RecordsWritten": 500, "Errors": 1, "Duration": 90_000, "Success": 0}


def test_after_an_ordinary_failure_nothing_is_left_to_do(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.finish()
    scene.manifests.note_failure(scan_timestamp=TIMESTAMP, execution_arn=ME, started_at=STARTED, retention_days=90)
    scene.lock.release(ME)
    before = scene.manifest

    assert scene.clean_up("FAILED") == {"recorded": False, "released": False}

    assert scene.manifest == before
    assert emitted(capsys) == []


def test_a_lock_that_could_not_be_released_is_freed_and_the_scan_stays_complete(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.finish()

    assert scene.clean_up("FAILED") == {"recorded": False, "released": True}

    assert scene.lock.holder() is None
    assert scene.manifest["status"] == "COMPLETE"
    assert emitted(capsys) == []


def test_the_lock_of_another_run_is_left_alone(scene: Scene) -> None:
    scene.lock.release(ME)
    scene.lock.acquire("another")

    assert scene.clean_up()["released"] is False
    assert scene.lock.holder().owner == "another"  # type: ignore[union-attr]


def test_an_event_that_is_older_than_the_lock_is_ignored(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """The run was redriven meanwhile and took the lock again, in the same second."""
    scene.now = STOP + 0.005
    scene.lock.acquire(ME)

    assert scene.clean_up() == {"recorded": False, "released": False}

    assert scene.lock.holder() is not None
    assert emitted(capsys) == []


def test_an_event_of_a_run_that_goes_on_is_ignored(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """The run was redriven past AcquireLock: it still has its old lock."""
    assert scene.clean_up(now="RUNNING") == {"recorded": False, "released": False}

    assert scene.lock.holder() is not None
    assert scene.manifest["status"] == "RUNNING"


def test_the_same_event_twice_is_recorded_once(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.clean_up()
    scene.clean_up()

    assert len(emitted(capsys)) == 1


def test_a_second_stop_after_a_redrive_is_another_attempt(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.clean_up()
    scene.clean_up(stop=STOP + 60)

    assert len(emitted(capsys)) == 2
    assert scene.manifest["attempt"] == 2


def test_a_run_that_was_stopped_before_it_began_is_recorded(
    dynamodb: "DynamoDBClient", capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Scene(dynamodb)
    for item in dynamodb.scan(TableName=TABLE)["Items"]:
        key = {name: item[name] for name in ("user_name", "scan_timestamp")}
        dynamodb.delete_item(TableName=TABLE, Key=key)

    assert scene.clean_up() == {"recorded": True, "released": False}

    assert scene.manifest["status"] == "ABORTED"
    assert len(emitted(capsys)) == 1


def test_a_failure_that_fail_scan_could_not_note_is_noted_for_the_redrive(scene: Scene) -> None:
    scene.clean_up("FAILED")

    redriven = scene.manifests.note_failure(
        scan_timestamp=TIMESTAMP, execution_arn=ME, started_at=STARTED, retention_days=90
    )
    assert redriven == 2
