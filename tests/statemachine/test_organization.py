"""The organization machine: every account an execution of the scan machine, and what becomes of them told together."""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.list_accounts import handler as list_accounts
from functions.shared import clients
from functions.table.fleet import fleets
from functions.table.manifest import Status
from tests.support.engine import ACCOUNT, TABLE, Engine, Execution, FunctionError, engine

SHOP, BANK, OLD = "222222222222", "333333333333", "444444444444"
NAMES = {ACCOUNT: "Root", SHOP: "Shop", BANK: "Bank"}


def account_of(event: dict[str, Any]) -> str:
    """Return the account that a step of a scan works for."""
    scan = event.get("scan") or event.get("state", {}).get("scan") or {}
    return str(scan.get("account_id", ACCOUNT))


class Faults:
    """Lets steps of accounts fail, or wait, for as long as they stand here."""

    def __init__(self) -> None:
        self.failing: dict[tuple[str, str], Exception] = {}
        self.waiting: dict[tuple[str, str], threading.Event] = {}
        self.reached = threading.Event()

    def __call__(self, step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        name = account_of(event)
        if step == "release_lock":
            name = event["Key"]["scan_timestamp"]["S"]
        elif step == "start_execution":
            name = event["name"][:12]
        if (step, name) in self.waiting:
            self.reached.set()
            assert self.waiting[step, name].wait(60)
        if (step, name) in self.failing:
            raise self.failing[step, name]
        return handler(event)


def denied(account: str) -> FunctionError:
    return FunctionError("AccessDenied", f"account {account} does not let this deployment in")


def statuses(running: Engine) -> dict[str, str]:
    """Return what the manifests of the accounts say, by account."""
    return {one["account_id"]: one["status"] for one in running.manifests() if one not in running.fleets()}


def organization(running: Engine) -> Execution:
    return running.run({"trigger": "schedule"}, organization=True)


def names_of(running: Engine, execution: Execution) -> list[str]:
    return sorted(arn.rpartition(":")[2][:12] for arn in running.children(execution.arn))


def test_every_account_is_an_ordinary_execution_and_all_share_the_time() -> None:
    with engine(organization={"EXCLUDED_ACCOUNTS": '["555555555555"]'}) as running:
        running.create_accounts({**NAMES, OLD: "Old", "555555555555": "Lab"}, ["alice", "bob"])
        running.set_account(OLD, "SUSPENDED")

        done = organization(running)

        assert (done.status, done.cause) == ("SUCCEEDED", None)
        (fleet,) = fleets(running.client("dynamodb"), TABLE)
        assert fleet.status is Status.COMPLETE
        assert {one.account_id: one.account_name for one in fleet.accounts} == NAMES
        assert [(one.account_id, one.account_name, one.reason) for one in fleet.skipped] == [
            (OLD, "Old", "SUSPENDED"), ("555555555555", "Lab", "excluded"),
        ]  # fmt: skip
        assert fleet.manifest.item["trigger"] == "schedule"
        assert statuses(running) == dict.fromkeys(NAMES, "COMPLETE")
        manifests = [one for one in running.manifests() if one not in running.fleets()]
        assert {one["scan_timestamp"].rpartition("#")[2] for one in manifests} == {fleet.scan_timestamp}
        assert {one["trigger"] for one in manifests} == {"organization"}
        assert {one["account_id"]: one["account_name"] for one in manifests} == NAMES
        # One query of the index is the fleet at that moment.
        assert {record["scan_timestamp"] for record in running.records()} == {fleet.scan_timestamp}
        assert len(running.records()) == 2 * len(NAMES)
        assert running.lock() is None
        assert names_of(running, done) == sorted(NAMES)
        assert done.output["outcome"]["accounts_scanned"] == len(NAMES)
        assert done.output["accounts"] == [{"status": "SUCCEEDED"}] * len(NAMES)


def test_the_scan_of_the_own_account_takes_no_role_and_that_of_a_member_the_member_role() -> None:
    with engine(organization={}, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])
        assert organization(running).status == "SUCCEEDED"

        scans = {account_of(event): event["scan"] for step, event in running.invoked if step == "list_users"}
        assert "role_arn" not in scans[ACCOUNT]
        assert scans[SHOP]["role_arn"] == f"arn:aws:iam::{SHOP}:role/iam-user-monitor-member"


