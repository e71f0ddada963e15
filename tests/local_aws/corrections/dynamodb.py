"""Corrections of DynamoDB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.local_aws.corrections._ministack import core, service, wrap


def leading_keys() -> None:
    """Tell IAM which partition keys a request touches, so that a policy can limit it to them.

    AWS: the condition key dynamodb:LeadingKeys holds the partition key values of the request (Service Authorization
    Reference, "Condition keys for Amazon DynamoDB"; DynamoDB developer guide, "Using IAM policy conditions for
    fine-grained access control").

    MiniStack never sets it, so a statement that requires it to be there allows nothing. Set here are the keys of the
    operations on items by their whole key, single and batch; not those of Query, PartiQL and transactions. To go when
    a policy that allows one key allows that key only.
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

    wrap(core("iam_actions"), "dynamodb_service_context", with_keys)


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
