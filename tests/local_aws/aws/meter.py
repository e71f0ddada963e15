"""Counts what is called on the local AWS and what the functions use; on request, each call takes as long as on AWS.

Whoever calls: the deployed functions, the state machine, or a program from outside. Only the measurements use it.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import math
import re
import threading
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.local_aws.aws.corrections._ministack import core, service, wrap

if TYPE_CHECKING:
    from tests.local_aws.aws.emulator import Emulator

ROUTE = "/_local/meter"
"""Where the emulator takes orders: GET gives the counts, POST begins anew with ``latency_ms``."""

_SERVICES = ("dynamodb", "events", "iam", "organizations", "sts")
_WRITE_UNIT_BYTES = 1024


class _Meter:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begin(0)

    def begin(self, latency_ms: float) -> None:
        with self._lock:
            self.latency_seconds = latency_ms / 1000
            self.calls: Counter[str] = Counter()
            self.write_units = 0
            self.records = 0
            self.record_bytes = 0
            self.kept_bytes: Counter[str] = Counter()
            self.functions: dict[str, dict[str, float]] = defaultdict(
                lambda: {"invocations": 0, "seconds": 0.0, "cpu_seconds": 0.0, "memory_mb": 0.0}
            )

    def count(self, name: str, operation: str, request: dict[str, Any]) -> None:
        with self._lock:
            self.calls[f"{name}:{operation}"] += 1
            self.write_units += _write_units(operation, request)
            if operation == "BatchWriteItem":
                items = [one["PutRequest"]["Item"] for requests in request["RequestItems"].values() for one in requests]
                self.records += len(items)
                self.record_bytes += sum(map(size_of, items))
            elif operation == "PutItem":
                # Of what is kept in parts, the sort key begins with what it is.
                sort_key = request["Item"].get("scan_timestamp", {}).get("S", "")
                self.kept_bytes[sort_key.partition("#")[0]] += size_of(request["Item"])

    def invoked(self, function: str, seconds: float, cpu_seconds: float, memory_mb: float) -> None:
        with self._lock:
            used = self.functions[function]
            used["invocations"] += 1
            used["seconds"] += seconds
            used["cpu_seconds"] += cpu_seconds
            used["memory_mb"] = max(used["memory_mb"], memory_mb)

    def facts(self) -> dict[str, Any]:
        with self._lock:
            return {
                "calls": self.calls,
                "write_units": self.write_units,
                "record_bytes": self.record_bytes / max(1, self.records),
                "posture_bytes": self.kept_bytes["posture"],
                "picture_bytes": self.kept_bytes["baseline"],
                "functions": self.functions,
            }


_meter = _Meter()


def _write_units(operation: str, request: dict[str, Any]) -> int:
    """Return the write units of a call: one per KB of each item, in the table and once more in its index.

    Every item of the table is in the index: its key is an attribute that all of them have. (DynamoDB developer guide,
    "DynamoDB on-demand capacity mode".) Of the items that are changed in place the lock is smaller than 1 KB, and the
    manifests, once they hold what is known of posture, smaller than 2 KB. A transaction takes twice as many in the
    table, and not in the index, which follows it by ordinary writes. (Same guide, "Amazon DynamoDB Transactions: How it
    works".)
    """
    if operation == "BatchWriteItem":
        requests = [one for requests in request["RequestItems"].values() for one in requests]
        return sum(2 * math.ceil(size_of(one["PutRequest"]["Item"]) / _WRITE_UNIT_BYTES) for one in requests)
    if operation == "TransactWriteItems":
        # Two in the table, for preparing and committing, and one in the index; a check writes nothing there.
        return sum(2 if "ConditionCheck" in action else 3 for action in request["TransactItems"])
    if operation == "PutItem":
        return 2 * math.ceil(size_of(request["Item"]) / _WRITE_UNIT_BYTES)
    return {"UpdateItem": 4, "DeleteItem": 2}.get(operation, 0)


def size_of(item: dict[str, dict[str, Any]]) -> int:
    """Return the size of an item, in bytes (DynamoDB developer guide, "Item sizes and formats")."""
    return sum(len(name.encode()) + _size_of(value) for name, value in item.items())


def _size_of(value: dict[str, Any]) -> int:
    ((kind, inner),) = value.items()
    if kind == "S":
        return len(inner.encode())
    if kind == "N":
        return len(inner) // 2 + 2
    if kind == "B":
        return len(base64.b64decode(inner))
    if kind == "L":
        return 3 + sum(1 + _size_of(element) for element in inner)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + _size_of(element) for name, element in inner.items())
    return 1 if kind in {"BOOL", "NULL"} else sum(len(element) for element in inner)


def install() -> None:
    """Put the meter into MiniStack in this process."""
    handlers: dict[str, Any] = importlib.import_module("ministack.app").SERVICE_HANDLERS
    for name in _SERVICES:
        handlers[name] = _metered_service(name, handlers[name])
    wrap(service("stepfunctions"), "_invoke_resource", _metered_integration)
    wrap(core("lambda_runtime").Worker, "invoke", _metered_invocation)


def _metered_service(name: str, handle: Any) -> Any:
    async def handle_request(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
        target = headers.get("x-amz-target", "")
        operation = target.rpartition(".")[2] if target else parse_qs(body.decode()).get("Action", [""])[0]
        _meter.count(name, operation, json.loads(body) if target else {})
        if _meter.latency_seconds:
            await asyncio.sleep(_meter.latency_seconds)
        return await handle(method, path, headers, body, query)

    return handle_request


def _metered_integration(invoke: Any) -> Any:
    def invoke_resource(resource: str, data: Any) -> Any:
        integration = re.fullmatch(r"arn:[a-z-]+:states:::(dynamodb):([a-z])([A-Za-z]+)", resource)
        if integration is not None:
            _meter.count(integration[1], integration[2].upper() + integration[3], data)
            time.sleep(_meter.latency_seconds)
        return invoke(resource, data)

    return invoke_resource


def _metered_invocation(invoke: Any) -> Any:
    def invoke_worker(worker: Any, *args: Any, **kwargs: Any) -> Any:
        answer = invoke(worker, *args, **kwargs)
        used = answer.pop("used", None)
        if used is not None:
            _meter.invoked(worker.func_name, **used)
        return answer

    return invoke_worker


async def answer(method: str, body: bytes) -> tuple[int, bytes]:
    """Answer a request to :data:`ROUTE`."""
    if method == "POST":
        _meter.begin(json.loads(body)["latency_ms"])
    return 200, json.dumps(_meter.facts()).encode()


def begin(aws: Emulator, latency_ms: float = 0) -> None:
    """Begin to count anew; every call to one of the services that are counted takes so many milliseconds longer."""
    aws.order("POST", ROUTE, json.dumps({"latency_ms": latency_ms}))


def read(aws: Emulator) -> dict[str, Any]:
    """Return the counts since :func:`begin`.

    Returns
    -------
    ``calls`` by ``service:Operation``; ``write_units``; ``record_bytes``, the mean size of what BatchWriteItem wrote;
    ``posture_bytes`` and ``picture_bytes``, of what is kept of a scan's posture and of what was announced;
    ``functions`` by name, each with ``invocations``, the ``seconds`` and
    ``cpu_seconds`` of their handlers, and the ``memory_mb`` of their processes at the most.
    """
    facts: dict[str, Any] = json.loads(aws.order("GET", ROUTE))
    return facts
