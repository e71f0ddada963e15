"""Which attributes differ: of what is in slots, in whichever slot it is now; and never what one side does not know."""

from itertools import permutations, product
from typing import Any

import pytest

from functions.table.changes import LastKnown, aligned
from tests.support.recorded import NOTHING, record_of

SCAN = "2026-03-31T12:00:00Z"
CREATED = (None, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
KEYS = list(product(CREATED, (True, False)))


def slots(first: tuple[Any, ...], second: tuple[Any, ...]) -> dict[str, Any]:
    """Return the attributes of two access keys, of which each is a time of creation and whether it is active."""
    found: dict[str, Any] = {}
    for slot, (created, active) in enumerate((first, second), start=1):
        found[f"access_key_{slot}_active"] = active
        if created is not None:
            found[f"access_key_{slot}_last_rotated"] = created
    return found


def different(before: dict[str, Any], after: dict[str, Any]) -> tuple[int, int]:
    """Return how many creations differ, and how many attributes."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return sum(name.endswith("last_rotated") for name in names), len(names)


@pytest.mark.parametrize("first", KEYS)
@pytest.mark.parametrize("second", KEYS)
def test_keys_are_where_they_differ_least(first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    before = slots(first, second)
    for one, other in product(KEYS, repeat=2):
        as_it_is, exchanged = slots(one, other), slots(other, one)
        found = aligned(before, as_it_is)
        assert different(before, found) == min(different(before, as_it_is), different(before, exchanged))
        if different(before, as_it_is) <= different(before, exchanged):
            assert found == as_it_is, "and nothing is exchanged for nothing"


@pytest.mark.parametrize(
    ("name", "value"), [("password_enabled", True), ("mfa_active", False), ("admin_via", []), ("tags", {"team": "a"})]
)
def test_what_a_record_lacks_that_every_user_has_is_unknown_and_no_change(name: str, value: Any) -> None:
    told = record_of("alice", SCAN, credential_report_time=SCAN, **{**NOTHING, name: value})
    silent = {key: one for key, one in told.items() if key != name}
    assert LastKnown().learn(told).changes_to(silent) == LastKnown().learn(silent).changes_to(told) == ()


def test_what_is_different_comes_in_the_order_of_the_attributes() -> None:
    """Whichever section was learnt first: a picture that was kept has them in another order."""
    before = record_of("alice", SCAN, credential_report_time=SCAN, **NOTHING)
    kept = LastKnown().learn(before).to_plain(whole=True)
    after = {**before, "user_name": "eve", "mfa_active": True, "groups": ["ops"]}
    for sections in permutations(kept.items()):
        assert LastKnown.of_plain(dict(sections)).changes_to(after) == ("user_name", "mfa_active", "groups")
