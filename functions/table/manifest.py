"""The manifests: one item per scan that says what became of it, and where it can be resumed.

It answers "which scans are there, and may I trust this one?" with one Query, and is the durable checkpoint: ``marker``
and ``checkpoint`` never move past a page of which a record is missing. How it may change is in ``fence``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from functions.shared import timestamps
from functions.shared.model import Chunks, Cursor, Outcome, first_cursor
from functions.table.keys import scan_timestamp_of
from functions.table.wire import Item

MINIMUM_RETENTION_DAYS = 29
"""A run can be redriven within 14 days of its end, and its scan must be whole for as long again after that
(https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html)."""


class Status(StrEnum):
    """What became of a scan. Only the records of a COMPLETE scan may be trusted to be all users."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    INCOMPLETE = "INCOMPLETE"
    """All pages were listed, but records are missing; a redrive resumes at the first incomplete page."""
    FAILED = "FAILED"
    ABORTED = "ABORTED"
    """The execution was stopped by hand."""
    SKIPPED = "SKIPPED"
    """Another execution held the lock (``holder``): nothing was listed or written, and nothing failed."""


@dataclass(frozen=True)
class Manifest:
    """A stored manifest."""

    item: Item

    @property
    def scan_timestamp(self) -> str:
        """The scan's name."""
        return scan_timestamp_of(self.item["scan_timestamp"])

    @property
    def execution_arn(self) -> str:
        """The execution that began the scan."""
        return str(self.item.get("execution_arn", ""))

    @property
    def account_id(self) -> str:
        """The account that was scanned."""
        # Manifests from before it was recorded are of the account that the execution is in.
        return str(self.item.get("account_id") or self.execution_arn.split(":")[4])

    @property
    def account_name(self) -> str | None:
        """What people call the account, None where it was not told."""
        return self.item.get("account_name")

    @property
    def status(self) -> Status:
        """What became of the scan."""
        return Status(self.item["status"])

    @property
    def attempt(self) -> int:
        """The running, or last, attempt."""
        return int(self.item.get("attempt", 1))

    @property
    def sequence(self) -> int:
        """How often the execution has begun an attempt or saved a page: it only ever grows."""
        return int(self.item.get("sequence", 0))

    @property
    def ttl(self) -> int:
        """When every item of the scan expires, epoch seconds."""
        return int(self.item["ttl"])

    @property
    def reported(self) -> frozenset[int]:
        """The attempts whose metrics have been emitted."""
        return frozenset(self.item.get("reported", ()))

    @property
    def attempt_started_at(self) -> datetime:
        """When the attempt began."""
        return timestamps.parse(self.item.get("attempt_started_at") or self.item["started_at"])

    @property
    def outcome(self) -> Outcome:
        """The result of the last attempt, as far as it is known."""
        return Outcome(
            status=self.status,
            users_scanned=self.item.get("users_scanned", 0),
            records_written=self.item.get("records_written", 0),
            errors=self.item.get("errors", 0),
            duration_ms=self.item.get("duration_ms", 0),
            attempt=self.attempt,
            publish=self.item.get("publish", False),
        )

    @property
    def error(self) -> tuple[str, str] | None:
        """Name and message of the error that ended the last attempt; None where there was none."""
        if "error_type" not in self.item:
            return None
        return str(self.item["error_type"]), str(self.item.get("error_message", ""))

    @property
    def sections(self) -> Mapping[str, Mapping[str, Any]] | None:
        """What became of the sources of the users' posture, see ``model.Sections``; None before there was any."""
        return self.item.get("sections")

    @property
    def root(self) -> Item | None:
        """What the credential report told of the root user, None where it is not known."""
        return self.item.get("root")

    @property
    def posture(self) -> Chunks | None:
        """Where what ReadPosture read of the users is kept, for 14 days; None where it read nothing."""
        return self.item.get("posture")

    def resume_at(self, now: datetime, sequence: int) -> Cursor:
        """Return the cursor of the first page that is not known to be complete.

        It is that of the first page where the listing, going on, would span more time than a scan may speak for.
        """
        checkpoint = self.item.get("checkpoint") or {}
        listed_from = checkpoint.get("listed_from")
        if self.item.get("marker") is None or spans_too_long(listed_from, now, self.item.get("span_limit_seconds", 0)):
            return first_cursor(sequence)
        return Cursor(
            marker=self.item["marker"],
            page=checkpoint["page"],
            sequence=sequence,
            users_scanned=checkpoint["users_scanned"],
            records_written=checkpoint["records_written"],
            errors=0,
            restarts=0,
            listed_from=listed_from,
            listed_until=checkpoint["listed_until"],
        )


def spans_too_long(listed_from: str | None, until: datetime, limit_seconds: int) -> bool:
    """Tell whether a listing spans more time than a scan may speak for: a longer one is no picture of a moment."""
    return listed_from is None or until - timestamps.parse(listed_from) > timedelta(seconds=limit_seconds)


def expiry(started_at: datetime, retention_days: int) -> int:
    """Return when all items of a scan expire, epoch seconds: its time plus the retention, cut to whole seconds."""
    return int(started_at.timestamp()) + max(retention_days, MINIMUM_RETENTION_DAYS) * timestamps.SECONDS_PER_DAY


def progress_of(cursor: Cursor) -> Item:
    """Return the attributes of a manifest that a saved page sets.

    The checkpoint moves where nothing is missing up to here, goes back to the start where the listing began again, and
    stays otherwise. It stays at the last page, too: a scan that is redriven after all pages were listed does the last
    page again, and a marker of None always means the first page.
    """
    fields: Mapping[str, Any] = cursor
    progress: Item = {
        name: fields[name]
        for name in ("users_scanned", "records_written", "errors", "restarts", "listed_from", "listed_until")
    }
    if cursor["errors"] == 0 and cursor["marker"] is not None:
        progress |= {"marker": cursor["marker"], "checkpoint": _checkpoint(cursor)}
    elif cursor["page"] == 1:
        progress |= {"marker": None, "checkpoint": _checkpoint(first_cursor())}
    return progress


def beginning_of(cursor: Cursor) -> Item:
    """Return the attributes of a manifest that the beginning of an attempt at this cursor sets."""
    return {**progress_of(cursor), "marker": cursor["marker"], "checkpoint": _checkpoint(cursor)}


def _checkpoint(cursor: Cursor) -> Mapping[str, Any]:
    names = ("page", "users_scanned", "records_written", "listed_from", "listed_until")
    fields: Mapping[str, Any] = cursor
    return {name: fields[name] for name in names}
