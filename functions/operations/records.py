"""Reads scans and users out of the records table, page by page."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from functions.operations.errors import OperationError
from functions.operations.stack import INDEX, Stack
from functions.shared.timestamps import parse, to_seconds
from functions.table import wire
from functions.table.manifest import MANIFEST_SORT_KEY_PREFIX, MANIFEST_USER_NAME, Status
from functions.table.wire import Item

LATEST = "latest"
COMPARED = ("arn", "create_date", "password_last_used")
"""What may change of a user who stays the same; a new user_id is another user of the same name."""
# A record's sort key is a time and begins with a digit; those of the manifests and of the lock do not.
_AFTER_ALL_TIMES = ":"


@dataclass(frozen=True)
class Change:
    """What became of a user between two scans: created, deleted, recreated or changed, and which attributes."""

    user_name: str
    change: str
    attributes: tuple[str, ...] = ()
    before: Item | None = None
    after: Item | None = None


def scans(stack: Stack, *, newest_first: bool = True) -> Iterator[Item]:
    """Yield the manifests of the scans that have not expired."""
    yield from _query(
        stack,
        KeyConditionExpression="user_name = :name AND begins_with(scan_timestamp, :prefix)",
        ExpressionAttributeValues=wire.to_wire(
            {":name": MANIFEST_USER_NAME, ":prefix": MANIFEST_SORT_KEY_PREFIX, ":now": _now()}
        ),
        ScanIndexForward=not newest_first,
    )


def timestamp_of(manifest: Item) -> str:
    """Return the scan_timestamp of a manifest's scan."""
    return str(manifest["scan_timestamp"]).removeprefix(MANIFEST_SORT_KEY_PREFIX)


def latest_execution(stack: Stack) -> str:
    """Return the ARN of the execution that began the newest scan; an OperationError if there is none."""
    for manifest in scans(stack):
        return str(manifest["execution_arn"])
    raise OperationError("no scan has begun yet; `make start` starts one")


def choose_scan(stack: Stack, *, scan: str = "", at: str = "") -> str:
    """Return the scan_timestamp of a scan that may be trusted: one that recorded every user.

    Parameters
    ----------
    scan
        A scan_timestamp, or ``latest``, which an empty text means, too.
    at
        A moment, ISO 8601: the last such scan up to it.

    Raises
    ------
    OperationError
        There is no such scan, or it may not be trusted, or the moment is none.
    """
    if scan and at:
        raise OperationError(f"SCAN={scan} and AT={at} are two answers to one question; set one of them")
    if at:
        moment = to_seconds(_moment(at))
        for manifest in scans(stack):
            if timestamp_of(manifest) <= moment and manifest["status"] == Status.COMPLETE:
                return timestamp_of(manifest)
        raise OperationError(f"AT={at}: no scan up to then has recorded every user; `make scans` lists them")
    wanted = None if scan in {"", LATEST} else to_seconds(_moment(scan, "SCAN"))
    for manifest in scans(stack):
        found = timestamp_of(manifest)
        if wanted is None and manifest["status"] == Status.COMPLETE:
            return found
        if found == wanted:
            if manifest["status"] != Status.COMPLETE:
                raise OperationError(
                    f"SCAN={scan} may not be trusted: it is {manifest['status']}, so users may be missing; choose one "
                    "that is COMPLETE (`make scans`), or redrive it"
                )
            return found
    if wanted is None:
        raise OperationError("no scan has recorded every user yet; `make scans` lists them, `make start` starts one")
    raise OperationError(f"SCAN={scan}: there is no such scan, or it has expired; `make scans` lists them")


def users(stack: Stack, scan_timestamp: str) -> Iterator[Item]:
    """Yield the users of a scan, in no particular order."""
    yield from _query(
        stack,
        IndexName=INDEX,
        KeyConditionExpression="scan_timestamp = :scan",
        ExpressionAttributeValues=wire.to_wire({":scan": scan_timestamp, ":now": _now()}),
    )


def history(stack: Stack, user_name: str) -> Iterator[tuple[str, str, Item | None]]:
    """Yield what each scan knows of a user, oldest first: its scan_timestamp, what changed, and the record.

    A scan that recorded every user but this one says that there was none of this name; its record is None.

    Raises
    ------
    OperationError
        No scan has recorded the user.
    """
    trusted = (timestamp_of(one) for one in scans(stack, newest_first=False) if one["status"] == Status.COMPLETE)
    scan, previous, seen, absent = next(trusted, None), None, False, False
    records = _query(
        stack,
        KeyConditionExpression="user_name = :name AND scan_timestamp < :end",
        ExpressionAttributeValues=wire.to_wire({":name": user_name, ":end": _AFTER_ALL_TIMES, ":now": _now()}),
    )
    for record in records:
        found = str(record["scan_timestamp"])
        while scan is not None and scan < found:
            if seen and not absent:
                yield scan, "deleted", None
                absent = True
            scan = next(trusted, None)
        if scan == found:
            scan = next(trusted, None)
        yield found, _change_of(previous, record, absent), record
        previous, seen, absent = record, True, False
    if not seen:
        raise OperationError(f"USER={user_name}: no scan has recorded a user of this name; `make users` lists the last")
    if scan is not None:
        yield scan, "deleted", None


def _change_of(previous: Item | None, record: Item, absent: bool) -> str:
    if previous is None:
        return "first seen"
    if previous["user_id"] != record["user_id"]:
        return "recreated"
    changed = changed_attributes(previous, record)
    if changed:
        return ", ".join(changed)
    return "seen again" if absent else ""


def changed_attributes(before: Item, after: Item) -> tuple[str, ...]:
    """Return which attributes of a user differ."""
    return tuple(name for name in COMPARED if before.get(name) != after.get(name))


def diff(stack: Stack, before: str, after: str) -> Iterator[Change]:
    """Yield what became of users between two scans. Only the users of the first are held in memory."""
    left = {str(user["user_name"]): user for user in users(stack, before)}
    for user in users(stack, after):
        name = str(user["user_name"])
        former = left.pop(name, None)
        if former is None:
            yield Change(name, "created", after=user)
        elif former["user_id"] != user["user_id"]:
            yield Change(name, "recreated", ("user_id", *changed_attributes(former, user)), former, user)
        elif changed := changed_attributes(former, user):
            yield Change(name, "changed", changed, former, user)
    for name, former in sorted(left.items()):
        yield Change(name, "deleted", before=former)


def _query(stack: Stack, **query: Any) -> Iterator[Item]:
    # DynamoDB deletes expired items within days only: readers leave them out.
    pages = stack.dynamodb.get_paginator("query").paginate(
        TableName=stack.table_name,
        FilterExpression="#ttl > :now",
        ExpressionAttributeNames={"#ttl": "ttl"},
        **query,
    )
    for page in pages:
        for item in page["Items"]:
            yield wire.from_wire(item)


def _moment(text: str, name: str = "AT") -> datetime:
    try:
        return parse(text)
    except ValueError:
        raise OperationError(
            f"{name} must be an ISO 8601 time in UTC, such as 2026-01-31T00:00Z"
            + (f", or {LATEST}" if name != "AT" else "")
            + f", got {text!r}"
        ) from None


def _now() -> int:
    return int(datetime.now(UTC).timestamp())
