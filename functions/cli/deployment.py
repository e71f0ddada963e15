"""Which deployment a command is about: its account, its region, its table and its state machine."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from functions.cli.errors import CommandError, ExitStatus
from functions.cli.values import ALL

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_stepfunctions import SFNClient

DEFAULT_NAME = "iam-user-monitor"
DEFAULT_TABLE = "iam-user-records"
_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 6}, connect_timeout=5, read_timeout=30)


@dataclass
class Deployment:
    """A deployment, reached with the credentials and the endpoint of the environment, as the AWS CLI does."""

    profile: str | None = None
    region: str | None = None
    table: str = DEFAULT_TABLE
    state_machine: str | None = None
    quiet: bool = False
    _told: bool = field(default=False, repr=False)

    @cached_property
    def session(self) -> boto3.Session:
        """The session: of --region, AWS_REGION, AWS_DEFAULT_REGION or the profile's region, the first that is set."""
        region = self.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None
        session = boto3.Session(profile_name=self.profile, region_name=region)
        if session.region_name is None:
            raise CommandError("no region is set; give --region, or set AWS_REGION, or a profile that has one")
        return session

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """A client of the table."""
        return self.session.client("dynamodb", config=_CONFIG)

    @cached_property
    def events(self) -> "EventBridgeClient":
        """A client of the event buses."""
        return self.session.client("events", config=_CONFIG)

    @cached_property
    def stepfunctions(self) -> "SFNClient":
        """A client of the state machine."""
        return self.session.client("stepfunctions", config=_CONFIG)

    @cached_property
    def identity(self) -> tuple[str, str]:
        """Partition and account of the credentials."""
        identity = self.session.client("sts", config=_CONFIG).get_caller_identity()
        return identity["Arn"].split(":")[1], identity["Account"]

    @property
    def account(self) -> str:
        """The account that is asked."""
        named = self.state_machine or ""
        return named.split(":")[4] if named.startswith("arn:") and named.count(":") >= 6 else self.identity[1]

    @property
    def state_machine_arn(self) -> str:
        """The state machine: given by its ARN or its name, or the one of the default name."""
        named = self.state_machine or DEFAULT_NAME
        if named.startswith("arn:"):
            if ":stateMachine:" not in named:
                raise CommandError(f"--state-machine must be the ARN or the name of a state machine, got {named!r}")
            return named
        partition, account = self.identity
        return f"arn:{partition}:states:{self.session.region_name}:{account}:stateMachine:{named}"

    def introduce(self, asked: str | None = None) -> str:
        """Return one line that says whom a command talks to, and of which account where that is said."""
        endpoint = self.dynamodb.meta.endpoint_url
        told = f"account {self.account}, region {self.session.region_name}, table {self.table}"
        if asked is not None:
            told += f", asked for account {asked}" if asked != ALL else ", asked for all accounts"
        return told if endpoint.startswith("https://dynamodb") else f"{told}, endpoint {endpoint}"


def refused(message: str) -> CommandError:
    """Return the error of a call that AWS refused."""
    return CommandError(message, ExitStatus.NO_ANSWER)
