"""The AWS clients, made on first use and kept for the life of the process."""

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_iam import IAMClient
    from types_boto3_stepfunctions import SFNClient
    from types_boto3_sts import STSClient
    from types_boto3_sts.type_defs import CredentialsTypeDef

# A connection that hangs must end well before the function's own timeout, so that there is time for a retry.
_TIMEOUTS = {"connect_timeout": 5, "read_timeout": 15}


@cache
def dynamodb() -> "DynamoDBClient":
    """Return the DynamoDB client. It retries little: WriteBatch has its own backoff, the steps have Retry."""
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 3},
        # DynamoDB checks every request itself; doing so here, too, took a third of WriteBatch's CPU time.
        parameter_validation=False,
        **_TIMEOUTS,  # type: ignore[arg-type]
    )
    return boto3.client("dynamodb", config=config)


@cache
def iam() -> "IAMClient":
    """Return the IAM client.

    The throttling limits of IAM are undocumented and shared with the account's production callers, so it retries
    patiently and slows itself down (botocore's adaptive mode).
    """
    return boto3.client("iam", config=_iam_config(patient=True))


@cache
def brisk_iam() -> "IAMClient":
    """Return an IAM client that gives up sooner: for what a scan can go on without."""
    return boto3.client("iam", config=_iam_config(patient=False))


def member_iam(credentials: "CredentialsTypeDef", *, patient: bool) -> "IAMClient":
    """Return an IAM client for another account. It is not kept: the next invocation may be for the next account."""
    return boto3.client(
        "iam",
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        config=_iam_config(patient=patient),
    )


def _iam_config(*, patient: bool) -> Config:
    return Config(
        retries={"mode": "adaptive", "total_max_attempts": 8 if patient else 4},
        **_TIMEOUTS,  # type: ignore[arg-type]
    )


@cache
def sts() -> "STSClient":
    """Return the STS client, which gives the credentials of member accounts' roles."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 4}, **_TIMEOUTS)  # type: ignore[arg-type]
    return boto3.client("sts", config=config)


@cache
def stepfunctions() -> "SFNClient":
    """Return the Step Functions client."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 5}, **_TIMEOUTS)  # type: ignore[arg-type]
    return boto3.client("stepfunctions", config=config)


@cache
def events() -> "EventBridgeClient":
    """Return the EventBridge client. It retries little: PublishChanges sends again what was not taken."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 3}, **_TIMEOUTS)  # type: ignore[arg-type]
    return boto3.client("events", config=config)
