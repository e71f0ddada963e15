"""One DynamoDB table in memory, behind the methods of the low-level client, a thousand times faster than an emulator.

Items are in the wire format, ``{"S": …}``, and values in it are never changed in place, so shallow copies are enough.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from tests.simulator import expressions
from tests.simulator.expressions import ExpressionError, Item

Key = tuple[str, str]
Change = Callable[[Key, Item | None, Item | None], None]
"""Hears of every write: the key, the item before and after it, None where there is none."""

HASH, RANGE = "user_name", "scan_timestamp"


class ConditionalCheckFailedException(ClientError):  # noqa: N818 - its name in botocore
    """As botocore makes it from DynamoDB's model."""


class TransactionCanceledException(ClientError):  # noqa: N818 - its name in botocore
    """As botocore makes it from DynamoDB's model; ``response`` has the CancellationReasons."""


class Exceptions:
    """``client.exceptions``."""

    ConditionalCheckFailedException = ConditionalCheckFailedException
    TransactionCanceledException = TransactionCanceledException
    ClientError = ClientError


def _refusal(kind: type[ClientError], operation: str, message: str, **more: Any) -> ClientError:
    return kind({"Error": {"Code": kind.__name__, "Message": message}, **more}, operation)  # type: ignore[typeddict-item]


def invalid(operation: str, message: str) -> ClientError:
    """Return the ValidationException that DynamoDB answers a malformed request with."""
    return ClientError({"Error": {"Code": "ValidationException", "Message": message}}, operation)


