"""A user through time: first seen, changed, renamed, deleted, recreated; and what cannot be known.

A user is its user_id, which a rename keeps and a new user of an old name does not have. The table is keyed by name, so
a user is followed from name to name: where a trusted scan lacks it under one, that scan is asked for its user_id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from functions.shared import timestamps
from functions.table.changes import LastKnown
from functions.table.reader import Reader
from functions.table.scans import Known, RecordedScan, created_at, newest
from functions.table.wire import Item

FIRST_SEEN = "first seen"
CHANGED = "changed"
RENAMED = "renamed"
RECREATED = "recreated"
DELETED = "deleted"
DELETED_OR_RENAMED = "deleted or renamed"
"""A trusted scan lacks the user, and its index is behind: it may hold the user under another name."""
NOT_LISTED = "not listed"
"""A trusted scan lacks the user, and a later one has it: IAM did not list it, or renamed it in that moment."""
SEEN_AGAIN = "seen again"
UNCHANGED = ""

USER_ID_PREFIX = "AIDA"
"""What the user_id of an IAM user begins with."""

_MOST_LOOK_UPS = 50
"""In so many scans at most is one user looked for under another name."""


@dataclass(frozen=True)
class Event:
    """What a scan says of a user."""

    scan_timestamp: str
    user_name: str
    user_id: str
    change: str
    attributes: tuple[str, ...] = ()
    record: Item | None = None
    """None where the scan says that there is none."""


@dataclass(frozen=True)
class History:
    """What the scans say of a user, oldest first.

    Attributes
    ----------
    since
        The oldest scan there is: what was before has expired.
    behind
        Scans whose index did not yield all records that it should.
    """

    events: tuple[Event, ...]
    since: RecordedScan | None
    behind: tuple[RecordedScan, ...] = ()


class UnknownUser(LookupError):  # noqa: N818 - the reader of the traceback sees what it is
    """No scan has recorded a user of this name or user_id."""

    def __init__(self, user: str, similar: Sequence[str]) -> None:
        super().__init__(user)
        self.user = user
        self.similar = tuple(similar)
        """Names in the last trusted scan that differ in upper and lower case only."""


@dataclass
class _Person:
    """One user_id: its record in each scan that saw it."""

    user_id: str
    seen: dict[str, Item] = field(default_factory=dict)
    gone: tuple[RecordedScan, str] | None = None
    """The scan that proves that it is no more, and in which word."""


def history(reader: Reader, user: str, *, activity: bool = False) -> History:
    """Return what each scan says of a user, by its name or its user_id.

    A scan that ends while this reads changes nothing: the scans are read first, and then the records of the user.

    Parameters
    ----------
    activity
        Whether mere use of a password or an access key is a change, too.

    Raises
    ------
    UnknownUser
        No scan has recorded it.
    """
    return _Timeline(reader, activity).of(user)


class _Timeline:
    def __init__(self, reader: Reader, activity: bool) -> None:
        self._reader = reader
        self._activity = activity
        self._scans = {scan.scan_timestamp: scan for scan in reader.scans(newest_first=False)}
        trusted = [scan for scan in self._scans.values() if scan.trusted]
        self._trusted = sorted(trusted, key=lambda scan: (scan.listing, scan.scan_timestamp))
        self._found: dict[tuple[str, str], Item | None] = {}
        """What was found of a user_id in the index of a scan."""
        self._behind: dict[str, RecordedScan] = {}

    def of(self, user: str) -> History:
        people = self._bearers_of(user)
        if not people and user.startswith(USER_ID_PREFIX):
            people = self._person_of(user)
        if not people:
            raise UnknownUser(user, self._similar(user))
        for person in people.values():
            self._follow(person)
        events = sorted(self._events(list(people.values())), key=lambda event: self._order(event.scan_timestamp))
        since = next(iter(self._scans.values()), None)
        return History(tuple(events), since, tuple(self._behind.values()))

    def _bearers_of(self, name: str) -> dict[str, _Person]:
        """Return who has had a name."""
        people: dict[str, _Person] = {}
        for record in self._reader.of_name(name):
            user_id = str(record["user_id"])
            self._add(people.setdefault(user_id, _Person(user_id)), record)
        return {user_id: person for user_id, person in people.items() if person.seen}

    def _person_of(self, user_id: str) -> dict[str, _Person]:
        """Return whose user_id it is, from the newest trusted scan that knows it."""
        for scan in reversed(self._trusted):
            record = self._look_up(scan, user_id)
            if record is not None:
                person = _Person(user_id)
                self._learn(person, str(record["user_name"]))
                return {user_id: person}
        return {}

    def _add(self, person: _Person, record: Item) -> None:
        scan = self._scans.get(str(record["scan_timestamp"]))
        if scan is not None and not scan.holds(record):
            return
        former = person.seen.get(str(record["scan_timestamp"]))
        if former is None or str(former.get("listed_at", "")) <= str(record.get("listed_at", "")):
            person.seen[str(record["scan_timestamp"])] = record

    def _learn(self, person: _Person, name: str) -> None:
        """Add what the table has of a person under a name."""
        for record in self._reader.of_name(name):
            if record["user_id"] == person.user_id:
                self._add(person, record)

    def _follow(self, person: _Person) -> None:
        """Learn a person's other names, and whether it is no more."""
        for _ in range(_MOST_LOOK_UPS):
            lacking = [scan for scan in self._trusted if scan.scan_timestamp not in person.seen]
            known = self._known_of(person)
            proofs = [scan for scan in lacking if known is not None and scan.proves_absence_of(known)]
            person.gone = self._end_of(person, proofs)
            scan = self._unexplained(person, lacking, proofs)
            if scan is None:
                return
            record = self._look_up(scan, person.user_id)
            if record is not None:
                self._learn(person, str(record["user_name"]))
                person.seen.setdefault(scan.scan_timestamp, record)

    def _end_of(self, person: _Person, proofs: list[RecordedScan]) -> tuple[RecordedScan, str] | None:
        """Return the scan that was asked for the person, and proves that it is no more; one that is sure, if any."""
        asked = [scan for scan in proofs if self._was_asked(scan, person)]
        sure = next((scan for scan in asked if scan.scan_timestamp not in self._behind), None)
        if sure is not None:
            return sure, DELETED
        return (asked[0], DELETED_OR_RENAMED) if asked else None

    def _unexplained(
        self, person: _Person, lacking: list[RecordedScan], proofs: list[RecordedScan]
    ) -> RecordedScan | None:
        """Return a trusted scan that lacks the person under the names known so far, and was not asked for it yet."""
        order = [self._order(timestamp) for timestamp in person.seen]
        first, last = min(order), max(order)
        created = min(filter(None, map(created_at, person.seen.values())), default=None)
        there = [scan for scan in lacking if scan.could_have_listed(created)]
        earlier = [scan for scan in there if self._order(scan.scan_timestamp) < first]
        between = [scan for scan in there if first < self._order(scan.scan_timestamp) < last]
        ended = person.gone is not None and person.gone[1] == DELETED
        for scan in (*earlier[-1:], *between, *([] if ended else proofs)):
            if not self._was_asked(scan, person):
                return scan
        return None

    def _was_asked(self, scan: RecordedScan, person: _Person) -> bool:
        return (scan.scan_timestamp, person.user_id) in self._found

    def _known_of(self, person: _Person) -> Known | None:
        """Return what the records tell, None where one is of a scan that has begun since the scans were read."""
        if not person.seen.keys() <= self._scans.keys():
            return None
        return Known.of((self._scans[timestamp], record) for timestamp, record in person.seen.items())

    def _look_up(self, scan: RecordedScan, user_id: str) -> Item | None:
        """Return the record that a user_id has in a scan, from its index."""
        key = (scan.scan_timestamp, user_id)
        if key not in self._found:
            listing = self._reader.of_scan(scan)
            self._found[key] = next((record for record in listing if record["user_id"] == user_id), None)
            if self._found[key] is None and listing.missing:
                self._behind[scan.scan_timestamp] = scan
        return self._found[key]

    def _similar(self, name: str) -> list[str]:
        scan = newest(self._trusted)
        if scan is None:
            return []
        names = (str(record["user_name"]) for record in self._reader.of_scan(scan))
        return sorted(other for other in names if other != name and other.casefold() == name.casefold())

    def _order(self, timestamp: str) -> tuple[datetime, str]:
        """Return by what events are sorted: when their scans listed."""
        scan = self._scans.get(timestamp)
        if scan is None:
            return timestamps.parse(timestamp), timestamp
        return scan.listed_from or scan.moment, timestamp

    def _events(self, people: list[_Person]) -> Iterator[Event]:
        heirs = {person.user_id: self._heir(person, people) for person in people}
        for person in people:
            predecessor = any(heir is person for heir in heirs.values())
            yield from self._sightings(person, RECREATED if predecessor else FIRST_SEEN)
            heir = heirs[person.user_id]
            if person.gone is None:
                continue
            scan, word = person.gone
            if heir is not None and self._begin(heir) <= self._order(scan.scan_timestamp):
                # That somebody else has the name says it already.
                continue
            last = person.seen[max(person.seen, key=self._order)]
            yield Event(scan.scan_timestamp, str(last["user_name"]), person.user_id, word)

    def _heir(self, person: _Person, people: list[_Person]) -> _Person | None:
        """Return who got the name of somebody who was deleted."""
        if person.gone is None or person.gone[1] != DELETED:
            return None
        end = max(map(self._order, person.seen))
        name = person.seen[max(person.seen, key=self._order)]["user_name"]
        later = [
            other
            for other in people
            if self._begin(other) > end and other.seen[min(other.seen, key=self._order)]["user_name"] == name
        ]
        return min(later, key=self._begin, default=None)

    def _begin(self, person: _Person) -> tuple[datetime, str]:
        return min(map(self._order, person.seen))

    def _sightings(self, person: _Person, first: str) -> Iterator[Event]:
        """Yield what the scans say of a person for as long as it is there, gaps included."""
        moments = sorted(person.seen, key=self._order)
        previous: Item | None = None
        known = LastKnown()
        absent = False
        gaps = self._gaps(person, moments)
        for timestamp in sorted({*moments, *gaps}, key=self._order):
            if timestamp not in person.seen:
                if not absent and previous is not None:
                    yield Event(timestamp, str(previous["user_name"]), person.user_id, NOT_LISTED)
                absent = True
                continue
            record = person.seen[timestamp]
            name = str(record["user_name"])
            if previous is None:
                yield Event(timestamp, name, person.user_id, first, (), record)
            else:
                changed = known.changes_to(record, activity=self._activity)
                word = RENAMED if "user_name" in changed else CHANGED if changed else UNCHANGED
                yield Event(timestamp, name, person.user_id, word or (SEEN_AGAIN if absent else ""), changed, record)
            previous, absent = record, False
            known.learn(record)

    def _gaps(self, person: _Person, moments: list[str]) -> set[str]:
        """Return the trusted scans between two sightings that lack the person, and were asked for it."""
        first, last = self._order(moments[0]), self._order(moments[-1])
        return {
            scan.scan_timestamp
            for scan in self._trusted
            if first < self._order(scan.scan_timestamp) < last
            and scan.scan_timestamp not in person.seen
            and self._was_asked(scan, person)
            and scan.scan_timestamp not in self._behind
        }
