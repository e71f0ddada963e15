"""EmitMetrics: say what became of the attempt, as metrics, as a log line, and in the manifest.

It runs on success and on failure alike, so after an early failure most of the state data is absent.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.shared import clients, configuration, metrics, timestamps
from functions.shared.causes import describe
from functions.shared.manifest import ForeignManifest, Manifest, Manifests, Status
from functions.shared.model import Outcome, State, first_cursor
from functions.shared.step import logger, step


class Event(TypedDict):
    """What the state EmitMetrics sends."""

    execution_arn: str
    started_at: str
    state: State


@dataclass(frozen=True)
class Settings:
    """The function's configuration."""

    table_name: str
    retention_days: int

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read DYNAMODB_TABLE_NAME and RETENTION_DAYS."""
        return cls(configuration.table_name(), configuration.retention_days())


@step("EmitMetrics")
def handler(event: Event, context: LambdaContext) -> Outcome:
    """Handle one invocation by the state machine."""
    settings = Settings.from_environment()
    return emit_metrics(
        event,
        manifests=Manifests(clients.dynamodb(), settings.table_name),
        retention_days=settings.retention_days,
        now=timestamps.now(),
    )


def emit_metrics(event: Event, *, manifests: Manifests, retention_days: int, now: datetime) -> Outcome:
    """Record the attempt's result in the manifest, then emit the metrics and the completion log line.

    The manifest remembers for which attempt this was done. A retry after a lost response therefore emits nothing a
    second time.

    Returns
    -------
    The outcome, by which the state machine decides between ScanSucceeded and FailScan.
    """
    state = event["state"]
    execution_started_at = timestamps.parse(event["started_at"])
    scan_timestamp = timestamps.to_seconds(execution_started_at)
    manifest = manifests.load(scan_timestamp)
    if manifest is not None and manifest.execution_arn != event["execution_arn"]:
        manifest = None
    attempt = _attempt(state, manifest)
    started_at = _started_at(state, manifest, attempt, execution_started_at, now)
    logger.append_keys(scan_timestamp=scan_timestamp, attempt=attempt)

    error = describe(state["error"]) if "error" in state else None
    outcome = _outcome(state, duration_ms=int((now - started_at).total_seconds() * 1000))
    result: dict[str, Any] = {**outcome, "finished_at": timestamps.to_milliseconds(now)}
    if error is not None:
        result["error_type"], result["error_message"] = error
    try:
        first = manifests.finish(
            scan_timestamp=scan_timestamp,
            execution_arn=event["execution_arn"],
            attempt=attempt,
            finished_by="EmitMetrics",
            retention_days=retention_days,
            started_at=timestamps.to_milliseconds(execution_started_at),
            result=result,
        )
    except ForeignManifest as foreign:
        # This run failed before it could see that another one had its scan. Its failure still counts.
        logger.warning("The manifest is another execution's and stays as it is", error_message=str(foreign))
        first = True
    if first:
        metrics.emit(outcome, execution_arn=event["execution_arn"], scan_timestamp=scan_timestamp)
        metrics.log_end(outcome, error)
    return outcome


def _attempt(state: State, manifest: Manifest | None) -> int:
    """Return the attempt that ends here."""
    scan = state.get("scan")
    if manifest is None:
        return scan["attempt"] if scan is not None else 1
    if manifest.finished_by == "CleanUp":
        # Stopped in the middle and recorded so, yet it runs: it was redriven past AcquireLock.
        return manifest.current_attempt
    if scan is not None:
        return scan["attempt"]
    # AcquireLock failed. FailScan opens each further attempt in the manifest, so the number is there.
    return manifest.attempt


def _started_at(
    state: State, manifest: Manifest | None, attempt: int, execution_started_at: datetime, now: datetime
) -> datetime:
    """Return when the attempt that ends here began."""
    scan = state.get("scan")
    if scan is not None and scan["attempt"] == attempt:
        return timestamps.parse(scan["started_at"])
    if manifest is not None and manifest.attempt == attempt and "attempt_started_at" in manifest.item:
        return timestamps.parse(manifest.item["attempt_started_at"])
    return execution_started_at if attempt == 1 else now


def _outcome(state: State, duration_ms: int) -> Outcome:
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
        # The error that ended a failed attempt counts as one, so that the alarm on Errors sees every failure.
        errors=cursor["errors"] + int(status is Status.FAILED),
        duration_ms=duration_ms,
    )
