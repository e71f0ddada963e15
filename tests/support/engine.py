"""Runs the state machines in this process: moto's interpreter, with the real handlers behind the Lambda tasks.

The interpreter enforces the payload limit and keeps an accurate history. What moto gets wrong is corrected in
:func:`corrected_moto`, the one place for it.
"""

import contextlib
import functools
import importlib
import io
import json
import os
import threading
import time
import traceback
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from unittest import mock

import boto3
from botocore.exceptions import ClientError
from moto import mock_aws

from functions.shared import clients
from functions.table import wire
from tests.support import definition

REGION = "us-east-1"
ACCOUNT = "123456789012"
TABLE = "iam-user-records"
INDEX = "scan-timestamp-index"
CHANGES = "changes"
"""The rule and the queue of those who want to be told of changes."""

_ASYNCHRONOUS_TRIES = 3

MEMBER_ROLE = "iam-user-monitor-member"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/test"
"""Whose permissions nobody asks for here."""

resume_at: dict[str, tuple[str, Any]] = {}
"""The state, and its input, at which an execution that is being redriven begins."""

_syntaxes: dict[str, Any] = {}
_valid: set[str] = set()
_interpreters_clients: dict[str, Any] = {}
"""Definitions that were parsed in this process, by their text."""

Invoke = Callable[[str, Any, Callable[[Any], Any]], Any]
"""Stands between the interpreter and a handler: gets the step, the event and the handler, returns the result."""


