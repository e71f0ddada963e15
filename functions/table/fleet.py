"""The fleets: one item for each run of the organization machine: which accounts it was to scan, and what came of it.

It is a manifest like that of a scan, and changes by the same fence; ``accounts``, ``skipped`` and ``failed`` come with
it. What an account's scan has recorded is told by its own manifest, under the same scan_timestamp.
"""

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.shared.model import AccountFailure, FleetSummary, NamedAccountFailure
from functions.shared.run import Run
from functions.table import wire
from functions.table.keys import FLEET, MANIFEST_USER_NAME, Keys
from functions.table.manifest import Manifest, Status
from functions.table.reader import get_items
from functions.table.wire import Item

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# An item may have 400 KB (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html): these
# parts leave room for the rest of the manifest.
_ACCOUNTS_BYTES = 160_000
_SKIPPED_BYTES = 30_000
_FAILED_BYTES = 190_000

_NAME_LENGTHS = (64, 50, 40, 30, 20, 10, 0)
_ERROR_LENGTHS = ((45, 300), (45, 200), (45, 100), (45, 50), (45, 20), (45, 0), (25, 0))
"""So much of the names of errors, and of their messages."""


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


def scans_of(dynamodb: "DynamoDBClient", table_name: str, fleet: Fleet, own_account: str) -> dict[str, Manifest]:
    """Return the manifests that the accounts of a fleet have under its scan_timestamp, by account; read consistently.

    Raises
    ------
    TableBusy
        DynamoDB throttled every try.
    """
    keys = {
        account.account_id: keys_of(account.account_id, own_account).manifest(fleet.scan_timestamp)
        for account in fleet.accounts
    }
    accounts = {key["scan_timestamp"]: account_id for account_id, key in keys.items()}
    return {accounts[item["scan_timestamp"]]: Manifest(item) for item in get_items(dynamodb, table_name, keys.values())}


def keys_of(account_id: str, own_account: str) -> Keys:
    """Return the keys of an account of a fleet."""
    return Keys(None if account_id == own_account else account_id)


NAMED_FAILURES = 10
"""So many accounts that failed are named in the output and the cause of an execution; the manifest has them all."""


def summary_of(fleet: Fleet, *, unannounced: str | None = None) -> FleetSummary:
    """Return what the state machine is told of a fleet."""
    item = fleet.manifest.item
    return FleetSummary(
        status=fleet.status,
        attempt=fleet.manifest.attempt,
        accounts=len(fleet.accounts),
        accounts_scanned=int(item.get("accounts_scanned", 0)),
        accounts_failed=int(item.get("accounts_failed", 0)),
        duration_ms=int(item.get("duration_ms", 0)),
        failed=[
            NamedAccountFailure(
                account_id=one.account_id,
                account_name=one.account_name,
                error_type=one.error_type,
                error_message=one.error_message,
            )
            for one in fleet.failed[:NAMED_FAILURES]
        ],
        unannounced=unannounced,
    )


def children_of(run: Run) -> str:
    """Return what the names of the executions end with that scan the accounts for a run of the organization machine.

    The same in each of its attempts, and other than for any other run: StartExecution of a name that is taken tells
    that the execution is there already.
    """
    moment = run.scan_timestamp.replace("-", "").replace(":", "")
    return f"{moment}-{hashlib.sha256(run.execution_arn.encode()).hexdigest()[:8]}"


def plan_of(accounts: Sequence[FleetAccount], skipped: Sequence[SkippedAccount], role_name: str) -> Item:
    """Return what the manifest of a fleet says of its accounts, from its first attempt on.

    Thousands of long names, or of skipped accounts, are more than an item holds: names are shortened, all alike, and of
    the skipped accounts only the first are named; ``accounts_skipped`` counts them all.
    """
    for length in _NAME_LENGTHS:
        entries = [_entry(one.account_id, (one.account_name or "")[:length]) for one in accounts]
        if _size(entries) <= _ACCOUNTS_BYTES:
            break
    left_out: list[Item] = []
    for one in skipped:
        entry = {**_entry(one.account_id, one.account_name), "reason": one.reason}
        if _size([*left_out, entry]) > _SKIPPED_BYTES:
            break
        left_out.append(entry)
    return {"accounts": entries, "skipped": left_out, "accounts_skipped": len(skipped), "role_name": role_name}


def failures_of(failed: Iterable[FailedAccount]) -> list[AccountFailure]:
    """Return what the manifest of a fleet says of accounts that failed: as much of each error as fits for all."""
    known = list(failed)
    for name_length, length in _ERROR_LENGTHS:
        entries = [
            AccountFailure(
                account_id=one.account_id,
                error_type=one.error_type[:name_length],
                error_message=one.error_message[:length],
            )
            for one in known
        ]
        if _size(entries) <= _FAILED_BYTES:
            break
    return entries


def _entry(account_id: str, account_name: str | None) -> Item:
    return {"account_id": account_id, **({"account_name": account_name} if account_name else {})}


def _size(value: Any) -> int:
    """Return about how many bytes a value takes in an item of DynamoDB, rather too many.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    match value:
        case str():
            return len(value.encode())
        case list():
            return 3 + sum(1 + _size(inner) for inner in value)
        case dict():
            return 3 + sum(1 + len(name) + _size(inner) for name, inner in value.items())
    return 21


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