def test_a_list_of_accounts_is_scanned_without_an_organization() -> None:
    with engine(organization={"ACCOUNTS": json.dumps([SHOP, BANK]), "EXCLUDED_ACCOUNTS": f'["{BANK}"]'}) as running:
        running.create_users(["alice"], SHOP)

        assert organization(running).status == "SUCCEEDED"

        (fleet,) = fleets(running.client("dynamodb"), TABLE)
        assert [one.account_id for one in fleet.accounts] == [SHOP]
        assert [(one.account_id, one.reason) for one in fleet.skipped] == [(BANK, "excluded")]


def test_an_account_that_fails_is_named_and_a_redrive_scans_it_only() -> None:
    faults = Faults()
    faults.failing["list_users", SHOP] = denied(SHOP)
    with engine(organization={}, invoke=faults, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])

        failed = organization(running)

        assert (failed.status, failed.error) == ("FAILED", "OrganizationFailed")
        cause = json.loads(str(failed.cause))["errorMessage"]
        assert "2 of 3 accounts are complete" in cause
        assert f"{SHOP} (Shop): AccessDenied: account {SHOP} does not let this deployment in" in cause
        assert BANK not in cause
        assert statuses(running) == {ACCOUNT: "COMPLETE", SHOP: "FAILED", BANK: "COMPLETE"}
        (fleet,) = fleets(running.client("dynamodb"), TABLE)
        assert fleet.status is Status.INCOMPLETE
        assert [(one.account_id, one.account_name, one.error_type) for one in fleet.failed] == [
            (SHOP, "Shop", "AccessDenied")
        ]
        assert running.lock() is None
        (event,) = [event for event in running.announced() if event["change"] == "account_failed"]
        assert (event["account_id"], event["account_name"], event["error_type"]) == (SHOP, "Shop", "AccessDenied")
        assert event["execution_arn"] == failed.arn

        faults.failing.clear()
        before = Counter(running.invocations)
        done = running.redrive(failed.arn)

        assert done.status == "SUCCEEDED", done.cause
        assert statuses(running) == dict.fromkeys(NAMES, "COMPLETE")
        # No other child was started, and no step but those of the one that failed was run again.
        assert names_of(running, done) == sorted(NAMES)
        again = Counter(running.invocations) - before
        assert (again["acquire_lock"], again["list_users"], again["list_accounts"]) == (1, 1, 1)
        (fleet,) = fleets(running.client("dynamodb"), TABLE)
        assert (fleet.status, fleet.failed, fleet.manifest.attempt) == (Status.COMPLETE, (), 2)
        assert running.lock() is None


def test_an_account_that_fails_again_is_told_again() -> None:
    faults = Faults()
    faults.failing["list_users", SHOP] = denied(SHOP)
    with engine(organization={}, invoke=faults, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])
        failed = organization(running)
        first = [event for event in running.announced() if event["change"] == "account_failed"]

        again = running.redrive(failed.arn)

        assert again.status == "FAILED"
        assert "AccessDenied" in str(again.cause)
        assert again.entered("WaitForAccount") == 1
        second = [event for event in running.announced() if event["change"] == "account_failed"]
        assert len(first) == len(second) == 1
        assert first[0]["id"] != second[0]["id"]


def test_an_account_that_left_or_is_suspended_is_never_all_users_deleted() -> None:
    with engine(organization={}, posture=False) as running:
        running.create_accounts({**NAMES, OLD: "Old"}, ["alice"])
        assert organization(running).status == "SUCCEEDED"
        _next_second()
        running.set_account(SHOP, None)
        running.set_account(OLD, "SUSPENDED")
        running.announced()

        assert organization(running).status == "SUCCEEDED"

        *_, fleet = fleets(running.client("dynamodb"), TABLE)
        assert sorted(one.account_id for one in fleet.accounts) == sorted([ACCOUNT, BANK])
        assert [(one.account_id, one.reason) for one in fleet.skipped] == [(OLD, "SUSPENDED")]
        changes = {event["change"] for event in running.announced()}
        assert changes == {"scan_completed"}


