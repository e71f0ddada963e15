"""The command: what it prints, for people and for tools, and how it ends."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions.cli import executions, output, rows, words
from functions.cli.deployment import Deployment
from functions.cli.errors import CommandError, ExitStatus
from functions.cli.output import Columns
from functions.table import wire
from functions.table.record import ATTRIBUTES
from tests.support.command import answer, asks, run
from tests.support.documents import COMMAND
from tests.support.engine import create_table
from tests.support.recorded import EXPIRES, TABLE, Table

JANUARY, FEBRUARY = "2026-01-31T10:00:00Z", "2026-02-02T10:00:00Z"


def fill(table: Table) -> Table:
    """Put four scans into a table: two to trust, a failed one between them, and one that has expired."""
    table.scan("2025-01-31T10:00:00Z", {"expired": {}}, ttl=1_000_000_000)
    table.scan(JANUARY, {"alice": {}, "bob": {}, "carol": {}, "Erin": {}})
    table.scan("2026-02-01T10:00:00Z", {"alice": {}}, status="FAILED")
    moved = {"arn": "arn:aws:iam::123456789012:user/new/alice", "password_last_used": "2026-02-01T09:00:00Z"}
    dave = {"create_date": "2026-02-01T08:00:00Z"}
    renamed = {"user_id": "AIDAERIN"}
    table.scan(FEBRUARY, {"alice": moved, "carol": {"user_id": "AIDAOTHER"}, "dave": dave, "eve": renamed})
    table.put({"user_name": "__execution_lock__", "scan_timestamp": "lock", "owner": "x", "ttl": EXPIRES})
    return table


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Table:
    """Return what the command takes for DynamoDB's client."""
    return asks(monkeypatch, fill(Table()))


