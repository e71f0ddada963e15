"""Emulators for these tests, with and without the corrections, and short ways to fill them."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

from tests.local_aws.aws import emulator
from tests.local_aws.aws.corrections import CORRECTIONS
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import boto3

    from tests.local_aws.aws.emulator import Emulator

# Waits and retries take a tenth of their time.
SETTINGS = {"SFN_WAIT_SCALE": "0.1"}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["lambda.amazonaws.com", "states.amazonaws.com", "events.amazonaws.com"]},
            "Action": "sts:AssumeRole",
        }
    ],
}

# Of all accounts: several modules have one of the same emulator.
_NUMBERS = itertools.count(1)


class Account:
    """The AWS account of one emulator."""

    def __init__(self, emulator: Emulator) -> None:
        session = emulator.session()
        self.iam: Any = session.client("iam")
        self.functions: Any = session.client("lambda")
        self.states: Any = session.client("stepfunctions")
        # TestState has a host of its own on AWS, which a local endpoint has not.
        self.states_without_host_prefix: Any = session.client("stepfunctions", config=Config(inject_host_prefix=False))
        self.metrics: Any = session.client("cloudwatch")
        self.logs: Any = session.client("logs")
        self.events: Any = session.client("events")
        self.tables: Any = session.client("dynamodb")
        self.queues: Any = session.client("sqs")
        self.topics: Any = session.client("sns")
        self.emulator = emulator
        self._sts: Any = session.client("sts")

    @cached_property
    def admin(self) -> str:
        """Return the ARN of a role that may do everything."""
        return self.role("*")

    def name(self, prefix: str) -> str:
        """Return a name that nothing else in the account has."""
        return f"{prefix}-{next(_NUMBERS)}"

    def role(self, *actions: str, resource: str = "*") -> str:
        """Create a role that allows these actions, and return its ARN."""
        name = self.name("role")
        arn: str = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        if actions:
            statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            self.iam.put_role_policy(RoleName=name, PolicyName="policy", PolicyDocument=policy)
        return arn

    def client(self, service: str, protocol: str) -> Any:
        """Return a client that speaks one protocol of a service, such as "query", not the one that boto3 prefers."""
        session: Any = self.emulator.session()
        loader = session._session.get_component("data_loader")
        loader.load_service_model(service, "service-2")["metadata"]["protocols"] = [protocol]
        return session.client(service)

    def assume(self, role: str, name: str = "test") -> boto3.Session:
        """Return a session of this name that acts as a role."""
        credentials = self._sts.assume_role(RoleArn=role, RoleSessionName=name)["Credentials"]
        return self.emulator.session(
            credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]
        )

    def function(
        self,
        files: str | Mapping[str, str],
        *,
        name: str | None = None,
        handler: str = "main.handler",
        timeout: int = 10,
    ) -> str:
        """Create a Python function from its source, or its files, and return its name."""
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            for path, text in ({"main.py": files} if isinstance(files, str) else files).items():
                archive.writestr(path, text)
        name = name or self.name("function")
        self.functions.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=self.admin,
            Handler=handler,
            Timeout=timeout,
            Code={"ZipFile": package.getvalue()},
        )
        return name

    def invoke(self, function: str, event: object = None) -> tuple[Any, bool]:
        """Invoke a function and return its payload and whether that is an error."""
        response = self.functions.invoke(FunctionName=function, Payload=json.dumps(event))
        return json.load(response["Payload"]), "FunctionError" in response

    def start(
        self, states: Mapping[str, Any], data: object = None, *, role: str | None = None, **machine: object
    ) -> str:
        """Start an execution of a machine that begins with the first of these states, and return its ARN."""
        definition = {"StartAt": next(iter(states)), "States": states, **machine}
        arn = self.states.create_state_machine(
            name=self.name("machine"), definition=json.dumps(definition), roleArn=role or self.admin
        )["stateMachineArn"]
        execution: str = self.states.start_execution(stateMachineArn=arn, input=json.dumps(data or {}))["executionArn"]
        return execution

    def wait(self, execution: str, seconds: float = 20) -> dict[str, Any]:
        """Wait for an execution's end and describe it."""

        def ended() -> dict[str, Any] | None:
            description: dict[str, Any] = self.states.describe_execution(executionArn=execution)
            return description if description["status"] != "RUNNING" else None

        description = eventually(
            ended, lambda: f"still running: {self.history(execution)}", seconds=seconds, every=0.03
        )
        assert description is not None
        return description

    def history(self, execution: str) -> list[str]:
        """Return the types of an execution's events."""
        events = self.states.get_execution_history(executionArn=execution, maxResults=1000)["events"]
        return [event["type"] for event in events]


@pytest.fixture(scope="session")
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    log_file = tmp_path_factory.mktemp("emulator") / "emulator.log"
    with emulator.running(log_file=log_file, environment=SETTINGS) as running:
        yield running


@pytest.fixture(scope="session")
def aws(local_aws: Emulator) -> Account:
    """Return the corrected emulator's account."""
    return Account(local_aws)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Run an emulator without any correction, and return its account."""
    log_file = tmp_path_factory.mktemp("bare") / "emulator.log"
    with emulator.running(log_file=log_file, environment=SETTINGS, without=CORRECTIONS) as running:
        yield Account(running)
