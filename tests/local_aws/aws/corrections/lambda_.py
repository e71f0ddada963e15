"""Corrections of Lambda."""

from __future__ import annotations

import queue
import time
from pathlib import Path
from typing import Any

from tests.local_aws.aws.corrections import lambda_worker
from tests.local_aws.aws.corrections._ministack import core, service, wrap

_LOG_SECONDS = 2.0


def python_runtime() -> None:
    """Run Python functions as AWS's Python runtime does.

    AWS reports an exception as ``errorType`` (the class's name), ``errorMessage``, ``requestId`` and ``stackTrace``
    (Lambda developer guide, "Python function errors"); Step Functions takes the type for the error's name and the
    document for its cause. The worker stays warm. One that ends by itself is Runtime.ExitError.

    MiniStack reports Runtime.HandlerError for all of them and ends the worker. It also waits up to 50 ms per
    invocation for log lines, and may credit late ones to the next invocation. Here the runtime is
    :mod:`tests.local_aws.aws.corrections.lambda_worker`, which says where a log ends. MiniStack's own header against
    recursive invocations is not sent. To go when MiniStack keeps the exception's class name; the refusal of imports
    from outside the package would then be lost.
    """
    runtime = core("lambda_runtime")
    wrap(runtime, "_PYTHON_WORKER_SCRIPT", lambda _original: Path(lambda_worker.__file__).read_text(encoding="utf-8"))
    wrap(runtime.Worker, "_drain_stderr_bounded", _read_log)
    wrap(runtime.Worker, "invoke", _mark_failures)
    wrap(service("lambda_svc"), "_execute_function_warm", _report_failures)


class _FunctionError(dict[str, Any]):
    """The answer of an invocation that failed, on its way through MiniStack, which would take it for a result."""


def _is_python(worker: Any) -> bool:
    return str(worker.config.get("Runtime", "")).startswith("python")


def _mark_failures(invoke: Any) -> Any:
    def invoke_worker(worker: Any, event: Any, request_id: str, **details: Any) -> Any:
        answer = invoke(worker, event, request_id, **details)
        if not _is_python(worker):
            return answer
        if answer.pop("raised", False):
            answer["result"] = _FunctionError(answer["result"])
        elif answer["status"] == "error" and not answer["error"].startswith("Task timed out"):
            # There is no answer but the end of the process.
            message = f"RequestId: {request_id} Error: Runtime exited without providing a reason"
            answer["status"] = "ok"
            answer["result"] = _FunctionError(errorType="Runtime.ExitError", errorMessage=message)
        return answer

    return invoke_worker


def _report_failures(execute: Any) -> Any:
    def execute_function(func: Any, event: Any, request_id: str) -> Any:
        outcome = execute(func, event, request_id)
        if isinstance(outcome.get("body"), _FunctionError):
            return {**outcome, "error": True, "function_error": "Unhandled"}
        return outcome

    return execute_function


def _read_log(drain: Any) -> Any:
    def read(worker: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_python(worker):
            return drain(worker, *args, **kwargs)
        lines: list[str] = []
        deadline = time.monotonic() + _LOG_SECONDS
        while time.monotonic() < deadline:
            try:
                line = worker._stderr_queue.get(timeout=0.05)
            except queue.Empty:
                if not worker._stderr_thread.is_alive():
                    break
                continue
            if line == lambda_worker.END_OF_LOG:
                break
            lines.append(line)
        return "\n".join(lines)

    return read
