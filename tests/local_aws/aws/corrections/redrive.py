"""RedriveExecution, which MiniStack does not have."""

from __future__ import annotations

import contextvars
import json
import threading
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tests.local_aws.aws.corrections import stepfunctions
from tests.local_aws.aws.corrections._ministack import service, wrap

_MOST_EVENTS = 24_999
_KEPT_TOKENS = 10

_Path = tuple[tuple[str, int], ...]
"""Where a state machine runs: () is the execution itself, (("WriteRecords", 3),) the fourth iteration of that Map."""


class _At(NamedTuple):
    """The state that is to be executed next, or is being executed."""

    state: str
    input: Any
    entered: bool


class _Done(NamedTuple):
    """An iteration that has succeeded."""

    output: Any


@dataclass
class _Progress:
    """How far one run of an execution has come. A redrive goes on with a copy, which no former thread writes to."""

    machine: str
    execution: Any = None
    context: dict[str, Any] = field(default_factory=dict)
    positions: dict[_Path, _At | _Done] = field(default_factory=dict)
    interrupted: set[_Path] = field(default_factory=set)

    def redriven(self) -> _Progress:
        """Return what the next run begins with."""
        interrupted = {path for path, position in self.positions.items() if isinstance(position, _At)}
        return replace(self, positions=dict(self.positions), interrupted=interrupted)

    def forget_iterations(self, path: _Path) -> None:
        """Drop what is known of the iterations of the state at this path: they begin anew."""
        for inner in [inner for inner in list(self.positions) if len(inner) > len(path) and inner[: len(path)] == path]:
            self.positions.pop(inner, None)


_progress: contextvars.ContextVar[_Progress | None] = contextvars.ContextVar("progress", default=None)
_path: contextvars.ContextVar[_Path] = contextvars.ContextVar("path", default=())


def redrive() -> None:
    """Let an execution that failed, was stopped or timed out be redriven.

    AWS (API reference, RedriveExecution, and developer guide, "Restarting state machine executions with redrive"):

    - The execution keeps its ARN, name, start, input and the definition it was started with, and goes on from the state
      it ended in, with that state's input: a Task is scheduled again, a Choice evaluated again, a Fail state fails
      again. An inline Map repeats only the iterations that failed or were aborted. Counts of retries and timeouts begin
      anew.
    - The history goes on with ExecutionRedriven, and the state that is repeated is not entered a second time.
    - DescribeExecution, ListExecutions, the status events and ``$$.Execution.RedriveCount`` say how often: 0 before the
      first. ``$$.Execution.RedriveTime`` is there once redriven only. What runs or has succeeded is
      ExecutionNotRedrivable. Repeating a client token redrives nothing.

    MiniStack knows no such action. A Parallel state is repeated whole here, with all its branches, and the 14 days in
    which AWS takes a redrive are not counted. To go when MiniStack redrives.
    """
    states = service("stepfunctions")
    wrap(states, "handle_request", _with_action)
    wrap(states, "_describe_execution", _described)
    wrap(states, "_list_executions", _listed)
    wrap(service("eventbridge"), "_put_events", _announced)
    wrap(states, "_run_execution", _run)
    for kind in ("task", "map", "parallel", "pass", "choice", "wait"):
        wrap(states, f"_execute_{kind}", _followed)
    wrap(states, "_run_map_items", _begin_iterations)
    wrap(states, "_run_sub_machine", _iteration)


# The API


def _with_action(handle: Any) -> Any:
    states = service("stepfunctions")

    async def handle_request(method: str, path: str, headers: Any, body: Any, query: Any) -> Any:
        if headers.get("x-amz-target", "").endswith(".RedriveExecution"):
            return states._finalize_response(_redrive_execution(json.loads(body)))
        return await handle(method, path, headers, body, query)

    return handle_request


