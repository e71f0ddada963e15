"""Which deployment the commands are about."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from functions.operations.errors import OperationError

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_stepfunctions import SFNClient

DEFAULT_NAME = "iam-user-monitor"
DEFAULT_TABLE = "iam-user-records"
INDEX = "scan-timestamp-index"


@dataclass(frozen=True)
class Stack:
    """A deployment, reached with the credentials, the region and the endpoint of the environment."""

    dynamodb: "DynamoDBClient"
    stepfunctions: "SFNClient"
    table_name: str
    state_machine_arn: str

    @classmethod
    def from_environment(cls) -> "Stack":
        """Find the deployment: STATE_MACHINE_ARN and DYNAMODB_TABLE_NAME, or the default names in account and region.

        Raises
        ------
        OperationError
            There are no credentials, or no region.
        """
        try:
            session = boto3.Session()
            if session.region_name is None:
                raise OperationError("no region is set; set AWS_REGION, or AWS_PROFILE to a profile with one")
            arn = os.environ.get("STATE_MACHINE_ARN") or cls._default_arn(session)
            dynamodb = session.client("dynamodb")
            stepfunctions = session.client("stepfunctions")
        except (BotoCoreError, ClientError) as error:
            raise OperationError(f"AWS cannot be reached with these credentials: {error}") from error
        return cls(dynamodb, stepfunctions, os.environ.get("DYNAMODB_TABLE_NAME") or DEFAULT_TABLE, arn)

    @staticmethod
    def _default_arn(session: boto3.Session) -> str:
        identity = session.client("sts").get_caller_identity()
        partition = identity["Arn"].split(":")[1]
        return f"arn:{partition}:states:{session.region_name}:{identity['Account']}:stateMachine:{DEFAULT_NAME}"
