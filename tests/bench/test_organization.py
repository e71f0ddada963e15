"""What a run of many accounts takes, on a small one: the numbers in statemachine/README.md grow with the accounts."""

import pytest

from functions.list_accounts.handler import EVENTS_PER_ACCOUNT
from tests.bench.organization import measure


@pytest.mark.parametrize(("fail", "events"), [(False, 8), (True, EVENTS_PER_ACCOUNT)])
def test_events_and_transitions_grow_with_the_accounts_and_nothing_else_does(fail: bool, events: int) -> None:
    few, more = (measure(accounts, 2, fail=fail) for accounts in (2, 5))

    assert (few.events_per_account, more.events_per_account) == (events, events)
    assert more.events - few.events == 3 * events
    # A state entered for each account, and one more for one that fails.
    assert more.transitions - few.transitions == 3 * (1 + fail)
    assert few.child_transitions == more.child_transitions
    # 256 KiB carry 2,450 accounts of which each adds less than a hundred bytes.
    assert (more.largest_payload - few.largest_payload) / 3 < 100
    assert (few.failed, more.failed) == ((2, 5) if fail else (0, 0))
