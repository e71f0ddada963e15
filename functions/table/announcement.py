"""What was announced, up to which scan: the cursor of the change events, and who may move it.

Scans are announced one after another, in the order in which they listed. A call of PublishChanges may be late, be
repeated, or end anywhere; two may work at the same time. So the cursor is a small state machine, and each of its
transitions one conditional write:

================= ================= =================================================================================
the cursor is     event             and becomes
================= ================= =================================================================================
absent            plan N            next N: N is the first scan, and announces a baseline only
at S              plan N            at S, next N: from here on, whoever publishes announces N after S
at S, next N      settle N          at N, with the picture of what is announced; ``changes#N`` says what it was
at S, next N      give N up         at S: N's manifest has expired before it could be announced
anything else     anything          unchanged: somebody else was faster, and the caller looks again
================= ================= =================================================================================

That the next scan is fixed before its first event is sent makes the ids of its events the same whoever sends them, and
however often: an id is made of the pair of scans. Events are at least once, like the metrics: they are sent before the
cursor moves, so that a crash between the two repeats and never loses them.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from functions.shared import timestamps
from functions.shared.model import Chunks
from functions.table import chunks, wire
from functions.table.chunks import Unreadable
from functions.table.detection import KINDS, Detection, Options, Picture
from functions.table.keys import OWN, Keys, scan_timestamp_of
from functions.table.scans import RecordedScan
from functions.table.wire import Item

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

CURSOR_SORT_KEY = "changes"
ANNOUNCEMENT_SORT_KEY_PREFIX = "changes#"
PICTURE_SORT_KEY = "baseline"

PICTURE_KEPT_DAYS = 28
"""For so long at least a scan can be announced again exactly as it was, and publication may fail without a trace. After
that, the records of the last announced scan take the picture's place."""
PICTURE_RENEWED_DAYS = 7
"""So often is a picture written again that stays the same: every time would cost a write unit for each KB of it."""

_NOWHERE = "attribute_not_exists(#scan)"
_NOTHING_PLANNED = "attribute_not_exists(#next)"
_PLANNED = "#next.#scan = :next"


@dataclass(frozen=True)
class Plan:
    """A scan that is being announced, and how."""

    scan_timestamp: str
    options: Options


@dataclass(frozen=True)
class Cursor:
    """Up to which scan everything was announced.

    Attributes
    ----------
    scan_timestamp
        None before the first one.
    listed_until
        When it had ended to list; None before the first one.
    picture
        Where the picture of what was announced is kept, None before the first scan.
    picture_expires
        When it expires, epoch seconds.
    plan
        The scan after it that is being announced, if any.
    """

    scan_timestamp: str | None = None
    listed_until: datetime | None = None
    picture: Chunks | None = None
    picture_expires: int = 0
    plan: Plan | None = None

    @classmethod
    def of(cls, item: Item) -> "Cursor":
        """Return the stored cursor."""
        planned, until = item.get("next"), item.get("listed_until")
        return cls(
            scan_timestamp=item.get("scan"),
            listed_until=timestamps.parse(until) if until is not None else None,
            picture=item.get("picture"),
            picture_expires=item.get("picture_expires", 0),
            plan=_plan_of(planned) if planned is not None else None,
        )


@dataclass(frozen=True)
class Announcement:
    """What was announced of a scan.

    Attributes
    ----------
    previous
        The scan that was announced before it, None where it was the first.
    picture
        Where the picture is kept that it was compared with.
    """

    scan_timestamp: str
    previous: str | None
    picture: Chunks | None
    options: Options
    announced_at: str
    counts: dict[str, int]
    events: int

    @property
    def refused(self) -> int:
        """How many events the bus would never take: of each change, of a suspicion, and of the end, there was one."""
        changes = sum(self.counts[kind] for kind in KINDS)
        return changes + bool(self.counts["suspected_deletions"]) + 1 - self.events

    @classmethod
    def of(cls, item: Item) -> "Announcement":
        """Return the stored announcement."""
        return cls(
            scan_timestamp=scan_timestamp_of(item["scan_timestamp"]),
            previous=item.get("previous"),
            picture=item.get("picture"),
            options=Options(item["guard_percent"], item["activity"]),
            announced_at=str(item["announced_at"]),
            counts=item["counts"],
            events=item["events"],
        )


