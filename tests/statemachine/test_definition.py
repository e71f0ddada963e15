"""The static rules that hold for the definitions, whatever runs them; and those of the scan."""

import importlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functions.shared import errors
from functions.shared.run import Run
from functions.table import lock
from functions.table.keys import LOCK_USER_NAME, OWN
from tests.support import definition

DEFINITION = definition.load()
STATES = dict(definition.states(DEFINITION))
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
LAMBDA_TASKS = {name: state for name, state in TASKS.items() if state["Resource"].endswith("lambda:invoke")}

EVERY = {
    f"{source.name.partition('.')[0]}-{name}": (name, state)
    for source in definition.SOURCES
    for name, state in definition.states(definition.load(source))
}
"""All states of both machines."""


def every(wanted: Callable[[str, dict[str, Any]], bool]) -> pytest.MarkDecorator:
    """Return the states of both machines that are wanted, as a parametrization."""
    chosen = {identity: one for identity, one in EVERY.items() if wanted(*one)}
    return pytest.mark.parametrize(("name", "state"), chosen.values(), ids=chosen.keys())


def is_task(_name: str, state: dict[str, Any]) -> bool:
    return bool(state["Type"] == "Task")


def is_function(_name: str, state: dict[str, Any]) -> bool:
    return state["Type"] == "Task" and str(state["Resource"]).endswith("lambda:invoke")


ENDS = {"FailScan", "FailOrganization"}
"""The tasks whose error is the result of the run."""

TRANSIENT_LAMBDA_ERRORS = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
}


RUN = {
    "execution_arn.$": "$$.Execution.Id",
    "started_at.$": "$$.Execution.StartTime",
    "redrive_count.$": "$$.Execution.RedriveCount",
}
"""What every function is told of its run: who it works for, and the fencing token of what it writes."""

MAY_BE_LATE = {"AcquireLock", "SaveProgress", "EmitMetrics", "ListAccounts", "SummarizeAccounts"}
"""The states whose functions write through the fence, and so may raise Superseded."""


def successors(name: str) -> set[str]:
    """Return the states that may follow a state of the top level."""
    state = DEFINITION["States"][name]
    following = {state.get("Next"), state.get("Default")}
    following |= {rule["Next"] for rule in (*state.get("Choices", []), *state.get("Catch", []))}
    return {state for state in following if state}


def paths_from(name: str, avoiding: str) -> Iterator[str]:
    """Yield every state that can be reached without passing a state."""
    seen, waiting = set(), [name]
    while waiting:
        current = waiting.pop()
        if current in seen or current == avoiding:
            continue
        seen.add(current)
        yield current
        waiting += successors(current)


@every(lambda *_: True)
def test_names_are_pascal_case_and_choices_are_questions(name: str, state: dict[str, Any]) -> None:
    assert re.fullmatch(r"([A-Z][a-z]+)+\??", name)
    assert name.endswith("?") == (state["Type"] == "Choice")


@every(lambda *_: True)
def test_every_state_has_a_comment(name: str, state: dict[str, Any]) -> None:
    assert state.get("Comment")


@every(is_function)
def test_every_lambda_state_has_the_folder_of_its_name(name: str, state: dict[str, Any]) -> None:
    folder = definition.folder_of(name)
    assert folder in {*definition.STEPS, *definition.ORGANIZATION_STEPS}
    assert state["Parameters"]["FunctionName"] == f"${{{folder}_function_arn}}"
    assert callable(importlib.import_module(f"functions.{folder}.handler").handler)


@every(is_task)
def test_every_task_has_a_timeout(name: str, state: dict[str, Any]) -> None:
    assert state["TimeoutSeconds"]


@every(lambda name, state: is_task(name, state) and name not in ENDS)
def test_every_task_is_retried_and_caught(name: str, state: dict[str, Any]) -> None:
    assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
    assert state["Retry"][-1]["ErrorEquals"] == ["States.ALL"]
    for retrier in state["Retry"]:
        if retrier["MaxAttempts"] > 0:
            assert retrier["BackoffRate"] > 1
            assert retrier["MaxDelaySeconds"] >= retrier["IntervalSeconds"]
            assert retrier["JitterStrategy"] == "FULL"


@every(lambda name, state: is_function(name, state) and name not in ENDS)
def test_transient_lambda_errors_are_retried_longer_than_others(name: str, state: dict[str, Any]) -> None:
    retriers = state["Retry"]
    (transient,) = [rule for rule in retriers if set(rule["ErrorEquals"]) >= TRANSIENT_LAMBDA_ERRORS]
    # PublishChanges has as many tries for an index that is behind, and no time for more.
    assert transient["MaxAttempts"] >= retriers[-1]["MaxAttempts"] + (name != "PublishChanges") > 0