@pytest.mark.usefixtures("records")
class TestScans:
    def test_the_newest_comes_first_and_expired_ones_are_left_out(self) -> None:
        found = answer("scans")
        assert [(one["scan"], one["status"], one["users_scanned"]) for one in found] == [
            (FEBRUARY, "COMPLETE", 4),
            ("2026-02-01T10:00:00Z", "FAILED", 1),
            (JANUARY, "COMPLETE", 4),
        ]
        assert (found[0]["execution"], found[0]["account_id"]) == ("run-2026-02-02", "123456789012")

    def test_a_limit_ends_the_list(self) -> None:
        assert [one["scan"] for one in answer("scans", "--limit", "1")] == [FEBRUARY]

    def test_a_run_that_has_ended_behind_its_manifests_back_shows_as_such(
        self, records: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        records.scan("2026-02-03T10:00:00Z", {}, status="RUNNING")
        asked = []

        def status_of(deployment: Deployment, arn: str) -> str:
            asked.append(arn)
            return "FAILED"

        monkeypatch.setattr(executions, "status_of", status_of)
        result = run("scans")
        assert "2026-02-03T10:00:00Z  RUNNING (execution FAILED)" in result.stdout
        assert len(asked) == 1, "only for a manifest that says RUNNING"
        assert answer("scans")[0] | {"status": "RUNNING", "execution_status": "FAILED"} == answer("scans")[0]

    def test_an_execution_that_step_functions_has_forgotten_is_gone(
        self, records: Table, machine: "StepFunctions", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def forgotten(**call: Any) -> Any:
            raise StepFunctions.exceptions.ExecutionDoesNotExist

        monkeypatch.setattr(machine, "describe_execution", forgotten)
        records.scan("2026-02-03T10:00:00Z", {}, status="RUNNING")
        assert answer("scans")[0]["execution_status"] == "GONE"


@pytest.mark.usefixtures("records")
class TestUsers:
    @pytest.mark.parametrize(
        ("arguments", "scan", "names"),
        [
            ([], FEBRUARY, {"alice", "carol", "dave", "eve"}),
            (["--scan", "latest"], FEBRUARY, {"alice", "carol", "dave", "eve"}),
            (["--scan", JANUARY], JANUARY, {"alice", "bob", "carol", "Erin"}),
            (["--at", "2026-02-02T09:59:59Z"], JANUARY, {"alice", "bob", "carol", "Erin"}),
            (["--at", "2026-02-02T10:00Z"], FEBRUARY, {"alice", "carol", "dave", "eve"}),
            (["--at", "2026-02-02T12:00+02:00"], FEBRUARY, {"alice", "carol", "dave", "eve"}),
        ],
    )
    def test_who_existed_is_taken_from_a_scan_to_trust(self, arguments: list[str], scan: str, names: set[str]) -> None:
        result = run("users", *arguments, "--format", "json")
        assert result.exit_code == 0
        assert f"4 users in the scan {scan} (listed {scan} to " in result.stderr
        found = json.loads(result.stdout)
        assert {user["user_name"] for user in found} == names
        assert {(user["scan_timestamp"], user["account_id"]) for user in found} == {(scan, "123456789012")}

    def test_a_date_is_taken_as_its_beginning_and_said_so(self) -> None:
        result = run("users", "--at", "2026-02-02")
        assert "--at 2026-02-02 is taken as its beginning in UTC, 2026-02-02T00:00:00Z" in result.stderr
        assert f"in the scan {JANUARY}" in result.stderr

    def test_who_was_created_since_the_scan_is_named(self) -> None:
        result = run("users", "--at", "2026-02-01T12:00Z")
        assert f"created by then, first recorded in {FEBRUARY}: dave\n" in result.stderr
        assert "dave" not in run("users", "--at", "2026-02-01T07:00Z").stderr

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--scan", "2026-02-01T10:00:00Z"], "--scan 2026-02-01T10:00:00Z may not be trusted: it is FAILED"),
            (["--scan", "2026-03-01T10:00:00Z"], "--scan 2026-03-01T10:00:00Z: there is no such scan, or it has exp"),
            (["--scan", "2025-01-31T10:00:00Z"], "--scan 2025-01-31T10:00:00Z: there is no such scan, or it has exp"),
            (["--scan", "yesterday"], "Invalid value for '--scan': it must be a scan_timestamp, such as 2026-01-31"),
            (["--scan", ""], "Invalid value for '--scan': it must be a scan_timestamp, such as 2026-01-31T10:00:00Z"),
            (["--at", "2026-01-31T09:00Z"], "--at 2026-01-31T09:00Z: no scan up to then has recorded every user"),
            (["--at", "2026-01-31T09:00"], "Invalid value for '--at': it must be an ISO 8601 time in UTC, such as"),
            (["--at", ""], "Invalid value for '--at': it must be an ISO 8601 time in UTC, such as 2026-01-31T00:00Z"),
            (["--at", "0001-01-01T00:00+14:00"], "Invalid value for '--at': it must be an ISO 8601 time in UTC"),
            (["--at", "9000-01-01T00:00Z"], "--at 9000-01-01T00:00Z is in the future; it is 20"),
            (["--at", "2026-01-31T09:00Z", "--scan", "latest"], "--scan and --at are two answers to one question"),
            (["--format", "xml"], "Invalid value for '--format': 'xml' is not one of 'table', 'json', 'jsonl', 'csv'"),
        ],
    )
    def test_what_cannot_be_answered_is_one_line(self, arguments: list[str], message: str) -> None:
        result = run("--quiet", "users", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"error: {message}")
        assert result.stderr.count("\n") == 1

    def test_a_scan_that_listed_for_too_long_is_refused(self, records: Table) -> None:
        records.scan("2026-02-03T10:00:00Z", {"alice": {}}, seconds=100_000)
        result = run("--quiet", "users", "--scan", "2026-02-03T10:00:00Z")
        assert result.exit_code == 2
        assert "may not be trusted: it listed 2026-02-03T10:00:00Z to 2026-02-04T13:46:40Z, which is longer" in (
            result.stderr
        )

    def test_a_skipped_scan_is_not_offered_for_a_redrive(self, records: Table) -> None:
        records.scan("2026-02-03T10:00:00Z", {}, status="SKIPPED")
        result = run("--quiet", "users", "--scan", "2026-02-03T10:00:00Z")
        assert result.exit_code == 2
        assert "2026-02-03T10:00:00Z recorded nobody: another scan was at work" in result.stderr

    def test_an_index_that_is_behind_is_said_and_has_an_exit_status(self, records: Table) -> None:
        records.scan("2026-02-03T10:00:00Z", {"alice": {}}, records_written=3)
        result = run("users", "--format", "json")
        assert result.exit_code == ExitStatus.INCOMPLETE
        assert len(json.loads(result.stdout)) == 1
        assert "warning: 2 of the 3 records of the scan 2026-02-03T10:00:00Z are missing from this answer" in (
            result.stderr
        )


