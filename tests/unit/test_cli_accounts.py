"""The command asked of other accounts, of one or of all: whose rows they are, and what it says of who is silent."""

import json
import re
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions.cli import accounts, app, executions, scope
from functions.cli.app import cli
from functions.cli.deployment import Deployment
from functions.cli.errors import ExitStatus
from functions.cli.output import FORMATS
from functions.cli.values import ACCOUNT_OR_ALL
from functions.table import posture, wire
from functions.table.keys import MANIFEST_USER_NAME, Keys
from functions.table.manifest import Status
from functions.table.posture import Posture
from functions.table.reader import Reader, members
from tests.support.command import STATE_MACHINE_ARN, answer, asks, run
from tests.support.documents import COMMAND
from tests.support.engine import create_table
from tests.support.publishing import World, everybody
from tests.support.recorded import ACCOUNT, EXPIRES, NOTHING, TABLE, Table

DEV, PROD, OLD, HAND = "222222222222", "333333333333", "444444444444", "555555555555"
UNKNOWN = "999999999999"
JANUARY, FEBRUARY = "2026-01-31T10:00:00Z", "2026-02-02T10:00:00Z"

SECTIONS = {
    "credential_report": {"state": "CURRENT", "generated_time": "2026-01-31T09:00:00Z"},
    "authorization": {"state": "CURRENT", "generated_time": "2026-01-31T09:59:00Z"},
}


def known(**attributes: Any) -> dict[str, Any]:
    """Return a user of whom everything is known, with nothing wrong."""
    return {"credential_report_time": "2026-02-02T09:00:00Z", **NOTHING, **attributes}


def fill(table: Table) -> Table:
    """Put two runs of an organization into a table, and what they and others have recorded.

    The account OLD is suspended before the second one, PROD fails in it, and HAND is in none.
    """
    table.scan(JANUARY, {"alice": {}, "bob": {}})
    table.scan(JANUARY, {"alice": {}, DEV: {}}, member=DEV)
    table.scan(JANUARY, {"alice": {}, "paul": {}}, member=PROD)
    table.scan(JANUARY, {"alice": {}, "otto": {}}, member=OLD)
    table.scan("2026-01-20T08:00:00Z", {"hana": {}}, member=HAND, account_name="by hand", trigger="manual")
    table.fleet(JANUARY, {ACCOUNT: "main", DEV: "dev", PROD: "prod", OLD: "old"})
    table.scan(FEBRUARY, {"alice": {}, "carol": {"create_date": "2026-02-01T08:00:00Z"}})
    table.scan(FEBRUARY, {DEV: {}}, member=DEV)
    table.scan(FEBRUARY, {}, "FAILED", member=PROD, error_type="AccessDenied", error_message="no such role")
    table.fleet(
        FEBRUARY,
        {ACCOUNT: "main", DEV: "dev", PROD: "prod"},
        "INCOMPLETE",
        skipped={OLD: "SUSPENDED"},
        failed={PROD: ("AccessDenied", "no such…")},
    )
    return table


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Table:
    return asks(monkeypatch, fill(Table()))


def rows(*arguments: str, status: int = 0) -> list[dict[str, Any]]:
    result = run(*arguments, "--format", "json")
    assert result.exit_code == status, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