class FunctionError(Exception):
    """A failure of the Lambda service around a handler, such as a time-out, under the name AWS gives it."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


class Invocation(NamedTuple):
    """A function, by its step, and what it was given."""

    step: str
    event: Any


@dataclass(frozen=True)
class Execution:
    """A finished execution."""

    arn: str
    status: str
    output: Any
    error: str | None
    cause: str | None
    history: list[dict[str, Any]] = field(repr=False)

    @property
    def route(self) -> list[str]:
        """The states entered, in order, those of Map iterations included."""
        return [
            event["stateEnteredEventDetails"]["name"] for event in self.history if "stateEnteredEventDetails" in event
        ]

    def entered(self, state: str) -> int:
        """Return how often a state was entered."""
        return self.route.count(state)

    @property
    def largest_payload(self) -> int:
        """The largest input or output in the history, in bytes."""
        payloads = [
            text
            for event in self.history
            for details in event.values()
            if isinstance(details, dict)
            for name, text in details.items()
            if name in {"input", "output"} and isinstance(text, str)
        ]
        return max(len(text.encode()) for text in payloads)


@dataclass
class Engine:
    """One account with the state machines deployed. Made by :func:`engine`."""

    state_machine_arn: str
    invoke: Invoke
    organization_arn: str = ""
    """The machine that scans all accounts; empty where there is none."""
    invocations: list[str] = field(default_factory=list)
    invoked: list[Invocation] = field(default_factory=list)
    """Every invocation of a function, of CleanUp too, in the order in which they began."""
    redrives: dict[str, list[datetime]] = field(default_factory=dict)
    """When executions were redriven, by their ARN."""
    _former_events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _running: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def start(
        self,
        execution_input: Any = None,
        name: str | None = None,
        *,
        text: str | None = None,
        organization: bool = False,
    ) -> str:
        """Start an execution, with an input or the text of one, and return its ARN."""
        started = self.client("stepfunctions").start_execution(
            stateMachineArn=self.organization_arn if organization else self.state_machine_arn,
            name=name or str(uuid.uuid4()),
            input=text or json.dumps({} if execution_input is None else execution_input),
        )
        arn: str = started["executionArn"]
        return arn

    def wait(self, arn: str, seconds: float = 500) -> Execution:
        """Wait for an execution to end and return it.

        Raises
        ------
        TimeoutError
            It still ran after so many seconds.
        """
        client = self.client("stepfunctions")
        deadline = time.monotonic() + seconds
        # Through the API, waiting would take more of the processor than the execution does.
        while self._execution(arn).status == "RUNNING":
            if time.monotonic() > deadline:
                raise TimeoutError(f"{arn} still runs after {seconds} s")
            time.sleep(0.005)
        described = client.describe_execution(executionArn=arn)
        history = client.get_execution_history(executionArn=arn)["events"]
        if arn in self._former_events:
            # Redriven: as on AWS, the state that is repeated is not entered a second time.
            entered = [number for number, event in enumerate(history) if "stateEnteredEventDetails" in event]
            history = self._former_events[arn] + history[entered[0] + 1 :] if entered else self._former_events[arn]
        return Execution(
            arn=arn,
            status=described["status"],
            output=json.loads(described["output"]) if described.get("output") else None,
            error=described.get("error"),
            cause=described.get("cause"),
            history=history,
        )

    def run(self, execution_input: Any = None, *, text: str | None = None, organization: bool = False) -> Execution:
        """Start an execution and wait for its end."""
        return self.wait(self.start(execution_input, text=text, organization=organization))

    def stop(self, arn: str) -> None:
        """Stop an execution by hand: it is ABORTED at once, and the calls under way come to their end by themselves.

        Executions that it waits for are stopped with it.
        """
        self.client("stepfunctions").stop_execution(executionArn=arn)
        for child in self.children(arn):
            if self._execution(child).status == "RUNNING":
                self.client("stepfunctions").stop_execution(executionArn=child)

    def children(self, arn: str) -> list[str]:
        """Return the executions that an execution of the organization machine has started, in their order."""
        listed = self.client("stepfunctions").list_executions(stateMachineArn=self.state_machine_arn)["executions"]
        arns = [str(one["executionArn"]) for one in listed]
        return [child for child in arns if arn in str(self._execution(child).input_data)]

    def settle(self, seconds: float = 60) -> None:
        """Wait until no call is under way: one may still be when its execution has been stopped.

        Raises
        ------
        TimeoutError
            One still was after so many seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._running == 0, seconds):
                raise TimeoutError(f"{self._running} calls are still under way after {seconds} s")

    @contextmanager
    def under_way(self, invocation: Invocation | None = None) -> Iterator[None]:
        """Know of a call for as long as the context is open; record it if it invokes a function."""
        with self._changed:
            if invocation is not None:
                self.invoked.append(invocation)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def repeat(self, invocation: Invocation) -> Any:
        """Invoke a function again with what it was given, as a late call would, past ``invoke`` and unrecorded.

        Return what it answers; for an exception, what Lambda makes of it: ``errorType`` and ``errorMessage``.
        """
        event = json.loads(json.dumps(invocation.event))
        try:
            return json.loads(json.dumps(_handler(invocation.step)(event)))
        except Exception as error:  # noqa: BLE001 - Lambda reports any exception of a handler
            return _failure(error)

    def end_event(self, arn: str, redrive_count: int | None = None) -> dict[str, Any]:
        """Return the event by which EventBridge tells of an execution's end: its detail is what is described now.

        Parameters
        ----------
        redrive_count
            What the event says instead, as one of a former attempt that comes late.
        """
        described = self.client("stepfunctions").describe_execution(executionArn=arn)
        names = ("executionArn", "stateMachineArn", "name", "status", "redriveCount", "redriveStatus")
        moments = ("startDate", "stopDate", "redriveDate")
        detail = {name: described[name] for name in names}
        detail |= {name: int(described[name].timestamp() * 1000) if name in described else None for name in moments}
        if redrive_count is not None:
            detail["redriveCount"] = redrive_count
        return {
            "source": "aws.states",
            "detail-type": "Step Functions Execution Status Change",
            "resources": [arn],
            "detail": detail,
        }

    def deliver(self, event: dict[str, Any]) -> None:
        """Give CleanUp an event, as EventBridge does: late, twice or in another order, if a test wants so.

        As Lambda does with an asynchronous invocation, it tries twice more. A failure after that reaches nobody: on
        AWS, the event ends in the dead-letter queue.
        """
        # Not through `invoke`: the rule's function is no part of the state machine.
        for _ in range(_ASYNCHRONOUS_TRIES):
            with contextlib.suppress(ClientError), self.under_way(Invocation("clean_up", event)):
                _handler("clean_up")(json.loads(json.dumps(event)))
                return

    def clean_up(self, execution: Execution, redrive_count: int | None = None) -> None:
        """Tell CleanUp of the end of an execution, as EventBridge does for one that did not succeed."""
        if execution.status == "SUCCEEDED":
            return
        event = self.end_event(execution.arn, redrive_count)
        event["detail"]["status"] = execution.status
        self.deliver(event)

    def redrive(self, arn: str) -> Execution:
        """Redrive an execution that failed or was stopped, and wait for its end.

        As on AWS it keeps its ARN, its start and its input, and re-enters the state that it ended in with the input
        of that state. An interrupted Map is run whole again, where AWS would run its unfinished iterations only.
        """
        self.begin_redrive(arn)
        try:
            return self.wait(arn)
        finally:
            del resume_at[arn]

    def begin_redrive(self, arn: str) -> None:
        """Redrive an execution, and wait for nothing."""
        former = self.wait(arn)
        execution = self._execution(arn)
        machine = json.loads(execution.state_machine.definition)["States"]
        entered = [event["stateEnteredEventDetails"] for event in former.history if "stateEnteredEventDetails" in event]
        last = [details for details in entered if details["name"] in machine][-1]
        self._former_events[arn] = former.history
        self.redrives.setdefault(arn, []).append(datetime.now(UTC))
        execution.exec_worker = execution.error = execution.cause = execution.stop_date = None
        resume_at[arn] = (last["name"], json.loads(last["input"]))
        execution.start()

    @staticmethod
    def _execution(arn: str) -> Any:
        from moto.stepfunctions.parser.models import stepfunctions_parser_backends

        return stepfunctions_parser_backends[ACCOUNT][REGION].describe_execution(arn)

    def create_accounts(self, accounts: Mapping[str, str], users: list[str] | None = None) -> None:
        """Add accounts, by their numbers and names, to the organization, which is made with the first; and users."""
        from moto.organizations.models import FakeAccount, organizations_backends

        backend: Any = organizations_backends[ACCOUNT]["aws"]
        if backend.org is None:
            self.client("organizations").create_organization()
        for number, name in accounts.items():
            if number == ACCOUNT:
                backend.accounts[0].name = name
            else:
                account = FakeAccount(backend.org, AccountName=name, Email="a@example.com")
                account.id = number
                backend.accounts.append(account)
            self.create_users(users or [], number)

    def set_account(self, number: str, state: str | None) -> None:
        """Give an account another state, as when it is suspended; None: it leaves the organization."""
        from moto.organizations.models import organizations_backends

        backend: Any = organizations_backends[ACCOUNT]["aws"]
        if state is None:
            backend.accounts = [account for account in backend.accounts if account.id != number]
        for account in backend.accounts:
            if account.id == number:
                account.status = account.state = state

    def create_users(self, users: Mapping[str, str] | list[str], account: str = ACCOUNT) -> None:
        """Create IAM users: names, or names with their paths."""
        from moto.iam.models import iam_backends

        # Past the API, which takes a hundred times as long.
        iam: Any = iam_backends[account]["aws"]
        paths = users if isinstance(users, Mapping) else dict.fromkeys(users, "/")
        for name, path in paths.items():
            iam.create_user(REGION, name, path)

    def items(self) -> list[dict[str, Any]]:
        """Return everything in the table, in plain values, in the order of the keys."""
        from moto.dynamodb.models import dynamodb_backends

        # Past the API, which takes a hundred times as long.
        table: Any = dynamodb_backends[ACCOUNT][REGION].tables[TABLE]
        items = [wire.from_wire(item.to_json()["Attributes"]) for item in list(table.all_items())]
        return sorted(items, key=lambda item: (item["user_name"], item["scan_timestamp"]))

    def records(self) -> list[dict[str, Any]]:
        """Return the user records in the table."""
        return [item for item in self.items() if "user_id" in item]

    def manifests(self) -> list[dict[str, Any]]:
        """Return the manifests in the table."""
        return [item for item in self.items() if item["user_name"] == "__scan__" and "status" in item]

    def fleets(self) -> list[dict[str, Any]]:
        """Return the manifests of the organization's runs."""
        return [item for item in self.manifests() if item["scan_timestamp"].startswith("organization#")]

    def lock(self) -> dict[str, Any] | None:
        """Return the lock, or None when it is free; where accounts are scanned side by side, one of theirs."""
        held = [item for item in self.items() if item["user_name"] == "__execution_lock__"]
        return held[0] if held else None

    def announced(self) -> list[dict[str, Any]]:
        """Return the details of the change events that came on the bus since they were last asked for, in their order.

        A rule of the bus sends them to a queue, as a deployment's may.
        """
        sqs, details = self.client("sqs"), []
        while messages := sqs.receive_message(QueueUrl=_queue_url(sqs), MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                details.append(json.loads(message["Body"])["detail"])
                sqs.delete_message(QueueUrl=_queue_url(sqs), ReceiptHandle=message["ReceiptHandle"])
        return details

    def client(self, service: str) -> Any:
        """Return a client for the account."""
        return _client(service)


@functools.cache
def _client(service: str) -> Any:
    """Return a client for all engines: making one takes longer than what it does here, and moto is behind any."""
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]


