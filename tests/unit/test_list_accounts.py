"""ListAccounts: which accounts there are, and what a retry or a redrive gives of them."""

import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.paginate import Paginator

from functions.list_accounts import handler as list_accounts
from functions.list_accounts.organization import Choice
from functions.shared import configuration
from functions.shared.errors import (
    AccessDenied,
    InvalidConfiguration,
    InvalidInput,
    LockHeld,
    Superseded,
    Throttled,
    TooManyAccounts,
    named,
)
from functions.shared.run import Run
from functions.table import wire
from functions.table.fleet import Fleet, fleets
from functions.table.keys import FLEET, Keys
from tests.support.engine import TABLE, Context
from tests.support.scene import EPOCH, LEASE, ME, OTHER, RETENTION_DAYS, STARTED_AT, TIMESTAMP, TTL, Scene, run_event

OWN, SHOP, BANK, OLD = "123456789012", "222222222222", "333333333333", "444444444444"


class Organization:
    """Organizations: units with accounts and units, in pages of two, of which the first is empty."""

    def __init__(self, tree: dict[str, Any] | None = None) -> None:
        self.tree = tree or {"r-root": [account(OWN, "Root"), account(SHOP, "Shop"), account(BANK, "Bank")]}
        self.breaks_at: int | None = None
        self.error = refusal("ServiceException")
        self.calls: list[str] = []

    def list_accounts(self, **request: Any) -> Any:
        found = [one for unit in self.tree.values() for one in unit if "Name" in one]
        return self._page("ListAccounts", "Accounts", found, request)

    def list_accounts_for_parent(self, *, ParentId: str, **request: Any) -> Any:  # noqa: N803
        if ParentId not in self.tree:
            raise refusal("ParentNotFoundException")
        found = [one for one in self.tree[ParentId] if "Name" in one]
        return self._page("ListAccountsForParent", "Accounts", found, request)

    def list_organizational_units_for_parent(self, *, ParentId: str, **request: Any) -> Any:  # noqa: N803
        found = [one for one in self.tree[ParentId] if "Name" not in one]
        return self._page("ListOrganizationalUnitsForParent", "OrganizationalUnits", found, request)

    def _page(self, call: str, what: str, found: list[Any], request: dict[str, Any]) -> Any:
        self.calls.append(call)
        if self.breaks_at is not None and len(self.calls) > self.breaks_at:
            raise self.error
        token = request.get("NextToken")
        if token is None:
            return {what: [], "NextToken": "0"}  # documented: a page may be empty, and have a NextToken
        start = int(token)
        more = {"NextToken": str(start + 2)} if start + 2 < len(found) else {}
        return {what: found[start : start + 2], **more}

    def get_paginator(self, operation: str) -> Any:
        # botocore's own, so that what it does with an empty page is what is tested.
        from botocore import session, xform_name

        loader = session.get_session().get_component("data_loader")
        pagers = loader.load_service_model("organizations", "paginators-1")["pagination"]
        (config,) = [found for name, found in pagers.items() if xform_name(name) == operation]
        return Paginator(getattr(self, operation), config, None)  # type: ignore[arg-type]


def account(number: str, name: str = "", state: str | None = "ACTIVE", **more: Any) -> dict[str, Any]:
    return {"Id": number, "Name": name, **({"State": state} if state is not None else {}), **more}


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "any")


def choose(organization: Organization, **choice: Any) -> tuple[list[Any], list[Any]]:
    made = Choice(**{"accounts": [], "units": [], "excluded": (), **choice}).made(organization)  # type: ignore[arg-type]
    return [one.account_id for one in made[0]], [(one.account_id, one.reason) for one in made[1]]


# Which accounts there are


def test_pages_may_be_empty_and_all_of_them_are_read() -> None:
    organization = Organization({"r-root": [account(f"{number:012}", "x") for number in range(7)]})
    assert choose(organization)[0] == [f"{number:012}" for number in range(7)]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"State": "SUSPENDED"}, "SUSPENDED"),
        ({"State": "PENDING_CLOSURE"}, "PENDING_CLOSURE"),
        ({"State": "CLOSED"}, "CLOSED"),
        ({"State": "PENDING_ACTIVATION"}, "PENDING_ACTIVATION"),
        ({"State": "ANYTHING_NEW"}, "ANYTHING_NEW"),
        ({"State": "SUSPENDED", "Status": "ACTIVE"}, "SUSPENDED"),
        ({"Status": "SUSPENDED"}, "SUSPENDED"),
        ({}, "its state is not told"),
    ],
)
def test_only_an_active_account_is_scanned_and_the_others_are_told(told: dict[str, str], reason: str) -> None:
    organization = Organization({"r-root": [account(SHOP, "Shop"), account(OLD, "Old", None, **told)]})
    assert choose(organization) == ([SHOP], [(OLD, reason)])


