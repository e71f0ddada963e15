"""The five metrics of an attempt, and the log line that goes with them.

EmitMetrics emits them at the end of every attempt; CleanUp, and AcquireLock of a later attempt, for one whose
EmitMetrics did not come so far. They are emitted before that is noted: a crash between the two repeats them and never
loses them.
"""

from typing import Any

from aws_lambda_powertools.metrics import Metrics, MetricUnit

from functions.shared.model import Outcome
from functions.shared.run import Run
from functions.shared.step import logger
from functions.table.fence import Fence
from functions.table.manifest import Manifest, Status

NAMESPACE = "IAMUserMonitor"


def report(fence: Fence, run: Run, manifest: Manifest, outcome: Outcome, error: tuple[str, str] | None = None) -> bool:
    """Emit the metrics and the log line of an attempt that has ended, unless the manifest says that it was done.

    Parameters
    ----------
    run
        The attempt.
    error
        Name and message of the error that ended it, None where it came to its end.

    Returns
    -------
    Whether it was done now.
    """
    if run.attempt in manifest.reported:
        return False
    emit(outcome, run)
    log_end(outcome, error)
    fence.mark_reported(run)
    return True


def emit(outcome: Outcome, run: Run) -> None:
    """Print the metrics as one line of CloudWatch's embedded metric format, without dimensions."""
    metrics = Metrics(namespace=NAMESPACE)
    metrics.add_metric("UsersScanned", MetricUnit.Count, outcome["users_scanned"])
    metrics.add_metric("RecordsWritten", MetricUnit.Count, outcome["records_written"])
    metrics.add_metric("Errors", MetricUnit.Count, errors_of(outcome))
    metrics.add_metric("Duration", MetricUnit.Milliseconds, outcome["duration_ms"])
    metrics.add_metric("Success", MetricUnit.NoUnit, int(outcome["status"] == Status.COMPLETE))
    metrics.add_metadata("execution_arn", run.execution_arn)
    metrics.add_metadata("account_id", run.account_id)
    metrics.add_metadata("scan_timestamp", run.scan_timestamp)
    metrics.flush_metrics()


def errors_of(outcome: Outcome) -> int:
    """Return what the metric Errors counts: users without a record, and an attempt that failed as one more.

    So the alarm on it sees every failure. The manifest tells the two apart, by ``errors`` and by its status.
    """
    return outcome["errors"] + int(outcome["status"] not in {Status.COMPLETE, Status.INCOMPLETE})


def log_end(outcome: Outcome, error: tuple[str, str] | None) -> None:
    """Write the log line that says how the attempt ended."""
    facts: dict[str, Any] = {
        "total_users": outcome["users_scanned"],
        "records_written": outcome["records_written"],
        "errors": errors_of(outcome),
        "duration_seconds": outcome["duration_ms"] / 1000,
    }
    if error is not None:
        logger.error("Scan failed", error_type=error[0], error_message=error[1], **facts)
    elif outcome["status"] == Status.INCOMPLETE:
        logger.warning("Scan completed with errors", **facts)
    else:
        logger.info("Scan completed successfully", **facts)