@contextmanager
def engine(
    *,
    page_size: int = 500,
    batch_size: int = 100,
    map_concurrency: int = 5,
    invoke: Invoke | None = None,
    posture: bool = True,
    changes: bool = True,
    organization: Mapping[str, str] | None = None,
    account_concurrency: int = 5,
) -> Iterator[Engine]:
    """Deploy the state machines, the table and the functions into a fresh account.

    Parameters
    ----------
    invoke
        Called for every invocation in the handler's place, to inject a fault before or after it.
    posture
        Whether posture is to be read.
    changes
        Whether changes are to be announced.
    organization
        Settings of the machine that scans all accounts, as environment variables; None: there is none.
    """
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "DYNAMODB_TABLE_NAME": TABLE,
        "RETENTION_DAYS": "90",
        "LEASE_SECONDS": "600",
        "SCAN_TIMEOUT_SECONDS": "1800",
        "PAGE_SIZE": str(page_size),
        "BATCH_SIZE": str(batch_size),
        "CREDENTIAL_REPORT_ENABLED": str(posture).lower(),
        "AUTHORIZATION_DETAILS_ENABLED": str(posture).lower(),
        "RECORDED_TAGS": '["team"]',
        "CHANGE_EVENTS_ENABLED": str(changes).lower(),
        "EVENT_BUS_NAME": "default",
        "ANNOUNCE_ACTIVITY": "false",
        "MASS_DELETION_GUARD_PERCENT": "20",
        "MEMBER_ROLE_NAME": MEMBER_ROLE,
        "MEMBER_EXTERNAL_ID": "the-monitor",
        "ACCOUNTS": "[]",
        "INCLUDED_ORGANIZATIONAL_UNITS": "[]",
        "EXCLUDED_ACCOUNTS": "[]",
        "ORGANIZATION_TIMEOUT_SECONDS": "10800",
        **(organization or {}),
    }
    running = Engine(state_machine_arn="", invoke=invoke or (lambda step, event, handler: handler(event)))
    config = {"stepfunctions": {"execute_state_machine": True}, "lambda": {"use_docker": False}}
    with (
        mock.patch.dict(os.environ, environment),
        mock_aws(config=config),  # type: ignore[call-overload]
        corrected_moto(running),
        fresh_clients(),
    ):
        create_table(running.client("dynamodb"))
        running.state_machine_arn = _deploy(running, map_concurrency)
        if organization is not None:
            running.organization_arn = _deploy_organization(running, account_concurrency)
            os.environ["ORGANIZATION_STATE_MACHINE"] = running.organization_arn
        if changes:
            _listen(running)
        try:
            yield running
        finally:
            # What was left behind by an execution that is stopped must not outlive the account.
            running.settle()
            resume_at.clear()


