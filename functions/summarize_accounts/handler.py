"""SummarizeAccounts: say what became of the accounts, in the fleet's manifest, as metrics, as events and as a log line.

What an account's scan has come to stands in its own manifest, which is read for each of them: what the Map of the state
machine knows is only a hint at why there is none. It runs on success and on failure alike, so after an early failure
most of the state data is absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from aws_lambda_powertools.metrics import Metrics, MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from functions.shared import clients, configuration, events, timestamps
from functions.shared.bus import Bus
from functions.shared.causes import MAX_MESSAGE_LENGTH, describe
from functions.shared.errors import MonitorError, error_code, named
from functions.shared.metrics import NAMESPACE
from functions.shared.model import AccountResult, FleetOutcome, FleetState, FleetSummary
from functions.shared.refusals import log_refusal
from functions.shared.run import Run, RunEvent
from functions.shared.step import logger, step, working_seconds
from functions.table.fence import Fence, ForeignManifest
from functions.table.fleet import FailedAccount, Fleet, FleetAccount, failures_of, scans_of, summary_of
from functions.table.manifest import Manifest, Status

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

MAX_DESCRIBED = 100
"""Of so many accounts without a manifest, Step Functions is asked what became of their executions."""


class Event(TypedDict):
    """What the state SummarizeAccounts sends."""

    run: RunEvent
    state: FleetState
    scan_executions: str
    """What the ARNs of the accounts' executions begin with, up to the colon."""


@step("SummarizeAccounts")
def handler(event: Event, context: LambdaContext) -> FleetSummary:
    """Handle one invocation by the state machine."""
    bus = (
        Bus(clients.events(), configuration.event_bus_name(), working_seconds(context) / 2, log_refusal)
        if configuration.change_events_enabled()
        else None
    )
    return summarize_accounts(
        event["state"],
        Run.of(event).of_fleet(),
        fence=Fence(clients.dynamodb(), configuration.table_name()),
        stepfunctions=clients.stepfunctions(),
        bus=bus,
        scan_executions=event["scan_executions"],
        retention_days=configuration.retention_days(),
    )


