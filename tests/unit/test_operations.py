"""The operator commands read what was recorded, trust only what may be trusted, and say what is wrong in one line."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions.operations import __main__ as operations
from functions.operations import executions, output
from functions.table import wire
from tests.statemachine.engine import create_table

TABLE = "iam-user-records"
EXPIRES = 4_000_000_000


class Records:
    """A table with scans in it."""

    def __init__(self) -> None:
        self._dynamodb = boto3.client("dynamodb")
        create_table(self._dynamodb)

    def scan(
        self, timestamp: str, users: dict[str, dict[str, Any]], status: str = "COMPLETE", ttl: int = EXPIRES
    ) -> None:
        manifest = {
            "user_name": "__scan__", "scan_timestamp": f"scan#{timestamp}", "status": status, "ttl": ttl,
            "execution_arn": f"arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:run-{timestamp[:10]}",
            "users_scanned": len(users), "records_written": len(users), "errors": 0, "attempt": 1,
            "trigger": "schedule", "duration_ms": 1500,
        }  # fmt: skip
        self.put(manifest)
        for name, attributes in users.items():
            user = {"user_id": f"AIDA{name}", "arn": f"arn:aws:iam::123456789012:user/{name}",
                    "create_date": "2025-03-14T09:26:53Z"}  # fmt: skip
            self.put({"user_name": name, "scan_timestamp": timestamp, "ttl": ttl, **user, **attributes})

    def put(self, item: dict[str, Any]) -> None:
        self._dynamodb.put_item(TableName=TABLE, Item=wire.to_wire(item))


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[Records]:
    """Return a table with four scans: two to trust, a failed one between them, and one that has expired."""
    monkeypatch.delenv("STATE_MACHINE_ARN", raising=False)
    monkeypatch.delenv("DYNAMODB_TABLE_NAME", raising=False)
    with mock_aws():
        table = Records()
        table.scan("2025-01-31T10:00:00Z", {"expired": {}}, ttl=1_000_000_000)
        table.scan("2026-01-31T10:00:00Z", {"alice": {}, "bob": {}, "carol": {}})
        table.scan("2026-02-01T10:00:00Z", {"alice": {}}, status="FAILED")
        moved = {"arn": "arn:aws:iam::123456789012:user/new/alice", "password_last_used": "2026-02-01T09:00:00Z"}
        table.scan("2026-02-02T10:00:00Z", {"alice": moved, "carol": {"user_id": "AIDAanother"}, "dave": {}})
        table.put({"user_name": "__execution_lock__", "scan_timestamp": "lock", "owner": "x", "ttl": EXPIRES})
        yield table


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = operations.main(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    status, out, err = run(capsys, *arguments, "--format", "json")
    assert status == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


@pytest.mark.usefixtures("records")
class TestScans:
    def test_the_newest_comes_first_and_expired_ones_are_left_out(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = rows(capsys, "scans")
        assert [(one["scan"], one["status"], one["users_scanned"]) for one in found] == [
            ("2026-02-02T10:00:00Z", "COMPLETE", 3),
            ("2026-02-01T10:00:00Z", "FAILED", 1),
            ("2026-01-31T10:00:00Z", "COMPLETE", 3),
        ]
        assert found[0]["execution"] == "run-2026-02-02"

    def test_a_limit_ends_the_list(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert [one["scan"] for one in rows(capsys, "scans", "--limit", "1")] == ["2026-02-02T10:00:00Z"]


@pytest.mark.usefixtures("records")
class TestUsers:
    @pytest.mark.parametrize(
        ("arguments", "scan", "names"),
        [
            ([], "2026-02-02T10:00:00Z", {"alice", "carol", "dave"}),
            (["--scan", "latest"], "2026-02-02T10:00:00Z", {"alice", "carol", "dave"}),
            (["--scan", "2026-01-31T10:00:00Z"], "2026-01-31T10:00:00Z", {"alice", "bob", "carol"}),
            (["--at", "2026-02-02T09:59:59Z"], "2026-01-31T10:00:00Z", {"alice", "bob", "carol"}),
            (["--at", "2026-02-02T10:00Z"], "2026-02-02T10:00:00Z", {"alice", "carol", "dave"}),
            (["--at", "2026-02-02T12:00+02:00"], "2026-02-02T10:00:00Z", {"alice", "carol", "dave"}),
        ],
    )
    def test_who_existed_is_taken_from_a_scan_to_trust(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], scan: str, names: set[str]
    ) -> None:
        status, out, err = run(capsys, "users", *arguments, "--format", "json")
        assert (status, err) == (0, f"3 users in the scan {scan}\n")
        assert {user["user_name"] for user in json.loads(out)} == names

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--scan", "2026-02-01T10:00:00Z"], "SCAN=2026-02-01T10:00:00Z may not be trusted: it is FAILED"),
            (["--scan", "2026-03-01T10:00:00Z"], "SCAN=2026-03-01T10:00:00Z: there is no such scan, or it has expired"),
            (["--scan", "2025-01-31T10:00:00Z"], "SCAN=2025-01-31T10:00:00Z: there is no such scan, or it has expired"),
            (["--scan", "yesterday"], "SCAN must be an ISO 8601 time in UTC, such as 2026-01-31T00:00Z, or latest"),
            (["--at", "2026-01-31T09:00Z"], "AT=2026-01-31T09:00Z: no scan up to then has recorded every user"),
            (["--at", "2026-01-31"], "AT must be an ISO 8601 time in UTC, such as 2026-01-31T00:00Z, got '2026-01-31'"),
            (["--at", "2026-01-31T09:00Z", "--scan", "latest"], "SCAN=latest and AT=2026-01-31T09:00Z are two answers"),
            (["--format", "xml"], "FORMAT must be one of table, json, csv, got 'xml'"),
        ],
    )
    def test_what_cannot_be_answered_is_one_line(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
    ) -> None:
        status, out, err = run(capsys, "users", *arguments)
        assert (status, out) == (2, "")
        assert err.startswith(f"error: {message}")
        assert err.count("\n") == 1


@pytest.mark.usefixtures("records")
class TestHistory:
    @pytest.mark.parametrize(
        ("user", "changes"),
        [
            ("alice", ["first seen", "", "arn, password_last_used"]),
            ("bob", ["first seen", "deleted"]),
            ("carol", ["first seen", "recreated"]),
            ("dave", ["first seen"]),
        ],
    )
    def test_changes_are_marked(self, capsys: pytest.CaptureFixture[str], user: str, changes: list[str]) -> None:
        assert [row["change"] for row in rows(capsys, "history", "--user", user)] == changes

    def test_a_failed_scan_says_nothing_of_those_it_has_not(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Throttling must not read as deletion."""
        found = rows(capsys, "history", "--user", "bob")
        assert [row["scan_timestamp"] for row in found] == ["2026-01-31T10:00:00Z", "2026-02-02T10:00:00Z"]

    def test_one_who_comes_back_is_seen_again(self, records: Records, capsys: pytest.CaptureFixture[str]) -> None:
        records.scan("2026-02-03T10:00:00Z", {"bob": {}})
        assert [row["change"] for row in rows(capsys, "history", "--user", "bob")][-2:] == ["deleted", "seen again"]

    @pytest.mark.parametrize("user", ["nobody", "__scan__", "__execution_lock__", "expired"])
    def test_an_unknown_user_is_one_line(self, capsys: pytest.CaptureFixture[str], user: str) -> None:
        status, _, err = run(capsys, "history", "--user", user, "--format", "csv")
        assert (status, err.count("\n")) == (2, 1)
        assert f"USER={user}: no scan has recorded a user of this name" in err


