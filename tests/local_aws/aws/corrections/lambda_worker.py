"""The Python runtime of the emulated Lambda: a program that MiniStack runs once per warm worker.

It is run from its source text, outside this repository, so it imports the standard library only. MiniStack talks to
it in JSON lines: first how to find the handler, then one line per invocation, each answered by one line.

What it does as AWS's own runtime (github.com/aws/aws-lambda-python-runtime-interface-client) does:
exceptions become ``errorType``, ``errorMessage``, ``requestId`` and ``stackTrace`` and leave the worker warm; a module
that cannot be imported, a missing handler and a result that is no JSON have their ``Runtime.…`` error types; ``exit``
ends the worker. Only the package and what AWS's runtime brings along can be imported, so that a dependency missing
from the package is missed here too.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import json
import os
import resource
import sys
import threading
import time
import traceback
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

END_OF_LOG = "\x1eend-of-log"
"""What ends the log of an invocation, so that nobody has to guess whether more is to come."""

_RUNTIME_PACKAGES = {
    "boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3", "snapshot_restore_py",
}  # fmt: skip


class _PackageOnly:
    """A finder that refuses third-party packages other than those in the deployment package."""

    def __init__(self, folders: list[str]) -> None:
        self._folders = folders

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if path is not None or name in sys.stdlib_module_names or name in _RUNTIME_PACKAGES:
            return None
        if importlib.machinery.PathFinder.find_spec(name, self._folders) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


class _InvocationError(Exception):
    """An invocation failed; holds the answer that says so."""

    def __init__(self, error_type: str, message: str, stack: list[str] | None = None) -> None:
        super().__init__(message)
        self.answer: dict[str, Any] = {"errorMessage": message, "errorType": error_type, "stackTrace": stack or []}


def main() -> None:
    """Answer invocations until standard input ends."""
    # Answers go to the real standard output; whatever the function prints goes to the log.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    init = json.loads(sys.stdin.readline())
    os.environ.update(init["env"])
    # An SDK sends this along as part of its user agent: by it, a call is known to come from this very process.
    os.environ["AWS_SDK_UA_APP_ID"] = f"worker-{os.getpid()}"
    layers = [os.path.join(layer, "python") for layer in os.environ.get("_LAMBDA_LAYERS_DIRS", "").split(":") if layer]
    folders = [init["code_dir"], *layers]
    sys.path[:0] = folders
    sys.meta_path.insert(0, _PackageOnly(folders))
    handler, failure = _load(init["module"], init["handler"])
    answer({"status": "ready"})

    for line in sys.stdin:
        message = json.loads(line)
        call = message["ctx"]
        os.environ["_X_AMZN_TRACE_ID"] = call.get("trace_id") or ""
        began = time.monotonic(), time.process_time()
        try:
            if failure is not None:
                raise failure
            response = {"status": "ok", "result": _invoke(handler, message["event"], _context(init, call))}
        except _InvocationError as error:
            failed = {**error.answer, "requestId": call["request_id"]}
            print(f"[ERROR] {failed['errorType']}: {failed['errorMessage']}\nTraceback (most recent call last):")
            print("".join(failed["stackTrace"]))
            response = {"status": "ok", "result": failed, "raised": True}
        seconds, cpu_seconds = time.monotonic() - began[0], time.process_time() - began[1]
        print(END_OF_LOG, flush=True)
        answer({**response, "used": {"seconds": seconds, "cpu_seconds": cpu_seconds, "memory_mb": _peak_memory_mb()}})
        if failure is not None:
            # AWS initializes again for the next invocation.
            handler, failure = _load(init["module"], init["handler"])


def _peak_memory_mb() -> float:
    """Return the most memory that this process has had, in MB.

    What getrusage tells, in KB on Linux and in bytes on macOS, may on Linux be of the process that has started this
    one: the emulator, which is larger.
    """
    try:
        with open("/proc/self/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        unit = 1024 if sys.platform == "darwin" else 1
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / unit


def _end_with_parent(parent: int) -> None:
    """End with MiniStack, however it ends: a busy handler would not notice the end of standard input."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _load(module_name: str, handler_name: str) -> tuple[Any, _InvocationError | None]:
    """Return the handler, or what every invocation fails with because there is none."""
    try:
        return getattr(importlib.import_module(module_name), handler_name), None
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        return None, _InvocationError("Runtime.ImportModuleError", message)
    except SyntaxError as error:
        message = f"Syntax error in module '{module_name}': {error}"
        return None, _InvocationError("Runtime.UserCodeSyntaxError", message)
    except Exception as error:  # noqa: BLE001 - whatever the module raises
        if isinstance(error, AttributeError) and module_name in sys.modules:
            message = f"Handler '{handler_name}' missing on module '{module_name}'"
            return None, _InvocationError("Runtime.HandlerNotFound", message)
        return None, _InvocationError(type(error).__name__, str(error), _stack(error))


def _invoke(handler: Any, event: Any, context: Any) -> Any:
    try:
        result = handler(event, context)
    except Exception as error:  # noqa: BLE001 - whatever the function raises
        raise _InvocationError(type(error).__name__, str(error), _stack(error)) from None
    try:
        return json.loads(json.dumps(result, default=_number))
    except (TypeError, ValueError) as error:
        raise _InvocationError("Runtime.MarshalError", f"Unable to marshal response: {error}") from None


def _number(value: Any) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _stack(error: BaseException) -> list[str]:
    """Return the function's own frames, without this program's, as AWS's runtime formats them."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    return traceback.format_list([frame for frame in frames if not frame.filename.startswith("<frozen importlib")])


def _context(init: dict[str, Any], call: dict[str, Any]) -> Any:
    deadline = time.monotonic() + call["timeout_ms"] / 1000
    return SimpleNamespace(
        function_name=init["function_name"],
        function_version=os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        invoked_function_arn=call["invoked_function_arn"],
        memory_limit_in_mb=str(init["memory"]),
        aws_request_id=call["request_id"],
        log_group_name=f"/aws/lambda/{init['function_name']}",
        log_stream_name=os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME", ""),
        identity=None,
        client_context=None,
        get_remaining_time_in_millis=lambda: max(0, int((deadline - time.monotonic()) * 1000)),
    )


if __name__ == "__main__":
    main()
