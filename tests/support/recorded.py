"""A records table in memory, as a low-level client sees it, whose index may be behind; and scans to put into it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from functions.table import wire
from functions.table.keys import FLEET, Keys

TABLE = "iam-user-records"
EXPIRES = 4_000_000_000
ACCOUNT = "123456789012"


NOTHING: dict[str, Any] = {
    "password_enabled": False,
    "mfa_active": False,
    "groups": [],
    "attached_policies": [],
    "inline_policies": [],
    "admin_via": [],
}
"""What a record says of a user without any credential or permission, where that is known."""


class Table:
    """What the queries use of a client: Query, by its paginator, BatchGetItem and GetItem."""

    meta = SimpleNamespace(endpoint_url="https://dynamodb.us-east-1.amazonaws.com")

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.hidden: set[tuple[str, str]] = set()
        """Keys that the index does not yield yet."""
        self.queries = 0

    def put(self, item: dict[str, Any]) -> None:
        self.items[item["user_name"], item["scan_timestamp"]] = item

    def scan(
        self,
        timestamp: str,
        users: dict[str, dict[str, Any]],
        status: str = "COMPLETE",
        ttl: int = EXPIRES,
        seconds: float = 2,
        member: str | None = None,
        **manifest: Any,
    ) -> None:
        """Put a scan that listed for some seconds from its scan_timestamp, and its records; of a member account's."""
        keys = Keys(member)
        told = {} if member is None else {"account_id": member}
        self.put(
            {**manifest_of(timestamp, len(users), status, ttl, seconds, **told, **manifest), **keys.manifest(timestamp)}
        )
        for name, attributes in users.items():
            of_account = {"arn": arn_of(name, member or ACCOUNT), **told}
            record = record_of(name, timestamp, ttl, **{**of_account, **attributes})
            self.put({**record, **keys.record(name, timestamp)})

    def fleet(
        self,
        timestamp: str,
        accounts: dict[str, str | None],
        status: str = "COMPLETE",
        skipped: dict[str, str] | None = None,
        failed: dict[str, tuple[str, str]] | None = None,
        **manifest: Any,
    ) -> None:
        """Put a run of the organization: its accounts with their names, whom it skipped and why, what failed how."""
        self.put(
            {
                **manifest_of(timestamp, 0, status, **{"role_name": "reader", **manifest}),
                **FLEET.manifest(timestamp),
                "accounts": [_named(account_id, name) for account_id, name in accounts.items()],
                "skipped": [{"account_id": one, "reason": reason} for one, reason in (skipped or {}).items()],
                "failed": [
                    {"account_id": one, "error_type": error[0], "error_message": error[1]}
                    for one, error in (failed or {}).items()
                ],
            }
        )

    def get_paginator(self, operation: str) -> "Table":
        assert operation == "query"
        return self

    def paginate(self, **query: Any) -> Iterator[dict[str, Any]]:
        self.queries += 1
        values = wire.from_wire(query["ExpressionAttributeValues"])
        condition = query["KeyConditionExpression"]
        found = []
        for key, item in sorted(self.items.items()):
            if "IndexName" in query:
                matches = key[1] == values[":scan"] and key not in self.hidden
            elif "BETWEEN" in condition:
                matches = key[0] == values[":name"] and values[":first"] <= key[1] <= values[":last"]
            elif "begins_with" in condition:
                matches = key[0] == values[":name"] and key[1].startswith(values[":prefix"])
            else:
                matches = key[0] == values[":name"] and key[1] < values[":end"]
            if matches and item["ttl"] > values[":now"]:
                found.append(wire.to_wire(item))
        if query.get("ScanIndexForward") is False:
            found.reverse()
        # Pages may be empty.
        yield {"Items": []}
        for start in range(0, len(found), 2):
            yield {"Items": found[start : start + 2]}

    def query(self, **query: Any) -> dict[str, Any]:
        """Return the first item between two keys."""
        assert query["Limit"] == 1
        values = wire.from_wire(query["ExpressionAttributeValues"])
        found = [
            item
            for key, item in sorted(self.items.items())
            if key[0] == values[":name"] and values[":first"] <= key[1] <= values[":last"]
        ]
        return {"Items": [wire.to_wire(item) for item in found[:1]]}

    def get_item(self, *, Key: dict[str, Any], **request: Any) -> dict[str, Any]:  # noqa: N803
        assert request["ConsistentRead"]
        key = wire.from_wire(Key)
        item = self.items.get((key["user_name"], key["scan_timestamp"]))
        return {} if item is None else {"Item": wire.to_wire(item)}

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        (request,) = RequestItems.values()
        assert request["ConsistentRead"]
        assert 1 <= len(request["Keys"]) <= 100
        keys = [wire.from_wire(key) for key in request["Keys"]]
        items = [self.items.get((key["user_name"], key["scan_timestamp"])) for key in keys]
        return {"Responses": {TABLE: [wire.to_wire(item) for item in items if item is not None]}}


def manifest_of(
    timestamp: str, users: int, status: str = "COMPLETE", ttl: int = EXPIRES, seconds: float = 2, **more: Any
) -> dict[str, Any]:
    begun = datetime.fromisoformat(timestamp)
    return {
        "user_name": "__scan__",
        "scan_timestamp": f"scan#{timestamp}",
        "status": status,
        "ttl": ttl,
        "execution_arn": f"arn:aws:states:us-east-1:{ACCOUNT}:execution:iam-user-monitor:run-{timestamp[:10]}",
        "users_scanned": users,
        "records_written": users,
        "errors": 0,
        "attempt": 1,
        "sequence": 1,
        "trigger": "schedule",
        "duration_ms": 1500,
        "started_at": text_of(begun),
        "listed_from": text_of(begun),
        "listed_until": text_of(begun + timedelta(seconds=seconds)),
        "span_limit_seconds": 1800,
        **more,
    }


def arn_of(name: str, account: str = ACCOUNT) -> str:
    return f"arn:aws:iam::{account}:user/{name}"


def _named(account_id: str, name: str | None) -> dict[str, str]:
    return {"account_id": account_id} if name is None else {"account_id": account_id, "account_name": name}


def record_of(name: str, timestamp: str, ttl: int = EXPIRES, **attributes: Any) -> dict[str, Any]:
    record = {
        "user_name": name,
        "scan_timestamp": timestamp,
        "user_id": f"AIDA{name.upper()}",
        "arn": arn_of(name),
        "create_date": "2025-03-14T09:26:53Z",
        "listed_at": text_of(datetime.fromisoformat(timestamp)),
        "ttl": ttl,
        **attributes,
    }
    return {key: value for key, value in record.items() if value is not None}


def text_of(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
