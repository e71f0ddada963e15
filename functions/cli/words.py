"""Times, durations and numbers in words."""

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import islice

from functions.shared import timestamps
from functions.table.scans import RecordedScan


def span(scan: RecordedScan) -> str:
    """Say when a scan listed."""
    if scan.listed_from is None or scan.listed_until is None:
        return "has not listed"
    begin, end = timestamps.to_seconds(scan.listed_from), timestamps.to_seconds(scan.listed_until)
    return f"listed {begin} to {end}"


def age(asked: datetime, scan: RecordedScan) -> str:
    """Say how much older a scan is than the moment that is asked for."""
    return f"{duration(asked - scan.listing[1])} before {timestamps.to_seconds(asked)}"


def duration(time: timedelta) -> str:
    """Say how long something takes, in two units."""
    minutes, seconds = divmod(max(0, int(time.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [
        f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")) if number
    ]
    return " ".join(parts[:2]) or "0 s"


def number(count: int, noun: str) -> str:
    """Say how many."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def some(names: Collection[str], most: int = 10) -> str:
    """Name the first of several, and say how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(islice(names, most)) + more


def account_of(arn: str) -> str:
    """Return the account that an ARN names."""
    parts = arn.split(":")
    return parts[4] if len(parts) > 4 else ""


def account_of_scan(scan: RecordedScan) -> str:
    """Return the account that was scanned; the execution may be another account's."""
    return str(scan.manifest.item.get("account_id") or account_of(scan.manifest.execution_arn))
