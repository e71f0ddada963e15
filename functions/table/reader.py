"""Reads scans and records out of the table, page by page, and knows when the index is behind."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from functions.shared import timestamps
from functions.table import wire
from functions.table.keys import MANIFEST_SORT_KEY_PREFIX, MANIFEST_USER_NAME, OWN, Keys, member_of, member_range
from functions.table.manifest import Manifest
from functions.table.record import INDEX
from functions.table.scans import RecordedScan
from functions.table.wire import Item

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# A record's sort key is a time and begins with a digit; those of the manifests and of the lock do not.
_AFTER_ALL_TIMES = ":"

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
_KEYS_PER_CALL = 100

_WAITS = (0.2, 0.4, 0.8, 1.6)
"""How long the index is waited for, in seconds, between one query and the next."""

_SETTLED = timedelta(minutes=10)
"""An index is behind by a second, or by minutes at worst: that of an older scan is as good as it will be."""


class TableBusy(Exception):  # noqa: N818 - it is what the table says
    """DynamoDB left keys unprocessed in every try."""


def get_items(
    dynamodb: "DynamoDBClient",
    table_name: str,
    keys: Iterable[Mapping[str, str]],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Item]:
    """Yield the items of keys, of which none is there twice, read consistently; in no particular order.

    Raises
    ------
    TableBusy
        DynamoDB throttled every try.
    """
    wanted = iter(keys)
    while some := [wire.to_wire(key) for key in islice(wanted, _KEYS_PER_CALL)]:
        for wait in (*_WAITS, None):
            response = dynamodb.batch_get_item(RequestItems={table_name: {"Keys": some, "ConsistentRead": True}})
            for item in response.get("Responses", {}).get(table_name, []):
                yield wire.from_wire(item)
            unprocessed: Mapping[str, Any] = response.get("UnprocessedKeys", {})
            some = list(unprocessed.get(table_name, {}).get("Keys", []))
            if not some:
                break
            if wait is None:
                raise TableBusy(f"DynamoDB throttles: {len(some)} records of {table_name} could not be read")
            sleep(wait)


@dataclass(frozen=True)
class Reader:
    """The scans and records of one account, in the records table.

    Every record that it yields has the name of the user as its ``user_name``, whatever its key is.

    Parameters
    ----------
    keys
        Those of the account.
    now
        What has expired then is left out: DynamoDB deletes it within days only.
    sleep
        Waits for the index.
    pages
        How one goes from page to page of the index; ``ahead`` fetches the next one while this one is worked on.
    """

    dynamodb: "DynamoDBClient"
    table_name: str
    now: datetime = field(default_factory=lambda: timestamps.now())
    sleep: Callable[[float], None] = time.sleep
    keys: Keys = OWN
    pages: Callable[[Iterable[Any]], Iterable[Any]] = iter

    def scans(self, *, newest_first: bool = True, until: str | None = None) -> Iterator[RecordedScan]:
        """Yield the scans, by their scan_timestamp, and no newer ones than ``until``."""
        for item in self.about_scans(MANIFEST_SORT_KEY_PREFIX, newest_first=newest_first, until=until):
            yield RecordedScan.of(Manifest(item))

    def about_scans(self, prefix: str, *, newest_first: bool = True, until: str | None = None) -> Iterator[Item]:
        """Yield the items of one kind, one for each scan, by the scan_timestamp.

        Parameters
        ----------
        prefix
            How their sort keys begin, without what tells of which account they are.
        until
            The last scan_timestamp of which there may be one: what is newer is not read.
        """
        first = self.keys.about(prefix)
        keys = {":prefix": first} if until is None else {":first": first, ":last": first + until}
        condition = (
            "begins_with(scan_timestamp, :prefix)" if until is None else "scan_timestamp BETWEEN :first AND :last"
        )
        return self._query(
            KeyConditionExpression=f"user_name = :name AND {condition}",
            ExpressionAttributeValues={":name": MANIFEST_USER_NAME, **keys},
            ScanIndexForward=not newest_first,
            ConsistentRead=True,
        )

    def of_name(self, user_name: str) -> Iterator[Item]:
        """Yield all records of a user name, oldest scan first."""
        if not self.keys.holds(self.keys.user_prefix + user_name):
            # No user is called so, but the record of another account's user may have this key.
            return iter(())
        found = self._query(
            KeyConditionExpression="user_name = :name AND scan_timestamp < :end",
            ExpressionAttributeValues={":name": self.keys.user_prefix + user_name, ":end": _AFTER_ALL_TIMES},
            ConsistentRead=True,
        )
        return map(self._plain, found)

    def of_scan(self, scan: RecordedScan) -> "Listing":
        """Return the records of a scan, in no particular order."""
        return Listing(self, scan)

    def in_scan(self, scan: RecordedScan, user_names: Iterable[str]) -> dict[str, Item]:
        """Return the records that users have in a scan, by their names, read consistently.

        Raises
        ------
        TableBusy
            DynamoDB throttled every try.
        """
        keys = (self.keys.record(name, scan.scan_timestamp) for name in sorted(set(user_names)))
        found: dict[str, Item] = {}
        for item in map(self._plain, get_items(self.dynamodb, self.table_name, keys, sleep=self.sleep)):
            if int(item.get("ttl", 0)) > self._now and scan.holds(item):
                found[str(item["user_name"])] = item
        return found

    def index_of(self, scan: RecordedScan) -> Iterator[Item]:
        """Yield what the index has of a scan now."""
        condition, values = "scan_timestamp = :scan", {":scan": scan.scan_timestamp}
        # Of a scan of many accounts, those of a member stand together: they only are read, and paid for. Those of the
        # deployment's own account stand everywhere between, and all are read; but its own only are sent.
        if self.keys.user_prefix:
            condition += " AND begins_with(user_name, :account)"
            values[":account"], of_account = self.keys.user_prefix, ""
        else:
            # Records from before it was recorded have none.
            of_account = " AND (attribute_not_exists(account_id) OR account_id = :account)"
            values[":account"] = scan.manifest.account_id
        items = self._query(
            self.pages,
            of_account,
            IndexName=INDEX,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
        )
        return (self._plain(item) for item in items if self.keys.holds(item["user_name"]) and scan.holds(item))

    def waits_for(self, scan: RecordedScan) -> Sequence[float]:
        """Return how long to wait for the index of a scan, between one query and the next."""
        return () if scan.listed_until is not None and self.now - scan.listed_until > _SETTLED else _WAITS

    def _plain(self, record: Item) -> Item:
        """Return a record as it is read: with the name of the user, whatever its key is."""
        return {**record, "user_name": self.keys.user_name(record["user_name"])} if self.keys.user_prefix else record

    @property
    def _now(self) -> int:
        return int(self.now.timestamp())

    def _query(
        self,
        in_turn: Callable[[Iterable[Any]], Iterable[Any]] = iter,
        and_only: str = "",
        *,
        ExpressionAttributeValues: Item,  # noqa: N803 - as in the API
        **query: Any,
    ) -> Iterator[Item]:
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self.table_name,
            FilterExpression=f"#ttl > :now{and_only}",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues=wire.to_wire({**ExpressionAttributeValues, ":now": self._now}),
            **query,
        )
        for page in in_turn(pages):
            for item in page["Items"]:
                yield wire.from_wire(item)


def members(dynamodb: "DynamoDBClient", table_name: str) -> Iterator[str]:
    """Yield the member accounts of which anything is kept, by their number.

    An account may have thousands of manifests: none but its first is read, and the next account is asked for.
    """
    after, end = member_range()
    while True:
        page = dynamodb.query(
            TableName=table_name,
            KeyConditionExpression="user_name = :name AND scan_timestamp BETWEEN :first AND :last",
            ExpressionAttributeValues=wire.to_wire({":name": MANIFEST_USER_NAME, ":first": after, ":last": end}),
            ConsistentRead=True,
            Limit=1,
        )
        if not page["Items"]:
            return
        member = member_of(wire.from_wire(page["Items"][0])["scan_timestamp"])
        yield member
        after, _ = member_range(member)


class Listing:
    """The records of a scan, yielded while they are read.

    The index is eventually consistent: while it yields fewer records than the scan has written, it is asked again, for
    a few seconds.

    Attributes
    ----------
    found
        How many records there were, when all have been yielded, that the scan's last listing has written. What is left
        of a listing shortly before must not make up for one that is missing.
    """

    def __init__(self, reader: Reader, scan: RecordedScan) -> None:
        self.scan = scan
        self.found = 0
        self._reader = reader

    def __iter__(self) -> Iterator[Item]:
        seen: set[str] = set()
        self.found = 0
        for wait in (*self._reader.waits_for(self.scan), None):
            for record in self._reader.index_of(self.scan):
                if record["user_name"] not in seen:
                    seen.add(str(record["user_name"]))
                    self.found += self.scan.counts(record)
                    yield record
            if wait is None or not self.missing:
                return
            self._reader.sleep(wait)

    @property
    def missing(self) -> int:
        """How many records fewer there were than the scan has written."""
        return max(0, self.scan.records_written - self.found)
