"""WriteBatch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from functions.shared import clients
from functions.shared.model import Chunks, User
from functions.shared.step import SAFETY_MARGIN_SECONDS
from functions.table import posture, wire
from functions.table.posture import Posture
from functions.table.record import record_of
from functions.write_batch import handler as write_batch
from functions.write_batch.handler import ITEMS_PER_CALL, handler, write_records
from tests.support.engine import TABLE, Context
from tests.support.logs import captured_logs
from tests.support.scene import STARTED, TIMESTAMP, TTL, run_event, scan

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


def user(number: int) -> User:
    return {
        "user_name": f"user-{number:04}",
        "user_id": f"AIDA{number:017}",
        "arn": f"arn:aws:iam::123456789012:user/user-{number:04}",
        "create_date": "2026-01-02T03:04:05Z",
    }


def records(count: int) -> list[dict[str, Any]]:
    scan = {"scan_timestamp": TIMESTAMP, "account_id": "123456789012", "listed_at": STARTED}
    return [record_of(user(number), **scan, ttl=TTL, posture={}) for number in range(count)]


class FakeTable:
    """BatchWriteItem with a script: for each call how many of its last items stay unprocessed, or an error code."""

    def __init__(self, *script: int | str) -> None:
        self.script = list(script)
        self.calls: list[int] = []
        self.written: list[str] = []
        self.waits: list[float] = []
        self.now = 0.0

    def batch_write_item(self, **arguments: dict[str, list[Any]]) -> dict[str, Any]:
        ((table, requests),) = arguments["RequestItems"].items()
        self.calls.append(len(requests))
        answer = self.script.pop(0) if self.script else 0
        if isinstance(answer, str):
            raise ClientError({"Error": {"Code": answer, "Message": "no"}}, "BatchWriteItem")
        processed = requests[: len(requests) - answer]
        self.written += [request["PutRequest"]["Item"]["user_name"]["S"] for request in processed]
        return {"UnprocessedItems": {table: requests[len(processed) :]} if answer else {}}

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def write(table: FakeTable, count: int, seconds: float = 60) -> tuple[int, int]:
    result = write_records(
        records(count),
        dynamodb=table,  # type: ignore[arg-type]
        table_name=TABLE,
        seconds=seconds,
        clock=lambda: table.now,
        sleep=table.sleep,
        jitter=lambda low, high: high,
    )
    return result["written"], result["failed"]


@pytest.mark.usefixtures("configured")
def test_row_9_a_record_has_its_user_its_scan_when_it_was_listed_and_the_expiry_of_the_scan(
    dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 9: all items of a scan expire at once, whatever retention_days has become since it began."""
    monkeypatch.setenv("RETENTION_DAYS", "30")

    result = handler(
        {"run": run_event(), "scan": scan(), "batch": {"users": [user(1)]}, "listed_at": STARTED},
        Context(),  # type: ignore[arg-type]
    )

    assert result == {"written": 1, "failed": 0, "throttled": 0}
    assert dynamodb.scan(TableName=TABLE)["Items"] == [
        {
            "user_name": {"S": "user-0001"},
            "scan_timestamp": {"S": TIMESTAMP},
            "user_id": {"S": "AIDA00000000000000001"},
            "arn": {"S": "arn:aws:iam::123456789012:user/user-0001"},
            "create_date": {"S": "2026-01-02T03:04:05Z"},
            "account_id": {"S": "123456789012"},
            "listed_at": {"S": STARTED},
            "ttl": {"N": str(TTL)},
        }
    ]


# Posture

KNOWN = Posture(
    "2026-01-31T09:00:00Z",
    {user(number)["arn"]: ("2026-01-02T03:04:05Z", {"mfa_active": number == 1}) for number in range(3)},
    {user(number)["user_id"]: {"groups": [], "admin_via": []} for number in range(3)},
)


@pytest.fixture
def function(dynamodb: "DynamoDBClient", configured: None) -> Iterator["Function"]:
    """Return a WriteBatch that starts cold."""
    counting = Counting(dynamodb)
    with mock.patch.object(write_batch, "_known", {}), mock.patch.object(clients, "dynamodb", counting.client):
        yield Function(counting)


class Counting:
    """A client that counts what is read, and refuses it when told to."""

    def __init__(self, dynamodb: "DynamoDBClient") -> None:
        self._dynamodb = dynamodb
        self.read: list[str] = []
        self.error: str | None = None

    def client(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dynamodb, name)

    def get_item(self, **request: Any) -> Any:
        assert request["ConsistentRead"]
        self.read.append(request["Key"]["scan_timestamp"]["S"])
        if self.error is not None:
            raise ClientError({"Error": {"Code": self.error, "Message": "no"}}, "GetItem")
        return self._dynamodb.get_item(**request)


class Function:
    """WriteBatch as Lambda calls it."""

    def __init__(self, table: Counting) -> None:
        self.table = table

    def keep(self, known: Posture = KNOWN) -> Chunks:
        return posture.store(self.table, TABLE, TIMESTAMP, known, now=1)  # type: ignore[arg-type]

    def write(self, where: Chunks | None, *users: User) -> list[dict[str, Any]]:
        event: dict[str, Any] = {"run": run_event(), "scan": scan(), "listed_at": STARTED}
        event |= {"batch": {"users": list(users)}} | ({} if where is None else {"posture": where})
        assert handler(event, Context()) == {"written": len(users), "failed": 0, "throttled": 0}  # type: ignore[arg-type]
        items = [wire.from_wire(item) for item in self.table.scan(TableName=TABLE)["Items"]]
        return sorted((item for item in items if "user_id" in item), key=lambda item: str(item["user_name"]))


