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
    config = Config(retries={"mode": "adaptive", "total_max_attempts": 8}, **_TIMEOUTS)  # type: ignore[arg-type]
    return boto3.client("iam", config=config)


@cache
def brisk_iam() -> "IAMClient":
    """Return an IAM client that gives up sooner: for what a scan can go on without."""
    config = Config(retries={"mode": "adaptive", "total_max_attempts": 4}, **_TIMEOUTS)  # type: ignore[arg-type]
    return boto3.client("iam", config=config)


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