@pytest.mark.usefixtures("records")
class TestAccounts:
    def test_each_has_its_last_trusted_scan_and_its_fate_in_the_run(self) -> None:
        found = {row["account_id"]: row for row in answer("accounts")}
        assert list(found) == [ACCOUNT, DEV, PROD, OLD, HAND]
        assert {one: (row["status"], row.get("last_trusted_scan")) for one, row in found.items()} == {
            ACCOUNT: ("COMPLETE", FEBRUARY),
            DEV: ("COMPLETE", FEBRUARY),
            PROD: ("FAILED", JANUARY),
            OLD: ("SKIPPED", JANUARY),
            HAND: ("NOT LISTED", "2026-01-20T08:00:00Z"),
        }
        assert {row["organization_run"] for row in found.values()} == {FEBRUARY}
        assert (found[DEV]["account_name"], found[HAND]["account_name"]) == ("dev", "by hand")
        assert (found[PROD]["error_type"], found[PROD]["error_message"]) == ("AccessDenied", "no such role")
        assert found[OLD]["reason"] == "SUSPENDED"
        assert found[DEV]["users"] == 1

    def test_at_a_moment_it_is_what_was_known_then(self) -> None:
        found = {row["account_id"]: row for row in answer("accounts", "--at", "2026-01-31T12:00:02Z")}
        assert {row["status"] for one, row in found.items() if one != HAND} == {"COMPLETE"}
        assert found[PROD]["age_seconds"] == 7200
        assert "2 h" in run("accounts", "--at", "2026-01-31T12:00:02Z").stdout

    def test_people_see_the_reasons(self) -> None:
        lines = run("accounts").stdout.splitlines()
        assert lines[0].split() == [
            "account_id",
            "account_name",
            "status",
            "last_trusted_scan",
            "age",
            "users",
            "error",
        ]
        assert lines[3].endswith("  AccessDenied: no such role")
        assert lines[4].endswith("  SUSPENDED")

    def test_the_run_is_told(self) -> None:
        told = run("accounts").stderr
        assert f"the run {FEBRUARY} of the organization is INCOMPLETE\n" in told
        assert "5 accounts: 2 COMPLETE, " in told

    def test_what_was_not_begun_says_so(self, records: Table) -> None:
        records.fleet("2026-02-03T10:00:00Z", {ACCOUNT: None, DEV: "dev"}, "RUNNING")
        found = {row["account_id"]: row["status"] for row in answer("accounts")}
        assert (found[ACCOUNT], found[DEV], found[PROD]) == ("NOT BEGUN", "NOT BEGUN", "NOT LISTED")

    def test_one_that_was_never_started_has_the_error_of_the_run(self, records: Table) -> None:
        run_ = "2026-02-03T10:00:00Z"
        records.fleet(run_, {UNKNOWN: "new"}, "INCOMPLETE", failed={UNKNOWN: ("AccessDenied", "StartExecution")})
        (row,) = [row for row in answer("accounts") if row["account_id"] == UNKNOWN]
        assert (row["status"], row["error_message"], "last_trusted_scan" in row) == ("FAILED", "StartExecution", False)
        (line,) = [line for line in run("accounts").stdout.splitlines() if line.startswith(UNKNOWN)]
        assert line.split()[:4] == [UNKNOWN, "new", "FAILED", "none"]

    def test_a_run_that_could_not_list_leaves_the_accounts_of_the_one_before(self, records: Table) -> None:
        run_ = "2026-02-03T10:00:00Z"
        records.fleet(run_, {}, "FAILED", error_type="AccountsNotListed", error_message="throttled")
        result = run("accounts")
        assert f"the run {FEBRUARY} of the organization is INCOMPLETE" in result.stderr
        assert f"a later one, {run_}, is FAILED and has not listed its accounts: AccountsNotListed: throttled" in (
            result.stderr
        )
        assert f"the run {run_} of the organization is FAILED, and has not listed" in (
            run("users", "--account", "all").stderr
        )

    def test_of_thousands_that_were_skipped_the_run_names_some(self, records: Table) -> None:
        records.fleet(FEBRUARY, {DEV: "dev"}, skipped={OLD: "SUSPENDED"}, accounts_skipped=1001)
        for command in (("accounts",), ("users", "--account", "all")):
            assert "1,000 accounts more skipped by it, and not named\n" in run(*command).stderr
        records.fleet(FEBRUARY, {DEV: "dev"}, skipped={OLD: "SUSPENDED"}, accounts_skipped=1)
        assert "not named" not in run("accounts").stderr

    def test_without_an_organization_it_is_who_has_records(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table = asks(monkeypatch, Table())
        table.scan(JANUARY, {"alice": {}})
        (row,) = answer("accounts")
        assert (row["account_id"], row["last_trusted_scan"], "status" in row) == (ACCOUNT, JANUARY, False)
        assert "no run of the organization has listed its accounts" in run("accounts").stderr

    def test_what_came_later_was_not_known_then(self) -> None:
        assert answer("accounts", "--at", "2026-01-10") == []
        assert [row["account_id"] for row in answer("accounts", "--at", "2026-01-25")] == [HAND]

    def test_of_whom_all_has_expired_nothing_is_known(self, records: Table) -> None:
        records.scan("2025-01-31T10:00:00Z", {"alice": {}}, member=UNKNOWN, ttl=1_000_000_000)
        assert UNKNOWN not in run("accounts").stdout

    def test_the_future_is_refused(self) -> None:
        assert "is in the future" in run("accounts", "--at", "9000-01-01").stderr

    def test_columns_and_statuses_are_documented(self) -> None:
        section = COMMAND.read_text().split("`accounts` says of each account")[1].split("\n## ")[0]
        statuses = (accounts.SKIPPED, accounts.NOT_BEGUN, accounts.NOT_LISTED, *Status)
        for name in {*accounts.COLUMNS.table, *accounts.COLUMNS.data, *statuses}:
            assert f"`{name}`" in section, name


def test_who_takes_an_account_is_documented() -> None:
    table = COMMAND.read_text().split("| Command | `--account 222222222222` |")[1].split("\n\n")[0]
    documented = {}
    for line in table.splitlines()[2:]:
        names, _, all_ = line.strip("|").split("|")
        for name in re.findall(r"`([a-z]+)", names):
            documented[name] = all_.strip() != "–"
    taken = {
        name: parameter.type is ACCOUNT_OR_ALL
        for name, command in cli.commands.items()
        for parameter in command.params
        if parameter.name == "account"
    }
    assert documented == taken


ONE = (
    ("users",),
    ("history", "alice"),
    ("diff", "previous"),
    ("findings",),
    ("root",),
    ("scans",),
    ("changes", "--since", JANUARY),
    ("report", "--output", "-"),
    ("announce", "previous", "latest", "--yes"),
    ("redrive", "latest"),
)
MANY = ONE[:7]


@pytest.mark.usefixtures("records")
class TestOneAccount:
    def test_its_users_are_those_that_it_has(self) -> None:
        assert [row["user_name"] for row in answer("users", "--account", DEV)] == [DEV]
        assert {row["account_id"] for row in answer("users", "--account", DEV)} == {DEV}
        assert {row["user_name"] for row in answer("users", "--account", PROD)} == {"alice", "paul"}

    def test_the_deployments_own_is_the_default(self) -> None:
        for command in MANY:
            assert run("-q", *command, "--account", ACCOUNT).output == run("-q", *command).output

    def test_a_scan_is_its_accounts_though_the_execution_is_not(self) -> None:
        assert {row["account_id"] for row in answer("scans", "--account", DEV)} == {DEV}
        assert {row["account_id"] for row in answer("scans", "--gaps", "2h", "--account", DEV)} == {DEV}
        assert f'"account": "{DEV}"' in run("report", "--output", "-", "--account", DEV).stdout.replace('":"', '": "')

    @pytest.mark.parametrize("command", ONE)
    def test_an_unknown_one_is_named_with_what_is_known(self, command: tuple[str, ...]) -> None:
        result = run("--quiet", *command, "--account", UNKNOWN)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert f"error: --account {UNKNOWN}: no scan of this account is kept" in result.stderr
        for account in (ACCOUNT, DEV, PROD, OLD, HAND):
            assert account in result.stderr

    def test_of_many_only_some_are_named(self, records: Table) -> None:
        records.fleet("2026-02-03T10:00:00Z", {f"{number:012}": None for number in range(1000)})
        result = run("--quiet", "users", "--account", UNKNOWN)
        assert "000000000000, 000000000001, " in result.stderr
        assert "and 995 more" in result.stderr

    def test_one_that_was_to_be_scanned_is_known_and_has_nothing(self, records: Table) -> None:
        records.fleet("2026-02-03T10:00:00Z", {UNKNOWN: "new"})
        result = run("--quiet", "users", "--account", UNKNOWN)
        assert (result.exit_code, result.stderr) == (
            2,
            "error: --scan latest: no scan has recorded every user yet; `scans` lists them\n",
        )

    @pytest.mark.parametrize(
        "account", ["", "alice", "22222222222", "2222222222222", "２２２２２２２２２２２２", "ALL", "all"]
    )
    @pytest.mark.parametrize("command", ["redrive", "start"])
    def test_what_is_no_account_is_refused(self, command: str, account: str) -> None:
        result = run(command, "--account", account)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Invalid value for '--account': it must be the 12 digits of an account, such as 222222222222" in (
            result.stderr
        )
        assert f"got {account!r}" in result.stderr

    @pytest.mark.parametrize("user", [f"{DEV}/alice", f"{DEV}/{DEV}"])
    def test_a_key_of_the_table_is_no_name(self, user: str) -> None:
        """The record of a member account's user has such a key."""
        for account in ([], ["--account", PROD]):
            result = run("--quiet", "history", user, *account)
            assert (result.exit_code, result.stdout) == (2, "")
        assert run("--quiet", "history", user, "--account", "all").exit_code == 2

    def test_who_is_asked_is_told(self) -> None:
        assert f"asked for account {DEV}\n" in run("users", "--account", DEV).stderr
        assert "asked for all accounts\n" in run("users", "--account", "all").stderr
        assert "asked" not in run("users").stderr


