"""Sequences that once broke a promise, told moment by moment; each must end well."""

import pytest

from tests.simulator import explore, stories
from tests.simulator.explore import INPUTS, Story
from tests.simulator.world import Setting


@pytest.mark.parametrize("story", stories.KNOWN, ids=lambda story: story.replace(" ", "-"))
def test_a_story_ends_well(story: str) -> None:
    chooser = Story(stories.KNOWN[story])
    with explore.installed():
        result = explore.run(chooser, stories.SETTING, tell=True)
    assert result.violation is None, "\n" + explore.told(result)
    assert not chooser.left, f"this never came: {chooser.left}\n" + explore.told(result)


@pytest.mark.parametrize("execution_input", INPUTS)
@pytest.mark.parametrize("failing", ["AcquireLock", "EmitMetrics"])
def test_an_input_neither_breaks_the_finally_path_nor_passes_for_a_result(execution_input: str, failing: str) -> None:
    story = f"X1.1 {failing} begins => X1.1 {failing} is given up for good"
    with explore.installed():
        result = explore.run(Story(story), Setting(1, input=execution_input), tell=True)
    assert result.violation is None, "\n" + explore.told(result)
