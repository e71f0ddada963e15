"""Corrections of mocked Step Functions tasks."""

from __future__ import annotations

import contextvars
import json
import threading
from typing import Any

from tests.local_aws.aws.corrections._ministack import service, wrap

_task: contextvars.ContextVar[tuple[dict[str, Any], str, str] | None] = contextvars.ContextVar("task", default=None)


def responses() -> None:
    """Let every call of a mocked task, each retry too, take the next of its mocked responses.

    Step Functions Local: "MockedResponses … for each invocation": the keys of a response count the invocations of the
    state, and a retry is one (Step Functions developer guide, "Using mocked service integrations for testing in Step
    Functions Local").

    MiniStack counts the entries into the state: a response that throws is thrown at every retry. It also leaves out the
    events of a task that is mocked. To go when a mocked task that fails once succeeds at its first retry.
    """
    states = service("stepfunctions")
    config, states._sfn_mock_config = states._sfn_mock_config, {}
    counting = threading.Lock()

    def mocked_task(execute: Any) -> Any:
        def execute_task(state: Any, data: Any, execution: Any, context: Any) -> Any:
            _task.set((execution, context["StateMachine"]["Name"], context["State"]["Name"]))
            return execute(state, data, execution, context)

        return execute_task

    def next_response(execution: dict[str, Any], machine: str, state: str) -> dict[str, Any] | None:
        scenarios = config.get("StateMachines", {}).get(machine, {}).get("TestCases", {})
        name = scenarios.get(execution.get("testCase"), {}).get(state)
        if name is None:
            return None
        with counting:
            number = execution["mockAttempts"].get(state, 0)
            execution["mockAttempts"][state] = number + 1
        for numbers, response in config["MockedResponses"][name].items():
            first, _, last = numbers.partition("-")
            if int(first) <= number <= int(last or first):
                return dict(response)
        raise states._ExecutionError("States.Runtime", f"response {name} of state {state} has no invocation {number}")

    def mocked_call(invoke: Any) -> Any:
        def invoke_resource(resource: str, data: Any) -> Any:
            task = _task.get()
            response = next_response(*task) if task is not None and config else None
            if response is None:
                return invoke(resource, data)
            if "Throw" in response:
                raise states._ExecutionError(response["Throw"]["Error"], response["Throw"].get("Cause", ""))
            return json.loads(json.dumps(response["Return"]))

        return invoke_resource

    wrap(states, "_execute_task", mocked_task)
    wrap(states, "_invoke_resource", mocked_call)