def test_a_record_has_what_is_known_of_its_user(function: Function) -> None:
    first, second = function.write(function.keep(), user(1), user(2))

    assert first == record_of(
        user(1),
        scan_timestamp=TIMESTAMP,
        account_id="123456789012",
        listed_at=STARTED,
        ttl=TTL,
        posture={"credential_report_time": "2026-01-31T09:00:00Z", "mfa_active": True, "groups": [], "admin_via": []},
    )
    assert second["mfa_active"] is False


def test_who_is_new_under_an_old_name_has_nothing_of_the_old_one(function: Function) -> None:
    (record,) = function.write(
        function.keep(), {**user(1), "user_id": "AIDANEW", "create_date": "2026-01-31T09:30:00Z"}
    )
    assert not {"credential_report_time", "mfa_active", "groups"} & record.keys()


def test_posture_is_read_once_for_all_batches_of_a_warm_function(function: Function) -> None:
    where = function.keep()
    for _ in range(3):
        function.write(where, user(1))
    assert len(function.table.read) == where["chunks"] == 1


def test_only_that_of_the_last_scan_is_kept_in_memory(function: Function) -> None:
    one, other = function.keep(), function.keep(Posture(authorization={user(1)["user_id"]: {"groups": ["new"]}}))

    function.write(one, user(1))
    (record,) = function.write(other, user(1))

    assert record["groups"] == ["new"]
    assert list(write_batch._known) == [(TIMESTAMP, other["id"])]


@pytest.mark.parametrize(
    "error", ["ProvisionedThroughputExceededException", "AccessDeniedException", "InternalServerError"]
)
def test_where_posture_cannot_be_read_the_records_are_written_without(function: Function, error: str) -> None:
    where = function.keep()
    function.table.error = error

    with captured_logs() as lines:
        (record,) = function.write(where, user(1))

    assert "groups" not in record
    (line,) = lines()
    assert (line["level"], error in line["error_message"]) == ("WARNING", True)
    function.table.error = None
    assert function.write(where, user(1))[0]["groups"] == [], "the next batch tries again"


def test_where_posture_has_expired_the_records_are_written_without(function: Function) -> None:
    where: Chunks = {"id": "gone", "chunks": 2}
    (record,) = function.write(where, user(1))
    assert "groups" not in record


def test_where_there_is_none_nothing_is_read(function: Function) -> None:
    nowhere: Chunks = {"id": None, "chunks": 0}
    for where in (nowhere, None):  # None: the run was started before there was any
        function.write(where, user(1))
    assert function.table.read == []


# Throttling


def test_at_most_25_items_go_into_a_call() -> None:
    table = FakeTable()

    assert write(table, 60) == (60, 0)
    assert table.calls == [ITEMS_PER_CALL, ITEMS_PER_CALL, 10]


def test_only_unprocessed_items_are_sent_again() -> None:
    table = FakeTable(20, 0, 5, 0)

    assert write(table, 50) == (50, 0)
    assert table.calls == [25, 25, 20, 5]
    assert sorted(table.written) == [f"user-{number:04}" for number in range(50)]


def test_a_throttled_call_is_sent_again_whole() -> None:
    table = FakeTable("ProvisionedThroughputExceededException", "ThrottlingException", 0)

    assert write(table, 10) == (10, 0)
    assert table.calls == [10, 10, 10]


def test_the_wait_doubles_up_to_its_cap_while_nothing_gets_through() -> None:
    table = FakeTable(*["ThrottlingException"] * 9, 0)

    write(table, 1)

    assert table.waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_the_wait_has_full_jitter() -> None:
    drawn: list[tuple[float, float]] = []
    table = FakeTable("ThrottlingException", "ThrottlingException", 0)

    write_records(
        records(1),
        dynamodb=table,  # type: ignore[arg-type]
        table_name=TABLE,
        seconds=60,
        clock=lambda: table.now,
        sleep=table.sleep,
        jitter=lambda low, high: drawn.append((low, high)) or 0.0,  # type: ignore[func-returns-value]
    )

    assert drawn == [(0, 0.1), (0, 0.2)]


def test_what_cannot_be_written_in_time_is_counted() -> None:
    table = FakeTable(0, *["ThrottlingException"] * 99)

    assert write(table, 30, seconds=10) == (25, 5)
    assert table.now < 10, "it stops before the time is over"


def test_a_round_of_slow_calls_ends_with_the_time_too() -> None:
    """Each call that is throttled takes as long as the SDK tries: a whole round of them outlasts the margin."""
    table = FakeTable(*["ThrottlingException"] * 99)
    answer = table.batch_write_item

    def slowly(**arguments: Any) -> Any:
        table.now += 3
        return answer(**arguments)

    table.batch_write_item = slowly  # type: ignore[method-assign]

    assert write(table, 200, seconds=10) == (0, 200)
    assert table.now < 10 + SAFETY_MARGIN_SECONDS


def test_what_is_given_up_is_said_to_be_throttled() -> None:
    result = write_records(
        records(30),
        dynamodb=FakeTable(0, "ThrottlingException"),  # type: ignore[arg-type]
        table_name=TABLE,
        seconds=0.05,
        jitter=lambda low, high: high,
    )

    assert result == {"written": 25, "failed": 5, "throttled": 5}


def test_an_error_that_no_retry_mends_is_raised() -> None:
    table = FakeTable("AccessDeniedException")

    with pytest.raises(ClientError, match="AccessDeniedException"):
        write(table, 10)
    assert table.calls == [10]


def test_writing_the_same_batch_twice_leaves_one_record_each(dynamodb: "DynamoDBClient") -> None:
    for _ in range(2):
        write_records(records(30), dynamodb=dynamodb, table_name=TABLE, seconds=10)

    assert dynamodb.scan(TableName=TABLE)["Count"] == 30
