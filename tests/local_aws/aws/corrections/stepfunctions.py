"""Corrections of Step Functions."""

from __future__ import annotations

import contextvars
import json
import random
import re
import threading
import time
from typing import Any, NamedTuple

from tests.local_aws.aws.corrections._ministack import service, wrap

_PAYLOAD_LIMIT = 262_144
_TERMINAL_EVENTS = {"ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"}
_SLEEP_SLICE_SECONDS = 0.05


class _Run(NamedTuple):
    """One run of an execution: from its start, or from a redrive, to its end."""

    execution: dict[str, Any]
    number: int

    def is_over(self) -> bool:
        return bool(self.execution["status"] != "RUNNING" or self.execution["run"] != self.number)


class _RunOver(SystemExit):
    """Unwinds a thread whose run is over: nothing on the way catches it, and no thread reports it."""


_current_run: contextvars.ContextVar[_Run | None] = contextvars.ContextVar("run", default=None)


def current_execution() -> dict[str, Any] | None:
    """Return MiniStack's record of the execution that this thread works for, if any; known with :func:`end` only."""
    run = _current_run.get()
    return None if run is None else run.execution


def leave_if_over(execution: dict[str, Any]) -> None:
    """End this thread if it works for a run of the execution that is over; known with :func:`end` only."""
    run = _current_run.get()
    if run is not None and run.execution is execution and run.is_over():
        raise _RunOver


def end() -> None:
    """Let no state start, no retry happen and no event follow once an execution has ended.

    AWS: a stopped or timed-out execution takes no further transition, runs no Catch and keeps its status; its history
    ends with the event that says so. Calls under way are left to end by themselves.

    MiniStack goes on with the iterations of a Map, retries and catches in the background, adds events, and turns an
    aborted execution into a failed one if a call under way fails. To go when a Map that is stopped starts nothing
    more and an aborted execution stays aborted.

    Threads belong to a run rather than to an execution, so that one left over from before a redrive stays out of it.
    """
    states = service("stepfunctions")
    history = threading.Lock()

    def numbered(run_execution: Any) -> Any:
        def run(arn: str) -> None:
            execution = states._executions.get(arn)
            if execution is not None:
                execution["run"] = execution.get("run", 0) + 1
                _current_run.set(_Run(execution, execution["run"]))
            run_execution(arn)

        return run

    def closed(add_event: Any) -> Any:
        def add(execution: dict[str, Any], event_type: str, details: Any = None) -> Any:
            with history:
                if event_type not in _TERMINAL_EVENTS:
                    leave_if_over(execution)
                return add_event(execution, event_type, details)

        return add

    def final(fail_execution: Any) -> Any:
        def fail(execution: dict[str, Any], error: str, cause: str) -> None:
            leave_if_over(execution)
            fail_execution(execution, error, cause)

        return fail

    def sleep(seconds: float) -> None:
        run = _current_run.get()
        wake = time.monotonic() + seconds * states._SFN_WAIT_SCALE
        while (left := wake - time.monotonic()) > 0:
            if run is not None:
                leave_if_over(run.execution)
            time.sleep(min(left, _SLEEP_SLICE_SECONDS))

    wrap(states, "_run_execution", numbered)
    wrap(states, "_add_event", closed)
    wrap(states, "_fail_execution", final)
    wrap(states, "_scaled_sleep", lambda _original: sleep)


def timeout() -> None:
    """End an execution as TIMED_OUT when the state machine's TimeoutSeconds have passed.

    AWS: "If the execution runs longer than the specified time, the execution fails with a States.Timeout" (Amazon
    States Language, top-level TimeoutSeconds); its status is TIMED_OUT, its last event ExecutionTimedOut, and no Catch
    runs, as a Catch belongs to a state.

    MiniStack ignores the field. To go when it ends the execution.
    """
    states = service("stepfunctions")

    def limited(run_execution: Any) -> Any:
        def run(arn: str) -> None:
            execution = states._executions.get(arn) or {}
            machine = states._state_machines.get(execution.get("stateMachineArn")) or {"definition": "{}"}
            seconds = json.loads(machine["definition"]).get("TimeoutSeconds")
            if seconds is None:
                run_execution(arn)
                return
            # In this thread's context, which says whose account it is.
            expire = threading.Timer(seconds, contextvars.copy_context().run, (_expire, execution))
            expire.daemon = True
            expire.start()
            try:
                run_execution(arn)
            finally:
                expire.cancel()

        return run

    def _expire(execution: dict[str, Any]) -> None:
        leave_if_over(execution)
        if execution["status"] == "RUNNING":
            execution["status"] = "TIMED_OUT"
            execution["stopDate"] = states.now_iso()
            states._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
            states._emit_execution_status_event(execution)

    wrap(states, "_run_execution", limited)


