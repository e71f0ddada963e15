"""Nothing that may happen to a run breaks its promises: every interleaving up to a bound, and many at random beyond.

Here are 45,000 up to a bound, and 1,500 at random whose changes are announced. The others have files of their own, for
files of tests run side by side: 30,000 are in ``test_simulator_at_random``, and 25,000 in
``test_simulator_at_random_beyond``. Of these, changes are announced in one of 50.
"""

import gc

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
    assert gc.isenabled(), "a step that was cut off has left it so"


# Of a scan of one page every pair of events, at any two moments; of longer ones every single event. And how many
# interleavings that is at least.
BOUNDS = (
    (Setting(1), 2, 45_000), (Setting(2, 2), 1, 125), (Setting(2), 1, 125), (Setting(3, 2, 2), 1, 125),
    (Setting(2, posture=True), 1, 450), (Setting(1, changes=True), 1, 500),
)  # fmt: skip
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