@pytest.mark.usefixtures("records")
class TestDiff:
    def test_who_came_went_and_changed(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = rows(capsys, "diff", "--from", "2026-01-31T10:00:00Z")
        assert {row["user_name"]: (row["change"], row.get("attributes")) for row in found} == {
            "alice": ("changed", ["arn", "password_last_used"]),
            "bob": ("deleted", None),
            "carol": ("recreated", ["user_id"]),
            "dave": ("created", None),
        }
        (alice,) = [row for row in found if row["user_name"] == "alice"]
        assert alice["before"] == "arn:aws:iam::123456789012:user/alice, none"
        assert alice["after"] == "arn:aws:iam::123456789012:user/new/alice, 2026-02-01T09:00:00Z"

    def test_a_scan_differs_in_nothing_from_itself(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert rows(capsys, "diff", "--from", "latest", "--to", "latest") == []

    def test_a_scan_that_may_not_be_trusted_is_not_compared(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, _, err = run(capsys, "diff", "--from", "2026-02-01T10:00:00Z")
        assert status == 2
        assert "may not be trusted: it is FAILED" in err


class TestFormats:
    ROWS = ({"name": "=cmd()", "count": 1, "note": None}, {"name": "b", "count": 20, "note": ["x", "y"]})

    def write(self, form: str, rows: Any = ROWS) -> str:
        out = io.StringIO()
        output.write(rows, ("name", "count", "note"), form, out)
        return out.getvalue()

    def test_a_table_has_aligned_columns(self) -> None:
        assert self.write("table") == "name    count  note\n=cmd()      1\nb          20  x, y\n"

    def test_json_has_no_empty_values(self) -> None:
        assert json.loads(self.write("json")) == [
            {"name": "=cmd()", "count": 1},
            {"name": "b", "count": 20, "note": ["x", "y"]},
        ]

    def test_a_spreadsheet_runs_no_users_name_as_a_formula(self) -> None:
        assert next(csv.DictReader(io.StringIO(self.write("csv")))) == {"name": "'=cmd()", "count": "1", "note": ""}

    @pytest.mark.parametrize(("form", "empty"), [("table", "name  count  note\n"), ("json", "[]\n"),
                                                 ("csv", "name,count,note\n")])  # fmt: skip
    def test_nothing_is_an_answer_too(self, form: str, empty: str) -> None:
        assert self.write(form, []) == empty

    def test_rows_are_written_while_they_come(self) -> None:
        out = io.StringIO()

        def coming() -> Iterator[dict[str, Any]]:
            yield {"name": "first"}
            assert "first" in out.getvalue()
            yield {"name": "second"}

        assert output.write(coming(), ("name",), "csv", out) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["redrive"], "EXECUTION must be the ARN or the name of the execution to redrive, or latest"),
        (["history"], "USER must be the name of an IAM user"),
        (["diff"], "FROM must be the scan to begin with"),
        (["scans", "--limit", "none"], "LIMIT must be a whole number above 0, got 'none'"),
        (["scans", "--limit", "0"], "LIMIT must be a whole number above 0, got '0'"),
    ],
)
@mock_aws
def test_a_missing_or_wrong_value_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ('{"errorType": "ScanFailed", "errorMessage": "no users", "stackTrace": ["long"]}', "ScanFailed: no users"),
        ("stopped by hand", "stopped by hand"),
        ("[1]", "[1]"),
    ],
)
def test_a_cause_is_told_without_its_stack_trace(cause: str, message: str) -> None:
    assert executions.message_of(cause) == message


def test_without_a_region_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    status, _, err = run(capsys, "scans")
    assert (status, err) == (2, "error: no region is set; set AWS_REGION, or AWS_PROFILE to a profile with one\n")


@mock_aws
def test_without_a_table_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "scans")
    assert status == 2
    assert "ResourceNotFoundException" in err
    assert err.count("\n") == 1
