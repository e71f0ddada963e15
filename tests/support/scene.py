"""The scene of most tests: one execution, the table, a clock that stands still, and what Step Functions says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from functions.shared import timestamps
from functions.shared.model import Cursor, Outcome, Scan
from functions.shared.request import Request
from functions.shared.run import Run, RunEvent
from functions.table import wire
from functions.table.fence import Fence
from functions.table.keys import MANIFEST_USER_NAME, OWN
from functions.table.manifest import Manifest
from functions.table.wire import Item
from tests.support.engine import TABLE

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

ME = "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:me"
OTHER = ME.replace(":me", ":other")
STARTED_AT = datetime(2026, 1, 31, 10, 0, 0, 250_000, tzinfo=UTC)
STARTED = "2026-01-31T10:00:00.250Z"
TIMESTAMP = "2026-01-31T10:00:00Z"
EPOCH = 1_769_853_600
RETENTION_DAYS = 90
TTL = EPOCH + RETENTION_DAYS * 86_400
LEASE = 600
SPAN_LIMIT = 1800


class Clock:
    """The time, which only the test moves."""

    def __init__(self) -> None:
        self.now = STARTED_AT

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> str:
        """Let time pass, and return the new time."""
        self.now += timedelta(seconds=seconds)
        return timestamps.to_milliseconds(self.now)


@dataclass
class FakeStepFunctions:
    """Says how the execution stands."""

    status: str = "RUNNING"
    redrive_count: int = 0
    redrive_date: datetime | None = None
    error: Exception | None = None
    asked: int = 0
    told: dict[str, Any] = field(default_factory=dict)
    """What else it says."""

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803 - the API's name
        self.asked += 1
        if self.error is not None:
            raise self.error
        execution: dict[str, Any] = {"executionArn": executionArn, "status": self.status, "input": "{}"}
        if self.redrive_count:
            execution["redriveCount"] = self.redrive_count
        if self.redrive_date is not None:
            execution["redriveDate"] = self.redrive_date
        return {**execution, **self.told}

    def redriven(self, count: int, at: datetime) -> None:
        """Have the execution run again, since then."""
        self.status, self.redrive_count, self.redrive_date = "RUNNING", count, at


class Overtaken:
    """A DynamoDB client whose writes come late: before each of the next ones, another call gets through."""

    def __init__(self, client: "DynamoDBClient", *others: Callable[[], object]) -> None:
        self._client = client
        self._others = list(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **arguments: Any) -> Any:
        return self._late("transact_write_items", arguments)

    def update_item(self, **arguments: Any) -> Any:
        return self._late("update_item", arguments)

    def _late(self, name: str, arguments: dict[str, Any]) -> Any:
        if self._others:
            self._others.pop(0)()
        return getattr(self._client, name)(**arguments)


@dataclass
class Scene:
    """The table, and what an attempt of the execution may do to it."""

    dynamodb: "DynamoDBClient"
    clock: Clock
    stepfunctions: Any = field(default_factory=FakeStepFunctions)

    @property
    def fence(self) -> Fence:
        return Fence(self.dynamodb, TABLE)

    def overtaken(self, *others: Callable[[], object]) -> "Scene":
        """Return the scene of a caller who is overtaken by others, each before one of its writes."""
        late: Any = Overtaken(self.dynamodb, *others)
        return Scene(late, self.clock, self.stepfunctions)

    def run(self, attempt: int = 1, arn: str = ME) -> Run:
        return Run(arn, STARTED_AT, attempt, self.clock.now, Request("schedule"))

    def begin(self, attempt: int = 1, arn: str = ME, *, retention_days: int = RETENTION_DAYS) -> Any:
        return self.fence.begin(
            self.run(attempt, arn),
            retention_days=retention_days,
            lease_seconds=LEASE,
            span_limit_seconds=SPAN_LIMIT,
        )

    def save(self, attempt: int, sequence: int, arn: str = ME, *, told: int | None = None, **more: Any) -> Scan:
        """Save a page; ``told`` is the attempt that $.scan tells of."""
        return self.fence.save(
            self.run(attempt, arn),
            scan(told or attempt, arn),
            cursor(sequence=sequence, **{"listed_from": timestamps.to_milliseconds(self.clock.now), **more}),
            lease_seconds=LEASE,
            renewed_at=STARTED_AT,
        )

    def finish(
        self, attempt: int = 1, status: str = "COMPLETE", arn: str = ME, error: tuple[str, str] | None = None
    ) -> tuple[Manifest, bool]:
        return self.fence.finish(
            self.run(attempt, arn),
            outcome(status, attempt),
            ended_at=self.clock.now,
            error=error,
            retention_days=RETENTION_DAYS,
        )

    def given(self, status: str, *, attempt: int = 1, sequence: int = 0, arn: str = ME, **more: Any) -> Item:
        """Store the manifest as it would be after such a history."""
        item = {
            **OWN.manifest(TIMESTAMP),
            "execution_arn": arn,
            "status": status,
            "attempt": attempt,
            "sequence": sequence,
            "started_at": STARTED,
            "attempt_started_at": STARTED,
            "span_limit_seconds": SPAN_LIMIT,
            "ttl": TTL,
            **more,
        }
        self.dynamodb.put_item(TableName=TABLE, Item=wire.to_wire(item))
        return item

    def given_lock(self, owner: str = ME, attempt: int = 1, expires_in: int = LEASE) -> Item:
        """Store the lock."""
        now = int(self.clock.now.timestamp())
        item = {
            **OWN.lock,
            "owner": owner,
            "attempt": attempt,
            "acquired_at": now,
            "expires_at": now + expires_in,
            "ttl": now + expires_in + 86_400,
        }
        self.dynamodb.put_item(TableName=TABLE, Item=wire.to_wire(item))
        return item

    def everything(self) -> list[Item]:
        """Return all items of the table, in order."""
        items = [wire.from_wire(item) for item in self.dynamodb.scan(TableName=TABLE)["Items"]]
        return sorted(items, key=lambda item: (item["user_name"], item["scan_timestamp"]))

    @property
    def manifest(self) -> Item:
        """The manifest of the scan; empty where there is none."""
        return next((item for item in self.everything() if item["user_name"] == MANIFEST_USER_NAME), {})

    @property
    def stands(self) -> tuple[str, int, int]:
        """Status, attempt and sequence of the manifest."""
        item = self.manifest
        return item["status"], item["attempt"], item["sequence"]

    @property
    def lock(self) -> Item:
        """The lock; empty where it is free."""
        return next((item for item in self.everything() if item["user_name"] == "__execution_lock__"), {})

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Check that nothing in the table changes."""
        before = self.everything()
        yield
        assert self.everything() == before


