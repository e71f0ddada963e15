"""The command's answers about posture: what is wrong, what changed, what the root user has, and what is not known."""

import csv
import io
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions.cli.errors import ExitStatus
from functions.table import wire
from functions.table.findings import BY_NAME, CIS_VERSIONS, CONTROLS
from tests.support.command import answer, asks, run
from tests.support.engine import create_table
from tests.support.paths import REPOSITORY
from tests.support.recorded import NOTHING, TABLE, Table

JANUARY, FEBRUARY, MARCH = "2026-01-31T10:00:00Z", "2026-02-02T10:00:00Z", "2026-03-02T10:00:00Z"
KEY = "2025-06-01T00:00:00Z"

ROOT: dict[str, Any] = {
    "arn": "arn:aws:iam::123456789012:root",
    "user_creation_time": "2020-01-01T00:00:00Z",
    "credential_report_time": "2026-02-02T09:00:00Z",
    "password_enabled": True,
    "mfa_active": False,
    "password_last_used": "2026-02-01T00:00:00Z",
}
CURRENT = {
    "credential_report": {"state": "CURRENT", "generated_time": "2026-02-02T09:00:00Z", "users": 4, "matched": 3},
    "authorization": {"state": "CURRENT", "generated_time": "2026-02-02T09:59:00Z", "users": 4},
}
MISSING = {
    "credential_report": {"state": "MISSING", "error_type": "LimitExceeded", "error_message": "No more capacity"},
    "authorization": {"state": "OFF"},
}


def known(report_time: str, **attributes: Any) -> dict[str, Any]:
    """Return the attributes of a user of whom a scan knows everything."""
    return {**NOTHING, "credential_report_time": report_time, **attributes}


def fill(table: Table) -> Table:
    """Put a scan from before posture, one with it, and one whose report is missing."""
    table.scan(JANUARY, {"alice": {}, "bob": {}})
    password = {"password_enabled": True, "password_last_changed": KEY, "password_last_used": "2026-02-02T08:00:00Z"}
    key = {"access_key_1_active": True, "access_key_1_last_rotated": KEY, "access_key_1_last_used_date": FEBRUARY}
    alice = known("2026-02-02T09:00:00Z", **password, **key, groups=["ops"], admin_via=["group ops: policy all"])
    alice["arn"] = "arn:aws:iam::123456789012:user/people/alice"
    bob = known("2026-02-02T09:00:00Z", **password, mfa_active=True)
    stale = known("2026-02-02T05:00:00Z", **password)
    young = {"create_date": "2026-02-02T09:30:00Z", "groups": [], "attached_policies": ["x"], "admin_via": []}
    users = {"alice": alice, "bob": bob, "dave": stale, "eve": young}
    table.scan(FEBRUARY, users, root=ROOT, sections=CURRENT)
    return table


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Table:
    return asks(monkeypatch, fill(Table()))


