"""RedriveExecution as AWS documents it, and its absence without the correction."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.conftest import Account
from tests.emulator.test_corrections import catch, defect, error_code, task
from tests.support.waiting import eventually

# Fails until somebody creates the IAM user that the event names.
FUNCTION = """
import time
import boto3

class NotMended(Exception):
    pass

def handler(event, context):
    time.sleep(event.get("seconds", 0))
    mended = [user["UserName"] for user in boto3.client("iam").list_users()["Users"]]
    if event.get("needs") and event["needs"] not in mended:
        raise NotMended(event["needs"])
    return event
"""


@pytest.fixture(scope="module")
def function(aws: Account) -> str:
    return aws.function(FUNCTION, timeout=20)


@pytest.fixture
def cure(aws: Account) -> str:
    """Return the name of a user who does not exist yet."""
    return aws.name("cure")


def mend(aws: Account, cure: str) -> None:
    aws.iam.create_user(UserName=cure)


def redrive(aws: Account, execution: str) -> dict[str, Any]:
    aws.states.redrive_execution(executionArn=execution)
    return aws.wait(execution)


def events(aws: Account, execution: str) -> list[dict[str, Any]]:
    return list(aws.states.get_execution_history(executionArn=execution, maxResults=1000)["events"])


def test_a_failed_task_is_scheduled_again_with_its_input(aws: Account, function: str, cure: str) -> None:
    # Given an execution that failed in its second state
    states = {"First": task(function, Next="Second"), "Second": task(function, Next="Third"), "Third": task(function)}
    execution = aws.start({**states, "First": {"Type": "Pass", "Next": "Second"}}, {"needs": cure})
    assert aws.wait(execution)["status"] == "FAILED"
    former = aws.history(execution)
    # When the cause is mended and it is redriven
    mend(aws, cure)
    description = redrive(aws, execution)
    # Then it goes on in that state, which is not entered again, to its end
    assert description["status"] == "SUCCEEDED"
    assert json.loads(description["output"]) == {"needs": cure}
    assert json.loads(description["input"]) == {"needs": cure}
    assert "error" not in description
    assert aws.history(execution)[len(former) :] == [
        "ExecutionRedriven", "TaskScheduled", "TaskSucceeded", "TaskStateExited",
        "TaskStateEntered", "TaskScheduled", "TaskSucceeded", "TaskStateExited", "ExecutionSucceeded",
    ]  # fmt: skip
    ids = [event["id"] for event in events(aws, execution)]
    assert ids == list(range(1, len(ids) + 1))


def test_it_says_how_often_and_when(aws: Account, function: str, cure: str) -> None:
    execution = aws.start({"Scan": task(function)}, {"needs": cure})
    failed = aws.wait(execution)
    assert (failed["redriveCount"], failed["redriveStatus"]) == (0, "REDRIVABLE")
    assert "redriveDate" not in failed
    for count in (1, 2):
        answer = aws.states.redrive_execution(executionArn=execution)
        again = aws.wait(execution)
        assert again["status"] == "FAILED"
        assert (again["redriveCount"], again["redriveDate"]) == (count, answer["redriveDate"])
        assert again["stopDate"] >= again["redriveDate"] > failed["stopDate"]
    mend(aws, cure)
    done = redrive(aws, execution)
    assert (done["status"], done["redriveCount"], done["redriveStatus"]) == ("SUCCEEDED", 3, "NOT_REDRIVABLE")
    assert done["redriveStatusReason"] == "Execution is SUCCEEDED and cannot be redriven"
    assert done["startDate"] == failed["startDate"]
    (listed,) = aws.states.list_executions(stateMachineArn=done["stateMachineArn"])["executions"]
    assert (listed["redriveCount"], listed["redriveDate"]) == (3, done["redriveDate"])
    counts = [event["executionRedrivenEventDetails"]["redriveCount"] for event in events(aws, execution)
              if event["type"] == "ExecutionRedriven"]  # fmt: skip
    assert counts == [1, 2, 3]


def test_the_context_counts_redrives(aws: Account, function: str, cure: str) -> None:
    count = task(function, Next="Fails")
    count["Parameters"] = {"FunctionName": function, "Payload": {"count.$": "$$.Execution.RedriveCount"}}
    count["ResultPath"] = "$.before"
    after = {"Type": "Pass", "Parameters": {"count.$": "$$.Execution.RedriveCount"}, "ResultPath": "$.after"}
    del count["OutputPath"]
    states = {
        "Before": count,
        "Fails": {**task(function, Next="After"), "ResultPath": None, "OutputPath": "$"},
        "After": {**after, "End": True},
    }
    execution = aws.start(states, {"needs": cure})
    assert aws.wait(execution)["status"] == "FAILED"
    mend(aws, cure)
    output = json.loads(redrive(aws, execution)["output"])
    assert (output["before"]["Payload"]["count"], output["after"]["count"]) == (0, 1)


def test_an_execution_that_did_not_get_to_its_first_state_counts_too(aws: Account) -> None:
    # Given an execution that is stopped before its first state
    state = {"count.$": "$$.Execution.RedriveCount", "at.$": "$$.Execution.RedriveTime"}
    execution = aws.start({"First": {"Type": "Pass", "Parameters": state, "End": True}})
    aws.states.stop_execution(executionArn=execution)
    assert aws.history(execution) == ["ExecutionStarted", "ExecutionAborted"]
    # When it is redriven
    description = redrive(aws, execution)
    # Then it begins, and knows how often
    assert description["status"] == "SUCCEEDED", description
    assert json.loads(description["output"])["count"] == 1


def test_a_map_repeats_only_the_iterations_that_failed(aws: Account, function: str, cure: str) -> None:
    inner = {"One": task(function, Next="Two"), "Two": task(function)}
    inner["One"]["Parameters"]["Payload.$"] = "$.one"
    inner["One"] |= {"OutputPath": "$", "ResultPath": None}
    inner["Two"]["Parameters"]["Payload.$"] = "$.two"
    states = {
        "All": {"Type": "Map", "ItemProcessor": {"StartAt": "One", "States": inner}, "Next": "End"},
        "End": {"Type": "Succeed"},
    }
    items = [{"one": {"item": item}, "two": {"item": item, "needs": cure if item == 1 else ""}} for item in range(3)]
    execution = aws.start(states, items)
    assert aws.wait(execution)["status"] == "FAILED"
    former = aws.history(execution)
    assert former.count("TaskScheduled") == 6
    mend(aws, cure)
    description = redrive(aws, execution)
    assert description["status"] == "SUCCEEDED"
    assert [result["item"] for result in json.loads(description["output"])] == [0, 1, 2]
    # Only the second task of the second item.
    assert aws.history(execution)[len(former) :].count("TaskScheduled") == 1


def test_a_map_that_is_entered_later_runs_whole(aws: Account, function: str, cure: str) -> None:
    """A Map in a loop: what a redriven run knows of its former passes must not pass for the results of the next."""
    processor = {"StartAt": "Scan", "States": {"Scan": task(function)}}
    states = {
        "All": {"Type": "Map", "ItemsPath": "$.items", "ResultPath": "$.results", "ItemProcessor": processor,
                "Next": "Check"},
        "Check": {**task(function, Next="Again?"), "OutputPath": "$", "ResultPath": None},
        "Again?": {"Type": "Choice", "Choices": [{"Variable": "$.round", "NumericEquals": 1, "Next": "Second"}],
                   "Default": "End"},
        "Second": {"Type": "Pass", "Result": {"round": 2, "items": [{"item": "new"}]}, "Next": "All"},
        "End": {"Type": "Succeed"},
    }  # fmt: skip
    execution = aws.start(states, {"round": 1, "needs": cure, "items": [{"item": "old"}]})
    assert aws.wait(execution)["status"] == "FAILED"
    mend(aws, cure)
    assert json.loads(redrive(aws, execution)["output"])["results"] == [{"item": "new"}]


def test_retries_begin_anew(aws: Account, function: str, cure: str) -> None:
    retry = [{"ErrorEquals": ["NotMended"], "MaxAttempts": 2, "IntervalSeconds": 1}]
    execution = aws.start({"Scan": task(function, Retry=retry)}, {"needs": cure})
    for attempts in (3, 6):
        assert aws.wait(execution)["status"] == "FAILED"
        assert aws.history(execution).count("TaskScheduled") == attempts
        if attempts == 3:
            aws.states.redrive_execution(executionArn=execution)


def test_a_stopped_map_goes_on_without_the_calls_of_the_former_run(aws: Account, function: str) -> None:
    processor = {"StartAt": "Scan", "States": {"Scan": task(function)}}
    states = {"All": {"Type": "Map", "MaxConcurrency": 1, "ItemProcessor": processor, "End": True}}
    execution = aws.start(states, [{"item": 0}, {"item": 1, "seconds": 3}, {"item": 2}])
    eventually(lambda: aws.history(execution).count("TaskScheduled") == 2, "the second item is not begun")
    aws.states.stop_execution(executionArn=execution)
    stopped = aws.wait(execution)
    assert (stopped["status"], stopped["redriveStatus"]) == ("ABORTED", "REDRIVABLE")
    description = redrive(aws, execution)
    assert description["status"] == "SUCCEEDED"
    assert [result["item"] for result in json.loads(description["output"])] == [0, 1, 2]
    types = aws.history(execution)
    # The first item was done; the second one's late answer from before the redrive counts for nothing.
    assert types[types.index("ExecutionRedriven") :].count("TaskScheduled") == 2
    assert types[types.index("ExecutionRedriven") :].count("TaskSucceeded") == 2


def test_the_machines_timeout_begins_anew(aws: Account, function: str) -> None:
    states = {"Scan": task(function, Next="Wait"), "Wait": {"Type": "Wait", "Seconds": 8, "End": True}}
    execution = aws.start(states, {"seconds": 1.5}, TimeoutSeconds=1)
    assert aws.wait(execution)["status"] == "TIMED_OUT"
    assert redrive(aws, execution)["status"] == "TIMED_OUT"
    types = aws.history(execution)
    assert types.count("ExecutionTimedOut") == 2
    assert types.count("TaskStateEntered") == 1


def test_a_fail_state_fails_again(aws: Account) -> None:
    execution = aws.start({"Stop": {"Type": "Pass", "Next": "Fail"}, "Fail": {"Type": "Fail", "Error": "Bad"}})
    assert aws.wait(execution)["status"] == "FAILED"
    description = redrive(aws, execution)
    assert (description["status"], description["error"]) == ("FAILED", "Bad")
    assert aws.history(execution).count("PassStateEntered") == 1


def test_a_catch_works_after_a_redrive(aws: Account, function: str, cure: str) -> None:
    states = {
        "Scan": {**task(function, Next="Later"), "ResultPath": None, "OutputPath": "$"},
        "Later": task(function, **catch("NotMended"), Next="Caught"),
        "Caught": {"Type": "Pass", "End": True},
    }
    states["Later"]["Parameters"]["Payload"] = {"needs": aws.name("nobody")}
    del states["Later"]["Parameters"]["Payload.$"]
    execution = aws.start(states, {"needs": cure})
    assert aws.wait(execution)["status"] == "FAILED"
    mend(aws, cure)
    output = json.loads(redrive(aws, execution)["output"])
    assert output["error"]["Error"] == "NotMended"


def test_the_definition_of_the_start_counts(aws: Account, function: str, cure: str) -> None:
    execution = aws.start({"Scan": task(function)}, {"needs": cure})
    machine = aws.wait(execution)["stateMachineArn"]
    mend(aws, cure)
    other = {"StartAt": "Other", "States": {"Other": {"Type": "Fail", "Error": "Other"}}}
    aws.states.update_state_machine(stateMachineArn=machine, definition=json.dumps(other))
    assert redrive(aws, execution)["status"] == "SUCCEEDED"


def test_status_events_tell_of_it(aws: Account, function: str, cure: str) -> None:
    table = aws.name("heard")
    aws.tables.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    listener = aws.function(
        "import boto3, json\n"
        "def handler(event, context):\n"
        f"    boto3.resource('dynamodb').Table('{table}').put_item("
        "Item={'id': event['id'], 'detail': json.dumps(event['detail'])})"
    )
    rule = aws.name("rule")
    pattern = {"source": ["aws.states"], "detail": {"input": [json.dumps({"needs": cure})]}}
    aws.events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    target = aws.functions.get_function(FunctionName=listener)["Configuration"]["FunctionArn"]
    aws.events.put_targets(Rule=rule, Targets=[{"Id": "heard", "Arn": target}])
    execution = aws.start({"Scan": task(function)}, {"needs": cure})
    aws.wait(execution)
    redrive(aws, execution)
    mend(aws, cure)
    redrive(aws, execution)
    eventually(lambda: aws.tables.scan(TableName=table)["Count"] == 6, "some events are not heard")
    heard = aws.tables.scan(TableName=table)["Items"]
    details = [json.loads(item["detail"]["S"]) for item in heard]
    assert sorted((one["redriveCount"], one["status"], one["redriveStatus"]) for one in details) == [
        (0, "FAILED", "REDRIVABLE"), (0, "RUNNING", "NOT_REDRIVABLE"),
        (1, "FAILED", "REDRIVABLE"), (1, "RUNNING", "NOT_REDRIVABLE"),
        (2, "RUNNING", "NOT_REDRIVABLE"), (2, "SUCCEEDED", "NOT_REDRIVABLE"),
    ]  # fmt: skip
    # All of it is what DescribeExecution told at that moment.
    described = aws.wait(execution)
    milliseconds = {
        name: round(described[name].timestamp() * 1000) for name in ("startDate", "stopDate", "redriveDate")
    }
    (end,) = [one for one in details if one["status"] == "SUCCEEDED"]
    assert {name: end[name] for name in milliseconds} == milliseconds
    assert (end["executionArn"], end["name"]) == (execution, described["name"])
    for one in details:
        assert isinstance(one["redriveDate"], int) == (one["redriveCount"] > 0)
        assert isinstance(one["stopDate"], int) == (one["status"] != "RUNNING")
        assert one["startDate"] == milliseconds["startDate"]


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT"])
def test_other_ends_are_described_as_redrivable(aws: Account, status: str) -> None:
    execution = aws.start({"Wait": {"Type": "Wait", "Seconds": 1000, "End": True}}, TimeoutSeconds=1)
    if status == "ABORTED":
        aws.states.stop_execution(executionArn=execution)
    ended = aws.wait(execution)
    assert (ended["status"], ended["redriveStatus"], ended["redriveCount"]) == (status, "REDRIVABLE", 0)
    assert ended["stopDate"] >= ended["startDate"]


def test_a_repeated_token_redrives_nothing(aws: Account, function: str, cure: str) -> None:
    execution = aws.start({"Scan": task(function)}, {"needs": cure})
    aws.wait(execution)
    first = aws.states.redrive_execution(executionArn=execution, clientToken="once")
    aws.wait(execution)
    assert (
        aws.states.redrive_execution(executionArn=execution, clientToken="once")["redriveDate"] == first["redriveDate"]
    )
    assert aws.wait(execution)["redriveCount"] == 1


@pytest.mark.parametrize(("seconds", "status"), [(0, "SUCCEEDED"), (3, "RUNNING")])
def test_what_runs_or_has_succeeded_is_refused(aws: Account, function: str, seconds: int, status: str) -> None:
    execution = aws.start({"Scan": task(function)}, {"seconds": seconds})
    if status == "SUCCEEDED":
        aws.wait(execution)
    with pytest.raises(ClientError, match=f"Execution is {status} and cannot be redriven") as raised:
        aws.states.redrive_execution(executionArn=execution)
    assert error_code(raised) == "ExecutionNotRedrivable"
    assert aws.wait(execution)["redriveCount"] == 0


def test_an_unknown_execution_is_refused(aws: Account, function: str) -> None:
    execution = aws.start({"Scan": task(function)})
    with pytest.raises(ClientError) as raised:
        aws.states.redrive_execution(executionArn=execution + "x")
    assert error_code(raised) == "ExecutionDoesNotExist"


def test_defect(bare: Account) -> None:
    execution = bare.start({"Fail": {"Type": "Fail"}})
    bare.wait(execution)
    with pytest.raises(ClientError) as raised:
        bare.states.redrive_execution(executionArn=execution)
    defect("states_redrive", error_code(raised) == "InvalidAction")
