"""A record: what is stored about one user in one scan, declared attribute by attribute.

Columns, comparisons and documents follow from :data:`ATTRIBUTES`. To add an attribute that ListUsers has, add its line.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import chain
from typing import Any

from functions.shared import timestamps
from functions.shared.model import User
from functions.table.wire import Item

INDEX = "scan-timestamp-index"
"""The index that finds all records of one scan_timestamp, sorted by their key."""

LISTING = "listing"
"""What ListUsers tells: every record has it."""
CREDENTIAL_REPORT = "credential_report"
"""What the credential report tells. A record has it where it has ``credential_report_time``; else it is unknown."""
AUTHORIZATION = "authorization"
"""What GetAccountAuthorizationDetails tells. A record has it where it has ``groups``; else it is unknown."""

ROOT = "<root_account>"
"""What the credential report calls the root user, who is not in IAM's list of users, and has no record."""

SLOTS = (1, 2)
"""A user has up to two access keys and two signing certificates, in slots that may be exchanged."""
IN_SLOTS = ("access_key", "cert")
"""How the attributes of what is in a slot begin; the number of the slot follows."""


class Kind(StrEnum):
    """What a value is; its type in DynamoDB is that in brackets."""

    TEXT = "text"
    """(S)."""
    TIME = "time"
    """ISO 8601 in UTC with a Z (S)."""
    NUMBER = "number"
    """(N)."""
    FLAG = "flag"
    """(BOOL)."""
    TEXTS = "texts"
    """Sorted (L of S)."""
    TAGS = "tags"
    """(M of S)."""


@dataclass(frozen=True)
class Attribute:
    """One attribute of a record."""

    name: str
    meaning: str
    source: str | None = None
    """The field of ListUsers' answer, or the column of the credential report, that it is; None where it is worked out
    from more than that, or the scan itself gives it."""
    optional: bool = False
    """Absent where AWS gives none."""
    compared: bool = False
    """Whether a difference between two scans is a change of the user, where both know the section."""
    section: str | None = None
    """Who tells it, None for the scan itself: see :data:`LISTING`, :data:`CREDENTIAL_REPORT`, :data:`AUTHORIZATION`."""
    kind: Kind = Kind.TEXT
    activity: bool = False
    """Whether it changes by mere use: shown beside changes, and seldom worth to be called one."""


def _listed(name: str, meaning: str, source: str, **more: Any) -> Attribute:
    return Attribute(name, meaning, source, section=LISTING, **more)


def _reported(name: str, meaning: str, kind: Kind = Kind.TIME, **more: Any) -> Attribute:
    return Attribute(name, meaning, name, optional=True, section=CREDENTIAL_REPORT, kind=kind, **more)


def _detail(name: str, meaning: str, kind: Kind = Kind.TEXTS) -> Attribute:
    return Attribute(name, meaning, optional=True, compared=True, section=AUTHORIZATION, kind=kind)


def _key(slot: int) -> tuple[Attribute, ...]:
    """Return the attributes of an access key. Its creation tells it from others, its slot does not: slots may swap."""
    key = f"access_key_{slot}"
    return (
        _reported(f"{key}_active", "whether the key can be used; absent: no such key", Kind.FLAG, compared=True),
        _reported(f"{key}_last_rotated", "when the key was created; absent: no such key", compared=True),
        _reported(f"{key}_last_used_date", "last use of the key, to 15 minutes; absent: never", activity=True),
        _reported(f"{key}_last_used_region", "region of its last use", Kind.TEXT, activity=True),
        _reported(f"{key}_last_used_service", "service of its last use", Kind.TEXT, activity=True),
    )


def _certificate(slot: int) -> tuple[Attribute, ...]:
    certificate = f"cert_{slot}"
    return (
        _reported(f"{certificate}_active", "whether the signing certificate can be used", Kind.FLAG, compared=True),
        _reported(f"{certificate}_last_rotated", "when the certificate was uploaded; absent: none", compared=True),
    )


ATTRIBUTES = (
    _listed(
        "user_name",
        "the name, unique in the account at any moment; partition key (`<account_id>/<name>` of a member account)",
        "UserName",
    ),
    Attribute(
        "scan_timestamp",
        "the scan: the start of its execution, or what that was told, UTC to the second; sort key",
        kind=Kind.TIME,
    ),
    _listed("user_id", "the identity: a new user of an old name has a new one", "UserId"),
    _listed("arn", "the ARN, which holds the path", "Arn", compared=True),
    _listed("create_date", "when the user was created, UTC", "CreateDate", compared=True, kind=Kind.TIME),
    _listed(
        "password_last_used",
        "last use of the console password, UTC; absent: no password, or not used since 2014-10-20",
        "PasswordLastUsed",
        optional=True,
        compared=True,
        kind=Kind.TIME,
        activity=True,
    ),
    Attribute("account_id", "the account of the user"),
    Attribute("listed_at", "when IAM was asked for the page that held the user, UTC", kind=Kind.TIME),
    Attribute("ttl", "when the record expires, epoch seconds; the same for all items of a scan", kind=Kind.NUMBER),
    Attribute(
        "credential_report_time",
        "when IAM made the credential report, UTC; absent: it told nothing of this user, and what follows is unknown",
        optional=True,
        section=CREDENTIAL_REPORT,
        kind=Kind.TIME,
    ),
    _reported("password_enabled", "whether there is a console password", Kind.FLAG, compared=True),
    _reported("password_last_changed", "when the password was set", compared=True),
    _reported("password_next_rotation", "when the account's password policy wants a new one"),
    _reported("mfa_active", "whether there is an MFA device", Kind.FLAG, compared=True),
    *chain.from_iterable(map(_key, SLOTS)),
    *chain.from_iterable(map(_certificate, SLOTS)),
    _detail("groups", "names of the groups; absent: unknown, as is what follows"),
    _detail("attached_policies", "ARNs of the managed policies attached to the user directly"),
    _detail("inline_policies", "names of the policies that are part of the user"),
    _detail("permissions_boundary", "ARN of the permissions boundary, where there is one", Kind.TEXT),
    _detail("tags", "the tags whose keys recorded_tags names, where there is one", Kind.TAGS),
    _detail("admin_via", "why the user may do everything, [] for no reason; absent: unknown"),
)
"""What a record holds, in the order in which it is shown."""


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
        if attribute.section == LISTING
        and (source := attribute.source) is not None
        and (source in listed or not attribute.optional)
    }


def record_of(
    user: User, *, scan_timestamp: str, account_id: str, listed_at: str, ttl: int, posture: Mapping[str, Any]
) -> Item:
    """Return the item that is stored for a user of a scan.

    Parameters
    ----------
    account_id
        The user's account.
    listed_at
        When IAM was asked for the user's page, ISO 8601.
    ttl
        When the record expires, epoch seconds.
    posture
        The attributes that the credential report and the authorization details tell of the user.
    """
    scan = {"scan_timestamp": scan_timestamp, "account_id": account_id, "listed_at": listed_at, "ttl": ttl}
    return {**user, **scan, **posture}


def by_user_id(records: Iterable[Item]) -> dict[str, Item]:
    """Return records of one scan by user_id.

    A user who was renamed while the scan listed may have two, under both names: the one that was listed later counts.
    """
    users: dict[str, Item] = {}
    for record in records:
        former = users.get(str(record["user_id"]))
        if former is None or str(former.get("listed_at", "")) <= str(record.get("listed_at", "")):
            users[str(record["user_id"])] = record
    return users


def _text(value: Any) -> str:
    return timestamps.to_seconds(value) if isinstance(value, datetime) else str(value)