@pytest.mark.usefixtures("records")
class TestFindings:
    def test_findings_come_first_and_then_what_is_unknown(self) -> None:
        found = answer("findings")
        assert [(row["user_name"], row["control"]) for row in found if row["status"] == "FINDING"] == [
            ("<root_account>", "root-no-mfa"),
            ("<root_account>", "root-used"),
            ("alice", "console-no-mfa"),
            ("alice", "key-older-90-days"),
            ("eve", "direct-policies"),
            ("alice", "admin-policy"),
        ]
        rest = [row["status"] for row in found][6:]
        assert set(rest) == {"UNKNOWN"}
        unknown = {(row["user_name"], row["reason"]) for row in found if row["control"] == "two-active-keys"}
        assert unknown == {
            ("dave", "credential report stale, of 2026-02-02T05:00:00Z; it said OK: no active access key"),
            ("eve", "created after the credential report of 2026-02-02T09:00:00Z"),
        }

    def test_what_is_fine_is_shown_on_request(self) -> None:
        found = answer("findings", "--all")
        assert len(found) == 3 + 4 * (len(CONTROLS) - 3)
        (row,) = [one for one in found if (one["user_name"], one["control"]) == ("bob", "console-no-mfa")]
        assert row == {
            "user_name": "bob",
            "user_id": "AIDABOB",
            "arn": "arn:aws:iam::123456789012:user/bob",
            "control": "console-no-mfa",
            "title": "A console password without MFA",
            "status": "OK",
            "reason": "with an MFA device",
            "cis_version": "7.0",
            "cis_number": "2.10",
            "unused_days": 45,
            "key_age_days": 90,
            "scan_timestamp": FEBRUARY,
            "account_id": "123456789012",
        }

    def test_the_benchmark_has_versions(self) -> None:
        by_version = {
            version: {row["control"]: row["cis_number"] for row in answer("findings", "--all", "--cis", version)}
            for version in CIS_VERSIONS
        }
        assert by_version["5.0"]["console-no-mfa"] == "1.9"
        assert by_version["4.0.1"]["two-active-keys"] == "1.13"
        assert set(BY_NAME) - set(by_version["7.0"]) == {"key-at-creation", "two-active-keys"}
        (row,) = {row["cis_version"] for row in answer("findings", "--all", "--only", "key-at-creation")}
        assert row == "6.0", "the last that has it"

    def test_controls_may_be_chosen(self) -> None:
        chosen = answer("findings", "--all", "--only", "root-used,admin-policy", "--only", "direct-policies")
        assert {row["control"] for row in chosen} == {"root-used", "admin-policy", "direct-policies"}

    def test_thresholds_may_be_set(self) -> None:
        only = ("findings", "--only", "key-older-90-days,root-used")
        old = answer(*only, "--key-age-days", "246", "--unused-days", "1")
        assert [row["control"] for row in old if row["status"] == "FINDING"] == ["key-older-90-days"]
        found = answer(*only, "--key-age-days", "247", "--unused-days", "2")
        assert [row["control"] for row in found if row["status"] == "FINDING"] == ["root-used"]
        assert {(row["unused_days"], row["key_age_days"]) for row in found} == {(2, 247)}

    def test_people_are_told_how_many_how_old_and_why_not(self) -> None:
        result = run("findings")
        lines = result.stderr.splitlines()
        assert f"6 findings in the scan {FEBRUARY} (listed {FEBRUARY} to " in lines[1]
        assert "credential report of 2026-02-02T09:00:00Z, 1 h before the scan listed" in lines
        assert "authorization details of 2026-02-02T09:59:00Z, 1 min before the scan listed" in lines
        (line,) = [line for line in lines if line.startswith("console-no-mfa")]
        assert " ".join(line.split()) == (
            "console-no-mfa 1 FINDING 1 OK 2 UNKNOWN: credential report stale, of 2026-02-02T05:00:00Z (1); "
            "created after the credential report of 2026-02-02T09:00:00Z (1)"
        )
        (row,) = [line for line in result.stdout.splitlines() if "console-no-mfa" in line and "FINDING " in line]
        assert " ".join(row.split()) == "alice console-no-mfa FINDING v7.0/2.10 a console password, and no MFA device"

    def test_of_many_the_same_is_unknown_in_one_line(self, records: Table) -> None:
        records.scan(MARCH, {name: {} for name in ("alice", "bob", "carol")}, sections=MISSING)
        result = run("findings", "--only", "console-no-mfa,direct-policies")
        assert result.stdout.splitlines()[1:] == [
            "(3 users)  console-no-mfa   UNKNOWN  v7.0/2.10  credential report missing: LimitExceeded: No "
            "more capacity",
            "(3 users)  direct-policies  UNKNOWN  v7.0/2.13  authorization details switched off",
        ]
        assert len(answer("findings", "--only", "console-no-mfa")) == 3, "evidence names everybody"

    def test_an_old_scan_is_judged_by_what_it_knew(self) -> None:
        found = answer("findings", "--at", "2026-02-01T00:00Z")
        assert {row["status"] for row in found} == {"UNKNOWN"}
        assert {row["reason"] for row in found} == {
            "recorded by a version without credential report",
            "recorded by a version without authorization details",
        }

    def test_csv_has_the_same_columns(self) -> None:
        found = list(csv.DictReader(io.StringIO(run("findings", "--format", "csv").stdout)))
        assert found[2]["user_name"] == "alice"
        assert found[2]["cis_number"] == "2.10"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["--only", "mfa"],
                "Invalid value for '--only': there is no control 'mfa'; there are root-access-key, ",
            ),
            (["--only", ""], "Invalid value for '--only': there is no control ''"),
            (["--only", "two-active-keys", "--cis", "7.0"], "--only: version 7.0 of the benchmark asks none of these"),
            (["--cis", "2.0"], "Invalid value for '--cis': '2.0' is not one of '3.0', '4.0.1', '5.0', '6.0', '7.0'"),
            (["--unused-days", "0"], "Invalid value for '--unused-days': 0 is not in the range"),
            (["--key-age-days", "x"], "Invalid value for '--key-age-days': 'x' is not a valid integer range"),
            (["--at", FEBRUARY, "--scan", "latest"], "--scan and --at are two answers to one question"),
        ],
    )
    def test_a_wrong_value_is_one_line(self, arguments: list[str], message: str) -> None:
        result = run("--quiet", "findings", *arguments)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith(f"error: {message}")

    def test_help_names_the_controls(self) -> None:
        printed = run("findings", "--help").stdout
        assert [one.name for one in CONTROLS if f"  {one.name} " not in printed] == []


