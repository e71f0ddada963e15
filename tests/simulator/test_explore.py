"""What saves work changes nothing: runs that join others, and handlers that are remembered."""

from collections.abc import Callable, Iterator
from unittest import mock

import pytest

from tests.simulator import explore, world
from tests.simulator.explore import AsTold, AtRandom, Deviation
from tests.simulator.world import Memory, Option, Setting, World

SEEDS = range(120)


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    with explore.installed():
        yield


def stories(memory: Memory) -> list[list[str] | None]:
    with mock.patch.object(world, "MEMORY", memory):
        return [explore.run(chooser := AtRandom(seed), chooser.setting, tell=True).world.story for seed in SEEDS]


def test_a_remembered_handler_does_the_same() -> None:
    told = stories(Memory(most=0))

    memory = Memory()
    assert stories(memory) == told
    assert stories(memory) == told, "now from memory alone"
    assert memory.kept > 0


def test_a_run_that_joins_another_would_have_gone_the_same_way() -> None:
    def deviations(*, tell: bool) -> list[list[Deviation]]:
        results = [explore.run(chooser := AtRandom(seed), chooser.setting, tell=tell) for seed in SEEDS]
        assert [result.violation for result in results] == [None] * len(SEEDS)
        return [result.deviations for result in results]

    assert deviations(tell=False) == deviations(tell=True)


class Noting(AtRandom):
    """Notes the moment of its last deviation."""

    last = 0

    def __call__(self, world: World, label: str, others: Callable[[], Iterator[Option]]) -> Option | None:
        chosen = super().__call__(world, label, others)
        if chosen is not None:
            self.last = world.moments
        return chosen


def test_only_what_came_after_the_last_deviation_is_known_to_go_well() -> None:
    for seed in SEEDS:
        chooser = Noting(seed)
        passed = explore.run(chooser, chooser.setting).world.passed
        assert all(moment > chooser.last for moment in passed.values())


def test_a_scan_of_the_same_second_is_another_state() -> None:
    states = set()
    for same_second in (False, True):
        one = World(AsTold([]), Setting(1))
        one.start()
        one.start(same_second=same_second)
        one.sleep(5)
        states.add(one.state())

    assert len(states) == 2
