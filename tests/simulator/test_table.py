"""The table in memory answers as moto's does, which is checked against AWS by many others."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from tests.simulator import expressions
from tests.support.engine import INDEX, REGION, TABLE, create_table
from tests.support.table import Table

KEYS = [{"user_name": {"S": name}, "scan_timestamp": {"S": time}} for name in "ab" for time in ("1", "2")]
NAMES = {"#s": "status", "#t": "ttl"}
NUMBERS = st.integers(-2, 12).map(lambda number: {"N": str(number)})
TEXTS = st.sampled_from(["RUN", "RUNNING", "COMPLETE", ""]).map(lambda text: {"S": text})
SETS = st.sets(st.integers(1, 3), min_size=1).map(lambda numbers: {"NS": sorted(map(str, numbers))})
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "status": TEXTS,
        "ttl": NUMBERS,
        "attempt": NUMBERS,
        "reported": SETS,
        "gone": st.just({"NULL": True}),
        "checkpoint": st.fixed_dictionaries({"page": NUMBERS}).map(lambda inner: {"M": inner}),
    },
)
CLAUSES = st.sampled_from(
    [
        "attribute_not_exists(user_name)", "attribute_exists(#s)", "attribute_not_exists(gone)", "#s = :text",
        "#s <> :text", "#t < :number", "#t <= attempt", "attempt >= :number", "attempt > :number", "#t = :text",
        "#s IN (:text, :number)", "begins_with(#s, :text)", "contains(#s, :text)",
        "contains(reported, :number)", "checkpoint.page = :number",
    ]
)  # fmt: skip
CONDITIONS = st.recursive(
    CLAUSES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda condition: f"NOT ({condition})"),
    ),
    max_leaves=5,
)
UPDATES = st.sampled_from(
    [
        "SET #s = :text, attempt = :number", "SET attempt = if_not_exists(attempt, :number) REMOVE #s, gone",
        "SET attempt = if_not_exists(attempt, :number) + :number", "ADD reported :set", "ADD attempt :number",
        "SET #t = :number REMOVE reported ADD attempt :number", "SET checkpoint = :map",
    ]
)  # fmt: skip
VALUES = st.fixed_dictionaries(
    {
        ":text": TEXTS.filter(lambda value: value["S"]),
        ":number": NUMBERS,
        ":set": SETS,
        ":map": st.just({"M": {"page": {"N": "1"}}}),
    }
)
OPERATIONS = st.tuples(
    st.sampled_from(["put", "update", "delete", "transact"]),
    st.sampled_from(KEYS),
    ITEMS,
    st.none() | CONDITIONS,
    UPDATES,
    VALUES,
    st.sampled_from(KEYS),
)


@pytest.fixture(scope="module")
def moto() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("dynamodb", region_name=REGION)
        create_table(client)
        yield client


def request(condition: str | None, update: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the expressions of a request, with the placeholders that they use."""
    made: dict[str, Any] = {"TableName": TABLE, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    if update:
        made["UpdateExpression"] = update
    if condition is not None:
        made["ConditionExpression"] = condition
    text = f"{update} {condition}"
    names = {name: value for name, value in NAMES.items() if name in text}
    used = {name: value for name, value in values.items() if name in text}
    return (
        made
        | ({"ExpressionAttributeNames": names} if names else {})
        | ({"ExpressionAttributeValues": used} if used else {})
    )


def perform(client: Any, operation: Any) -> Any:
    """Send an operation; return what it answers, or the error's code and what it holds of items."""
    kind, key, item, condition, update, values, other = operation
    plain, updating = request(condition, "", values), request(condition, update, values)
    try:
        if kind == "put":
            answer = client.put_item(Item=item | key, ReturnValues="ALL_OLD", **plain)
        elif kind == "delete":
            answer = client.delete_item(Key=key, ReturnValues="ALL_OLD", **plain)
        elif kind == "update":
            answer = client.update_item(Key=key, ReturnValues="ALL_NEW", **updating)
        elif key == other:
            return None
        else:
            writes = [{"Put": {"Item": item | key, **plain}}, {"Update": {"Key": other, **updating}}]
            answer = client.transact_write_items(TransactItems=writes)
        return normal(answer.get("Attributes") or None)
    except ClientError as error:
        response: Any = error.response
        reasons = [
            (reason.get("Code"), normal(reason.get("Item"))) for reason in response.get("CancellationReasons", ())
        ]
        code = response["Error"]["Code"]
        return code, reasons, normal(response.get("Item")) if code == "ConditionalCheckFailedException" else None


def normal(item: Any) -> Any:
    """Return an item with its sets in order."""
    if not item:
        return None
    return {name: {"NS": sorted(value["NS"])} if "NS" in value else value for name, value in item.items()}


def contents(client: Any) -> list[Any]:
    """Return all items, by way of both queries."""
    by_key = [
        client.query(
            TableName=TABLE,
            KeyConditionExpression="user_name = :name",
            ExpressionAttributeValues={":name": {"S": name}},
        )["Items"]
        for name in "ab"
    ]
    pages = client.get_paginator("query").paginate(
        TableName=TABLE,
        IndexName=INDEX,
        KeyConditionExpression="scan_timestamp = :time",
        ExpressionAttributeValues={":time": {"S": "1"}},
        PaginationConfig={"PageSize": 1},
    )
    indexed = sorted((item for page in pages for item in page["Items"]), key=lambda item: str(item["user_name"]))
    return [[normal(item) for item in items] for items in (*by_key, indexed)]


@settings(
    max_examples=100,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(operations=st.lists(OPERATIONS, min_size=1, max_size=6))
def test_property_any_operations_have_the_same_answers_and_leave_the_same_items(
    moto: Any, operations: list[Any]
) -> None:
    table = Table()
    for key in KEYS:
        moto.delete_item(TableName=TABLE, Key=key)
    for operation in operations:
        ours, theirs = perform(table, operation), perform(moto, operation)
        assert ours == theirs, operation
    assert contents(table) == contents(moto)


def test_a_transaction_with_a_known_token_writes_nothing_again() -> None:
    table = Table()
    write = [{"Put": {"Item": KEYS[0], "ConditionExpression": "attribute_not_exists(user_name)"}}]
    table.transact_write_items(TransactItems=write, ClientRequestToken="one")

    assert table.transact_write_items(TransactItems=write, ClientRequestToken="one") == {}

    with pytest.raises(Table.exceptions.TransactionCanceledException):
        table.transact_write_items(TransactItems=write, ClientRequestToken="another")


@pytest.mark.parametrize(("low", "met"), [("1", True), ("5", True), ("6", False)])
def test_between_includes_both_ends(low: str, met: bool) -> None:
    # moto breaks where the attribute is missing.
    condition = expressions.condition("attempt BETWEEN :low AND :high")
    values = {":low": {"N": low}, ":high": {"N": "10"}}
    assert condition.test({"attempt": {"N": "5"}}, {}, values) == met
    assert not condition.test({}, {}, values)


def test_a_placeholder_that_nothing_uses_is_refused() -> None:
    with pytest.raises(ClientError, match="placeholders differ"):
        Table().delete_item(Key=KEYS[0], ExpressionAttributeNames={"#owner": "owner"})


def test_the_index_may_lag_behind() -> None:
    table = Table()
    table.put_item(Item=KEYS[0])
    table.index_lags = True
    question: dict[str, Any] = {
        "IndexName": INDEX,
        "KeyConditionExpression": "scan_timestamp = :time",
        "ExpressionAttributeValues": {":time": {"S": "1"}},
    }
    assert table.query(**question)["Count"] == 0

    table.catch_up()

    assert table.query(**question)["Count"] == 1
