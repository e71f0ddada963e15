"""The fleets in the table, as they are read."""

import re
from datetime import UTC, datetime
from typing import Any

from functions.list_accounts.handler import MAX_ACCOUNTS
from functions.shared.run import Run
from functions.table import wire
from functions.table.fleet import (
    FailedAccount,
    FleetAccount,
    SkippedAccount,
    children_of,
    failures_of,
    fleets,
    plan_of,
    scans_of,
)
from functions.table.keys import FLEET, Keys
from functions.table.manifest import Status
from functions.table.reader import Reader
from tests.support.recorded import ACCOUNT, EXPIRES, TABLE, manifest_of
from tests.support.recorded import Table as RecordedTable

TIMESTAMP = "2026-01-31T10:00:00Z"
ARN = f"arn:aws-us-gov:states:us-gov-west-1:{ACCOUNT}:execution:iam-user-monitor-organization:run"


def fleet_of(timestamp: str = TIMESTAMP, **more: Any) -> dict[str, Any]:
    return {
        **FLEET.manifest(timestamp),
        "status": "INCOMPLETE",
        "ttl": EXPIRES,
        "execution_arn": ARN,
        "account_id": ACCOUNT,
        "role_name": "monitor",
        "accounts": [{"account_id": ACCOUNT}, {"account_id": "222222222222", "account_name": "Shop"}],
        "skipped": [{"account_id": "333333333333", "account_name": "Old", "reason": "SUSPENDED"}],
        "failed": [{"account_id": "222222222222", "error_type": "AccessDenied", "error_message": "no role"}],
        **more,
    }


def test_a_fleet_is_read_with_its_roles_and_names() -> None:
    table = RecordedTable()
    table.put(fleet_of())

    (fleet,) = fleets(table, TABLE)  # type: ignore[arg-type]

    assert (fleet.scan_timestamp, fleet.status) == (TIMESTAMP, Status.INCOMPLETE)
    assert fleet.accounts == (
        FleetAccount(ACCOUNT),
        FleetAccount("222222222222", "Shop", "arn:aws-us-gov:iam::222222222222:role/monitor"),
    )
    assert fleet.skipped == (SkippedAccount("333333333333", "Old", "SUSPENDED"),)
    assert fleet.failed == (FailedAccount("222222222222", "Shop", "AccessDenied", "no role"),)
    assert fleet.manifest.execution_arn == ARN


def test_fleets_come_newest_last_and_without_those_that_have_expired() -> None:
    table = RecordedTable()
    for timestamp in ("2026-02-01T10:00:00Z", TIMESTAMP):
        table.put(fleet_of(timestamp))
    table.put(fleet_of("2026-01-01T10:00:00Z", ttl=1))

    assert [one.scan_timestamp for one in fleets(table, TABLE)] == [TIMESTAMP, "2026-02-01T10:00:00Z"]  # type: ignore[arg-type]


def test_a_fleet_that_could_not_list_its_accounts_has_none() -> None:
    table = RecordedTable()
    item = fleet_of(status="FAILED")
    for name in ("accounts", "skipped", "failed", "role_name"):
        del item[name]
    table.put(item)

    (fleet,) = fleets(table, TABLE)  # type: ignore[arg-type]

    assert (fleet.accounts, fleet.skipped, fleet.failed) == ((), (), ())


def test_a_fleet_is_no_scan_of_any_account() -> None:
    """The deployment's own manifests stand beside it, under keys that begin otherwise."""
    table = RecordedTable()
    table.put(fleet_of())
    table.put(manifest_of(TIMESTAMP, 0))

    scans = list(Reader(table, TABLE).scans())  # type: ignore[arg-type]

    assert [scan.manifest.item["scan_timestamp"] for scan in scans] == [f"scan#{TIMESTAMP}"]
    assert len(fleets(table, TABLE)) == 1  # type: ignore[arg-type]


def test_the_items_of_a_fleet_are_read_as_dynamodb_gives_them() -> None:
    item = fleet_of()
    assert wire.from_wire(wire.to_wire(item)) == item


def size_of(value: Any) -> int:
    """Return what DynamoDB counts: texts in UTF-8, 21 at most a number, 3 a list or map, and 1 each in it."""
    if isinstance(value, dict):
        return 3 + sum(len(name.encode()) + size_of(inner) + 1 for name, inner in value.items())
    if isinstance(value, list):
        return 3 + sum(size_of(inner) + 1 for inner in value)
    return len(value.encode()) if isinstance(value, str) else 21


def test_the_largest_fleet_that_fails_as_a_whole_fits_into_an_item() -> None:
    """400 KB, with names, skipped accounts and errors as long as they come."""
    accounts = [FleetAccount(f"{number:012}", "n" * 50) for number in range(MAX_ACCOUNTS)]
    skipped = [SkippedAccount(f"9{number:011}", "n" * 50, "SUSPENDED") for number in range(5000)]
    failed = [FailedAccount(one.account_id, None, "E" * 60, "m" * 1000) for one in accounts]

    item = {**fleet_of(), **plan_of(accounts, skipped, "r" * 64), "failed": failures_of(failed)}

    assert size_of(item) < 400 * 1024 - 8192
    assert len(item["accounts"]) == len(item["failed"]) == MAX_ACCOUNTS
    assert {len(entry["account_name"]) for entry in item["accounts"]} == {20}
    assert (item["accounts_skipped"], 200 < len(item["skipped"]) < 400) == (5000, True)


def test_an_ordinary_fleet_keeps_all_that_is_known() -> None:
    accounts = [FleetAccount(f"{number:012}", "n" * 50) for number in range(1000)]
    skipped = [SkippedAccount("999999999999", None, "excluded")]
    failed = [FailedAccount(one.account_id, None, "AccessDenied", "m" * 400) for one in accounts[:100]]

    plan = plan_of(accounts, skipped, "monitor")

    assert {len(entry["account_name"]) for entry in plan["accounts"]} == {50}
    assert plan["skipped"] == [{"account_id": "999999999999", "reason": "excluded"}]
    assert {len(entry["error_message"]) for entry in failures_of(failed)} == {300}
    assert failures_of([]) == []


def test_the_children_of_a_run_are_named_by_its_time_and_nobody_elses() -> None:
    started_at = datetime(2026, 1, 31, 10, 0, 0, 999_000, tzinfo=UTC)
    first = Run(ARN, started_at, 1, started_at, fleet=True)
    names = {children_of(first), children_of(first.with_attempt(2))}
    assert names == {children_of(first)}
    assert children_of(first).startswith("20260131T100000Z-")
    assert children_of(Run(f"{ARN}2", started_at, 1, started_at, fleet=True)) not in names
    # StartExecution takes names of 80 characters, without : and #.
    assert re.fullmatch(r"[0-9A-Za-z-]{1,67}", children_of(first))


def test_the_scans_of_a_fleet_are_those_of_its_time_own_account_and_members() -> None:
    table = RecordedTable()
    table.put(fleet_of())
    table.put(manifest_of(TIMESTAMP, 1))
    table.put({**manifest_of(TIMESTAMP, 2, "FAILED"), **Keys("222222222222").manifest(TIMESTAMP)})
    table.put({**manifest_of(TIMESTAMP, 3), **Keys("555555555555").manifest(TIMESTAMP)})
    (fleet,) = fleets(table, TABLE)  # type: ignore[arg-type]

    found = scans_of(table, TABLE, fleet, ACCOUNT)  # type: ignore[arg-type]

    assert {number: scan.status for number, scan in found.items()} == {ACCOUNT: "COMPLETE", "222222222222": "FAILED"}
