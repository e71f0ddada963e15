"""What a record tells of its user's credentials and permissions, and whether it may be believed.

Most of a record comes from ListUsers; the rest from two sections that a scan may lack, of the whole account or of one
user. The credential report is a text that IAM makes at most every four hours: one that is older than that was not made
anew, and says what was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from functions.shared import timestamps
from functions.table.record import AUTHORIZATION, CREDENTIAL_REPORT, SLOTS

NAMES = {CREDENTIAL_REPORT: "credential report", AUTHORIZATION: "authorization details"}
"""What the sections are called."""

STALE_AFTER = timedelta(hours=4, minutes=15)
"""IAM makes a new report where the last one is 4 hours old, and takes some time: an older one was asked for in vain."""

REPORT_TIME = "credential_report_time"
"""When the credential report was made that a record has facts of; a record without has none."""

_OF_KEYS = tuple(f"access_key_{slot}_{name}" for slot in SLOTS for name in ("last_rotated", "active", "last_used_date"))

Facts = Mapping[str, Any]
"""A record, or what a manifest has of the root user."""


class Knowledge(StrEnum):
    """What is known of a section's facts."""

    CURRENT = "CURRENT"
    STALE = "STALE"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Key:
    """An access key. IAM's report names none; its creation tells it from another, its slot does not."""

    created: datetime
    active: bool
    last_used: datetime | None
    """None where it was never used, as far as IAM knows."""


def known(facts: Facts, section: str, at: datetime | None = None) -> Knowledge:
    """Return what is known of a section's facts.

    Parameters
    ----------
    at
        The time for which they are to hold. Default: when the record's user was listed.
    """
    if section == AUTHORIZATION:
        return Knowledge.CURRENT if "groups" in facts else Knowledge.UNKNOWN
    made = time_of(facts, REPORT_TIME)
    if made is None:
        return Knowledge.UNKNOWN
    return Knowledge.STALE if (at or listed_at(facts)) - made > STALE_AFTER else Knowledge.CURRENT


def listed_at(record: Facts) -> datetime:
    """Return when IAM was asked for the user; of a record from before that was noted, its scan's time."""
    return time_of(record, "listed_at") or timestamps.parse(str(record["scan_timestamp"]))


def keys_of(facts: Facts) -> tuple[Key, ...]:
    """Return the access keys, the oldest first."""
    return _keys(*map(facts.get, _OF_KEYS))


# Several controls in turn ask for the keys of one user.
@lru_cache(maxsize=16)
def _keys(*told: Any) -> tuple[Key, ...]:
    slots = zip(*[iter(told)] * 3, strict=True)
    keys = [
        Key(timestamps.parse(str(created)), active is True, timestamps.parse(str(used)) if used else None)
        for created, active, used in slots
        if created
    ]
    return tuple(sorted(keys, key=lambda key: key.created))


def time_of(facts: Facts, name: str) -> datetime | None:
    """Return an attribute as a time, None where there is none."""
    text = facts.get(name)
    return timestamps.parse(str(text)) if text else None
