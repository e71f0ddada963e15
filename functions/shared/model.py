"""The data that travels between the states, as the state machine carries it.

Step Functions limits the input and output of every state to 256 KiB
(https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html), so only a page of users is ever in it, and
only between ListUsers and SaveProgress.
"""

from typing import Any, Literal, NotRequired, TypedDict

User = dict[str, str]
"""One IAM user as ListUsers gave it: the attributes of a record that have a source there, see ``table.record``."""


class Scan(TypedDict):
    """``$.scan``: which scan this is. Set by AcquireLock, the same in every later state of an attempt."""

    scan_timestamp: str
    """ISO 8601 UTC to the second, ``2026-01-31T10:00:00Z``: the sort key of every record of this scan."""
    execution_arn: str
    started_at: str
    """When this attempt began, ISO 8601 UTC in milliseconds."""
    attempt: int
    """1, and one more after every redrive."""
    ttl: int
    """When every item of the scan expires, epoch seconds."""
    account_id: NotRequired[str]
    """The member account that is scanned, and the role by which it is looked into; absent for the deployment's own."""
    role_arn: NotRequired[str]
    account_name: NotRequired[str]
    """What people call the account, where the input told."""


class Cursor(TypedDict):
    """``$.cursor``: how far the scan is. Absolute totals, so that a step that runs twice does not count twice."""

    marker: str | None
    """The IAM Marker of the next page, None for the first page and after the last."""
    page: int
    """Pages completed."""
    sequence: int
    """The manifest's number after the last attempt began, or page was saved: by it a late SaveProgress is known."""
    users_scanned: int
    records_written: int
    errors: int
    """Users of this attempt for whom no record could be written."""
    restarts: int
    """How often the listing began again in this attempt: IAM refused its marker, or it had become too old."""
    listed_from: str | None
    """When IAM was asked for the first page of this listing, ISO 8601 UTC in milliseconds."""
    listed_until: str | None
    """When IAM had answered the last page so far."""


class Section(TypedDict):
    """What became of one source of the users' posture in a scan."""

    state: Literal["CURRENT", "STALE", "MISSING", "OFF"]
    """CURRENT; STALE: a report older than one may be; MISSING: asked for and not got; OFF: never asked for."""
    generated_time: NotRequired[str]
    """What it speaks for, ISO 8601: when the report was made, or the first page of the details was asked for."""
    users: NotRequired[int]
    matched: NotRequired[int]
    """Only where both sections are known: the users of the details of whom the report has a row, by ARN and creation
    time; those created after the report; and the report's rows that no user of the details has."""
    newer_users: NotRequired[int]
    unmatched: NotRequired[int]
    error_type: NotRequired[str]
    """Why it is MISSING."""
    error_message: NotRequired[str]


class Sections(TypedDict):
    """The two sources of the users' posture."""

    credential_report: Section
    authorization: Section


class Chunks(TypedDict):
    """Where something large is kept: so many items of the table, named by a digest of their content."""

    id: str | None
    chunks: int


class Posture(Chunks):
    """``$.posture``: what ReadPosture found out. The users' part of it stays in the table."""

    sections: Sections
    root: dict[str, Any] | None
    """What the report tells of the root user, in the attributes of a record."""
    error: NotRequired["ErrorInfo"]
    """Why ReadPosture failed, where it did."""


class Batch(TypedDict):
    """One item of ``$.page.batches``: what one WriteBatch invocation writes."""

    users: list[User]


class Page(TypedDict):
    """``$.page``: one page of users, dropped after SaveProgress."""

    batches: list[Batch]
    count: int
    next_marker: str | None
    restarted: bool
    """True when this is the first page again: IAM refused the cursor's marker, or the listing had become too old."""
    listed_from: str
    """When IAM was asked for the page, and until when it had answered, ISO 8601 UTC in milliseconds."""
    listed_until: str


class PageCounts(TypedDict):
    """What SaveProgress needs of a page: everything but the users."""

    count: int
    next_marker: str | None
    restarted: bool
    listed_from: str
    listed_until: str


class WriteResult(TypedDict):
    """One item of ``$.writes``: users of a batch whose record was written, and users for whom it was not."""

    written: int
    failed: int
    throttled: NotRequired[int]
    """Of the failed ones, those given up because DynamoDB throttled to the end; absent where the batch failed as a
    whole, for another reason."""


