"""Starts and redrives executions, and follows them to their end."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from functions.cli.deployment import Deployment, refused
from functions.cli.errors import CommandError
from functions.shared import timestamps
from functions.shared.errors import InvalidInput
from functions.table.scans import RecordedScan

POLL_SECONDS = 1.0
BEGIN_SECONDS = 30.0
"""How long a redrive is waited for to begin: DescribeExecution is eventually consistent."""

WAITING_SECONDS = 10.0
"""How long a state may last before that is told."""

ASKED_AT_MOST = 20
"""Of so many executions at most is the state asked for one listing."""


class Waiting:
    """Tells now and then that a state lasts: what backs off, as a throttled WriteBatch does, writes no event.

    Parameters
    ----------
    say
        Gets the state and how long it has lasted, in seconds.
    """

    def __init__(self, say: Callable[[str, float], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self.entered("")

    def entered(self, state: str) -> None:
        """Note that a state was entered: the wait begins anew."""
        self._state, self._since, self._next = state, self._clock(), WAITING_SECONDS

    def go_on(self) -> None:
        """Tell, where it is time to: after WAITING_SECONDS, and then in steps that double up to a minute."""
        lasted = self._clock() - self._since
        if self._state and lasted >= self._next:
            self._say(self._state, lasted)
            self._next = lasted + min(lasted, 60.0)


def start(deployment: Deployment, member: Mapping[str, str] | None = None) -> str:
    """Start a scan by hand and return the execution's ARN.

    Parameters
    ----------
    member
        What the execution is told of the account that it is to scan; None for the deployment's own.
    """
    arn = deployment.state_machine_arn
    execution_input = json.dumps({"trigger": "manual", **(member or {})})
    try:
        started = deployment.stepfunctions.start_execution(stateMachineArn=arn, input=execution_input)
    except ClientError as error:
        raise refused(f"{arn} cannot be started: {_message(error)}") from error
    return started["executionArn"]


def arn_of(deployment: Deployment, execution: str) -> str:
    """Return the ARN of an execution that is named by its ARN or its name."""
    if execution.startswith("arn:"):
        return execution
    return deployment.state_machine_arn.replace(":stateMachine:", ":execution:") + f":{execution}"


def redrive(
    deployment: Deployment,
    arn: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Redrive an execution, wait until it has begun, and return the id of the last event before.

    Raises
    ------
    CommandError
        There is no such execution, or it cannot be redriven: it runs, has succeeded, or ended over 14 days ago.
    """
    client = deployment.stepfunctions
    try:
        former = client.describe_execution(executionArn=arn).get("redriveCount", 0)
        events = client.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=1)["events"]
        client.redrive_execution(executionArn=arn)
    except ClientError as error:
        raise CommandError(f"EXECUTION {arn} cannot be redriven: {_message(error)}") from error
    deadline = clock() + BEGIN_SECONDS
    while True:
        described = client.describe_execution(executionArn=arn)
        if described["status"] == "RUNNING" or described.get("redriveCount", 0) > former:
            return events[0]["id"] if events else 0
        if clock() >= deadline:
            raise refused(f"{arn} was redriven, but has not begun within {BEGIN_SECONDS:.0f} s; see `scans`")
        sleep(POLL_SECONDS)


def newest_redrivable(deployment: Deployment, scans: list[RecordedScan]) -> str | None:
    """Return the ARN of the newest execution that a redrive may mend, None where there is none among the newest."""
    asked = 0
    for scan in scans:
        if asked == ASKED_AT_MOST:
            break
        if (scan.manifest.error or ("",))[0] == InvalidInput.__name__:
            continue  # a redrive keeps the input
        asked += 1
        described = _describe(deployment, scan.manifest.execution_arn)
        if described is None:
            continue
        ended_badly = described["status"] in {"FAILED", "ABORTED", "TIMED_OUT"}
        if ended_badly and described.get("redriveStatus", "REDRIVABLE") == "REDRIVABLE":
            return scan.manifest.execution_arn
    return None


def status_of(deployment: Deployment, arn: str) -> str:
    """Return the status of an execution; GONE where Step Functions has forgotten it, after 90 days."""
    described = _describe(deployment, arn)
    return "GONE" if described is None else str(described["status"])


def follow(
    deployment: Deployment, arn: str, say: Callable[[str], None], *, after: int = 0, poll_seconds: float = POLL_SECONDS
) -> dict[str, Any]:
    """Wait for the end of an execution, telling every state that it enters, or that lasts. Returns its description.

    Parameters
    ----------
    after
        Where a redriven execution goes on: the events up to this id are those of its former runs.
    """
    client, seen = deployment.stepfunctions, after

    def lasts(state: str, seconds: float) -> None:
        say(f"{timestamps.now().astimezone():%H:%M:%S}  {state}: {seconds:.0f} s so far")

    waiting = Waiting(lasts)
    while True:
        described = client.describe_execution(executionArn=arn)
        for event in _events_after(deployment, arn, seen):
            seen = event["id"]
            if "stateEnteredEventDetails" in event:
                state = event["stateEnteredEventDetails"]["name"]
                say(f"{event['timestamp'].astimezone():%H:%M:%S}  {state}")
                waiting.entered(state)
        if described["status"] != "RUNNING":
            return dict(described)
        waiting.go_on()
        time.sleep(poll_seconds)


def skipped_for(described: dict[str, Any]) -> str | None:
    """Return why an execution that has succeeded did not scan, and who holds the lock until when; None if it did."""
    try:
        output = json.loads(described.get("output") or "null")
    except ValueError:
        return None
    if not isinstance(output, dict) or output.get("acquired") is not False:
        return None
    holder = output.get("holder") or {}
    reason = f"{output.get('reason', 'another execution scans')}: {holder.get('owner', 'unknown')}"
    if "expires_at" in holder:
        reason += f", until {timestamps.to_seconds(datetime.fromtimestamp(holder['expires_at'], UTC))} at the latest"
    return reason


def message_of(cause: str) -> str:
    """Return what a person wants of a cause: of a function's error document, its type and message."""
    try:
        document = json.loads(cause)
        return f"{document['errorType']}: {document['errorMessage']}"
    except (ValueError, TypeError, KeyError):
        return cause


def _describe(deployment: Deployment, arn: str) -> dict[str, Any] | None:
    try:
        return dict(deployment.stepfunctions.describe_execution(executionArn=arn))
    except deployment.stepfunctions.exceptions.ExecutionDoesNotExist:
        return None


def _events_after(deployment: Deployment, arn: str, last: int) -> list[dict[str, Any]]:
    """Return the newer events, reading no more of the history than they take."""
    found: list[dict[str, Any]] = []
    pages = deployment.stepfunctions.get_paginator("get_execution_history").paginate(
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
