"""Starts and redrives executions, and follows them to their end."""

import json
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from functions.operations.errors import OperationError
from functions.operations.stack import Stack

POLL_SECONDS = 1.0


def start(stack: Stack) -> str:
    """Start a scan by hand and return the execution's ARN."""
    try:
        started = stack.stepfunctions.start_execution(
            stateMachineArn=stack.state_machine_arn, input=json.dumps({"trigger": "manual"})
        )
    except ClientError as error:
        raise OperationError(f"{stack.state_machine_arn} cannot be started: {_message(error)}") from error
    return started["executionArn"]


def redrive(stack: Stack, execution: str) -> str:
    """Redrive an execution, named by its ARN or its name, and return its ARN.

    Raises
    ------
    OperationError
        There is no such execution, or it cannot be redriven: it runs, has succeeded, or ended over 14 days ago.
    """
    if not execution:
        raise OperationError(
            "EXECUTION must be the ARN or the name of the execution to redrive, or latest; `make scans` lists them"
        )
    arn = execution
    if not execution.startswith("arn:"):
        arn = stack.state_machine_arn.replace(":stateMachine:", ":execution:") + f":{execution}"
    try:
        stack.stepfunctions.redrive_execution(executionArn=arn)
    except ClientError as error:
        raise OperationError(f"EXECUTION={execution} cannot be redriven: {_message(error)}") from error
    return arn


def follow(stack: Stack, arn: str, say: Callable[[str], None], poll_seconds: float = POLL_SECONDS) -> dict[str, Any]:
    """Wait for the end of an execution, telling every state that it enters. Returns its description."""
    client, seen = stack.stepfunctions, _last_event(stack, arn)
    while True:
        described = client.describe_execution(executionArn=arn)
        for event in _events_after(stack, arn, seen):
            seen = event["id"]
            if "stateEnteredEventDetails" in event:
                say(f"{event['timestamp'].astimezone():%H:%M:%S}  {event['stateEnteredEventDetails']['name']}")
        if described["status"] != "RUNNING":
            return dict(described)
        time.sleep(poll_seconds)


def message_of(cause: str) -> str:
    """Return what a person wants of a cause: of a function's error document, its type and message."""
    try:
        document = json.loads(cause)
        return f"{document['errorType']}: {document['errorMessage']}"
    except (ValueError, TypeError, KeyError):
        return cause


def _last_event(stack: Stack, arn: str) -> int:
    """Return where a redriven execution goes on: the events before are those of its former runs."""
    newest = stack.stepfunctions.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=1000)["events"]
    redriven = [event["id"] for event in newest if event["type"] == "ExecutionRedriven"]
    return max(redriven, default=0)


def _events_after(stack: Stack, arn: str, last: int) -> list[dict[str, Any]]:
    """Return the newer events, reading no more of the history than they take."""
    found: list[dict[str, Any]] = []
    pages = stack.stepfunctions.get_paginator("get_execution_history").paginate(
        executionArn=arn, reverseOrder=True, includeExecutionData=False
    )
    for page in pages:
        newer = [dict(event) for event in page["events"] if event["id"] > last]
        found += newer
        if len(newer) < len(page["events"]):
            break
    return found[::-1]


def _message(error: ClientError) -> str:
    return str(error.response["Error"].get("Message") or error)
