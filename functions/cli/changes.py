"""What happened since a scan, and what of it was announced: which scans answer, and what is said beside the rows."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from functions.cli import rows
from functions.cli.errors import CommandError, ExitStatus
from functions.cli.scope import refuse_the_future
from functions.cli.values import LATEST, PREVIOUS, Moment
from functions.cli.words import number, some, span
from functions.shared import timestamps
from functions.shared.errors import IndexBehind
from functions.shared.events import Event, of_detection
from functions.table import walk
from functions.table.announcement import Announcement
from functions.table.detection import Picture, Suspicion
from functions.table.facts import NAMES
from functions.table.reader import Reader
from functions.table.record import ROOT
from functions.table.replay import Chain, Replay, Step, rebuild
from functions.table.scans import RecordedScan, at

NOTHING_ANNOUNCED = "nothing was announced: change events are off, or none was published yet"


def base(scans: Collection[RecordedScan], since: Moment | timedelta, now: datetime) -> tuple[RecordedScan, bool]:
    """Return the last trusted scan up to a moment; or the first one of all, and that it is.

    Raises
    ------
    CommandError
        There is no trusted scan, or the moment is to come.
    """
    oldest = walk.first(scan for scan in scans if scan.trusted)
    if oldest is None:
        raise CommandError("--since: no scan has recorded every user yet; `scans` lists them")
    if isinstance(since, Moment):
        refuse_the_future(since, now, "--since")
    if isinstance(since, timedelta):
        moment = now - since
    else:
        moment = since.time
        # A scan that was redriven late speaks for another moment than that of its name.
        named = timestamps.to_seconds(moment)
        for scan in scans:
            if scan.trusted and scan.scan_timestamp == named:
                return scan, scan is oldest
    found = at(scans, moment)
    return found or oldest, found is None or found is oldest


class Following:
    """Who has been called by a name, or has a user_id: whatever they were called before and after that."""

    def __init__(self, user: str, picture: Picture) -> None:
        self._user = user
        self._ids = {user}
        self.found = False
        self.learn(picture)

    def learn(self, picture: Picture) -> None:
        """Look for the user in what is known after another scan."""
        for user_id, entry in picture.users.items():
            if self._user in {user_id, entry.user_name}:
                self._ids.add(user_id)
                self.found = True

    def concerns(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row is about the user."""
        former = row["before"].value.get("user_id") if row["before"] is not None else None
        return bool(self._ids.intersection({row["user_id"] or ROOT, former}))


