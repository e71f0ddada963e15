"""Holds the posture that a scan recorded against what IAM says of each user, and tells it in a few lines.

Nothing of the functions is imported here, and nothing is read from the credential report or the authorization details:
every user is asked for by itself, as tools do that have no scan, so that a mistake in the functions cannot hide itself.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

from functions.cli.posture import Tally
from functions.table.findings import CONTROLS, of_scan
from functions.table.reader import Reader
from functions.table.scans import newest
from tests.local_aws.run.scan import Check, Clients

OLD_KEY_DAYS = 90
MOST_USERS_ASKED_FOR = 1000
"""How many users are asked for, at most: nine calls for each of 5,000 would take minutes."""

_CALLERS = 8
_SHOWN = 3
_KEY_NUMBERS = (1, 2)
_PERMISSIONS = ("groups", "attached_policies", "inline_policies", "permissions_boundary", "tags", "admin_via")

Attributes = dict[str, Any]


def verify(
    clients: Clients,
    records: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
    recorded_tags: Collection[str] = (),
) -> list[Check]:
    """Compare the posture of records with what IAM says now of their users.

    All are compared, or :data:`MOST_USERS_ASKED_FOR` evenly among them, where there are more.

    Since the credential report that the scan read, nothing may have happened in the account but users being created.

    Parameters
    ----------
    records, manifest
        Of the scan, in plain values.
    recorded_tags
        As the deployment has it.
    """
    states = _states(manifest)
    generated = manifest.get("sections", {}).get("credential_report", {}).get("generated_time", "")
    iam = clients("iam")
    account = _Account(iam, frozenset(recorded_tags))

    def differences(record: Mapping[str, Any]) -> tuple[str, str]:
        name, credentials, permissions = record["user_name"], {}, {}
        try:
            if _in_report(record, generated):
                credentials = {"credential_report_time": generated, **account.credentials(name, record)}
            if states["authorization"] == "CURRENT":
                permissions = account.permissions(name)
        except iam.exceptions.NoSuchEntityException as error:
            return str(error), str(error)
        return (
            _difference(_recorded_credentials(record), credentials),
            _difference(_recorded_permissions(record), permissions),
        )

    some = sorted(records, key=lambda record: str(record["user_name"]))
    some = some[:: math.ceil(len(some) / MOST_USERS_ASKED_FOR) or 1]
    with ThreadPoolExecutor(_CALLERS) as callers:
        wrong = dict(zip((record["user_name"] for record in some), callers.map(differences, some), strict=True))
    asked = f" of {len(records)}" if len(some) < len(records) else ""
    return [
        Check(
            "the posture's sections are known",
            set(states.values()) <= {"CURRENT", "OFF"},
            ", ".join(f"{name} {state}" for name, state in states.items()),
        ),
        _check("credentials are as IAM tells user by user", {name: it for name, (it, _) in wrong.items()}, asked),
        _check("permissions are as IAM tells user by user", {name: it for name, (_, it) in wrong.items()}, asked),
    ]


def is_current(manifest: Mapping[str, Any]) -> bool:
    """Tell whether a scan knows all of its users' posture."""
    return set(_states(manifest).values()) == {"CURRENT"}


def _states(manifest: Mapping[str, Any]) -> dict[str, str]:
    sections: Mapping[str, Mapping[str, Any]] = manifest.get("sections", {})
    return {name: sections.get(name, {}).get("state", "none") for name in ("credential_report", "authorization")}