def summarize_accounts(
    state: FleetState,
    run: Run,
    *,
    fence: Fence,
    stepfunctions: "SFNClient",
    bus: Bus | None,
    scan_executions: str,
    retention_days: int,
) -> FleetSummary:
    """Record what became of the accounts, then tell it. Safe to run twice, and late.

    Metrics and events are sent at least once: a retry does it where its first try did not come so far.

    Parameters
    ----------
    bus
        Where it is told which accounts failed, None where nothing is announced.
    scan_executions
        What the ARNs of the accounts' executions begin with.

    Returns
    -------
    The summary, by which the state machine decides between OrganizationScanned and FailOrganization.

    Raises
    ------
    Superseded
        This call is a late one: a newer attempt has begun.
    """
    now = timestamps.now()
    failure = describe(state["error"]) if "error" in state else None

    def finish(run: Run) -> tuple[Run, Fleet]:
        known = fence.load(run)
        outcome = _outcome(state, run, known, Causes(state, scan_executions, stepfunctions), fence)
        outcome["duration_ms"] = max(0, (now - _started_at(state, run, stepfunctions)) // timedelta(milliseconds=1))
        manifest, recorded = fence.finish(run, outcome, ended_at=now, error=failure, retention_days=retention_days)
        if not recorded and manifest.status is not Status.COMPLETE:
            newest = run.newest(stepfunctions)
            if newest is not run:
                # Recorded by CleanUp, for the attempt before: this run was redriven, and was told so late.
                return finish(newest)
        return run, Fleet.of(manifest)

    try:
        run, fleet = run.fenced(stepfunctions, finish)
    except ForeignManifest as foreign:
        # This run failed before it could see that another one scans. Its failure still counts.
        logger.warning("The manifest is another execution's and stays as it is", owner=str(foreign))
        return _nothing(run)
    logger.append_keys(attempt=run.attempt)
    if fleet.status is Status.SKIPPED:
        return _nothing(run)  # a retry of ListAccounts failed that had nothing to do
    unannounced = None
    if run.attempt not in fleet.manifest.reported:
        emit(fleet, run)
        unannounced = _announce(fleet, bus) if "scan" in state else None
        if unannounced is None:
            fence.mark_reported(run)
    return {**summary_of(fleet, unannounced=unannounced), "attempt": run.attempt}


@dataclass(frozen=True)
class Causes:
    """Why accounts have no manifest: what the Map knows, and what Step Functions does."""

    state: FleetState
    scan_executions: str
    stepfunctions: "SFNClient"
    _asked: list[str] = field(default_factory=list)

    def of(self, account: FleetAccount) -> tuple[str, str]:
        """Return name and message of what kept an account's scan from being recorded."""
        hint = self._hints.get(account.account_id)
        if "children" in self.state and len(self._asked) < MAX_DESCRIBED:
            self._asked.append(account.account_id)
            told = self._described(f"{self.scan_executions}:{account.account_id}-{self.state['children']}")
            if told is not None:
                return told
        if hint is not None:
            return hint, "its scan was not started; the iteration of ScanAccounts that was to start it has the cause"
        return "NotStarted", "its scan was not started"

    @property
    def _hints(self) -> Mapping[str, str]:
        results: list[AccountResult] = self.state.get("accounts", [])
        return {one["account_id"]: one["error"] for one in results if "error" in one and "account_id" in one}

    def _described(self, execution_arn: str) -> tuple[str, str] | None:
        """Return what ended an execution, or that it runs; None where there is none."""
        try:
            execution = self.stepfunctions.describe_execution(executionArn=execution_arn)
        except ClientError as error:
            if error_code(error) != "ExecutionDoesNotExist":
                logger.warning("Step Functions does not say what became of a scan", error_message=str(error))
            return None
        if execution["status"] == "RUNNING":
            return "StillRunning", "its scan has not ended, and has recorded nothing yet"
        name, message = describe({"Error": execution.get("error", ""), "Cause": execution.get("cause", "")})
        return (
            (name, message) if execution.get("error") else ("NotRecorded", f"its scan ended as {execution['status']}")
        )


def _outcome(state: FleetState, run: Run, known: Manifest | None, causes: Causes, fence: Fence) -> FleetOutcome:
    outcome = FleetOutcome(status=Status.FAILED.value, duration_ms=0, attempt=run.attempt)
    if known is None or "accounts" not in known.item or known.execution_arn != run.execution_arn:
        return outcome
    fleet = Fleet.of(known)
    scans = scans_of(fence.dynamodb, fence.table_name, fleet, run.own_account)
    failed = [
        FailedAccount(account.account_id, account.account_name, *reason)
        for account in fleet.accounts
        if (reason := _failure(scans.get(account.account_id)) if account.account_id in scans else causes.of(account))
    ]
    outcome["failed"] = failures_of(failed)
    outcome["accounts_failed"] = len(failed)
    outcome["accounts_scanned"] = len(fleet.accounts) - len(failed)
    if not failed:
        outcome["status"] = Status.COMPLETE.value
    elif "scan" in state:
        outcome["status"] = Status.INCOMPLETE.value
    return outcome


def _failure(scan: Manifest | None) -> tuple[str, str] | None:
    """Return name and message of why an account's scan is not complete; None where it is."""
    if scan is None or scan.status is Status.COMPLETE:
        return None
    if scan.error is not None:
        return scan.error
    match scan.status:
        case Status.INCOMPLETE:
            return "Incomplete", f"{scan.outcome['errors']} of its users have no record"
        case Status.RUNNING:
            return "StillRunning", "its scan has not ended, or nobody has recorded that"
    return scan.status.capitalize(), f"its scan {scan.execution_arn} is {scan.status}"


def _started_at(state: FleetState, run: Run, stepfunctions: "SFNClient") -> datetime:
    scan = state.get("scan")
    if scan is not None and scan["attempt"] == run.attempt:
        return timestamps.parse(scan["started_at"])
    return run.began_at(stepfunctions)


def emit(fleet: Fleet, run: Run) -> None:
    """Print the metrics of a fleet as one line of CloudWatch's embedded metric format, and its log line."""
    summary = summary_of(fleet)
    metrics = Metrics(namespace=NAMESPACE)
    metrics.add_metric("AccountsScanned", MetricUnit.Count, summary["accounts_scanned"])
    metrics.add_metric("AccountsFailed", MetricUnit.Count, summary["accounts_failed"])
    metrics.add_metadata("execution_arn", run.execution_arn)
    metrics.add_metadata("scan_timestamp", run.scan_timestamp)
    metrics.flush_metrics()
    facts: dict[str, Any] = {
        "accounts": summary["accounts"],
        "accounts_scanned": summary["accounts_scanned"],
        "accounts_failed": summary["accounts_failed"],
        "duration_seconds": summary["duration_ms"] / 1000,
    }
    for one in summary["failed"]:
        logger.warning(
            "Account failed",
            failed_account=one["account_id"],
            error_type=one["error_type"],
            error_message=one["error_message"],
        )
    if fleet.status is Status.COMPLETE:
        logger.info("Organization scan completed successfully", **facts)
    elif fleet.manifest.error is not None:
        name, message = fleet.manifest.error
        logger.error("Organization scan failed", error_type=name, error_message=message, **facts)
    else:
        logger.warning("Organization scan completed with errors", **facts)


def _announce(fleet: Fleet, bus: Bus | None) -> str | None:
    """Put an event for each account that failed on the bus; return why not, where that failed.

    An account that failed must not be hidden by the bus: what went wrong is told by the cause of the run instead.
    """
    if bus is None:
        return None
    try:
        _, refused = bus.send(events.of_failed_account(one, fleet) for one in fleet.failed)
    except (ClientError, MonitorError) as error:
        told = (named(error) if isinstance(error, ClientError) else None) or error
        reason = f"{type(told).__name__}: {told}"[:MAX_MESSAGE_LENGTH]
        logger.error("Accounts that failed are not announced", error_type=type(told).__name__, error_message=str(told))
        return reason
    return f"EventBridge will never take {refused} of them; the log of SummarizeAccounts has why" if refused else None


def _nothing(run: Run) -> FleetSummary:
    """Return the summary of an attempt that has failed, and has no manifest of its own."""
    return FleetSummary(
        status=Status.FAILED.value,
        attempt=run.attempt,
        accounts=0,
        accounts_scanned=0,
        accounts_failed=0,
        duration_ms=0,
        failed=[],
        unannounced=None,
    )
