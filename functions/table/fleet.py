"""The fleets: one item for each run of the organization machine: which accounts it was to scan, and what came of it.

It is a manifest like that of a scan, and changes by the same fence; ``accounts``, ``skipped`` and ``failed`` come with
it. What an account's scan has recorded is told by its own manifest, under the same scan_timestamp.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.table import wire
from functions.table.keys import FLEET, MANIFEST_USER_NAME
from functions.table.manifest import Manifest, Status
from functions.table.wire import Item

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class FleetAccount:
    """An account that a fleet was to scan."""

    account_id: str
    account_name: str | None = None
    role_arn: str | None = None
    """The role by which it is looked into; None for the deployment's own account."""


@dataclass(frozen=True)
class SkippedAccount:
    """An account that was there, and not to be scanned."""

    account_id: str
    account_name: str | None
    reason: str
    """For people: "SUSPENDED", "excluded" …"""


@dataclass(frozen=True)
class FailedAccount:
    """An account without a complete scan at the end of the last attempt."""

    account_id: str
    account_name: str | None
    error_type: str
    error_message: str
    """Shortened: the account's own manifest has it all, where there is one."""


@dataclass(frozen=True)
class Fleet:
    """A run of the organization machine, as its manifest tells of it."""

    scan_timestamp: str
    status: Status
    accounts: tuple[FleetAccount, ...]
    """Those that it was to scan, by their number; none where they could not be listed."""
    skipped: tuple[SkippedAccount, ...]
    failed: tuple[FailedAccount, ...]
    """Empty while it runs."""
    manifest: Manifest

    @classmethod
    def of(cls, manifest: Manifest) -> "Fleet":
        """Return the fleet of a manifest."""
        item = manifest.item
        accounts = tuple(_account(one, manifest) for one in item.get("accounts", ()))
        names = {one.account_id: one.account_name for one in accounts}
        return cls(
            scan_timestamp=manifest.scan_timestamp,
            status=manifest.status,
            accounts=accounts,
            skipped=tuple(
                SkippedAccount(one["account_id"], one.get("account_name"), one["reason"])
                for one in item.get("skipped", ())
            ),
            failed=tuple(
                FailedAccount(
                    one["account_id"], names.get(one["account_id"]), one["error_type"], one.get("error_message", "")
                )
                for one in item.get("failed", ())
            ),
            manifest=manifest,
        )


def fleets(dynamodb: "DynamoDBClient", table_name: str) -> list[Fleet]:
    """Return all fleets that have not expired, newest last."""
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table_name,
        KeyConditionExpression="user_name = :name AND begins_with(scan_timestamp, :prefix)",
        FilterExpression="#ttl > :now",
        ExpressionAttributeNames={"#ttl": "ttl"},
        ExpressionAttributeValues=wire.to_wire(
            {":name": MANIFEST_USER_NAME, ":prefix": FLEET.manifest_prefix, ":now": int(time.time())}
        ),
        ConsistentRead=True,
    )
    return [Fleet.of(Manifest(wire.from_wire(item))) for page in pages for item in page["Items"]]


def role_arn_of(account_id: str, role_name: str, partition: str) -> str:
    """Return the ARN of the role that a member account has for a deployment."""
    return f"arn:{partition}:iam::{account_id}:role/{role_name}"


def _account(entry: Item, manifest: Manifest) -> FleetAccount:
    """Return an account of a manifest, which names the role of all of them once: thousands of ARNs would not fit."""
    account_id: str = entry["account_id"]
    role_name: Any = manifest.item.get("role_name")
    if role_name is None or account_id == manifest.account_id:
        return FleetAccount(account_id, entry.get("account_name"))
    partition = manifest.execution_arn.split(":")[1]
    return FleetAccount(account_id, entry.get("account_name"), role_arn_of(account_id, role_name, partition))