def _redrive_execution(data: dict[str, Any]) -> Any:
    states = service("stepfunctions")
    arn = data.get("executionArn")
    execution = states._executions.get(arn)
    if execution is None:
        return states.error_response_json("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'", 400)
    tokens: dict[str, str] = execution.setdefault("redriveTokens", {})
    if (token := data.get("clientToken")) in tokens:
        return states.json_response({"redriveDate": tokens[token]})
    if (reason := _reason_against(execution)) is not None:
        return states.error_response_json("ExecutionNotRedrivable", reason, 400)

    now = states.now_iso()
    # First the number of the run, which keeps every thread of the former one out.
    execution["run"] = execution.get("run", 0) + 1
    execution["redriveCount"] = execution.get("redriveCount", 0) + 1
    execution.update(redriveDate=now, status="RUNNING", stopDate=None, output=None, error=None, cause=None)
    if token is not None:
        tokens[token] = now
        for old in list(tokens)[:-_KEPT_TOKENS]:
            del tokens[old]
    details = {"executionRedrivenEventDetails": {"redriveCount": execution["redriveCount"]}}
    states._add_event(execution, "ExecutionRedriven", details)
    states._emit_execution_status_event(execution)
    threading.Thread(target=contextvars.copy_context().run, args=(states._run_execution, arn), daemon=True).start()
    return states.json_response({"redriveDate": now})


def _reason_against(execution: dict[str, Any]) -> str | None:
    """Return why an execution cannot be redriven, in AWS's words, or None."""
    if execution["status"] in {"RUNNING", "SUCCEEDED"}:
        return f"Execution is {execution['status']} and cannot be redriven"
    if len(execution["events"]) >= _MOST_EVENTS:
        return "Execution history event limit exceeded"
    return None


def _redrives(execution: dict[str, Any]) -> dict[str, Any]:
    return {"redriveCount": execution.get("redriveCount", 0), "redriveDate": execution.get("redriveDate")}


def _context_redrives(execution: dict[str, Any]) -> dict[str, Any]:
    """Return what the context object tells of redrives."""
    count = execution.get("redriveCount", 0)
    return {"RedriveCount": count, **({"RedriveTime": execution["redriveDate"]} if count else {})}


def _redrive_status(execution: dict[str, Any]) -> dict[str, Any]:
    reason = _reason_against(execution)
    status = "REDRIVABLE" if reason is None else "NOT_REDRIVABLE"
    return {**_redrives(execution), "redriveStatus": status, "redriveStatusReason": reason}


def _described(describe: Any) -> Any:
    states = service("stepfunctions")

    def describe_execution(data: dict[str, Any]) -> Any:
        response = describe(data)
        if response[0] != 200:
            return response
        described = {**json.loads(response[2]), **_redrive_status(states._executions[data["executionArn"]])}
        return states.json_response({name: value for name, value in described.items() if value is not None})

    return describe_execution


def _listed(list_executions: Any) -> Any:
    states = service("stepfunctions")

    def list_with_redrives(data: dict[str, Any]) -> Any:
        response = list_executions(data)
        if response[0] != 200:
            return response
        listed = json.loads(response[2])
        for item in listed["executions"]:
            item.update(_redrives(states._executions[item["executionArn"]]))
        return states.json_response(listed)

    return list_with_redrives


def _announced(put_events: Any) -> Any:
    """Correct what a status event says of redrives."""
    states = service("stepfunctions")

    def put(data: dict[str, Any], allow_aws_source: bool = False) -> Any:
        for entry in data.get("Entries", []):
            if allow_aws_source and entry.get("Source") == "aws.states":
                detail = json.loads(entry["Detail"])
                execution = states._executions.get(detail.get("executionArn"))
                if execution is not None:
                    detail.update(_redrive_status(execution))
                    detail["redriveDate"] = states._iso_to_epoch_ms(detail["redriveDate"])
                    entry["Detail"] = json.dumps(detail)
        return put_events(data, allow_aws_source=allow_aws_source)

    return put


# The execution


def _run(run_execution: Any) -> Any:
    """Note what a run does, and let a redriven one go on where the former ended."""
    states = service("stepfunctions")

    def run(arn: str) -> None:
        execution = states._executions.get(arn)
        if execution is None:
            return run_execution(arn)  # type: ignore[no-any-return]
        former: _Progress | None = execution.get("progress")
        if former is None:
            machine = states._state_machines.get(execution["stateMachineArn"]) or {"definition": "{}"}
            progress = _Progress(machine["definition"], execution)
        else:
            progress = former.redriven()
        execution["progress"] = progress
        _progress.set(progress)
        _path.set(())
        if () in progress.positions:
            return _go_on(execution, progress)
        return run_execution(arn)  # type: ignore[no-any-return]

    return run