@pytest.mark.usefixtures("records")
class TestFailOnFinding:
    def test_a_finding_ends_with_3_if_asked_for(self) -> None:
        assert run("findings").exit_code == 0
        assert run("findings", "--fail-on-finding").exit_code == int(ExitStatus.FINDING) == 3
        assert run("findings", "--fail-on-finding", "--only", "two-active-keys").exit_code == 0

    def test_a_report_that_is_missing_does_not_pass_for_one_without_findings(self, records: Table) -> None:
        records.scan(MARCH, {"alice": known(MARCH, credential_report_time=None)}, sections=MISSING)
        result = run("--quiet", "findings", "--fail-on-finding", "--only", "console-no-mfa,direct-policies")
        assert result.exit_code == int(ExitStatus.INCOMPLETE) == 6
        assert result.stderr == (
            "warning: that there is no finding means nothing: credential report missing: LimitExceeded: "
            "No more capacity\n"
        )
        assert run("findings", "--fail-on-finding", "--only", "direct-policies").exit_code == 0

    def test_a_finding_is_one_although_the_index_is_behind(self, records: Table) -> None:
        password = {"password_enabled": True, "mfa_active": False}
        records.scan(MARCH, {"alice": known(MARCH, **password)}, records_written=2, sections=CURRENT)
        assert run("findings", "--fail-on-finding").exit_code == ExitStatus.FINDING
        behind = run("findings", "--fail-on-finding", "--only", "admin-policy")
        assert behind.exit_code == ExitStatus.INCOMPLETE
        assert "warning: 1 of the 2 records" in behind.stderr
        assert run("findings").exit_code == ExitStatus.INCOMPLETE


@pytest.mark.usefixtures("records")
class TestRoot:
    def test_it_is_shown_as_the_manifest_has_it(self) -> None:
        (row,) = answer("root")
        assert row == {**ROOT, "scan_timestamp": FEBRUARY, "account_id": "123456789012"}

    def test_people_see_it_at_once(self) -> None:
        result = run("root")
        assert result.stdout.splitlines()[1].split() == [
            "123456789012", "without", "MFA", "none", "2026-02-01T00:00:00Z", "2026-02-02T09:00:00Z",
        ]  # fmt: skip
        assert "credential report of 2026-02-02T09:00:00Z, 1 h before the scan listed" in result.stderr

    @pytest.mark.parametrize(
        ("manifest", "why"),
        [
            ({}, "recorded by a version without credential report"),
            ({"sections": MISSING, "root": None}, "credential report missing: LimitExceeded: No more c"),
            ({"sections": CURRENT, "root": None}, "no row of the root user in the credential report"),
        ],
    )
    def test_it_may_be_unknown(self, records: Table, manifest: dict[str, Any], why: str) -> None:
        records.scan(MARCH, {}, **manifest)
        result = run("--quiet", "root")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"error: the scan {MARCH} does not know the root user: {why}")


