"""The walk: which scans tell of changes, in which order, and when one of them may be believed.

PublishChanges walks as scans come, and announces what each has to say; the operator's command walks the same way again.
Scans speak in the order in which they listed, whatever they are called: a scan_timestamp is when an execution started,
and a redrive may come days after it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from functions.shared.errors import IndexBehind
from functions.table import posture
from functions.table.chunks import Unreadable
from functions.table.detection import Detection, Options, Picture, detect
from functions.table.reader import Reader
from functions.table.record import AUTHORIZATION
from functions.table.scans import RecordedScan
from functions.table.wire import Item


@dataclass(frozen=True)
class Telling:
    """What a scan has to say.

    Attributes
    ----------
    missing
        How many of its records the index has not yielded, and will not any more.
    """

    scan: RecordedScan
    detection: Detection
    missing: int


def following(scans: Iterable[RecordedScan], listed_until: datetime | None) -> Iterator[RecordedScan]:
    """Yield the trusted scans that began to list when the last one that spoke had ended to.

    One that listed before that, or meanwhile, was redriven late: it does not know what came last, and says nothing.
    """
    for scan in scans:
        if scan.trusted and (listed_until is None or scan.listing[0] > listed_until):
            yield scan


def first(scans: Iterable[RecordedScan]) -> RecordedScan | None:
    """Return the trusted scan that listed first: it speaks before the others."""
    return min(scans, key=_by_listing, default=None)


def _by_listing(scan: RecordedScan) -> tuple[tuple[datetime, datetime], str]:
    return scan.listing, scan.scan_timestamp


def tell(
    reader: Reader,
    scan: RecordedScan,
    picture: Picture | None,
    *,
    detailed: Collection[str] | None,
    options: Options,
    counts: Callable[[Item], bool] = bool,
) -> Telling:
    """Return what a scan has to say to somebody who knows a picture.

    Parameters
    ----------
    picture
        None where the scan is the first that speaks. So begins whoever has lost the picture; less is known by it than
        by one: of who was missing then, and of what the scan did not know, nothing.
    detailed
        See :func:`details_of`.
    counts
        Tells of each of its records whether it is to be taken into account.

    Raises
    ------
    IndexBehind
        The index does not yield all records of the scan yet. Later than some minutes after the scan it will not yield
        more: whoever is missing is looked up by name, or is new, and told of when the next scan has it.
    """
    listing = reader.of_scan(scan)
    records = list(listing)
    if listing.missing and reader.waits_for(scan):
        raise IndexBehind(
            f"the index yields {listing.found:,} of the {scan.records_written:,} records of scan "
            f"{scan.scan_timestamp} so far; what it holds is told when the index has caught up"
        )
    detection = detect(
        picture,
        scan,
        filter(counts, records),
        look_up=lambda names: filter(counts, reader.in_scan(scan, names).values()),
        detailed=detailed,
        options=options,
    )
    return Telling(scan, detection, listing.missing)


def details_of(
    reader: Reader, scan: RecordedScan, lost: Callable[[str], None] = lambda _: None
) -> Collection[str] | None:
    """Return the user_ids in the authorization details of a scan, None where it has none, or none any longer.

    Parameters
    ----------
    lost
        Hears why they cannot be read any longer: they are kept for 14 days.
    """
    manifest = scan.manifest
    if manifest.posture is None or (manifest.sections or {}).get(AUTHORIZATION, {}).get("state") != "CURRENT":
        return None
    try:
        return posture.load(
            reader.dynamodb, reader.table_name, scan.scan_timestamp, manifest.posture, keys=reader.keys
        ).authorization
    except Unreadable as error:
        lost(str(error))
        return None
