"""The AWS clients, made on first use and kept for the life of the process.

Three shortcuts leave out what the SDK does with every value of an answer, or before it tells of one: half of the CPU
time that a scan of thousands of users takes. Each comes to what the SDK would, for the calls that are made here.
"""

import json
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.utils import parse_timestamp

from functions.shared.errors import is_throttling

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_iam import IAMClient
    from types_boto3_organizations import OrganizationsClient
    from types_boto3_stepfunctions import SFNClient
    from types_boto3_sts import STSClient
    from types_boto3_sts.type_defs import CredentialsTypeDef

# A connection that hangs must end well before the function's own timeout, so that there is time for a retry.
_TIMEOUTS = {"connect_timeout": 5, "read_timeout": 15}


@cache
def _session() -> boto3.Session:
    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=instant_of)
    return boto3.Session(botocore_session=session)


def instant_of(value: Any) -> datetime:
    """Return the time that an answer names.

    ISO 8601, which IAM answers in, is read by Python: the SDK tries every format there is, which took two thirds of the
    time of ListUsers. The rest, such as seconds since 1970, is left to the SDK.
    """
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return parse_timestamp(value)


def _keep_items_as_they_came(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Take the items of a Query out of an answer, and put them beside what the SDK makes of the rest.

    It would copy each of their values, and come to the same: only a binary value it would decode, and none of the items
    that are queried has one. That took half of the time of PublishChanges.
    """
    if response_dict["status_code"] != 200:
        return
    answer = json.loads(response_dict["body"])
    if "Items" in answer:
        customized_response_dict["Items"] = answer.pop("Items")
        response_dict["body"] = json.dumps(answer).encode()


def _leave_throttling_to_the_caller(response: tuple[Any, dict[str, Any]] | None, operation: Any, **_: Any) -> None:
    """Raise a throttled call at once.

    WriteBatch waits by itself, some hundredths of a second at first, and knows when one of its calls has got through.
    The SDK would wait half a second, and then a whole one, on top, in which the index could have taken hundreds of
    records: with a thousand write units a second, and nothing kept of what was unused, a scan took twice as long.
    """
    if response is None:
        return
    error = ClientError(response[1], operation.name)  # type: ignore[arg-type]
    if "Error" in response[1] and is_throttling(error):
        raise error


@cache
def dynamodb() -> "DynamoDBClient":
    """Return the DynamoDB client. It retries little: WriteBatch has its own backoff, the steps have Retry."""
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 3},
        # DynamoDB checks every request itself; doing so here, too, took a third of WriteBatch's CPU time.
        parameter_validation=False,
        **_TIMEOUTS,  # type: ignore[arg-type]
    )
    client = _session().client("dynamodb", config=config)
    client.meta.events.register("before-parse.dynamodb.Query", _keep_items_as_they_came)
    client.meta.events.register("needs-retry.dynamodb.BatchWriteItem", _leave_throttling_to_the_caller)
    return client


@cache
def iam() -> "IAMClient":
    """Return the IAM client.

    The throttling limits of IAM are undocumented and shared with the account's production callers, so it retries
    patiently and slows itself down (botocore's adaptive mode).
    """
    return _session().client("iam", config=_iam_config(patient=True))


@cache
def brisk_iam() -> "IAMClient":
    """Return an IAM client that gives up sooner: for what a scan can go on without."""
    return _session().client("iam", config=_iam_config(patient=False))


def member_iam(credentials: "CredentialsTypeDef", *, patient: bool) -> "IAMClient":
    """Return an IAM client for another account. It is not kept: the next invocation may be for the next account."""
    return _session().client(
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
    return _session().client("sts", config=config)


@cache
def organizations() -> "OrganizationsClient":
    """Return the Organizations client. Its limits are shared by all callers in the organization, so it is patient."""
    config = Config(retries={"mode": "adaptive", "total_max_attempts": 8}, **_TIMEOUTS)  # type: ignore[arg-type]
    return _session().client("organizations", config=config)


@cache
def stepfunctions() -> "SFNClient":
    """Return the Step Functions client."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 5}, **_TIMEOUTS)  # type: ignore[arg-type]
    return _session().client("stepfunctions", config=config)


@cache
def events() -> "EventBridgeClient":
    """Return the EventBridge client. It retries little: PublishChanges sends again what was not taken."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 3}, **_TIMEOUTS)  # type: ignore[arg-type]
    return _session().client("events", config=config)