@pytest.mark.usefixtures("records")
class TestPosture:
    def test_people_see_posture_in_four_columns(self) -> None:
        lines = {line.split()[0]: line for line in run("users").stdout.splitlines()}
        assert lines["user_name"].split() == [
            "user_name", "path", "user_id", "create_date", "password_last_used", "console", "keys", "groups", "admin",
        ]  # fmt: skip
        assert lines["alice"].split()[1] == "/people/"
        assert lines["alice"].split()[5:] == [
            "without", "MFA", "246", "d", "ops", "group", "ops:", "policy", "all",
        ]  # fmt: skip
        assert lines["bob"].split()[5:] == ["with", "MFA", "none"]
        assert lines["dave"].split()[5:] == ["without", "MFA", "(stale)", "none", "(stale)"]
        assert lines["eve"].split()[4:] == ["unknown", "unknown"]

    def test_tools_get_the_attributes(self) -> None:
        (alice,) = [row for row in answer("users") if row["user_name"] == "alice"]
        assert (alice["mfa_active"], alice["access_key_1_active"], alice["groups"]) == (False, True, ["ops"])
        assert not {"console", "keys", "path"} & alice.keys()
        (old,) = [row for row in answer("users", "--scan", JANUARY) if row["user_name"] == "alice"]
        assert not {"mfa_active", "groups"} & old.keys(), "what is not known is absent"

    def test_the_sections_are_told(self, records: Table) -> None:
        assert "credential report of 2026-02-02T09:00:00Z, 1 h before the scan listed" in run("users").stderr
        records.scan(MARCH, {}, sections=MISSING)
        assert "credential report missing: LimitExceeded" in run("users").stderr
        stale = {"credential_report": {"state": "STALE", "generated_time": JANUARY}, "authorization": {"state": "OFF"}}
        records.scan("2026-03-03T10:00:00Z", {}, sections=stale)
        assert f"credential report stale, of {JANUARY}\n" in run("users").stderr
        assert "credential report" not in run("users", "--scan", JANUARY).stderr
        assert answer("scans")[1]["sections"] == MISSING

    def test_from_unknown_to_known_is_no_change(self) -> None:
        assert [row["change"] for row in answer("history", "bob")] == ["first seen"]
        (row,) = answer("diff", JANUARY, FEBRUARY)[:1]
        assert (row["user_name"], row["attributes"]) == ("alice", ["arn"])
        told = run("diff", JANUARY, FEBRUARY).stderr
        assert "2 users could not be compared by the credential report: unknown or stale in one of the scans" in told
        assert "2 users could not be compared by the authorization details" in told

    def test_of_scans_from_before_nothing_is_said(self, records: Table) -> None:
        records.scan("2026-01-30T10:00:00Z", {"alice": {}, "bob": {}})
        assert "compared" not in run("diff", "2026-01-30T10:00:00Z", JANUARY).stderr

    def test_a_change_of_posture_is_told_in_words(self, records: Table) -> None:
        report = "2026-03-02T09:00:00Z"
        key = {"access_key_2_active": False, "access_key_2_last_rotated": KEY}
        alice = known(report, password_enabled=True, mfa_active=True, **key, groups=["ops", "staff"])
        alice |= {"arn": "arn:aws:iam::123456789012:user/people/alice", "password_last_changed": KEY}
        records.scan(MARCH, {"alice": alice}, sections=CURRENT)
        (line,) = [line for line in run("diff", "previous").stdout.splitlines() if line.startswith("alice")]
        assert "mfa_active, access_key_1_active, groups, admin_via" in line
        assert "no, yes, ops, group ops: policy all" in line
        assert "yes, no, ops + staff, none" in line
        (event,) = answer("history", "alice")[-1:]
        assert event["attributes"] == ["mfa_active", "access_key_1_active", "groups", "admin_via"]
        printed = run("history", "alice").stdout.splitlines()[-1]
        assert "with MFA" in printed
        assert "274 d inactive" in printed

    def test_use_is_a_change_on_request(self, records: Table) -> None:
        bob = known("2026-03-02T09:00:00Z", password_enabled=True, mfa_active=True, password_last_changed=KEY)
        records.scan(MARCH, {"bob": bob | {"password_last_used": MARCH}}, sections=CURRENT)
        assert [row["change"] for row in answer("history", "bob")] == ["first seen"]
        assert [row.get("attributes") for row in answer("history", "bob", "--activity")] == [
            None, ["password_last_used"], ["password_last_used"],
        ]  # fmt: skip
        (row,) = [one for one in answer("diff", "previous", "--activity") if one["user_name"] == "bob"]
        assert row["attributes"] == ["password_last_used"]
        assert [one for one in answer("diff", "previous") if one["user_name"] == "bob"] == []


