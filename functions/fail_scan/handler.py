"""FailScan: end the run as FAILED with its original error, once per attempt; when redriven, let it go on.

Step Functions re-enters a Fail state on redrive and fails again, so the run ends in a Task instead. This Task has no
Retry: its error is the result.
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
    LockLost,
    ScanFailed,
    TableThrottled,
)
from functions.shared.model import State
from functions.shared.run import Run, RunEvent
from functions.shared.step import logger, step
from functions.table.manifest import Status

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient


class Event(TypedDict):
    """What the state FailScan sends."""

    run: RunEvent
    state: State


class Redriven(TypedDict):
    """The run goes on with this attempt, at AcquireLock."""

    attempt: int


@step("FailScan")
def handler(event: Event, context: LambdaContext) -> Redriven:
    """Handle one invocation by the state machine."""
    return fail_scan(event["state"], Run.of(event), stepfunctions=clients.stepfunctions())


def fail_scan(state: State, run: Run, *, stepfunctions: "SFNClient") -> Redriven:
    """End the attempt that failed; return where the run is at a newer one by now, which only a redrive can bring about.

    Which attempt failed stands in the state data, so that neither a table that cannot be reached keeps a redriven run
    from going on, nor a run goes round in circles.

    Raises
    ------
    ScanFailed
        The attempt failed. The message tells which error it was, how far the scan got, and what a redrive does.
    """
    failed_attempt = _failed_attempt(state)
    if run.attempt <= failed_attempt:
        try:
            if "scan" not in state:
                run = run.described_by(stepfunctions.describe_execution(executionArn=run.execution_arn))
            run = run.newest(stepfunctions)
        except (ClientError, BotoCoreError) as error:
            # The original error must not be hidden by this one.
            logger.warning("Step Functions does not say whether the run was redriven", error_message=str(error))
    if run.attempt <= failed_attempt:
        raise ScanFailed(f"{_scan_of(run)} failed: {story(state)} {_what_next(state)}")
    logger.append_keys(attempt=run.attempt)
    logger.info("Redriven: the scan resumes")
    return Redriven(attempt=run.attempt)


def _scan_of(run: Run) -> str:
    """Name the scan; its account only where that is not the one of the console that shows it."""
    return f"scan {run.scan_timestamp}" + (f" of account {run.account_id}" if run.member is not None else "")


_RESUME = "redrive this execution to resume the scan at its checkpoint."
_ADVICE = {
    InvalidInput.__name__: "Start a new execution with another input: a redrive keeps this one.",
    InvalidConfiguration.__name__: f"Deploy again, which sets the environment of the functions, then {_RESUME}",
    AccessDenied.__name__: f"Grant what is missing, then {_RESUME}",
    **dict.fromkeys((LockHeld.__name__, LockLost.__name__), f"When that one has ended, {_RESUME}"),
    TableThrottled.__name__: (
        "Redrive this execution to resume the scan with this page when the table takes writes again: see "
        "WriteThrottleEvents of the table and its index, their maximum throughput, and what else writes to them."
    ),
}


_COMPLETE = (
    "The scan is COMPLETE all the same: every user is recorded, and the next scan runs when the lock is free. "
    "Redriven, this execution only announces what changed, if it has not, and frees the lock."
)


def _what_next(state: State) -> str:
    error = state["error"].get("Error", "") if "error" in state else ""
    if "error" not in state and state.get("outcome", {}).get("status") == Status.COMPLETE:
        return _COMPLETE
    return _ADVICE.get(error, _RESUME.capitalize())


def _failed_attempt(state: State) -> int:
    """Return the attempt that brought the run here, as the last step knew it that said so."""
    return max(
        state["scan"]["attempt"] if "scan" in state else 0,
        state["outcome"]["attempt"] if "outcome" in state else 0,
        state.get("redrive_count", 0) + 1,
    )


def story(state: State) -> str:
    """Return in sentences what went wrong and how far the attempt got, for the execution's cause."""
    sentences = []
    cursor = state.get("cursor")
    if "error" in state:
        name, text = describe(state["error"])
        sentences.append(f"{name}: {text.rstrip('.')}.")
    if cursor is not None and cursor["errors"] > 0:
        have = "has" if cursor["errors"] == 1 else "have"
        sentences.append(
            f"{_counted(cursor['errors'], 'user')} {have} no record; "
            "the WriteBatch iterations and their log lines say why."
        )
    # A failure of the finally path is told after the original one, never instead of it.
    if "emit_metrics_error" in state:
        name, text = describe(state["emit_metrics_error"])
        sentences.append(f"EmitMetrics failed with {name}: {text.rstrip('.')}.")
    if "release_lock_error" in state:
        name, text = describe(state["release_lock_error"])
        sentences.append(
            f"ReleaseLock failed with {name}: {text.rstrip('.')}. The lock frees itself when its lease ends."
        )
    if cursor is None:
        sentences.append("No user was listed.")
    else:
        sentences.append(
            f"{_counted(cursor['users_scanned'], 'user')} scanned, "
            f"{_counted(cursor['records_written'], 'record')} written in {_counted(cursor['page'], 'page')}."
        )
    return " ".join(sentences)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
