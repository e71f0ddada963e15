"""Faults are ordered by call and number, and hit what the deployed functions and state machines do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.conftest import Account
from tests.emulator.test_corrections import task
from tests.local_aws.aws import faults
from tests.local_aws.errors import LocalAwsError
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local_aws.aws.emulator import Emulator

# Makes the calls that the event lists, without retries, and says how each was answered.
FUNCTION = """
import boto3, botocore.exceptions
from botocore.config import Config

config = Config(retries={"total_max_attempts": 1}, read_timeout=1)

def handler(event, context):
    answers = []
    for service, operation, arguments in event:
        try:
            answer = getattr(boto3.client(service, config=config), operation)(**arguments)
            failed = [entry.get("ErrorCode", "taken") for entry in answer.get("Entries", [])]
            answers.append(answer.get("UnprocessedItems") or failed or "done")
        except botocore.exceptions.ClientError as error:
            answers.append(error.response["Error"]["Code"])
        except botocore.exceptions.HTTPClientError as error:
            answers.append(type(error).__name__)
    return answers
"""


@pytest.fixture(autouse=True)
def mended(local_aws: Emulator) -> Iterator[None]:
    """Let no fault reach another test."""
    yield
    faults.mend(local_aws)


@pytest.fixture(scope="module")
def function(aws: Account) -> str:
    return aws.function(FUNCTION)


@pytest.fixture(scope="module")
def table(aws: Account) -> str:
    name = aws.name("faults")
    aws.tables.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def put(table: str, key: str) -> tuple[str, str, dict[str, Any]]:
    return ("dynamodb", "put_item", {"TableName": table, "Item": {"id": {"S": key}}})


def keys(aws: Account, table: str) -> set[str]:
    return {item["id"]["S"] for item in aws.tables.scan(TableName=table)["Items"]}


@pytest.mark.parametrize(
    ("call", "kind", "code"),
    [
        ("dynamodb:PutItem", "throttled", "ProvisionedThroughputExceededException"),
        ("dynamodb:PutItem", "access_denied", "AccessDeniedException"),
        ("dynamodb:PutItem", "error", "InternalServerError"),
        ("iam:ListUsers", "throttled", "Throttling"),
        ("iam:ListUsers", "access_denied", "AccessDenied"),
        ("iam:ListUsers", "error", "ServiceFailure"),
        ("iam:GenerateCredentialReport", "limit_exceeded", "LimitExceeded"),
        ("states:ListStateMachines", "throttled", "ThrottlingException"),
        ("states:ListStateMachines", "access_denied", "AccessDeniedException"),
        ("events:ListRules", "throttled", "ThrottlingException"),
        ("events:ListRules", "access_denied", "AccessDeniedException"),
        ("events:ListRules", "error", "InternalException"),
    ],
)
def test_a_functions_call_is_refused_as_the_service_does(
    local_aws: Emulator, aws: Account, function: str, table: str, call: str, kind: str, code: str
) -> None:
    made = {
        "dynamodb:PutItem": put(table, f"refused-{kind}"),
        "iam:ListUsers": ("iam", "list_users", {}),
        "iam:GenerateCredentialReport": ("iam", "generate_credential_report", {}),
        "states:ListStateMachines": ("stepfunctions", "list_state_machines", {}),
        "events:ListRules": ("events", "list_rules", {}),
    }[call]
    faults.inject(local_aws, faults.fault(call, kind, "2-3"))
    assert aws.invoke(function, [made] * 4)[0] == ["done", code, code, "done"]
    (counts,) = faults.injected(local_aws)
    assert (counts["seen"], counts["hit"]) == (4, 2)
    faults.mend(local_aws)
    assert aws.invoke(function, [made])[0] == ["done"]


def test_a_refused_call_does_nothing_and_others_are_left_alone(
    local_aws: Emulator, aws: Account, function: str, table: str
) -> None:
    faults.inject(local_aws, faults.fault("dynamodb:PutItem", "throttled"))
    describe = ("dynamodb", "describe_table", {"TableName": table})
    assert aws.invoke(function, [put(table, "never"), describe])[0][1] == "done"
    # What a person asks is answered as ever.
    aws.tables.put_item(TableName=table, Item={"id": {"S": "by hand"}})
    assert "never" not in keys(aws, table)
    assert "by hand" in keys(aws, table)


def test_the_answer_is_lost_but_the_work_done(local_aws: Emulator, aws: Account, function: str, table: str) -> None:
    faults.inject(local_aws, faults.fault("dynamodb:PutItem", "lost_response", "1"))
    assert aws.invoke(function, [put(table, "lost")])[0] == ["InternalServerError"]
    assert "lost" in keys(aws, table)


def test_a_call_hangs_until_the_client_gives_up(local_aws: Emulator, aws: Account, function: str, table: str) -> None:
    faults.inject(local_aws, faults.fault("dynamodb:PutItem", "timeout", "1"))
    assert aws.invoke(function, [put(table, "hung"), put(table, "after")])[0] == ["ReadTimeoutError", "done"]
    assert "hung" not in keys(aws, table)


def test_some_items_come_back_unprocessed(local_aws: Emulator, aws: Account, function: str, table: str) -> None:
    faults.inject(local_aws, faults.fault("dynamodb:BatchWriteItem", "unprocessed", "1"))
    requests = [{"PutRequest": {"Item": {"id": {"S": f"batch-{number}"}}}} for number in range(3)]
    answers, _ = aws.invoke(function, [("dynamodb", "batch_write_item", {"RequestItems": {table: requests}})])
    assert answers == [{table: requests[1:]}]
    assert "batch-0" in keys(aws, table)
    assert not {"batch-1", "batch-2"} & keys(aws, table)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("entries_failed", "InternalFailure"),
        ("entries_throttled", "ThrottlingException"),
        ("entries_malformed", "MalformedDetail"),
    ],
)
def test_some_events_are_refused(local_aws: Emulator, aws: Account, function: str, kind: str, code: str) -> None:
    # Given a log of the events that arrive, which is a queue
    source = aws.name("source")
    url = aws.queues.create_queue(QueueName=source)["QueueUrl"]
    attributes = aws.queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    aws.queues.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    aws.events.put_rule(Name=source, EventPattern=json.dumps({"source": [source]}))
    aws.events.put_targets(Rule=source, Targets=[{"Id": "log", "Arn": attributes["QueueArn"]}])
    faults.inject(local_aws, faults.fault("events:PutEvents", kind, "1-2"))

    def put(*numbers: int) -> tuple[str, str, dict[str, Any]]:
        entries = [{"Source": source, "DetailType": "test", "Detail": json.dumps({"number": n})} for n in numbers]
        return ("events", "put_events", {"Entries": entries})

    # When three are put, one, and the one again
    answers, _ = aws.invoke(function, [put(1, 2, 3), put(4), put(4)])

    # Then half of them are taken, and delivered; of one none, as long as the fault hits
    assert answers == [["taken", code, code], [code], ["taken"]]
    messages = aws.queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [json.loads(message["Body"])["detail"]["number"] for message in messages] == [1, 4]


def test_the_functions_process_dies_and_the_next_call_gets_another(
    local_aws: Emulator, aws: Account, function: str, table: str
) -> None:
    faults.inject(local_aws, faults.fault("dynamodb:PutItem", "crash", "2"))
    answer, failed = aws.invoke(function, [put(table, "before"), put(table, "crashed")])
    assert failed
    assert answer["errorType"] == "Runtime.ExitError"
    assert "before" in keys(aws, table)
    assert "crashed" not in keys(aws, table)
    assert aws.invoke(function, [put(table, "again")])[0] == ["done"]


def test_only_the_calls_of_one_caller_count(local_aws: Emulator, aws: Account, table: str) -> None:
    # Given a function named as the deployment names that of a step, and another one
    faults.inject(local_aws, faults.fault("dynamodb:PutItem", "throttled", by="write_batch"))
    other = aws.function(FUNCTION)
    assert aws.invoke(other, [put(table, "other")])[0] == ["done"]
    step = aws.function(FUNCTION, name="any-prefix-write-batch")
    assert aws.invoke(step, [put(table, "step")])[0] == ["ProvisionedThroughputExceededException"]


@pytest.mark.parametrize(
    ("kind", "error", "executed"),
    [
        ("throttled", "DynamoDB.ProvisionedThroughputExceededException", False),
        ("access_denied", "DynamoDB.AccessDeniedException", False),
        ("error", "DynamoDB.InternalServerError", False),
        ("lost_response", "DynamoDB.InternalServerError", True),
        ("timeout", "States.Timeout", False),
    ],
)
def test_the_state_machines_own_call_is_hit(
    local_aws: Emulator, aws: Account, table: str, kind: str, error: str, executed: bool
) -> None:
    aws.tables.put_item(TableName=table, Item={"id": {"S": kind}})
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::dynamodb:deleteItem",
        "Parameters": {"TableName": table, "Key": {"id": {"S": kind}}},
        "TimeoutSeconds": 1,
        "End": True,
    }
    faults.inject(local_aws, faults.fault("dynamodb:DeleteItem", kind, "1", by="state_machine"))
    description = aws.wait(aws.start({"Release": state}))
    assert (description["status"], description["error"]) == ("FAILED", error)
    assert (kind not in keys(aws, table)) == executed
    assert aws.wait(aws.start({"Release": state}))["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("kind", "error", "executed"),
    [
        ("throttled", "Lambda.TooManyRequestsException", False),
        ("access_denied", "Lambda.AWSLambdaException", False),
        ("error", "Lambda.ServiceException", False),
        ("lost_response", "Lambda.SdkClientException", True),
        ("timeout", "Sandbox.Timedout", False),
    ],
)
def test_an_invocation_is_hit(
    local_aws: Emulator, aws: Account, table: str, kind: str, error: str, executed: bool
) -> None:
    step = aws.function(FUNCTION, name=f"{kind.replace('_', '-')}-list-users")
    faults.inject(local_aws, faults.fault("lambda:list_users", kind, "1"))
    states = {"Scan": task(step)}
    states["Scan"]["Parameters"]["Payload.$"] = "$.calls"
    description = aws.wait(aws.start(states, {"calls": [put(table, f"invoked-{kind}")]}))
    assert (description["status"], description["error"]) == ("FAILED", error)
    assert (f"invoked-{kind}" in keys(aws, table)) == executed
    assert aws.wait(aws.start(states, {"calls": [put(table, "second")]}))["status"] == "SUCCEEDED"


class TestLateCalls:
    """Invocations, and calls of the state machine's own, that happen later than it believes."""

    @staticmethod
    def start(aws: Account, table: str, kind: str, key: str, **fields: Any) -> str:
        """Start an execution whose only task is hit, and which says so in its output if it is caught."""
        step = aws.function(FUNCTION, name=f"{aws.name(kind)}-list-users")
        catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
        states = {"Scan": task(step, Catch=catch, **fields), "Caught": {"Type": "Pass", "End": True}}
        states["Scan"]["Parameters"]["Payload.$"] = "$.calls"
        return aws.start(states, {"calls": [put(table, key)]})

    @staticmethod
    def wait_until_hit(local_aws: Emulator) -> None:
        eventually(lambda: faults.injected(local_aws)[0]["hit"], "no call is hit")

    def test_a_late_one_is_answered_with_an_error_and_executed_afterwards(
        self, local_aws: Emulator, aws: Account, table: str
    ) -> None:
        faults.inject(local_aws, faults.fault("lambda:list_users", "late", "1"))
        description = aws.wait(self.start(aws, table, "late", "late"))
        assert json.loads(description["output"])["Error"] == "Lambda.SdkClientException"
        assert "late" not in keys(aws, table)

        faults.mend(local_aws)

        assert "late" in keys(aws, table)

    def test_a_retry_overtakes_a_late_one(self, local_aws: Emulator, aws: Account, table: str) -> None:
        faults.inject(local_aws, faults.fault("lambda:list_users", "late", "1"))
        retry = [{"ErrorEquals": ["Lambda.SdkClientException"], "MaxAttempts": 1}]
        execution = self.start(aws, table, "late", "overtaken", Retry=retry)
        assert json.loads(aws.wait(execution)["output"]) == ["done"]
        aws.tables.delete_item(TableName=table, Key={"id": {"S": "overtaken"}})

        faults.mend(local_aws)

        assert "overtaken" in keys(aws, table), "the first call has written it again"

    def test_a_held_one_answers_when_it_is_let_go(self, local_aws: Emulator, aws: Account, table: str) -> None:
        faults.inject(local_aws, faults.fault("lambda:list_users", "held", "1"))
        execution = self.start(aws, table, "held", "held")
        self.wait_until_hit(local_aws)
        assert "held" not in keys(aws, table)

        faults.mend(local_aws)

        assert json.loads(aws.wait(execution)["output"]) == ["done"]
        assert "held" in keys(aws, table)

    def test_an_execution_is_stopped_before_the_handler_begins(
        self, local_aws: Emulator, aws: Account, table: str
    ) -> None:
        # Given an execution that is stopped while its function has not begun yet
        faults.inject(local_aws, faults.fault("lambda:list_users", "held", "1"))
        execution = self.start(aws, table, "held", "stopped")
        self.wait_until_hit(local_aws)
        aws.states.stop_execution(executionArn=execution)
        stopped = aws.wait(execution)
        assert stopped["status"] == "ABORTED"
        assert "stopped" not in keys(aws, table)
        history = aws.history(execution)
        # When the function runs
        faults.mend(local_aws)
        # Then it has its effect, and the execution stays as it is
        assert "stopped" in keys(aws, table)
        later = aws.wait(execution)
        assert (later["status"], later["stopDate"]) == ("ABORTED", stopped["stopDate"])
        assert aws.history(execution) == history

    def test_a_task_times_out_before_the_handler_begins(self, local_aws: Emulator, aws: Account, table: str) -> None:
        faults.inject(local_aws, faults.fault("lambda:list_users", "held", "1"))
        description = aws.wait(self.start(aws, table, "held", "timed-out", TimeoutSeconds=1))
        assert json.loads(description["output"])["Error"] == "States.Timeout"
        faults.mend(local_aws)
        assert "timed-out" in keys(aws, table)

    @pytest.mark.parametrize("kind", ["late", "held"])
    def test_the_state_machines_own_call_comes_after_its_time(
        self, local_aws: Emulator, aws: Account, table: str, kind: str
    ) -> None:
        item = {"id": {"S": f"own-{kind}"}}
        aws.tables.put_item(TableName=table, Item=item)
        release = {
            "Type": "Task",
            "Resource": "arn:aws:states:::dynamodb:deleteItem",
            "Parameters": {"TableName": table, "Key": item},
            "End": True,
        }
        faults.inject(local_aws, faults.fault("dynamodb:DeleteItem", kind, "1", by="state_machine"))
        execution = aws.start({"Release": release})
        self.wait_until_hit(local_aws)
        if kind == "held":
            aws.states.stop_execution(executionArn=execution)
        description = aws.wait(execution)
        expected = {"late": ("FAILED", "DynamoDB.InternalServerError"), "held": ("ABORTED", None)}[kind]
        assert (description["status"], description.get("error")) == expected
        assert f"own-{kind}" in keys(aws, table)

        faults.mend(local_aws)

        assert f"own-{kind}" not in keys(aws, table)
        assert aws.wait(execution)["status"] == expected[0]

    def test_an_event_reaches_its_function_late(self, local_aws: Emulator, aws: Account, table: str) -> None:
        step = aws.function(FUNCTION, name=f"{aws.name('late')}-clean-up")
        target = aws.functions.get_function(FunctionName=step)["Configuration"]["FunctionArn"]
        rule = aws.name("rule")
        aws.events.put_rule(Name=rule, EventPattern=json.dumps({"source": [rule]}))
        calls = json.dumps([put(table, "event")])
        aws.events.put_targets(Rule=rule, Targets=[{"Id": "late", "Arn": target, "Input": calls}])
        faults.inject(local_aws, faults.fault("lambda:clean_up", "held", "1"))
        aws.events.put_events(Entries=[{"Source": rule, "DetailType": "test", "Detail": "{}"}])
        self.wait_until_hit(local_aws)
        assert "event" not in keys(aws, table)
        faults.mend(local_aws)
        assert "event" in keys(aws, table)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("dynamodb", "error"),
            r"CALL must be an operation of dynamodb, such as dynamodb:BatchWriteItem, got 'dynamodb'",
        ),
        (("dynamodb:BatchWrite", "error"), r"CALL must be an operation of dynamodb, .* got 'dynamodb:BatchWrite'"),
        (("lambda:scan", "error"), r"CALL must be lambda: and one of acquire_lock, .*, got 'lambda:scan'"),
        (
            ("s3:GetObject", "error"),
            r"CALL must begin with lambda:, dynamodb:, .* organizations:, such as iam:ListUsers, got 's3:GetObject'",
        ),
        (("", "error"), r"CALL must begin with .*, got ''"),
        (("iam:ListUsers", "explode"), r"FAULT must be one of throttled, .* for iam:ListUsers, got 'explode'"),
        (("iam:ListUsers", "unprocessed"), r"FAULT must be one of .*, got 'unprocessed'"),
        (("iam:ListUsers", "limit_exceeded"), r"FAULT must be one of .*, got 'limit_exceeded'"),
        (("lambda:list_users", "limit_exceeded"), r"FAULT must be one of .*, got 'limit_exceeded'"),
        (("lambda:list_users", "entries_failed"), r"FAULT must be one of .*, got 'entries_failed'"),
        (("events:PutRule", "entries_failed"), r"FAULT must be one of .*, got 'entries_failed'"),
        (("events:PutEvents", "unprocessed"), r"FAULT must be one of .*, got 'unprocessed'"),
        (("lambda:list_users", "crash"), r"FAULT must be one of .*, got 'crash'"),
        (("iam:ListUsers", "late"), r"FAULT must be one of .*, got 'late'"),
        (("dynamodb:BatchWriteItem", "held", "", "write_batch"), r"FAULT must be one of .*, got 'held'"),
        (("dynamodb:DeleteItem", "crash", "", "state_machine"), r"FAULT must be one of .*, got 'crash'"),
        (("iam:ListUsers", "error", "0"), r"NUMBERS must be like 2, 1-3 or 2-, got '0'"),
        (("iam:ListUsers", "error", "3-1"), r"NUMBERS must be .*, got '3-1'"),
        (("iam:ListUsers", "error", "", "scan"), r"BY must be empty, state_machine or one of .*, got 'scan'"),
        (("lambda:list_users", "error", "", "list_users"), r"BY must be empty for lambda:list_users, .*, got"),
    ],
)
def test_bad_orders_are_refused_by_name(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(LocalAwsError, match=f"^{message}") as raised:
        faults.fault(*arguments)
    assert "\n" not in str(raised.value)


def test_the_server_refuses_them_too(local_aws: Emulator) -> None:
    with pytest.raises(LocalAwsError, match="refuses: NUMBERS must be"):
        faults.inject(local_aws, faults.Fault("iam:ListUsers", "error", "none"))
    assert faults.injected(local_aws) == []
