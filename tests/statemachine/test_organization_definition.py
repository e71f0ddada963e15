"""The static rules of the organization machine."""

from typing import Any

import pytest

from functions.shared.run import Run
from functions.shared.timestamps import now
from functions.table import lock
from functions.table.keys import FLEET, LOCK_USER_NAME
from tests.support import definition

DEFINITION = definition.load(definition.ORGANIZATION)
STATES = dict(definition.states(DEFINITION))
SCAN = dict(definition.states(definition.load()))
ITERATION = STATES["ScanAccounts"]["ItemProcessor"]["States"]


def successors(name: str, states: dict[str, Any]) -> set[str]:
    state = states[name]
    following = {state.get("Next"), state.get("Default")}
    following |= {rule["Next"] for rule in (*state.get("Choices", []), *state.get("Catch", []))}
    return {str(one) for one in following if one}


def reached_from(name: str, avoiding: str) -> set[str]:
    seen, waiting = set(), [name]
    while waiting:
        current = waiting.pop()
        if current not in seen and current != avoiding:
            seen.add(current)
            waiting += successors(current, DEFINITION["States"])
    return seen


def test_every_path_after_the_lock_reaches_its_release() -> None:
    ends = {"OrganizationScanned", "FailOrganization"}
    for name in ("ScanAccounts", "SummarizeAccounts", "AccountsNotListed"):
        assert not ends & reached_from(name, avoiding="ReleaseLock"), name
    assert successors("LockAcquired?", DEFINITION["States"]) == {"ReleaseLock", "ScanAccounts", "OrganizationSkipped"}


def test_nothing_is_scanned_where_the_accounts_were_not_listed() -> None:
    assert {catcher["Next"] for catcher in STATES["ListAccounts"]["Catch"]} == {"AccountsNotListed"}
    assert "ScanAccounts" not in reached_from("AccountsNotListed", avoiding="FailOrganization")


def test_the_input_takes_no_part_in_what_follows() -> None:
    """It may be any JSON, and pose as ``$.scan`` or ``$.outcome``."""
    assert [catcher for catcher in STATES["ListAccounts"]["Catch"] if "ResultPath" in catcher] == []
    assert STATES["ListAccounts"]["OutputPath"] == "$.Payload"
    assert STATES["AccountsNotListed"]["Parameters"] == {
        "lock": FLEET.lock_name,
        "error.$": "$",
        "redrive_count.$": "$$.Execution.RedriveCount",
    }
    assert [name for name, state in STATES.items() if "$$.Execution.Input" in str(state)] == ["ListAccounts"]


def test_no_iteration_fails_the_map() -> None:
    """An account that fails must fail no other."""
    for name, state in ITERATION.items():
        assert successors(name, ITERATION) <= ITERATION.keys()
        if state["Type"] == "Task":
            assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
    ends = {name for name, state in ITERATION.items() if state.get("End")}
    assert ends == {"ScanAccount", "WaitForAccount", "AccountFailed"}


def test_an_execution_that_is_redriven_is_waited_for_by_its_name_and_input() -> None:
    """StartExecution of both the same is answered with the one that runs; of another input it is refused."""
    scan, wait, redrive = (ITERATION[name] for name in ("ScanAccount", "WaitForAccount", "RedriveAccount"))
    assert (scan["Parameters"], scan["Resource"]) == (wait["Parameters"], wait["Resource"])
    assert scan["Parameters"]["Name.$"] == "States.Format('{}-{}', $.account_id, $.children)"
    assert redrive["Parameters"]["ExecutionArn.$"] == (
        "States.Format('${scan_execution_arn_prefix}:{}-{}', $.account_id, $.children)"
    )
    # And it is not redriven again and again: from there, no way leads back.
    assert "ScanAccount" not in successors("RedriveAccount", ITERATION) | successors("WaitForAccount", ITERATION)
    assert "RedriveAccount" not in successors("WaitForAccount", ITERATION)


def test_what_an_account_answers_stays_small() -> None:
    """2,450 of them are in one state: neither the output of a scan nor the cause of an error may be."""
    for name in ("ScanAccount", "WaitForAccount"):
        assert ITERATION[name]["ResultSelector"] == {"status.$": "$.Status"}
    assert ITERATION["AccountFailed"]["Parameters"] == {"account_id.$": "$.account_id", "error.$": "$.error.Error"}
    # In place of the accounts, not beside them.
    assert STATES["ScanAccounts"]["ItemsPath"] == STATES["ScanAccounts"]["ResultPath"] == "$.accounts"


def test_the_lock_is_released_as_that_of_a_scan_is() -> None:
    release = STATES["ReleaseLock"]
    own = dict.fromkeys(("Comment", "Catch", "Next"))
    assert {**release, **own} == {**SCAN["ReleaseLock"], **own}
    assert release["Parameters"]["Key"]["user_name"] == {"S": LOCK_USER_NAME}
    run = Run("arn", now(), 1, now(), fleet=True)
    assert lock.delete(run)["ConditionExpression"] == release["Parameters"]["ConditionExpression"]
    assert lock.delete(run)["Key"]["scan_timestamp"] == {"S": FLEET.lock_name}


def test_success_means_that_every_account_is_complete() -> None:
    (rule,) = STATES["OrganizationOutcome?"]["Choices"]
    assert {"Variable": "$.outcome.status", "StringEquals": "COMPLETE"} in rule["And"]
    assert {"Not": {"Variable": "$.release_lock_error", "IsPresent": True}} in rule["And"]
    assert STATES["OrganizationOutcome?"]["Default"] == "FailOrganization"
    assert STATES["FailOrganization"]["Next"] == "ListAccounts"


def test_placeholders_are_the_functions_the_scan_machine_and_the_numbers() -> None:
    arns = {f"{step}_function_arn" for step in definition.ORGANIZATION_STEPS}
    numbers = {"account_concurrency", "organization_timeout_seconds", "task_timeout_seconds"}
    scans = {"scan_state_machine_arn", "scan_execution_arn_prefix"}
    assert definition.placeholders(definition.ORGANIZATION) == arns | numbers | scans | {"partition", "table_name"}


@pytest.mark.parametrize("name", ["ScanAccount", "WaitForAccount"])
def test_a_scan_that_failed_is_not_tried_again_by_its_parent(name: str) -> None:
    """It has had its retries; and three more events for each of thousands of accounts are more than a history holds."""
    for rule in ITERATION[name]["Retry"]:
        if "States.ALL" in rule["ErrorEquals"] or "States.TaskFailed" in rule["ErrorEquals"]:
            assert rule["MaxAttempts"] == 0
