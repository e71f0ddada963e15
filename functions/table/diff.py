"""What became of users between two scans: only what is sure.

Users are matched by user_id first: a new name of the same id is a renamed user, a new id of the same name a recreated
one. That a scan lacks a user is looked up in the table itself, not in its index, which may be behind. What one of two
records does not know is no change.
"""

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from functions.table.changes import LastKnown
from functions.table.reader import Reader
from functions.table.record import by_user_id
from functions.table.scans import RecordedScan, created_at
from functions.table.wire import Item

CREATED = "created"
DELETED = "deleted"
RECREATED = "recreated"
RENAMED = "renamed"
CHANGED = "changed"
CREATED_OR_RENAMED = "created or renamed"
"""The index lacks records of the former scan, so the user may have had another name in it."""
DELETED_OR_RENAMED = "deleted or renamed"
"""The index lacks records of the later scan, so the user may have another name in it."""


@dataclass(frozen=True)
class Change:
    """What became of a user, and which attributes differ."""

    user_name: str
    """Its last name."""
    user_id: str
    """Its last identity."""
    change: str
    attributes: tuple[str, ...] = ()
    before: Item | None = None
    after: Item | None = None


@dataclass(frozen=True)
class Diff:
    """What became of users between two scans, and how many records of each the index did not yield.

    Attributes
    ----------
    uncompared
        For each section, how many users could not be compared by it: one of the scans does not know it of them.
    """

    before: RecordedScan
    after: RecordedScan
    changes: tuple[Change, ...]
    missing_before: int
    missing_after: int
    uncompared: Mapping[str, int]


class SpansOverlap(Exception):  # noqa: N818 - it is no error of anybody
    """One of the scans had not ended to list when the other began: neither proves what happened in between."""


def diff(reader: Reader, before: RecordedScan, after: RecordedScan, *, activity: bool = False) -> Diff:
    """Compare two trusted scans. Their users are held in memory, and the changes are sorted by name.

    Parameters
    ----------
    activity
        Whether mere use of a password or an access key is a change, too.

    Raises
    ------
    SpansOverlap
        The scans cannot be told apart in time.
    """
    if before.scan_timestamp == after.scan_timestamp:
        return Diff(before, after, (), 0, 0, {})
    if not before.is_before(after):
        raise SpansOverlap
    left, missing_before = _by_id(reader, before)
    right, missing_after = _by_id(reader, after)
    _look_up(reader, after, [user for key, user in left.items() if key not in right], right)
    _look_up(reader, before, [user for key, user in right.items() if key not in left], left)
    unsure = {key for key, user in right.items() if missing_before and _may_be_older(user, before)}
    changes = sorted(
        _changes(left, right, unsure, complete=not missing_after, activity=activity),
        key=lambda one: (one.user_name, one.user_id),
    )
    uncompared = Counter(
        section
        for user_id, user in right.items()
        if user_id in left
        for section in LastKnown().learn(left[user_id]).unknown_in(user)
    )
    return Diff(before, after, tuple(changes), missing_before, missing_after, uncompared)


def _differing(before: Item, after: Item, *, activity: bool) -> tuple[str, ...]:
    return LastKnown().learn(before).changes_to(after, activity=activity)


def _by_id(reader: Reader, scan: RecordedScan) -> tuple[dict[str, Item], int]:
    listing = reader.of_scan(scan)
    return by_user_id(listing), listing.missing


def _look_up(reader: Reader, scan: RecordedScan, candidates: list[Item], users: dict[str, Item]) -> None:
    """Add the records that the index of a scan did not yield, of users whose names are known from the other scan."""
    found = reader.in_scan(scan, (str(user["user_name"]) for user in candidates))
    users.update(by_user_id((*users.values(), *found.values())))


def _may_be_older(user: Item, scan: RecordedScan) -> bool:
    created = created_at(user)
    return created is None or created <= scan.listing[1]


def _changes(
    left: dict[str, Item], right: dict[str, Item], unsure: Container[str], *, complete: bool, activity: bool
) -> Iterator[Change]:
    """Yield what became of the users.

    Parameters
    ----------
    unsure
        The user_ids that may be missing from the former scan's index only.
    complete
        Whether the later scan's index has yielded all that it should.
    """
    gone = {str(user["user_name"]): user for key, user in left.items() if key not in right}
    for user_id, user in right.items():
        name, former = str(user["user_name"]), left.get(user_id)
        if former is not None:
            if changed := _differing(former, user, activity=activity):
                yield Change(name, user_id, RENAMED if "user_name" in changed else CHANGED, changed, former, user)
        elif name in gone and complete:
            former = gone.pop(name)
            changed = _differing(former, user, activity=activity)
            yield Change(name, user_id, RECREATED, ("user_id", *changed), former, user)
        else:
            yield Change(name, user_id, CREATED_OR_RENAMED if user_id in unsure else CREATED, after=user)
    for name, user in gone.items():
        word = DELETED if complete else DELETED_OR_RENAMED
        yield Change(name, str(user["user_id"]), word, before=user)
