"""Every clause of the fence still stands where the mutants look for it, and a story misses one that is gone."""

import pytest

from tests.simulator import explore, mutants, stories
from tests.simulator.explore import Story
from tests.simulator.mutants import MUTANTS, Mutant
from tests.simulator.world import MEMORY


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.clause.replace(" ", "-"))
def test_a_clause_can_be_taken_out(mutant: Mutant) -> None:
    with explore.installed(), mutant.applied():
        pass


def test_a_mutant_is_not_spared_what_was_learnt_of_the_fence() -> None:
    with explore.installed(keep=True):
        explore.randomly(range(3))
    assert explore.KNOWN
    assert MEMORY.first

    with explore.installed(), MUTANTS[0].applied():
        assert not explore.KNOWN
        assert not MEMORY.first


@pytest.mark.parametrize("clause", ["lock and manifest in one transaction", "a page is saved in its turn"])
def test_a_known_story_misses_it(clause: str) -> None:
    """All of them are hunted by ``make simulate-mutants``; these two take a moment."""
    (mutant,) = [one for one in MUTANTS if one.clause == clause]
    _, story = mutants.find(mutant, budget=1, seed=0)
    assert story is not None
    assert any(story.startswith(name) for name in stories.KNOWN)


@pytest.mark.parametrize("mutant", [one for one in MUTANTS if one.announced], ids=lambda mutant: mutant.clause)
def test_a_story_of_what_is_told_misses_it(mutant: Mutant) -> None:
    tried, story = mutants.find(mutant, budget=1, seed=0)
    assert story is not None
    assert tried <= len(stories.ANNOUNCED) + 1


def test_without_a_mutant_nothing_is_missed() -> None:
    told = [(stories.SETTING, story) for story in stories.KNOWN.values()]
    told += [(stories.ANNOUNCED_SETTING, story) for story in stories.ANNOUNCED.values()]
    told += [(stories.ANNOUNCED_SETTING, mutant.story) for mutant in MUTANTS if mutant.story]
    with explore.installed():
        found = [explore.run(Story(story), setting).violation for setting, story in told]
    assert found == [None] * len(found)
