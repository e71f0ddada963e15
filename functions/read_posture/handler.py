"""ReadPosture: what every user could get in with and may do, in a constant number of calls.

The credential report is asked for first, because IAM needs some seconds to make it; the authorization details, which
take some seconds to be read, give it the time. What cannot be had is told, and keeps nothing else back.
"""

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from functions.shared import access, clients, configuration, timestamps
from functions.shared.causes import MAX_MESSAGE_LENGTH
from functions.shared.errors import AccessDenied, MonitorError, PostureUnavailable, Throttled, error_code, named
from functions.shared.model import Chunks, Posture, Scan, Section, Sections
from functions.shared.run import Run, RunEvent
from functions.shared.step import logger, step, working_seconds
from functions.table import credential_report, posture
from functions.table.authorization import Details
from functions.table.credential_report import Report
from functions.table.facts import STALE_AFTER
from functions.table.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_iam import IAMClient

ITEMS_PER_CALL = 1000
"""What GetAccountAuthorizationDetails is asked for, and may give less of."""

POLLS = (1.0, *[2.0] * 9)
"""How long to wait for the report between one look and the next, in seconds: 19 in all. What comes later, the next scan
reads: the report is kept for four hours."""

POLLING_SECONDS = 20.0

_BEING_MADE = "ReportInProgress"
_NOT_YET = frozenset({_BEING_MADE, "ReportNotPresent", "ReportExpired"})
"""What GetCredentialReport answers until a report that was asked for is there."""


class Event(TypedDict):
    """What the state ReadPosture sends."""

    run: RunEvent
    scan: NotRequired[Scan]
    """Absent in a run that was started before it was sent."""


@step("ReadPosture")
def handler(event: Event, context: LambdaContext) -> Posture:
    """Handle one invocation by the state machine."""
    wanted, run = configuration.wanted_sections(), Run.of(event)
    return read_posture(
        run,
        iam=access.iam_of(run, patient=False),
        dynamodb=clients.dynamodb(),
        table_name=configuration.table_name(),
        wanted=Wanted(
            report="credential_report" in wanted,
            details="authorization" in wanted,
            tags=configuration.recorded_tags(),
        ),
        seconds=working_seconds(context),
    )


@dataclass(frozen=True)
class Wanted:
    """What is to be read."""

    report: bool = True
    details: bool = True
    tags: frozenset[str] = frozenset()
    """The keys of the users' tags that are recorded."""


class OutOfTime(Exception):  # noqa: N818 - the name that a manifest shows
    """There was no time left to read on."""


@dataclass
class _Source:
    """One section while it is read: its result, or why there is none."""

    section: Section
    error: Exception | None = None

    @contextmanager
    def attempt(self) -> "Iterator[None]":
        """Note what goes wrong inside, and go on: neither source is to hurt the other."""
        try:
            yield
        # The last two: what IAM answers is not what its documentation says.
        except (ClientError, BotoCoreError, OutOfTime, ValueError, KeyError) as error:
            name, message = _told(error)
            self.error = error
            self.section = Section(state="MISSING", error_type=name, error_message=message)