def clear(dynamodb: "DynamoDBClient") -> None:
    """Empty the table."""
    for item in dynamodb.scan(TableName=TABLE)["Items"]:
        dynamodb.delete_item(TableName=TABLE, Key={name: item[name] for name in ("user_name", "scan_timestamp")})


def run_event(redrive_count: int = 0, arn: str = ME) -> RunEvent:
    return RunEvent(execution_arn=arn, started_at=STARTED, redrive_count=redrive_count)


def scan(attempt: int = 1, arn: str = ME) -> Scan:
    return Scan(scan_timestamp=TIMESTAMP, execution_arn=arn, started_at=STARTED, attempt=attempt, ttl=TTL)


def cursor(
    *,
    sequence: int = 1,
    marker: str | None = "m1",
    page: int = 1,
    users: int = 500,
    errors: int = 0,
    restarts: int = 0,
    listed_from: str | None = STARTED,
) -> Cursor:
    return Cursor(
        marker=marker,
        page=page,
        sequence=sequence,
        users_scanned=users,
        records_written=users - errors,
        errors=errors,
        restarts=restarts,
        listed_from=listed_from,
        listed_until=listed_from,
    )


def outcome(status: str = "COMPLETE", attempt: int = 1) -> Outcome:
    return Outcome(
        status=status,
        users_scanned=700,
        records_written=700,
        errors=0,
        duration_ms=12_345,
        attempt=attempt,
        publish=False,
    )
