"""What happened, told again from the records: since some scan, or exactly as it was announced.

Both go by the rules of the walk and of the detection, so they say what PublishChanges says, wherever it was called.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from functions.table import walk
from functions.table.announcement import (
    ANNOUNCEMENT_SORT_KEY_PREFIX,
    Announcement,
    Announcements,
    Cursor,
)
from functions.table.chunks import Unreadable
from functions.table.detection import Change, Options, Picture
from functions.table.diff import CHANGED
from functions.table.reader import Reader
from functions.table.record import ATTRIBUTES
from functions.table.scans import RecordedScan
from functions.table.walk import Telling
from functions.table.wire import Item

_ACTIVITY = frozenset(attribute.name for attribute in ATTRIBUTES if attribute.activity)


def is_mere_use(change: Change) -> bool:
    """Tell whether a change is none unless mere use is asked for."""
    return change.change == CHANGED and not (change.opened or change.closed) and _ACTIVITY.issuperset(change.attributes)


@dataclass(frozen=True)
class Chain:
    """What was announced, scan after scan, of what has not expired.

    Attributes
    ----------
    by_scan
        By scan_timestamp, newest first.
    """

    announcements: Announcements
    cursor: Cursor
    by_scan: Mapping[str, Announcement]

    @classmethod
    def of(cls, reader: Reader) -> "Chain":
        """Read it."""
        announcements = Announcements(reader.dynamodb, reader.table_name, reader.keys)
        # The cursor first: what is announced meanwhile is one more in the chain.
        cursor = announcements.cursor()
        found = map(Announcement.of, reader.about_scans(ANNOUNCEMENT_SORT_KEY_PREFIX))
        return cls(announcements, cursor, {one.scan_timestamp: one for one in found})

    def until(self, scan_timestamp: str) -> Iterator[Announcement]:
        """Yield the announcement of a scan, the one before it, and so on."""
        announcement = self.by_scan.get(scan_timestamp)
        while announcement is not None:
            yield announcement
            announcement = self.by_scan.get(announcement.previous or "")

    def picture_after(self, scan_timestamp: str) -> Picture | None:
        """Return what was announced when a scan was; None where that has expired, or the scan was not announced."""
        kept = {one.previous: one.picture for one in self.by_scan.values() if one.picture is not None}
        if self.cursor.scan_timestamp is not None and self.cursor.picture is not None:
            kept[self.cursor.scan_timestamp] = self.cursor.picture
        if scan_timestamp not in kept:
            return None
        try:
            return self.announcements.picture(kept[scan_timestamp])
        except Unreadable:
            return None


@dataclass(frozen=True)
class Step:
    """What a scan has to say, and what was announced of that.

    Attributes
    ----------
    previous
        The scan that spoke before.
    announcement
        Of this scan; or, where it was left out, of the next one that was announced.
    """

    previous: RecordedScan
    telling: Telling
    announcement: Announcement | None

    @property
    def scan(self) -> RecordedScan:
        """The scan."""
        return self.telling.scan

    @property
    def told_by_itself(self) -> bool:
        """Whether these two scans, and none between them, were announced one after the other, with these changes.

        Others were announced where the index was behind then, or where what was asked then has expired.
        """
        return (
            self.announcement is not None
            and self.announcement.scan_timestamp == self.scan.scan_timestamp
            and self.announcement.previous == self.previous.scan_timestamp
            and self.announcement.counts == self._counts(self.announcement.options)
        )

    def _counts(self, options: Options) -> dict[str, int]:
        detection = self.telling.detection
        silent = 0 if options.activity else sum(map(is_mere_use, detection.changes))
        return {**detection.counts, CHANGED: detection.counts[CHANGED] - silent}

    def announcement_of(self, change: Change) -> Announcement | None:
        """Return the announcement that tells of a change, None where it was not announced."""
        if self.announcement is None or self.announcement.previous is None:
            return None
        return None if is_mere_use(change) and not self.announcement.options.activity else self.announcement


@dataclass
class Replay:
    """What happened since a scan, told by every trusted scan that listed after it. To be walked once.

    Attributes
    ----------
    base
        The scan with which it begins: what it recorded is what was so before.
    chain
        What was announced.
    activity
        Whether mere use is a change.
    picture
        What is known: of the base, and then of the scan up to which it was walked.
    from_records
        Whether what was known then is only what the base itself recorded.
    missing
        How many records of the base the index has not yielded, where it was asked.
    """

    reader: Reader
    scans: Collection[RecordedScan]
    base: RecordedScan
    chain: Chain
    activity: bool = False
    picture: Picture = field(init=False)
    from_records: bool = field(init=False, default=False)
    missing: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        known = self.chain.picture_after(self.base.scan_timestamp)
        if known is None:
            told = walk.tell(self.reader, self.base, None, detailed=None, options=Options())
            self.from_records, self.missing, known = True, told.missing, told.detection.picture
        elif self.activity:
            self.missing = self._learn_use(known)
        self.picture = known

    def _learn_use(self, picture: Picture) -> int:
        """Add to a picture what it may be kept without, when what was used; return how many records are missing."""
        listing = self.reader.of_scan(self.base)
        for record in sorted(listing, key=lambda one: str(one.get("listed_at", ""))):
            entry = picture.users.get(str(record["user_id"]))
            if entry is not None and self.base.counts(record):
                entry.known.learn(record)
        return listing.missing

    def __iter__(self) -> Iterator[Step]:
        """Walk.

        Raises
        ------
        IndexBehind
            The index does not yield all records of the next scan yet.
        """
        previous, newest = self.base, next(iter(self.chain.by_scan.values()), None)
        for scan, announcement in self._order():
            # Which guard is set now, only the deployment knows; the one that was last used tells it best.
            guarded = announcement or newest
            percent = guarded.options.guard_percent if guarded is not None else Options().guard_percent
            telling = walk.tell(
                self.reader,
                scan,
                self.picture,
                detailed=_details_of(self.reader, scan, self.chain),
                options=Options(percent, self.activity),
            )
            self.picture = telling.detection.picture
            yield Step(previous, telling, announcement)
            previous = scan

    def _order(self) -> list[tuple[RecordedScan, Announcement | None]]:
        """Return the scans that speak, each with the first announcement that has to do with it."""
        order: list[RecordedScan] = []
        last = self.base
        while (scan := walk.first(walk.following(self.scans, last.listing[1]))) is not None:
            order.append(scan)
            last = scan
        pairs: list[tuple[RecordedScan, Announcement | None]] = []
        announcement = None
        for scan in reversed(order):
            announcement = self.chain.by_scan.get(scan.scan_timestamp, announcement)
            pairs.append((scan, announcement))
        return pairs[::-1]


def rebuild(reader: Reader, chain: Chain, announcement: Announcement) -> tuple[Telling, bool] | None:
    """Tell again what was announced of a scan that was not the first.

    Returns
    -------
    What it had to say, and whether the picture has expired that it was compared with, and the records of the scan
    before took its place. None where that has expired, too.

    Raises
    ------
    IndexBehind
        The index does not yield all records yet.
    """
    scans = {scan.scan_timestamp: scan for scan in reader.scans() if scan.trusted}
    scan, previous = (scans.get(name or "") for name in (announcement.scan_timestamp, announcement.previous))
    if scan is None or announcement.previous is None:
        return None
    before = chain.picture_after(announcement.previous)
    from_records = before is None
    if before is None:
        if previous is None:
            return None
        before = walk.tell(reader, previous, None, detailed=None, options=announcement.options).detection.picture
    after = chain.picture_after(scan.scan_timestamp)
    telling = walk.tell(
        reader,
        scan,
        before,
        detailed=_details_of(reader, scan, chain),
        options=announcement.options,
        counts=bool if after is None else lambda record: _known_in(after, record),
    )
    return telling, from_records


def _details_of(reader: Reader, scan: RecordedScan, chain: Chain) -> Collection[str] | None:
    """Return the user_ids in the authorization details of a scan, also where they have expired, but it was announced.

    The details are kept for 14 days only. Whom they had is in the picture that was made of them; who is in it as
    suspected they had not.
    """
    expired: list[str] = []
    detailed = walk.details_of(reader, scan, expired.append)
    picture = chain.picture_after(scan.scan_timestamp) if expired else None
    if picture is None:
        return detailed
    return {user_id for user_id, entry in picture.users.items() if entry.suspected_in != scan.scan_timestamp}


def _known_in(picture: Picture, record: Item) -> bool:
    """Tell whether the index had yielded a record when a picture was made: it may have been behind."""
    entry = picture.users.get(str(record["user_id"]))
    return entry is not None and entry.user_name == record["user_name"]