class Table:
    """The table and its index on the sort key.

    Attributes
    ----------
    index_lags
        While true, the index shows the table as :meth:`catch_up` last found it.
    strict
        Whether placeholders that no expression uses are refused, as DynamoDB does; mutants may leave some over.
    changed
        Those who hear of every write.
    """

    exceptions = Exceptions
    strict = True

    def __init__(self) -> None:
        self.items: dict[Key, Item] = {}
        self.index_lags = False
        self.changed: list[Change] = []
        self._index: dict[Key, Item] = {}
        self._tokens: set[str] = set()

    def catch_up(self) -> None:
        """Let the index show what the table holds now."""
        self._index = dict(self.items)

    def get_item(self, *, Key: Item, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Return the item, if there is one."""
        item = self.items.get(_key(Key))
        return {} if item is None else {"Item": dict(item)}

    def put_item(self, *, Item: Item, **request: Any) -> dict[str, Any]:  # noqa: N803
        """Put the item if its condition holds."""
        key = _key(Item)
        old = self._check("PutItem", key, request)
        self._write(key, dict(Item))
        return _returned(request, old, Item)

    def update_item(self, *, Key: Item, **request: Any) -> dict[str, Any]:  # noqa: N803
        """Update the item if its condition holds; create it if there is none."""
        key = _key(Key)
        old = self._check("UpdateItem", key, request)
        new = self._updated(key, Key, request)
        self._write(key, new)
        return _returned(request, old, new)

    def delete_item(self, *, Key: Item, **request: Any) -> dict[str, Any]:  # noqa: N803
        """Delete the item if its condition holds."""
        key = _key(Key)
        old = self._check("DeleteItem", key, request)
        if old is not None:
            self._write(key, None)
        return _returned(request, old, None)

    def batch_write_item(self, *, RequestItems: dict[str, list[Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        """Put and delete up to 25 items, none twice, without conditions."""
        ((_table, requests),) = RequestItems.items()
        keys = [_key(r["PutRequest"]["Item"] if "PutRequest" in r else r["DeleteRequest"]["Key"]) for r in requests]
        if not 1 <= len(requests) <= 25 or len(set(keys)) < len(keys):
            raise invalid("BatchWriteItem", "no, too many or duplicate items")
        for key, request in zip(keys, requests, strict=True):
            self._write(key, dict(request["PutRequest"]["Item"]) if "PutRequest" in request else None)
        return {"UnprocessedItems": {}}

    def batch_get_item(self, *, RequestItems: dict[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803
        """Return the items of up to 100 keys, none twice, read consistently."""
        ((table, request),) = RequestItems.items()
        keys = [_key(key) for key in request["Keys"]]
        if not 1 <= len(keys) <= 100 or len(set(keys)) < len(keys):
            raise invalid("BatchGetItem", "no, too many or duplicate keys")
        return {"Responses": {table: [dict(self.items[key]) for key in keys if key in self.items]}}

    def transact_write_items(
        self,
        *,
        TransactItems: list[dict[str, Any]],  # noqa: N803
        ClientRequestToken: str | None = None,  # noqa: N803
        **_: Any,
    ) -> dict[str, Any]:
        """Write all the items or none. A token that was used before writes nothing again and succeeds."""
        if ClientRequestToken is not None and ClientRequestToken in self._tokens:
            return {}
        reasons: list[dict[str, Any]] = []
        writes: list[tuple[Key, Item | None] | None] = []
        for entry in TransactItems:
            ((kind, request),) = entry.items()
            key = _key(request["Item"] if kind == "Put" else request["Key"])
            try:
                self._check("TransactWriteItems", key, request)
            except ConditionalCheckFailedException as error:
                item = {"Item": error.response["Item"]} if "Item" in error.response else {}  # type: ignore[typeddict-item]
                reasons.append({"Code": "ConditionalCheckFailed", "Message": "The conditional request failed", **item})
                continue
            reasons.append({"Code": "None"})
            if kind == "Put":
                writes.append((key, dict(request["Item"])))
            elif kind == "Update":
                writes.append((key, self._updated(key, request["Key"], request)))
            elif kind == "Delete":
                writes.append((key, None))
            elif kind != "ConditionCheck":
                raise invalid("TransactWriteItems", kind)
        if any(reason["Code"] != "None" for reason in reasons):
            codes = ", ".join(reason["Code"] for reason in reasons)
            message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
            raise _refusal(TransactionCanceledException, "TransactWriteItems", message, CancellationReasons=reasons)
        for write in writes:
            if write is not None:
                self._write(*write)
        if ClientRequestToken is not None:
            self._tokens.add(ClientRequestToken)
        return {}

    def query(self, **request: Any) -> dict[str, Any]:
        """Return the items of a key, of the table or of the index, in the order of their keys."""
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        on_index = "IndexName" in request
        source = self._index if on_index and self.index_lags else self.items
        matches = expressions.condition(request["KeyConditionExpression"]).test
        found = [(key, item) for key, item in source.items() if matches(item, names, values)]
        found.sort(
            key=lambda pair: pair[0] if on_index else pair[0][1], reverse=not request.get("ScanIndexForward", True)
        )
        if "ExclusiveStartKey" in request:
            start = _key(request["ExclusiveStartKey"])
            found = found[[key for key, _ in found].index(start) + 1 :]
        limit = request.get("Limit", len(found))
        page, more = found[:limit], len(found) > limit
        answer: dict[str, Any] = {"Items": [item for _, item in page], "ScannedCount": len(page)}
        if "FilterExpression" in request:
            kept = expressions.condition(request["FilterExpression"]).test
            answer["Items"] = [item for item in answer["Items"] if kept(item, names, values)]
        if "ProjectionExpression" in request:
            wanted = [names.get(name.strip(), name.strip()) for name in request["ProjectionExpression"].split(",")]
            answer["Items"] = [{name: item[name] for name in wanted if name in item} for item in answer["Items"]]
        answer["Count"] = len(answer["Items"])
        if request.get("Select") == "COUNT":
            del answer["Items"]
        if more:
            answer["LastEvaluatedKey"] = {HASH: {"S": page[-1][0][0]}, RANGE: {"S": page[-1][0][1]}}
        return answer

    def scan(self, **_: Any) -> dict[str, Any]:
        """Return everything in the table, in one page."""
        return {"Items": [dict(item) for item in self.items.values()]}

    def get_paginator(self, operation: str) -> "Paginator":
        """Return a paginator, of ``query`` only."""
        return Paginator(getattr(self, operation))

    def _check(self, operation: str, key: Key, request: Mapping[str, Any]) -> Item | None:
        """Return the item of the key as it is, if the request is sound and its condition holds."""
        old = self.items.get(key)
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        used: frozenset[str] = frozenset()
        try:
            if "ConditionExpression" in request:
                compiled = expressions.condition(request["ConditionExpression"])
                used |= compiled.placeholders
            if "UpdateExpression" in request:
                used |= expressions.update(request["UpdateExpression"]).placeholders
            if used != {*names, *values} and self.strict:
                raise ExpressionError(f"placeholders differ: {sorted(used ^ {*names, *values})}")
            if "ConditionExpression" in request and not compiled.test(old or {}, names, values):
                asked = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
                item = {"Item": dict(old)} if asked and old is not None else {}
                message = "The conditional request failed"
                raise _refusal(ConditionalCheckFailedException, operation, message, **item)
        except ExpressionError as error:
            raise invalid(operation, str(error)) from error
        return old

    def _updated(self, key: Key, key_item: Item, request: Mapping[str, Any]) -> Item:
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        try:
            compiled = expressions.update(request["UpdateExpression"])
            return compiled.apply(self.items.get(key) or dict(key_item), names, values)
        except ExpressionError as error:
            raise invalid("UpdateItem", str(error)) from error

    def _write(self, key: Key, new: Item | None) -> None:
        old = self.items.get(key)
        if new is None:
            self.items.pop(key, None)
        else:
            self.items[key] = new
        for changed in self.changed:
            changed(key, old, new)


class Paginator:
    """``client.get_paginator("query")``."""

    def __init__(self, call: Callable[..., dict[str, Any]]) -> None:
        self._call = call

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        """Yield page after page."""
        request.pop("PaginationConfig", None)
        while True:
            page = self._call(**request)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _key(item: Mapping[str, Any]) -> Key:
    return item[HASH]["S"], item[RANGE]["S"]


def _returned(request: Mapping[str, Any], old: Item | None, new: Item | None) -> dict[str, Any]:
    wanted = request.get("ReturnValues", "NONE")
    item = {"ALL_OLD": old, "ALL_NEW": new}.get(wanted)
    return {} if item is None else {"Attributes": dict(item)}
