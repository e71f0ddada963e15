"""The emulator's side of :mod:`tests.local_aws.aws.faults`: counts the calls, and lets the ordered ones go wrong."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import json
import os
import re
import signal
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.local_aws.aws import ACCOUNT_ID, faults
from tests.local_aws.aws.corrections import eventbridge, sts
from tests.local_aws.aws.corrections._ministack import core, service, wrap
from tests.local_aws.aws.faults import STATE_MACHINE, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

_SLICE_SECONDS = 0.05
_WORKER_MARK = re.compile(r"\bapp/worker-([0-9]+)\b")

# As the services name them: (HTTP status, code) of each kind.
_SERVICE_ERRORS = {
    "dynamodb": {
        "throttled": (400, "ProvisionedThroughputExceededException"),
        "access_denied": (400, "AccessDeniedException"),
        "error": (500, "InternalServerError"),
    },
    "iam": {
        "throttled": (400, "Throttling"),
        "access_denied": (403, "AccessDenied"),
        "error": (500, "ServiceFailure"),
        "limit_exceeded": (409, "LimitExceeded"),
    },
    "states": {
        "throttled": (400, "ThrottlingException"),
        "access_denied": (400, "AccessDeniedException"),
        "error": (500, "InternalServerException"),
    },
    "events": {
        "throttled": (400, "ThrottlingException"),
        "access_denied": (400, "AccessDeniedException"),
        "error": (500, "InternalException"),
    },
    "sts": {
        "throttled": (400, "Throttling"),
        "access_denied": (403, "AccessDenied"),
        "error": (500, "InternalFailure"),
    },
    "organizations": {
        "throttled": (400, "TooManyRequestsException"),
        "access_denied": (400, "AccessDeniedException"),
        "error": (500, "ServiceException"),
    },
}
# Those that answer in XML.
_QUERY_PROTOCOL = {"iam", "sts"}
# As PutEvents answers them for an entry.
_ENTRY_ERRORS = {
    "entries_failed": ("InternalFailure", "Internal error (injected fault)"),
    "entries_throttled": ("ThrottlingException", "Rate exceeded (injected fault)"),
    "entries_malformed": ("MalformedDetail", "Detail is malformed. (injected fault)"),
}
# As Step Functions reports them of an invocation.
_INVOCATION_ERRORS = {
    "throttled": "Lambda.TooManyRequestsException",
    "access_denied": "Lambda.AWSLambdaException",
    "error": "Lambda.ServiceException",
    "lost_response": "Lambda.SdkClientException",
    "late": "Lambda.SdkClientException",
    "timeout": "Sandbox.Timedout",
}


class _Injector:
    """The faults that are ordered, and the calls seen since."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._faults: dict[Fault, dict[str, int]] = {}
        self._waiting = 0

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults[fault] = {"seen": 0, "hit": 0}

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
            self._lock.notify_all()

    def drained(self) -> bool:
        """Wait until every call that was late or held has run; tell whether that is so."""
        with self._lock:
            return self._lock.wait_for(lambda: self._waiting == 0, faults.MEND_SECONDS)

    def listing(self) -> list[dict[str, Any]]:
        with self._lock:
            return [{**vars(fault), **counts} for fault, counts in self._faults.items()]

    def meet(self, call: str, by: str, account: str = "") -> Fault | None:
        """Count a call, and the account that it is about; return the fault that hits it, if any."""
        hit = None
        with self._lock:
            for fault, counts in self._faults.items():
                if fault.call == call and fault.by in {"", by} and fault.account in {"", account}:
                    counts["seen"] += 1
                    if hit is None and fault.hits(counts["seen"]):
                        counts["hit"] += 1
                        hit = fault
            if hit is not None and hit.kind in faults.WAITING_KINDS:
                self._waiting += 1
        return hit

    def run_when_removed(self, fault: Fault, execute: Callable[[], Any]) -> Any:
        """Execute what this fault keeps waiting, when it is removed."""
        try:
            with self._lock:
                self._lock.wait_for(lambda: fault not in self._faults)
            return execute()
        finally:
            with self._lock:
                self._waiting -= 1
                self._lock.notify_all()

    def holds(self, fault: Fault) -> bool:
        with self._lock:
            return fault in self._faults


_injector = _Injector()


def install() -> None:
    """Put the faults between the callers and the services of MiniStack in this process."""
    handlers: dict[str, Any] = importlib.import_module("ministack.app").SERVICE_HANDLERS
    for name in _SERVICE_ERRORS:
        handlers[name] = _faulty_service(name, handlers[name])
    wrap(service("stepfunctions"), "_invoke_resource", _faulty_integration)
    wrap(service("lambda_svc"), "_execute_function_with_config_scope", _faulty_invocation)