class TestGaps:
    NOW = datetime.now(UTC).replace(microsecond=0)

    def ago(self, hours: float) -> str:
        return (self.NOW - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")

    @pytest.fixture
    def hourly(self, records: Table) -> Table:
        """Put hourly scans, none of which may be trusted 7 to 5 hours ago; the last one was an hour ago."""
        records.items.clear()
        for hours in (10, 9, 8, 4, 3, 2, 1):
            records.scan(self.ago(hours), {})
        for hours, status in ((7, "FAILED"), (6, "FAILED"), (5, "SKIPPED")):
            records.scan(self.ago(hours), {}, status=status)
        return records

    @pytest.mark.usefixtures("hourly")
    def test_a_period_without_a_trusted_scan_is_shown(self) -> None:
        result = run("scans", "--gaps")
        assert "1 period without a trusted scan, longer than 2 h, twice the median distance of 7" in result.stderr
        assert f"{self.ago(10)} is the oldest scan that is kept; what was before is not known" in result.stderr
        (line,) = result.stdout.splitlines()[1:]
        assert "3 h 59 min  2 FAILED, 1 SKIPPED" in line
        (row,) = answer("scans", "--gaps")
        assert row == {
            "since": (self.NOW - timedelta(hours=8, seconds=-2)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "until": self.ago(4),
            "duration": 4 * 3600 - 2,
            "expected": 2 * 3600,
            "before_scan": self.ago(8),
            "after_scan": self.ago(4),
            "attempts": {self.ago(7): "FAILED", self.ago(6): "FAILED", self.ago(5): "SKIPPED"},
            "account_id": "123456789012",
        }

    @pytest.mark.usefixtures("hourly")
    def test_how_long_is_too_long_may_be_given(self) -> None:
        assert len(answer("scans", "--gaps", "59min")) == 7, "a scan lists for two seconds, and the last is an hour ago"
        assert len(answer("scans", "--gaps=59min", "--limit", "2")) == 2
        assert answer("scans", "--gaps", "1d") == []
        assert "no trusted scan" not in run("scans", "--gaps", "4h").stderr

    def test_a_schedule_that_has_stopped_is_a_gap_until_now(self, hourly: Table) -> None:
        for hours in (1, 2, 3, 4):
            del hourly.items["__scan__", f"scan#{self.ago(hours)}"]
        (row,) = answer("scans", "--gaps")
        assert "after_scan" not in row
        assert row["before_scan"] == self.ago(8)
        assert " now " in run("scans", "--gaps").stdout

    def test_a_period_of_just_that_length_is_none(self, records: Table) -> None:
        records.items.clear()
        records.scan(self.ago(5), {}, seconds=0)
        records.scan(self.ago(3), {}, seconds=0)
        records.scan(self.ago(0), {}, seconds=0)
        assert [row["after_scan"] for row in answer("scans", "--gaps", "120min")] == [self.ago(0)]
        assert len(answer("scans", "--gaps", "119min")) == 2

    def test_what_was_begun_in_it_are_the_scans_that_failed(self, hourly: Table) -> None:
        """The scan after it was begun in it, too, some seconds before it began to list."""
        late = datetime.fromisoformat(self.ago(4)) + timedelta(seconds=3)
        hourly.scan(self.ago(4), {}, listed_from=late.isoformat(), listed_until=late.isoformat())
        hourly.scan(self.ago(2.5), {}, status="ABORTED")
        (row,) = answer("scans", "--gaps")
        assert list(row["attempts"].values()) == ["FAILED", "FAILED", "SKIPPED"]

    def test_one_scan_that_ends_after_another_begins_makes_no_gap(self, records: Table) -> None:
        records.items.clear()
        records.scan(self.ago(3), {}, seconds=1800)
        records.scan(self.ago(2.9), {}, seconds=1)
        records.scan(self.ago(1.4), {}, seconds=1)
        found = answer("scans", "--gaps", "60min")
        assert [row["since"] for row in found] == [self.ago(1.4 - 1 / 3600), self.ago(2.5)]

    @pytest.mark.parametrize(
        ("kept", "arguments", "message"),
        [
            (1, ["--gaps"], "--gaps: one trusted scan does not tell how far apart they are; give a duration"),
            (0, ["--gaps", "2h"], "--gaps: no scan has recorded every user yet"),
            (1, ["--gaps", "2"], "Invalid value for '--gaps': it must be a duration, such as 90min, 2h or 1d, or auto"),
            (1, ["--gaps="], "Invalid value for '--gaps': it must be a duration, such as 90min, 2h or 1d, or auto"),
        ],
    )
    def test_what_cannot_be_said_is_one_line(
        self, records: Table, kept: int, arguments: list[str], message: str
    ) -> None:
        records.items.clear()
        for _ in range(kept):
            records.scan(self.ago(1), {})
        result = run("--quiet", "scans", *arguments)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith(f"error: {message}")


@mock_aws
def test_dynamodb_itself_answers_as_the_tests_table_does() -> None:
    """All other answers here are those of a table in memory."""
    client = boto3.client("dynamodb")
    create_table(client)
    for item in fill(Table()).items.values():
        client.put_item(TableName=TABLE, Item=wire.to_wire(item))
    found = answer("findings")
    assert next(row["control"] for row in found if row["status"] == "FINDING") == "root-no-mfa"
    assert answer("root")[0]["mfa_active"] is False
    (alice,) = [row for row in answer("users") if row["user_name"] == "alice"]
    assert (alice["groups"], alice["password_enabled"]) == (["ops"], True)


def test_make_hands_every_value_on_as_data(tmp_path: Path) -> None:
    """Neither make nor the shell reads what is asked for."""
    evil = "x'; touch evil; '$(touch evil)"
    done = subprocess.run(
        ["make", "--dry-run", "findings", f"AT={evil}", "SCAN=latest", "CIS=7.0", f"ONLY={evil}", "UNUSED_DAYS=1",
         "KEY_AGE_DAYS=2", "FAIL=1", "ALL=1", "FORMAT=csv"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True, env={**os.environ, "MAKEFLAGS": ""},
    )  # fmt: skip
    assert evil not in done.stdout
    for option in ("--at", "--scan", "--cis", "--only", "--unused-days", "--key-age-days", "--format"):
        assert f'{option}="$ASKED_' in done.stdout
    assert "--fail-on-finding" in done.stdout
    assert "--all" in done.stdout