@contextmanager
def fresh_clients() -> Iterator[None]:
    """Forget the clients that the functions keep for the life of a process, before and after."""
    for client in (
        clients.dynamodb,
        clients.iam,
        clients.brisk_iam,
        clients.stepfunctions,
        clients.events,
        clients.organizations,
        clients.sts,
    ):
        client.cache_clear()
    try:
        yield
    finally:
        for client in (
            clients.dynamodb,
            clients.iam,
            clients.brisk_iam,
            clients.stepfunctions,
            clients.events,
            clients.organizations,
            clients.sts,
        ):
            client.cache_clear()


def create_table(dynamodb: Any) -> None:
    """Create the records table as terraform/dynamodb.tf describes it."""
    dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "user_name", "AttributeType": "S"},
            {"AttributeName": "scan_timestamp", "AttributeType": "S"},
        ],
        KeySchema=[
            {"AttributeName": "user_name", "KeyType": "HASH"},
            {"AttributeName": "scan_timestamp", "KeyType": "RANGE"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": INDEX,
                "KeySchema": [
                    {"AttributeName": "scan_timestamp", "KeyType": "HASH"},
                    {"AttributeName": "user_name", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )


def _deploy_organization(running: Engine, account_concurrency: int) -> str:
    rendered = definition.render(
        {
            **_functions(running, definition.ORGANIZATION_STEPS),
            "partition": "aws",
            "table_name": TABLE,
            "scan_state_machine_arn": running.state_machine_arn,
            "scan_execution_arn_prefix": running.state_machine_arn.replace(":stateMachine:", ":execution:"),
            "account_concurrency": account_concurrency,
            "organization_timeout_seconds": 10_800,
            "task_timeout_seconds": 60,
        },
        definition.ORGANIZATION,
    )
    return _create(running, "iam-user-monitor-organization", rendered)


def _functions(running: Engine, steps: Iterable[str]) -> dict[str, str]:
    return {
        f"{step}_function_arn": running.client("lambda").create_function(
            FunctionName=step, Role=ROLE, Runtime="python3.12", Handler="unused", Code={"ZipFile": _empty_zip()}
        )["FunctionArn"]
        for step in steps
    }


def _create(running: Engine, name: str, rendered: dict[str, Any]) -> str:
    created = running.client("stepfunctions").create_state_machine(
        name=name, definition=json.dumps(rendered), roleArn=ROLE
    )
    arn: str = created["stateMachineArn"]
    return arn


def _deploy(running: Engine, map_concurrency: int) -> str:
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    running.client("iam").create_role(RoleName="test", AssumeRolePolicyDocument=trust)
    rendered = definition.render(
        {
            **_functions(running, definition.STEPS),
            "partition": "aws",
            "table_name": TABLE,
            "map_concurrency": map_concurrency,
            "task_timeout_seconds": 60,
            "scan_timeout_seconds": 600,
            "posture_timeout_seconds": 60,
            "publish_timeout_seconds": 60,
        }
    )
    return _create(running, "iam-user-monitor", rendered)


def _queue_url(sqs: Any) -> str:
    return str(sqs.get_queue_url(QueueName=CHANGES)["QueueUrl"])


def _listen(running: Engine) -> None:
    """Send the change events that come on the default bus to a queue."""
    sqs, events = running.client("sqs"), running.client("events")
    url = sqs.create_queue(QueueName=CHANGES)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=CHANGES, EventPattern=json.dumps({"source": ["iam-user-monitor"]}))
    events.put_targets(Rule=CHANGES, Targets=[{"Id": "queue", "Arn": arn}])


@functools.cache
def _empty_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("empty.py", "")
    return buffer.getvalue()


class Context:
    """What the handlers use of the Lambda context."""

    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """Return the time that a function with the default timeout has left, in milliseconds."""
        return 300_000


_throttling = threading.Lock()


@contextmanager
def throttled() -> Iterator[None]:
    """Let DynamoDB throttle every write of a record, for good, for functions that have little time to try."""

    def throttle(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "slow down"}}, "any")

    with (
        _throttling,  # patches of threads side by side would not be undone in their order
        mock.patch.object(clients.dynamodb(), "batch_write_item", throttle),
        mock.patch.object(Context, "get_remaining_time_in_millis", return_value=200),
    ):
        yield


