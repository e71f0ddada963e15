"""EmitMetrics: say what became of the attempt, in the manifest, as metrics, and as a log line.

It runs on success and on failure alike, so after an early failure most of the state data is absent.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.shared import clients, configuration, metrics, timestamps
from functions.shared.causes import describe
from functions.shared.model import Chunks, Outcome, Posture, Section, State, first_cursor
from functions.shared.run import Run, RunEvent
from functions.shared.step import logger, step
from functions.table.fence import Fence, ForeignManifest
from functions.table.manifest import Manifest, Status
from functions.table.wire import Item

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient


class Event(TypedDict):
    """What the state EmitMetrics sends."""

    run: RunEvent
    state: State


@step("EmitMetrics")
def handler(event: Event, context: LambdaContext) -> Outcome:
    """Handle one invocation by the state machine."""
    return emit_metrics(
        event["state"],
        Run.of(event),
        fence=Fence(clients.dynamodb(), configuration.table_name()),
        stepfunctions=clients.stepfunctions(),
        retention_days=configuration.retention_days(),
        wanted_sections=configuration.wanted_sections(),
        publishes=configuration.change_events_enabled(),
    )


def emit_metrics(
    state: State,
    run: Run,
    *,
    fence: Fence,
    stepfunctions: "SFNClient",
    retention_days: int,
    wanted_sections: Collection[str],
    publishes: bool,
) -> Outcome:
    """Record the attempt's result in the manifest, then emit its metrics and its log line. Safe to run twice, and late.

    The metrics are emitted at least once: a retry does it where its first try did not come so far.

    Parameters
    ----------
    wanted_sections
        The sources of the users' posture that scans read.
    publishes
        Whether the changes of complete scans are to be published. It is noted in the manifest: what a scan is told to
        announce does not depend on what is switched on when that is made good later.

    Returns
    -------
    The outcome, by which the state machine decides whether to publish changes, and between ScanSucceeded and FailScan.

    Raises
    ------
    Superseded
        This call is a late one: a newer attempt has begun.
    """
    now = timestamps.now()
    failure = describe(state["error"]) if "error" in state else None
    if "scan" not in state:
        # AcquireLock has failed, and told nothing of what was asked for.
        run = run.described_by(stepfunctions.describe_execution(executionArn=run.execution_arn))
        logger.append_keys(account_id=run.account_id, scan_timestamp=run.scan_timestamp)

    def finish(run: Run) -> tuple[Run, Manifest, Outcome, tuple[str, str] | None]:
        outcome = _outcome(state, run.attempt, now - _started_at(state, run, stepfunctions), publishes=publishes)
        manifest, recorded = fence.finish(
            run,
            outcome,
            ended_at=now,
            error=failure,
            retention_days=retention_days,
            posture=_posture_of(state["posture"], wanted_sections) if "posture" in state else None,
        )
        if recorded:
            return run, manifest, outcome, failure
        if manifest.status is not Status.COMPLETE and (newest := run.newest(stepfunctions)) is not run:
            # Recorded by CleanUp, for the attempt before: this run was redriven, and was told so late.
            return finish(newest)
        if failure is not None and (manifest.attempt != run.attempt or manifest.status is Status.SKIPPED):
            return run, manifest, outcome, failure  # the scan stays what it is, this attempt has failed
        return run, manifest, {**manifest.outcome, "attempt": run.attempt}, manifest.error

    try:
        run, manifest, outcome, error = run.fenced(stepfunctions, finish)
    except ForeignManifest as foreign:
        # This run failed before it could see that another one had its scan. Its failure still counts.
        logger.warning("The manifest is another execution's and stays as it is", owner=str(foreign))
        outcome = _outcome(state, run.attempt, now - run.started_at, publishes=False)
        metrics.emit(outcome, run)
        metrics.log_end(outcome, failure)
        return outcome
    logger.append_keys(attempt=run.attempt)
    metrics.report(fence, run, manifest, outcome, error)
    return outcome


def _posture_of(posture: Posture, wanted: Collection[str]) -> Item:
    """Return what the manifest says of the posture: its sections, the root user where known, and where it is kept."""
    sections: Any = posture["sections"]
    if "error" in posture:
        # ReadPosture failed: the state machine knows the name of the error only, not the message in its cause,
        # nor what is switched off.
        _, message = describe(posture["error"])
        sections = {
            name: {**section, "error_message": message} if name in wanted else Section(state="OFF")
            for name, section in sections.items()
        }
    kept = Chunks(id=posture["id"], chunks=posture["chunks"]) if posture["id"] is not None else None
    return {"sections": sections, "root": posture["root"], "posture": kept}


def _started_at(state: State, run: Run, stepfunctions: "SFNClient") -> datetime:
    scan = state.get("scan")
    if scan is not None and scan["attempt"] == run.attempt:
        return timestamps.parse(scan["started_at"])
    return run.began_at(stepfunctions)


def _outcome(state: State, attempt: int, duration: timedelta, *, publishes: bool) -> Outcome:
    cursor = state.get("cursor") or first_cursor()
    if "error" in state:
        status = Status.FAILED
    elif cursor["errors"] > 0:
        status = Status.INCOMPLETE
    else:
        status = Status.COMPLETE
    return Outcome(
        status=status.value,
        users_scanned=cursor["users_scanned"],
        records_written=cursor["records_written"],
        errors=cursor["errors"],
        duration_ms=max(0, duration // timedelta(milliseconds=1)),
        attempt=attempt,
        publish=publishes and status is Status.COMPLETE,
    )
