"""The execution lock."""

from typing import TYPE_CHECKING, Any

import pytest

from functions.shared import items
from functions.shared.errors import LockLost
from functions.shared.lock import LOCK_KEY, ExecutionLock, Holder
from tests.statemachine.engine import TABLE

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

ME = "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:me"
OTHER = "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:other"
LEASE = 600


class Clock:
    """A time that the test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lock(dynamodb: "DynamoDBClient", clock: Clock) -> ExecutionLock:
    return ExecutionLock(dynamodb, TABLE, LEASE, clock)


def stored(lock: ExecutionLock) -> dict[str, Any] | None:
    item = lock.dynamodb.get_item(TableName=TABLE, Key=items.to_wire(LOCK_KEY)).get("Item")
    return items.from_wire(item) if item else None


def test_a_free_lock_is_taken_with_its_lease(lock: ExecutionLock, clock: Clock) -> None:
    assert lock.acquire(ME) is None
    assert stored(lock) == {
        "user_name": "__execution_lock__",
        "scan_timestamp": "lock",
        "owner": ME,
        "acquired_at": clock.now,
        "expires_at": clock.now + LEASE,
        "ttl": clock.now + LEASE + 86_400,
    }


def test_a_held_lock_is_refused_and_names_its_holder(lock: ExecutionLock, clock: Clock) -> None:
    lock.acquire(OTHER)
    taken_at = clock.now
    clock.now += LEASE  # the last second of the lease still counts

    assert lock.acquire(ME) == Holder(owner=OTHER, acquired_at=taken_at, expires_at=taken_at + LEASE)
    assert stored(lock)["owner"] == OTHER  # type: ignore[index]


def test_an_expired_lock_is_taken_over(lock: ExecutionLock, clock: Clock) -> None:
    lock.acquire(OTHER)
    clock.now += LEASE + 1

    assert lock.acquire(ME) is None
    assert stored(lock)["owner"] == ME  # type: ignore[index]


def test_the_owner_may_take_its_lock_again(lock: ExecutionLock, clock: Clock) -> None:
    lock.acquire(ME)
    clock.now += 60

    assert lock.acquire(ME) is None
    assert stored(lock)["expires_at"] == clock.now + LEASE  # type: ignore[index]


def test_renewing_extends_the_lease_and_keeps_when_it_was_taken(lock: ExecutionLock, clock: Clock) -> None:
    lock.acquire(ME)
    taken_at = clock.now
    clock.now += 300

    lock.renew(ME)

    assert stored(lock)["expires_at"] == clock.now + LEASE  # type: ignore[index]
    assert stored(lock)["acquired_at"] == taken_at  # type: ignore[index]


def test_renewing_takes_an_absent_lock_again(lock: ExecutionLock) -> None:
    """A redriven run re-enters in the middle, after its lock was cleaned up."""
    lock.renew(ME)

    assert stored(lock)["owner"] == ME  # type: ignore[index]


def test_renewing_takes_over_an_expired_lock(lock: ExecutionLock, clock: Clock) -> None:
    lock.acquire(OTHER)
    clock.now += LEASE + 1

    lock.renew(ME)

    assert stored(lock)["owner"] == ME  # type: ignore[index]
    assert stored(lock)["acquired_at"] == clock.now  # type: ignore[index]


def test_renewing_a_lock_that_another_holds_is_a_lost_lock(lock: ExecutionLock) -> None:
    lock.acquire(OTHER)

    with pytest.raises(LockLost, match=f"held by {OTHER}"):
        lock.renew(ME)

    assert stored(lock)["owner"] == OTHER  # type: ignore[index]


def test_only_the_owner_releases(lock: ExecutionLock) -> None:
    lock.acquire(OTHER)

    assert lock.release(ME) is False
    assert stored(lock) is not None
    assert lock.release(OTHER) is True
    assert stored(lock) is None