def test_the_retired_status_is_read_where_there_is_no_state() -> None:
    assert choose(Organization({"r-root": [account(SHOP, "Shop", None, Status="ACTIVE")]})) == ([SHOP], [])


def test_units_are_walked_down_and_what_is_in_two_of_them_is_there_once() -> None:
    organization = Organization(
        {
            "r-root": [account(OWN, "Root"), {"Id": "ou-a"}],
            "ou-a": [account(SHOP, "Shop"), {"Id": "ou-b"}],
            "ou-b": [account(BANK, "Bank"), account(OLD, "Old", "SUSPENDED")],
        }
    )
    assert choose(organization, units=["ou-a", "ou-b"]) == ([SHOP, BANK], [(OLD, "SUSPENDED")])
    # And for that, the accounts of the organization are not asked for.
    assert "ListAccounts" not in organization.calls
    assert choose(organization, units=["r-root"])[0] == [OWN, SHOP, BANK]


def test_a_list_of_accounts_is_scanned_as_it_is_and_nobody_is_asked() -> None:
    organization = Organization()
    assert choose(organization, accounts=[BANK, "999999999999"], excluded={BANK}) == (
        ["999999999999"],
        [(BANK, "excluded")],
    )
    assert organization.calls == []


@pytest.mark.parametrize("units", [[], ["r-root"]])
def test_a_listing_that_breaks_is_none(units: list[str]) -> None:
    organization = Organization()
    choose(organization, units=units)
    assert len(organization.calls) >= 3
    for calls in range(len(organization.calls)):
        broken = Organization()
        broken.breaks_at = calls
        with pytest.raises(ClientError):
            choose(broken, units=units)


def test_who_may_not_list_is_told_from_where_it_is_possible() -> None:
    organization = Organization()
    organization.breaks_at, organization.error = 0, refusal("AccessDeniedException")
    with pytest.raises(AccessDenied, match="management account and for delegated administrators only"):
        choose(organization)


def test_an_account_without_an_organization_is_told_to_name_its_accounts() -> None:
    organization = Organization()
    organization.breaks_at, organization.error = 0, refusal("AWSOrganizationsNotInUseException")
    with pytest.raises(InvalidConfiguration, match="name the accounts to scan in the variable accounts"):
        choose(organization)


def test_a_unit_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidConfiguration, match="INCLUDED_ORGANIZATIONAL_UNITS has 'ou-gone'"):
        choose(Organization(), units=["ou-gone"])


def test_throttling_is_named_so_that_it_is_retried() -> None:
    organization = Organization()
    organization.breaks_at, organization.error = 0, refusal("TooManyRequestsException")
    with pytest.raises(ClientError) as raised:
        choose(organization)
    assert isinstance(named(raised.value), Throttled)


@pytest.mark.parametrize(
    ("name", "kept"), [("x" * 80, "x" * 64), ("a\tb\n", "ab"), ("", None), ("Bank (dev)", "Bank (dev)")]
)
def test_a_name_is_made_one_that_a_scan_takes(name: str, kept: str | None) -> None:
    made, _ = Choice([], [], ()).made(Organization({"r-root": [account(SHOP, name)]}))  # type: ignore[arg-type]
    assert [one.account_name for one in made] == [kept]


# What is configured


@pytest.mark.parametrize(
    ("read", "name", "value", "complaint"),
    [
        (
            configuration.accounts,
            "ACCOUNTS",
            ["22222222222"],
            "ACCOUNTS has '22222222222'; each must be an account: 12",
        ),
        (configuration.accounts, "ACCOUNTS", [SHOP, SHOP], f"ACCOUNTS has '{SHOP}' 2 times"),
        (configuration.excluded_accounts, "EXCLUDED_ACCOUNTS", ["all"], "EXCLUDED_ACCOUNTS has 'all'"),
        (
            configuration.included_organizational_units,
            "INCLUDED_ORGANIZATIONAL_UNITS",
            ["production"],
            "INCLUDED_ORGANIZATIONAL_UNITS has 'production'; each must be the id of an organizational unit",
        ),
        (configuration.accounts, "ACCOUNTS", {"a": 1}, "it must be a list of texts, JSON"),
    ],
)
def test_a_setting_that_is_wrong_is_named_with_its_value(
    monkeypatch: pytest.MonkeyPatch, read: Any, name: str, value: Any, complaint: str
) -> None:
    monkeypatch.setenv(name, json.dumps(value))
    with pytest.raises(InvalidConfiguration) as raised:
        read()
    assert complaint in str(raised.value)