class ErrorInfo(TypedDict):
    """``$.error`` after a Catch, as Step Functions writes it."""

    Error: str
    Cause: str


class Outcome(TypedDict):
    """``$.outcome``: what EmitMetrics recorded about the attempt."""

    status: str
    users_scanned: int
    records_written: int
    errors: int
    """Users of the attempt without a record. That the attempt failed itself is told by the status."""
    duration_ms: int
    attempt: int
    publish: bool
    """Whether its changes are to be published: the scan is COMPLETE, and change events are switched on."""


class AccountFailure(TypedDict):
    """An account without a complete scan, in the manifest of a fleet; the account's name is beside its number there."""

    account_id: str
    error_type: str
    error_message: str


class FleetOutcome(TypedDict):
    """What is recorded of an attempt to scan all accounts of an organization."""

    status: str
    duration_ms: int
    attempt: int
    accounts_scanned: NotRequired[int]
    """Absent where nobody has looked: the attempt was stopped, or its accounts could not be listed."""
    accounts_failed: NotRequired[int]
    failed: NotRequired[list[AccountFailure]]


class FleetSummary(TypedDict):
    """``$.outcome`` of the organization machine: what SummarizeAccounts found, small."""

    status: str
    attempt: int
    accounts: int
    accounts_scanned: int
    accounts_failed: int
    duration_ms: int
    failed: list["NamedAccountFailure"]
    """The first of them."""
    unannounced: str | None
    """Why the events of failed accounts could not be put on the bus, None where they were, or there are none."""


class NamedAccountFailure(AccountFailure):
    """An account without a complete scan, for people."""

    account_name: str | None


class FleetAccountItem(TypedDict):
    """One item of ``$.accounts``: an account that is to be scanned."""

    account_id: str
    account_name: str | None


class AccountResult(TypedDict):
    """One item of ``$.accounts`` after ScanAccounts: what the Map knows of an account that failed; else nothing."""

    account_id: NotRequired[str]
    error: NotRequired[str]


class FleetState(TypedDict, total=False):
    """The whole state data of the organization machine, as its finally path receives it."""

    lock: str
    scan: Scan
    children: str
    """What the names of the accounts' executions end with."""
    accounts: list[AccountResult]
    error: ErrorInfo
    outcome: FleetSummary
    summarize_accounts_error: ErrorInfo
    release_lock_error: ErrorInfo
    redrive_count: int
    """Set by AccountsNotListed: the redrive in which ListAccounts failed, 0 before any."""


class Published(TypedDict):
    """``$.changes``: what PublishChanges has sent."""

    status: Literal["ANNOUNCED", "NOTHING_NEW", "BEHIND"]
    """BEHIND: the time was over before all scans were announced; the next call goes on."""
    scans: int
    """Scans of which all was announced."""
    events: int
    refused: int
    """Events that EventBridge would never take."""


class State(TypedDict, total=False):
    """The whole state data, as the finally path receives it: after an early failure, most of it is absent."""

    lock: str
    """The sort key of the lock, for ReleaseLock."""
    scan: Scan
    cursor: Cursor
    posture: Posture
    page: Page
    writes: list[WriteResult]
    error: ErrorInfo
    outcome: Outcome
    emit_metrics_error: ErrorInfo
    changes: "Published"
    publish_changes_error: ErrorInfo
    release_lock_error: ErrorInfo
    redrive_count: int
    """Set by ScanNotBegun: the redrive in which AcquireLock failed, 0 before any."""


def nothing_asked() -> Posture:
    """Return the posture of a scan that is to read none."""
    sections = Sections(credential_report=Section(state="OFF"), authorization=Section(state="OFF"))
    return Posture(sections=sections, root=None, id=None, chunks=0)


def first_cursor(sequence: int = 0) -> Cursor:
    """Return the cursor of a listing that has not begun yet."""
    return Cursor(
        marker=None,
        page=0,
        sequence=sequence,
        users_scanned=0,
        records_written=0,
        errors=0,
        restarts=0,
        listed_from=None,
        listed_until=None,
    )
