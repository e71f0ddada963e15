"""Whose item is where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.table.keys import FLEET, OWN, Keys, member_of, member_range, scan_timestamp_of
from tests.support.scene import TIMESTAMP

# What IAM takes as a name: names that look like another account's are among them, "/" is not.
NAMES = st.one_of(
    st.from_regex(r"\A[\w+=,.@-]{1,64}\Z"), st.sampled_from(["222222222222", "__scan__", "__execution_lock__", "lock"])
)
ACCOUNTS = st.one_of(st.none(), st.sampled_from(["222222222222", "222222222223", "000000000000"]))


@given(st.lists(st.tuples(ACCOUNTS, NAMES), unique=True, min_size=2, max_size=6))
def test_no_two_users_share_a_record_and_each_is_its_accounts(users: list[tuple[str | None, str]]) -> None:
    keys = {user: Keys(user[0]).record(user[1], TIMESTAMP)["user_name"] for user in users}

    assert len(set(keys.values())) == len(users)
    for (account, name), key in keys.items():
        assert [other for other, _ in users if Keys(other).holds(key)] == [
            other for other, _ in users if other == account
        ]
        assert Keys(account).user_name(key) == name


@given(ACCOUNTS, ACCOUNTS)
def test_what_stands_beside_the_manifests_is_one_accounts(one: str | None, other: str | None) -> None:
    """A reader asks by the beginning of the key."""
    for name in ("scan#", "changes#", "changes", "posture#", "baseline#"):
        key = Keys(one).beside_manifests(f"{name}{TIMESTAMP}")["scan_timestamp"]
        assert key.startswith(Keys(other).about(name)) == (one == other)


def test_the_own_account_has_the_keys_that_it_always_had() -> None:
    assert OWN.lock == {"user_name": "__execution_lock__", "scan_timestamp": "lock"}
    assert OWN.manifest(TIMESTAMP) == {"user_name": "__scan__", "scan_timestamp": f"scan#{TIMESTAMP}"}
    assert OWN.record("alice", TIMESTAMP) == {"user_name": "alice", "scan_timestamp": TIMESTAMP}


def test_a_member_account_says_so() -> None:
    keys = Keys("222222222222")
    assert keys.lock == {"user_name": "__execution_lock__", "scan_timestamp": "lock#222222222222"}
    assert keys.manifest(TIMESTAMP)["scan_timestamp"] == f"account#222222222222#scan#{TIMESTAMP}"
    assert keys.record("alice", TIMESTAMP)["user_name"] == "222222222222/alice"


@pytest.mark.parametrize("member", [None, "222222222222"])
def test_the_scan_is_read_from_the_key(member: str | None) -> None:
    assert scan_timestamp_of(Keys(member).manifest(TIMESTAMP)["scan_timestamp"]) == TIMESTAMP


def test_the_fleet_has_keys_of_its_own() -> None:
    assert FLEET.lock == {"user_name": "__execution_lock__", "scan_timestamp": "lock#organization"}
    assert FLEET.manifest(TIMESTAMP) == {"user_name": "__scan__", "scan_timestamp": f"organization#{TIMESTAMP}"}
    assert scan_timestamp_of(FLEET.manifest(TIMESTAMP)["scan_timestamp"]) == TIMESTAMP


@given(ACCOUNTS)
def test_nobody_who_asks_for_an_accounts_scans_reads_a_fleet(member: str | None) -> None:
    key = FLEET.manifest(TIMESTAMP)["scan_timestamp"]
    for name in ("scan#", "changes#", "changes", "posture#", "baseline#"):
        assert not key.startswith(Keys(member).about(name))
    assert FLEET.lock != Keys(member).lock


@given(st.sets(st.from_regex(r"\A[0-9]{12}\Z"), min_size=1, max_size=5))
def test_the_members_lie_together_and_one_after_another(accounts: set[str]) -> None:
    first, last = member_range()
    for account in accounts:
        for name in ("scan#", "changes", "posture#", "baseline#"):
            key = Keys(account).about(f"{name}{TIMESTAMP}")
            assert first < key < last
            assert member_of(key) == account
            assert {other for other in accounts if member_range(other)[0] < key} == {
                other for other in accounts if other < account
            }
    for elsewhere in (OWN.about("scan#"), OWN.about("changes"), FLEET.manifest(TIMESTAMP)["scan_timestamp"]):
        assert not first <= elsewhere <= last
