"""FailScan: end the run as FAILED with its original error, once per attempt; when redriven, let it go on.

Step Functions re-enters a Fail state on redrive and fails again, so the run ends in a Task instead. This Task has no
Retry: its error is the result.
"""

from dataclasses import dataclass
from typing import TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from functions.shared import clients, configuration, timestamps
from functions.shared.causes import describe
from functions.shared.errors import ScanFailed
from functions.shared.manifest import ForeignManifest, Manifests
from functions.shared.model import State
from functions.shared.step import logger, step


class Event(TypedDict):
    """What the state FailScan sends."""

    execution_arn: str
    started_at: str
    state: State


class Redriven(TypedDict):
    """The run goes on with this attempt, at AcquireLock."""

    attempt: int


@dataclass(frozen=True)
class Settings:
    """The function's configuration."""

    table_name: str
    retention_days: int

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read DYNAMODB_TABLE_NAME and RETENTION_DAYS."""
        return cls(configuration.table_name(), configuration.retention_days())


@step("FailScan")
def handler(event: Event, context: LambdaContext) -> Redriven:
    """Handle one invocation by the state machine."""
    settings = Settings.from_environment()
    return fail_scan(
        event,
        manifests=Manifests(clients.dynamodb(), settings.table_name),
        retention_days=settings.retention_days,
    )


def fail_scan(event: Event, *, manifests: Manifests, retention_days: int) -> Redriven:
    """End the attempt, or return when this attempt was ended before, which only a redrive can bring about.

    Raises
    ------
    ScanFailed
        The attempt failed. The message tells which error it was, how far the scan got, and what a redrive does.
    """
    started_at = timestamps.parse(event["started_at"])
    scan_timestamp = timestamps.to_seconds(started_at)
    message = f"scan {scan_timestamp} failed: {story(event['state'])}"
    try:
        attempt = manifests.note_failure(
            scan_timestamp=scan_timestamp,
            execution_arn=event["execution_arn"],
            started_at=timestamps.to_milliseconds(started_at),
            retention_days=retention_days,
        )
    except (ClientError, BotoCoreError, ForeignManifest) as error:
        # The original error must not be hidden by this one.
        raise ScanFailed(
            f"{message} The manifest could not note this ({error}), so the first redrive will end here once more."
        ) from error
    if attempt is None:
        raise ScanFailed(f"{message} Redrive this execution to resume the scan at its checkpoint.")
    logger.info("Redriven: the scan resumes", scan_timestamp=scan_timestamp, attempt=attempt)
    return Redriven(attempt=attempt)


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