@pytest.mark.usefixtures("records")
class TestHistory:
    @pytest.mark.parametrize(
        ("user", "changes"),
        [
            ("alice", ["first seen", "changed"]),
            ("bob", ["first seen", "deleted"]),
            ("carol", ["first seen", "recreated"]),
            ("dave", ["first seen"]),
            ("eve", ["first seen", "renamed"]),
            ("AIDAERIN", ["first seen", "renamed"]),
        ],
    )
    def test_only_changes_are_shown(self, user: str, changes: list[str]) -> None:
        assert [row["change"] for row in answer("history", user)] == changes

    def test_every_scan_is_shown_on_request(self) -> None:
        assert [row["change"] for row in answer("history", "alice", "--all")] == ["first seen", "", "changed"]

    def test_a_failed_scan_says_nothing_of_those_it_has_not(self) -> None:
        """Throttling must not read as deletion."""
        assert [row["scan_timestamp"] for row in answer("history", "bob")] == [JANUARY, FEBRUARY]

    def test_the_edge_of_what_is_kept_is_told(self) -> None:
        assert f"{JANUARY} is the oldest scan that is kept" in run("history", "alice").stderr
        assert "oldest" not in run("history", "dave").stderr

    @pytest.mark.parametrize("user", ["nobody", "__scan__", "__execution_lock__", "expired", "AIDANOBODY"])
    @pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
    def test_an_unknown_user_is_one_line_and_no_half_document(self, user: str, form: str) -> None:
        result = run("--quiet", "history", user, "--format", form)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert f"USER {user}: no scan has recorded a user of this name" in result.stderr

    def test_another_spelling_is_hinted_at(self) -> None:
        assert "USER Alice: no scan has recorded a user of this name; did you mean alice?" in (
            run("history", "Alice").stderr
        )

    def test_an_empty_name_is_refused(self) -> None:
        assert run("history", "").exit_code == 2


@pytest.mark.usefixtures("records")
class TestDiff:
    def test_who_came_went_and_changed(self) -> None:
        found = answer("diff", JANUARY)
        assert {row["user_name"]: (row["change"], row.get("attributes")) for row in found} == {
            "alice": ("changed", ["arn"]),
            "bob": ("deleted", None),
            "carol": ("recreated", ["user_id"]),
            "dave": ("created", None),
            "eve": ("renamed", ["user_name", "arn"]),
        }
        assert [row["user_name"] for row in found] == sorted(row["user_name"] for row in found)
        assert answer("diff", "previous") == found

    def test_a_row_is_evidence_by_itself(self) -> None:
        (bob,) = [row for row in answer("diff", JANUARY) if row["user_name"] == "bob"]
        arn = "arn:aws:iam::123456789012:user/bob"
        assert (bob["arn"], bob["user_id"], bob["account_id"]) == (arn, "AIDABOB", "123456789012")
        assert (bob["before_scan"], bob["after_scan"]) == (JANUARY, FEBRUARY)
        assert bob["before"]["create_date"] == "2025-03-14T09:26:53Z"
        assert "after" not in bob

    def test_people_see_what_differs(self) -> None:
        printed = run("diff", JANUARY, "--activity").stdout.splitlines()
        (line,) = [line for line in printed if line.startswith("alice")]
        assert "arn:aws:iam::123456789012:user/alice, none" in line
        assert "arn:aws:iam::123456789012:user/new/alice, 2026-02-01T09:00:00Z" in line

    def test_a_scan_differs_in_nothing_from_itself(self) -> None:
        assert answer("diff", "latest", "latest") == []

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["2026-02-01T10:00:00Z"], "FROM 2026-02-01T10:00:00Z may not be trusted: it is FAILED"),
            ([JANUARY, "2026-02-01T10:00:00Z"], "TO 2026-02-01T10:00:00Z may not be trusted: it is FAILED"),
            ([FEBRUARY, JANUARY], f"FROM {FEBRUARY} is newer than TO {JANUARY}; exchange them"),
            (["previous", JANUARY], f"FROM previous: no scan before {JANUARY} may be trusted"),
            ([], "Missing argument 'FROM'"),
            ([""], "Invalid value for 'FROM': it must be a scan_timestamp"),
        ],
    )
    def test_what_cannot_be_compared_is_one_line(self, arguments: list[str], message: str) -> None:
        result = run("--quiet", "diff", *arguments)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith(f"error: {message}")

    def test_scans_that_overlap_are_not_compared(self, records: Table) -> None:
        records.scan("2026-02-02T10:00:01Z", {"alice": {}})
        assert "overlap" in run("diff", FEBRUARY, "2026-02-02T10:00:01Z").stderr


