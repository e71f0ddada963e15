"""The execution lock: one item in the records table that says which execution scans now.

It keeps two scans of an account from loading IAM and the table at once. It is not about correctness: that is the
fence's. It is a lease. Whoever holds it must renew it, and after ``expires_at`` anyone may take it, so a crashed run
can delay the next one but never block it. ReleaseLock, in the state machine, deletes it by direct DynamoDB integration.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from functions.shared import timestamps
from functions.shared.run import Run
from functions.shared.timestamps import SECONDS_PER_DAY
from functions.table import wire
from functions.table.wire import Item

# DynamoDB deletes by TTL days late and the lease has its own expiry, so the TTL only removes a forgotten lock.
_TTL_AFTER_EXPIRY = SECONDS_PER_DAY


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: the execution ARN, since and until when in epoch seconds."""

    owner: str
    acquired_at: int
    expires_at: int

    def __str__(self) -> str:
        """Return who it is, and until when, for people."""
        until = timestamps.to_seconds(datetime.fromtimestamp(self.expires_at, UTC))
        return f"{self.owner} until {until}, unless it renews it"


def put(run: Run, *, now: datetime, lease_seconds: int, since: datetime) -> dict[str, Any]:
    """Return the write that takes or renews the lock for a run, for use in a transaction.

    It succeeds where the lock is free, expired, or this execution's by this or an earlier attempt.

    Parameters
    ----------
    since
        When the attempt began: ``acquired_at``, which a renewal does not change.
    """
    expires_at = int(now.timestamp()) + lease_seconds
    return {
        "Item": wire.to_wire(
            {
                **run.keys.lock,
                "owner": run.execution_arn,
                "attempt": run.attempt,
                "acquired_at": int(since.timestamp()),
                "expires_at": expires_at,
                "ttl": expires_at + _TTL_AFTER_EXPIRY,
            }
        ),
        "ConditionExpression": "attribute_not_exists(user_name) OR expires_at < :now OR "
        "(#owner = :me AND #attempt <= :attempt)",
        "ExpressionAttributeNames": {"#owner": "owner", "#attempt": "attempt"},
        "ExpressionAttributeValues": wire.to_wire(
            {":now": int(now.timestamp()), ":me": run.execution_arn, ":attempt": run.attempt}
        ),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def delete(run: Run) -> dict[str, Any]:
    """Return the write that frees the lock of a run, unless a newer attempt of it has taken it since."""
    return {
        "Key": wire.to_wire(run.keys.lock),
        "ConditionExpression": "#owner = :me AND #attempt <= :attempt",
        "ExpressionAttributeNames": {"#owner": "owner", "#attempt": "attempt"},
        "ExpressionAttributeValues": wire.to_wire({":me": run.execution_arn, ":attempt": run.attempt}),
    }


def holder_of(item: Item) -> Holder:
    """Return who holds the lock that this item is."""
    return Holder(
        owner=str(item.get("owner", "unknown")),
        acquired_at=int(item.get("acquired_at", 0)),
        expires_at=int(item.get("expires_at", 0)),
    )
