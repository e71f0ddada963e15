"""What the workflow relies on, asked of both interpreters alike: the local AWS's, and moto's in this process.

Neither has all of it by itself. What it lacks is corrected, in ``tests/local_aws/aws/corrections`` and in
``tests/support/engine.py``.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.support import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.emulator.conftest import Account

# Answers with what it is given, unless that says otherwise.
FUNCTION = """
class Superseded(Exception):
    pass

def handler(event, context):
    if isinstance(event, dict) and event.get("fail"):
        raise Superseded(event["fail"])
    return event
"""
REDRIVES = {
    "count.$": "$$.Execution.RedriveCount",
    "attempt.$": "States.MathAdd($$.Execution.RedriveCount, 1)",
    "text.$": "States.Format('{}', States.MathAdd($$.Execution.RedriveCount, 1))",
}
FIRST, SECOND = (
    {"count": 0, "attempt": 1, "text": "1"},
    {"count": 1, "attempt": 2, "text": "2"},
)


class Superseded(Exception):  # noqa: N818 - the name is what is caught
    pass


class Interpreter(ABC):
    """An account with a state machine interpreter, a function and a table."""

    function: str
    table: str
    client: Callable[[str], Any]

    @abstractmethod
    def start(self, states: Mapping[str, Any], text: str) -> str:
        """Start an execution with this input and return its ARN."""

    @abstractmethod
    def wait(self, arn: str) -> dict[str, Any]:
        """Wait for an execution's end and describe it."""

    @abstractmethod
    def redrive(self, arn: str) -> None:
        """Redrive an execution."""

    def run(self, states: Mapping[str, Any], text: str = "{}") -> dict[str, Any]:
        return self.wait(self.start(states, text))

    def output(self, states: Mapping[str, Any], text: str = "{}") -> Any:
        described = self.run(states, text)
        assert described["status"] == "SUCCEEDED", described
        return json.loads(described["output"])

    def create_machine(self, name: str, states: Mapping[str, Any], role: str) -> str:
        definition = json.dumps({"StartAt": next(iter(states)), "States": states})
        created = self.client("stepfunctions").create_state_machine(name=name, definition=definition, roleArn=role)
        return str(created["stateMachineArn"])

    def create_table(self, name: str) -> str:
        self.client("dynamodb").create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        return name

    def item(self, key: str) -> dict[str, Any] | None:
        found = self.client("dynamodb").get_item(TableName=self.table, Key={"id": {"S": key}}, ConsistentRead=True)
        item: dict[str, Any] | None = found.get("Item")
        return item

    def task(self, payload: object, **fields: object) -> dict[str, Any]:
        """Return a Task that gives this to the function; its last one, unless it has a Next."""
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": self.function, "Payload": payload},
            "OutputPath": "$.Payload",
            **({} if "Next" in fields else {"End": True}),
            **fields,
        }


class OfMiniStack(Interpreter):
    def __init__(self, account: Account) -> None:
        self._account = account
        clients = {"stepfunctions": account.states, "dynamodb": account.tables}
        self.client = clients.__getitem__
        self.function = account.function(FUNCTION)
        self.table = self.create_table(account.name("table"))

    def start(self, states: Mapping[str, Any], text: str) -> str:
        machine = self.create_machine(self._account.name("machine"), states, self._account.admin)
        return str(self._account.states.start_execution(stateMachineArn=machine, input=text)["executionArn"])

    def wait(self, arn: str) -> dict[str, Any]:
        return self._account.wait(arn)

    def redrive(self, arn: str) -> None:
        self._account.states.redrive_execution(executionArn=arn)


class OfMoto(Interpreter):
    def __init__(self, running: engine.Engine) -> None:
        self._engine = running
        self.client = running.client
        self._role = running.client("iam").get_role(RoleName="test")["Role"]["Arn"]
        self.function = f"arn:aws:lambda:{engine.REGION}:{engine.ACCOUNT}:function:list_users"
        self.table = self.create_table("table")
        self._machines = 0

    def start(self, states: Mapping[str, Any], text: str) -> str:
        self._machines += 1
        machine = self.create_machine(f"machine-{self._machines}", states, self._role)
        started = self.client("stepfunctions").start_execution(stateMachineArn=machine, name="once", input=text)
        return str(started["executionArn"])

    def wait(self, arn: str) -> dict[str, Any]:
        self._engine.wait(arn)
        described: dict[str, Any] = self.client("stepfunctions").describe_execution(executionArn=arn)
        return described

    def redrive(self, arn: str) -> None:
        self._engine.redrive(arn)


def echo(_step: str, event: Any, _handler: Callable[[Any], Any]) -> Any:
    if _step == "release_lock":
        return _handler(event)
    if isinstance(event, dict) and event.get("fail"):
        raise Superseded(event["fail"])
    return event


