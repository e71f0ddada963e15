"""What of an answer is shown, in which columns, and in which words."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from functions.cli import executions
from functions.cli.deployment import Deployment
from functions.cli.output import Columns, Shown
from functions.shared import timestamps
from functions.table.diff import Diff
from functions.table.history import UNCHANGED, History
from functions.table.manifest import Status
from functions.table.record import ATTRIBUTES, LISTING
from functions.table.scans import RecordedScan
from functions.table.wire import Item

_RECORD = [attribute.name for attribute in ATTRIBUTES if attribute.name not in {"account_id", "ttl"}]
_SHOWN = [attribute.name for attribute in ATTRIBUTES if attribute.section == LISTING]
_SCAN = ["scan", "status", "users_scanned", "records_written", "errors", "attempt", "trigger", "duration_ms",
         "execution"]  # fmt: skip

SCAN_COLUMNS = Columns(_SCAN, [*_SCAN, "listed_from", "listed_until", "trusted", "execution_status", "error_type",
                               "error_message", "execution_arn", "account_id"])  # fmt: skip
USER_COLUMNS = Columns(_SHOWN, [*_RECORD, "account_id"])
HISTORY_COLUMNS = Columns(
    ["scan_timestamp", "change", "attributes", *_SHOWN],
    ["scan_timestamp", "change", "attributes", *(name for name in _RECORD if name != "scan_timestamp"), "account_id"],
)
DIFF_COLUMNS = Columns(
    ["user_name", "change", "attributes", "before", "after"],
    ["user_name", "user_id", "arn", "change", "attributes", "before", "after", "before_scan", "after_scan",
     "account_id"],
)  # fmt: skip


def of_scans(deployment: Deployment, scans: Iterable[RecordedScan]) -> Iterator[dict[str, Any]]:
    """Yield the rows of scans. Where a manifest says RUNNING, Step Functions is asked whether that is so."""
    asked = 0
    for scan in scans:
        item, arn = scan.manifest.item, scan.manifest.execution_arn
        row: dict[str, Any] = {
            **item,
            "scan": scan.scan_timestamp,
            "execution": arn.rpartition(":")[2],
            "trusted": scan.trusted,
            "account_id": _account_of(arn),
        }
        # A run that was stopped may have left its manifest RUNNING until CleanUp comes; usually it is the newest only.
        if scan.status is Status.RUNNING and asked < executions.ASKED_AT_MOST:
            asked += 1
            row["execution_status"] = ended = executions.status_of(deployment, arn)
            if ended != "RUNNING":
                row["status"] = Shown(scan.status, f"{scan.status} (execution {ended})")
        yield row


def of_user(record: Item) -> dict[str, Any]:
    """Return the row of a user."""
    return {**record, "account_id": _account_of(record["arn"])}


def of_history(found: History, everything: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of a history: those with a change, or every scan."""
    account = next((_account_of(event.record["arn"]) for event in found.events if event.record is not None), None)
    for event in found.events:
        if not everything and event.change == UNCHANGED:
            continue
        yield {
            **(event.record or {}),
            "scan_timestamp": event.scan_timestamp,
            "user_name": event.user_name,
            "user_id": event.user_id,
            "change": event.change,
            "attributes": list(event.attributes) or None,
            "account_id": account,
        }


def of_diff(found: Diff) -> Iterator[dict[str, Any]]:
    """Yield the rows of a diff."""
    for change in found.changes:
        last = change.after or change.before or {}
        yield {
            "user_name": change.user_name,
            "user_id": change.user_id,
            "arn": last.get("arn"),
            "change": change.change,
            "attributes": list(change.attributes) or None,
            "before": _evidence(change.before, change.attributes),
            "after": _evidence(change.after, change.attributes),
            "before_scan": found.before.scan_timestamp,
            "after_scan": found.after.scan_timestamp,
            "account_id": _account_of(str(last.get("arn", ""))),
        }


def _evidence(record: Item | None, attributes: Iterable[str]) -> Shown | None:
    """Return a record: whole for tools, and for people what differs."""
    if record is None:
        return None
    return Shown(
        {name: record[name] for name in _RECORD if name in record},
        ", ".join(str(record.get(name, "none")) for name in attributes),
    )


def _account_of(arn: str) -> str:
    parts = arn.split(":")
    return parts[4] if len(parts) > 4 else ""


def span(scan: RecordedScan) -> str:
    """Say when a scan listed."""
    if scan.listed_from is None or scan.listed_until is None:
        return "has not listed"
    begin, end = timestamps.to_seconds(scan.listed_from), timestamps.to_seconds(scan.listed_until)
    return f"listed {begin} to {end}"


def age(asked: datetime, scan: RecordedScan) -> str:
    """Say how much older a scan is than the moment that is asked for."""
    minutes, seconds = divmod(max(0, int((asked - scan.listing[1]).total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [
        f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")) if number
    ]
    return f"{' '.join(parts[:2]) or '0 s'} before {timestamps.to_seconds(asked)}"


def number(count: int, noun: str) -> str:
    """Say how many."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
