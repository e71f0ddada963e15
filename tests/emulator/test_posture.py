"""What `make run` says of the posture that a scan recorded: whether it is right, and how many of what there are."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.local_aws.aws import emulator, past
from tests.local_aws.aws.past import Call
from tests.local_aws.run import posture
from tests.support.recorded import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.local_aws.run.scan import Check

DAY = timedelta(days=1)
THEN = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
GENERATED = "2026-11-24T10:00:00Z"
OWN = "arn:aws:iam::000000000000:policy/"
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": ["*"]}})
SOMETHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "a"}]})
CURRENT = {
    "sections": {
        "credential_report": {"state": "CURRENT", "generated_time": GENERATED},
        "authorization": {"state": "CURRENT", "generated_time": GENERATED},
    }
}

ADMIN: dict[str, Any] = {
    "user_name": "admin",
    "create_date": "2026-03-14T09:26:53Z",
    "listed_at": "2026-11-24T10:00:05.000Z",
    "password_last_used": "2026-03-20T09:26:53Z",
    "credential_report_time": GENERATED,
    "password_enabled": True,
    "password_last_changed": "2026-03-16T09:26:53Z",
    "mfa_active": True,
    "access_key_1_active": True,
    "access_key_1_last_rotated": "2026-03-15T09:26:53Z",
    "access_key_1_last_used_date": "2026-03-18T09:26:53Z",
    "access_key_1_last_used_region": "eu-west-1",
    "access_key_1_last_used_service": "s3",
    "access_key_2_active": False,
    "access_key_2_last_rotated": "2026-03-14T09:26:53Z",
    "groups": ["admins", "readers"],
    "attached_policies": [OWN + "all", OWN + "some"],
    "inline_policies": ["all", "some"],
    "permissions_boundary": OWN + "some",
    "tags": {"team": "R&D"},
    "admin_via": [
        "group admins: inline policy all",
        "group admins: policy arn:aws:iam::aws:policy/AdministratorAccess",
        "inline policy all",
        f"policy {OWN}all",
    ],
}
PLAIN: dict[str, Any] = {
    "user_name": "plain",
    "create_date": "2026-03-14T09:26:53Z",
    "listed_at": "2026-11-24T10:00:05.000Z",
    "credential_report_time": GENERATED,
    **NOTHING,
}


def history() -> Iterator[Call]:
    for name, document in (("all", EVERYTHING), ("some", SOMETHING)):
        yield Call(THEN, "CreatePolicy", {"PolicyName": name, "PolicyDocument": document})
    for group, policy in (("admins", "AdministratorAccess"), ("readers", "ReadOnlyAccess")):
        yield Call(THEN, "CreateGroup", {"GroupName": group})
        arn = f"arn:aws:iam::aws:policy/{policy}"
        yield Call(THEN, "AttachGroupPolicy", {"GroupName": group, "PolicyArn": arn})
    yield Call(THEN, "PutGroupPolicy", {"GroupName": "admins", "PolicyName": "all", "PolicyDocument": EVERYTHING})
    yield Call(THEN, "PutGroupPolicy", {"GroupName": "readers", "PolicyName": "some", "PolicyDocument": SOMETHING})
    yield Call(THEN, "CreateUser", {"UserName": "plain"})
    yield from the_admin()


def the_admin() -> Iterator[Call]:
    tags = {"Tags.member.1.Key": "team", "Tags.member.1.Value": "R&D"}
    other = {"Tags.member.2.Key": "shoe-size", "Tags.member.2.Value": "43"}
    mfa = {"SerialNumber": "arn:aws:iam::000000000000:mfa/admin"}
    use = {"Region": "eu-west-1", "ServiceName": "s3"}
    did = [
        (0, "CreateUser", {"PermissionsBoundary": OWN + "some", **tags, **other}),
        (0, "CreateLoginProfile", {"Password": "old"}),
        (0, "CreateAccessKey", {}),
        (1, "CreateAccessKey", {}),
        (2, "UpdateLoginProfile", {"Password": "new"}),
        (3, "CreateVirtualMFADevice", {"VirtualMFADeviceName": "admin"}),
        (3, "EnableMFADevice", mfa),
        (3, "UpdateAccessKey", {"KeyNumber": "1", "Status": "Inactive"}),
        (4, "UseAccessKey", {"KeyNumber": "2", **use}),
        (6, "SignIn", {}),
        *((7, "AddUserToGroup", {"GroupName": group}) for group in ("readers", "admins")),
        *((7, "AttachUserPolicy", {"PolicyArn": OWN + name}) for name in ("some", "all")),
        (7, "PutUserPolicy", {"PolicyName": "all", "PolicyDocument": EVERYTHING}),
        (7, "PutUserPolicy", {"PolicyName": "some", "PolicyDocument": SOMETHING}),
    ]
    for days, action, parameters in did:
        yield Call(THEN + days * DAY, action, {"UserName": "admin", **parameters})


@pytest.fixture(scope="module")
def iam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Run an emulator whose account has two users: one with nothing, and one with everything."""
    folder: Path = tmp_path_factory.mktemp("posture")
    with emulator.running(log_file=folder / "emulator.log") as running:
        past.happened(running, history())
        yield running.client("iam")


