"""Executions that another execution starts and waits for, and the calls of Step Functions that a state makes."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.local_aws.aws.corrections import roles, stepfunctions
from tests.local_aws.aws.corrections._ministack import service, wrap

_LOOK_EVERY_SECONDS = 0.05
_RULE_ACTIONS = ("events:DescribeRule", "events:PutRule", "events:PutTargets")
_RULE = "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"


def nested_executions() -> None:
    """Let a task start an execution and wait for its end.

    AWS (developer guide, "Start workflow executions from a task state", and API reference, StartExecution):

    - It is an execution as any other: it has its history and its status, can be redriven, and EventBridge hears of it.
      The role needs states:StartExecution for it, states:DescribeExecution to read its end, and states:StopExecution to
      stop it, which is tried when the execution that waits has ended first.
    - A child that did not succeed fails the task with States.TaskFailed, whose cause is what DescribeExecution tells,
      as JSON. One that cannot be started fails it with StepFunctions.ExecutionAlreadyExistsException and the like.
    - Name and input of an execution that still runs start nothing: the answer is the one that runs.

    MiniStack runs the child in the task's thread, by the way of express machines: it takes the place of an execution
    that has its name, no event tells of its end, and none of these permissions is asked for. To go when a name that is
    taken is refused.
    """
    states = service("stepfunctions")

    def waited(_original: Any) -> Any:
        def start_and_wait(resource: str, data: Any) -> Any:
            parent = stepfunctions.current_execution()
            arn = _started(states._nested_start_execution_request(data))
            child = states._executions[arn]
            try:
                while child["status"] == "RUNNING":
                    if parent is not None:
                        stepfunctions.leave_if_over(parent)
                    time.sleep(_LOOK_EVERY_SECONDS)
            except SystemExit:
                if parent is None or not roles.denial_of(parent, "states:StopExecution", arn):
                    states._stop_execution({"executionArn": arn, "cause": "The execution that waits for it has ended"})
                raise
            _check(parent, "states:DescribeExecution", arn)
            return _end_of(arn, as_json=resource.endswith(":2"))

        return start_and_wait

    def sdk_error(prefixed: Any) -> Any:
        def prefix(service_name: str, code: str) -> str:
            # As the SDK for Java calls the exceptions of this service.
            bare = service_name == "sfn" and not code.endswith("Exception")
            return str(prefixed(service_name, f"{code}Exception" if bare else code))

        return prefix

    wrap(states, "_invoke_nested_start_execution_sync", waited)
    wrap(states, "_prefix_sdk_error", sdk_error)


def _started(request: dict[str, Any]) -> str:
    """Start an execution, or find the one that runs by this name with this input; return its ARN."""
    states = service("stepfunctions")
    machine = request["stateMachineArn"]
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{request.get('name')}"
    known = states._executions.get(arn)
    same = known is not None and json.loads(known["input"]) == json.loads(request["input"])
    if same and known["status"] == "RUNNING":
        return str(arn)
    status, _, body = states._start_execution(request)
    answer = json.loads(body)
    if status >= 400:
        code = answer["__type"].removesuffix("Exception")
        raise states._ExecutionError(f"StepFunctions.{code}Exception", answer.get("message", code))
    return str(answer["executionArn"])


def _check(execution: dict[str, Any] | None, action: str, arn: str) -> None:
    denial = None if execution is None else roles.denial_of(execution, action, arn)
    if denial:
        raise service("stepfunctions")._ExecutionError("StepFunctions.AWSStepFunctionsException", denial)


def _end_of(arn: str, *, as_json: bool) -> dict[str, Any]:
    """Return what a task returns whose child has succeeded.

    Raises
    ------
    _ExecutionError
        It has not: with what is known of it as the cause.
    """
    states = service("stepfunctions")
    described = json.loads(states._describe_execution({"executionArn": arn})[2])
    told = {f"{name[0].upper()}{name[1:]}": value for name, value in described.items() if value is not None}
    if told["Status"] != "SUCCEEDED":
        raise states._ExecutionError("States.TaskFailed", json.dumps(told))
    for name in ("Input", "Output") if as_json else ():
        told[name] = json.loads(told[name])
    return told


def managed_rule() -> None:
    """Take a state machine that waits for others only if its role may make the rule by which it hears of their end.

    AWS: CreateStateMachine and UpdateStateMachine fail with AccessDeniedException, "'<role>' is not authorized to
    create managed-rule.", unless the role has events:DescribeRule, PutRule and PutTargets on it (developer guide, "IAM
    policies for calling other Step Functions state machines").

    MiniStack has no such rule, and takes the machine. To go when it refuses one with an empty role.
    """
    states = service("stepfunctions")

    def checked(save: Any) -> Any:
        def save_if_allowed(data: dict[str, Any]) -> Any:
            role = data.get("roleArn", states._state_machines.get(data.get("stateMachineArn"), {}).get("roleArn", ""))
            if "states:startExecution.sync" in data.get("definition", ""):
                arn = f"arn:aws:events:{states.get_region()}:{states.get_account_id()}:{_RULE}"
                if any(roles.denial(role, "states", action, arn) for action in _RULE_ACTIONS):
                    message = f"'{role}' is not authorized to create managed-rule."
                    return states.error_response_json("AccessDeniedException", message, 400)
            return save(data)

        return save_if_allowed

    wrap(states, "_create_state_machine", checked)
    wrap(states, "_update_state_machine", checked)