def read_posture(
    run: Run,
    *,
    iam: "IAMClient",
    dynamodb: "DynamoDBClient",
    table_name: str,
    wanted: Wanted,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Posture:
    """Read both sources, keep them for WriteBatch, and tell what became of them. Safe to run twice, and late.

    Parameters
    ----------
    seconds
        When this much time has passed, what is not there yet is MISSING.

    Raises
    ------
    PostureUnavailable
        Nothing of what is wanted could be had. It is raised, although the scan goes on without, so that the alarm on
        this function's errors rings when that lasts.
    AccessDenied, Throttled
        The same, where that was the reason everywhere.
    """
    deadline = clock() + seconds
    report_source, details_source = (
        _Source(Section(state="MISSING" if asked else "OFF")) for asked in (wanted.report, wanted.details)
    )
    report, details = None, Details(wanted.tags)
    refusal = _ask_for_report(iam) if wanted.report else None
    if wanted.details:
        # A third of a short time is left to look for the report.
        until = deadline - min(POLLING_SECONDS, seconds / 3) * wanted.report
        with details_source.attempt():
            details_source.section = _read_details(iam, details, until, clock)
    if wanted.report:
        with report_source.attempt():
            report = _read_report(iam, refusal, min(deadline, clock() + POLLING_SECONDS), clock, sleep)
            report_source.section = _section_of(report)
    if report is not None and details_source.section["state"] == "CURRENT":
        report_source.section = _matched(report_source.section, report, details)
    sections = Sections(credential_report=report_source.section, authorization=details_source.section)
    for name, source in (("credential_report", report_source), ("authorization", details_source)):
        if source.error is not None:
            logger.warning("Posture is missing; the scan goes on without it", section=name, **source.section)
    _check_anything([source for source in (report_source, details_source) if source.section["state"] != "OFF"])

    found = posture.Posture(
        report_time=report.generated if report is not None else None,
        report=report.rows if report is not None else {},
        authorization=details.facts() if details_source.section["state"] == "CURRENT" else {},
    )
    kept = Chunks(id=None, chunks=0)
    if found.report or found.authorization:
        now = int(timestamps.now().timestamp())
        kept = posture.store(dynamodb, table_name, run.scan_timestamp, found, now=now, keys=Keys(run.member))
    logger.info(
        "Posture read", chunks=kept["chunks"], sections=sections, credential_report_age_hours=_age_in_hours(report)
    )
    root = report.root if report is not None else None
    return Posture(sections=sections, root=root, id=kept["id"], chunks=kept["chunks"])


def _ask_for_report(iam: "IAMClient") -> ClientError | BotoCoreError | None:
    """Ask IAM to make a report, unless it has one of the last four hours; return why it does not."""
    try:
        iam.generate_credential_report()
    except (ClientError, BotoCoreError) as error:
        # A report from before may be there all the same; IAM may have no capacity for a new one (LimitExceeded).
        logger.warning("IAM makes no new credential report; the last one may do", error_message=str(error))
        return error
    return None


def _read_report(
    iam: "IAMClient",
    refusal: ClientError | BotoCoreError | None,
    until: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Report:
    """Return the report, which is waited for as long as it is being made.

    Parameters
    ----------
    refusal
        Why IAM makes no new one: then only one that is there, or that somebody else has asked for, is to be had.
    """
    waits = iter(POLLS)
    while True:
        try:
            answer = iam.get_credential_report()
            break
        except ClientError as error:
            code = error_code(error)
            if code not in _NOT_YET:
                raise
            if refusal is not None and code != _BEING_MADE:
                raise refusal from error
            wait = next(waits, None)
            if wait is None or clock() + wait >= until:
                raise
        sleep(wait)
    return credential_report.parse(answer["Content"], timestamps.to_seconds(answer["GeneratedTime"]))


def _age_in_hours(report: Report | None) -> float | None:
    """Return how old the report is: queries of logs cannot reckon with the time in its section."""
    return round(_age(report) / timedelta(hours=1), 2) if report is not None else None


def _age(report: Report) -> timedelta:
    return timestamps.now() - timestamps.parse(report.generated)


def _section_of(report: Report) -> Section:
    stale = _age(report) > STALE_AFTER
    return Section(state="STALE" if stale else "CURRENT", generated_time=report.generated, users=len(report.rows))


def _read_details(iam: "IAMClient", details: Details, until: float, clock: Callable[[], float]) -> Section:
    """Read all pages. IAM may give fewer items than asked for and say that there are more: only the marker counts."""
    began = timestamps.to_seconds(timestamps.now())
    marker: dict[str, Any] = {}
    while True:
        page = iam.get_account_authorization_details(
            Filter=["User", "Group", "LocalManagedPolicy"], MaxItems=ITEMS_PER_CALL, **marker
        )
        details.add(page)
        if not page["IsTruncated"]:
            return Section(state="CURRENT", generated_time=began, users=len(details.identities))
        if page["Marker"] == marker.get("Marker"):
            raise ValueError("IAM answered a page of the authorization details with the marker it was asked for")
        if clock() >= until:
            raise OutOfTime(
                f"there was no time to read the authorization details to their end: {len(details.identities)} users "
                "were read, and are not used, since who is missing from them would pass for deleted"
            )
        marker = {"Marker": page["Marker"]}


def _matched(section: Section, report: Report, details: Details) -> Section:
    """Return the report's section, with how its rows and the users of the details go together."""
    identities = details.identities
    matched = sum(1 for arn, created in identities if arn in report.rows and report.rows[arn][0] == created)
    newer = sum(1 for _, created in identities if created > report.generated)
    return {**section, "matched": matched, "newer_users": newer, "unmatched": len(report.rows) - matched}


def _check_anything(sources: list[_Source]) -> None:
    """Raise if nothing of what is wanted could be had."""
    errors = [source.error for source in sources if source.error is not None]
    if not errors or len(errors) < len(sources):
        return
    message = "; ".join(f"{name}: {text}" for name, text in dict.fromkeys(map(_told, errors)))
    for kind in (AccessDenied, Throttled):
        if all(isinstance(_named(error), kind) for error in errors):
            raise kind(message)
    raise PostureUnavailable(message)


def _named(error: Exception) -> MonitorError | None:
    return named(error) if isinstance(error, ClientError) else None


def _told(error: Exception) -> tuple[str, str]:
    """Return the name and the message of an error, as a section shows them."""
    if isinstance(error, ClientError):
        name = type(_named(error)).__name__ if _named(error) is not None else error_code(error)
    else:
        name = type(error).__name__
    return name, str(error)[:MAX_MESSAGE_LENGTH]