def verify(iam: Any, *records: Mapping[str, Any], manifest: Mapping[str, Any] = CURRENT) -> dict[str, str]:
    """Return the checks that fail, and what they found."""
    checks: list[Check] = posture.verify(
        {"iam": iam}.__getitem__, records, manifest, recorded_tags=["team", "cost-center"]
    )
    return {check.name: check.found for check in checks if not check.passed}


def without(record: Mapping[str, Any], *prefixes: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not name.startswith(prefixes)}


def test_records_that_say_what_iam_says_are_right(iam: Any) -> None:
    assert verify(iam, ADMIN, PLAIN) == {}


def test_a_record_of_nobody_is_wrong(iam: Any) -> None:
    nobody = {**PLAIN, "user_name": "nobody"}
    found = verify(iam, nobody, PLAIN)
    assert len(found) == 2
    assert all(wrong.startswith("1 right, wrong: nobody (") for wrong in found.values())


def test_of_very_many_users_some_are_asked_for(iam: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.local_aws.run.posture.MOST_USERS_ASKED_FOR", 2)
    # By their names, every second one: the two who exist.
    records = [PLAIN, {**PLAIN, "user_name": "nobody"}, ADMIN, {**PLAIN, "user_name": "somebody"}]
    checks = posture.verify({"iam": iam}.__getitem__, records, CURRENT, ["team"])
    assert [(check.passed, check.found) for check in checks[1:]] == [(True, "2 of 4 right")] * 2


def test_the_slots_of_access_keys_mean_nothing(iam: Any) -> None:
    swapped = without(ADMIN, "access_key_")
    for name, value in ADMIN.items():
        if name.startswith("access_key_"):
            other = "access_key_2_" if name.startswith("access_key_1_") else "access_key_1_"
            swapped[other + name.removeprefix("access_key_1_").removeprefix("access_key_2_")] = value
    assert swapped.keys() != ADMIN.keys()
    assert verify(iam, swapped) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password_enabled", False),
        ("password_last_changed", "2026-03-13T09:26:53Z"),
        ("password_last_changed", "2026-11-24T10:00:01Z"),
        ("password_next_rotation", "2026-06-13T09:26:53Z"),
        ("mfa_active", False),
        ("access_key_1_active", False),
        ("access_key_1_last_rotated", "2026-03-15T09:26:54Z"),
        ("access_key_1_last_used_date", "2026-03-18T09:26:54Z"),
        ("access_key_1_last_used_region", "eu-west-2"),
        ("access_key_1_last_used_service", "sts"),
        ("access_key_2_last_used_region", "N/A"),
        ("cert_1_active", False),
        ("credential_report_time", "2026-11-24T06:00:00Z"),
    ],
)
def test_every_credential_counts(iam: Any, name: str, value: object) -> None:
    (wrong,) = verify(iam, {**ADMIN, name: value}, PLAIN).values()
    assert wrong.startswith("1 right, wrong: admin (")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("groups", ["admins"]),
        ("attached_policies", [OWN + "all"]),
        ("inline_policies", []),
        ("permissions_boundary", OWN + "all"),
        ("tags", {"team": "R&D", "shoe-size": "43"}),
        ("tags", {"team": "R&amp;D"}),
        ("admin_via", ADMIN["admin_via"][1:]),
        ("admin_via", sorted([*ADMIN["admin_via"], "inline policy some"])),
    ],
)
def test_every_permission_counts(iam: Any, name: str, value: object) -> None:
    (wrong,) = verify(iam, {**ADMIN, name: value}, PLAIN).values()
    assert wrong.startswith(f"1 right, wrong: admin ({name} recorded ")