def _handler(step: str) -> Callable[[Any], Any]:
    handler = importlib.import_module(f"functions.{step}.handler").handler
    return lambda event: handler(event, Context())


def _failure(error: Exception) -> dict[str, Any]:
    """Return what Lambda reports of an exception."""
    return {
        "errorMessage": str(error),
        "errorType": error.error_type if isinstance(error, FunctionError) else type(error).__name__,
        "stackTrace": traceback.format_exception(error)[-3:],
    }


def _answer(running: Engine, step: str, body: Any, response_headers: dict[str, str]) -> bytes:
    """Invoke the real handler as Lambda does: JSON in, JSON out, exceptions as errorType and errorMessage."""
    running.invocations.append(step)
    try:
        with running.under_way(Invocation(step, json.loads(body))):
            result = running.invoke(step, json.loads(body), _handler(step))
        return json.dumps(result).encode()
    except Exception as error:  # noqa: BLE001 - Lambda reports any exception of a handler
        response_headers["x-amz-function-error"] = "Unhandled"
        return json.dumps(_failure(error)).encode()


class _AsTheApi:
    """A client whose parameters begin with a small letter, for callers who write them with a capital one."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if not callable(call):
            return call
        return lambda **parameters: call(**{key[:1].lower() + key[1:]: value for key, value in parameters.items()})


@functools.cache
def _parse_path(path: str) -> Any:
    from jsonpath_ng import ext

    return ext.parser.parse(path)


def _locked(write: Callable[[Any], Any], lock: Any) -> Callable[[Any], Any]:
    def locked(handler: Any) -> Any:
        with lock:
            return write(handler)

    return locked


def _root_row() -> str:
    """Return the credential report's row of a root user with a password and MFA, and no keys."""
    created, key = "2024-01-01T00:00:00+00:00", "false,N/A,N/A,N/A,N/A"
    root = f"<root_account>,arn:aws:iam::{ACCOUNT}:root,{created},true,no_information,{created},not_supported,true"
    return f"{root},{key},{key},false,N/A,false,N/A"