@dataclass(frozen=True)
class Announcements:
    """The cursor, the pictures and the announcements of one account, in the records table."""

    dynamodb: "DynamoDBClient"
    table_name: str
    keys: Keys = OWN

    def cursor(self) -> Cursor:
        """Return the cursor, read consistently."""
        item = self._get(CURSOR_SORT_KEY)
        return Cursor.of(item) if item is not None else Cursor()

    def of_scan(self, scan_timestamp: str) -> Announcement | None:
        """Return what was announced of a scan, None where nothing was, or not yet."""
        item = self._get(ANNOUNCEMENT_SORT_KEY_PREFIX + scan_timestamp)
        return Announcement.of(item) if item is not None else None

    def plan(self, cursor: Cursor, scan: RecordedScan, options: Options) -> Cursor | None:
        """Fix which scan is announced next. Returns the cursor with that; None where another call was faster."""
        planned = {
            "scan": scan.scan_timestamp,
            "guard_percent": options.guard_percent,
            "activity": options.activity,
        }
        written = self._write(self._update("SET #next = :planned", _NOTHING_PLANNED, cursor, planned=planned))
        return replace(cursor, plan=Plan(scan.scan_timestamp, options)) if written else None

    def give_up(self, cursor: Cursor) -> bool:
        """Forget the plan. Returns whether it was still that."""
        assert cursor.plan is not None  # noqa: S101 - a mistake in the code
        return self._write(self._update("REMOVE #next", _PLANNED, cursor, next=cursor.plan.scan_timestamp))

    def settle(self, cursor: Cursor, scan: RecordedScan, detection: Detection, *, events: int, now: datetime) -> bool:
        """Note that a scan is announced, and what of it.

        Parameters
        ----------
        cursor
            As it was when the scan was announced: its plan is the scan.
        events
            How many events were sent.

        Returns
        -------
        Whether this call did it; another one has done it else.
        """
        assert cursor.plan is not None  # noqa: S101 - a mistake in the code
        options, lasts = cursor.plan.options, int(now.timestamp()) + PICTURE_KEPT_DAYS * timestamps.SECONDS_PER_DAY
        expires = lasts + PICTURE_RENEWED_DAYS * timestamps.SECONDS_PER_DAY
        kept = cursor.picture if cursor.picture_expires >= lasts else None
        picture = chunks.store(
            self.dynamodb,
            self.table_name,
            self.keys.about(PICTURE_SORT_KEY),
            detection.picture.to_plain(activity=options.activity),
            expires=expires,
            kept=kept,
        )
        announcement: Item = {
            **self.keys.beside_manifests(ANNOUNCEMENT_SORT_KEY_PREFIX + scan.scan_timestamp),
            "guard_percent": options.guard_percent,
            "activity": options.activity,
            "announced_at": timestamps.to_milliseconds(now),
            "counts": detection.counts,
            "events": events,
            "ttl": scan.manifest.ttl,
        }
        if cursor.scan_timestamp is not None:
            announcement["previous"] = cursor.scan_timestamp
        if cursor.picture is not None:
            announcement["picture"] = cursor.picture
        move = self._update(
            "SET #scan = :next, #listed_until = :listed_until, "
            "#picture = :picture, #picture_expires = :picture_expires REMOVE #next",
            _PLANNED,
            cursor,
            next=scan.scan_timestamp,
            listed_until=timestamps.to_milliseconds(scan.listing[1]),
            picture=picture,
            picture_expires=cursor.picture_expires if picture is kept else expires,
        )
        writes: Any = [
            {"Update": {"TableName": self.table_name, **move}},
            {"Put": {"TableName": self.table_name, "Item": wire.to_wire(announcement)}},
        ]
        try:
            self.dynamodb.transact_write_items(TransactItems=writes)
        except self.dynamodb.exceptions.TransactionCanceledException as error:
            codes = {reason.get("Code", "None") for reason in error.response["CancellationReasons"]}
            if codes - {"None"} == {"ConditionalCheckFailed"}:
                return False
            raise
        return True

    def picture(self, where: Chunks) -> Picture:
        """Return a picture of what was announced.

        Raises
        ------
        Unreadable
            It has expired, or is damaged.
        """
        content = chunks.load(self.dynamodb, self.table_name, self.keys.about(PICTURE_SORT_KEY), where)
        try:
            return Picture.of_plain(content)
        except (KeyError, TypeError) as error:
            raise Unreadable(f"the picture of what was announced is damaged: {error!r}") from error

    def _get(self, name: str) -> Item | None:
        response = self.dynamodb.get_item(
            TableName=self.table_name, Key=wire.to_wire(self.keys.beside_manifests(name)), ConsistentRead=True
        )
        return wire.from_wire(response["Item"]) if "Item" in response else None

    def _write(self, update: dict[str, Any]) -> bool:
        try:
            self.dynamodb.update_item(TableName=self.table_name, **update)
        except self.dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _update(self, expression: str, condition: str, cursor: Cursor, **values: Any) -> dict[str, Any]:
        """Return the write that moves the cursor, if it is at its scan still and meets a condition."""
        condition = f"{condition} AND {'#scan = :scan' if cursor.scan_timestamp is not None else _NOWHERE}"
        if cursor.scan_timestamp is not None:
            values["scan"] = cursor.scan_timestamp
        # Names such as scan and next may be reserved words of DynamoDB: all go by placeholder.
        names = re.findall(r"#(\w+)", f"{expression} {condition}")
        return {
            "Key": wire.to_wire(self.keys.beside_manifests(CURSOR_SORT_KEY)),
            "UpdateExpression": expression,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {f"#{name}": name for name in names},
            "ExpressionAttributeValues": wire.to_wire({f":{name}": value for name, value in values.items()}),
        }


def _plan_of(item: Item) -> Plan:
    return Plan(item["scan"], Options(item["guard_percent"], item["activity"]))