@pytest.mark.usefixtures("records")
class TestAllAccounts:
    def test_every_account_answers_from_its_last_trusted_scan(self) -> None:
        found = rows("users", "--account", "all")
        assert [(row["account_id"], row["account_name"], row["user_name"], row["scan_timestamp"]) for row in found] == [
            (ACCOUNT, "main", "alice", FEBRUARY),
            (ACCOUNT, "main", "carol", FEBRUARY),
            (DEV, "dev", DEV, FEBRUARY),
            (PROD, "prod", "alice", JANUARY),
            (PROD, "prod", "paul", JANUARY),
        ]
        told = run("users", "--account", "all").stderr
        assert f"5 users in 3 accounts of the organization, run {FEBRUARY}\n" in told
        assert f"skipped by the run {FEBRUARY} of the organization: {OLD}: SUSPENDED\n" in told
        assert f"answered by an older scan than that of the run: {PROD} (prod): {JANUARY}\n" in told

    def test_at_a_moment_they_are_those_of_then(self) -> None:
        found = rows("users", "--account", "all", "--at", "2026-02-01")
        assert {row["account_id"] for row in found} == {ACCOUNT, DEV, PROD, OLD}
        assert {row["scan_timestamp"] for row in found} == {JANUARY}

    def test_who_came_since_is_named_with_the_account(self) -> None:
        result = run("users", "--account", "all", "--at", "2026-02-01T12:00Z")
        assert f"{ACCOUNT} (main): created by then, first recorded in {FEBRUARY}: carol\n" in result.stderr

    @pytest.mark.parametrize("command", [("users",), ("findings",), ("scans", "--gaps", "2h"), ("diff", JANUARY)])
    @pytest.mark.parametrize("form", FORMATS)
    def test_one_without_a_trusted_scan_is_named_and_has_an_exit_status(
        self, records: Table, command: tuple[str, ...], form: str
    ) -> None:
        with_rows = run(*command, "--account", "all", "--format", form).stdout
        records.fleet(FEBRUARY, {ACCOUNT: "main", DEV: "dev", PROD: "prod", UNKNOWN: "new"}, skipped={OLD: "SUSPENDED"})
        result = run("--quiet", *command, "--account", "all", "--format", form)
        assert result.exit_code == ExitStatus.INCOMPLETE
        assert f"{UNKNOWN} (new)\n" in result.stderr
        assert "not in this answer" in result.stderr
        assert result.stdout == with_rows, "what is there is still printed"
        assert UNKNOWN not in result.stdout

    def test_all_that_are_silent_are_named(self, records: Table) -> None:
        silent = [f"9{number:011}" for number in range(40)]
        records.fleet(FEBRUARY, {DEV: "dev", **dict.fromkeys(silent)})
        result = run("--quiet", "users", "--account", "all")
        assert result.exit_code == ExitStatus.INCOMPLETE
        (line,) = result.stderr.splitlines()
        assert line.startswith("warning: 40 accounts not in this answer (--scan latest: no scan has recorded every")
        assert all(account in line for account in silent)

    def test_an_index_that_is_behind_is_told_with_the_account(self, records: Table) -> None:
        records.scan(FEBRUARY, {DEV: {}}, member=DEV, records_written=3)
        result = run("--quiet", "users", "--account", "all")
        assert result.exit_code == ExitStatus.INCOMPLETE
        assert f"warning: {DEV} (dev): 2 of the 3 records of the scan {FEBRUARY} are missing" in result.stderr

    def test_who_left_or_was_skipped_is_no_deletion(self) -> None:
        """The account that was suspended between two runs has not lost its users."""
        result = run("diff", JANUARY, FEBRUARY, "--account", "all", "--format", "json")
        found = json.loads(result.stdout)
        assert {(row["account_id"], row["user_name"], row["change"]) for row in found} == {
            (ACCOUNT, "bob", "deleted"),
            (ACCOUNT, "carol", "created"),
            (DEV, "alice", "deleted"),
        }
        assert result.exit_code == ExitStatus.INCOMPLETE
        assert f"(TO {FEBRUARY} may not be trusted: it is FAILED" in result.stderr
        assert f"redrive it (`scans` lists them)): {PROD} (prod)\n" in result.stderr

    def test_who_is_not_known_any_longer_is_named(self, records: Table) -> None:
        records.fleet(FEBRUARY, {ACCOUNT: "main", DEV: "dev"}, skipped={PROD: "SUSPENDED"})
        result = run("diff", JANUARY, FEBRUARY, "--account", "all")
        assert f"not known any longer to that run, and not asked: {OLD} (old)\n" in result.stderr
        assert (result.exit_code, OLD in result.stdout) == (0, False)
        assert "any longer" not in run("diff", FEBRUARY, FEBRUARY, "--account", "all").stderr

    def test_changes_ask_those_that_left_too_and_none_of_them_is_a_deletion(self, records: Table) -> None:
        created = {"create_date": "2026-01-31T11:30:00Z"}
        records.scan("2026-01-31T12:00:00Z", {"alice": {}, "otto": {}, "mallory": created}, member=OLD)
        found = rows("changes", "--since", "2026-01-31T11:00Z", "--account", "all")
        assert {(row["account_id"], row["user_name"], row["change"]) for row in found} == {
            (ACCOUNT, "carol", "created"),
            (OLD, "mallory", "created"),
        }
        assert f"{DEV} (dev): 1 user missing from the scan {FEBRUARY}" in (
            run("changes", "--since", JANUARY, "--account", "all").stderr
        )

    def test_a_suspected_mass_deletion_is_told_with_the_account(self, records: Table) -> None:
        records.scan(JANUARY, {f"user{number}": {} for number in range(20)}, member=DEV)
        table: Any = SimpleNamespace(put_item=lambda **call: records.put(wire.from_wire(call["Item"])))
        details = Posture(authorization={f"AIDA{DEV}": {}})
        kept = posture.store(table, TABLE, FEBRUARY, details, now=EXPIRES, keys=Keys(DEV))
        records.scan(FEBRUARY, {DEV: {}}, member=DEV, posture=kept, sections=SECTIONS)
        result = run("--quiet", "changes", "--since", JANUARY, "--account", "all")
        assert f"warning: {DEV} (dev): mass deletion suspected: 21 of 22 users are missing" in result.stderr
        assert result.exit_code == 0, "nothing is missing from the answer"

    def test_a_user_of_changes_may_be_in_one_account_only(self) -> None:
        assert {
            row["account_id"] for row in rows("changes", "--since", JANUARY, "--user", "carol", "--account", "all")
        } == {ACCOUNT}
        result = run("--quiet", "changes", "--since", JANUARY, "--user", "nobody", "--account", "all")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--user nobody: no account that answers has a user of this name" in result.stderr

    def test_a_history_is_that_of_every_account_that_knows_the_name(self) -> None:
        found = rows("history", "alice", "--account", "all")
        assert [(row["account_id"], row["change"]) for row in found] == [
            (ACCOUNT, "first seen"),
            (DEV, "first seen"),
            (DEV, "deleted"),
            (PROD, "first seen"),
            (OLD, "first seen"),
        ]
        assert {row["account_id"] for row in rows("history", DEV, "--account", "all")} == {DEV}

    def test_a_history_by_user_id_is_that_of_its_account(self, records: Table) -> None:
        records.scan(FEBRUARY, {"paul": {"user_id": "AIDAPAUL1"}}, member=PROD)
        assert {row["account_id"] for row in rows("history", "AIDAPAUL1", "--account", "all")} == {PROD}

    @pytest.mark.parametrize("form", FORMATS)
    def test_nobody_of_the_name_is_one_line_and_no_half_document(self, form: str) -> None:
        result = run("--quiet", "history", "nobody", "--account", "all", "--format", form)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert "USER nobody: no account that answers has a user of this name" in result.stderr

    def test_scans_are_those_of_each(self) -> None:
        found = rows("scans", "--account", "all", "--limit", "1")
        assert {row["account_id"]: row["scan"] for row in found} == {
            ACCOUNT: FEBRUARY,
            DEV: FEBRUARY,
            PROD: FEBRUARY,
            OLD: JANUARY,
            HAND: "2026-01-20T08:00:00Z",
        }

    def test_no_client_is_made_where_accounts_are_asked_side_by_side(
        self, records: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """To make two at a time fails now and then: boto3's sessions are not safe for threads."""
        makers = []

        class Recorded(boto3.Session):
            def client(self, *arguments: Any, **options: Any) -> Any:
                makers.append(threading.current_thread())
                return SimpleNamespace(
                    exceptions=SimpleNamespace(ExecutionDoesNotExist=KeyError),
                    describe_execution=lambda **_: {"status": "FAILED"},
                )

        monkeypatch.setattr(boto3, "Session", Recorded)
        for member in (DEV, PROD):
            records.scan("2026-02-03T10:00:00Z", {}, "RUNNING", member=member)
        found = rows("scans", "--limit", "1", "--account", "all")
        assert [row.get("execution_status") for row in found] == [None, "FAILED", "FAILED", None, None]
        assert makers
        assert set(makers) == {threading.main_thread()}

    def test_a_scan_that_some_lack_is_theirs_to_answer_for(self) -> None:
        found = rows("users", "--scan", FEBRUARY, "--account", "all", status=ExitStatus.INCOMPLETE)
        assert {row["account_id"] for row in found} == {ACCOUNT, DEV}

    def test_without_an_organization_there_are_no_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asks(monkeypatch, Table()).scan(JANUARY, {"alice": {}})
        for command in (*MANY, ("scans", "--gaps", "2h")):
            result = run("--quiet", *command, "--account", "all")
            assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
            assert "--account all: no run of the organization up to 20" in result.stderr

    @pytest.mark.parametrize("command", ["users", "findings", "root", "accounts"])
    def test_the_future_is_refused_once(self, command: str) -> None:
        account = [] if command == "accounts" else ["--account", "all"]
        result = run("--quiet", command, "--at", "9000-01-01", *account)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "--at 9000-01-01 is in the future" in result.stderr

    def test_since_the_future_is_refused_once(self) -> None:
        result = run("--quiet", "changes", "--since", "9000-01-01", "--account", "all")
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)

    def test_of_the_rows_little_is_held(self, records: Table, monkeypatch: pytest.MonkeyPatch) -> None:
        """Accounts are asked side by side, but not far ahead of what is printed."""
        records.fleet(FEBRUARY, {f"9{number:011}": None for number in range(50)})
        for number in range(50):
            records.scan(FEBRUARY, {"alice": {}}, member=f"9{number:011}")
        asked: list[scope.Account] = []
        original = scope._answer

        def counted(question: Any, account: scope.Account) -> Any:
            asked.append(account)
            return original(question, account)

        monkeypatch.setattr(scope, "_answer", counted)
        deployment = Deployment(state_machine=STATE_MACHINE_ARN)
        everywhere = scope.everywhere(deployment, Reader(records, TABLE), Reader(records, TABLE).now)  # type: ignore[arg-type]
        answers = everywhere.ask(lambda account: [account.account_id])
        most = 0
        for number, (account, answer_) in enumerate(answers, start=1):
            assert answer_ == [account.account_id]
            most = max(most, len(asked) - number)
        assert len(asked) == 50
        assert most <= scope._SIDE_BY_SIDE + 1

    def test_what_aws_refuses_ends_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with mock_aws():
            monkeypatch.undo()
            monkeypatch.setenv("STATE_MACHINE_ARN", STATE_MACHINE_ARN)
            result = run("--quiet", "users", "--account", "all")
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (ExitStatus.NO_ANSWER, "", 1)


