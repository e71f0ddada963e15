"""The execution lock: one item in the records table that says which execution scans now.

It keeps two scans from loading IAM and the table at once. It is not about correctness: writes are idempotent.
It is a lease. Whoever holds it must renew it, and after ``expires_at`` anyone may take it, so a crashed run can delay
the next one but never block it. ReleaseLock, in the state machine, deletes it by direct DynamoDB integration.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from functions.shared import items
from functions.shared.errors import LockLost
from functions.shared.model import Item
from functions.shared.timestamps import SECONDS_PER_DAY

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

LOCK_KEY = {"user_name": "__execution_lock__", "scan_timestamp": "lock"}

# DynamoDB deletes by TTL days late and the lease has its own expiry, so the TTL only removes a forgotten lock.
_TTL_AFTER_EXPIRY = SECONDS_PER_DAY


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: the execution ARN, and since when and until when, in epoch seconds."""

    owner: str
    acquired_at: float
    """To the millisecond: CleanUp compares it with when a run ended."""
    expires_at: int


@dataclass(frozen=True)
class ExecutionLock:
    """The lock of one records table.

    Parameters
    ----------
    dynamodb
        The DynamoDB client.
    table_name
        The records table.
    lease_seconds
        How long one acquisition or renewal lasts.
    clock
        Returns the time in epoch seconds.
    """

    dynamodb: "DynamoDBClient"
    table_name: str
    lease_seconds: int
    clock: Callable[[], float] = time.time

    def acquire(self, owner: str) -> Holder | None:
        """Take the lock for an execution, or take it again if it is that execution's already.

        Returns
        -------
        None when the owner has the lock now, else the live holder that has it.
        """
        instant = self.clock()
        now = int(instant)
        lease = {"owner": owner, "acquired_at": Decimal(f"{instant:.3f}"), **self._lease(now)}
        try:
            self.dynamodb.put_item(
                TableName=self.table_name,
                Item=items.to_wire(LOCK_KEY | lease),
                ConditionExpression="attribute_not_exists(user_name) OR expires_at < :now OR #owner = :me",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues=items.to_wire({":now": now, ":me": owner}),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self.dynamodb.exceptions.ConditionalCheckFailedException as error:
            return _holder(items.from_wire(error.response.get("Item", {})))  # type: ignore[arg-type]
        return None

    def renew(self, owner: str) -> None:
        """Extend the lease of the owner, and take the lock again where it expired or is gone.

        Raises
        ------
        LockLost
            Another live execution holds the lock.
        """
        now = int(self.clock())
        try:
            # Only the owner's own lease is extended here: acquired_at must keep saying when it took the lock.
            self.dynamodb.update_item(
                TableName=self.table_name,
                Key=items.to_wire(LOCK_KEY),
                UpdateExpression="SET expires_at = :expires_at, #ttl = :ttl",
                ConditionExpression="#owner = :me",
                ExpressionAttributeNames={"#owner": "owner", "#ttl": "ttl"},
                ExpressionAttributeValues=items.to_wire(
                    {":me": owner, **{f":{name}": value for name, value in self._lease(now).items()}}
                ),
            )
            return
        except self.dynamodb.exceptions.ConditionalCheckFailedException:
            holder = self.acquire(owner)
        if holder is not None:
            raise LockLost(
                f"the execution lock is held by {holder.owner} until {holder.expires_at} (epoch seconds); "
                "this scan's lease had expired. Redrive this execution when that one has ended."
            )

    def holder(self) -> Holder | None:
        """Return who has the lock, live or expired, read consistently; None when nobody has it."""
        response = self.dynamodb.get_item(TableName=self.table_name, Key=items.to_wire(LOCK_KEY), ConsistentRead=True)
        return _holder(items.from_wire(response["Item"])) if "Item" in response else None

    def release(self, owner: str) -> bool:
        """Delete the lock if the owner has it. Returns False when it was not the owner's (any more)."""
        try:
            self.dynamodb.delete_item(
                TableName=self.table_name,
                Key=items.to_wire(LOCK_KEY),
                ConditionExpression="#owner = :me",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues=items.to_wire({":me": owner}),
            )
        except self.dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _lease(self, now: int) -> dict[str, Any]:
        expires_at = now + self.lease_seconds
        return {"expires_at": expires_at, "ttl": expires_at + _TTL_AFTER_EXPIRY}


def _holder(item: Item) -> Holder:
    return Holder(
        owner=str(item.get("owner", "unknown")),
        acquired_at=float(item.get("acquired_at", 0)),
        expires_at=int(item.get("expires_at", 0)),
    )