async def answer(method: str, body: bytes) -> tuple[int, bytes]:
    """Answer a request to :data:`tests.local_aws.aws.faults.ROUTE`."""
    if method == "GET":
        return 200, json.dumps(_injector.listing()).encode()
    if method == "DELETE":
        _injector.clear()
        if not await asyncio.to_thread(_injector.drained):
            return 504, b"a call that was late or held does not end"
        return 200, b"[]"
    if method != "POST":
        return 405, b"GET, POST or DELETE"
    try:
        ordered = json.loads(body)
        parts = [ordered.get(part, "") for part in ("numbers", "by", "account")]
        _injector.add(faults.fault(ordered["call"], ordered["kind"], *parts))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the request, its sender is told
        return 400, str(error).encode()
    return 200, b"[]"


# Calls that functions make


def _faulty_service(name: str, handle: Any) -> Any:
    async def handle_request(method: str, path: str, headers: Any, body: Any, query: Any) -> Any:
        function = _calling_function(headers, query)
        if function is None:
            return await handle(method, path, headers, body, query)
        call = f"{name}:{_operation(headers, body)}"
        fault = _injector.meet(call, _step(function), _account_of_call(name, body, query))
        match fault.kind if fault else None:
            case None:
                return await handle(method, path, headers, body, query)
            case "unprocessed":
                return await _unprocessed(handle, method, path, headers, body, query)
            case str(kind) if kind in _ENTRY_ERRORS:
                return await _some_entries_fail(kind, handle, method, path, headers, body, query)
            case "lost_response":
                await handle(method, path, headers, body, query)
                return _error(name, "error", call, function)
            case "timeout":
                assert fault is not None
                end = time.monotonic() + faults.HOLD_SECONDS
                while time.monotonic() < end and _injector.holds(fault):
                    await asyncio.sleep(_SLICE_SECONDS)
                return _error(name, "error", call, function)
            case "crash":
                _kill_worker(headers)
                return _error(name, "error", call, function)
            case kind:
                return _error(name, str(kind), call, function)

    return handle_request


def _calling_function(headers: Any, query: Any) -> str | None:
    """Return the name of the Lambda function that makes a request, by its own role or by one that it took with that."""
    sessions = service("sts")._sessions
    if _WORKER_MARK.search(headers.get("user-agent", "")) is None:
        return None
    session = sessions.get(core("router").extract_access_key_id(headers, query)) or {}
    while taken_by := sessions.get(session.get("SourceAccessKeyId")):
        session = taken_by
    # MiniStack names the session of an execution role after the function.
    _, found, session_name = session.get("Arn", "").partition(":assumed-role/")
    return str(session_name).rpartition("/")[2] if found else None


def _account_of_call(name: str, body: bytes, query: Any) -> str:
    """Return the account that a call is about: of a role that is taken, or else the caller's."""
    role = sts.parameters_of(body, query).get("RoleArn", "") if name == "sts" else ""
    return role.split(":")[4] if role.count(":") > 4 else str(core("responses").get_account_id())


def _step(function: str) -> str:
    """Return the step of a deployed function, whose name ends in it, or else its name."""
    name = function.replace("-", "_")
    return next((step for step in faults.steps() if name == step or name.endswith(f"_{step}")), function)


def _operation(headers: Any, body: bytes) -> str:
    target: str = headers.get("x-amz-target", "")
    return target.rpartition(".")[2] if target else parse_qs(body.decode()).get("Action", [""])[0]


def _kill_worker(headers: Any) -> None:
    mark = _WORKER_MARK.search(headers.get("user-agent", ""))
    assert mark is not None
    workers = [worker for workers in list(core("lambda_runtime")._workers.values()) for worker in workers]
    # Nobody but a worker of this process is ever killed, whatever a request says.
    if any(worker._proc is not None and worker._proc.pid == int(mark[1]) for worker in workers):
        os.kill(int(mark[1]), signal.SIGKILL)


async def _unprocessed(handle: Any, method: str, path: str, headers: Any, body: Any, query: Any) -> Any:
    """Write the first item; give the others back, as DynamoDB does when throttled half-way."""
    request = json.loads(body)
    kept = {table: items[:1] for table, items in request["RequestItems"].items()}
    rest = {table: items[1:] for table, items in request["RequestItems"].items() if items[1:]}
    return await write_some(handle, method, path, headers, request, kept, rest, query)


