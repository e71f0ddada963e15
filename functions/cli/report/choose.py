"""Which scans a page holds: all trusted ones of a period, or some that are spread evenly over it."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime

from functions.table.scans import RecordedScan, at

MOST_SCANS = 60
"""So many are a page that opens at once, and a curve that shows what it has to."""


def in_period(scans: Sequence[RecordedScan], since: datetime | None, until: datetime | None) -> list[RecordedScan]:
    """Return the trusted scans of a period, oldest first, and the one that answers for its beginning.

    Parameters
    ----------
    since, until
        None where the period has no bound.
    """
    trusted = sorted((one for one in scans if one.trusted), key=lambda one: (one.moment, one.scan_timestamp))
    first = at(trusted, since) if since is not None else None
    begin = first.moment if first is not None else since
    return [
        one
        for one in trusted
        if (begin is None or one.moment >= begin) and (until is None or one.moment <= until)
    ]  # fmt: skip


def spread(scans: Sequence[RecordedScan], most: int) -> list[RecordedScan]:
    """Return at most so many of the scans, oldest first and evenly spread in time, with the first and the last."""
    if len(scans) <= most:
        return list(scans)
    if most == 1:
        return [scans[-1]]
    moments = [one.moment for one in scans]
    step = (moments[-1] - moments[0]) / (most - 1)
    places = set()
    for number in range(most):
        wanted = moments[0] + step * number
        place = min(bisect_left(moments, wanted), len(scans) - 1)
        if place and wanted - moments[place - 1] < moments[place] - wanted:
            place -= 1
        places.add(place)
    return [scans[place] for place in sorted({0, *places, len(scans) - 1})]
