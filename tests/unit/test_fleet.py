"""The fleets in the table, as they are read."""

from typing import Any

from functions.table import wire
from functions.table.fleet import FailedAccount, FleetAccount, SkippedAccount, fleets
from functions.table.keys import FLEET
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
