"""Lets a key of an index take only so many write units a second, as on AWS. Off until a measurement asks for it.

All records of a scan have one key of the index. A partition takes 1,000 write units a second, whatever the table's
capacity mode is; what a write takes of it is a unit for each KB, rounded up, of what the index has of the item. A write
that the index has no room for is throttled: BatchWriteItem gives such items back as UnprocessedItems, and where that is
all of them, it fails with ProvisionedThroughputExceededException. (DynamoDB developer guide, "Burst and adaptive
capacity", "Using global secondary indexes"; API reference of BatchWriteItem.)

Assumed is that a key keeps one second of what it was not asked for, and begins with that. DynamoDB keeps up to 300
seconds of a table's unused capacity, best effort, and promises none of it for a partition.
"""

from __future__ import annotations

import importlib
import json
import math
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.local_aws.aws import fault_injection, meter
from tests.local_aws.aws.corrections._ministack import core, service

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local_aws.aws.emulator import Emulator

ROUTE = "/_local/index-limit"
"""Where the emulator takes orders: GET gives the counts, POST begins anew with ``units_per_second``, 0 for no limit."""

ON_AWS = 1000
"""Write units a second of a partition (DynamoDB developer guide, "Best practices for partition keys")."""

_UNIT_BYTES = 1024


class Bucket:
    """What a key has left.

    Parameters
    ----------
    units_per_second
        What comes in.
    kept_seconds
        For how long what comes in is kept.
    """

    def __init__(self, units_per_second: float, kept_seconds: float, clock: Callable[[], float]) -> None:
        self._rate, self._most, self._clock = units_per_second, units_per_second * kept_seconds, clock
        self._left, self._at = self._most, clock()

    def take(self, units: int) -> bool:
        """Take so many units, if there are as many."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if units > self._left:
            return False
        self._left -= units
        return True


class _Limits:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begin(0)

    def begin(self, units_per_second: float) -> None:
        with self._lock:
            self.units_per_second = units_per_second
            self._buckets: dict[tuple[str, str, str], Bucket] = {}
            self.facts = {"written": 0, "units": 0, "throttled": 0}

    def admit(self, table: str, request: dict[str, Any]) -> bool:
        """Tell whether every index of a table has room for a write, and take it."""
        item = request.get("PutRequest", {}).get("Item", {})
        units = math.ceil(meter.size_of(item) / _UNIT_BYTES)
        keys = _index_keys(table, item)
        with self._lock:
            buckets = [self._buckets.setdefault(key, Bucket(self.units_per_second, 1, time.monotonic)) for key in keys]
            admitted = all(bucket.take(units) for bucket in buckets)
            self.facts["written" if admitted else "throttled"] += 1
            self.facts["units"] += units * len(keys) * admitted
        return admitted


_limits = _Limits()


def _index_keys(table: str, item: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return table, index and key for every index that an item is in. All project every attribute here."""
    definition = service("dynamodb")._tables.get(table, {})
    found = []
    for index in definition.get("GlobalSecondaryIndexes", []):
        name = next(key["AttributeName"] for key in index["KeySchema"] if key["KeyType"] == "HASH")
        if name in item:
            found.append((table, index["IndexName"], json.dumps(item[name])))
    return found


def install() -> None:
    """Put the limit into MiniStack in this process."""
    handlers: dict[str, Any] = importlib.import_module("ministack.app").SERVICE_HANDLERS
    handle = handlers["dynamodb"]

    async def handle_request(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        if operation != "BatchWriteItem" or not _limits.units_per_second:
            return await handle(method, path, headers, body, query)
        request = json.loads(body)
        kept: dict[str, list[Any]] = {}
        rest: dict[str, list[Any]] = {}
        for table, writes in request["RequestItems"].items():
            for write in writes:
                (kept if _limits.admit(table, write) else rest).setdefault(table, []).append(write)
        if not kept:
            message = (
                "The level of configured provisioned throughput for one or more global secondary indexes of the table "
                "was exceeded. Consider increasing your provisioning level for the under-provisioned global secondary "
                "indexes with the UpdateTable API"
            )
            return core("responses").error_response_json("ProvisionedThroughputExceededException", message, 400)
        return await fault_injection.write_some(handle, method, path, headers, request, kept, rest, query)

    handlers["dynamodb"] = handle_request


async def answer(method: str, body: bytes) -> tuple[int, bytes]:
    """Answer a request to :data:`ROUTE`."""
    if method == "POST":
        _limits.begin(json.loads(body)["units_per_second"])
    return 200, json.dumps(_limits.facts).encode()


def begin(aws: Emulator, units_per_second: float = ON_AWS) -> None:
    """Let every key of an index take so many write units a second; 0 for no limit. Counts begin anew."""
    aws.order("POST", ROUTE, json.dumps({"units_per_second": units_per_second}))


def read(aws: Emulator) -> dict[str, int]:
    """Return how many items were ``written``, the ``units`` they took of the index, and how many were ``throttled``."""
    facts: dict[str, int] = json.loads(aws.order("GET", ROUTE))
    return facts