def test_units_and_roots_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    units = ["ou-ab12-cdef3456", "r-ab12"]
    monkeypatch.setenv("INCLUDED_ORGANIZATIONAL_UNITS", json.dumps(units))
    assert configuration.included_organizational_units() == units


# Beginning, again, and redriven


class History:
    """What Step Functions says of the execution, its history included."""

    events = 100

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def describe_execution(self, **request: Any) -> Any:
        return self._scene.stepfunctions.describe_execution(**request)

    def get_execution_history(self, **request: Any) -> Any:
        assert request["executionArn"] == ME
        assert (request["reverseOrder"], request["maxResults"]) == (True, 1)
        return {"events": [{"id": self.events}]}


def listed(
    scene: Scene,
    attempt: int = 1,
    *,
    organization: Organization | None = None,
    history: Any = None,
    arn: str = ME,
    execution_input: Any = None,
) -> Any:
    return list_accounts.list_accounts(
        execution_input or {"trigger": "schedule"},
        scene.run(attempt, arn).of_fleet(),
        fence=scene.fence,
        stepfunctions=history or History(scene),  # type: ignore[arg-type]
        organizations=organization or Organization(),  # type: ignore[arg-type]
        choice=Choice([], [], ()),
        role_name="monitor",
        retention_days=RETENTION_DAYS,
        lease_seconds=LEASE,
    )


def scanned(scene: Scene, number: str, status: str) -> None:
    """Store the manifest of an account's scan."""
    key = Keys(None if number == OWN else number).manifest(TIMESTAMP)
    item = {**key, "status": status, "execution_arn": "arn", "ttl": TTL, "account_id": number}
    scene.dynamodb.put_item(TableName=TABLE, Item=wire.to_wire(item))


def fleet_of(scene: Scene) -> Fleet:
    (fleet,) = fleets(scene.dynamodb, TABLE)
    return fleet


def numbers(answer: Any) -> list[str]:
    return [one["account_id"] for one in answer["accounts"]]


@pytest.fixture(autouse=True)
def unexpired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.table.fleet.time.time", lambda: EPOCH)


def test_the_first_call_fixes_the_accounts_takes_the_lock_and_begins(scene: Scene) -> None:
    answer = listed(scene)

    assert (answer["acquired"], answer["complete"], answer["lock"]) == (True, False, "lock#organization")
    assert answer["accounts"] == [
        {"account_id": OWN, "account_name": "Root"},
        {"account_id": SHOP, "account_name": "Shop"},
        {"account_id": BANK, "account_name": "Bank"},
    ]
    assert (answer["scan"]["scan_timestamp"], answer["scan"]["attempt"], answer["scan"]["ttl"]) == (TIMESTAMP, 1, TTL)
    assert answer["children"].startswith("20260131T100000Z-")
    fleet = fleet_of(scene)
    assert (fleet.status, fleet.manifest.attempt) == ("RUNNING", 1)
    assert [one.role_arn for one in fleet.accounts] == [
        None, f"arn:aws:iam::{SHOP}:role/monitor", f"arn:aws:iam::{BANK}:role/monitor",
    ]  # fmt: skip
    item = fleet.manifest.item
    assert (item["trigger"], item["ttl"]) == ("schedule", TTL)
    # It has no pages: nothing of a scan's progress is in it.
    assert not {"marker", "checkpoint", "users_scanned", "span_limit_seconds"} & item.keys()
    lock = scene.lock
    assert {name: lock[name] for name in FLEET.lock} == FLEET.lock
    assert (lock["owner"], lock["expires_at"]) == (ME, int(STARTED_AT.timestamp()) + LEASE)