def counts(records: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count what an audit asks for first; keys are as old as they were when their user was listed."""
    found = dict.fromkeys(
        (
            "console_users",
            "console_users_without_mfa",
            "active_keys",
            "active_keys_older_than_90_days",
            "users_with_two_active_keys",
            "administrators",
            "administrators_without_mfa",
            "unknown_credentials",
            "unknown_permissions",
        ),
        0,
    )
    for record in records:
        without_mfa = bool(record.get("password_enabled")) and not record.get("mfa_active")
        keys = [key for key in _recorded_credentials(record).get("access_keys", []) if key.get("active")]
        oldest = datetime.fromisoformat(record["listed_at"]) - timedelta(days=OLD_KEY_DAYS)
        found["console_users"] += bool(record.get("password_enabled"))
        found["console_users_without_mfa"] += without_mfa
        found["active_keys"] += len(keys)
        found["active_keys_older_than_90_days"] += sum(
            datetime.fromisoformat(key["last_rotated"]) < oldest for key in keys
        )
        found["users_with_two_active_keys"] += len(keys) == len(_KEY_NUMBERS)
        found["administrators"] += bool(record.get("admin_via"))
        found["administrators_without_mfa"] += bool(record.get("admin_via")) and without_mfa
        found["unknown_credentials"] += "credential_report_time" not in record
        found["unknown_permissions"] += "groups" not in record
    return found


def summary(found: Mapping[str, int]) -> list[str]:
    """Return :func:`counts` as the lines that a person reads."""
    lines = [
        f"Passwords       {found['console_users']:,} users can sign in to the console, "
        f"{found['console_users_without_mfa']:,} of them without MFA",
        f"Access keys     {found['active_keys']:,} are active, {found['active_keys_older_than_90_days']:,} of them "
        f"older than {OLD_KEY_DAYS} days; {found['users_with_two_active_keys']:,} users have two",
        f"Administrators  {found['administrators']:,} users, {found['administrators_without_mfa']:,} of them with a "
        "password and without MFA",
    ]
    if found["unknown_credentials"] or found["unknown_permissions"]:
        lines.append(
            f"Unknown         the credentials of {found['unknown_credentials']:,} users, "
            f"the permissions of {found['unknown_permissions']:,}"
        )
    return lines


def findings(dynamodb: Any, table_name: str) -> list[str]:
    """Return what the controls say of the newest trusted scan, one line each; nothing where there is none."""
    reader = Reader(dynamodb, table_name)
    scan = newest(list(reader.scans()))
    return [] if scan is None else list(Tally.of(of_scan(scan, reader.of_scan(scan))).summary(CONTROLS))


class _Account:
    """What IAM says when it is asked for one user at a time."""

    def __init__(self, iam: Any, recorded_tags: Collection[str]) -> None:
        self._iam, self._recorded_tags = iam, recorded_tags
        self._administers = lru_cache(None)(self._policy_administers)
        self._reasons_of_group = lru_cache(None)(self._group_reasons)

    def credentials(self, user: str, record: Mapping[str, Any]) -> Attributes:
        """Return the credentials of a user as its record should have them.

        When a password was changed no call tells: what the record says of it is right if it can be.
        """
        created = self._password_created(user)
        password: Attributes = {"password_enabled": created is not None}
        if created is not None:
            changed = str(record.get("password_last_changed", ""))
            if not created <= changed <= str(record.get("credential_report_time")):
                changed = created
            password["password_last_changed"] = changed
            if self._password_days:
                rotation = datetime.fromisoformat(changed) + timedelta(days=self._password_days)
                password["password_next_rotation"] = _iso(rotation)
        devices = self._iam.list_mfa_devices(UserName=user)["MFADevices"]
        keys = [self._access_key(key) for key in self._iam.list_access_keys(UserName=user)["AccessKeyMetadata"]]
        return {**password, "mfa_active": bool(devices), **({"access_keys": sorted(keys, key=repr)} if keys else {})}

    def permissions(self, user: str) -> Attributes:
        """Return the permissions of a user as its record should have them."""
        iam = self._iam
        groups = sorted(group["GroupName"] for group in iam.list_groups_for_user(UserName=user)["Groups"])
        attached = sorted(
            policy["PolicyArn"] for policy in iam.list_attached_user_policies(UserName=user)["AttachedPolicies"]
        )
        inline = sorted(iam.list_user_policies(UserName=user)["PolicyNames"])
        tags = {tag["Key"]: tag["Value"] for tag in iam.list_user_tags(UserName=user)["Tags"]}
        boundary = iam.get_user(UserName=user)["User"].get("PermissionsBoundary")
        reasons = [f"policy {arn}" for arn in attached if self._administers(arn)]
        for name in inline:
            if _allows_everything(iam.get_user_policy(UserName=user, PolicyName=name)["PolicyDocument"]):
                reasons.append(f"inline policy {name}")
        for group in groups:
            reasons += [f"group {group}: {reason}" for reason in self._reasons_of_group(group)]
        found = {
            "groups": groups,
            "attached_policies": attached,
            "inline_policies": inline,
            "admin_via": sorted(reasons),
            "permissions_boundary": boundary and boundary["PermissionsBoundaryArn"],
            "tags": {name: value for name, value in tags.items() if name in self._recorded_tags},
        }
        return {name: value for name, value in found.items() if value or name not in {"permissions_boundary", "tags"}}

    @cached_property
    def _password_days(self) -> int:
        """Days after which a password must be changed, 0 for none."""
        try:
            policy = self._iam.get_account_password_policy()["PasswordPolicy"]
        except self._iam.exceptions.NoSuchEntityException:
            return 0
        return int(policy.get("MaxPasswordAge", 0))

    def _password_created(self, user: str) -> str | None:
        try:
            return _iso(self._iam.get_login_profile(UserName=user)["LoginProfile"]["CreateDate"])
        except self._iam.exceptions.NoSuchEntityException:
            return None

    def _access_key(self, key: Mapping[str, Any]) -> Attributes:
        used = self._iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["AccessKeyLastUsed"]
        found = {"active": key["Status"] == "Active", "last_rotated": _iso(key["CreateDate"])}
        if "LastUsedDate" in used:
            found["last_used_date"] = _iso(used["LastUsedDate"])
            found["last_used_region"], found["last_used_service"] = used["Region"], used["ServiceName"]
        return dict(sorted(found.items()))

    def _policy_administers(self, arn: str) -> bool:
        if ":iam::aws:" in arn:
            return arn.endswith(":policy/AdministratorAccess")
        version = self._iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = self._iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return _allows_everything(document)

    def _group_reasons(self, group: str) -> list[str]:
        attached = self._iam.list_attached_group_policies(GroupName=group)["AttachedPolicies"]
        reasons = [f"policy {policy['PolicyArn']}" for policy in attached if self._administers(policy["PolicyArn"])]
        for name in self._iam.list_group_policies(GroupName=group)["PolicyNames"]:
            if _allows_everything(self._iam.get_group_policy(GroupName=group, PolicyName=name)["PolicyDocument"]):
                reasons.append(f"inline policy {name}")
        return reasons


def _allows_everything(document: Mapping[str, Any]) -> bool:
    statements = document["Statement"]
    return any(
        statement["Effect"] == "Allow"
        and "Condition" not in statement
        and {"*", "*:*"} & _set_of(statement.get("Action"))
        and "*" in _set_of(statement.get("Resource"))
        for statement in (statements if isinstance(statements, list) else [statements])
    )


def _set_of(value: Any) -> set[Any]:
    return set(value) if isinstance(value, list) else {value}


def _in_report(record: Mapping[str, Any], generated: str) -> bool:
    """Tell whether a user was there when the report was generated; in the same second, the record may say either.

    Nobody was in a report that was not read, and whose time is therefore empty.
    """
    if record["create_date"] == generated:
        return "credential_report_time" in record
    return bool(record["create_date"] < generated)


def _recorded_permissions(record: Mapping[str, Any]) -> Attributes:
    return {name: record[name] for name in _PERMISSIONS if name in record}


def _recorded_credentials(record: Mapping[str, Any]) -> Attributes:
    """Return the credentials of a record, its access keys as a list: which slot a key is in means nothing."""
    prefixes = ("credential_", "password_", "mfa_", "cert_")
    found = {
        name: value for name, value in record.items() if name.startswith(prefixes) and name != "password_last_used"
    }
    slots = [
        {name.removeprefix(prefix): value for name, value in sorted(record.items()) if name.startswith(prefix)}
        for prefix in (f"access_key_{number}_" for number in _KEY_NUMBERS)
    ]
    keys = [slot for slot in slots if slot]
    return {**found, **({"access_keys": sorted(keys, key=repr)} if keys else {})}


def _difference(recorded: Attributes, told: Attributes) -> str:
    """Say in which attributes a record differs from what IAM tells; empty where it does not."""
    return "; ".join(
        f"{name} recorded {recorded.get(name, 'nothing')}, told {told.get(name, 'nothing')}"
        for name in sorted(recorded.keys() | told.keys())
        if recorded.get(name) != told.get(name)
    )


def _check(name: str, differences: Mapping[str, str], of: str) -> Check:
    wrong = {user: difference for user, difference in differences.items() if difference}
    examples = [f"{user} ({difference})" for user, difference in sorted(wrong.items())[:_SHOWN]]
    told = f"{len(differences) - len(wrong)}{of} right" + (f", wrong: {', '.join(examples)}" if examples else "")
    return Check(name, not wrong, told)


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