class TestFindingsOfAll:
    @pytest.fixture(autouse=True)
    def table(self, monkeypatch: pytest.MonkeyPatch) -> Table:
        table = asks(monkeypatch, Table())
        root = {"arn": f"arn:aws:iam::{DEV}:root", "credential_report_time": "2026-01-31T09:00:00Z", "mfa_active": True}
        table.scan(JANUARY, {"alice": known()}, sections=SECTIONS)
        table.scan(JANUARY, {"alice": known(inline_policies=["x"])}, member=DEV, sections=SECTIONS, root=root)
        table.fleet(JANUARY, {ACCOUNT: "main", DEV: "dev"})
        return table

    def test_each_names_its_account(self) -> None:
        found = [row for row in rows("findings", "--account", "all") if row["status"] == "FINDING"]
        assert [(row["account_id"], row["user_name"], row["control"]) for row in found] == [
            (DEV, "alice", "direct-policies")
        ]

    def test_they_are_counted_over_all(self) -> None:
        told = run("findings", "--account", "all", "--only", "direct-policies").stderr
        assert f"1 finding in 2 accounts of the organization, run {JANUARY}\n" in told
        assert "direct-policies             1 FINDING      1 OK      0 UNKNOWN\n" in told

    def test_a_gate_is_shut_by_one_account(self, table: Table) -> None:
        gate = ("findings", "--account", "all", "--only", "direct-policies", "--fail-on-finding")
        assert run(*gate).exit_code == ExitStatus.FINDING
        table.scan(JANUARY, {"alice": known()}, member=DEV, sections=SECTIONS)
        assert run(*gate).exit_code == ExitStatus.OK
        table.scan(JANUARY, {"alice": {}}, member=DEV, sections={"authorization": {"state": "MISSING"}})
        result = run(*gate)
        assert result.exit_code == ExitStatus.INCOMPLETE
        assert f"warning: that there is no finding means nothing: {DEV} (dev): " in result.stderr
        assert "missing or stale in 1 account\n" in result.stderr

    def test_an_account_without_a_scan_is_no_pass(self, table: Table) -> None:
        gate = ("findings", "--account", "all", "--only", "two-active-keys", "--fail-on-finding")
        assert run(*gate).exit_code == ExitStatus.OK
        table.fleet(JANUARY, {ACCOUNT: "main", PROD: "prod"})
        assert run(*gate).exit_code == ExitStatus.INCOMPLETE

    def test_a_root_user_that_is_not_known_is_told(self) -> None:
        result = run("root", "--account", "all", "--format", "json")
        assert [row["account_id"] for row in json.loads(result.stdout)] == [DEV]
        assert result.exit_code == ExitStatus.INCOMPLETE
        assert f"does not know the root user: no row of the root user in the credential report): {ACCOUNT} (main)" in (
            result.stderr
        )