@pytest.mark.parametrize("code", ["AccessDeniedException", "ServiceException"])
def test_nothing_starts_where_the_accounts_cannot_be_listed_in_full(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine(organization={}, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])
        pages = itertools.count()
        real = clients.organizations()._make_api_call  # type: ignore[attr-defined]

        def broken(operation: str, parameters: dict[str, Any]) -> Any:
            # The first page comes, the second does not.
            if next(pages) % 2:
                raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)
            return {**real(operation, parameters), "NextToken": "more"}

        monkeypatch.setattr(clients.organizations(), "_make_api_call", broken)
        failed = organization(running)
        monkeypatch.undo()

        assert failed.status == "FAILED"
        assert "No account was scanned." in str(failed.cause)
        assert ("management account" in str(failed.cause)) == (code == "AccessDeniedException")
        assert running.children(failed.arn) == []
        (fleet,) = fleets(running.client("dynamodb"), TABLE)
        assert (fleet.status, fleet.accounts) == (Status.FAILED, ())
        assert statuses(running) == {}
        assert running.lock() is None

        # Redriven when it can be listed again, it is an ordinary run.
        assert running.redrive(failed.arn).status == "SUCCEEDED"
        assert statuses(running) == dict.fromkeys(NAMES, "COMPLETE")


def test_of_two_runs_at_once_the_second_is_skipped() -> None:
    faults = Faults()
    gate = faults.waiting["list_users", SHOP] = threading.Event()
    with engine(organization={}, invoke=faults, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])
        first = running.start({}, organization=True)
        assert faults.reached.wait(60)
        _next_second()

        second = organization(running)

        assert second.status == "SUCCEEDED"
        assert second.output["reason"] == "another execution scans the organization"
        assert second.output["holder"]["owner"] == first
        assert second.route[-1] == "OrganizationSkipped"
        assert running.children(second.arn) == []
        gate.set()
        assert running.wait(first).status == "SUCCEEDED"
        assert sorted(one["status"] for one in running.fleets()) == ["COMPLETE", "SKIPPED"]
        assert running.lock() is None


def test_a_scan_by_hand_keeps_its_account_from_the_fleet_until_it_is_redriven() -> None:
    faults = Faults()
    gate = faults.waiting["list_users", SHOP] = threading.Event()
    with engine(organization={}, invoke=faults, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])
        by_hand = running.start({"account_id": SHOP})
        assert faults.reached.wait(60)
        _next_second()

        failed = organization(running)

        assert f"{SHOP} (Shop): LockHeld" in str(failed.cause)
        assert "2 of 3 accounts are complete" in str(failed.cause)
        gate.set()
        assert running.wait(by_hand).status == "SUCCEEDED"
        assert running.redrive(failed.arn).status == "SUCCEEDED"
        (fleet,) = fleets(running.client("dynamodb"), TABLE)
        assert fleet.status is Status.COMPLETE


def test_a_run_that_is_stopped_is_cleaned_up_and_resumes_when_it_is_redriven() -> None:
    faults = Faults()
    gate = faults.waiting["list_users", SHOP] = threading.Event()
    with engine(organization={}, invoke=faults, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])
        arn = running.start({}, organization=True)
        assert faults.reached.wait(60)
        running.stop(arn)
        gate.set()
        running.settle()
        assert (running.lock() or {})["scan_timestamp"].startswith("lock")

        stopped = running.wait(arn)
        assert stopped.status == "ABORTED"
        for child in running.children(arn):
            running.clean_up(running.wait(child))
        running.clean_up(stopped)

        (fleet,) = fleets(running.client("dynamodb"), TABLE)
        assert (fleet.status, fleet.failed) == (Status.ABORTED, ())
        assert [one.account_id for one in fleet.accounts] == sorted(NAMES)
        assert statuses(running)[SHOP] == "ABORTED"
        assert running.lock() is None

        del faults.waiting["list_users", SHOP]
        done = running.redrive(arn)

        assert done.status == "SUCCEEDED", done.cause
        assert statuses(running) == dict.fromkeys(NAMES, "COMPLETE")
        assert names_of(running, done) == sorted(NAMES)
        (fleet,) = fleets(running.client("dynamodb"), TABLE)
        assert (fleet.status, fleet.manifest.attempt) == (Status.COMPLETE, 2)