@pytest.mark.parametrize(
    ("name", "placeholder", "attempts"),
    [("ReadPosture", "posture_timeout_seconds", [0, 2, 1]), ("PublishChanges", "publish_timeout_seconds", [0, 2, 2])],
)
def test_what_a_scan_does_not_wait_for_delays_it_not_for_long(name: str, placeholder: str, attempts: list[int]) -> None:
    """It is given up at the end of its own short time, and then for good."""
    state = STATES[name]
    assert state["TimeoutSeconds"] == f"${{{placeholder}}}"
    assert {"Sandbox.Timedout", "States.Timeout"} <= set(state["Retry"][0]["ErrorEquals"])
    assert [rule["MaxAttempts"] for rule in state["Retry"]] == attempts


def test_a_scan_succeeds_although_its_changes_could_not_be_published() -> None:
    """The next publication announces them. An alarm tells when that lasts."""
    catchers = STATES["PublishChanges"]["Catch"]
    assert {(catcher["Next"], catcher["ResultPath"]) for catcher in catchers} == {
        ("ReleaseLock", "$.publish_changes_error")
    }
    assert successors("PublishChanges") == {"ReleaseLock"}
    asking = [name for name, state in STATES.items() if "publish_changes_error" in str(state.get("Choices"))]
    assert asking == []


def test_what_is_refused_for_good_is_not_published_again_but_an_index_that_is_behind_is_waited_for() -> None:
    never, *_ = STATES["PublishChanges"]["Retry"]
    assert {"AccessDenied", "EventsRefused", "InvalidConfiguration"} <= set(never["ErrorEquals"])
    assert "IndexBehind" not in never["ErrorEquals"]


def test_only_what_was_judged_complete_is_published() -> None:
    """By EmitMetrics, or by AcquireLock for a scan that was complete already. Whatever failed is not."""
    assert STATES["ChangesToPublish?"]["Choices"] == [
        {"Variable": "$.outcome.publish", "BooleanEquals": True, "Next": "PublishChanges"}
    ]
    assert STATES["ChangesToPublish?"]["Default"] == "ReleaseLock"
    asking = {name for name in DEFINITION["States"] if "ChangesToPublish?" in successors(name)}
    assert asking == {"EmitMetrics", "LockAcquired?"}
    assert STATES["EmitMetrics"]["ResultSelector"]["publish.$"] == "$.Payload.publish"
    # Its own failure leaves no judgement to ask for.
    assert {catcher["Next"] for catcher in STATES["EmitMetrics"]["Catch"]} == {"ReleaseLock"}
    assert [name for name in DEFINITION["States"] if "PublishChanges" in successors(name)] == ["ChangesToPublish?"]


def test_a_scan_goes_on_without_posture() -> None:
    """And what was wrong with it is no error of the scan."""
    catchers = STATES["ReadPosture"]["Catch"]
    assert {(catcher["Next"], catcher["ResultPath"]) for catcher in catchers} == {("PostureMissing", "$.posture")}
    assert STATES["PostureMissing"]["ResultPath"] == "$.posture"
    assert successors("PostureMissing") == {"ListUsers"}
    # In the shape that a reading has.
    missing = STATES["PostureMissing"]["Parameters"]
    assert {name.removesuffix(".$") for name in STATES["ReadPosture"]["ResultSelector"]} == missing.keys() - {"error.$"}


def test_a_long_cause_is_carried_once() -> None:
    """It may have 32 KiB; twice, beside a page and the cause of another error, would be too much for a state."""
    carriers = [name for name, state in STATES.items() if "$.posture.Cause" in str(state)]
    assert carriers == []
    assert "posture.error" not in str(STATES["WriteRecords"])


@every(is_function)
def test_every_function_is_told_its_run(name: str, state: dict[str, Any]) -> None:
    payload = state["Parameters"].get("Payload")
    if payload is None:
        # WriteBatch is given the whole item that the Map makes.
        assert state["Parameters"]["Payload.$"] == "$"
        payload = STATES["WriteRecords"]["ItemSelector"]
    assert payload["run"] == RUN
    assert next(iter(payload)) == "run"


