"""Nothing that may happen to a run breaks its promises: every interleaving up to a bound, and many at random beyond.

More of those are in ``test_simulator_at_random``: files of tests run side by side. Together they are 100,000 at least:
45,000 here up to a bound and 25,000 at random, and 30,000 there. Of those at random, changes are announced in one of
50, and in 1,500 more.
"""

import pytest

from tests.simulator import explore
from tests.simulator.explore import Extent
from tests.simulator.world import ANNOUNCED_KINDS, BUDGET, Setting


def assert_none_found(extent: Extent) -> None:
    if extent.found is not None:
        with explore.installed():
            pytest.fail(explore.told(extent.found), pytrace=False)


def look_at(seeds: range, *, announced: bool | None = None) -> None:
    """Look at the interleavings of these seeds; every kind of event that they are for must have been among them."""
    due = ANNOUNCED_KINDS if announced else BUDGET.keys() - ANNOUNCED_KINDS
    with explore.installed(keep=True):
        extent = explore.randomly(seeds, announced=announced)
    assert_none_found(extent)
    assert extent.interleavings == len(seeds)
    assert due <= set(extent.kinds), "some kinds of events never happened"


# Of a scan of one page every pair of events, at any two moments; of longer ones every single event. And how many
# interleavings that is at least.
BOUNDS = (
    (Setting(1), 2, 45_000), (Setting(2, 2), 1, 125), (Setting(2), 1, 125), (Setting(3, 2, 2), 1, 125),
    (Setting(2, posture=True), 1, 450), (Setting(1, changes=True), 1, 500),
)  # fmt: skip
SEEDS = [range(start, start + 5_000) for start in range(30_000, 55_000, 5_000)]
ANNOUNCED_SEEDS = [range(start, start + 750) for start in (0, 750)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("setting", "bound", "at_least"), BOUNDS)
def test_every_interleaving_up_to_a_bound_keeps_the_invariants(setting: Setting, bound: int, at_least: int) -> None:
    with explore.installed(keep=True):
        extent = explore.exhaustively(setting, bound)
    assert_none_found(extent)
    print(f"{setting}, up to {bound} events: {extent.runs} runs, {extent.spared} more that join them")
    assert extent.interleavings >= at_least


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", ANNOUNCED_SEEDS, ids=lambda seeds: f"seeds-from-{seeds.start}")
def test_random_interleavings_with_announced_changes_keep_the_invariants(seeds: range) -> None:
    look_at(seeds, announced=True)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"seeds-from-{seeds.start}")
def test_random_interleavings_keep_the_invariants(seeds: range) -> None:
    look_at(seeds)
