"""Periods of which nothing is known: no trusted scan listed in them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from functions.table.scans import RecordedScan


@dataclass(frozen=True)
class Gap:
    """A period between two trusted scans, or after the last one."""

    since: datetime
    """When the scan before it had ended to list."""
    until: datetime
    """When the scan after it began to; where there is none, now."""
    before: RecordedScan
    after: RecordedScan | None
    attempts: tuple[RecordedScan, ...]
    """The scans that were begun in it, none of which may be trusted; oldest first."""

    @property
    def duration(self) -> timedelta:
        """How long it is."""
        return self.until - self.since


def expected(scans: Iterable[RecordedScan]) -> timedelta | None:
    """Return how far apart two trusted scans may be: twice the median distance of their beginnings.

    The median is that of the schedule for as long as more than half of its scans can be trusted. Returns None where
    fewer than two can.
    """
    distances = [later.listing[0] - former.listing[0] for former, later in pairwise(_trusted(scans))]
    return timedelta(seconds=2 * median(one.total_seconds() for one in distances)) if distances else None


def gaps(scans: Iterable[RecordedScan], longest: timedelta, now: datetime) -> list[Gap]:
    """Return the periods that are longer than that, newest first. What was before the first scan is none."""
    every = list(scans)
    found: list[Gap] = []
    before: RecordedScan | None = None
    for after in (*_trusted(every), None):
        until = now if after is None else after.listing[0]
        if before is not None and until - before.listing[1] > longest:
            attempts = _attempts(every, before.listing[1], until)
            found.append(Gap(before.listing[1], until, before, after, attempts))
        # One may have begun to list earlier, and ended later.
        if after is not None and (before is None or before.listing[1] < after.listing[1]):
            before = after
    return found[::-1]


def _trusted(scans: Iterable[RecordedScan]) -> list[RecordedScan]:
    return sorted((scan for scan in scans if scan.trusted), key=lambda scan: (scan.listing, scan.scan_timestamp))


def _attempts(scans: Sequence[RecordedScan], since: datetime, until: datetime) -> tuple[RecordedScan, ...]:
    begun = (scan for scan in scans if not scan.trusted and since < scan.moment < until)
    return tuple(sorted(begun, key=lambda scan: scan.scan_timestamp))
