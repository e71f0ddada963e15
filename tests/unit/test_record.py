"""A record: declared attribute by attribute, once."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from functions.table import record
from functions.table.record import (
    ATTRIBUTES,
    AUTHORIZATION,
    CREDENTIAL_REPORT,
    LISTING,
    Attribute,
    Kind,
    record_of,
    user_of,
)
from tests.support.scene import STARTED, TIMESTAMP, TTL

LISTED: dict[str, Any] = {
    "UserName": "alice",
    "UserId": "AIDAEXAMPLE",
    "Path": "/ops/",
    "Arn": "arn:aws:iam::123456789012:user/ops/alice",
    "CreateDate": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "Tags": [],
}
ALICE = {
    "user_name": "alice",
    "user_id": "AIDAEXAMPLE",
    "arn": "arn:aws:iam::123456789012:user/ops/alice",
    "create_date": "2026-01-02T03:04:05Z",
}

SCAN: dict[str, Any] = {
    "scan_timestamp": TIMESTAMP,
    "account_id": "123456789012",
    "listed_at": STARTED,
    "ttl": TTL,
}


def test_a_user_is_taken_as_iam_gives_it_and_no_more() -> None:
    assert user_of(LISTED) == ALICE


def test_a_password_that_was_used_is_told() -> None:
    used = datetime(2026, 2, 3, 5, 5, 6, 700_000, tzinfo=timezone(timedelta(hours=1)))

    assert user_of({**LISTED, "PasswordLastUsed": used}) == {**ALICE, "password_last_used": "2026-02-03T04:05:06Z"}


@pytest.mark.parametrize("missing", ["UserName", "UserId", "Arn", "CreateDate"])
def test_a_user_without_what_iam_always_gives_is_an_error(missing: str) -> None:
    """Rather than a record that lacks it."""
    with pytest.raises(KeyError, match=missing):
        user_of({name: value for name, value in LISTED.items() if name != missing})


def test_a_record_is_the_user_in_a_scan() -> None:
    assert record_of(user_of(LISTED), **SCAN, posture={"groups": []}) == {
        **ALICE,
        "groups": [],
        "scan_timestamp": TIMESTAMP,
        "account_id": "123456789012",
        "listed_at": STARTED,
        "ttl": TTL,
    }


def test_a_record_holds_exactly_what_is_declared() -> None:
    used = {**LISTED, "PasswordLastUsed": LISTED["CreateDate"]}
    known = {attribute.name: "" for attribute in ATTRIBUTES if attribute.section in {CREDENTIAL_REPORT, AUTHORIZATION}}

    stored = record_of(user_of(used), **SCAN, posture=known)

    assert stored.keys() == {attribute.name for attribute in ATTRIBUTES}


def test_what_iam_gives_anyway_is_recorded_by_declaring_it(monkeypatch: pytest.MonkeyPatch) -> None:
    more = (
        Attribute("path", "the path", "Path", section=LISTING),
        Attribute("boundary", "the boundary", "Boundary", optional=True, section=LISTING),
    )
    monkeypatch.setattr(record, "ATTRIBUTES", (*ATTRIBUTES, *more))

    assert user_of(LISTED) == {**ALICE, "path": "/ops/"}


def test_what_mere_use_changes_is_told_apart_from_what_somebody_changed() -> None:
    activity = {attribute.name for attribute in ATTRIBUTES if attribute.activity}
    changes = {attribute.name for attribute in ATTRIBUTES if attribute.compared and not attribute.activity}

    assert activity == {
        "password_last_used",
        *(f"access_key_{slot}_last_used_{what}" for slot in (1, 2) for what in ("date", "region", "service")),
    }
    assert changes == {
        *("arn", "create_date", "password_enabled", "password_last_changed", "mfa_active"),
        *(f"{key}_{what}" for key in ("access_key_1", "access_key_2") for what in ("active", "last_rotated")),
        *(f"{certificate}_{what}" for certificate in ("cert_1", "cert_2") for what in ("active", "last_rotated")),
        *("groups", "attached_policies", "inline_policies", "permissions_boundary", "tags", "admin_via"),
    }


def test_every_attribute_of_the_report_is_one_of_its_columns() -> None:
    columns = [attribute for attribute in ATTRIBUTES if attribute.section == CREDENTIAL_REPORT and attribute.source]
    assert all(attribute.source == attribute.name and attribute.optional for attribute in columns)
    assert {attribute.kind for attribute in columns} == {Kind.TIME, Kind.FLAG, Kind.TEXT}


def test_a_column_of_the_report_is_not_taken_from_the_listing() -> None:
    assert user_of({**LISTED, "mfa_active": True}) == ALICE
