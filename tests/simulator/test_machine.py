"""The interpreter goes the way that moto's goes, with the same handlers, through every scenario of the definition."""

import json
import time
from collections import defaultdict
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from functions.shared import clients, metrics
from tests.simulator import explore
from tests.simulator.machine import Interpreter, Run, TaskError, UnknownLanguageError, check, rendered
from tests.simulator.world import CONTEXT, Iam, Setting, World, copied, handler_of
from tests.statemachine.test_scenarios import InProcess, Result, comparable
from tests.support.publishing import EventBridge
from tests.support.scenarios import SCENARIOS, Scenario, responses
from tests.support.table import Table

ARN = "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:other"


class StepFunctions:
    """What the functions ask of it: the execution runs."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def describe_execution(self, **_: Any) -> dict[str, Any]:
        now = datetime.fromtimestamp(World.current.clock, UTC)
        count = self.run.context["Execution"]["RedriveCount"]
        redriven = {"redriveDate": now} if count else {}
        given = json.dumps(self.run.context["Execution"]["Input"])
        return {"status": "RUNNING", "startDate": now, "redriveCount": count, "input": given, **redriven}


def simulated(scenario: Scenario) -> Result:
    """Run a scenario without a scheduler: every call is executed at once."""
    setting = Setting(scenario.users, scenario.page_size, 2, posture=scenario.posture, changes=scenario.changes)
    world = World(explore.AsTold([]), setting)
    table, faults = Table(), {state: list(responses(scenario.case, state)) for state in rendered()["States"]}
    faults["WriteBatch"] = list(responses(scenario.case, "WriteBatch"))
    iso = datetime.fromtimestamp(world.clock, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    given = {"trigger": "manual"}
    about: dict[str, Any] = {"Id": ARN, "StartTime": iso, "RedriveCount": 0, "Input": given}
    run = Run({"Execution": about}, "AcquireLock", given)
    calls: dict[str, int] = defaultdict(int)

    def invoke(_: Run, state: str, kind: str, payload: Any) -> Any:
        calls[state] += 1
        thrown = faults[state][calls[state] - 1].get("Throw", {})
        if thrown and thrown["Error"] != "ScanFailed":
            raise TaskError(thrown["Error"], thrown["Cause"])
        try:
            if kind == "deleteItem":
                return table.delete_item(**payload)
            return copied(handler_of(state)(copied(payload), CONTEXT))
        except ClientError as error:
            raise TaskError(f"DynamoDB.{error.response['Error']['Code']}", str(error)) from error
        except Exception as error:
            raise TaskError(type(error).__name__, str(error)) from error

    if scenario.lock_held:
        lease = {name: {"N": str(int(world.clock) + 600)} for name in ("acquired_at", "expires_at", "ttl", "attempt")}
        key = {"user_name": {"S": "__execution_lock__"}, "scan_timestamp": {"S": "lock"}}
        table.put_item(Item=key | lease | {"owner": {"S": "another"}})
    interpreter, error, output = Interpreter(rendered(), invoke), None, None
    with ExitStack() as stack:
        iam = Iam([f"user-{number}" for number in range(scenario.users)], world.clock)
        services = {"dynamodb": table, "iam": iam, "brisk_iam": iam, "stepfunctions": StepFunctions(run)}
        services["events"] = EventBridge()
        for name, client in services.items():
            stack.enter_context(mock.patch.object(clients, name, lambda client=client: client))
        stack.enter_context(mock.patch.object(metrics, "emit", mock.Mock()))
        for _ in range(1 + scenario.redriven):
            try:
                output, error = interpreter.run(run), None
            except TaskError as failure:
                error = failure
            about["RedriveCount"] += 1
            run.transitions = 1
    status = "FAILED" if error else "SUCCEEDED"
    return Result(tuple(run.route), status, output, error.name if error else None, error.cause if error else "")


def without_posture(output: Any) -> Any:
    """Return an output without what each of the two accounts has of its own, a root user among it."""
    found = comparable(output)
    return {**found, "posture": "posture" in found} if isinstance(found, dict) else found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.case)
def test_a_scenario_goes_the_same_way_as_on_moto(scenario: Scenario) -> None:
    with explore.installed():
        ours = simulated(scenario)

    theirs = InProcess().run(scenario)

    assert (ours.route, ours.status, ours.error) == (theirs.route, theirs.status, theirs.error)
    assert without_posture(ours.output) == without_posture(theirs.output)


@pytest.mark.parametrize(
    ("state", "changed", "complaint"),
    [
        ("PostureMissing", {"Type": "Wait"}, "no state type, of PostureMissing, 'Wait'; it knows"),
        ("WriteRecords", {"Retry": []}, "no field of Map state WriteRecords 'Retry'; it knows"),
        ("ListUsers", {"Assign": {}}, "no field of Task state ListUsers 'Assign'"),
        ("ListUsers", {"Resource": "arn:aws:states:::sns:publish"}, "no resource, of ListUsers, 'publish'; it knows"),
        (
            "ListUsers",
            {"Catch": [{"ErrorEquals": [], "Next": "x", "Output": 1}]},
            "field of Catch in ListUsers 'Output'",
        ),
        ("ListUsers", {"OutputPath": "$.a[0]"}, r"no path such as '$.a[0]'; it knows $, $.name"),
        ("ListUsers", {"Parameters": {"a": [{"b.$": "$..c"}]}}, "no path such as '$..c'"),
        ("ListUsers", {"Parameters": {"a.$": "States.UUID()"}}, "no intrinsic function 'States.UUID'; it knows States"),
        (
            "ListUsers",
            {"Parameters": {"a.$": "States.Format('{}', States.Hash($.a))"}},
            "intrinsic function 'States.Hash'",
        ),
        (
            "MorePages?",
            {"Choices": [{"Not": {"Variable": "$.a", "StringMatches": "b"}}]},
            "no part of a choice 'StringMa",
        ),
    ],
)
def test_what_it_would_pass_over_is_refused_by_its_name(state: str, changed: dict[str, Any], complaint: str) -> None:
    machine = {**rendered(), "States": {**rendered()["States"]}}
    machine["States"][state] = {**machine["States"][state], **changed}

    with pytest.raises(UnknownLanguageError) as refused:
        check(machine)

    assert complaint in str(refused.value)


def test_a_call_on_the_table_takes_microseconds() -> None:
    table = Table()
    key = {"user_name": {"S": "a"}, "scan_timestamp": {"S": "1"}}
    began = time.process_time()
    for number in range(1_000):
        table.update_item(
            Key=key,
            UpdateExpression="SET #n = :n",
            ConditionExpression="attribute_not_exists(#n) OR #n <> :n",
            ExpressionAttributeNames={"#n": "number"},
            ExpressionAttributeValues={":n": {"N": str(number)}},
        )
    assert (time.process_time() - began) / 1_000 < 0.0005
