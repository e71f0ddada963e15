"""Nothing that may happen to a run breaks its promises: more at random, in a file of their own."""

import pytest

from tests.simulator.test_simulator import look_at

SEEDS = [range(start, start + 5_000) for start in range(30_000, 55_000, 5_000)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"seeds-from-{seeds.start}")
def test_random_interleavings_keep_the_invariants(seeds: range) -> None:
    look_at(seeds)
