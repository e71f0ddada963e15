"""Corrections of IAM's credential report."""

from __future__ import annotations

import base64
import csv
import io
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.local_aws.aws.corrections._ministack import service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COLUMNS = (
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    "access_key_1_active",
    "access_key_1_last_rotated",
    "access_key_1_last_used_date",
    "access_key_1_last_used_region",
    "access_key_1_last_used_service",
    "access_key_2_active",
    "access_key_2_last_rotated",
    "access_key_2_last_used_date",
    "access_key_2_last_used_region",
    "access_key_2_last_used_service",
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
)
"""The columns of the report, in AWS's order."""

GENERATION_SECONDS = 1.0
"""How long a generation takes unless told otherwise. AWS took 2 seconds for 50 users."""

_CACHED_SECONDS = 4 * 3600
_KEYS_PER_USER = 2
_NOT_APPLICABLE = "N/A"
_ACCOUNT_MADE = "2020-01-01T00:00:00Z"


def report() -> None:
    """Generate the credential report asynchronously, keep it for four hours, and fill it in as AWS does.

    AWS: GenerateCredentialReport answers STARTED, then INPROGRESS, then COMPLETE; a report is generated at most every
    four hours, and says until then what it said. GetCredentialReport fails with ReportNotPresent (410),
    ReportInProgress (404) or ReportExpired (410). (IAM API reference; user guide, "Generate credential reports for
    your AWS account".) The first row is root's, with the name ``<root_account>``. There are 22 columns: no key IDs;
    names and paths may hold commas, so fields are quoted as CSV asks for. password_last_used is ``no_information``
    where a password was never used, other values that do not apply are ``N/A``, and root's password_next_rotation is
    ``not_supported``. What it says of a user is what it was when the generation began. Which key is in which slot is
    not documented, and keys have been seen to change places: here they stand in the order of their IDs, which is none.

    MiniStack is done at once, generates anew each time, quotes nothing, knows no last use and no change of a password
    (UpdateLoginProfile), and gives root's creation as now. To go when it knows ReportInProgress and ReportExpired, and
    when what was used last.
    """
    iam = service("iam")

    def generate(_request: Any) -> Any:
        report, now = iam._credential_reports.get("report"), time.time()
        if report is not None and now < report["ready"]:
            return _generation(iam, "INPROGRESS")
        if report is not None and now < report["generated"] + _CACHED_SECONDS:
            return _generation(iam, "COMPLETE")
        seconds = iam._credential_reports.get("generation_seconds", GENERATION_SECONDS)
        iam._credential_reports["report"] = {"content": _content(iam), "generated": now, "ready": now + seconds}
        return _generation(iam, "STARTED", "No report exists. Starting a new report generation task")

    def get(_request: Any) -> Any:
        report, now = iam._credential_reports.get("report"), time.time()
        if report is None:
            return iam._error(410, "ReportNotPresent", "No report is present. Generate one first.")
        if now < report["ready"]:
            return iam._error(404, "ReportInProgress", "The report is still being generated.")
        if now >= report["generated"] + _CACHED_SECONDS:
            return iam._error(410, "ReportExpired", "The most recent report has expired. Generate a new one.")
        return iam._xml(
            200,
            "GetCredentialReportResponse",
            "<GetCredentialReportResult>"
            f"<Content>{base64.b64encode(report['content'].encode()).decode()}</Content>"
            f"<GeneratedTime>{_iso(datetime.fromtimestamp(report['generated'], UTC))}</GeneratedTime>"
            "<ReportFormat>text/csv</ReportFormat>"
            "</GetCredentialReportResult>",
        )

    def remembered(update: Any) -> Any:
        def handle(request: Any) -> Any:
            response = update(request)
            if response[0] == 200 and iam._p(request, "Password"):
                iam._login_profiles[iam._p(request, "UserName")]["PasswordLastChanged"] = iam._now()
            return response

        return handle

    for name, handle in (("GenerateCredentialReport", generate), ("GetCredentialReport", get)):
        iam._IAM_HANDLERS[name]
        iam._IAM_HANDLERS[name] = handle
    iam._IAM_HANDLERS["UpdateLoginProfile"] = remembered(iam._IAM_HANDLERS["UpdateLoginProfile"])