def payload_limit() -> None:
    """Fail a state whose input, result or output is larger than 256 KiB with States.DataLimitExceeded.

    AWS: 262,144 bytes of UTF-8 text is a hard quota (Step Functions quotas), and neither States.ALL nor
    States.TaskFailed is relied on to match this error or States.Runtime: "States.DataLimitExceeded … can't be caught
    by the States.ALL error type" (Handling errors in Step Functions workflows).

    MiniStack passes on any size and lets States.ALL match anything. To go when it fails the state.
    """
    states = service("stepfunctions")

    def check(value: Any, what: str) -> Any:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if len(text) > _PAYLOAD_LIMIT or len(text.encode()) > _PAYLOAD_LIMIT:
            cause = f"{what} a result with a size exceeding the maximum number of bytes service limit."
            raise states._ExecutionError("States.DataLimitExceeded", cause)
        return value

    def state(context: Any) -> str:
        return f"The state/task '{((context or {}).get('State') or {}).get('Name', 'unknown')}'"

    def checked_input(apply: Any) -> Any:
        def apply_input_path(definition: Any, data: Any, ctx: Any = None) -> Any:
            return apply(definition, check(data, f"{state(ctx)} was given"), ctx)

        return apply_input_path

    def checked_output(apply: Any) -> Any:
        def apply_output_path(definition: Any, data: Any, ctx: Any = None) -> Any:
            return check(apply(definition, data, ctx), f"{state(ctx)} returned")

        return apply_output_path

    def checked_call(invoke: Any) -> Any:
        def invoke_resource(resource: str, data: Any) -> Any:
            check(data, f"The state/task '{resource}' was given")
            return check(invoke(resource, data), f"The state/task '{resource}' returned")

        return invoke_resource

    def explicit(matches: Any) -> Any:
        def error_matches(error_equals: list[str], error: str) -> bool:
            if error == "States.Runtime":
                return False
            if error == "States.DataLimitExceeded":
                return error in error_equals
            return bool(matches(error_equals, error))

        return error_matches

    wrap(states, "_apply_input_path", checked_input)
    wrap(states, "_apply_output_path", checked_output)
    wrap(states, "_invoke_resource", checked_call)
    wrap(states, "_error_matches", explicit)


def paths() -> None:
    """Fail a state whose paths do not fit its data, instead of making something up.

    AWS: a path in a payload template that finds nothing is States.Runtime, "The JSONPath '$.x' specified for the field
    'y.$' could not be found in the input" (so does Step Functions Local), and a ResultPath below ``$``, of the state or
    of a Catch, that meets an input that is no object is States.ResultPathMatchFailure (Amazon States Language,
    "Errors"; developer guide, "Handling errors in Step Functions workflows").

    A ResultSelector may use the context object, too (developer guide, "Accessing execution data from the Context
    object").

    MiniStack puts null for what a template does not find, and for all that a ResultSelector wants of the context
    object; it replaces an input that is no object by one. To go when a Pass state with a path that finds nothing fails.
    """
    states = service("stepfunctions")
    current: contextvars.ContextVar[Any] = contextvars.ContextVar("context", default=None)

    def known(apply: Any) -> Any:
        def apply_input_path(definition: Any, data: Any, ctx: Any = None) -> Any:
            current.set(ctx)
            return apply(definition, data, ctx)

        return apply_input_path

    def found(path: str, field: str, data: Any, ctx: Any) -> None:
        of_context = path.startswith("$$.")
        tokens = states._parse_jsonpath_tokens(path[1:] if of_context else path)
        value = (ctx or {}) if of_context else data
        for kind, name in tokens or ():
            if kind == "wildcard":
                return
            if not (isinstance(value, dict) and name in value if kind == "field" else _has_item(value, name)):
                source = "context object" if of_context else f"input '{json.dumps(data)}'"
                cause = f"The JSONPath '{path}' specified for the field '{field}' could not be found in the {source}"
                raise states._ExecutionError("States.Runtime", cause)
            value = value[name]

    def checked_template(resolve: Any) -> Any:
        def resolve_template(template: Any, data: Any, ctx: Any = None) -> Any:
            ctx = current.get() if ctx is None else ctx
            for field, path in template.items() if isinstance(template, dict) else ():
                if field.endswith(".$") and isinstance(path, str) and not path.startswith("States."):
                    found(path, field, data, ctx)
            return resolve(template, data, ctx)

        return resolve_template

    def checked_argument(evaluate: Any) -> Any:
        def evaluate_argument(argument: Any, data: Any, ctx: Any) -> Any:
            if argument[0] == "path":
                found(argument[1], "argument", data, ctx)
            return evaluate(argument, data, ctx)

        return evaluate_argument

    def checked_result(apply: Any) -> Any:
        def apply_result_path(path: str | None, original: Any, result: Any) -> Any:
            if path not in {None, "$"} and not isinstance(original, dict):
                cause = f"Unable to apply ResultPath '{path}' to the input '{json.dumps(original)}'"
                raise states._ExecutionError("States.ResultPathMatchFailure", cause)
            return apply(path, original, result)

        return apply_result_path

    wrap(states, "_apply_input_path", known)
    wrap(states, "_resolve_params_obj", checked_template)
    wrap(states, "_eval_intrinsic_arg", checked_argument)
    wrap(states, "_apply_result_path_raw", checked_result)


