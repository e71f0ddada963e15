"""The manifests: one item per scan that says what became of it, and where it can be resumed.

It answers "which scans are there, and may I trust this one?" with one Query, and is the durable checkpoint: ``marker``
and ``checkpoint`` never move past a page of which a record is missing.

Three numbers tell where an execution stands, so that no step needs the redrive count of Step Functions, whose refresh
is undocumented: ``attempt`` is the running or last attempt, ``finished_attempt`` the last one whose result was
recorded, ``failed_attempt`` the last one that FailScan has ended. A run that goes on although its attempt is finished
has been redriven, and is the next attempt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from functions.shared import items
from functions.shared.model import Cursor, Item, first_cursor
from functions.shared.timestamps import expiry

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

MANIFEST_USER_NAME = "__scan__"
MANIFEST_SORT_KEY_PREFIX = "scan#"
"""Keeps manifests out of the index query for a scan, whose key is the bare scan_timestamp."""


_RESULT_ATTRIBUTES = ("finished_at", "duration_ms", "error_type", "error_message")
"""What says how the last attempt ended, and must go when another one begins."""


class Status(StrEnum):
    """What became of a scan. Only the records of a COMPLETE scan may be trusted to be all users."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    INCOMPLETE = "INCOMPLETE"
    """All pages were listed, but records are missing; a redrive resumes at the first incomplete page."""
    FAILED = "FAILED"
    ABORTED = "ABORTED"
    """The execution was stopped by hand."""


@dataclass(frozen=True)
class Manifest:
    """What the workflow needs of a stored manifest."""

    execution_arn: str
    attempt: int
    finished_attempt: int
    finished_by: str
    """The step that recorded the result: EmitMetrics, or CleanUp in its place."""
    failed_attempt: int
    item: Item

    @property
    def current_attempt(self) -> int:
        """The attempt that a step which runs now belongs to."""
        return max(self.attempt, self.finished_attempt + 1)

    @property
    def resume_at(self) -> Cursor:
        """The cursor of the first page that is not known to be complete."""
        checkpoint = self.item.get("checkpoint") or {}
        return Cursor(
            marker=self.item.get("marker"),
            page=checkpoint.get("page", 0),
            users_scanned=checkpoint.get("users_scanned", 0),
            records_written=checkpoint.get("records_written", 0),
            errors=0,
            restarts=0,
        )


class ForeignManifest(Exception):
    """The manifest of this scan_timestamp belongs to another execution, one that started in the same second."""


