"""FailOrganization: end the run as FAILED and name the accounts that failed; when redriven, let it go on.

It ends in a Task without Retry for the same reason as FailScan: a Fail state could only fail again.
"""

from typing import TYPE_CHECKING, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from functions.shared import clients
from functions.shared.causes import describe
from functions.shared.errors import (
    AccessDenied,
    InvalidConfiguration,
    InvalidInput,
    LockHeld,
    OrganizationFailed,
    TooManyAccounts,
)
from functions.shared.model import FleetState, FleetSummary
from functions.shared.run import Run, RunEvent
from functions.shared.step import logger, step
from functions.table.manifest import Status

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient


class Event(TypedDict):
    """What the state FailOrganization sends."""

    run: RunEvent
    state: FleetState


class Redriven(TypedDict):
    """The run goes on with this attempt, at ListAccounts."""

    attempt: int


@step("FailOrganization")
def handler(event: Event, context: LambdaContext) -> Redriven:
    """Handle one invocation by the state machine."""
    return fail_organization(event["state"], Run.of(event).of_fleet(), stepfunctions=clients.stepfunctions())


def fail_organization(state: FleetState, run: Run, *, stepfunctions: "SFNClient") -> Redriven:
    """End the attempt that failed; return where the run is at a newer one by now, which only a redrive can bring about.

    Raises
    ------
    OrganizationFailed
        The attempt failed. The message names the accounts that failed first, and tells what a redrive does.
    """
    failed_attempt = _failed_attempt(state)
    if run.attempt <= failed_attempt:
        try:
            run = run.newest(stepfunctions)
        except (ClientError, BotoCoreError) as error:
            # The original error must not be hidden by this one.
            logger.warning("Step Functions does not say whether the run was redriven", error_message=str(error))
    if run.attempt <= failed_attempt:
        raise OrganizationFailed(f"organization scan {run.scan_timestamp} failed: {story(state)} {_what_next(state)}")
    logger.append_keys(attempt=run.attempt)
    logger.info("Redriven: the accounts that are not complete are scanned")
    return Redriven(attempt=run.attempt)


def _failed_attempt(state: FleetState) -> int:
    """Return the attempt that brought the run here, as the last step knew it that said so."""
    return max(
        state["scan"]["attempt"] if "scan" in state else 0,
        state["outcome"]["attempt"] if "outcome" in state else 0,
        state.get("redrive_count", 0) + 1,
    )


_REDRIVE = "redrive this execution to scan the accounts that are not complete, and no other, under the same time."
_ADVICE = {
    InvalidInput.__name__: "Start a new execution with another input: a redrive keeps this one.",
    InvalidConfiguration.__name__: f"Deploy again with other settings, then {_REDRIVE}",
    AccessDenied.__name__: f"Grant what is missing, then {_REDRIVE}",
    LockHeld.__name__: f"When that one has ended, {_REDRIVE}",
    TooManyAccounts.__name__: "Start a new execution: a redrive of this one would fail again.",
}


def _what_next(state: FleetState) -> str:
    if "error" in state:
        return _ADVICE.get(state["error"].get("Error", ""), _REDRIVE.capitalize())
    if state.get("outcome", {}).get("status") == Status.COMPLETE:
        return "All accounts are COMPLETE all the same, and the next scan runs when the lock is free."
    return f"Each account's own execution, whose name begins with its number, tells more. Mend that, then {_REDRIVE}"


def story(state: FleetState) -> str:
    """Return in sentences what went wrong, the accounts that failed by name, for the execution's cause."""
    sentences = []
    if "error" in state:
        name, text = describe(state["error"])
        sentences.append(f"{name}: {text.rstrip('.')}.")
    outcome: FleetSummary | None = state.get("outcome")
    if outcome is not None:
        sentences += _accounts(outcome)
    for key, where in (("summarize_accounts_error", "SummarizeAccounts"), ("release_lock_error", "ReleaseLock")):
        if key in state:
            name, text = describe(state[key])  # type: ignore[literal-required]
            sentences.append(f"{where} failed with {name}: {text.rstrip('.')}.")
    if "release_lock_error" in state:
        sentences.append("The lock frees itself when its lease ends.")
    return " ".join(sentences)


def _accounts(outcome: FleetSummary) -> list[str]:
    if not outcome["accounts"]:
        return ["No account was scanned."]
    sentences = [f"{outcome['accounts_scanned']} of {outcome['accounts']} accounts are complete."]
    told = [
        f"{one['account_id']}{_name(one['account_name'])}: {one['error_type']}: {one['error_message'].rstrip('.')}"
        for one in outcome["failed"]
    ]
    more = outcome["accounts_failed"] - len(told)
    if told:
        sentences.append(f"Failed: {'; '.join(told)}{f'; and {more} more' if more > 0 else ''}.")
    if outcome["unannounced"] is not None:
        sentences.append(f"Their events are not on the bus: {outcome['unannounced'].rstrip('.')}.")
    return sentences


def _name(account_name: str | None) -> str:
    return f" ({account_name})" if account_name else ""