def _go_on(execution: dict[str, Any], progress: _Progress) -> None:
    """Execute a state machine from the position of its execution."""
    states = service("stepfunctions")
    context = progress.context
    position = progress.positions[()]
    assert isinstance(position, _At)
    name: str | None = position.state
    data, entered = position.input, position.entered
    machine = json.loads(progress.machine)["States"]
    try:
        while name is not None:
            state = machine[name]
            kind = state["Type"]
            context["State"] = {"Name": name, "EnteredTime": states.now_iso(), "RetryCount": 0}
            if not entered:
                details = {"name": name, "input": json.dumps(data)}
                states._add_event(execution, f"{kind}StateEntered", {"stateEnteredEventDetails": details})
            entered = False
            data, following = _execute(state, data, execution, context)
            details = {"name": name, "output": json.dumps(data)}
            states._add_event(execution, f"{kind}StateExited", {"stateExitedEventDetails": details})
            name = following
        _succeed(execution, json.dumps(data))
    except states._ExecutionError as error:
        states._fail_execution(execution, error.error, error.cause)
    except Exception as error:
        states.logger.exception("Unexpected error in redriven execution %s", execution["executionArn"])
        states._fail_execution(execution, "States.Runtime", str(error))


def _execute(
    state: dict[str, Any], data: Any, execution: dict[str, Any], context: dict[str, Any]
) -> tuple[Any, str | None]:
    """Execute one state; return its output and the name of the next one, if any."""
    states = service("stepfunctions")
    kind = state["Type"]
    if kind == "Succeed":
        return states._apply_output_path(state, states._apply_input_path(state, data, context), context), None
    if kind == "Fail":
        raise states._ExecutionError(*states._fail_state_error(state, data, context))
    execute = getattr(states, f"_execute_{kind.lower()}")
    arguments = (state, data, execution, context) if kind in {"Task", "Map", "Parallel"} else (state, data, context)
    output, following = execute(*arguments)
    return output, following


def _succeed(execution: dict[str, Any], output: str) -> None:
    states = service("stepfunctions")
    stepfunctions.leave_if_over(execution)
    execution.update(status="SUCCEEDED", output=output, stopDate=states.now_iso())
    states._add_event(execution, "ExecutionSucceeded", {"executionSucceededEventDetails": {"output": output}})
    states._emit_execution_status_event(execution)


def _followed(execute: Any) -> Any:
    """Note which state is executed, with which input, and which one comes next."""

    def execute_state(state: Any, data: Any, *arguments: Any) -> Any:
        progress, path = _progress.get(), _path.get()
        if progress is None:
            return execute(state, data, *arguments)
        stepfunctions.leave_if_over(progress.execution)
        context = arguments[-1]
        context["Execution"] = {**context["Execution"], **_context_redrives(progress.execution)}
        if path == ():
            progress.context = context
        if path in progress.interrupted:
            progress.interrupted.discard(path)
        else:
            progress.forget_iterations(path)
        progress.positions[path] = _At(context["State"]["Name"], data, entered=True)
        output, following = execute(state, data, *arguments)
        if following is not None:
            stepfunctions.leave_if_over(progress.execution)
            progress.positions[path] = _At(following, output, entered=False)
        return output, following

    return execute_state


def _begin_iterations(run_items: Any) -> Any:
    """Let a Map that is retried begin all its iterations anew."""

    def run_map_items(state: Any, data: Any, execution: Any, context: Any) -> Any:
        progress = _progress.get()
        if progress is not None and context["State"]["RetryCount"] > 0:
            progress.forget_iterations(_path.get())
        return run_items(state, data, execution, context)

    return run_map_items


def _iteration(run_sub_machine: Any) -> Any:
    """Run an iteration of a Map from where it ended, and not at all if it has succeeded."""

    def run(machine: Any, start_at: str, data: Any, execution: Any, context: Any) -> Any:
        progress = _progress.get()
        if progress is None or "Map" not in context:
            # A branch of a Parallel state: not followed.
            unfollowed = _progress.set(None)
            try:
                return run_sub_machine(machine, start_at, data, execution, context)
            finally:
                _progress.reset(unfollowed)
        path = (*_path.get(), (context["State"]["Name"], context["Map"]["Item"]["Index"]))
        entered = _path.set(path)
        try:
            match progress.positions.get(path):
                case _Done(output):
                    return output
                case _At(state, entered_with, _):
                    start_at, data = state, entered_with
            output = run_sub_machine(machine, start_at, data, execution, context)
            stepfunctions.leave_if_over(execution)
            progress.positions[path] = _Done(output)
            return output
        finally:
            _path.reset(entered)

    return run