@pytest.fixture(scope="module", params=["ministack", "moto"])
def on(request: pytest.FixtureRequest) -> Iterator[Interpreter]:
    if request.param == "ministack":
        yield OfMiniStack(request.getfixturevalue("aws"))
        return
    with engine.engine(invoke=echo) as running:
        yield OfMoto(running)


class TestRedrives:
    """``$$.Execution.RedriveCount`` and ``RedriveTime``."""

    def test_the_count_is_0_from_the_first_state_on(self, on: Interpreter) -> None:
        assert on.output({"First": on.task({"run": REDRIVES})}) == {"run": FIRST}
        assert on.output({"First": {"Type": "Pass", "Parameters": REDRIVES, "End": True}}, '"text"') == FIRST

    def test_a_result_may_be_joined_with_it(self, on: Interpreter) -> None:
        selector = {"given.$": "$.Payload", **REDRIVES}
        assert on.output({"First": on.task("x", ResultSelector=selector, OutputPath="$")}) == {"given": "x", **FIRST}

    def test_the_time_is_absent_until_then(self, on: Interpreter) -> None:
        states = {"First": {"Type": "Pass", "Parameters": {"at.$": "$$.Execution.RedriveTime"}, "End": True}}
        described = on.run(states)
        assert (described["status"], described["error"]) == ("FAILED", "States.Runtime")

    def test_both_are_there_after_a_redrive_and_inside_a_map(self, on: Interpreter) -> None:
        # Given an execution that fails where there is no RedriveTime yet
        redrives = REDRIVES | {"at.$": "$$.Execution.RedriveTime"}
        iteration = {"StartAt": "Inner", "States": {"Inner": on.task({"given.$": "$", **redrives})}}
        states = {
            "Before": {"Type": "Pass", "Parameters": REDRIVES, "ResultPath": "$.before", "Next": "All"},
            "All": {
                "Type": "Map",
                "ItemsPath": "$.items",
                "ItemSelector": {"value.$": "$$.Map.Item.Value", **redrives},
                "ItemProcessor": iteration,
                "ResultPath": "$.items",
                "Next": "After",
            },
            "After": {"Type": "Pass", "Parameters": redrives, "ResultPath": "$.after", "End": True},
        }
        arn = on.start(states, '{"items": [1, 2]}')
        failed = on.wait(arn)
        assert (failed["status"], failed["redriveCount"]) == ("FAILED", 0)
        assert "redriveDate" not in failed
        # When it is redriven
        on.redrive(arn)
        # Then it finds both, and what was done before is as it was
        described = on.wait(arn)
        assert described["status"] == "SUCCEEDED", described
        output = json.loads(described["output"])
        at = output["after"]["at"]
        assert output["before"] == FIRST
        assert output["after"] == SECOND | {"at": at}
        assert output["items"] == [{"given": {"value": n, **SECOND, "at": at}, **SECOND, "at": at} for n in (1, 2)]
        assert described["redriveCount"] == 1
        assert described["redriveDate"] >= failed["stopDate"] - timedelta(milliseconds=1)
        assert at.endswith("Z")
        assert abs(datetime.fromisoformat(at) - described["redriveDate"]) < timedelta(milliseconds=2)

    def test_the_state_machines_own_call_is_conditional_on_it(self, on: Interpreter) -> None:
        """The condition of ReleaseLock: mine, and not newer."""
        values = {":me": {"S.$": "$$.Execution.Id"}, ":attempt": {"N.$": REDRIVES["text.$"]}}
        release = {
            "Type": "Task",
            "Resource": "arn:aws:states:::dynamodb:deleteItem",
            "Parameters": {
                "TableName": on.table,
                "Key": {"id": {"S": "lock"}},
                "ConditionExpression": "#owner = :me AND attempt <= :attempt",
                "ExpressionAttributeNames": {"#owner": "owner"},
                "ExpressionAttributeValues": values,
            },
            "End": True,
        }
        arn = on.start({"Release": release}, "{}")
        assert on.wait(arn)["error"] == "DynamoDB.ConditionalCheckFailedException"
        # Ten is more than two: numbers, not texts.
        for attempt, status in (("10", "FAILED"), ("2", "SUCCEEDED")):
            lock = {"id": {"S": "lock"}, "owner": {"S": arn}, "attempt": {"N": attempt}}
            on.client("dynamodb").put_item(TableName=on.table, Item=lock)
            on.redrive(arn)
            assert on.wait(arn)["status"] == status
            assert (on.item("lock") is None) == (status == "SUCCEEDED")


INPUTS = ['"text"', "[1]", "3", "null", '{"scan": "x"}', '{"outcome": {"status": "COMPLETE"}}', "{}"]


