"""What of an answer is shown, in which columns, and in which words."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from functions.cli import executions
from functions.cli.deployment import Deployment
from functions.cli.output import Columns, Shown
from functions.cli.posture import POSTURE, of_record
from functions.cli.words import account_of, account_of_scan, duration
from functions.shared import timestamps
from functions.shared.events import of_detection
from functions.table.announcement import Announcement
from functions.table.changes import aligned
from functions.table.diff import RECREATED, Diff
from functions.table.gaps import Gap
from functions.table.history import UNCHANGED, History
from functions.table.manifest import Status
from functions.table.record import ATTRIBUTES, ROOT
from functions.table.replay import Step
from functions.table.scans import RecordedScan
from functions.table.wire import Item

_RECORD = [attribute.name for attribute in ATTRIBUTES if attribute.name != "ttl"]
_SHOWN = ["path", "user_id", "create_date", "password_last_used", *POSTURE]
_SCAN = ["scan", "status", "users_scanned", "records_written", "errors", "attempt", "trigger", "duration_ms",
         "execution"]  # fmt: skip

SCAN_COLUMNS = Columns(_SCAN, [*_SCAN, "listed_from", "listed_until", "trusted", "execution_status", "error_type",
                               "error_message", "sections", "execution_arn", "account_id"])  # fmt: skip
GAP_COLUMNS = Columns(
    ["since", "until", "duration", "attempts"],
    ["since", "until", "duration", "expected", "before_scan", "after_scan", "attempts", "account_id"],
)
USER_COLUMNS = Columns(["user_name", *_SHOWN], _RECORD)
HISTORY_COLUMNS = Columns(
    ["scan_timestamp", "change", "attributes", "user_name", *_SHOWN],
    ["scan_timestamp", "change", "attributes", *(name for name in _RECORD if name != "scan_timestamp")],
)
DIFF_COLUMNS = Columns(
    ["user_name", "change", "attributes", "before", "after"],
    ["user_name", "user_id", "arn", "change", "attributes", "before", "after", "before_scan", "after_scan",
     "account_id"],
)  # fmt: skip
CHANGE_COLUMNS = Columns(
    ["scan_timestamp", "user_name", "change", "attributes", "before", "after", "findings", "announced"],
    ["scan_timestamp", "previous_scan_timestamp", "user_name", "user_id", "arn", "change", "attributes", "before",
     "after", "findings_opened", "findings_closed", "announced_at", "announced_scan_timestamp",
     "announced_previous_scan_timestamp", "event_id", "account_id"],
)  # fmt: skip


def of_all_accounts(columns: Columns) -> Columns:
    """Return the columns of an answer that is of several accounts."""

    def led(names: Sequence[str]) -> list[str]:
        return ["account_id", "account_name", *(name for name in names if name != "account_id")]

    return Columns(led(columns.table), led(columns.data))


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
            "account_id": account_of_scan(scan),
        }
        # A run that was stopped may have left its manifest RUNNING until CleanUp comes; usually it is the newest only.
        if scan.status is Status.RUNNING and asked < executions.ASKED_AT_MOST:
            asked += 1
            row["execution_status"] = ended = executions.status_of(deployment, arn)
            if ended != "RUNNING":
                row["status"] = Shown(scan.status, f"{scan.status} (execution {ended})")
        yield row


def of_gaps(gaps: Iterable[Gap], expected: timedelta) -> Iterator[dict[str, Any]]:
    """Yield the rows of gaps; durations are seconds for tools."""
    for gap in gaps:
        attempts = {scan.scan_timestamp: str(scan.status) for scan in gap.attempts}
        told = ", ".join(f"{count} {status}" for status, count in Counter(attempts.values()).items())
        yield {
            "since": timestamps.to_seconds(gap.since),
            "until": Shown(timestamps.to_seconds(gap.until), timestamps.to_seconds(gap.until) if gap.after else "now"),
            "duration": Shown(int(gap.duration.total_seconds()), duration(gap.duration)),
            "expected": int(expected.total_seconds()),
            "before_scan": gap.before.scan_timestamp,
            "after_scan": gap.after.scan_timestamp if gap.after is not None else None,
            "attempts": Shown(attempts, told or "none"),
            "account_id": account_of_scan(gap.before),
        }


def of_user(record: Item) -> dict[str, Any]:
    """Return the row of a user."""
    return {**record, **of_record(record), "account_id": account_of(record["arn"])}


def of_history(found: History, everything: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of a history: those with a change, or every scan."""
    account = next((account_of(event.record["arn"]) for event in found.events if event.record is not None), None)
    for event in found.events:
        if not everything and event.change == UNCHANGED:
            continue
        yield {
            **({**event.record, **of_record(event.record)} if event.record is not None else {}),
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
            "before": _evidence(change.before, change.before, change.attributes),
            "after": _evidence(change.after, _in_slots_of(change.before, change.after), change.attributes),
            "before_scan": found.before.scan_timestamp,
            "after_scan": found.after.scan_timestamp,
            "account_id": account_of(str(last.get("arn", ""))),
        }


def of_step(step: Step) -> Iterator[dict[str, Any]]:
    """Yield the rows of what a scan has to say."""
    detection, scan = step.telling.detection, step.scan
    events = of_detection(detection, scan, step.previous.scan_timestamp)
    for change, event in zip(detection.changes, events, strict=False):
        entry = detection.picture.users.get(change.user_id or ROOT)
        announcement = step.announcement_of(change)
        before, after = change.before, change.after
        # What differs has its keys in the slots in which they were; who was created anew has slots of its own.
        aligned_after = _in_slots_of(before, after) if change.change == RECREATED else after
        yield {
            "scan_timestamp": scan.scan_timestamp,
            "previous_scan_timestamp": step.previous.scan_timestamp,
            "user_name": change.user_name,
            "user_id": change.user_id,
            "arn": (entry.known.facts(whole=False) if entry is not None else before or {}).get("arn"),
            "change": change.change,
            "attributes": list(change.attributes) or None,
            "before": _evidence(before, before, change.attributes),
            "after": _evidence(after, aligned_after, change.attributes),
            "findings": ", ".join([*(f"+{name}" for name in change.opened), *(f"-{name}" for name in change.closed)]),
            "findings_opened": list(change.opened) or None,
            "findings_closed": list(change.closed) or None,
            "announced": _announced(step, announcement),
            "announced_at": announcement.announced_at if announcement is not None else None,
            "announced_scan_timestamp": announcement.scan_timestamp if announcement is not None else None,
            "announced_previous_scan_timestamp": announcement.previous if announcement is not None else None,
            "event_id": event.detail["id"] if announcement is not None and step.told_by_itself else None,
            "account_id": account_of_scan(scan),
        }


def _announced(step: Step, announcement: Announcement | None) -> str:
    if announcement is None:
        return "no"
    if step.told_by_itself:
        return timestamps.to_seconds(timestamps.parse(announcement.announced_at))
    return f"since {announcement.previous}, with {announcement.scan_timestamp}"


def _evidence(record: Item | None, shown: Item | None, attributes: Iterable[str]) -> Shown | None:
    """Return a record: whole and as it is for tools, and for people what differs."""
    if record is None or shown is None:
        return None
    return Shown(
        {name: record[name] for name in _RECORD if name in record},
        ", ".join(_words(shown.get(name)) for name in attributes),
    )


def _in_slots_of(before: Item | None, after: Item | None) -> Item | None:
    return aligned(before, after) if before is not None and after is not None else after


def _words(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)