def test_an_account_whose_scan_may_not_be_started_fails_with_that_error() -> None:
    faults = Faults()
    faults.failing["start_execution", BANK] = FunctionError("AccessDeniedException", "not authorized: StartExecution")
    with engine(organization={}, invoke=faults, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])

        failed = organization(running)

        assert f"{BANK} (Bank): StepFunctions.AccessDeniedException" in str(failed.cause)
        assert statuses(running) == {ACCOUNT: "COMPLETE", SHOP: "COMPLETE"}
        faults.failing.clear()
        assert running.redrive(failed.arn).status == "SUCCEEDED"
        assert statuses(running) == dict.fromkeys(NAMES, "COMPLETE")


def test_a_scan_that_still_runs_when_the_redrive_comes_is_waited_for_and_not_started_twice() -> None:
    """The parent was stopped and could not stop it."""
    faults = Faults()
    gate = faults.waiting["list_users", SHOP] = threading.Event()
    with engine(organization={}, invoke=faults, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])
        arn = running.start({}, organization=True)
        assert faults.reached.wait(60)
        running.client("stepfunctions").stop_execution(executionArn=arn)
        running.clean_up(running.wait(arn))
        threading.Timer(1, gate.set).start()

        done = running.redrive(arn)

        assert done.status == "SUCCEEDED", done.cause
        assert statuses(running) == dict.fromkeys(NAMES, "COMPLETE")
        assert names_of(running, done) == sorted(NAMES)
        assert [account_of(event) for step, event in running.invoked if step == "list_users"].count(SHOP) == 1


def test_a_run_that_is_redriven_although_all_is_complete_only_frees_the_lock() -> None:
    faults = Faults()
    with engine(organization={}, invoke=faults, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])
        faults.failing["release_lock", "lock#organization"] = FunctionError("InternalServerError", "later")
        failed = organization(running)
        assert "All accounts are COMPLETE all the same" in str(failed.cause)
        before = running.invocations.count("acquire_lock")
        faults.failing.clear()

        done = running.redrive(failed.arn)

        assert done.status == "SUCCEEDED", done.cause
        assert done.route[-5:] == [
            "ListAccounts", "LockAcquired?", "ReleaseLock", "OrganizationOutcome?", "OrganizationScanned",
        ]  # fmt: skip
        assert running.invocations.count("acquire_lock") == before
        assert running.lock() is None


def test_the_accounts_are_those_of_the_first_attempt() -> None:
    """Whoever reads the manifest knows what the fleet was to be, whatever has joined since."""
    faults = Faults()
    faults.failing["list_users", SHOP] = denied(SHOP)
    with engine(organization={}, invoke=faults, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])
        failed = organization(running)
        running.create_accounts({OLD: "New"}, ["alice"])
        faults.failing.clear()

        assert running.redrive(failed.arn).status == "SUCCEEDED"
        assert statuses(running).keys() == NAMES.keys()


@pytest.mark.parametrize(
    "text", ['"a text"', "[1]", '{"account_id": "222222222222"}', '{"outcome": {"status": "COMPLETE"}}']
)
def test_whatever_the_input_is_it_cannot_pose_as_a_result(text: str) -> None:
    with engine(organization={}, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])

        done = running.run(text=text, organization=True)

        (fleet,) = fleets(running.client("dynamodb"), TABLE)
        if "outcome" in text:
            assert (done.status, fleet.status) == ("SUCCEEDED", Status.COMPLETE)
        else:
            assert "InvalidInput" in str(done.cause)
            assert (fleet.status, statuses(running)) == (Status.FAILED, {})
        assert running.lock() is None