class TestCatch:
    @pytest.mark.parametrize("text", INPUTS)
    def test_without_a_result_path_the_error_replaces_the_whole_state(self, on: Interpreter, text: str) -> None:
        states = {
            "Fails": on.task({"fail": "no"}, Catch=[{"ErrorEquals": ["States.ALL"], "Next": "NotBegun"}]),
            "NotBegun": {"Type": "Pass", "Parameters": {"error.$": "$", **REDRIVES}, "End": True},
        }
        output = on.output(states, text)
        assert output == {"error": output["error"], **FIRST}
        assert output["error"].keys() == {"Error", "Cause"}
        assert output["error"]["Error"] == "Superseded"
        assert json.loads(output["error"]["Cause"])["errorMessage"] == "no"

    @pytest.mark.parametrize("text", INPUTS)
    def test_with_one_it_needs_an_object(self, on: Interpreter, text: str) -> None:
        catch = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Caught"}]
        states = {"Fails": on.task({"fail": "no"}, Catch=catch), "Caught": {"Type": "Pass", "End": True}}
        described = on.run(states, text)
        if text.startswith("{"):
            output = json.loads(described["output"])
            assert output.pop("error")["Error"] == "Superseded"
            assert output == json.loads(text)
        else:
            assert (described["status"], described["error"]) == ("FAILED", "States.ResultPathMatchFailure")

    def test_an_error_that_is_not_to_be_retried_is_not(self, on: Interpreter) -> None:
        retry = [{"ErrorEquals": ["Superseded"], "MaxAttempts": 0}, {"ErrorEquals": ["States.ALL"], "MaxAttempts": 2}]
        catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
        states = {"Late": on.task({"fail": "late"}, Retry=retry, Catch=catch), "Caught": {"Type": "Pass", "End": True}}
        arn = on.start(states, "{}")
        assert json.loads(on.wait(arn)["output"])["Error"] == "Superseded"
        events = on.client("stepfunctions").get_execution_history(executionArn=arn)["events"]
        assert [event["type"] for event in events].count("TaskScheduled") == 1