def set_root(columns: Mapping[str, str]) -> None:
    """Let the next report say this of root, besides what reports said so far."""
    if unknown := columns.keys() - COLUMNS:
        raise ValueError(f"no columns of the report: {', '.join(sorted(unknown))}")
    reports = service("iam")._credential_reports
    reports["root"] = {**reports.get("root", {}), **columns}


def set_generation_seconds(seconds: float) -> None:
    """Let generations take so long from now on."""
    service("iam")._credential_reports["generation_seconds"] = float(seconds)


def pass_time(seconds: float) -> None:
    """Let the report, and its generation, be so much older."""
    report = service("iam")._credential_reports.get("report")
    if report is not None:
        report["generated"] -= seconds
        report["ready"] -= seconds


def _generation(iam: Any, state: str, description: str = "") -> Any:
    told = f"<Description>{description}</Description>" if description else ""
    result = f"<GenerateCredentialReportResult>{told}<State>{state}</State></GenerateCredentialReportResult>"
    return iam._xml(200, "GenerateCredentialReportResponse", result)


def _content(iam: Any) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerow(_root(iam))
    writer.writerows(_users(iam))
    return text.getvalue().removesuffix("\n")


def _root(iam: Any) -> dict[str, str]:
    return {
        "user": "<root_account>",
        "arn": f"arn:aws:iam::{iam.get_account_id()}:root",
        "user_creation_time": _ACCOUNT_MADE,
        "password_enabled": "true",
        "password_last_used": "no_information",
        "password_last_changed": _ACCOUNT_MADE,
        "password_next_rotation": "not_supported",
        "mfa_active": "false",
        **_access_keys([]),
        **_CERTIFICATES,
        **iam._credential_reports.get("root", {}),
    }


def _users(iam: Any) -> Iterator[dict[str, str]]:
    # Indexes, because looking for each of 5,000 users among all keys would take a minute.
    keys_of, with_mfa = defaultdict(list), {device.get("User") for device in iam._mfa_devices.values()}
    for key in iam._access_keys.values():
        keys_of[key["UserName"]].append(key)
    maximum_age = (iam._account_password_policy.get("policy") or {}).get("MaxPasswordAge")
    for name, user in iam._users.items():
        yield {
            "user": name,
            "arn": user["Arn"],
            "user_creation_time": user["CreateDate"],
            **_password(user, iam._login_profiles.get(name), maximum_age),
            "mfa_active": _truth(name in with_mfa),
            **_access_keys(keys_of[name]),
            **_CERTIFICATES,
        }


def _password(user: Mapping[str, Any], profile: Mapping[str, Any] | None, maximum_age: Any) -> dict[str, str]:
    if profile is None:
        names = ("password_last_used", "password_last_changed", "password_next_rotation")
        return {"password_enabled": "false", **dict.fromkeys(names, _NOT_APPLICABLE)}
    changed = profile.get("PasswordLastChanged", profile["CreateDate"])
    rotation = datetime.fromisoformat(changed) + timedelta(days=int(maximum_age)) if maximum_age else None
    return {
        "password_enabled": "true",
        "password_last_used": user.get("PasswordLastUsed", "no_information"),
        "password_last_changed": changed,
        "password_next_rotation": _iso(rotation) if rotation else _NOT_APPLICABLE,
    }


def _access_keys(keys: list[Mapping[str, Any]]) -> dict[str, str]:
    columns: dict[str, str] = {}
    slots = sorted(keys, key=lambda key: str(key["AccessKeyId"]))[:_KEYS_PER_USER]
    for number in range(1, _KEYS_PER_USER + 1):
        key = slots[number - 1] if number <= len(slots) else {}
        used = key.get("LastUsed", {})
        columns |= {
            f"access_key_{number}_active": _truth(key.get("Status") == "Active"),
            f"access_key_{number}_last_rotated": key.get("CreateDate", _NOT_APPLICABLE),
            f"access_key_{number}_last_used_date": used.get("LastUsedDate", _NOT_APPLICABLE),
            f"access_key_{number}_last_used_region": used.get("Region", _NOT_APPLICABLE),
            f"access_key_{number}_last_used_service": used.get("ServiceName", _NOT_APPLICABLE),
        }
    return columns


# The local AWS has no call that makes a signing certificate.
_CERTIFICATES = {
    "cert_1_active": "false",
    "cert_1_last_rotated": _NOT_APPLICABLE,
    "cert_2_active": "false",
    "cert_2_last_rotated": _NOT_APPLICABLE,
}


def _truth(value: bool) -> str:
    return str(value).lower()


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
