"""The keys of the table: which item is whose.

The deployment's own account has the plain keys, as if there were no other. What belongs to a member account says so in
its key, so that accounts whose users have the same names never mix:

=========== ============================== ====================================
item        user_name                      scan_timestamp
=========== ============================== ====================================
record      ``alice``                      ``<scan_timestamp>``
...         ``222222222222/alice``         ``<scan_timestamp>``
lock        ``__execution_lock__``         ``lock``
...         ``__execution_lock__``         ``lock#222222222222``
manifest    ``__scan__``                   ``scan#<scan_timestamp>``
...         ``__scan__``                   ``account#222222222222#scan#<scan_timestamp>``
fleet lock  ``__execution_lock__``         ``lock#organization``
fleet       ``__scan__``                   ``organization#<scan_timestamp>``
=========== ============================== ====================================

What else there is of scans (postures, announcements, the cursor) stands beside the manifests in the same way. IAM takes
no "/" in the name of a user (https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateUser.html), so that a user
who is called ``222222222222`` is no member account's. The manifest of a fleet, a run of the organization machine, tells
of all accounts that were scanned under its scan_timestamp; its lock keeps out another such run, and no scan.
"""

from dataclasses import dataclass

LOCK_USER_NAME = "__execution_lock__"
MANIFEST_USER_NAME = "__scan__"
MANIFEST_SORT_KEY_PREFIX = "scan#"
"""Keeps manifests out of the index query for a scan, whose key is the bare scan_timestamp."""

_LOCK = "lock"
_OF_MEMBER = "/"
_MEMBERS = "account#"


@dataclass(frozen=True)
class Keys:
    """The keys of one account's items.

    Parameters
    ----------
    member
        The account's 12 digits; None for the deployment's own account.
    """

    member: str | None = None

    @property
    def lock(self) -> dict[str, str]:
        """The primary key of the execution lock."""
        return {"user_name": LOCK_USER_NAME, "scan_timestamp": self.lock_name}

    @property
    def lock_name(self) -> str:
        """The sort key of the execution lock, by which the state machine frees it."""
        return _LOCK if self.member is None else f"{_LOCK}#{self.member}"

    @property
    def user_prefix(self) -> str:
        """What the user_name of each record begins with."""
        return "" if self.member is None else self.member + _OF_MEMBER

    def manifest(self, scan_timestamp: str) -> dict[str, str]:
        """Return the primary key of the manifest of a scan."""
        return self.beside_manifests(MANIFEST_SORT_KEY_PREFIX + scan_timestamp)

    def beside_manifests(self, name: str) -> dict[str, str]:
        """Return the primary key of something that is kept about scans."""
        return {"user_name": MANIFEST_USER_NAME, "scan_timestamp": self.about(name)}

    def about(self, name: str) -> str:
        """Return the sort key of something that is kept about scans, or how such keys begin."""
        return name if self.member is None else f"{_MEMBERS}{self.member}#{name}"

    def record(self, user_name: str, scan_timestamp: str) -> dict[str, str]:
        """Return the primary key of a record."""
        return {"user_name": self.user_prefix + user_name, "scan_timestamp": scan_timestamp}

    def holds(self, key: str) -> bool:
        """Tell whether the record with this user_name is the account's."""
        return _OF_MEMBER not in key if self.member is None else key.startswith(self.user_prefix)

    def user_name(self, key: str) -> str:
        """Return the name of the user whose record has this user_name."""
        return key.removeprefix(self.user_prefix)


OWN = Keys()
"""The keys of the deployment's own account."""


@dataclass(frozen=True)
class FleetKeys:
    """The keys of what is kept about the accounts of an organization as a whole."""

    manifest_prefix: str = "organization#"
    """What the sort keys of the manifests begin with."""
    lock_name: str = f"{_LOCK}#organization"
    """The sort key of the lock, by which the organization machine frees it."""

    @property
    def lock(self) -> dict[str, str]:
        """The primary key of the lock."""
        return {"user_name": LOCK_USER_NAME, "scan_timestamp": self.lock_name}

    def manifest(self, scan_timestamp: str) -> dict[str, str]:
        """Return the primary key of the manifest of a fleet."""
        return {"user_name": MANIFEST_USER_NAME, "scan_timestamp": self.manifest_prefix + scan_timestamp}


FLEET = FleetKeys()
"""The keys of the organization machine."""


def member_range(after: str = "") -> tuple[str, str]:
    """Return between which sort keys everything lies that is kept about the scans of member accounts, after one."""
    # "$" follows "#": what an account has begins with its number and "#".
    return f"{_MEMBERS}{after}$" if after else _MEMBERS, "account$"


def member_of(sort_key: str) -> str:
    """Return the member account that a sort key in that range is of."""
    return sort_key.split("#")[1]


def scan_timestamp_of(sort_key: str) -> str:
    """Return the scan_timestamp that the sort key of a manifest, or of what stands beside it, ends with."""
    return sort_key.rpartition("#")[2]