class TestWrites:
    """Conditional writes of DynamoDB, alone and in a transaction."""

    @staticmethod
    def put_lock(on: Interpreter, owner: str, attempt: int, now: int = 5) -> dict[str, Any]:
        condition = "attribute_not_exists(id) OR expires_at < :now OR (#owner = :me AND attempt <= :attempt)"
        return {
            "TableName": on.table,
            "Item": {
                "id": {"S": "lock"}, "owner": {"S": owner}, "attempt": {"N": str(attempt)}, "expires_at": {"N": "9"},
            },
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {
                ":now": {"N": str(now)}, ":me": {"S": owner}, ":attempt": {"N": str(attempt)},
            },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }  # fmt: skip

    @staticmethod
    def update_manifest(
        on: Interpreter, attempt: int, among: tuple[str, str] = ("RUNNING", "FAILED")
    ) -> dict[str, Any]:
        return {
            "TableName": on.table,
            "Key": {"id": {"S": "manifest"}},
            "UpdateExpression": "SET #status = :running, #n = if_not_exists(#n, :zero) + :one"
            " REMOVE error_type, error_message ADD reported :attempts",
            "ConditionExpression": "attribute_not_exists(#status)"
            " OR (#status IN (:a, :b) AND NOT contains(reported, :n))",
            "ExpressionAttributeNames": {"#status": "status", "#n": "sequence"},
            "ExpressionAttributeValues": {
                ":running": {"S": "RUNNING"}, ":zero": {"N": "0"}, ":one": {"N": "1"},
                ":a": {"S": among[0]}, ":b": {"S": among[1]}, ":attempts": {"NS": [str(attempt)]},
                ":n": {"N": str(attempt)},
            },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }  # fmt: skip

    @staticmethod
    def refused(on: Interpreter, operation: str, request: dict[str, Any]) -> dict[str, Any] | None:
        """Make a request; return what the exception holds, or None."""
        try:
            getattr(on.client("dynamodb"), operation)(**request)
        except ClientError as error:
            return dict(error.response)
        return None

    def transact(self, on: Interpreter, *actions: dict[str, Any], **more: Any) -> list[dict[str, Any]] | None:
        """Return the reasons for which a transaction is cancelled, or None."""
        refused = self.refused(on, "transact_write_items", {"TransactItems": list(actions), **more})
        if refused is None:
            return None
        assert refused["Error"]["Code"] == "TransactionCanceledException"
        reasons: list[dict[str, Any]] = refused["CancellationReasons"]
        codes = ", ".join(reason["Code"] for reason in reasons)
        assert refused["Error"]["Message"].endswith(f"[{codes}]")
        return reasons

    @pytest.fixture(autouse=True)
    def empty(self, on: Interpreter) -> None:
        for key in ("lock", "manifest"):
            on.client("dynamodb").delete_item(TableName=on.table, Key={"id": {"S": key}})

    def test_a_transaction_writes_all(self, on: Interpreter) -> None:
        on.client("dynamodb").put_item(TableName=on.table, Item={"id": {"S": "manifest"}, "error_type": {"S": "x"}})
        for attempt in (1, 2):
            put, update = {"Put": self.put_lock(on, "me", attempt)}, {"Update": self.update_manifest(on, attempt)}
            assert self.transact(on, put, update) is None
        lock, manifest = on.item("lock"), on.item("manifest")
        assert lock is not None
        assert manifest is not None
        assert lock["attempt"] == {"N": "2"}
        assert manifest.keys() == {"id", "status", "sequence", "reported"}
        assert (manifest["sequence"], sorted(manifest["reported"]["NS"])) == ({"N": "2"}, ["1", "2"])

    def test_or_nothing_and_says_why_for_each(self, on: Interpreter) -> None:
        lock, update = {"Put": self.put_lock(on, "me", 1)}, {"Update": self.update_manifest(on, 1)}
        assert self.transact(on, lock, update) is None
        before = on.item("lock"), on.item("manifest")
        failed = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
        absent = {
            "TableName": on.table, "Key": {"id": {"S": "absent"}}, "ConditionExpression": "attribute_exists(id)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }  # fmt: skip

        # The second: attempt 1 is among those reported.
        assert self.transact(on, lock, update) == [{"Code": "None"}, failed | {"Item": before[1]}]
        # Both, and a check of an item that is not there.
        other, check = {"Put": self.put_lock(on, "other", 1)}, {"ConditionCheck": absent}
        assert self.transact(on, other, update, check) == [
            failed | {"Item": before[0]},
            failed | {"Item": before[1]},
            failed,
        ]
        # The first; the second would do.
        more = {"Update": self.update_manifest(on, 2)}
        assert self.transact(on, other, more) == [failed | {"Item": before[0]}, {"Code": "None"}]
        without = {"Put": {name: v for name, v in other["Put"].items() if not name.startswith("ReturnValues")}}
        assert self.transact(on, without, more) == [failed, {"Code": "None"}]
        assert (on.item("lock"), on.item("manifest")) == before

    def test_of_the_same_item_there_is_one(self, on: Interpreter) -> None:
        update = {"Update": self.update_manifest(on, 1)}
        refused = self.refused(on, "transact_write_items", {"TransactItems": [update, update]})
        assert refused is not None
        assert refused["Error"]["Code"] == "ValidationException"

    @pytest.mark.parametrize(
        ("owner", "attempt", "now", "taken"),
        [
            ("me", 2, 5, True),
            ("me", 3, 5, True),
            ("me", 10, 5, True),
            ("me", 1, 5, False),
            ("other", 3, 5, False),
            ("other", 1, 9, False),
            ("other", 1, 10, True),
        ],
    )
    def test_a_lock_is_taken_by_its_owner_or_after_its_end(
        self, on: Interpreter, owner: str, attempt: int, now: int, taken: bool
    ) -> None:
        assert self.refused(on, "put_item", self.put_lock(on, "me", 2)) is None
        held = on.item("lock")
        refused = self.refused(on, "put_item", self.put_lock(on, owner, attempt, now))
        assert (refused is None) is taken
        if refused is not None:
            assert refused["Error"]["Code"] == "ConditionalCheckFailedException"
            assert refused["Item"] == held == on.item("lock")

    def test_an_update_says_what_was_in_its_way(self, on: Interpreter) -> None:
        assert self.refused(on, "update_item", self.update_manifest(on, 1)) is None
        manifest = on.item("manifest")
        for update in (self.update_manifest(on, 1), self.update_manifest(on, 2, ("FAILED", "ABORTED"))):
            refused = self.refused(on, "update_item", update)
            assert refused is not None
            assert refused["Error"]["Code"] == "ConditionalCheckFailedException"
            assert refused["Item"] == manifest == on.item("manifest")
        assert self.refused(on, "update_item", self.update_manifest(on, 12)) is None


def test_a_token_makes_a_repeated_transaction_one(aws: Account) -> None:
    """On the local AWS only: moto ignores tokens, but nothing in this process sends a request again."""
    on, writes = OfMiniStack(aws), TestWrites()
    update, token = {"Update": writes.update_manifest(on, 1)}, {"ClientRequestToken": "once"}
    assert writes.transact(on, update, **token) is None
    manifest = on.item("manifest")
    # Its condition does not hold any more.
    assert writes.transact(on, update, **token) is None
    assert on.item("manifest") == manifest
    other = {"TransactItems": [{"Update": writes.update_manifest(on, 2)}], **token}
    refused = writes.refused(on, "transact_write_items", other)
    assert refused is not None
    assert refused["Error"]["Code"] == "IdempotentParameterMismatchException"