def test_a_retry_gives_the_same_although_others_are_listed_by_then(scene: Scene) -> None:
    first = listed(scene)
    assert listed(scene, organization=Organization({"r-root": [account(OLD, "New")]})) == first


def test_a_call_that_lost_the_race_gives_what_the_other_has_fixed(scene: Scene) -> None:
    """Both have listed, and the other came first with what it found."""
    late = scene.overtaken(lambda: listed(scene))

    answer = listed(late, organization=Organization({"r-root": [account(OLD, "New")]}))

    assert numbers(answer) == [OWN, SHOP, BANK]
    assert [one.account_id for one in fleet_of(scene).accounts] == [OWN, SHOP, BANK]


def test_a_redrive_gives_those_that_are_not_complete(scene: Scene) -> None:
    first = listed(scene)
    scanned(scene, OWN, "COMPLETE")
    scanned(scene, SHOP, "FAILED")
    scene.stepfunctions.redriven(1, STARTED_AT)
    broken = Organization()
    broken.breaks_at = 0  # it is not asked again

    answer = listed(scene, 2, organization=broken)

    assert numbers(answer) == [SHOP, BANK]
    assert answer["children"] == first["children"]
    assert fleet_of(scene).manifest.attempt == 2
    assert [one.account_id for one in fleet_of(scene).accounts] == [OWN, SHOP, BANK]


def test_what_had_failed_before_is_not_said_of_the_attempt_that_runs(scene: Scene) -> None:
    listed(scene)
    failed: list[Any] = [{"account_id": SHOP, "error_type": "AccessDenied", "error_message": "no"}]
    scene.fence.finish(
        scene.run().of_fleet(),
        {
            "status": "INCOMPLETE",
            "duration_ms": 1,
            "attempt": 1,
            "accounts_scanned": 2,
            "accounts_failed": 1,
            "failed": failed,
        },
        ended_at=STARTED_AT,
        error=None,
        retention_days=RETENTION_DAYS,
    )
    assert len(fleet_of(scene).failed) == 1
    scene.stepfunctions.redriven(1, STARTED_AT)

    listed(scene, 2)

    assert (fleet_of(scene).status, fleet_of(scene).failed) == ("RUNNING", ())
    assert not {"accounts_scanned", "accounts_failed", "duration_ms"} & fleet_of(scene).manifest.item.keys()


def test_the_complete_scan_of_another_time_is_no_scan_of_this_fleet(scene: Scene) -> None:
    key = Keys(SHOP).manifest("2026-01-30T10:00:00Z")
    item = {**key, "status": "COMPLETE", "execution_arn": "arn", "ttl": TTL}
    scene.dynamodb.put_item(TableName=TABLE, Item=wire.to_wire(item))
    assert SHOP in numbers(listed(scene))


@pytest.mark.parametrize(("events", "fits"), [(24_424, True), (24_426, False), (24_990, False)])
def test_a_redrive_needs_room_in_the_history(scene: Scene, events: int, fits: bool) -> None:
    """Three accounts of 25 events at most, and 500 in reserve."""
    listed(scene)
    history = History(scene)
    history.events = events
    scene.stepfunctions.redriven(1, STARTED_AT)
    if fits:
        assert len(listed(scene, 2, history=history)["accounts"]) == 3
        return
    with pytest.raises(TooManyAccounts, match=f"3 accounts are left to scan, .* has {events} of at most 25000 events"):
        listed(scene, 2, history=history)


def test_the_first_attempt_does_not_ask_for_the_history(scene: Scene) -> None:
    history = History(scene)
    history.events = 24_999
    assert listed(scene, history=history)["acquired"]


@pytest.mark.parametrize("more", [0, 1])
def test_as_many_accounts_are_taken_as_may_all_fail(scene: Scene, more: int) -> None:
    assert list_accounts.MAX_ACCOUNTS == 2450
    many = Organization({"r-root": [account(f"{number:012}", "n" * 50) for number in range(2450 + more)]})
    if more:
        with pytest.raises(TooManyAccounts, match=r"2451 accounts are to be scanned, .* at most 2450"):
            listed(scene, organization=many)
        assert scene.everything() == []
        return
    answer = listed(scene, organization=many)
    # A state carries 256 KiB, an item of the table 400 KB.
    assert len(json.dumps(answer)) < 250_000
    assert len(json.dumps(wire.to_wire({"accounts": fleet_of(scene).manifest.item["accounts"]}))) < 400_000
    assert len(answer["accounts"]) == 2450