@every(is_task)
def test_a_late_call_is_not_retried(name: str, state: dict[str, Any]) -> None:
    """A retry of it would be later still. And where it cannot be raised, no rule speaks of it."""
    speaking = [rule for rule in state.get("Retry", []) if "Superseded" in rule["ErrorEquals"]]
    assert [rule["MaxAttempts"] for rule in speaking] == ([0] if name in MAY_BE_LATE else [])
    assert speaking in ([], state.get("Retry", [])[:1])


@every(is_function)
def test_what_may_be_late_is_what_writes_through_the_fence(name: str, state: dict[str, Any]) -> None:
    handler = importlib.import_module(f"functions.{definition.folder_of(name)}.handler")
    assert hasattr(handler, "Fence") == (name in MAY_BE_LATE)


@every(lambda name, _state: name in ENDS)
def test_the_task_that_fails_the_run_is_neither_retried_nor_caught(name: str, state: dict[str, Any]) -> None:
    """Its error is the result of the run, and a second call would be taken for a redrive."""
    assert "Retry" not in state
    assert "Catch" not in state


# The state data of the first states are the execution's input.
@every(lambda name, _state: name not in {"AcquireLock", "ListAccounts"})
def test_every_catch_keeps_the_state_data(name: str, state: dict[str, Any]) -> None:
    for catcher in state.get("Catch", []):
        assert "ResultPath" in catcher
        assert catcher["ResultPath"] != "$"


def test_the_input_takes_no_part_in_what_follows_a_failure_to_begin() -> None:
    """It may be any JSON: a text has no place for an error, and an object may pose as ``$.scan`` or ``$.outcome``."""
    catchers = STATES["AcquireLock"]["Catch"]
    assert {catcher["Next"] for catcher in catchers} == {"ScanNotBegun"}
    assert [catcher for catcher in catchers if "ResultPath" in catcher] == []
    not_begun = STATES["ScanNotBegun"]
    assert not_begun["Parameters"] == {"lock": "lock", "error.$": "$", "redrive_count.$": RUN["redrive_count.$"]}
    assert not {"InputPath", "ResultPath", "OutputPath"} & not_begun.keys()
    # Nor when it succeeds, and no other state reads the input from the context.
    assert STATES["AcquireLock"]["OutputPath"] == "$.Payload"
    reading = [name for name, state in STATES.items() if "$$.Execution.Input" in str(state)]
    assert reading == ["AcquireLock"]


def test_only_the_first_failure_is_the_error() -> None:
    """The finally path must not overwrite the original error with its own."""
    assert {catcher["ResultPath"] for catcher in STATES["EmitMetrics"]["Catch"]} == {"$.emit_metrics_error"}
    assert {catcher["ResultPath"] for catcher in STATES["PublishChanges"]["Catch"]} == {"$.publish_changes_error"}
    assert {catcher["ResultPath"] for catcher in STATES["ReleaseLock"]["Catch"]} == {None, "$.release_lock_error"}


@every(lambda name, state: "Catch" in state and name != "ReleaseLock")
def test_a_payload_above_the_limit_is_caught_by_name(name: str, state: dict[str, Any]) -> None:
    """States.ALL does not match States.DataLimitExceeded."""
    assert state["Catch"][0]["ErrorEquals"] == ["States.DataLimitExceeded"]


def test_every_path_after_the_lock_reaches_its_release() -> None:
    ends = {"ScanSucceeded", "FailScan"}
    assert not ends & set(paths_from("ReadPosture", avoiding="ReleaseLock"))
    assert not ends & set(paths_from("ListUsers", avoiding="ReleaseLock"))
    assert not ends & set(paths_from("EmitMetrics", avoiding="ReleaseLock"))
    assert not ends & set(paths_from("ScanNotBegun", avoiding="ReleaseLock"))
    # What goes from the lock past the scan was told to do so by AcquireLock, and holds nothing, or what is left of it.
    assert successors("LockAcquired?") == {"ReadPosture", "ListUsers", "ChangesToPublish?", "ScanSkipped"}
    assert not ends & set(paths_from("ChangesToPublish?", avoiding="ReleaseLock"))


def test_every_error_goes_through_the_metrics_first() -> None:
    for name in ("ListUsers", "WriteRecords", "SaveProgress"):
        assert {catcher["Next"] for catcher in STATES[name]["Catch"]} == {"EmitMetrics"}
    assert STATES["ScanNotBegun"]["Next"] == "EmitMetrics"