@dataclass(frozen=True)
class Manifests:
    """The manifests in one records table."""

    dynamodb: "DynamoDBClient"
    table_name: str

    def load(self, scan_timestamp: str) -> Manifest | None:
        """Return the manifest of a scan, read consistently, or None where there is none."""
        response = self.dynamodb.get_item(
            TableName=self.table_name, Key=items.to_wire(manifest_key(scan_timestamp)), ConsistentRead=True
        )
        return _manifest(items.from_wire(response["Item"])) if "Item" in response else None

    def begin(
        self,
        *,
        scan_timestamp: str,
        execution_arn: str,
        attempt: int,
        started_at: str,
        attempt_started_at: str,
        trigger: str,
        retention_days: int,
    ) -> None:
        """Create the manifest of a new scan, or mark the one of this execution as RUNNING again.

        Raises
        ------
        ForeignManifest
            Another execution began this scan_timestamp.
        """
        self._update(
            scan_timestamp,
            execution_arn,
            assign={"status": Status.RUNNING, "attempt": attempt, "attempt_started_at": attempt_started_at},
            assign_if_absent={
                "started_at": started_at,
                "trigger": trigger,
                "marker": None,
                "checkpoint": _checkpoint(first_cursor()),
                "users_scanned": 0,
                "records_written": 0,
                "errors": 0,
                "ttl": expiry(scan_timestamp, retention_days),
            },
            remove=_RESULT_ATTRIBUTES,
        )

    def save_progress(self, *, scan_timestamp: str, execution_arn: str, cursor: Cursor) -> Manifest:
        """Record the totals after a page, and move the checkpoint if nothing is missing up to here.

        The checkpoint stays at the last page, too: a scan that is redriven after all pages were listed does the last
        page again, and a marker of None always means the first page.

        Returns
        -------
        The manifest as it is now.

        Raises
        ------
        ForeignManifest
            Another execution began this scan_timestamp.
        """
        assign: dict[str, Any] = _totals(cursor)
        if cursor["errors"] == 0 and cursor["marker"] is not None:
            assign |= {"marker": cursor["marker"], "checkpoint": _checkpoint(cursor)}
        return self._update(scan_timestamp, execution_arn, assign=assign)

    def go_on(self, *, scan_timestamp: str, execution_arn: str, attempt: int, attempt_started_at: str) -> None:
        """Mark a scan as RUNNING again that was redriven in the middle, past AcquireLock.

        Raises
        ------
        ForeignManifest
            Another execution began this scan_timestamp.
        """
        self._update(
            scan_timestamp,
            execution_arn,
            assign={"status": Status.RUNNING, "attempt": attempt, "attempt_started_at": attempt_started_at},
            remove=_RESULT_ATTRIBUTES,
        )

    def finish(
        self,
        *,
        scan_timestamp: str,
        execution_arn: str,
        attempt: int,
        finished_by: str,
        retention_days: int,
        started_at: str,
        result: dict[str, Any],
    ) -> bool:
        """Record the result of an attempt, once.

        Parameters
        ----------
        finished_by
            The step that records it.
        result
            The attributes to set: status, totals, finished_at, duration_ms and, after a failure, the error.

        Returns
        -------
        False when the result of this attempt was recorded before: the caller is a retry whose first try got through.

        Raises
        ------
        ForeignManifest
            Another execution began this scan_timestamp.
        """
        manifest = self.load(scan_timestamp)
        if manifest is not None and manifest.execution_arn == execution_arn and manifest.finished_attempt >= attempt:
            return False
        self._update(
            scan_timestamp,
            execution_arn,
            assign={**result, "attempt": attempt, "finished_attempt": attempt, "finished_by": finished_by},
            assign_if_absent={"started_at": started_at, "ttl": expiry(scan_timestamp, retention_days)},
        )
        return True

    def note_failure(
        self, *, scan_timestamp: str, execution_arn: str, started_at: str, retention_days: int
    ) -> int | None:
        """Note that the current attempt was ended as failed, or open the next attempt if it was noted before.

        Being asked a second time for the same attempt can only mean that the execution was redriven. The next attempt
        is opened here and nowhere else, so a run whose other steps all fail cannot go round in circles.

        Returns
        -------
        None when the failure was noted now, else the number of the attempt that begins.

        Raises
        ------
        ForeignManifest
            Another execution began this scan_timestamp.
        """
        manifest = self.load(scan_timestamp)
        attempt = manifest.attempt if manifest is not None else 1
        if manifest is not None and manifest.failed_attempt >= attempt:
            self._update(scan_timestamp, execution_arn, assign={"attempt": attempt + 1})
            return attempt + 1
        self._update(
            scan_timestamp,
            execution_arn,
            assign={"failed_attempt": attempt},
            assign_if_absent={
                "status": Status.FAILED,
                "attempt": attempt,
                "started_at": started_at,
                "ttl": expiry(scan_timestamp, retention_days),
            },
        )
        return None

    def note_end(self, *, scan_timestamp: str, execution_arn: str, attempt: int) -> None:
        """Note that an attempt has ended as failed although FailScan could not, so that a redrive goes on at once.

        Raises
        ------
        ForeignManifest
            Another execution began this scan_timestamp.
        """
        self._update(scan_timestamp, execution_arn, assign={"failed_attempt": attempt})

    def _update(
        self,
        scan_timestamp: str,
        execution_arn: str,
        *,
        assign: dict[str, Any],
        assign_if_absent: dict[str, Any] | None = None,
        remove: Sequence[str] = (),
    ) -> Manifest:
        """Create or change the manifest of this execution and return it; refuse to touch that of another."""
        absent = assign_if_absent or {}
        names = {"execution_arn": execution_arn, **assign, **absent}
        clauses = [f"#{name} = :{name}" for name in ("execution_arn", *assign)]
        clauses += [f"#{name} = if_not_exists(#{name}, :{name})" for name in absent]
        expression = "SET " + ", ".join(clauses)
        if remove:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in remove)
        try:
            response = self.dynamodb.update_item(
                TableName=self.table_name,
                Key=items.to_wire(manifest_key(scan_timestamp)),
                ReturnValues="ALL_NEW",
                UpdateExpression=expression,
                ConditionExpression="attribute_not_exists(user_name) OR #execution_arn = :execution_arn",
                # Names like status, trigger and ttl are reserved words of DynamoDB: all go by placeholder.
                ExpressionAttributeNames={f"#{name}": name for name in (*names, *remove)},
                ExpressionAttributeValues=items.to_wire({f":{name}": value for name, value in names.items()}),
            )
        except self.dynamodb.exceptions.ConditionalCheckFailedException as error:
            raise ForeignManifest(f"scan {scan_timestamp} was begun by another execution in the same second") from error
        return _manifest(items.from_wire(response["Attributes"]))


def manifest_key(scan_timestamp: str) -> dict[str, str]:
    """Return the primary key of the manifest of a scan."""
    return {"user_name": MANIFEST_USER_NAME, "scan_timestamp": MANIFEST_SORT_KEY_PREFIX + scan_timestamp}


def _manifest(item: Item) -> Manifest:
    return Manifest(
        execution_arn=str(item.get("execution_arn", "")),
        attempt=int(item.get("attempt", 1)),
        finished_attempt=int(item.get("finished_attempt", 0)),
        finished_by=str(item.get("finished_by", "")),
        failed_attempt=int(item.get("failed_attempt", 0)),
        item=item,
    )


def _totals(cursor: Cursor) -> dict[str, int]:
    return {
        "users_scanned": cursor["users_scanned"],
        "records_written": cursor["records_written"],
        "errors": cursor["errors"],
    }


def _checkpoint(cursor: Cursor) -> dict[str, int]:
    return {
        "page": cursor["page"],
        "users_scanned": cursor["users_scanned"],
        "records_written": cursor["records_written"],
    }