class StepFunctions:
    """What the command asks Step Functions, with answers made up."""

    exceptions = SimpleNamespace(ExecutionDoesNotExist=KeyError)

    def __init__(self, *described: dict[str, Any]) -> None:
        self.described = list(described)
        self.redriven = False

    def start_execution(self, **call: Any) -> dict[str, Any]:
        assert json.loads(call["input"]) == {"trigger": "manual"}
        return {"executionArn": "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:x"}

    def redrive_execution(self, **call: Any) -> dict[str, Any]:
        self.redriven = True
        return {}

    def describe_execution(self, **call: Any) -> dict[str, Any]:
        return self.described.pop(0) if len(self.described) > 1 else self.described[0]

    def get_execution_history(self, **call: Any) -> dict[str, Any]:
        return {"events": [{"id": 7}]}

    def get_paginator(self, operation: str) -> "StepFunctions":
        return self

    def paginate(self, **call: Any) -> Iterator[dict[str, Any]]:
        entered = {"stateEnteredEventDetails": {"name": "AcquireLock"}, "timestamp": datetime.now(UTC)}
        yield {"events": [{**entered, "id": 8}, {"id": 7}]}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> StepFunctions:
    monkeypatch.setenv("STATE_MACHINE_ARN", "arn:aws:states:us-east-1:123456789012:stateMachine:iam-user-monitor")
    monkeypatch.setattr(executions, "POLL_SECONDS", 0)
    made = StepFunctions({"status": "SUCCEEDED", "output": "{}"})
    monkeypatch.setattr(Deployment, "stepfunctions", made)
    return made


