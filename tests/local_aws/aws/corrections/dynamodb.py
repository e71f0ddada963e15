"""Corrections of DynamoDB."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Self

from tests.local_aws.aws.corrections._ministack import core, service, wrap

_EQUALITY = re.compile(r"([#\w]+)\s*=\s*(:\w+)")


def leading_keys() -> None:
    """Tell IAM which partition keys a request touches, so that a policy can limit it to them.

    AWS: the condition key dynamodb:LeadingKeys holds the partition key values of the request (Service Authorization
    Reference, "Condition keys for Amazon DynamoDB"; DynamoDB developer guide, "Using IAM policy conditions for
    fine-grained access control").

    A transaction needs the permission of each of its actions (PutItem, UpdateItem, DeleteItem, ConditionCheckItem,
    GetItem), evaluated with the key of that item (developer guide, "Using IAM with DynamoDB transactions").

    MiniStack never sets it, so a statement that requires it to be there allows nothing. Set here are the keys of the
    operations on items by their whole key, single, batch and in a transaction, and the key of a Query on a table; not
    those of a Query on an index and of PartiQL. To go when a policy that allows one key allows that key only.
    """

    def with_keys(context_of: Any) -> Any:
        def service_context(body: bytes) -> dict[str, Any]:
            context: dict[str, Any] = context_of(body)
            try:
                request = json.loads(body or b"{}")
            except ValueError:
                return context
            keys = leading_keys_of(request) if isinstance(request, dict) else []
            return context | ({"dynamodb:LeadingKeys": keys} if keys else {})

        return service_context

    def with_items(checks_of: Any) -> Any:
        def transaction_checks(action: str, body: bytes, region: str, account_id: str) -> list[tuple[str, str]]:
            checks: list[tuple[str, str]] = checks_of(action, body, region, account_id)
            items = list(_transaction_items(json.loads(body))) if checks else []
            return [
                (item_action, _TableOfItem(arn, leading_keys_of(item)))
                for (item_action, arn), item in zip(checks, items, strict=True)
            ]

        return transaction_checks

    def with_key_of_item(enforce: Any) -> Any:
        def enforce_item(*arguments: Any, service_context: Any = None, resource_arn: Any = "", **details: Any) -> Any:
            if isinstance(resource_arn, _TableOfItem) and resource_arn.leading_keys:
                service_context = {**(service_context or {}), "dynamodb:LeadingKeys": resource_arn.leading_keys}
            return enforce(*arguments, service_context=service_context, resource_arn=resource_arn, **details)

        return enforce_item

    wrap(core("iam_actions"), "dynamodb_service_context", with_keys)
    wrap(core("iam_actions"), "dynamodb_transaction_checks", with_items)
    wrap(core("iam_evaluator"), "enforce", with_key_of_item)


class _TableOfItem(str):
    """A table's ARN that knows, on its way through MiniStack, the key of the item that is to be checked."""

    __slots__ = ("leading_keys",)

    def __new__(cls, arn: str, leading_keys: list[str]) -> Self:
        """Add the keys to the ARN."""
        made = super().__new__(cls, arn)
        made.leading_keys = leading_keys
        return made

    leading_keys: list[str]


def _transaction_items(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the actions of a transaction as single requests, in the order in which MiniStack checks them."""
    for item in request["TransactItems"]:
        for member in core("iam_actions")._DYNAMODB_TRANSACT_ITEM_ACTIONS:
            action = item.get(member) if isinstance(item, dict) else None
            if isinstance(action, dict) and isinstance(action.get("TableName"), str) and action["TableName"]:
                yield action


def leading_keys_of(request: dict[str, Any]) -> list[str]:
    """Return the partition key values that a DynamoDB request names, as far as they are read here."""
    return sorted(set(_partition_keys(request)))


def _partition_keys(request: dict[str, Any]) -> Iterator[str]:
    tables = service("dynamodb")._tables
    for table_name, item in _items(request):
        table = tables.get(table_name.rpartition("/")[2])
        if table and isinstance(item, dict):
            for value in (item.get(table["pk_name"]) or {}).values():
                yield str(value)
    if "KeyConditionExpression" in request and "IndexName" not in request:
        yield from _queried_keys(request, tables.get(str(request.get("TableName", "")).rpartition("/")[2]))


def _queried_keys(request: dict[str, Any], table: Any) -> Iterator[str]:
    """Yield the partition key of a Query, whose condition must have it as ``name = :value``."""
    names, values = (request.get(f"ExpressionAttribute{kind}") or {} for kind in ("Names", "Values"))
    for name, value in _EQUALITY.findall(request["KeyConditionExpression"]):
        if table and names.get(name, name) == table["pk_name"] and value in values:
            yield from map(str, values[value].values())


def _items(request: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield everything in a request that has a primary key, with its table."""
    for name in ("Key", "Item"):
        if name in request:
            yield str(request.get("TableName", "")), request[name]
    batches = request.get("RequestItems")
    for table_name, batch in batches.items() if isinstance(batches, dict) else ():
        for key in batch.get("Keys", []) if isinstance(batch, dict) else ():
            yield table_name, key
        for write in batch if isinstance(batch, list) else ():
            yield table_name, write.get("PutRequest", {}).get("Item")
            yield table_name, write.get("DeleteRequest", {}).get("Key")