@pytest.mark.usefixtures("records")
class TestPages:
    def test_each_account_has_a_page_and_one_without_a_scan_is_named(self, tmp_path: Path, records: Table) -> None:
        records.fleet(FEBRUARY, {ACCOUNT: "main", DEV: "dev", UNKNOWN: "new"}, "INCOMPLETE")
        result = run("report", "--account", "all", "--output", str(tmp_path / "page.html"))

        assert (result.exit_code, result.stdout) == (ExitStatus.INCOMPLETE, "")
        assert {file.name for file in tmp_path.iterdir()} == {f"page-{ACCOUNT}.html", f"page-{DEV}.html"}
        assert f"<title>IAM users of account {DEV}" in (tmp_path / f"page-{DEV}.html").read_text()
        assert "bob" in (tmp_path / f"page-{ACCOUNT}.html").read_text()
        assert "bob" not in (tmp_path / f"page-{DEV}.html").read_text()
        assert f"page-{DEV}.html: 1 user in the scan {FEBRUARY}\n" in result.stderr
        assert f"2 pages of 2 accounts of the organization, run {FEBRUARY}\n" in result.stderr
        assert f"{UNKNOWN} (new)" in result.stderr

    def test_they_are_of_the_accounts_of_the_moment(self, tmp_path: Path) -> None:
        result = run("report", "--account", "all", "--at", JANUARY, "--output", str(tmp_path / "report.html"))
        assert (result.exit_code, result.stdout) == (ExitStatus.OK, "")
        of_then = (ACCOUNT, DEV, PROD, OLD)
        assert {file.name for file in tmp_path.iterdir()} == {f"report-{account}.html" for account in of_then}

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--output", "-"), "--output -: of all accounts, each has a file of its own"),
            (("--from", "2026-02-03", "--to", "2026-02-02"), "--from 2026-02-03 is later than --to 2026-02-02"),
        ],
    )
    def test_what_no_account_could_answer_is_wrong_input(self, arguments: tuple[str, ...], said: str) -> None:
        result = run("report", "--account", "all", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr


def test_what_was_announced_of_one_account_is_announced_again_as_that_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    for users in (everybody(), everybody(bob=None, alice={"groups": ["ops"]})):
        world.scan(users, detailed=[attributes["user_id"] for attributes in users.values()])
        world.publish()
        world.wait(60)
    for (name, key), item in list(world.table.items.items()):
        moved = {"user_name": name, "scan_timestamp": f"account#{DEV}#{key}"}
        if name != MANIFEST_USER_NAME:
            moved = {"user_name": f"{DEV}/{name}", "scan_timestamp": key}
        world.put({**wire.from_wire(item), **moved, "account_id": DEV})
    monkeypatch.setattr(app, "_reader", lambda _: world.publisher(settled=True).reader)
    world.table.meta = Table.meta  # type: ignore[attr-defined]
    asks(monkeypatch, world.table)  # type: ignore[arg-type]
    monkeypatch.setattr(Deployment, "events", world.bus)

    def sent(*account: str) -> list[dict[str, Any]]:
        world.bus.received.clear()
        assert run("announce", "previous", "latest", "--yes", *account).exit_code == 0
        return list(world.bus.received)

    own = sent()
    for name, key in [one for one in world.table.items if one[1].startswith(("changes", "baseline", "posture"))]:
        del world.table.items[name, key]
    member = sent("--account", DEV)
    assert [(one["change"], one.get("user_name")) for one in member] == [
        ("changed", "alice"), ("deleted", "bob"), ("scan_completed", None),
    ]  # fmt: skip
    assert [(one["change"], one.get("user_name")) for one in own] == [
        (one["change"], one.get("user_name")) for one in member
    ]
    assert {one["account_id"] for one in own} == {ACCOUNT}
    assert {one["account_id"] for one in member} == {DEV}
    assert not {one["id"] for one in own} & {one["id"] for one in member}


class StepFunctions:
    """Takes what is started, or redriven."""

    def __init__(self) -> None:
        self.inputs: list[dict[str, Any]] = []
        self.redriven: list[str] = []

    def start_execution(self, **call: Any) -> dict[str, Any]:
        self.inputs.append(json.loads(call["input"]))
        return {"executionArn": "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:x"}

    def redrive_execution(self, **call: Any) -> dict[str, Any]:
        self.redriven.append(call["executionArn"])
        return {}

    def describe_execution(self, **call: Any) -> dict[str, Any]:
        return {"status": "SUCCEEDED", "redriveCount": 1, "output": "{}"} if self.redriven else {"status": "FAILED"}

    def get_execution_history(self, **call: Any) -> dict[str, Any]:
        return {"events": [{"id": 7}]}


@pytest.mark.usefixtures("records")
class TestStartAndRedrive:
    @pytest.fixture(autouse=True)
    def machine(self, monkeypatch: pytest.MonkeyPatch) -> StepFunctions:
        machine = StepFunctions()
        monkeypatch.setattr(Deployment, "stepfunctions", machine)
        monkeypatch.setattr(executions, "follow", lambda *_, **__: {"status": "SUCCEEDED", "output": "{}"})
        return machine

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ([], {}),
            (["--account", ACCOUNT], {}),
            (["--account", DEV], {"account_id": DEV, "account_name": "dev"}),
            (["--account", UNKNOWN], {"account_id": UNKNOWN}),
            (
                ["--account", UNKNOWN, "--role-name", "x+=,.@-_1"],
                {"account_id": UNKNOWN, "role_arn": f"arn:aws:iam::{UNKNOWN}:role/x+=,.@-_1"},
            ),
        ],
    )
    def test_the_execution_is_told_the_account_and_its_role(
        self, machine: StepFunctions, arguments: list[str], told: dict[str, str]
    ) -> None:
        assert run("start", *arguments).exit_code == 0
        assert machine.inputs == [{"trigger": "manual", **told}]

    def test_in_another_partition_so_is_the_role(self, machine: StepFunctions, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STATE_MACHINE_ARN", STATE_MACHINE_ARN.replace(":aws:", ":aws-cn:"))
        run("start", "--account", UNKNOWN, "--role-name", "reader")
        assert machine.inputs[0]["role_arn"] == f"arn:aws-cn:iam::{UNKNOWN}:role/reader"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--role-name", "x"], "--role-name is the role of the member account that --account names"),
            (["--account", ACCOUNT, "--role-name", "x"], f"--role-name: {ACCOUNT} is the deployment's own account"),
            (["--account", DEV, "--role-name", "a/b"], "Invalid value for '--role-name': it must be 1 to 64 letters"),
            (["--account", DEV, "--role-name", ""], "Invalid value for '--role-name': it must be 1 to 64 letters"),
        ],
    )
    def test_what_cannot_be_is_refused_before_anything_starts(
        self, machine: StepFunctions, arguments: list[str], message: str
    ) -> None:
        result = run("--quiet", "start", *arguments)
        assert (result.exit_code, result.stdout, machine.inputs) == (2, "", [])
        assert result.stderr.startswith(f"error: {message}")

    def test_latest_is_the_newest_run_of_the_account(self, records: Table, machine: StepFunctions) -> None:
        arn = STATE_MACHINE_ARN.replace("stateMachine", "execution")
        records.scan(FEBRUARY, {}, "FAILED", member=PROD, execution_arn=f"{arn}:prod")
        assert run("redrive", "latest", "--account", PROD).exit_code == 0
        assert machine.redriven == [f"{arn}:prod"]

    def test_a_run_that_is_named_needs_no_account(self, machine: StepFunctions) -> None:
        result = run("--quiet", "redrive", "x", "--account", PROD)
        assert (result.exit_code, machine.redriven) == (2, [])
        assert "--account is for EXECUTION latest; x says by itself which run it is" in result.stderr


@mock_aws
def test_dynamodb_itself_answers_as_the_tests_table_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_MACHINE_ARN", STATE_MACHINE_ARN)
    client = boto3.client("dynamodb")
    create_table(client)
    for item in fill(Table()).items.values():
        client.put_item(TableName=TABLE, Item=wire.to_wire(item))
    assert list(members(client, TABLE)) == [DEV, PROD, OLD, HAND]
    assert [row["status"] for row in answer("accounts")] == ["COMPLETE", "COMPLETE", "FAILED", "SKIPPED", "NOT LISTED"]
    assert len(answer("users", "--account", "all")) == 5
    assert len(answer("users", "--account", DEV)) == 1
    assert len(answer("users", "--account", "all", "--at", "2026-02-01")) == 8