def _iso(moment: datetime) -> str:
    """Return a moment as the context object has it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def corrected_moto(running: Engine) -> Iterator[None]:
    """Correct what moto 5.2.5 does otherwise than AWS, for as long as the context is open.

    - Lambda: its simple backend answers without running anything; here the real handlers run.
    - IAM: ListUsers ignores Marker and MaxItems.
    - IAM: the credential report is always of 2015, changes with every look at it, and has no row of root.
    - Step Functions: ``$$.Execution.StartTime`` is a datetime, which no task can be given; AWS has ISO 8601 text.
    - Step Functions: the waits of Retry pass in real time; here they take none.
    - Step Functions: an execution that is stopped inside a Map ends as FAILED; AWS has it ABORTED.
    - Step Functions: an execution that is stopped stays RUNNING until the call under way has ended; AWS has it ABORTED
      at once, with its stopDate. What a call left behind by it still does concerns no later run.
    - Step Functions: there is no redrive; a worker can be told where to begin, for :meth:`Engine.redrive`.
      ``$$.Execution.RedriveCount`` is missing; AWS has 0 before the first redrive, and ``RedriveTime`` from then on.
    - Step Functions: DescribeExecution tells nothing of redrives, and no stopDate of an execution that timed out.
    - Step Functions: a ResultPath below ``$`` that meets an input that is no object is lost, or States.Runtime; AWS
      fails the state with States.ResultPathMatchFailure.
    - Step Functions: calls of Step Functions itself are made with parameters such as ``StateMachineArn``, which the SDK
      does not know; and of an SDK called sfn, which there is not.
    - Step Functions: ``startExecution.sync:2`` looks for the ARN under a name that the answer does not have, and once
      every half second whether the execution has ended.
    - Step Functions: RedriveExecution is unknown, and GetExecutionHistory gives all events in their order, whatever is
      asked for.
    - DynamoDB: calls in several threads get between the condition and the write of each other, and a transaction that
      is cancelled takes back what others have written meanwhile.

    Some things are no corrections, but take less time: a definition is validated once, and parsed once, not at every
    start of an execution, and so is a JSON path; the interpreter keeps its clients; and of the sixty members that an
    answer may have, as an event of the history, only those that it has are looked for under each of their names.

    A DeleteItem goes through ``invoke``, too, under the name ``release_lock``; and where there is an organization, a
    StartExecution as ``start_execution``.
    """
    from moto.awslambda_simple.models import LambdaSimpleBackend
    from moto.core.serialize import ResponseSerializer
    from moto.dynamodb.exceptions import DynamodbException
    from moto.dynamodb.responses import DynamoHandler
    from moto.iam.responses import IamResponse
    from moto.stepfunctions.parser.api import ExecutionStatus, HistoryEventType
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
        FailureEvent,
        FailureEventException,
    )
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
    from moto.stepfunctions.parser.asl.component.common.path.result_path import ResultPath
    from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_callback
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
        StateTaskServiceSfn,
    )
    from moto.stepfunctions.parser.asl.eval.environment import Environment
    from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
    from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor
    from moto.stepfunctions.parser.asl.utils import boto_client, json_path
    from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication
    from moto.stepfunctions.parser.backend.execution import Execution as MotoExecution
    from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend
    from moto.stepfunctions.responses import StepFunctionResponse

    parse_anew = AmazonStateLanguageParser.parse
    validate_anew = StepFunctionsParserBackend._validate_definition
    serialize_member: Any = ResponseSerializer._serialize_structure_member
    environment_of = ExecutionWorker._get_evaluation_environment
    entrypoint_of = ExecutionWorker._get_evaluation_entrypoint
    set_error = Environment.set_error
    stop_execution: Any = MotoExecution.stop
    reflect_status: Any = BaseExecutionWorkerCommunication._reflect_execution_status
    describe_execution: Any = StepFunctionResponse.describe_execution
    get_history: Any = StepFunctionResponse.get_execution_history
    start_execution: Any = StepFunctionResponse.start_execution
    apply_result_path: Any = ResultPath._eval_body
    generate: Any = IamResponse.generate_credential_report
    writing = threading.RLock()
    writes: dict[str, Any] = {
        name: _locked(getattr(DynamoHandler, name), writing)
        for name in ("put_item", "update_item", "delete_item", "batch_write_item", "transact_write_items")
    }

    def parse(text: str) -> tuple[Any, Any]:
        if text not in _syntaxes:
            _syntaxes[text] = parse_anew(text)[1]
        # What is evaluated is each execution's own.
        return Preprocessor().visit(_syntaxes[text]), _syntaxes[text]

    def validate(definition: str) -> None:
        if definition not in _valid:
            validate_anew(definition)
            _valid.add(definition)

    def client_of(**settings: Any) -> Any:
        # What an integration calls sfn, the SDK calls stepfunctions.
        service = "stepfunctions" if settings["service_name"] == "sfn" else settings["service_name"]
        if service not in _interpreters_clients:
            client = boto3.client(**settings | {"service_name": service})
            _interpreters_clients[service] = _AsTheApi(client) if service == "stepfunctions" else client
        return _interpreters_clients[service]

    def serialize_what_is_there(self: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if isinstance(value, dict) and key not in value and value.keys() <= shape.parent.members.keys():
            return
        serialize_member(self, serialized, value, shape, key)

    def entrypoint(self: Any) -> Any:
        program: Any = entrypoint_of(self)
        arn = self._evaluation_details.execution_details.arn
        if arn in resume_at:
            program.start_at.start_at_name = resume_at[arn][0]
        return program

    def with_context(self: Any) -> Any:
        environment = environment_of(self)
        arn = self._evaluation_details.execution_details.arn
        if arn in resume_at:
            environment.states.reset(resume_at[arn][1])
        execution: Any = environment.states.context_object.context_object_data["Execution"]
        execution["StartTime"] = _iso(execution["StartTime"])
        redrives = running.redrives.get(arn, [])
        execution["RedriveCount"] = len(redrives)
        if redrives:
            execution["RedriveTime"] = _iso(redrives[-1])
        return environment

    def invoke(
        self: Any, function_name: str, qualifier: Any, body: Any, headers: Any, response_headers: dict[str, str]
    ) -> bytes:
        return _answer(running, function_name.rsplit(":", 1)[-1], body, response_headers)

    def keep_stopped(self: Any, error: Any) -> None:
        if not isinstance(self.program_state(), ProgramStopped):
            set_error(self, error)

    def stop_at_once(self: Any, stop_date: Any, error: str | None, cause: str | None) -> None:
        def runs() -> bool:
            return self.exec_worker.env is not None and self.exec_worker.env.is_running()

        while self.status == ExecutionStatus.RUNNING and not runs():
            # It has not quite begun, or just come to its end.
            time.sleep(0.001)
        stop_execution(self, stop_date, error, cause)
        if isinstance(self.exec_worker.env.program_state(), ProgramStopped):
            self.exec_status, self.stop_date, self.error, self.cause = ExecutionStatus.ABORTED, stop_date, error, cause

    def reflect_own_status(self: Any) -> None:
        worker = self.execution.exec_worker
        is_former = worker is None or worker._execution_communication is not self
        if not is_former and self.execution.exec_status == ExecutionStatus.RUNNING:
            reflect_status(self)

    def describe(self: Any) -> Any:
        answer = describe_execution(self)
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        redrives = running.redrives.get(answer.result["executionArn"], [])
        redrivable = execution.status not in {ExecutionStatus.RUNNING, ExecutionStatus.SUCCEEDED}
        answer.result["redriveCount"] = len(redrives)
        answer.result["redriveStatus"] = "REDRIVABLE" if redrivable else "NOT_REDRIVABLE"
        if redrives:
            answer.result["redriveDate"] = redrives[-1]
        if execution.stop_date is not None:
            answer.result["stopDate"] = execution.stop_date
        return answer

    def apply_to_objects(self: Any, env: Any) -> None:
        given = env.states.get_input()
        if self.result_path_src not in {None, "$"} and not isinstance(given, dict):
            cause = f"Unable to apply ResultPath '{self.result_path_src}' to the input '{json.dumps(given)}'"
            details: Any = {"taskFailedEventDetails": {"error": "States.ResultPathMatchFailure", "cause": cause}}
            failure = FailureEvent(
                env=env,
                error_name=StatesErrorName(typ=StatesErrorNameType.StatesResultPathMatchFailure),
                event_type=HistoryEventType.TaskFailed,
                event_details=details,
            )
            raise FailureEventException(failure_event=failure)
        apply_result_path(self, env)

    def wait_for_child(self: Any, env: Any, **_: Any) -> Callable[[], Any]:
        child = env.stack.pop()["executionArn"]

        def ended() -> Any:
            execution = running._execution(child)
            if execution.status == ExecutionStatus.RUNNING:
                return None
            answer = running.client("stepfunctions").describe_execution(executionArn=child)
            told = {
                name[:1].upper() + name[1:]: _iso(value) if isinstance(value, datetime) else value
                for name, value in answer.items()
                if name != "ResponseMetadata"
            }
            for name in ("Input", "Output"):
                if name in told:
                    told[name] = json.loads(told[name])
            if execution.status == ExecutionStatus.SUCCEEDED:
                return told
            failed = {"error": "States.TaskFailed", "cause": json.dumps(told), "resource": "startExecution.sync:2"}
            details: Any = {"taskFailedEventDetails": {**failed, "resourceType": "states"}}
            raise FailureEventException(
                FailureEvent(
                    env=env,
                    error_name=StatesErrorName(typ=StatesErrorNameType.StatesTaskFailed),
                    event_type=HistoryEventType.TaskFailed,
                    event_details=details,
                )
            )

        return ended

    def redrive(self: Any) -> Any:
        from moto.core.exceptions import AWSError
        from moto.core.responses import ActionResult

        class ExecutionNotRedrivable(AWSError):  # noqa: N818 - its name in the API
            TYPE = "ExecutionNotRedrivable"
            STATUS = 400

        arn = self._get_param("executionArn")
        if running._execution(arn).status in {ExecutionStatus.RUNNING, ExecutionStatus.SUCCEEDED}:
            raise ExecutionNotRedrivable(f"Execution {arn} is not redrivable")
        running.begin_redrive(arn)
        return ActionResult({"redriveDate": running.redrives[arn][-1]})

    def start(self: Any) -> Any:
        from moto.core.exceptions import AWSError

        if not running.organization_arn:
            return start_execution(self)
        try:
            return running.invoke("start_execution", json.loads(self.body), lambda _event: start_execution(self))
        except FunctionError as error:
            refusal = type(error.error_type, (AWSError,), {"TYPE": error.error_type, "STATUS": 400})
            raise refusal(str(error)) from error

    def history(self: Any) -> Any:
        from moto.core.responses import ActionResult

        answer = get_history(self)
        if self._get_param("reverseOrder"):
            arn = self._get_param("executionArn")
            events = [*running._former_events.get(arn, []), *answer.result["events"]]
            numbered = [{**event, "id": number} for number, event in enumerate(events, start=1)]
            return ActionResult({"events": numbered[::-1][: self._get_param("maxResults")]})
        return answer

    def release(self: Any) -> Any:
        try:
            with running.under_way():
                return running.invoke("release_lock", self.body, lambda _event: writes["delete_item"](self))
        except FunctionError as error:
            raise DynamodbException(error.error_type, str(error)) from error

    def list_users(self: Any) -> Any:
        from moto.core.responses import ActionResult

        marker, limit = self._get_param("Marker"), int(self._get_param("MaxItems") or 100)
        users = sorted(self.backend.list_users(self._get_param("PathPrefix"), None, None), key=lambda user: user.name)
        rest = [user for user in users if marker is None or user.name > marker]
        page = rest[:limit]
        more = {"IsTruncated": True, "Marker": page[-1].name} if len(rest) > limit else {"IsTruncated": False}
        return ActionResult({"Users": page, **more})

    def generate_report(self: Any) -> Any:
        answer = generate(self)
        header, _, rows = self.backend.get_credential_report().partition("\n")
        self.backend.made_report = f"{header}\n{_root_row()}\n{rows}", datetime.now(UTC)
        return answer

    def get_report(self: Any) -> Any:
        from moto.core.responses import ActionResult

        self.backend.get_credential_report()  # raises where there is none
        report, made_at = self.backend.made_report
        return ActionResult({"Content": report, "ReportFormat": "text/csv", "GeneratedTime": made_at})

    with (
        mock.patch.multiple(DynamoHandler, **writes | {"delete_item": release}),
        mock.patch.object(AmazonStateLanguageParser, "parse", staticmethod(parse)),
        mock.patch.object(StepFunctionsParserBackend, "_validate_definition", staticmethod(validate)),
        mock.patch.object(ResponseSerializer, "_serialize_structure_member", serialize_what_is_there),
        mock.patch.object(boto_client, "boto3", mock.Mock(client=client_of)),
        mock.patch.object(json_path, "parse", _parse_path),
        mock.patch.object(MotoExecution, "stop", stop_at_once),
        mock.patch.object(BaseExecutionWorkerCommunication, "_reflect_execution_status", reflect_own_status),
        mock.patch.multiple(
            StepFunctionResponse,
            create=True,  # it has no redrive_execution
            describe_execution=describe,
            get_execution_history=history,
            redrive_execution=redrive,
            start_execution=start,
        ),
        mock.patch.object(StateTaskServiceSfn, "_build_sync2_resolver", wait_for_child),
        mock.patch.object(state_task_service_callback, "_DELAY_SECONDS_SYNC_CONDITION_CHECK", 0.005),
        mock.patch.object(ResultPath, "_eval_body", apply_to_objects),
        mock.patch.object(ExecutionWorker, "_get_evaluation_environment", with_context),
        mock.patch.object(ExecutionWorker, "_get_evaluation_entrypoint", entrypoint),
        mock.patch.object(Environment, "set_error", keep_stopped),
        mock.patch.object(LambdaSimpleBackend, "invoke", invoke),
        mock.patch.multiple(
            IamResponse,
            list_users=list_users,
            generate_credential_report=generate_report,
            get_credential_report=get_report,
        ),
        mock.patch.object(retrier_decl, "time", mock.Mock(sleep=lambda seconds: None)),
    ):
        yield
