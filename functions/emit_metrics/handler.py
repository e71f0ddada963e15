"""EmitMetrics: say what became of the attempt, as metrics, as a log line, and in the manifest.

It runs on success and on failure alike, so after an early failure most of the state data is absent.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from aws_lambda_powertools.metrics import Metrics, MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.shared import clients, configuration, timestamps
from functions.shared.causes import describe
from functions.shared.manifest import ForeignManifest, Manifests, Status
from functions.shared.model import Outcome, State, first_cursor
from functions.shared.step import logger, step

NAMESPACE = "IAMUserMonitor"


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
        """Read TABLE_NAME and RETENTION_DAYS."""
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
    scan = state.get("scan")
    if scan is not None:
        attempt, started_at = scan["attempt"], timestamps.parse(scan["started_at"])
    else:
        # AcquireLock failed. FailScan opens each further attempt in the manifest, so the number is there.
        manifest = manifests.load(scan_timestamp)
        known = manifest is not None and manifest.execution_arn == event["execution_arn"]
        attempt = manifest.attempt if manifest is not None and known else 1
        started_at = execution_started_at if attempt == 1 else now
    logger.append_keys(scan_timestamp=scan_timestamp, attempt=attempt)

    outcome = _outcome(state, duration_ms=int((now - started_at).total_seconds() * 1000))
    result: dict[str, Any] = {**outcome, "finished_at": timestamps.to_milliseconds(now)}
    if "error" in state:
        result["error_type"], result["error_message"] = describe(state["error"])
    try:
        first = manifests.finish(
            scan_timestamp=scan_timestamp,
            execution_arn=event["execution_arn"],
            attempt=attempt,
            retention_days=retention_days,
            started_at=timestamps.to_milliseconds(execution_started_at),
            result=result,
        )
    except ForeignManifest as error:
        # This run failed before it could see that another one had its scan. Its failure still counts.
        logger.warning("The manifest is another execution's and stays as it is", error_message=str(error))
        first = True
    if first:
        _emit(outcome, execution_arn=event["execution_arn"], scan_timestamp=scan_timestamp)
        _log(outcome, state)
    return outcome


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


def _emit(outcome: Outcome, *, execution_arn: str, scan_timestamp: str) -> None:
    """Print the five metrics as one line of CloudWatch's embedded metric format, without dimensions."""
    metrics = Metrics(namespace=NAMESPACE)
    metrics.add_metric("UsersScanned", MetricUnit.Count, outcome["users_scanned"])
    metrics.add_metric("RecordsWritten", MetricUnit.Count, outcome["records_written"])
    metrics.add_metric("Errors", MetricUnit.Count, outcome["errors"])
    metrics.add_metric("Duration", MetricUnit.Milliseconds, outcome["duration_ms"])
    metrics.add_metric("Success", MetricUnit.NoUnit, int(outcome["status"] == Status.COMPLETE))
    metrics.add_metadata("execution_arn", execution_arn)
    metrics.add_metadata("scan_timestamp", scan_timestamp)
    metrics.flush_metrics()


def _log(outcome: Outcome, state: State) -> None:
    facts: dict[str, Any] = {
        "total_users": outcome["users_scanned"],
        "records_written": outcome["records_written"],
        "errors": outcome["errors"],
        "duration_seconds": outcome["duration_ms"] / 1000,
    }
    if "error" in state:
        error_type, error_message = describe(state["error"])
        logger.error("Scan failed", error_type=error_type, error_message=error_message, **facts)
    elif outcome["status"] == Status.INCOMPLETE:
        logger.warning("Scan completed with errors", **facts)
    else:
        logger.info("Scan completed successfully", **facts)
