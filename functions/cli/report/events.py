"""What happened from scan to scan: the one place where the page takes its changes from.

They are those that are announced, but for two things: what one trusted listing lacks is gone, as the other commands say
it, and nothing is suspected first, for a page tells what was and wakes nobody.
"""

from collections.abc import Mapping

from functions.table.detection import Change, Options, Picture, detect
from functions.table.reader import Reader
from functions.table.scans import RecordedScan
from functions.table.wire import Item

_OPTIONS = Options(guard_percent=100)


class Events:
    """Goes through trusted scans, oldest first, and tells what happened since the one before."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._picture: Picture | None = None
        self._last: RecordedScan | None = None

    def of(self, scan: RecordedScan, records: Mapping[str, Item], *, complete: bool) -> tuple[Change, ...] | None:
        """Return what happened, None where two scans overlap, and what came first cannot be told.

        Parameters
        ----------
        records
            Those of the scan, by user_id.
        complete
            Whether the index has yielded all; else whoever is missing may be there under another name.
        """
        if self._last is not None and not self._last.is_before(scan):
            return None
        found = detect(
            self._picture,
            scan,
            records.values(),
            look_up=lambda names: self._reader.in_scan(scan, names).values(),
            detailed=frozenset(records) if complete else None,
            options=_OPTIONS,
        )
        self._picture, self._last = found.picture, scan
        return found.changes