async def write_some(
    handle: Any, method: str, path: str, headers: Any, request: Any, kept: Any, rest: Any, query: Any
) -> Any:
    """Write what is kept of a BatchWriteItem's RequestItems, and give the rest back as UnprocessedItems."""
    response = await handle(method, path, headers, json.dumps({**request, "RequestItems": kept}).encode(), query)
    if response[0] != 200:
        return response
    answered = json.dumps({**json.loads(response[2]), "UnprocessedItems": rest}).encode()
    checksum = {"x-amz-crc32": str(zlib.crc32(answered))}
    return response[0], {**response[1], **checksum}, answered


async def _some_entries_fail(
    kind: str, handle: Any, method: str, path: str, headers: Any, body: Any, query: Any
) -> Any:
    """Take the first half of the events; refuse the others, as EventBridge does while it has difficulties."""
    request = json.loads(body)
    count = len(request["Entries"])
    refused = dict.fromkeys(range(count // 2, count), _ENTRY_ERRORS[kind])
    taken = json.dumps(eventbridge.without(request, refused)).encode()
    return eventbridge.answer_for_all(request, refused, await handle(method, path, headers, taken, query))


def _error(name: str, kind: str, call: str, function: str) -> Any:
    status, code = _SERVICE_ERRORS[name][kind]
    message = _message(kind, call, function)
    if name in _QUERY_PROTOCOL:
        return service("iam")._error(status, code, message, ns=name)
    return core("responses").error_response_json(code, message, status)


def _message(kind: str, call: str, caller: str) -> str:
    return {
        "throttled": "Rate exceeded (injected fault)",
        "access_denied": f"User: {caller} is not authorized to perform: {call} (injected fault)",
        "limit_exceeded": "No more capacity to launch new report generation tasks (injected fault)",
    }.get(kind, "Internal error (injected fault)")


# Calls that the state machine makes


def _faulty_integration(invoke: Any) -> Any:
    states = service("stepfunctions")

    def invoke_resource(resource: str, data: Any) -> Any:
        integration = re.fullmatch(r"arn:[a-z-]+:states:::(dynamodb):([a-z])([A-Za-z]+)", resource)
        fault = None
        if integration is not None:
            call = f"{integration[1]}:{integration[2].upper()}{integration[3]}"
            fault = _injector.meet(call, STATE_MACHINE)
        if fault is None:
            return invoke(resource, data)
        if fault.kind == "held":
            return _injector.run_when_removed(fault, lambda: invoke(resource, data))
        if fault.kind == "late":
            _run_later(fault, lambda: invoke(resource, data))
        if fault.kind == "lost_response":
            invoke(resource, data)
        if fault.kind == "timeout":
            _hang(fault)
        kind = fault.kind if fault.kind in _SERVICE_ERRORS["dynamodb"] else "error"
        _, code = _SERVICE_ERRORS["dynamodb"][kind]
        raise states._ExecutionError(f"DynamoDB.{code}", _message(kind, fault.call, "the state machine"))

    return invoke_resource


def _faulty_invocation(execute: Any) -> Any:
    def execute_function(func: Any, event: Any) -> Any:
        config = func.get("config") or func
        fault = _injector.meet(f"lambda:{_step(config['FunctionName'])}", "", _account_in(event) or ACCOUNT_ID)
        if fault is None:
            return execute(func, event)
        if fault.kind == "held":
            return _injector.run_when_removed(fault, lambda: execute(func, event))
        if fault.kind == "late":
            _run_later(fault, lambda: execute(func, event))
        if fault.kind == "lost_response":
            execute(func, event)
        error = _INVOCATION_ERRORS[fault.kind]
        message = (
            f"RequestId: injected Error: Task timed out after {config.get('Timeout', 3)}.00 seconds"
            if fault.kind == "timeout"
            else _message(fault.kind, "lambda:InvokeFunction", "the state machine")
        )
        return {"body": {"errorType": error, "errorMessage": message}, "error": True, "function_error": "Unhandled"}

    return execute_function


def _account_in(payload: Any) -> str | None:
    """Return the ``account_id`` that a payload has, however deep."""
    if not isinstance(payload, dict):
        return None
    if isinstance(payload.get("account_id"), str):
        return str(payload["account_id"])
    return next(filter(None, map(_account_in, payload.values())), None)


def _run_later(fault: Fault, execute: Callable[[], Any]) -> None:
    # In this thread's context, which says whose account it is.
    later = (_injector.run_when_removed, fault, execute)
    threading.Thread(target=contextvars.copy_context().run, args=later, daemon=True).start()


def _hang(fault: Fault) -> None:
    end = time.monotonic() + faults.HOLD_SECONDS
    while time.monotonic() < end and _injector.holds(fault):
        time.sleep(_SLICE_SECONDS)
