"""What can be asked of the table: which scans there are, who existed, what became of a user, what changed.

Every function takes a low-level DynamoDB client and the name of the table, and uses of the client Query, by its
paginator, and BatchGetItem. None of them writes. For more questions at one moment, make one :class:`Reader`.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from functions.table import diff as _diff
from functions.table import history as _history
from functions.table.diff import Change, Diff, SpansOverlap
from functions.table.history import Event, History, UnknownUser
from functions.table.reader import Listing, Reader, TableBusy
from functions.table.scans import RecordedScan, after, at, before, newest

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

__all__ = [
    "Change",
    "Diff",
    "Event",
    "History",
    "Listing",
    "Reader",
    "RecordedScan",
    "SpansOverlap",
    "TableBusy",
    "UnknownUser",
    "after",
    "at",
    "before",
    "diff",
    "history",
    "newest",
    "scans",
    "users",
]


def scans(dynamodb: "DynamoDBClient", table_name: str) -> list[RecordedScan]:
    """Return all scans that have not expired, newest scan_timestamp first."""
    return list(Reader(dynamodb, table_name).scans())


def users(
    dynamodb: "DynamoDBClient", table_name: str, scan: RecordedScan, *, sleep: Callable[[float], None] = time.sleep
) -> Listing:
    """Return the records of a scan, to iterate over; its ``missing`` then says how many the index did not yield."""
    return Reader(dynamodb, table_name, sleep=sleep).of_scan(scan)


def diff(
    dynamodb: "DynamoDBClient",
    table_name: str,
    former: RecordedScan,
    later: RecordedScan,
    *,
    activity: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Diff:
    """Return what became of users between two trusted scans. With ``activity``, mere use is a change, too.

    Raises
    ------
    SpansOverlap
        The former had not ended to list when the later began.
    """
    return _diff.diff(Reader(dynamodb, table_name, sleep=sleep), former, later, activity=activity)


def history(
    dynamodb: "DynamoDBClient",
    table_name: str,
    user: str,
    *,
    activity: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> History:
    """Return what every scan says of a user, by its name or its user_id, oldest first.

    With ``activity``, mere use is a change, too.

    Its ``events`` have a ``change`` each: ``first seen``, ``changed``, ``renamed``, ``recreated``, ``deleted``,
    ``deleted or renamed`` (the index is behind), ``not listed``, ``seen again``, or nothing. ``deleted`` is said only
    where a trusted scan proves it.

    Raises
    ------
    UnknownUser
        No scan has recorded it.
    """
    return _history.history(Reader(dynamodb, table_name, sleep=sleep), user, activity=activity)