class TestStart:
    def test_a_scan_that_succeeds_ends_with_0(self, machine: StepFunctions) -> None:
        result = run("start")
        assert result.exit_code == 0
        first, state, status = result.stdout.splitlines()
        assert first.startswith("arn:aws:states:")
        assert state.endswith("AcquireLock")
        assert status == "SUCCEEDED"

    def test_a_scan_that_fails_ends_with_1_and_its_cause(self, machine: StepFunctions) -> None:
        cause = json.dumps({"errorType": "ScanFailed", "errorMessage": "no\x1b[2Jusers"})
        machine.described = [{"status": "FAILED", "cause": cause}]
        result = run("start")
        assert result.exit_code == 1
        assert result.stdout.splitlines()[-2:] == ["FAILED", "ScanFailed: no\\x1b[2Jusers"]

    def test_a_scan_that_is_skipped_says_by_whom_and_ends_with_4(self, machine: StepFunctions) -> None:
        skipped = {
            "acquired": False,
            "reason": "another execution holds the lock",
            "holder": {"owner": "arn:other", "acquired_at": 1, "expires_at": 1_800_000_000},
        }
        machine.described = [{"status": "SUCCEEDED", "output": json.dumps(skipped)}]
        result = run("start")
        assert result.exit_code == ExitStatus.SKIPPED
        assert result.stdout.splitlines()[-1] == (
            "SKIPPED: another execution holds the lock: arn:other, until 2027-01-15T08:00:00Z at the latest"
        )

    def test_a_state_that_lasts_is_told_now_and_then(
        self, machine: StepFunctions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A throttled WriteBatch backs off for minutes, and writes no event meanwhile."""
        machine.described = [*[{"status": "RUNNING"}] * 200, {"status": "SUCCEEDED", "output": "{}"}]
        passed = [0.0]
        monkeypatch.setattr(machine, "paginate", lambda **call: self.history(passed[0]))
        clock = SimpleNamespace(monotonic=lambda: passed[0], sleep=lambda s: passed.__setitem__(0, passed[0] + 1))
        monkeypatch.setattr(executions, "time", clock)
        monkeypatch.setattr(executions.Waiting.__init__, "__defaults__", (clock.monotonic,))
        lines = [line[10:] for line in run("start").stdout.splitlines()[1:-1]]
        told = [f"WriteRecords: {seconds} s so far" for seconds in (10, 20, 40, 80, 140)]
        told += ["SaveProgress", *(f"SaveProgress: {seconds} s so far" for seconds in (10, 20, 40))]
        assert lines == ["WriteRecords", *told]

    @staticmethod
    def history(second: float) -> Iterator[dict[str, Any]]:
        states = [(150, "SaveProgress"), (0, "WriteRecords")]
        yield {
            "events": [
                {"id": 10 + at, "stateEnteredEventDetails": {"name": name}, "timestamp": datetime.now(UTC)}
                for at, name in states
                if at <= second
            ]
        }

    def test_an_interrupt_ends_with_130(self, machine: StepFunctions, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*arguments: Any, **options: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(executions, "follow", interrupted)
        result = run("--quiet", "start")
        assert result.exit_code == 130
        assert "interrupted; an execution that was started goes on" in result.stderr


class TestRedrive:
    def test_it_waits_until_the_redrive_has_begun(self, machine: StepFunctions) -> None:
        """DescribeExecution is eventually consistent: the former failure is not the answer."""
        failed = {"status": "FAILED", "redriveCount": 0, "cause": "old"}
        running = {"status": "RUNNING", "redriveCount": 1}
        machine.described = [failed, failed, failed, running, running, {"status": "SUCCEEDED", "redriveCount": 1}]
        result = run("redrive", "x")
        assert machine.redriven
        assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "SUCCEEDED")
        assert "old" not in result.stdout

    def test_it_may_have_ended_by_then(self, machine: StepFunctions) -> None:
        machine.described = [{"status": "FAILED"}, {"status": "SUCCEEDED", "redriveCount": 1}]
        assert run("redrive", "x").exit_code == 0

    def test_it_is_not_waited_for_for_ever(self, machine: StepFunctions) -> None:
        machine.described = [{"status": "FAILED", "redriveCount": 0}]
        clock = iter([0.0, 10.0, 31.0])
        with pytest.raises(CommandError, match="has not begun within 30 s"):
            executions.redrive(Deployment(), "arn:x", sleep=lambda seconds: None, clock=lambda: next(clock))

    def test_latest_is_the_newest_that_can_be_redriven(
        self, records: Table, machine: StepFunctions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fates = {"run-2026-02-02": "SUCCEEDED", "run-2026-02-01": "FAILED", "run-2026-01-31": "FAILED"}

        def describe(*, executionArn: str) -> dict[str, Any]:  # noqa: N803
            if machine.redriven:
                return {"status": "SUCCEEDED", "redriveCount": 1}
            return {"status": fates[executionArn.rpartition(":")[2]]}

        monkeypatch.setattr(machine, "describe_execution", describe)
        result = run("redrive", "latest")
        assert result.exit_code == 0
        assert result.stdout.startswith(
            "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:run-2026-02-01"
        )

    def test_a_run_whose_input_was_refused_is_not_redriven(
        self, records: Table, machine: StepFunctions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A redrive keeps the input: it would fail again."""
        newest = "2026-02-03T10:00:00Z"
        records.scan(newest, {}, status="FAILED", error_type="InvalidInput")
        machine.described = [{"status": "FAILED"}] * 2 + [{"status": "SUCCEEDED", "redriveCount": 1}]
        assert "run-2026-02-02" in run("redrive", "latest").stdout.splitlines()[0]

    def test_there_may_be_none(self, records: Table, machine: StepFunctions) -> None:
        result = run("redrive", "latest")
        assert result.exit_code == 2
        assert "EXECUTION latest: none of the last runs can be redriven" in result.stderr

    def test_an_empty_one_is_refused(self) -> None:
        assert run("redrive", "").exit_code == 2


class TestFormats:
    COLUMNS = Columns(("name", "count", "note"), ("name", "count", "note"))
    ROWS = ({"name": "=cmd()", "count": -1, "note": None}, {"name": "b\n\x1b", "count": 20, "note": ["x", "y"]})

    def write(self, form: str, rows: Any = ROWS) -> str:
        out = io.StringIO()
        output.write(rows, self.COLUMNS, form, out)
        return out.getvalue()

    def test_a_table_has_aligned_columns_and_no_control_characters(self) -> None:
        assert self.write("table") == "name     count  note\n=cmd()      -1\nb\\n\\x1b     20  x, y\n"

    def test_json_has_no_empty_values(self) -> None:
        expected = [{"name": "=cmd()", "count": -1}, {"name": "b\n\x1b", "count": 20, "note": ["x", "y"]}]
        assert json.loads(self.write("json")) == expected
        assert [json.loads(line) for line in self.write("jsonl").splitlines()] == expected

    def test_a_spreadsheet_runs_no_name_as_a_formula_and_keeps_numbers(self) -> None:
        assert next(csv.DictReader(io.StringIO(self.write("csv")))) == {"name": "'=cmd()", "count": "-1", "note": ""}

    @pytest.mark.parametrize("name", ["=x", "+x", "-x", "@x", "-1"])
    def test_every_beginning_of_a_formula_is_quoted(self, name: str) -> None:
        assert self.write("csv", [{"name": name}]) == f"name,count,note\n'{name},,\n"

    @pytest.mark.parametrize(
        ("form", "empty"),
        [("table", "name  count  note\n"), ("json", "[]\n"), ("jsonl", ""), ("csv", "name,count,note\n")],
    )
    def test_nothing_is_an_answer_too(self, form: str, empty: str) -> None:
        assert self.write(form, []) == empty

    @pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
    def test_rows_are_written_while_they_come(self, form: str) -> None:
        out = io.StringIO()

        def coming() -> Iterator[dict[str, Any]]:
            yield {"name": "first"}
            assert "first" in out.getvalue()
            yield {"name": "second"}

        assert output.write(coming(), self.COLUMNS, form, out) == 2


class TestDeployment:
    @pytest.mark.parametrize(
        ("variables", "options", "region"),
        [
            ({"AWS_REGION": "eu-west-1"}, [], "eu-west-1"),
            ({"AWS_DEFAULT_REGION": "eu-west-2"}, [], "eu-west-2"),
            ({"AWS_PROFILE": "far"}, [], "ap-south-1"),
            ({}, ["--profile", "far"], "ap-south-1"),
            ({}, ["--region", "eu-west-3"], "eu-west-3"),
            ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, [], "eu-west-1"),
            ({"AWS_REGION": "eu-west-1"}, ["--region", "eu-west-3"], "eu-west-3"),
        ],
    )
    @pytest.mark.parametrize("last", [False, True])
    @mock_aws
    def test_the_region_is_taken_from_where_it_is_set(
        self,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        variables: dict[str, str],
        options: list[str],
        region: str,
        last: bool,
    ) -> None:
        config = tmp_path / "config"
        config.write_text("[profile far]\nregion = ap-south-1\naws_access_key_id = x\naws_secret_access_key = y\n")
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name)
        for name, value in {"AWS_CONFIG_FILE": str(config), **variables}.items():
            monkeypatch.setenv(name, value)
        result = run(*(["scans", *options] if last else [*options, "scans"]))
        assert f"account 123456789012, region {region}, table iam-user-records\n" in result.stderr

    def test_without_a_region_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name)
        result = run("scans")
        assert result.exit_code == 2
        assert result.stderr == "error: no region is set; give --region, or set AWS_REGION, or a profile that has one\n"

    @mock_aws
    @pytest.mark.parametrize("options", [[], ["--table", "other"]])
    def test_without_a_table_it_says_so(self, options: list[str]) -> None:
        result = run("--quiet", "scans", *options)
        assert (result.exit_code, result.stderr.count("\n")) == (ExitStatus.NO_ANSWER, 1)
        assert "ResourceNotFoundException" in result.stderr

    def test_an_unknown_profile_is_one_line(self) -> None:
        result = run("--profile", "nobody", "scans")
        assert result.exit_code == ExitStatus.NO_ANSWER
        assert result.stderr == "error: The config profile (nobody) could not be found\n"

    @mock_aws
    def test_dynamodb_itself_answers_as_the_tests_table_does(self) -> None:
        """All other answers here are those of a table in memory."""
        client = boto3.client("dynamodb")
        create_table(client)
        table = fill(Table())
        for item in table.items.values():
            client.put_item(TableName=TABLE, Item=wire.to_wire(item))
        assert len(answer("scans")) == 3
        assert len(answer("users")) == 4
        assert [row["change"] for row in answer("history", "AIDAERIN")] == ["first seen", "renamed"]
        assert len(answer("diff", "previous")) == 5

    @mock_aws
    def test_the_table_comes_from_the_environment_or_an_option(self, monkeypatch: pytest.MonkeyPatch) -> None:
        create_table(boto3.client("dynamodb"))
        monkeypatch.setenv("DYNAMODB_TABLE_NAME", "nowhere")
        assert run("scans").exit_code == ExitStatus.NO_ANSWER
        assert run("--table", TABLE, "scans").exit_code == 0
        assert run("scans", "--table", TABLE).exit_code == 0

    def test_a_state_machine_may_be_named(self) -> None:
        with mock_aws():
            deployment = Deployment(region="us-east-1", state_machine="another")
            assert deployment.state_machine_arn == "arn:aws:states:us-east-1:123456789012:stateMachine:another"
            with pytest.raises(CommandError, match="--state-machine must be the ARN or the name"):
                Deployment(state_machine="arn:aws:iam::1:role/x").state_machine_arn  # noqa: B018

    def test_a_local_endpoint_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        arn = "arn:aws:states:us-east-1:123456789012:stateMachine:x"
        told = Deployment(state_machine=arn).introduce()
        assert told == "account 123456789012, region us-east-1, table iam-user-records, endpoint http://127.0.0.1:9"