def _has_item(value: Any, index: int) -> bool:
    return isinstance(value, list) and index < len(value)


_parameters: contextvars.ContextVar[Any] = contextvars.ContextVar("parameters", default=None)


def scheduled_task() -> None:
    """Tell in the history what a task was called with.

    AWS: TaskScheduled names the service (``lambda``), the operation (``invoke``), the region and the parameters, as
    text (API reference, TaskScheduledEventDetails).

    MiniStack gives the state's resource only. To go when TaskScheduled has parameters.
    """
    states = service("stepfunctions")

    def kept(apply: Any) -> Any:
        def apply_parameters(definition: Any, data: Any, ctx: Any = None) -> Any:
            parameters = apply(definition, data, ctx)
            _parameters.set(parameters)
            return parameters

        return apply_parameters

    def told(add_event: Any) -> Any:
        def add(execution: dict[str, Any], event_type: str, details: Any = None) -> Any:
            if event_type == "TaskScheduled":
                task = details["taskScheduledEventDetails"]
                integration = re.fullmatch(r"arn:aws:states:::((?:aws-sdk:)?[^:]+):(.+)", task["resource"])
                if integration:
                    task |= {"resourceType": integration[1], "resource": integration[2]}
                task |= {"region": states.get_region(), "parameters": json.dumps(_parameters.get())}
            return add_event(execution, event_type, details)

        return add

    wrap(states, "_apply_parameters", kept)
    wrap(states, "_add_event", told)


def retry_delay() -> None:
    """Honour MaxDelaySeconds and JitterStrategy of a retrier.

    AWS: the delay before a retry is IntervalSeconds × BackoffRate^retries, at most MaxDelaySeconds, and with
    JitterStrategy FULL a random time between 0 and that (Amazon States Language, Retry).

    MiniStack ignores both fields; its own cap of 60 seconds remains. To go when it honours them.
    """

    def with_delay(find: Any) -> Any:
        def find_matching_retrier(retriers: Any, error: str, counts: dict[int, int]) -> Any:
            retrier, index = find(retriers, error, counts)
            if retrier is None:
                return retrier, index
            delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** counts.get(index, 0)
            delay = min(delay, retrier.get("MaxDelaySeconds", delay))
            if retrier.get("JitterStrategy") == "FULL":
                delay = random.uniform(0, delay)
            # What MiniStack will compute the same delay from.
            return {**retrier, "IntervalSeconds": delay, "BackoffRate": 1}, index

        return find_matching_retrier

    wrap(service("stepfunctions"), "_find_matching_retrier", with_delay)


def execution_input() -> None:
    """Refuse to start an execution whose input is no JSON.

    AWS: "InvalidExecutionInput: The provided JSON input data is not valid" (API reference, StartExecution).

    MiniStack takes any text. To go when it refuses.
    """
    states = service("stepfunctions")

    def checked(start: Any) -> Any:
        def start_execution(data: dict[str, Any]) -> Any:
            try:
                json.loads(data.get("input", "{}"))
            except ValueError as error:
                message = f"Invalid State Machine Execution Input: '{error}'"
                return states.error_response_json("InvalidExecutionInput", message, 400)
            return start(data)

        return start_execution

    wrap(states, "_start_execution", checked)


def tracing() -> None:
    """Return a state machine's tracing configuration as it was given.

    AWS: CreateStateMachine and UpdateStateMachine take tracingConfiguration, and DescribeStateMachine returns it (API
    reference). Terraform compares the two, and plans a change for ever where it is not returned.

    MiniStack drops it. To go when DescribeStateMachine returns it.
    """
    states = service("stepfunctions")

    def keep(change: Any) -> Any:
        def change_and_keep(data: dict[str, Any]) -> Any:
            response = change(data)
            arn = json.loads(response[2]).get("stateMachineArn") or data.get("stateMachineArn")
            if response[0] == 200 and "tracingConfiguration" in data:
                states._state_machines[arn]["tracingConfiguration"] = data["tracingConfiguration"]
            return response

        return change_and_keep

    wrap(states, "_create_state_machine", keep)
    wrap(states, "_update_state_machine", keep)