@pytest.mark.parametrize("name", sorted(ADMIN.keys() - PLAIN.keys() - {"password_last_used"}))
def test_nothing_may_be_missing(iam: Any, name: str) -> None:
    (wrong,) = verify(iam, without(ADMIN, name)).values()
    assert "wrong: admin (" in wrong


def test_a_user_who_is_newer_than_the_report_has_no_credentials(iam: Any) -> None:
    unknown = without(PLAIN, "password_", "mfa_", "credential_")
    assert verify(iam, unknown) != {}
    newer = {**unknown, "create_date": "2026-11-24T10:00:01Z"}
    assert verify(iam, newer) == {}
    assert verify(iam, {**newer, "mfa_active": False}) != {}
    # In the same second nobody can tell.
    assert verify(iam, {**PLAIN, "create_date": GENERATED}, {**unknown, "create_date": GENERATED}) == {}


def test_a_section_that_is_off_leaves_nothing(iam: Any) -> None:
    no_credentials = without(PLAIN, "password_", "mfa_", "credential_")
    no_permissions = without(PLAIN, "groups", "attached_", "inline_", "admin_")
    off = {"state": "OFF"}
    for name, nothing in (("credential_report", no_credentials), ("authorization", no_permissions)):
        manifest = {"sections": {**CURRENT["sections"], name: off}}
        assert verify(iam, nothing, manifest=manifest) == {}
        assert len(verify(iam, PLAIN, manifest=manifest)) == 1


@pytest.mark.parametrize("manifest", [{}, {"sections": {"credential_report": {"state": "MISSING"}}}])
def test_a_section_that_is_missing_is_wrong(iam: Any, manifest: dict[str, Any]) -> None:
    wrong = verify(iam, without(PLAIN, "password_", "mfa_", "credential_"), manifest=manifest)
    assert "the posture's sections are known" in wrong


def test_the_age_that_passwords_may_have_is_asked_for(iam: Any) -> None:
    iam.update_account_password_policy(MaxPasswordAge=90)
    try:
        assert verify(iam, ADMIN) != {}
        assert verify(iam, {**ADMIN, "password_next_rotation": "2026-06-14T09:26:53Z"}) == {}
    finally:
        iam.delete_account_password_policy()


class TestSummary:
    NINETY_DAYS_OLD = "2026-08-26T10:00:05Z"
    A_SECOND_OLDER = "2026-08-26T10:00:04Z"

    def test_everything_is_counted(self) -> None:
        newer = {**ADMIN, "access_key_1_last_rotated": self.NINETY_DAYS_OLD}
        two = {**newer, "access_key_2_active": True, "access_key_2_last_rotated": self.A_SECOND_OLDER}
        careless = {**two, "mfa_active": False, "admin_via": []}
        unknown = {"user_name": "unknown", "listed_at": PLAIN["listed_at"]}
        found = posture.counts([ADMIN, newer, two, careless, {**ADMIN, "mfa_active": False}, PLAIN, unknown])
        assert found == {
            "console_users": 5,
            "console_users_without_mfa": 2,
            "active_keys": 7,
            "active_keys_older_than_90_days": 4,
            "users_with_two_active_keys": 2,
            "administrators": 4,
            "administrators_without_mfa": 1,
            "unknown_credentials": 1,
            "unknown_permissions": 1,
        }
        assert posture.summary(found) == [
            "Passwords       5 users can sign in to the console, 2 of them without MFA",
            "Access keys     7 are active, 4 of them older than 90 days; 2 users have two",
            "Administrators  4 users, 1 of them with a password and without MFA",
            "Unknown         the credentials of 1 users, the permissions of 1",
        ]

    def test_nothing_unknown_is_not_mentioned(self) -> None:
        assert len(posture.summary(posture.counts([PLAIN]))) == 3
