"""A recorded scan: when it listed, whether it may be trusted, and what its absences prove.

A scan is no picture of one moment. It speaks for the span in which it asked IAM for its pages, and a redrive may have
that span lie days after the scan's own time. So:

- It is **trusted** when it is COMPLETE and its span is no longer than the limit that its manifest holds.
- Its **moment** is its scan_timestamp, unless the listing began longer than that limit after it: then when it began.
- A record that was listed long before the span is a **leftover** of a listing that was begun again, and no part of it.
- That it lacks a user is a deletion only if it began to list after the user was seen for the last time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from functions.shared import timestamps
from functions.table.manifest import Manifest, Status
from functions.table.wire import Item

DEFAULT_SPAN_LIMIT_SECONDS = 1800
"""Of manifests that were written before they held it: what scan_timeout_seconds is unless it is set."""

_LATEST_WRITE = timedelta(seconds=900)
"""How long a function may run at most: a WriteBatch of the listing before may write for so long into the next one."""

_CLOCKS = timedelta(seconds=2)
"""create_date is cut to the second, and IAM's clock is not Lambda's."""


@dataclass(frozen=True)
class RecordedScan:
    """A scan as its manifest tells of it."""

    manifest: Manifest
    scan_timestamp: str
    status: Status
    span_limit: timedelta
    listed_from: datetime | None
    """When IAM was asked for the first page; None where nothing was listed yet."""
    listed_until: datetime | None
    """When IAM had answered the last page so far."""
    trusted: bool
    """Whether its records are all users that there were, within a span short enough to mean one time."""
    moment: datetime
    """The time that it speaks for."""
    records_written: int

    @classmethod
    def of(cls, manifest: Manifest) -> "RecordedScan":
        """Return the scan of a manifest.

        Manifests from before the span was recorded have when the scan began and ended instead.
        """
        item = manifest.item
        begun = timestamps.parse(manifest.scan_timestamp)
        limit = timedelta(seconds=int(item.get("span_limit_seconds", DEFAULT_SPAN_LIMIT_SECONDS)))
        if "listed_from" in item:
            listed_from, listed_until = _time(item["listed_from"]), _time(item.get("listed_until"))
        else:
            listed_from, listed_until = _time(item.get("started_at")), _time(item.get("finished_at"))
        late = listed_from is not None and listed_from - begun > limit
        return cls(
            manifest=manifest,
            scan_timestamp=manifest.scan_timestamp,
            status=manifest.status,
            span_limit=limit,
            listed_from=listed_from,
            listed_until=listed_until,
            trusted=(
                manifest.status is Status.COMPLETE
                and listed_from is not None
                and listed_until is not None
                and listed_until - listed_from <= limit
            ),
            moment=listed_from if late and listed_from is not None else begun,
            records_written=int(item.get("records_written", 0)),
        )

    @property
    def listing(self) -> tuple[datetime, datetime]:
        """The span for which a trusted scan speaks."""
        if self.listed_from is None or self.listed_until is None:
            raise ValueError(f"scan {self.scan_timestamp} has no span")
        return self.listed_from, self.listed_until

    def holds(self, record: Item) -> bool:
        """Tell whether a record is part of the scan, and no leftover of a listing that was begun again.

        A page's records are written within the scan's time-out, which is the limit of its span, and by a function that
        was started then; one that writes so late must not take a user out of the listing that came after.
        """
        listed_at = _time(record.get("listed_at"))
        if listed_at is None or self.listed_from is None:
            return True
        return self.listed_from - listed_at <= self.span_limit + _LATEST_WRITE

    def is_before(self, other: "RecordedScan") -> bool:
        """Tell whether this trusted scan had ended to list before the other began to: their spans do not overlap."""
        return self.listing[1] < other.listing[0]

    def counts(self, record: Item) -> bool:
        """Tell whether a record is certainly one of those that the last listing wrote, and its manifest counts."""
        listed_at = _time(record.get("listed_at"))
        return listed_at is None or self.listed_from is None or listed_at >= self.listed_from

    def seen_at(self, record: Item) -> datetime:
        """Return when the user of one of its records existed: when IAM was asked for the page, or had answered."""
        return _time(record.get("listed_at")) or self.listed_until or self.moment

    def proves_absence_of(self, known: "Known") -> bool:
        """Tell whether a user that this trusted scan lacks was deleted: it existed before, and was not seen since.

        A user_id never comes back: one that is seen again was not deleted, whatever a scan in between has to say.
        """
        began = self.listing[0]
        if known.last_seen >= began:
            return False
        return self.could_have_listed(known.created) or (known.listed_until is not None and known.listed_until < began)

    def could_have_listed(self, created: datetime | None) -> bool:
        """Tell whether a user of this create_date existed, for all that is known, all the time that the scan listed."""
        return created is not None and created + _CLOCKS <= self.listing[0]


@dataclass(frozen=True)
class Known:
    """What all records of one user_id tell of when it existed."""

    created: datetime | None
    """Its create_date."""
    last_seen: datetime
    listed_until: datetime | None
    """When the first trusted scan that has it had ended to list."""

    @classmethod
    def of(cls, sightings: Iterable[tuple[RecordedScan, Item]]) -> "Known":
        """Return what records, each with its scan, tell."""
        pairs = list(sightings)
        return cls(
            created=min(filter(None, (created_at(record) for _, record in pairs)), default=None),
            last_seen=max(scan.seen_at(record) for scan, record in pairs),
            listed_until=min((scan.listing[1] for scan, _ in pairs if scan.trusted), default=None),
        )


def newest(scans: Iterable[RecordedScan]) -> RecordedScan | None:
    """Return the trusted scan that speaks for the latest moment."""
    return max((scan for scan in scans if scan.trusted), key=_by_moment, default=None)


def at(scans: Iterable[RecordedScan], moment: datetime) -> RecordedScan | None:
    """Return the last trusted scan up to a moment."""
    return newest(scan for scan in scans if scan.moment <= moment)


def before(scans: Iterable[RecordedScan], other: RecordedScan) -> RecordedScan | None:
    """Return the last trusted scan whose span is over when that of a trusted scan begins."""
    return newest(scan for scan in scans if scan.trusted and scan.is_before(other))


def after(scans: Iterable[RecordedScan], other: RecordedScan) -> RecordedScan | None:
    """Return the first trusted scan that began to list when a trusted scan had ended to."""
    return min((scan for scan in scans if scan.trusted and other.is_before(scan)), key=_by_moment, default=None)


def _by_moment(scan: RecordedScan) -> tuple[datetime, str]:
    return scan.moment, scan.scan_timestamp


def created_at(record: Item) -> datetime | None:
    """Return a record's create_date as a time."""
    return _time(record.get("create_date"))


def _time(text: Any) -> datetime | None:
    return timestamps.parse(text) if text else None
