"""FailOrganization: what whoever is called at night reads, and what a redrive does."""

import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.fail_organization.handler import fail_organization, handler, story
from functions.shared.errors import OrganizationFailed
from functions.shared.model import FleetState
from functions.shared.run import Run
from tests.support.scene import Clock, FakeStepFunctions, run_event, scan

FAILED = [
    {
        "account_id": f"{number:012}",
        "account_name": f"Account {number}" if number % 2 else None,
        "error_type": "AccessDenied",
        "error_message": "its role is missing.",
    }
    for number in range(1, 11)
]
OUTCOME = {
    "status": "INCOMPLETE", "attempt": 1, "accounts": 30, "accounts_scanned": 18, "accounts_failed": 12,
    "duration_ms": 1, "failed": FAILED, "unannounced": None,
}  # fmt: skip


def state_of(**more: Any) -> FleetState:
    return {"scan": scan(), "outcome": OUTCOME, **more}  # type: ignore[typeddict-item]


def error(name: str, message: str = "why") -> dict[str, str]:
    return {"Error": name, "Cause": json.dumps({"errorMessage": message})}


def fail(state: FleetState, stepfunctions: Any = None, redrive_count: int = 0) -> Any:
    run = Run.of({"run": run_event(redrive_count), "state": state}).of_fleet()
    asked: Any = stepfunctions or FakeStepFunctions()
    return fail_organization(state, run, stepfunctions=asked)


def message(state: FleetState) -> str:
    with pytest.raises(OrganizationFailed) as raised:
        fail(state)
    return str(raised.value)


def test_the_accounts_that_failed_first_are_named_with_their_errors_and_the_others_counted(clock: Clock) -> None:
    text = message(state_of())

    assert text.startswith("organization scan 2026-01-31T10:00:00Z failed: 18 of 30 accounts are complete. Failed: ")
    assert "000000000001 (Account 1): AccessDenied: its role is missing; 000000000002: AccessDenied" in text
    assert "; and 2 more. " in text
    assert text.endswith(
        "Each account's own execution, whose name begins with its number, tells more. Mend that, then redrive this "
        "execution to scan the accounts that are not complete, and no other, under the same time."
    )


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("AccessDenied", "Grant what is missing, then redrive"),
        ("InvalidConfiguration", "Deploy again with other settings, then redrive"),
        ("InvalidInput", "Start a new execution with another input"),
        ("LockHeld", "When that one has ended, redrive"),
        ("TooManyAccounts", "Start a new execution: a redrive of this one would fail again."),
        ("States.Timeout", "Redrive this execution to scan the accounts that are not complete"),
    ],
)
def test_what_to_do_follows_from_the_error(clock: Clock, name: str, advice: str) -> None:
    text = message({"error": error(name), "redrive_count": 0})  # type: ignore[typeddict-item]
    assert f"{name}: why." in text
    assert advice in text


def test_accounts_that_were_not_listed_are_not_called_failed(clock: Clock) -> None:
    none = {**OUTCOME, "accounts": 0, "accounts_scanned": 0, "accounts_failed": 0, "failed": []}
    assert "No account was scanned." in message({"error": error("AccessDenied"), "outcome": none, "redrive_count": 0})  # type: ignore[typeddict-item]


def test_what_failed_after_that_is_told_after_it(clock: Clock) -> None:
    text = story(
        state_of(
            outcome={**OUTCOME, "unannounced": "AccessDenied: no events:PutEvents"},
            release_lock_error=error("DynamoDB.InternalServerError"),
        )
    )
    assert text.index("accounts are complete") < text.index("Their events are not on the bus: AccessDenied: no events")
    assert text.endswith("The lock frees itself when its lease ends.")
    without = story({"summarize_accounts_error": error("Boom")})  # type: ignore[typeddict-item]
    assert without == "SummarizeAccounts failed with Boom: why."


def test_a_lock_that_stays_is_no_failed_account(clock: Clock) -> None:
    complete = {**OUTCOME, "status": "COMPLETE", "accounts_scanned": 30, "accounts_failed": 0, "failed": []}
    text = message(state_of(outcome=complete, release_lock_error=error("Boom")))
    assert "All accounts are COMPLETE all the same" in text
    assert "Failed:" not in text


def test_a_redriven_run_goes_on(clock: Clock) -> None:
    assert fail(state_of(), redrive_count=1) == {"attempt": 2}


def test_a_redrive_that_the_context_does_not_tell_yet_goes_on(clock: Clock) -> None:
    stepfunctions = FakeStepFunctions()
    stepfunctions.redriven(1, clock.now - timedelta(seconds=5))
    assert fail(state_of(), stepfunctions) == {"attempt": 2}


def test_a_redriven_run_that_could_not_begin_fails_again(clock: Clock) -> None:
    with pytest.raises(OrganizationFailed):
        fail({"error": error("LockHeld"), "redrive_count": 1}, redrive_count=1)  # type: ignore[typeddict-item]


def test_the_original_error_is_not_hidden(clock: Clock) -> None:
    stepfunctions = FakeStepFunctions()
    stepfunctions.error = ClientError({"Error": {"Code": "ThrottlingException", "Message": "no"}}, "DescribeExecution")
    with pytest.raises(OrganizationFailed, match="18 of 30 accounts are complete"):
        fail(state_of(), stepfunctions)


def test_a_cause_fits_where_it_is_shown(clock: Clock) -> None:
    """A cause may have 32 KiB."""
    long = [{**one, "error_message": "x" * 300, "account_name": "n" * 64} for one in FAILED]
    assert len(message(state_of(outcome={**OUTCOME, "failed": long}))) < 8_000


def test_the_handler_is_of_the_fleet(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.shared.clients.stepfunctions", FakeStepFunctions)
    with pytest.raises(OrganizationFailed):
        handler({"run": run_event(), "state": state_of()}, None)  # type: ignore[arg-type]