def test_the_names_of_the_children_are_the_same_in_every_attempt_and_no_others() -> None:
    with engine(organization={}, posture=False) as running:
        running.create_accounts({ACCOUNT: "Root"}, ["alice"])
        first = organization(running)
        _next_second()
        second = organization(running)

        names = {arn.rpartition(":")[2] for run in (first, second) for arn in running.children(run.arn)}
        assert len(names) == 2
        assert all(name.startswith(f"{ACCOUNT}-2") and len(name) <= 80 for name in names)
        assert {first.output["children"], second.output["children"]} == {name[13:] for name in names}


def events_of(history: list[dict[str, Any]]) -> int:
    """Return how many events of a history its accounts have made."""
    kinds = [event["type"] for event in history]
    within = range(kinds.index("MapStateStarted") + 1, len(kinds) - kinds[::-1].index("MapStateSucceeded") - 1)
    return len(within)


def test_an_account_makes_as_many_events_as_are_reckoned_with() -> None:
    """The history of a run must have room for all accounts to fail: one that is full fails, untold."""
    faults = Faults()
    with engine(organization={}, invoke=faults, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])
        done = organization(running)
        assert events_of(done.history) == len(NAMES) * 8
        _next_second()
        faults.failing = {("list_users", account): denied(account) for account in NAMES}
        failed = organization(running)
        assert events_of(failed.history) == len(NAMES) * list_accounts.EVENTS_PER_ACCOUNT
        others = len(failed.history) - events_of(failed.history)
        assert others < list_accounts.RESERVED_EVENTS / 10

        again = running.redrive(failed.arn)

        since = again.history[len(failed.history) :]
        assert events_of(since) <= len(NAMES) * list_accounts.EVENTS_PER_REDRIVEN_ACCOUNT
        most = list_accounts.MAX_ACCOUNTS * list_accounts.EVENTS_PER_ACCOUNT + others
        assert most < list_accounts.HISTORY_EVENTS <= most + list_accounts.RESERVED_EVENTS + 50


def test_a_redrive_for_which_the_history_has_no_room_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults()
    faults.failing["list_users", SHOP] = denied(SHOP)
    with engine(organization={}, invoke=faults, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])
        failed = organization(running)
        used = len(failed.history)
        monkeypatch.setattr(list_accounts, "HISTORY_EVENTS", used + list_accounts.RESERVED_EVENTS + 10)

        again = running.redrive(failed.arn)

        assert again.status == "FAILED"
        assert "TooManyAccounts: 1 accounts are left to scan" in str(again.cause)
        assert "Start a new execution" in str(again.cause)
        assert running.lock() is None
        assert statuses(running)[SHOP] == "FAILED"


def test_more_accounts_than_an_execution_carries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_accounts, "MAX_ACCOUNTS", 2)
    with engine(organization={}, posture=False) as running:
        running.create_accounts(NAMES, ["alice"])

        failed = organization(running)

        assert "TooManyAccounts: 3 accounts are to be scanned, and one execution carries at most 2" in str(failed.cause)
        assert statuses(running) == {}


def test_payloads_are_bounded_whatever_an_account_answers() -> None:
    """A cause may have 32 KiB: of no account it stays in the state."""
    faults = Faults()
    accounts = {f"{number:012}": "A name of fifty characters, which is the longest " for number in range(1, 13)}
    faults.failing = {("list_users", account): FunctionError("Boom", "x" * 20_000) for account in accounts}
    with engine(organization={}, invoke=faults, posture=False, changes=False) as running:
        running.create_accounts({ACCOUNT: "Root", **accounts}, ["alice"])

        failed = organization(running)

        assert "1 of 13 accounts are complete" in str(failed.cause)
        assert "and 2 more" in str(failed.cause)
        at_top_level = [
            event["stateExitedEventDetails"]["output"] for event in failed.history if event["type"] == "MapStateExited"
        ]
        assert len(at_top_level[0]) < 13 * 100 + 600
        fleet = running.fleets()[0]
        assert max(len(one["error_message"]) for one in fleet["failed"]) <= 300


def _next_second() -> None:
    """Wait for the next second: it names another scan."""
    time.sleep(1 - time.time() % 1 + 0.01)
