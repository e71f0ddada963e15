"""Every clause of the fence still stands where the mutants look for it, and a story misses one that is gone."""

import pytest

from tests.simulator import explore, mutants, stories
from tests.simulator.explore import Story
from tests.simulator.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.clause.replace(" ", "-"))
def test_a_clause_can_be_taken_out(mutant: Mutant) -> None:
    with explore.installed(), mutant.applied():
        pass


@pytest.mark.parametrize("clause", ["lock and manifest in one transaction", "a page is saved in its turn"])
def test_a_known_story_misses_it(clause: str) -> None:
    """All of them are hunted by ``make simulate-mutants``; these two take a moment."""
    (mutant,) = [one for one in MUTANTS if one.clause == clause]
    _, story = mutants.find(mutant, budget=1, seed=0)
    assert story is not None
    assert any(story.startswith(name) for name in stories.KNOWN)


def test_without_a_mutant_nothing_is_missed() -> None:
    with explore.installed():
        found = [explore.run(Story(story), stories.SETTING).violation for story in stories.KNOWN.values()]
    assert found == [None] * len(found)
