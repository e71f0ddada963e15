"""Sequences that once broke a promise, told moment by moment; each must end well."""

import pytest

from tests.simulator import explore, stories
from tests.simulator.explore import INPUTS, Story
from tests.simulator.world import Setting

STORIES = {
    **dict.fromkeys(stories.KNOWN, stories.SETTING),
    **dict.fromkeys(stories.ANNOUNCED, stories.ANNOUNCED_SETTING),
}
POSTURE_CALLS = (
    "generate_credential_report",
    "get_account_authorization_details",
    "get_credential_report",
    "put_item",
)
GIVEN_UP = ("given up before it *", "given up for good")
POSTURE_FAULTS = (*GIVEN_UP, "cut off before *", "refused *")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.replace(" ", "-"))
def test_a_story_ends_well(story: str) -> None:
    chooser = Story((stories.KNOWN | stories.ANNOUNCED)[story])
    with explore.installed():
        result = explore.run(chooser, STORIES[story], tell=True)
    assert result.violation is None, "\n" + explore.told(result)
    assert not chooser.left, f"this never came: {chooser.left}\n" + explore.told(result)


@pytest.mark.parametrize("call", ["begins", *POSTURE_CALLS, "answers"])
@pytest.mark.parametrize("fault", POSTURE_FAULTS)
def test_whatever_happens_to_read_posture_the_scan_is_complete(call: str, fault: str) -> None:
    """And without a redrive. A call that goes on behind the back of Step Functions wakes up when the scan has ended."""
    if call in {"begins", "answers"} and fault not in GIVEN_UP:
        pytest.skip("there is no such thing")
    chooser = Story(f"X1.1 ReadPosture {call} => X1.1 ReadPosture is {fault}")
    with explore.installed():
        result = explore.run(chooser, Setting(2, posture=True), tell=True)
    assert result.violation is None, "\n" + explore.told(result)
    assert not chooser.left, f"this never came: {chooser.left}\n" + explore.told(result)
    first = result.world.executions[0]
    assert (first.status, first.redrives, result.world.status_of(first)) == ("SUCCEEDED", 0, "COMPLETE")


@pytest.mark.parametrize("execution_input", INPUTS)
@pytest.mark.parametrize("failing", ["AcquireLock", "EmitMetrics"])
def test_an_input_neither_breaks_the_finally_path_nor_passes_for_a_result(execution_input: str, failing: str) -> None:
    story = f"X1.1 {failing} begins => X1.1 {failing} is given up for good"
    with explore.installed():
        result = explore.run(Story(story), Setting(1, input=execution_input), tell=True)
    assert result.violation is None, "\n" + explore.told(result)
