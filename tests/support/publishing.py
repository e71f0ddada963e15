"""An account over time, its scans in a table in memory, and a bus that may fail: what PublishChanges is tried on."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from functions.publish_changes.handler import Publisher
from functions.shared import timestamps
from functions.shared.bus import Bus
from functions.shared.events import TYPES
from functions.shared.model import Published
from functions.shared.refusals import log_refusal
from functions.shared.run import Run
from functions.table import posture, wire
from functions.table.announcement import Announcements
from functions.table.detection import Options
from functions.table.posture import Posture
from functions.table.reader import Reader
from tests.docs import schemas
from tests.support.recorded import ACCOUNT, NOTHING, TABLE, manifest_of, record_of, text_of
from tests.support.table import Table

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Interrupted(Exception):  # noqa: N818 - it is the crash of an invocation
    """The invocation ended here."""


@dataclass
class Faults:
    """Ends an invocation before or after one of its calls, or refuses one."""

    at: int | None = None
    """The number of the call, from 1; None for no fault."""
    kind: str = "before"
    calls: int = 0

    def around(self, call: Callable[..., Any], request: dict[str, Any]) -> Any:
        """Make a call."""
        self.calls += 1
        if self.calls != self.at:
            return call(**request)
        if self.kind == "before":
            raise Interrupted
        answer = call(**request)
        if self.kind == "after":
            raise Interrupted
        return answer


class Client:
    """A client whose calls are counted, and may fail."""

    def __init__(self, real: Any, faults: Faults, calls: Iterable[str]) -> None:
        self._real, self._faults, self._calls = real, faults, frozenset(calls)

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name not in self._calls:
            return real
        return lambda **request: self._faults.around(real, request)

    def get_paginator(self, operation: str) -> Any:
        paginator, faults = self._real.get_paginator(operation), self._faults

        class Counted:
            def paginate(self, **request: Any) -> Any:
                return faults.around(paginator.paginate, request)

        return Counted()


@cache
def hold_to_its_schema(detail_type: str, detail: str) -> None:
    """Fail where the detail of an event, as JSON, is not what its schema says, or has more."""
    found = json.loads(detail)
    assert detail_type == TYPES[found["change"]]
    schemas.validator(found["change"]).validate(found)


@dataclass
class EventBridge:
    """Keeps what it is given. ``answers`` are the ErrorCodes of the entries to come, None where it takes one."""

    received: list[dict[str, Any]] = field(default_factory=list)
    """The details, in their order, with their detail-types."""
    answers: list[str | None] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """How many entries each call had."""

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        assert 1 <= len(Entries) <= 10
        assert {entry["Source"] for entry in Entries} == {"iam-user-monitor"}
        self.sizes.append(len(Entries))
        results = []
        for entry in Entries:
            hold_to_its_schema(entry["DetailType"], entry["Detail"])
            code = self.answers.pop(0) if self.answers else None
            if code is None:
                self.received.append({"detail-type": entry["DetailType"], **json.loads(entry["Detail"])})
            results.append({"EventId": "e"} if code is None else {"ErrorCode": code, "ErrorMessage": "no"})
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}

    def distinct(self) -> list[dict[str, Any]]:
        """Return what was received, without what came again; whatever comes again is the same.

        But for what a scan says of itself at its end, where the index has caught up after more than ten minutes.
        """
        known: dict[str, dict[str, Any]] = {}
        for detail in self.received:
            former = known.setdefault(detail["id"], detail)
            if detail["change"] == "scan_completed":
                detail = {**detail, **{name: former[name] for name in ("users", "events", "counts", "summary")}}
            assert former == detail
        return list(known.values())


@dataclass
class World:
    """The table, the bus, and the time.

    Parameters
    ----------
    table
        Starts empty.
    """

    table: Table = field(default_factory=Table)
    bus: EventBridge = field(default_factory=EventBridge)
    now: datetime = EPOCH
    options: Options = field(default_factory=Options)
    written: list[str] = field(default_factory=list)
    """The scan_timestamps, in the order in which their scans came to an end."""

    def wait(self, minutes: float) -> None:
        """Let time pass."""
        self.now += timedelta(minutes=minutes)

    def scan(
        self,
        users: dict[str, dict[str, Any]],
        *,
        status: str = "COMPLETE",
        detailed: Iterable[str] | None = None,
        report: str = "CURRENT",
        started: datetime | None = None,
        listed_from: datetime | None = None,
        listed_at: dict[str, datetime] | None = None,
        publish: bool = True,
        **manifest: Any,
    ) -> str:
        """Put a scan and its records into the table; return its scan_timestamp.

        Parameters
        ----------
        users
            By name: the attributes of the records that it has.
        detailed
            The user_ids in its authorization details, None where it has none.
        report
            The state of its credential report.
        started
            When its execution started; listed_from, when the listing began that counts; default: now.
        listed_at
            By name, when the user was listed; default: when the listing began.
        """
        started = started or self.now
        listed_from = listed_from or self.now
        timestamp = timestamps.to_seconds(started)
        sections = {
            "credential_report": {"state": report},
            "authorization": {"state": "CURRENT" if detailed is not None else "MISSING"},
        }
        kept = None
        if detailed is not None:
            found = Posture(authorization={user_id: {} for user_id in detailed})
            kept = posture.store(self.table, TABLE, timestamp, found, now=int(self.now.timestamp()))  # type: ignore[arg-type]
        until = self.now + timedelta(seconds=1)
        item = manifest_of(timestamp, len(users), status, sections=sections, publish=publish and status == "COMPLETE")
        item |= {"listed_from": text_of(listed_from), "listed_until": text_of(until), **manifest}
        if kept is not None:
            item["posture"] = kept
        self.put(item)
        for name, attributes in users.items():
            at = (listed_at or {}).get(name, listed_from)
            self.put(record_of(name, timestamp, **{"account_id": ACCOUNT, "listed_at": text_of(at), **attributes}))
        self.now = until
        self.written.append(timestamp)
        return timestamp

    def put(self, item: dict[str, Any]) -> None:
        """Put an item into the table."""
        self.table.put_item(Item=wire.to_wire(item))

    def table_copy(self) -> Table:
        """Return a table that holds the same."""
        other = Table()
        other.items = dict(self.table.items)
        return other

    def publisher(self, faults: Faults | None = None, *, settled: bool = False) -> Publisher:
        """Return one that sees this world.

        Parameters
        ----------
        settled
            Whether so much time has passed that the index is as good as it will be.
        """
        counted = faults or Faults()
        calls = ("get_item", "put_item", "update_item", "batch_get_item", "transact_write_items")
        dynamodb: Any = Client(self.table, counted, calls)
        events: Any = Client(self.bus, counted, ("put_events",))
        now = self.now + timedelta(minutes=11 * settled)
        return Publisher(
            reader=Reader(dynamodb, TABLE, now=now, sleep=lambda _: None),
            announcements=Announcements(dynamodb, TABLE),
            bus=Bus(events, "default", 60, log_refusal, sleep=lambda _: None, clock=lambda: 0.0),
            options=self.options,
            clock=lambda: 0.0,
        )

    def publish(self, faults: Faults | None = None, *, settled: bool = False) -> Published:
        """Do what PublishChanges does."""
        arn = f"arn:aws:states:us-east-1:{ACCOUNT}:execution:iam-user-monitor:run"
        return self.publisher(faults, settled=settled).publish(Run(arn, self.now, 1, self.now), seconds=100)


def user(number: int, created: datetime = EPOCH - timedelta(days=9), **attributes: Any) -> dict[str, Any]:
    """Return the attributes of a user whose posture is known, with nothing in it."""
    return {
        "user_id": f"AIDA{number:04}",
        "create_date": timestamps.to_seconds(created),
        "credential_report_time": timestamps.to_seconds(EPOCH - timedelta(minutes=5)),
        **NOTHING,
        **attributes,
    }


def everybody(**changed: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return alice, bob and carol, with other attributes, without who is None, and whoever else is named."""
    users = {name: user(number) for number, name in enumerate(("alice", "bob", "carol"), start=1)}
    for name, attributes in changed.items():
        if attributes is None:
            del users[name]
        else:
            users[name] = {**users.get(name, {}), **attributes}
    return users


def refusal(code: str) -> ClientError:
    """Return the error of a call."""
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "PutEvents")
