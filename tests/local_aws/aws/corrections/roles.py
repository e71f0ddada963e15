"""Corrections of what services may do in the name of a role."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection
from typing import Any

from tests.local_aws.aws.corrections import dynamodb, eventbridge, stepfunctions
from tests.local_aws.aws.corrections._ministack import core, service, wrap


def state_machine_role() -> None:
    """Let a state machine call only what its role allows.

    AWS: Step Functions assumes the role and calls with its permissions; without them a Lambda task fails with
    Lambda.AWSLambdaException and a DynamoDB task with DynamoDB.AccessDeniedException, and a cause that names the
    action (Step Functions developer guide, "How AWS Step Functions works with IAM"). The calls of Step Functions itself
    are named after the exception of the SDK that has no name of its own.

    MiniStack with AUTH=true checks requests from outside, but a state machine calls its neighbours directly. Checked
    here are the role's policies for ``lambda:invoke``, for the optimized DynamoDB integration, whose keys a condition
    on dynamodb:LeadingKeys sees, and for those of Step Functions; not checked are its trust policy and other
    integrations. To go when a state machine with an empty role cannot invoke a function.
    """
    states = service("stepfunctions")

    def checked(invoke: Any) -> Any:
        def invoke_resource(resource: str, data: Any) -> Any:
            execution = stepfunctions.current_execution()
            call = _call(resource, data)
            if execution is not None and call is not None:
                error, action, target = call
                keys = dynamodb.leading_keys_of(data) if action.startswith("dynamodb:") else []
                why = denial_of(execution, action, target, keys)
                if why:
                    raise states._ExecutionError(error, why)
            return invoke(resource, data)

        return invoke_resource

    wrap(states, "_invoke_resource", checked)


def rule_target_role() -> None:
    """Let an EventBridge rule start only the state machines that its target's role allows.

    AWS: EventBridge assumes the target's role and needs states:StartExecution; without it the invocation fails
    (EventBridge user guide, "Using identity-based policies"; "Amazon EventBridge and IAM").

    MiniStack starts the execution whatever the role. To go when a target with an empty role starts nothing.
    """

    def checked(invoke: Any) -> Any:
        def invoke_target(target: Any, event: Any, rule: Any, *args: Any, **kwargs: Any) -> None:
            arn = target.get("Arn", "")
            if arn.split(":")[2:3] == ["states"]:
                why = denial(target.get("RoleArn", ""), "events", "states:StartExecution", arn)
                if why:
                    eventbridge.failed(target, event, rule, eventbridge.Failure("NO_PERMISSIONS", why))
                    return
            invoke(target, event, rule, *args, **kwargs)

        return invoke_target

    wrap(service("eventbridge"), "_invoke_target", checked)


def _call(resource: str, data: Any) -> tuple[str, str, str] | None:
    """Return the error of a denied call, its action and its resource; None for an integration that is not checked."""
    states = service("stepfunctions")
    scope = f"{states.get_region()}:{states.get_account_id()}"
    integration = re.sub(r"^arn:[a-z-]+:states:::", "", resource).removesuffix(".waitForTaskToken")
    if integration == "lambda:invoke" or ":function:" in resource:
        function = data["FunctionName"] if integration == "lambda:invoke" else resource
        arn = function if function.startswith("arn:") else f"arn:aws:lambda:{scope}:function:{function}"
        return "Lambda.AWSLambdaException", "lambda:InvokeFunction", arn
    if integration.startswith("dynamodb:"):
        operation = integration.removeprefix("dynamodb:")
        table = data.get("TableName", "")
        arn = table if table.startswith("arn:") else f"arn:aws:dynamodb:{scope}:table/{table}"
        return "DynamoDB.AccessDeniedException", f"dynamodb:{operation[:1].upper()}{operation[1:]}", arn
    if integration.startswith("states:startExecution"):
        return "StepFunctions.AWSStepFunctionsException", "states:StartExecution", data["StateMachineArn"]
    if integration.startswith("aws-sdk:sfn:"):
        operation = integration.removeprefix("aws-sdk:sfn:")
        target = data.get("ExecutionArn") or data.get("StateMachineArn", "*")
        return "Sfn.SfnException", f"states:{operation[:1].upper()}{operation[1:]}", target
    return None


def denial_of(execution: dict[str, Any], action: str, resource: str, leading_keys: Collection[str] = ()) -> str | None:
    """Return why the role of an execution's state machine does not allow an action, or None."""
    role = service("stepfunctions")._state_machines[execution["stateMachineArn"]]["roleArn"]
    return denial(role, execution["name"], action, resource, leading_keys)


def denial(role_arn: str, session: str, action: str, resource: str, leading_keys: Collection[str] = ()) -> str | None:
    """Return why a role's policies do not allow an action, or None if they do or are not enforced at all."""
    app: Any = importlib.import_module("ministack.app")
    if not app.AUTH:
        return None
    evaluator = core("iam_evaluator")
    account, role_name = (role_arn.split(":") + [""] * 5)[4], role_arn.rpartition("/")[2]
    principal = f"arn:aws:sts::{account}:assumed-role/{role_name}/{session}"
    context = evaluator.EvalContext(
        principal_arn=principal,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=service("stepfunctions").get_region(),
        service_context={"dynamodb:leadingkeys": list(leading_keys)} if leading_keys else {},
    )
    if evaluator.evaluate(context, evaluator._gather_role_policies(role_name, account)).decision == "Allow":
        return None
    return (
        f"User: {principal} is not authorized to perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action"
    )
