"""A record: what is stored about one user in one scan, declared attribute by attribute.

Columns, comparisons and documents follow from :data:`ATTRIBUTES`. To add an attribute that ListUsers has, add its line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.shared import timestamps
from functions.shared.model import User
from functions.table.wire import Item

INDEX = "scan-timestamp-index"
"""The index that finds all records of one scan_timestamp."""


@dataclass(frozen=True)
class Attribute:
    """One attribute of a record."""

    name: str
    meaning: str
    source: str | None = None
    """The field of ListUsers' answer that it is; None where the scan itself gives it."""
    optional: bool = False
    """Absent where IAM gives none."""
    compared: bool = False
    """Whether a difference between two scans is a change of the user."""


ATTRIBUTES = (
    Attribute("user_name", "the name, unique in the account at any moment; partition key", "UserName"),
    Attribute("scan_timestamp", "the scan: start of its execution, UTC to the second; sort key"),
    Attribute("user_id", "the identity: a new user of an old name has a new one", "UserId"),
    Attribute("arn", "the ARN, which holds the path", "Arn", compared=True),
    Attribute("create_date", "when the user was created, UTC", "CreateDate", compared=True),
    Attribute(
        "password_last_used",
        "last use of the console password, UTC; absent: no password, or not used since 2014-10-20",
        "PasswordLastUsed",
        optional=True,
        compared=True,
    ),
    Attribute("listed_at", "when IAM was asked for the page that held the user, UTC"),
    Attribute("ttl", "when the record expires, epoch seconds; the same for all items of a scan"),
)
"""What a record holds, in the order in which it is shown."""

COMPARED = tuple(attribute.name for attribute in ATTRIBUTES if attribute.compared)


def user_of(listed: Mapping[str, Any]) -> User:
    """Return a user in the form of a record, from one entry of ListUsers' answer.

    Raises
    ------
    KeyError
        IAM left out what it always gives.
    """
    return {
        attribute.name: _text(listed[source])
        for attribute in ATTRIBUTES
        if (source := attribute.source) is not None and (source in listed or not attribute.optional)
    }


def record_of(user: User, *, scan_timestamp: str, listed_at: str, ttl: int) -> Item:
    """Return the item that is stored for a user of a scan.

    Parameters
    ----------
    listed_at
        When IAM was asked for the user's page, ISO 8601.
    ttl
        When the record expires, epoch seconds.
    """
    return {**user, "scan_timestamp": scan_timestamp, "listed_at": listed_at, "ttl": ttl}


def _text(value: Any) -> str:
    return timestamps.to_seconds(value) if isinstance(value, datetime) else str(value)