def test_a_scan_that_is_complete_goes_straight_to_what_is_left_of_it() -> None:
    complete, without_posture, acquired = STATES["LockAcquired?"]["Choices"]
    assert complete["And"] == [
        {"Variable": "$.acquired", "BooleanEquals": True},
        {"Variable": "$.complete", "BooleanEquals": True},
    ]
    assert complete["Next"] == "ChangesToPublish?"
    assert without_posture["And"] == [
        {"Variable": "$.acquired", "BooleanEquals": True},
        {"Variable": "$.posture", "IsPresent": True},
    ]
    assert without_posture["Next"] == "ListUsers"
    assert (acquired["Variable"], acquired["Next"]) == ("$.acquired", "ReadPosture")


def test_the_lock_is_released_only_by_its_owner_and_without_a_function() -> None:
    release = STATES["ReleaseLock"]
    assert release["Resource"] == "arn:${partition}:states:::dynamodb:deleteItem"
    assert release["Parameters"]["Key"] == {
        "user_name": {"S": LOCK_USER_NAME},
        # The account's, as AcquireLock tells; where it failed, this account's.
        "scan_timestamp": {"S.$": "$.lock"},
    }
    assert STATES["ScanNotBegun"]["Parameters"]["lock"] == OWN.lock_name
    assert STATES["SaveProgress"]["Parameters"]["Payload"]["lock.$"] == "$.lock"
    # As CleanUp does it: not the lock that a newer attempt has taken since.
    run = Run("arn", datetime.now(UTC), 1, datetime.now(UTC))
    for clause in ("ConditionExpression", "ExpressionAttributeNames"):
        assert release["Parameters"][clause] == lock.delete(run)[clause]
    assert "#attempt <= :attempt" in release["Parameters"]["ConditionExpression"]
    assert release["Parameters"]["ExpressionAttributeValues"] == {
        ":me": {"S.$": "$$.Execution.Id"},
        ":attempt": {"N.$": "States.Format('{}', States.MathAdd($$.Execution.RedriveCount, 1))"},
    }


def test_every_own_error_name_is_a_class() -> None:
    named = {
        error
        for _, state in EVERY.values()
        for rule in (*state.get("Retry", []), *state.get("Catch", []))
        for error in rule["ErrorEquals"]
        if "." not in error
    }
    assert named
    for name in named:
        assert issubclass(getattr(errors, name), errors.MonitorError)


def test_placeholders_are_one_arn_a_function_the_partition_the_table_and_the_numbers() -> None:
    arns = {f"{step}_function_arn" for step in definition.STEPS}
    numbers = {"map_concurrency", "task_timeout_seconds", "scan_timeout_seconds"}
    numbers |= {"posture_timeout_seconds", "publish_timeout_seconds"}
    assert definition.placeholders() == arns | numbers | {"partition", "table_name"}


@pytest.mark.parametrize("source", definition.SOURCES, ids=lambda source: source.name)
def test_every_task_names_the_partition_that_it_runs_in(source: Path) -> None:
    """Step Functions fails a task that names another one with States.Runtime, which nothing catches."""
    values = dict.fromkeys(definition.placeholders(source), "1")
    for partition in ("aws", "aws-us-gov", "aws-cn"):
        rendered = definition.states(definition.render(values | {"partition": partition}, source))
        resources = {state["Resource"] for name, state in rendered if is_task(name, state)}
        assert {resource.split(":states:")[0] for resource in resources} == {f"arn:{partition}"}


def test_placeholders_of_numbers_become_numbers_and_no_other_text_does() -> None:
    values = dict.fromkeys(definition.placeholders(), "1") | {"table_name": "2024"}

    rendered = dict(definition.states(definition.render(values)))

    assert rendered["WriteRecords"]["MaxConcurrency"] == 1
    assert {state["TimeoutSeconds"] for name, state in rendered.items() if name in LAMBDA_TASKS} == {1}
    assert rendered["ReleaseLock"]["Parameters"]["TableName"] == "2024"


@pytest.mark.parametrize("source", definition.SOURCES, ids=lambda source: source.name)
def test_the_definition_uses_json_path_only(source: Path) -> None:
    """So that it runs in Step Functions Local and in the offline interpreters as well as on AWS."""
    text = source.read_text()
    assert "{%" not in text
    assert "QueryLanguage" not in text
    assert "Assign:" not in text


@every(lambda _name, state: state["Type"] == "Map")
def test_every_map_is_inline(name: str, state: dict[str, Any]) -> None:
    """Its iterations are in the history of the run, and a redrive finds them there."""
    assert state["ItemProcessor"]["ProcessorConfig"] == {"Mode": "INLINE"}