class TestCommand:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["redrive"], "Missing argument 'EXECUTION|latest'; see iam-user-monitor redrive --help"),
            (["history"], "Missing argument 'USER'; see iam-user-monitor history --help"),
            (["scans", "--limit", "none"], "Invalid value for '--limit': 'none' is not a valid integer range"),
            (["scans", "--limit", "0"], "Invalid value for '--limit': 0 is not in the range x>=1"),
            (["scan"], "No such command 'scan'"),
            (["scans", "--lines", "3"], "No such option"),
        ],
    )
    def test_a_missing_or_wrong_value_is_one_line(self, arguments: list[str], message: str) -> None:
        result = run(*arguments)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith(f"error: {message}")

    def test_alone_it_lists_its_commands(self) -> None:
        result = run()
        assert result.exit_code == 0
        for name in (
            "start",
            "redrive",
            "scans",
            "users",
            "history",
            "diff",
            "changes",
            "announce",
            "findings",
            "root",
        ):
            assert f"\n  {name} " in result.stdout

    def test_the_exit_statuses_are_documented(self) -> None:
        table = COMMAND.read_text().split("| Exit status | Meaning |")[1].split("\n\n")[0]
        documented = {int(row.split("|")[1].strip(" `")) for row in table.splitlines()[2:]}
        assert documented == {int(status) for status in ExitStatus}

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_a_shell_can_complete_it(self, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
        monkeypatch.setenv("_IAM_USER_MONITOR_COMPLETE", f"{shell}_source")
        result = run()
        assert "_IAM_USER_MONITOR_COMPLETE" in result.stdout

    def test_columns_follow_from_the_record(self) -> None:
        recorded = [attribute.name for attribute in ATTRIBUTES if attribute.name != "ttl"]
        assert rows.USER_COLUMNS.data == recorded
        assert set(rows.HISTORY_COLUMNS.data) == {*recorded, "change", "attributes"}
        assert rows.USER_COLUMNS.table == [
            "user_name", "path", "user_id", "create_date", "password_last_used", "console", "keys", "groups", "admin",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("cause", "message"),
        [
            ('{"errorType": "ScanFailed", "errorMessage": "no users", "stackTrace": ["x"]}', "ScanFailed: no users"),
            ("stopped by hand", "stopped by hand"),
            ("[1]", "[1]"),
        ],
    )
    def test_a_cause_is_told_without_its_stack_trace(self, cause: str, message: str) -> None:
        assert executions.message_of(cause) == message

    @pytest.mark.parametrize(
        ("age", "told"),
        [
            (timedelta(seconds=5), "5 s before"),
            (timedelta(hours=3, minutes=2, seconds=1), "3 h 2 min before"),
            (timedelta(days=2, minutes=5), "2 d 5 min before"),
            (timedelta(seconds=-5), "0 s before"),
        ],
    )
    def test_an_age_has_two_units(self, age: timedelta, told: str) -> None:
        from tests.unit.test_queries import scan_of

        table = Table()
        table.scan(JANUARY, {})
        scan = scan_of(table, JANUARY)
        assert words.age(scan.listing[1] + age, scan).startswith(told)
