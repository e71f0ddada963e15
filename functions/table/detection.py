"""What happened between two scans that are announced one after the other: only what is sure, and each thing once.

The base is not a former scan but the :class:`Picture` of what was announced so far: of each user, what each section
told of it when it was last known. So a scan without a credential report, a failed one, or one that is announced late,
loses nothing: what comes after is compared with what was last known, whenever that was.

Sure means:

- A user is its user_id. A new name of the same id is a renamed user, a new id of the same name a recreated one.
- A deletion needs two listings of IAM that agree: ListUsers and the authorization details of the same scan. Where that
  scan has no details, ListUsers of the next one. ListUsers alone may lose somebody who is renamed while it pages.
- More deletions at once than the guard allows are suspected first, and announced when the next scan agrees.
- What one side does not know is no change. What changes by mere use is none unless it is asked for.
- A user whom the first scan of all did not list, although it existed, was not created.
- What a listing that was begun again has left in the records says nothing: the user may have gone or changed since.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from functions.shared import timestamps
from functions.table import findings
from functions.table.changes import LastKnown
from functions.table.diff import CHANGED, CREATED, DELETED, RECREATED, RENAMED
from functions.table.record import ROOT, by_user_id
from functions.table.scans import RecordedScan, created_at
from functions.table.wire import Item

KINDS = (CREATED, DELETED, RECREATED, RENAMED, CHANGED)
"""What may become of a user."""

LEAST_GUARDED = 10
"""So many deletions at once are never suspected, however small the account is."""

_IAM_LAGS = timedelta(minutes=15)
"""IAM is eventually consistent: a user who was created so shortly before the first scan may be missing from it, and is
announced as created when it is seen. Without that, it would be taken for one whom that scan has lost."""

Judged = dict[str, str]
"""By control, OK or FINDING as it was last known."""


@dataclass(frozen=True)
class Options:
    """How it is announced.

    Attributes
    ----------
    guard_percent
        How many percent of the users may be deleted at once before that is suspected.
    activity
        Whether the mere use of a password or an access key is a change.
    """

    guard_percent: int = 20
    activity: bool = False


@dataclass
class Entry:
    """What was announced of a user, by its user_id; of the root user, by :data:`ROOT`."""

    known: LastKnown
    judged: Judged = field(default_factory=dict)
    absent_in: str | None = None
    """The scan that did not list the user and had no details to ask."""
    suspected_in: str | None = None
    """The scan in which the deletion was suspected, one of too many."""

    @property
    def user_name(self) -> str:
        """The last name."""
        return self.known.user_name


@dataclass
class Picture:
    """What was announced of all users, as of one scan."""

    since: str
    """When the first scan of all began to list, ISO 8601."""
    users: dict[str, Entry] = field(default_factory=dict)
    controls: frozenset[str] = frozenset()
    """The controls that have said OK or FINDING of anybody: what one of them says first of all is no news."""

    @property
    def findings(self) -> dict[str, int]:
        """By control, of how many users it is a finding, as last known. Not of a control that never told anything."""
        found = Counter(name for entry in self.users.values() for name in _findings_of(entry))
        return {name: found[name] for name in findings.BY_NAME if name in self.controls}

    def to_plain(self, *, activity: bool = False) -> dict[str, Any]:
        """Return this in what JSON can hold. Without activity, it is the same as long as nothing changes."""
        return {
            "since": self.since,
            "controls": sorted(self.controls),
            "users": {
                user_id: {
                    "facts": entry.known.to_plain(whole=activity),
                    "judged": entry.judged,
                    "absent_in": entry.absent_in,
                    "suspected_in": entry.suspected_in,
                }
                for user_id, entry in self.users.items()
            },
        }

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> "Picture":
        """Return what :meth:`to_plain` has made.

        Raises
        ------
        KeyError, TypeError
            It is something else.
        """
        return cls(
            since=plain["since"],
            controls=frozenset(plain["controls"]),
            users={
                user_id: Entry(
                    LastKnown.of_plain(entry["facts"]), entry["judged"], entry["absent_in"], entry["suspected_in"]
                )
                for user_id, entry in plain["users"].items()
            },
        )


@dataclass(frozen=True)
class Change:
    """What became of a user.

    Attributes
    ----------
    user_id
        The last one; None for the root user.
    attributes
        Those that differ.
    before, after
        Of a user who was created or recreated, after has all that is known; of one who was deleted or recreated, before
        has what was last known and lasts: not when it was seen or used. Else the attributes that differ.
    opened, closed
        The controls that are a finding now and were none when last known, and those that are none any more.
    """

    user_name: str
    user_id: str | None
    change: str
    attributes: tuple[str, ...] = ()
    before: Item | None = None
    after: Item | None = None
    opened: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suspicion:
    """Too many deletions at once."""

    users: int
    """Users before."""
    guard: int
    """So many deletions would have been believed."""
    user_names: tuple[str, ...]
    """Who is missing, sorted."""


@dataclass(frozen=True)
class Detection:
    """What a scan has to say.

    Attributes
    ----------
    changes
        Sorted by name.
    picture
        What is announced once this is.
    baseline
        Whether there was nothing to compare with.
    unconfirmed
        How many users the scan did not list, of whom nothing else is sure.
    suspected
        How many of the deletions wait for the next scan to agree.
    """

    changes: tuple[Change, ...]
    suspicion: Suspicion | None
    picture: Picture
    baseline: bool
    users: int
    unconfirmed: int
    suspected: int

    @property
    def counts(self) -> dict[str, int]:
        """How many changes there are of each kind, and deletions that are not announced."""
        kinds = Counter(change.change for change in self.changes)
        return {
            **{kind: kinds[kind] for kind in KINDS},
            "unconfirmed_deletions": self.unconfirmed,
            "suspected_deletions": self.suspected,
        }


LookUp = Callable[[Iterable[str]], Iterable[Item]]
"""Returns the records that users have in the scan, by their names, read consistently: the index may be behind."""


def detect(
    picture: Picture | None,
    scan: RecordedScan,
    records: Iterable[Item],
    *,
    look_up: LookUp,
    detailed: Collection[str] | None,
    options: Options,
) -> Detection:
    """Return what happened since what was announced.

    Parameters
    ----------
    picture
        What was announced so far, None before the first scan. It is not changed.
    scan
        A trusted scan that has listed since.
    records
        Its records, as far as the index yields them.
    detailed
        The user_ids in the authorization details of the scan, None where it has none.
    """
    found = list(records)
    if picture is not None:
        there = {str(record["user_id"]) for record in found}
        found += look_up(entry.user_name for key, entry in picture.users.items() if key not in there and key != ROOT)
    people = by_user_id(record for record in found if scan.counts(record))
    left_over = {str(record["user_id"]) for record in found} - people.keys()
    root = _root_of(scan)
    if root is not None:
        people[ROOT] = root
    return _Comparison(picture, scan, people, left_over, detailed, options).detection()


def _root_of(scan: RecordedScan) -> Item | None:
    """Return what the manifest has of the root user, as if it were a record."""
    root = scan.manifest.root
    if not root:
        return None
    listed_at = timestamps.to_milliseconds(scan.listing[0])
    return {**root, "user_name": ROOT, "scan_timestamp": scan.scan_timestamp, "listed_at": listed_at}


@dataclass
class _Comparison:
    """A scan beside what was announced."""

    before: Picture | None
    scan: RecordedScan
    people: dict[str, Item]
    left_over: Collection[str]
    """Of whom there is only a record of a listing that was begun again: they may be there, or were."""
    detailed: Collection[str] | None
    options: Options

    def __post_init__(self) -> None:
        self._known = self.before or Picture(since=timestamps.to_milliseconds(self.scan.listing[0]))
        self._users = {user_id: self._entry(user_id, record) for user_id, record in self.people.items()}
        self._unconfirmed = 0

    def detection(self) -> Detection:
        """Compare."""
        changes = list(self._of_those_who_stay())
        gone, suspicion = self._of_those_who_are_missing()
        changes += self._of_those_who_come(gone)
        changes += [self._deleted(user_id, entry) for user_id, entry in gone.items()]
        judged = (entry.judged for entry in self._users.values())
        return Detection(
            changes=tuple(sorted(changes, key=lambda one: (one.user_name, one.user_id or ""))),
            suspicion=suspicion,
            picture=Picture(
                since=self._known.since,
                users=self._users,
                controls=self._known.controls.union(*judged),
            ),
            baseline=self.before is None,
            users=len(self.people) - (ROOT in self.people),
            unconfirmed=self._unconfirmed,
            suspected=sum(entry.suspected_in is not None for entry in self._users.values()),
        )

    def _entry(self, user_id: str, record: Item) -> Entry:
        """Return what is known of a user who is there."""
        former = self._known.users.get(user_id)
        known = former.known.copy() if former is not None else LastKnown()
        manifest = self.scan.manifest
        judged: Mapping[str, findings.Status]
        if user_id == ROOT:
            said = findings.of_root(manifest.root, manifest.sections, self.scan.listing[0])
            judged = {one.control.name: one.status for one in said if one.status is not findings.Status.UNKNOWN}
        else:
            judged = findings.told_of(record)
        return Entry(known.learn(record), {**(former.judged if former is not None else {}), **judged})

    def _of_those_who_stay(self) -> Iterator[Change]:
        for user_id, record in self.people.items():
            former, entry = self._known.users.get(user_id), self._users[user_id]
            if former is None:
                continue
            changed = former.known.changes_to(record, activity=self.options.activity)
            opened, closed = self._opened_and_closed(former, entry)
            if changed or opened or closed:
                before, after = former.known.evidence(record, changed)
                word = RENAMED if "user_name" in changed else CHANGED
                yield Change(
                    str(record["user_name"]),
                    None if user_id == ROOT else user_id,
                    word,
                    changed,
                    before,
                    after,
                    opened,
                    closed,
                )

    def _opened_and_closed(self, former: Entry, entry: Entry) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return which controls are a finding now and were none when last known, and the other way round."""
        if entry.judged == former.judged:
            return (), ()
        opened = (
            control
            for control in _findings_of(entry)
            if former.judged.get(control) != findings.Status.FINDING and control in self._known.controls
        )
        closed = (control for control in _findings_of(former) if entry.judged[control] != findings.Status.FINDING)
        return tuple(opened), tuple(closed)

    def _of_those_who_are_missing(self) -> tuple[dict[str, Entry], Suspicion | None]:
        """Return who was deleted; those of whom that is not sure stay, and so does a root user who is not known now."""
        names = {str(record["user_name"]) for record in self.people.values()}
        gone: dict[str, Entry] = {}
        doubtful: dict[str, Entry] = {}
        for user_id, entry in self._known.users.items():
            if user_id in self.people:
                continue
            if user_id == ROOT:
                self._users[user_id] = entry
            elif user_id in self.left_over:
                self._unconfirmed += 1
                self._users[user_id] = entry
            elif not self._agreed(user_id, entry):
                self._unconfirmed += 1
                absent_in = self.scan.scan_timestamp if self.detailed is None else None
                self._users[user_id] = Entry(entry.known, entry.judged, absent_in)
            elif entry.suspected_in is not None or entry.user_name in names:
                gone[user_id] = entry
            else:
                doubtful[user_id] = entry
        users = len(self._known.users) - (ROOT in self._known.users)
        guard = max(LEAST_GUARDED, users * self.options.guard_percent // 100)
        if len(doubtful) <= guard:
            return {**gone, **doubtful}, None
        for user_id, entry in doubtful.items():
            self._users[user_id] = Entry(entry.known, entry.judged, suspected_in=self.scan.scan_timestamp)
        return gone, Suspicion(users, guard, tuple(sorted(entry.user_name for entry in doubtful.values())))

    def _agreed(self, user_id: str, entry: Entry) -> bool:
        """Tell whether a second listing lacks the user, too."""
        if self.detailed is not None:
            return user_id not in self.detailed
        return entry.absent_in is not None or entry.suspected_in is not None

    def _of_those_who_come(self, gone: dict[str, Entry]) -> Iterator[Change]:
        """Yield who is new; of those who were deleted, take out whose name they have."""
        if self.before is None:
            return
        # Of several that had the name, the last one.
        in_turn = sorted(gone, key=lambda user_id: (gone[user_id].known.create_date, user_id))
        former = {gone[user_id].user_name: user_id for user_id in in_turn}
        began = timestamps.parse(self._known.since) - _IAM_LAGS
        for user_id, record in self.people.items():
            if user_id in self._known.users or user_id == ROOT:
                continue
            name, opened = str(record["user_name"]), tuple(_findings_of(self._users[user_id]))
            after = self._users[user_id].known.facts(whole=True)
            if name in former:
                entry = gone.pop(former[name])
                before = entry.known.facts(whole=False)
                changed = entry.known.changes_to(record, activity=self.options.activity)
                closed = tuple(control for control in _findings_of(entry) if control not in opened)
                yield Change(name, user_id, RECREATED, ("user_id", *changed), before, after, opened, closed)
            elif (created := created_at(record)) is None or created >= began:
                yield Change(name, user_id, CREATED, after=after, opened=opened)

    def _deleted(self, user_id: str, entry: Entry) -> Change:
        facts = entry.known.facts(whole=False)
        return Change(entry.user_name, user_id, DELETED, before=facts, closed=tuple(_findings_of(entry)))


def _findings_of(entry: Entry) -> list[str]:
    """Return the controls that are a finding, in the order in which they are shown."""
    return [name for name in findings.BY_NAME if entry.judged.get(name) == findings.Status.FINDING]