@dataclass
class Answer:
    """What scans have to say, collected while they are walked; of their pictures, which are large, nothing is kept.

    Attributes
    ----------
    warnings
        What must not be missed: suspected mass deletions, and records that are missing.
    """

    replay: Replay
    following: Following | None = None
    warnings: list[str] = field(default_factory=list)
    missing: int = 0
    """How many records the index has not yielded."""
    scans: list[RecordedScan] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _lacking: Counter[str] = field(default_factory=Counter)
    _unconfirmed: dict[str, int] = field(default_factory=dict)
    _unannounced: list[str] = field(default_factory=list)
    _refused: dict[str, int] = field(default_factory=dict)

    def add(self, step: Step) -> None:
        """Take what a scan has to say."""
        scan, detection, announcement = step.scan, step.telling.detection, step.announcement
        self._rows += rows.of_step(step)
        self.scans.append(scan)
        self._lacking.update(lacking(scan))
        if self.following is not None:
            self.following.learn(detection.picture)
        if detection.suspicion is not None:
            self.warnings.append(_suspicion(scan, detection.suspicion))
        if detection.unconfirmed:
            self._unconfirmed[scan.scan_timestamp] = detection.unconfirmed
        if announcement is None:
            self._unannounced.append(scan.scan_timestamp)
        elif announcement.scan_timestamp == scan.scan_timestamp and announcement.refused:
            self._refused[scan.scan_timestamp] = announcement.refused
        self.missing += step.telling.missing

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows, of one user where it is asked for."""
        return [row for row in self._rows if self.following is None or self.following.concerns(row)]

    @property
    def period(self) -> str:
        """From when to when it is."""
        base = self.replay.base
        begin = f"{base.scan_timestamp} ({span(base)})"
        if not self.scans:
            return f"since {begin}: no trusted scan has listed after it"
        end = self.scans[-1]
        return f"from {begin} to {end.scan_timestamp} ({span(end)}), told by {number(len(self.scans), 'scan')}"

    def remarks(self) -> Iterator[str]:
        """Yield what is to be said beside the rows: what is not known, and what was announced."""
        yield from self.unsure()
        yield from self._announced()

    def unsure(self) -> Iterator[str]:
        """Yield what is not known."""
        base, unknown = self.replay.base, lacking(self.replay.base)
        if self.replay.from_records and unknown:
            yield (
                f"{' and '.join(unknown)} of {base.scan_timestamp}, with which this begins, missing or stale: compared "
                "from the next scan on that has it"
            )
        for section, count in self._lacking.items():
            yield (
                f"{section} missing or stale in {count:,} of {number(len(self.scans), 'scan')}: what is unknown is no "
                "change, and is compared when it is known again"
            )
        for scan, count in self._unconfirmed.items():
            newest = scan == self.scans[-1].scan_timestamp
            yield (
                f"{number(count, 'user')} missing from the scan {scan}, and no second listing agrees: "
                f"{'the next scan decides' if newest else 'that alone is no deletion'}"
            )

    def _announced(self) -> Iterator[str]:
        upto = self.replay.chain.cursor.scan_timestamp
        if upto is None:
            yield NOTHING_ANNOUNCED
            return
        yield f"announced up to the scan {upto}"
        if self._unannounced:
            yield f"not announced (yet): {number(len(self._unannounced), 'scan')}, from {self._unannounced[0]} on"
        for scan, count in self._refused.items():
            yield f"EventBridge has refused {number(count, 'event')} of the scan {scan}"


def lacking(scan: RecordedScan) -> list[str]:
    """Return the sections that a scan lacks, or has stale."""
    sections = scan.manifest.sections or {}
    return [name for key, name in NAMES.items() if sections.get(key, {}).get("state") != "CURRENT"]


@dataclass(frozen=True)
class Told:
    """What happened since a scan.

    Attributes
    ----------
    is_oldest
        Whether it is the oldest scan that is kept.
    behind
        Why there is no more; None where that is all.
    """

    answer: Answer
    base: RecordedScan
    is_oldest: bool
    behind: str | None


def tell(reader: Reader, since: Moment | timedelta, user: str | None, *, activity: bool) -> Told:
    """Return what happened, of one user where it is asked for.

    Raises
    ------
    CommandError
        There is no trusted scan, or the index is behind from the beginning.
    """
    known = list(reader.scans())
    begin, is_oldest = base(known, since, reader.now)
    try:
        replay = Replay(reader, known, begin, Chain.of(reader), activity)
    except IndexBehind as error:
        raise CommandError(f"{error}; ask again", ExitStatus.INCOMPLETE) from error
    answer = Answer(replay, Following(user, replay.picture) if user is not None else None)
    behind = None
    try:
        for step in replay:
            answer.add(step)
    except IndexBehind as error:
        behind = f"{error}; ask again"
    return Told(answer, begin, is_oldest, behind)


def maybe_new(missing: int) -> str:
    """Say what an answer lacks."""
    return f"{number(missing, 'record')} missing from the index of the table: who is new may be missing"


def _suspicion(scan: RecordedScan, suspicion: Suspicion) -> str:
    return (
        f"mass deletion suspected: {len(suspicion.user_names):,} of {number(suspicion.users, 'user')} are missing from "
        f"the scan {scan.scan_timestamp}, more than the {suspicion.guard:,} that are believed at once "
        f"({some(suspicion.user_names)}); each is a deletion when the next scan agrees"
    )


def announced(chain: Chain, former: datetime | str, later: datetime | str) -> list[Announcement]:
    """Return the announcements between two scans, the oldest first.

    Raises
    ------
    CommandError
        The later scan was not announced, or the former one not before it.
    """
    newest = chain.cursor.scan_timestamp
    if newest is None:
        raise CommandError(NOTHING_ANNOUNCED)
    until = newest if later == LATEST else _name(later)
    links = list(chain.until(until))
    if not links:
        raise CommandError(
            f"TO {until} was not announced, or has expired; announced are {some(chain.by_scan) or 'none'}"
        )
    befores = [link.previous for link in links if link.previous is not None]
    if not befores:
        raise CommandError(f"TO {until} is the first that was announced: a baseline, with nothing before it")
    since = {PREVIOUS: befores[0], LATEST: newest}.get(_name(former), _name(former))
    if since not in befores:
        raise CommandError(f"FROM {since} was not announced before TO {until}; announced before it are {some(befores)}")
    return links[: befores.index(since) + 1][::-1]


def _name(scan: datetime | str) -> str:
    return scan if isinstance(scan, str) else timestamps.to_seconds(scan)


@dataclass(frozen=True)
class Parcel:
    """The events of a scan, made anew.

    Attributes
    ----------
    counts
        How many there are of each kind; ``announcement.counts`` says how many there were.
    from_records
        Whether what was known before has expired, and the records of the scan before took its place.
    """

    announcement: Announcement
    events: tuple[Event, ...]
    counts: Mapping[str, int]
    from_records: bool

    @property
    def exact(self) -> bool:
        """Whether it is as much as was announced."""
        return self.counts == self.announcement.counts

    def offer(self) -> Iterator[str]:
        """Yield what would be sent: how many events of which kind, and whether it is all that was."""
        then, previous = self.announcement, self.announcement.previous
        at_ = timestamps.to_seconds(timestamps.parse(then.announced_at))
        yield f"{then.scan_timestamp}, after {previous}, announced {at_}:"
        for kind, count in Counter(event.detail_type for event in self.events).items():
            yield f"{count:>7,} {kind}"
        if self.from_records:
            yield f"        made from the records of {previous}: what was known when it was announced has expired"
        if not self.exact:
            differing = [f"{count:,} {name} (then {then.counts[name]:,})" for name, count in self.counts.items()
                         if count != then.counts[name]]  # fmt: skip
            yield f"        not what was announced: {', '.join(differing)}"


def parcel(reader: Reader, chain: Chain, announcement: Announcement) -> Parcel:
    """Return what was announced of a scan.

    Raises
    ------
    CommandError
        It cannot be told again: the records have expired, or the index is behind.
    """
    try:
        rebuilt = rebuild(reader, chain, announcement)
    except IndexBehind as error:
        raise CommandError(f"nothing was sent: {error}; ask again", ExitStatus.INCOMPLETE) from error
    if rebuilt is None:
        raise CommandError(
            f"nothing was sent: what was announced of {announcement.scan_timestamp} cannot be told again, since the "
            f"records of it or of {announcement.previous} have expired"
        )
    telling, from_records = rebuilt
    events = tuple(of_detection(telling.detection, telling.scan, announcement.previous))
    return Parcel(announcement, events, telling.detection.counts, from_records)
