"""Reads the environment variables of a function, which Terraform sets, into typed values.

Nothing is read at import: each handler builds its settings when it is called.
"""

import json
import os
import re
from collections.abc import Mapping

from functions.shared.errors import InvalidConfiguration


def text(name: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a variable that must not be empty.

    Raises
    ------
    InvalidConfiguration
        The variable is missing or empty.
    """
    value = (os.environ if environment is None else environment).get(name, "").strip()
    if not value:
        raise InvalidConfiguration(f"environment variable {name} is missing; it must not be empty")
    return value


def whole_number(name: str, low: int, high: int, environment: Mapping[str, str] | None = None) -> int:
    """Return a variable as a whole number from low to high, both included.

    Raises
    ------
    InvalidConfiguration
        The variable is missing, not a whole number, or out of the range.
    """
    value = text(name, environment)
    if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
        raise InvalidConfiguration(
            f"environment variable {name} is {value!r}; it must be a whole number from {low} to {high}"
        )
    return int(value)


def flag(name: str, environment: Mapping[str, str] | None = None) -> bool:
    """Return a variable that is ``true`` or ``false``.

    Raises
    ------
    InvalidConfiguration
        The variable is missing, or something else.
    """
    value = text(name, environment)
    if value not in {"true", "false"}:
        raise InvalidConfiguration(f"environment variable {name} is {value!r}; it must be true or false")
    return value == "true"


def texts(name: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """Return a variable that is a list of texts, in JSON.

    Raises
    ------
    InvalidConfiguration
        The variable is missing, or something else.
    """
    value = text(name, environment)
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InvalidConfiguration(f"environment variable {name} is {value!r}; it must be a list of texts, JSON")
    return found


def table_name() -> str:
    """Return the name of the records table, from DYNAMODB_TABLE_NAME."""
    return text("DYNAMODB_TABLE_NAME")


def retention_days() -> int:
    """Return how many days records and manifests are kept, from RETENTION_DAYS."""
    return whole_number("RETENTION_DAYS", 1, 3650)


def lease_seconds() -> int:
    """Return how long the lock is leased, in seconds, from LEASE_SECONDS."""
    return whole_number("LEASE_SECONDS", 60, 3600)


def scan_timeout_seconds() -> int:
    """Return how long a scan may take, and its listing span, in seconds, from SCAN_TIMEOUT_SECONDS."""
    return whole_number("SCAN_TIMEOUT_SECONDS", 60, 86_400)


def page_size() -> int:
    """Return how many users ListUsers asks for, from PAGE_SIZE. IAM takes MaxItems from 1 to 1,000."""
    return whole_number("PAGE_SIZE", 1, 1000)


def batch_size() -> int:
    """Return how many users one WriteBatch invocation writes, from BATCH_SIZE."""
    return whole_number("BATCH_SIZE", 1, 500)


def wanted_sections() -> frozenset[str]:
    """Return which sources of the users' posture scans read, by their names in ``model.Sections``.

    From CREDENTIAL_REPORT_ENABLED and AUTHORIZATION_DETAILS_ENABLED.
    """
    enabled = {
        "credential_report": flag("CREDENTIAL_REPORT_ENABLED"),
        "authorization": flag("AUTHORIZATION_DETAILS_ENABLED"),
    }
    return frozenset(name for name, wanted in enabled.items() if wanted)


def recorded_tags() -> frozenset[str]:
    """Return the keys of the users' tags that are recorded, from RECORDED_TAGS, a list in JSON.

    Raises
    ------
    InvalidConfiguration
        The variable is missing, or no list of texts.
    """
    return frozenset(texts("RECORDED_TAGS"))


def member_role_name() -> str | None:
    """Return the name of the role that member accounts have for this deployment, from MEMBER_ROLE_NAME.

    None where it scans its own account only: the variable is not set.
    """
    return text("MEMBER_ROLE_NAME") if "MEMBER_ROLE_NAME" in os.environ else None


def member_external_id() -> str:
    """Return what the roles of member accounts ask for, so that they are assumed for us only; MEMBER_EXTERNAL_ID."""
    return text("MEMBER_EXTERNAL_ID")


def accounts() -> list[str]:
    """Return the accounts that an organization scan is to scan, from ACCOUNTS; empty: those that Organizations lists.

    Raises
    ------
    InvalidConfiguration
        One of them is no account, or is named twice.
    """
    return _accounts("ACCOUNTS")


def excluded_accounts() -> frozenset[str]:
    """Return the accounts that an organization scan leaves out, from EXCLUDED_ACCOUNTS."""
    return frozenset(_accounts("EXCLUDED_ACCOUNTS"))


def included_organizational_units() -> list[str]:
    """Return the organizational units, or roots, whose accounts are scanned; empty: all.

    From INCLUDED_ORGANIZATIONAL_UNITS.
    """
    name = "INCLUDED_ORGANIZATIONAL_UNITS"
    return _each(name, _UNIT, "the id of an organizational unit such as ou-ab12-cdef3456, or of a root such as r-ab12")


def organization_timeout_seconds() -> int:
    """Return how long an organization scan may take, and its lock is leased; from ORGANIZATION_TIMEOUT_SECONDS."""
    return whole_number("ORGANIZATION_TIMEOUT_SECONDS", 60, 604_800)


def organization_state_machine() -> str | None:
    """Return the ARN of the organization machine, from ORGANIZATION_STATE_MACHINE; None where there is none."""
    return text("ORGANIZATION_STATE_MACHINE") if "ORGANIZATION_STATE_MACHINE" in os.environ else None


_ACCOUNT = re.compile(r"[0-9]{12}")
# https://docs.aws.amazon.com/organizations/latest/APIReference/API_ListAccountsForParent.html
_UNIT = re.compile(r"r-[0-9a-z]{4,32}|ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}")


def _accounts(name: str) -> list[str]:
    return _each(name, _ACCOUNT, "an account: 12 digits")


def _each(name: str, pattern: re.Pattern[str], what: str) -> list[str]:
    """Return a list of texts, each of which matches, and none of which is there twice."""
    found = texts(name)
    for one in found:
        if not pattern.fullmatch(one):
            raise InvalidConfiguration(f"environment variable {name} has {one!r}; each must be {what}")
        if found.count(one) > 1:
            raise InvalidConfiguration(
                f"environment variable {name} has {one!r} {found.count(one)} times; once is enough"
            )
    return found


def change_events_enabled() -> bool:
    """Return whether the changes of complete scans are published as events, from CHANGE_EVENTS_ENABLED."""
    return flag("CHANGE_EVENTS_ENABLED")


def event_bus_name() -> str:
    """Return the name, or the ARN, of the bus that events go to, from EVENT_BUS_NAME."""
    return text("EVENT_BUS_NAME")


def announce_activity() -> bool:
    """Return whether the mere use of a password or an access key is announced, from ANNOUNCE_ACTIVITY."""
    return flag("ANNOUNCE_ACTIVITY")


def mass_deletion_guard_percent() -> int:
    """Return how many percent of the users may be deleted at once without suspicion; MASS_DELETION_GUARD_PERCENT."""
    return whole_number("MASS_DELETION_GUARD_PERCENT", 1, 100)
