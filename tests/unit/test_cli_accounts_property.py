"""Whatever users of the same names many accounts have: no command mixes them, whichever account it is asked of."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.cli import executions
from functions.cli.errors import ExitStatus
from functions.shared import timestamps
from tests.support.command import asks, run
from tests.support.recorded import ACCOUNT, NOTHING, Table

TIMES = ("2026-01-31T10:00:00Z", "2026-01-31T14:00:00Z", "2026-02-01T10:00:00Z")
ACCOUNTS = (ACCOUNT, "222222222222", "222222222223", "333333333333")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = ("alice", "bob", *ACCOUNTS, "lock", "__scan__")
"""A name may be the number of an account, or what an item of the table is called."""

COMMANDS = (
    ("users",),
    ("users", "--scan", TIMES[1]),
    ("users", "--at", "2026-02-01"),
    ("history", "alice"),
    ("history", "222222222222"),
    ("history", "__scan__"),
    ("diff", TIMES[0], TIMES[2]),
    ("diff", "previous"),
    ("findings", "--all"),
    ("findings", "--fail-on-finding"),
    ("root",),
    ("changes", "--since", TIMES[0]),
    ("changes", "--since", TIMES[0], "--user", "222222222223"),
    ("scans",),
    ("scans", "--gaps", "2h"),
    ("report", "--output", "-"),
)
OF_THE_PAST = {"history", "changes"}


@dataclass(frozen=True)
class Scan:
    """What one account's scan of one time has."""

    status: str
    users: tuple[tuple[str, int], ...]
    """Names, and who has them: users of the same name may be others at another time."""
    known: bool


@st.composite
def _scans(draw: st.DrawFn) -> Scan:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    return Scan(
        draw(st.sampled_from(["COMPLETE"] * 4 + ["FAILED", "RUNNING"])),
        tuple((name, draw(st.integers(0, 1))) for name in names),
        draw(st.booleans()),
    )


# None: the account was not scanned then.
worlds = st.lists(st.tuples(*(st.none() | _scans() for _ in TIMES)), min_size=len(ACCOUNTS), max_size=len(ACCOUNTS))
members = st.sets(st.sampled_from(ACCOUNTS), min_size=1)


def record(table: Table, account: str, scans: tuple[Scan | None, ...], member: str | None) -> None:
    """Put what an account's scans recorded, under the keys of a member account, or of the deployment's own."""
    told: dict[str, Any] = {"account_id": account} if member is None else {}
    for time, scan in zip(TIMES, scans, strict=True):
        if scan is None:
            continue
        users = {
            name: {
                "user_id": f"AIDA{account}X{name}X{who}",
                "arn": f"arn:aws:iam::{account}:user/{name}",
                "account_id": account,
                "create_date": "2025-03-14T09:26:53Z" if who else "2026-01-31T12:00:00Z",
                **({"credential_report_time": "2026-01-31T09:30:00Z", **NOTHING} if scan.known else {}),
            }
            for name, who in scan.users
        }
        root: dict[str, Any] = (
            {"root": {"arn": f"arn:aws:iam::{account}:root", "mfa_active": True}} if scan.known else {}
        )
        arn = f"arn:aws:states:us-east-1:{ACCOUNT}:execution:iam-user-monitor:{account}-{time[:13]}"
        table.scan(time, users, scan.status, member=member, execution_arn=arn, **told, **root)


def ask(*arguments: str) -> tuple[int, str, str]:
    form = [] if arguments[0] == "report" else ["--format", "json"]
    result = run("--quiet", *arguments, *form)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@settings(max_examples=30, deadline=None)
@given(world=worlds, listed=members)
def test_no_command_mixes_accounts(
    command: tuple[str, ...], world: list[tuple[Scan | None, ...]], listed: set[str]
) -> None:
    """What an account says in a table of many is what it says in a table of its own, byte for byte."""
    scans = dict(zip(ACCOUNTS, world, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executions, "status_of", lambda *_: "RUNNING")
        # A period without a trusted scan lasts until now.
        patch.setattr(timestamps, "now", lambda: NOW)
        alone = {}
        for account in ACCOUNTS:
            record(asks(patch, Table()), account, scans[account], None)
            alone[account] = ask(*command)
        table = asks(patch, Table())
        for account in ACCOUNTS:
            record(table, account, scans[account], None if account == ACCOUNT else account)
        table.fleet(TIMES[0], dict.fromkeys(sorted(listed), "name"))

        assert ask(*command) == alone[ACCOUNT]
        for account in ACCOUNTS:
            if account in listed or any(scans[account]) or account == ACCOUNT:
                assert ask(*command, "--account", account) == alone[account]

        if command[0] == "report":
            return  # of all, each has a file
        past = command[0] in OF_THE_PAST or command == ("scans",)
        answers = {one: alone[one] for one in sorted(ACCOUNTS) if one in listed or past}
        status, stdout, stderr = ask(*command, "--account", "all")
        found = json.loads(stdout or "[]")
        assert {row.pop("account_name", None) for row in found} <= {"name", None}
        assert found == [
            {**row, "account_id": account}
            for account, (_, printed, _) in answers.items()
            for row in json.loads(printed or "[]")
        ]
        silent = {one for one, (code, *_) in answers.items() if code == ExitStatus.BAD_INPUT}
        strangers = {one for one in silent if "has a user of this name" in answers[one][2] or command[0] == "history"}
        if command == ("scans",):
            silent = {one for one, (_, printed, _) in answers.items() if printed == "[]\n"}
        silent = (silent - strangers) & listed
        assert all(f"{one} (name)" in stderr for one in silent)
        if (command[0] == "history" or "--user" in command) and not any(printed for _, printed, _ in answers.values()):
            assert status == (ExitStatus.INCOMPLETE if silent else ExitStatus.BAD_INPUT)
            return
        codes = {code for code, *_ in answers.values()} - {ExitStatus.BAD_INPUT} | {
            int(ExitStatus.INCOMPLETE) for _ in silent
        }
        worst = (ExitStatus.FINDING, ExitStatus.INCOMPLETE, ExitStatus.OK)
        assert status == next((one for one in worst if one in codes), ExitStatus.OK)
