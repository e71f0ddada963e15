"""The operator's command on what the organization machine has written: both know the same table."""

import json
from typing import Any

import pytest

from functions.cli.deployment import Deployment
from functions.cli.errors import ExitStatus
from tests.statemachine.test_organization import BANK, NAMES, OLD, SHOP, Faults, _next_second, denied, organization
from tests.support.command import answer, run
from tests.support.engine import ACCOUNT, Engine, engine


def ask(monkeypatch: pytest.MonkeyPatch, running: Engine) -> None:
    """Let the command ask the account of an engine."""
    monkeypatch.setenv("STATE_MACHINE_ARN", running.state_machine_arn)
    monkeypatch.setattr(Deployment, "dynamodb", running.client("dynamodb"))


def fates() -> dict[str, tuple[str, str | None]]:
    return {row["account_id"]: (row["status"], row.get("last_trusted_scan")) for row in answer("accounts")}


def test_two_runs_are_told_account_by_account(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults()
    with engine(organization={}, invoke=faults, posture=False) as running:
        ask(monkeypatch, running)
        running.create_accounts({**NAMES, OLD: "Old"}, ["alice", SHOP])
        assert organization(running).status == "SUCCEEDED"
        first = answer("scans")[0]["scan"]
        assert fates() == dict.fromkeys([ACCOUNT, SHOP, BANK, OLD], ("COMPLETE", first))
        _next_second()
        running.set_account(OLD, "SUSPENDED")
        running.create_users(["dave"], SHOP)
        faults.failing["list_users", BANK] = denied(BANK)

        assert organization(running).status == "FAILED"

        second = answer("scans")[0]["scan"]
        assert fates() == {
            ACCOUNT: ("COMPLETE", second),
            SHOP: ("COMPLETE", second),
            BANK: ("FAILED", first),
            OLD: ("SKIPPED", first),
        }
        (row,) = [row for row in answer("accounts") if row["account_id"] == BANK]
        assert (row["error_type"], row["account_name"]) == ("AccessDenied", "Bank")

        assert {(one["account_id"], one["user_name"], one["scan_timestamp"]) for one in all_("users")} == {
            *((ACCOUNT, name, second) for name in ("alice", SHOP)),
            *((SHOP, name, second) for name in ("alice", SHOP, "dave")),
            *((BANK, name, first) for name in ("alice", SHOP)),
        }
        assert {one["account_id"] for one in all_("users", "--scan", second, status=ExitStatus.INCOMPLETE)} == {
            ACCOUNT,
            SHOP,
        }
        compared = all_("diff", first, second, status=ExitStatus.INCOMPLETE)
        assert [(one["account_id"], one["user_name"], one["change"]) for one in compared] == [(SHOP, "dave", "created")]
        assert [one["user_name"] for one in answer("history", SHOP, "--account", OLD)] == [SHOP]


def test_a_scan_of_one_account_by_hand_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command starts is what the functions take, and what it says of it afterwards."""
    with engine(organization={}, posture=False) as running:
        ask(monkeypatch, running)
        running.create_accounts(NAMES, ["alice"])
        told: dict[str, Any] = {}

        class Machine:
            def start_execution(self, **call: Any) -> Any:
                told.update(call)
                return {"executionArn": running.start(json.loads(call["input"]))}

        monkeypatch.setattr(Deployment, "stepfunctions", Machine())
        monkeypatch.setattr(
            "functions.cli.executions.follow", lambda deployment, arn, *_, **__: {"status": running.wait(arn).status}
        )

        for role in ([], ["--role-name", "iam-user-monitor-member"]):
            assert run("start", "--account", SHOP, *role).exit_code == 0
            _next_second()
        assert run("start", "--account", SHOP, "--role-name", "another").exit_code == ExitStatus.FAILED

        assert told["stateMachineArn"] == running.state_machine_arn
        assert [one["user_name"] for one in answer("users", "--account", SHOP)] == ["alice"]
        assert {one["account_id"] for one in answer("scans", "--account", SHOP)} == {SHOP}
        assert [(row["account_id"], "status" in row) for row in answer("accounts")] == [(SHOP, False)]


def all_(*arguments: str, status: int = 0) -> list[dict[str, Any]]:
    result = run(*arguments, "--account", "all", "--format", "json")
    assert result.exit_code == status, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found