@pytest.mark.parametrize("state", ["SUSPENDED", "CLOSED"])
def test_a_fleet_of_no_account_is_none(scene: Scene, state: str) -> None:
    """It would be COMPLETE, and say that nobody exists."""
    with pytest.raises(InvalidConfiguration, match="there is no account to scan: all 1 that were found"):
        listed(scene, organization=Organization({"r-root": [account(OWN, "Root", state)]}))
    assert scene.everything() == []


def test_another_run_that_holds_the_lock_is_named_and_nothing_begins(scene: Scene) -> None:
    listed(scene, arn=OTHER)
    mine = scene.run(1, ME).of_fleet()
    later = Run(mine.execution_arn, STARTED_AT + timedelta(seconds=5), 1, mine.invoked_at, fleet=True)

    answer: Any = list_accounts.list_accounts(
        {},
        later,
        fence=scene.fence,
        stepfunctions=History(scene),  # type: ignore[arg-type]
        organizations=Organization(),  # type: ignore[arg-type]
        choice=Choice([], [], ()),
        role_name="monitor",
        retention_days=RETENTION_DAYS,
        lease_seconds=LEASE,
    )

    assert (answer["acquired"], answer["reason"]) == (False, "another execution scans the organization")
    assert answer["holder"]["owner"] == OTHER
    assert scene.lock["owner"] == OTHER


def test_a_duplicate_start_in_the_same_second_is_skipped(scene: Scene) -> None:
    listed(scene, arn=OTHER)
    answer = listed(scene)
    assert (answer["acquired"], answer["holder"]) == (False, {"owner": OTHER})


def test_a_redrive_under_anothers_lock_fails(scene: Scene) -> None:
    listed(scene)
    scene.dynamodb.put_item(
        TableName=TABLE,
        Item=wire.to_wire({**FLEET.lock, "owner": OTHER, "attempt": 1, "expires_at": EPOCH + 900, "ttl": TTL}),
    )
    scene.stepfunctions.redriven(1, STARTED_AT)
    with pytest.raises(LockHeld):
        listed(scene, 2)


def test_a_scan_of_an_account_does_not_keep_it_out(scene: Scene) -> None:
    scene.given_lock(OTHER)
    assert listed(scene)["acquired"]


def test_of_a_fleet_that_is_complete_nothing_is_done_again(scene: Scene) -> None:
    listed(scene)
    scene.dynamodb.update_item(
        TableName=TABLE,
        Key=wire.to_wire(FLEET.manifest(TIMESTAMP)),
        UpdateExpression="SET #s = :s, accounts_scanned = :n",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues=wire.to_wire({":s": "COMPLETE", ":n": 3}),
    )
    scene.stepfunctions.redriven(1, STARTED_AT)
    with scene.untouched():
        answer = listed(scene, 2)
    assert (answer["acquired"], answer["complete"]) == (True, True)
    assert (answer["outcome"]["status"], answer["outcome"]["attempt"], answer["outcome"]["accounts"]) == (
        "COMPLETE",
        2,
        3,
    )


def test_a_late_call_of_a_former_attempt_writes_nothing(scene: Scene) -> None:
    listed(scene)
    scene.stepfunctions.redriven(1, STARTED_AT + timedelta(minutes=5))
    listed(scene, 2)
    with scene.untouched(), pytest.raises(Superseded):
        listed(scene, 1)


def test_an_input_that_asks_for_one_account_is_refused(scene: Scene) -> None:
    with pytest.raises(InvalidInput, match="scans all accounts"):
        listed(scene, execution_input={"account_id": SHOP})
    assert scene.everything() == []


def test_the_handler_reads_its_settings(scene: Scene, configured: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ACCOUNTS": f'["{OWN}", "{SHOP}"]',
        "INCLUDED_ORGANIZATIONAL_UNITS": "[]",
        "EXCLUDED_ACCOUNTS": f'["{SHOP}"]',
        "MEMBER_ROLE_NAME": "monitor",
        "ORGANIZATION_TIMEOUT_SECONDS": "10800",
    }.items():
        monkeypatch.setenv(name, value)

    answer = list_accounts.handler({"run": run_event(), "input": {}}, Context())  # type: ignore[arg-type]

    assert numbers(answer) == [OWN]
    assert scene.lock["expires_at"] - int(STARTED_AT.timestamp()) == 10_800
