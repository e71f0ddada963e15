"""The clients: what they leave out of the SDK's work comes to the same."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.utils import parse_timestamp

from functions.shared import clients
from functions.table import wire
from tests.support.engine import TABLE, fresh_clients

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

ITEM = {
    "user_name": "alice", "scan_timestamp": "2026-01-31T10:00:00Z", "ttl": 1_790_000_000, "share": Decimal("0.5"),
    "mfa_active": True, "groups": ["admins", {"of": []}], "tags": {"team": "é\" \\ \n"}, "reported": {1, 2},
    "root": None,
}  # fmt: skip


@pytest.fixture
def ours(dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> "DynamoDBClient":
    """Return the functions' client."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", dynamodb.meta.region_name)
    return clients.dynamodb()


def query(client: "DynamoDBClient", **more: Any) -> list[dict[str, Any]]:
    pages = client.get_paginator("query").paginate(
        TableName=TABLE,
        KeyConditionExpression="user_name = :name",
        ExpressionAttributeValues={":name": {"S": "alice"}},
        **more,
    )
    return [item for page in pages for item in page["Items"]]


def test_the_items_of_a_query_are_what_the_sdk_makes_of_them(
    dynamodb: "DynamoDBClient", ours: "DynamoDBClient"
) -> None:
    stamps = [f"2026-01-31T1{hour}:00:00Z" for hour in range(5)]
    for stamp in stamps:
        dynamodb.put_item(TableName=TABLE, Item=wire.to_wire({**ITEM, "scan_timestamp": stamp}))

    found = query(ours, PaginationConfig={"PageSize": 2})

    assert found == query(dynamodb)
    assert [wire.from_wire(item) for item in found] == [
        {**ITEM, "share": 0.5, "scan_timestamp": stamp} for stamp in stamps
    ]
    assert query(ours, FilterExpression="attribute_not_exists(arn) AND attribute_exists(not_there)") == []


def test_a_query_that_is_refused_says_why(ours: "DynamoDBClient") -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        ours.query(TableName="another", KeyConditionExpression="a = :a", ExpressionAttributeValues={":a": {"S": "a"}})


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T10:00:00Z", "2026-01-31T10:00:00.123Z", "2026-01-31T10:00:00+00:00", "2026-01-31T10:00:00+02:00"],
)
def test_a_time_is_what_the_sdk_makes_of_it(text: str) -> None:
    assert clients.instant_of(text) == parse_timestamp(text)
    assert clients.instant_of(text).utcoffset() == parse_timestamp(text).utcoffset()


def test_a_time_of_another_form_is_left_to_the_sdk() -> None:
    moment = datetime(2026, 1, 31, 10, tzinfo=UTC)
    for value in (moment.timestamp(), int(moment.timestamp()), "Sat, 31 Jan 2026 10:00:00 GMT"):
        assert clients.instant_of(value) == moment


def test_users_have_their_times(ours: "DynamoDBClient") -> None:
    created = clients.iam().create_user(UserName="alice")["User"]["CreateDate"]
    assert abs(created - datetime.now(UTC)) < timedelta(minutes=1)
    assert created.utcoffset() == timedelta(0)


Answers = Callable[[str, int], list[str]]


@pytest.fixture
def answering(ours: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """Let every request get the same error; return a function that says so, and the list of the requests that come."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    sent: list[str] = []
    error: dict[str, Any] = {}

    def answer(request: Any, **_: Any) -> Any:
        sent.append(request.headers["X-Amz-Target"].decode().rpartition(".")[2])
        body = b"<html>" if not error["code"] else json.dumps({"__type": error["code"], "message": "no"}).encode()
        response: Any = AWSResponse(request.url, error["status"], HTTPHeaders(), None)
        response._content = body
        return response

    def told(code: str, status: int) -> list[str]:
        error.update(code=code, status=status)
        sent.clear()
        return sent

    with fresh_clients():
        clients.dynamodb().meta.events.register_first("before-send.dynamodb", answer)
        yield told


def write() -> None:
    clients.dynamodb().batch_write_item(RequestItems={TABLE: [{"PutRequest": {"Item": wire.to_wire(ITEM)}}]})


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ThrottlingException"])
def test_a_throttled_write_is_told_at_once(answering: Answers, code: str) -> None:
    """Whoever writes has a backoff, and the SDK's on top of it would leave the index idle."""
    sent = answering(code, 400)
    with pytest.raises(ClientError, match=code) as raised:
        write()
    assert sent == ["BatchWriteItem"]
    assert raised.value.operation_name == "BatchWriteItem"


def test_what_else_fails_is_tried_again(answering: Answers) -> None:
    sent = answering("InternalServerError", 500)
    with pytest.raises(ClientError, match="InternalServerError"):
        write()
    assert sent == ["BatchWriteItem"] * 3

    sent = answering("ThrottlingException", 400)
    with pytest.raises(ClientError, match="ThrottlingException"):
        clients.dynamodb().get_item(TableName=TABLE, Key={})
    assert sent == ["GetItem"] * 3


def test_an_answer_that_is_no_json_is_tried_again(answering: Answers) -> None:
    """A proxy on the way, or a load balancer, answers so."""
    sent = answering("", 503)
    with pytest.raises(ClientError, match="503"):
        query(clients.dynamodb())
    assert sent == ["Query"] * 3
