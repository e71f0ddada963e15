"""The commands. Each reads its options, asks and prints; to ask is for ``functions.table`` and ``executions``."""

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import metadata
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import click
from botocore.exceptions import BotoCoreError, ClientError

from functions.cli import changes as happenings
from functions.cli import everywhere, executions, output, posture, rows, scope, words
from functions.cli.accounts import COLUMNS as ACCOUNT_COLUMNS
from functions.cli.accounts import Listing
from functions.cli.deployment import DEFAULT_NAME, DEFAULT_TABLE, Deployment
from functions.cli.errors import CommandError, ExitStatus
from functions.cli.output import FORMATS
from functions.cli.posture import Tally
from functions.cli.report import page, view
from functions.cli.report.choose import MOST_SCANS, in_period, spread
from functions.cli.report.gather import Asked, Gathered, gather
from functions.cli.values import (
    ACCOUNT,
    ACCOUNT_OR_ALL,
    ALL,
    AUTO,
    CONTROLS,
    DURATION,
    LATEST,
    MOMENT,
    ROLE_NAME,
    SCAN,
    SCAN_OR_PREVIOUS,
    SINCE,
    Moment,
)
from functions.shared import timestamps
from functions.shared.bus import Bus, Refusal
from functions.shared.errors import MonitorError
from functions.table import findings as judging
from functions.table import gaps as periods
from functions.table import history as histories
from functions.table.reader import Reader, TableBusy
from functions.table.record import CREDENTIAL_REPORT
from functions.table.replay import Chain
from functions.table.scans import RecordedScan

F = TypeVar("F", bound=Callable[..., Any])

_SENDING_SECONDS = 60.0
"""For how long events that the bus does not take are sent again."""


class OneLine(click.Group):
    """A group of commands of which every error is one line, and every end has its exit status."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command and leave the process, or return the exit status where that is asked for."""
        status = self._run(*args, **extra)
        if standalone_mode:
            sys.exit(status)
        return status

    def _run(self, *args: Any, **extra: Any) -> int:
        try:
            status = super().main(*args, standalone_mode=False, **extra)  # type: ignore[call-overload]
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            return ExitStatus.OK
        except click.Abort:
            _note("interrupted; an execution that was started goes on")
            return ExitStatus.INTERRUPTED
        except click.UsageError as error:
            asked = f"; see {error.ctx.command_path} --help" if error.ctx is not None else ""
            return _failed(f"{error.format_message().rstrip('.')}{asked}", ExitStatus.BAD_INPUT)
        except CommandError as error:
            return _failed(error.message, error.status)
        except click.ClickException as error:
            return _failed(error.format_message(), error.exit_code)
        except (BotoCoreError, ClientError, TableBusy) as error:
            return _failed(str(error), ExitStatus.NO_ANSWER)
        return int(status or ExitStatus.OK)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; whoever reads its output may stop before its end."""
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Somebody has seen enough: `iam-user-monitor users | head`. What is still in the buffer goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitStatus.OK
        return status


def _connection(*, inherited: bool) -> Callable[[F], F]:
    """Add the options that say which deployment is meant, to the group, and again to each command."""

    def remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.ensure_object(Deployment), parameter.name or "", value)

    options = (
        ("--profile", None, "NAME", "Profile of the AWS configuration. Else AWS_PROFILE, as for the AWS CLI."),
        ("--region", None, "NAME", "Region. Else AWS_REGION, AWS_DEFAULT_REGION, or the profile's."),
        ("--table", "DYNAMODB_TABLE_NAME", "NAME", f"Table of records. Else DYNAMODB_TABLE_NAME, or {DEFAULT_TABLE}."),
        ("--state-machine", "STATE_MACHINE_ARN", "ARN|NAME",
         f"State machine. Else STATE_MACHINE_ARN, or {DEFAULT_NAME}."),
    )  # fmt: skip

    def add(function: F) -> F:
        for name, variable, kind, text in reversed(options):
            function = click.option(
                name,
                # A command's own option wins over the group's; the environment's must not.
                envvar=None if inherited else variable,
                metavar=kind,
                help=text,
                expose_value=False,
                hidden=inherited,
                callback=remember,
            )(function)
        return click.option(
            "--quiet", "-q", is_flag=True, help="Say nothing but errors on the error output.",
            expose_value=False, hidden=inherited, callback=remember,
        )(function)  # fmt: skip

    return add


def _version() -> str:
    try:
        return metadata.version("iam-user-monitor")
    except metadata.PackageNotFoundError:
        return "not installed: run from its sources"


_format = click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print the answer."
)


def _answering_scan(function: F) -> F:
    """Add the options that say which scan answers."""
    at_ = click.option(
        "--at", "moment", type=MOMENT, help="The last scan up to a moment: 2026-01-31T00:00Z, or 2026-01-31."
    )(function)
    return click.option(
        "--scan", type=SCAN, help="The scan, by its scan_timestamp, or latest.  [default: latest]"
    )(at_)  # fmt: skip


_account = click.option(
    "--account", type=ACCOUNT, metavar="ID", help="A member account of the organization.  [default: the deployment's]"
)
_account_or_all = click.option(
    "--account",
    type=ACCOUNT_OR_ALL,
    metavar="ID|all",
    help="A member account of the organization, or all accounts.  [default: the deployment's]",
)
_of_deployment = _connection(inherited=True)
_deployment = click.make_pass_decorator(Deployment, ensure=True)
_activity = click.option(
    "--activity", is_flag=True, help="Take the mere use of a password or an access key for a change, too."
)


_unused_days = click.option(
    "--unused-days",
    type=click.IntRange(1, 3650),
    default=judging.DEFAULTS.unused_days,
    show_default=True,
    help="From how many days on a credential is unused.",
)
_key_age_days = click.option(
    "--key-age-days",
    type=click.IntRange(1, 3650),
    default=judging.DEFAULTS.key_age_days,
    show_default=True,
    help="Beyond how many days an active access key is too old.",
)


@click.group(cls=OneLine, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(_version(), message="%(version)s")
@_connection(inherited=False)
@click.pass_context
def cli(ctx: click.Context) -> None:
    r"""Ask which IAM users existed, and start the scans that record them.

    Credentials and endpoint are those of the environment, as for the AWS CLI. Only a scan that recorded every user
    answers: one that failed half-way never reads as a deletion.

    \b
    Exit status: 0 done, 1 the scan failed, 2 wrong input, 3 there is a finding (--fail-on-finding),
    4 the scan was skipped, 5 AWS gives no answer, 6 the answer is incomplete, 130 interrupted.
    """
    ctx.ensure_object(Deployment)


@cli.command()
@_account
@click.option(
    "--role-name",
    type=ROLE_NAME,
    metavar="NAME",
    help="The role by which it is looked into, without a path.  [default: the deployment's]",
)
@_of_deployment
@_deployment
def start(deployment: Deployment, account: str | None, role_name: str | None) -> int:
    """Start a scan and follow it to its end."""
    if account is None and role_name is not None:
        raise CommandError("--role-name is the role of the member account that --account names; give both, or none")
    _introduce(deployment, account)
    member = None if account is None else scope.to_start(deployment, _reader(deployment), account, role_name)
    return _follow(deployment, executions.start(deployment, member))


@cli.command()
@click.argument("execution", metavar="EXECUTION|latest")
@_account
@_of_deployment
@_deployment
def redrive(deployment: Deployment, execution: str, account: str | None) -> int:
    """Redrive a run that failed, by its ARN or its name, and follow it.

    latest is the newest run that can be redriven, of the account that --account names.
    """
    if not execution:
        raise CommandError("EXECUTION is empty; it must be the ARN or the name of an execution, or latest")
    if account is not None and execution != LATEST:
        raise CommandError(f"--account is for EXECUTION latest; {execution} says by itself which run it is")
    _introduce(deployment, account)
    if execution == LATEST:
        newest_one = executions.newest_redrivable(deployment, list(_reader_of(deployment, account).scans()))
        if newest_one is None:
            raise CommandError("EXECUTION latest: none of the last runs can be redriven; `scans` lists them")
        execution = newest_one
    arn = executions.arn_of(deployment, execution)
    return _follow(deployment, arn, after_event=executions.redrive(deployment, arn))


@cli.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@click.option(
    "--gaps",
    type=DURATION,
    is_flag=False,
    flag_value=AUTO,
    metavar="[DURATION]",
    help="Show the periods without a trusted scan instead, that are longer than 90min, 2h or 1d; without a duration, "
    "than twice the median distance of trusted scans.",
)
@_account_or_all
@_format
@_of_deployment
@_deployment
def scans(deployment: Deployment, limit: int, gaps: timedelta | str | None, account: str | None, form: str) -> int:
    """List the scans, newest first, and which may be trusted."""
    _introduce(deployment, account)
    if account == ALL and gaps is not None:
        answer, count = _ask_all(deployment, everywhere.gaps(limit, gaps), rows.GAP_COLUMNS, form)
        return _tell_all(answer, f"{words.number(count, 'period')} without a trusted scan in {answer.accounts}")
    if account == ALL:
        question = everywhere.scans(deployment, limit)
        return _tell_all(_ask_all(deployment, question, rows.SCAN_COLUMNS, form, former=True)[0])
    reader = _reader_of(deployment, account)
    if gaps is not None:
        return _gaps(reader, limit, gaps, form)
    output.write(rows.of_scans(deployment, islice(reader.scans(), limit)), rows.SCAN_COLUMNS, form, sys.stdout)
    return ExitStatus.OK


@cli.command()
@click.option("--at", "moment", type=MOMENT, help="As of a moment: 2026-01-31T00:00Z, or 2026-01-31.  [default: now]")
@_format
@_of_deployment
@_deployment
def accounts(deployment: Deployment, moment: Moment | None, form: str) -> int:
    """List the accounts: when each was last scanned, and what became of it in the run of the organization."""
    _introduce(deployment)
    reader = _reader(deployment)
    if moment is not None:
        _take(moment, reader.now)
    listing = Listing(deployment, reader, moment.time if moment is not None else reader.now)
    output.write(listing.rows(), ACCOUNT_COLUMNS, form, sys.stdout)
    for line in listing.remarks():
        _note(line)
    return ExitStatus.OK


@cli.command()
@_answering_scan
@_account_or_all
@_format
@_of_deployment
@_deployment
def users(
    deployment: Deployment, scan: datetime | str | None, moment: Moment | None, account: str | None, form: str
) -> int:
    """List who existed."""
    if account == ALL:
        until = _asked_moment(deployment, scan, moment)
        answer, count = _ask_all(deployment, everywhere.users(scan, moment), rows.USER_COLUMNS, form, until)
        return _tell_all(answer, f"{words.number(count, 'user')} in {answer.accounts}")
    reader, known, chosen = _asked_scan(deployment, scan, moment, account)
    listing = reader.of_scan(chosen)
    count = output.write(map(rows.of_user, listing), rows.USER_COLUMNS, form, sys.stdout)
    _note(f"{words.number(count, 'user')} in {_told(reader, chosen, moment)}")
    if chosen.manifest.sections:
        for line in posture.sections(chosen):
            _note(line)
    if moment is not None:
        for line in scope.unrecorded(reader, known, chosen, moment.time):
            _note(line)
    return _complete(chosen, listing.missing)


@cli.command(epilog=posture.explained())
@_answering_scan
@click.option("--cis", type=click.Choice(judging.CIS_VERSIONS), help="Only what this version of the benchmark asks.")
@click.option("--only", type=CONTROLS, multiple=True, metavar="CONTROL[,…]", help="Only these controls.")
@_unused_days
@_key_age_days
@click.option("--fail-on-finding", is_flag=True, help="End with 3 where there is a finding, with 6 where none can be.")
@click.option("--all", "everything", is_flag=True, help="Show what is OK, too.")
@_account_or_all
@_format
@_of_deployment
@_deployment
def findings(
    deployment: Deployment,
    scan: datetime | str | None,
    moment: Moment | None,
    cis: str | None,
    only: tuple[tuple[judging.Control, ...], ...],
    unused_days: int,
    key_age_days: int,
    fail_on_finding: bool,
    everything: bool,
    account: str | None,
    form: str,
) -> int:
    """Say what is wrong with what users can get in with, at the time of a scan.

    Each control is OK, a FINDING or UNKNOWN: what was not recorded, or is stale, is never OK.
    """
    controls = posture.chosen([control for some in only for control in some], cis)
    if not controls:
        raise CommandError(f"--only: version {cis} of the benchmark asks none of these; leave out --cis, or --only")
    parameters = judging.Parameters(unused_days, key_age_days)

    def show(found: Iterable[judging.Finding], scan: RecordedScan) -> Iterable[dict[str, Any]]:
        shown = (one for one in found if everything or one.status is not judging.Status.OK)
        answer = posture.of_findings(shown, scan, parameters, cis)
        return posture.folded(answer) if form == "table" else answer

    if account == ALL:
        until = _asked_moment(deployment, scan, moment)
        question = everywhere.findings(scan, moment, controls, parameters, show)
        answer, _ = _ask_all(deployment, question, posture.FINDING_COLUMNS, form, until)
        told = f"{words.number(answer.tally.findings, 'finding')} in {answer.accounts}"
        complete = _tell_all(answer, told, *answer.tally.summary(controls))
        return _gate(answer.tally, answer.unjudged, complete) if fail_on_finding else complete
    reader, known, chosen = _asked_scan(deployment, scan, moment, account)
    listing = reader.of_scan(chosen)
    found = posture.sort(judging.of_scan(chosen, listing, parameters, controls))
    output.write(show(found, chosen), posture.FINDING_COLUMNS, form, sys.stdout)
    tally = Tally.of(found)
    _note(f"{words.number(tally.findings, 'finding')} in {_told(reader, chosen, moment)}")
    for line in (*posture.sections(chosen), *tally.summary(controls)):
        _note(line)
    if moment is not None:
        for line in scope.unrecorded(reader, known, chosen, moment.time):
            _note(line)
    complete = _complete(chosen, listing.missing)
    return _gate(tally, posture.unjudged(found), complete) if fail_on_finding else complete


def _gate(tally: Tally, unjudged: Iterable[str], complete: int) -> int:
    """Return the exit status of --fail-on-finding."""
    if tally.findings:
        return ExitStatus.FINDING
    for why in unjudged:
        _warn(f"that there is no finding means nothing: {why}")
        complete = ExitStatus.INCOMPLETE
    return complete


@cli.command()
@_answering_scan
@_account_or_all
@_format
@_of_deployment
@_deployment
def root(
    deployment: Deployment, scan: datetime | str | None, moment: Moment | None, account: str | None, form: str
) -> int:
    """Show what the root user of the account could get in with."""
    if account == ALL:
        until = _asked_moment(deployment, scan, moment)
        answer, _ = _ask_all(deployment, everywhere.root(scan, moment), posture.ROOT_COLUMNS, form, until)
        return _tell_all(answer, f"the root users of {answer.accounts}")
    reader, _, chosen = _asked_scan(deployment, scan, moment, account)
    known_root = chosen.manifest.root
    if not known_root:
        why = judging.why_no_root(chosen.manifest.sections)
        raise CommandError(f"the scan {chosen.scan_timestamp} does not know the root user: {why}")
    output.write([posture.of_root(chosen, known_root)], posture.ROOT_COLUMNS, form, sys.stdout)
    _note(f"the root user in {_told(reader, chosen, moment)}")
    for line in posture.sections(chosen, [CREDENTIAL_REPORT]):
        _note(line)
    return ExitStatus.OK


@cli.command()
@click.argument("user", metavar="USER")
@click.option("--all", "everything", is_flag=True, help="Show every scan, not only those with a change.")
@_activity
@_account_or_all
@_format
@_of_deployment
@_deployment
def history(deployment: Deployment, user: str, everything: bool, activity: bool, account: str | None, form: str) -> int:
    """Show a user through time, by its name or its user_id, whatever it was called."""
    if not user:
        raise CommandError("USER is empty; it must be the name or the user_id of an IAM user")
    _introduce(deployment, account)
    if account == ALL:
        question = everywhere.history(user, everything=everything, activity=activity)
        answer, _ = _ask_all(deployment, question, rows.HISTORY_COLUMNS, form, former=True, whom=f"USER {user}")
        return _tell_all(answer, f"of this name or user_id there is a user in {answer.found} of {answer.accounts}")
    try:
        found = histories.history(_reader_of(deployment, account), user, activity=activity)
    except histories.UnknownUser as unknown:
        hint = f"; did you mean {' or '.join(unknown.similar)}?" if unknown.similar else "; `users` lists the last scan"
        raise CommandError(f"USER {user}: no scan has recorded a user of this name{hint}") from None
    output.write(rows.of_history(found, everything), rows.HISTORY_COLUMNS, form, sys.stdout)
    for line in everywhere.edge(found):
        _note(line)
    for scan in found.behind:
        _warn(everywhere.behind(scan))
    return ExitStatus.INCOMPLETE if found.behind else ExitStatus.OK


@cli.command()
@click.argument("former", metavar="FROM", type=SCAN_OR_PREVIOUS)
@click.argument("later", metavar="[TO]", type=SCAN, default=LATEST)
@_activity
@_account_or_all
@_format
@_of_deployment
@_deployment
def diff(
    deployment: Deployment,
    former: datetime | str,
    later: datetime | str,
    activity: bool,
    account: str | None,
    form: str,
) -> int:
    """Show who was created, deleted, recreated, renamed or changed between two scans.

    FROM and TO are scan_timestamps or latest; FROM may be previous, the scan before TO. What one of them does not know
    is no change.
    """
    _introduce(deployment, account)
    if account == ALL:
        until = later if isinstance(later, datetime) else None
        question = everywhere.diff(former, later, activity=activity)
        since = former if isinstance(former, datetime) else None
        answer, count = _ask_all(deployment, question, rows.DIFF_COLUMNS, form, until, since=since)
        return _tell_all(answer, f"{words.number(count, 'change')} in {answer.accounts}")
    reader = _reader_of(deployment, account)
    begin, end = scope.pair(list(reader.scans()), former, later)
    found = scope.compared(reader, begin, end, activity=activity)
    count = output.write(rows.of_diff(found), rows.DIFF_COLUMNS, form, sys.stdout)
    period = " to ".join(f"{scan.scan_timestamp} ({words.span(scan)})" for scan in (begin, end))
    _note(f"{words.number(count, 'change')} from {period}")
    if any(scan.manifest.sections for scan in (begin, end)):
        for section, users_ in found.uncompared.items():
            _note(posture.uncompared(section, users_))
    return max(_complete(begin, found.missing_before), _complete(end, found.missing_after))


@cli.command()
@click.option(
    "--since",
    type=SINCE,
    default="1d",
    show_default=True,
    metavar="MOMENT|SCAN|DURATION",
    help="Begin with the last scan up to then: 2026-01-31T00:00Z, a scan_timestamp, or how long ago, 90min, 2h or 7d.",
)
@click.option("--user", metavar="NAME|ID", help="Only of a user, by name or user_id, whatever it was called.")
@_activity
@_account_or_all
@_format
@_of_deployment
@_deployment
def changes(
    deployment: Deployment,
    since: Moment | timedelta,
    user: str | None,
    activity: bool,
    account: str | None,
    form: str,
) -> int:
    """Show what happened, scan after scan, and whether it was announced.

    It is what the change events say, told again from the records, also where there are no events: only what is sure.
    """
    if user == "":
        raise CommandError("--user is empty; it must be the name or the user_id of an IAM user")
    _introduce(deployment, account)
    if account == ALL:
        if isinstance(since, Moment):
            _take(since, _reader(deployment).now, "--since")
        question = everywhere.changes(since, user, activity=activity)
        whom = f"--user {user}" if user is not None else None
        every, count = _ask_all(deployment, question, rows.CHANGE_COLUMNS, form, former=True, whom=whom)
        return _tell_all(every, f"{words.number(count, 'change')} in {every.accounts}")
    told = happenings.tell(_reader_of(deployment, account), since, user, activity=activity)
    answer, begin = told.answer, told.base
    if isinstance(since, Moment) and since.is_date:
        _note(f"--since {since.text} is taken as its beginning in UTC, {timestamps.to_seconds(since.time)}")
    if answer.following is not None and not answer.following.found:
        raise CommandError(
            f"--user {user}: no scan since {begin.scan_timestamp} has a user of this name; see `history`"
        )
    count = output.write(answer.rows, rows.CHANGE_COLUMNS, form, sys.stdout)
    _note(f"{words.number(count, 'change')} {answer.period}")
    if told.is_oldest:
        _note(f"{begin.scan_timestamp} is the oldest scan that is kept; what was before is not known")
    for line in answer.remarks():
        _note(line)
    for line in answer.warnings:
        _warn(line)
    if told.behind is not None:
        _warn(told.behind)
    elif answer.missing:
        _warn(happenings.maybe_new(answer.missing))
    return ExitStatus.INCOMPLETE if told.behind is not None or answer.missing else ExitStatus.OK


@cli.command()
@click.argument("former", metavar="FROM", type=SCAN_OR_PREVIOUS)
@click.argument("later", metavar="TO", type=SCAN)
@click.option("--yes", is_flag=True, help="Send them without asking.")
@click.option(
    "--bus",
    envvar="EVENT_BUS_NAME",
    default="default",
    show_default=True,
    metavar="NAME|ARN",
    help="Event bus. Else EVENT_BUS_NAME.",
)
@_account
@_of_deployment
@_deployment
def announce(
    deployment: Deployment, former: datetime | str, later: datetime | str, yes: bool, bus: str, account: str | None
) -> int:
    """Send the events of the scans after FROM, up to TO, again, as they were announced: under the same ids.

    FROM and TO are scan_timestamps or latest, the last scan that was announced; FROM may be previous, the one that was
    announced before TO. It says what it would send, and asks. Whoever has seen an event drops it by its detail.id.
    """
    if not bus:
        raise CommandError("--bus is empty; it must be the name or the ARN of an event bus")
    _introduce(deployment, account)
    reader = _reader_of(deployment, account)
    told = Chain.of(reader)
    wanted = happenings.announced(told, former, later)
    parcels = [happenings.parcel(reader, told, one) for one in wanted]
    for parcel in parcels:
        for line in parcel.offer():
            _say(line)
    total = sum(len(parcel.events) for parcel in parcels)
    _say(f"{words.number(total, 'event')} to the bus {bus}")
    if not yes:
        if not _somebody_is_there():
            raise CommandError("nothing was sent: there is nobody to ask; give --yes")
        if not click.confirm("Send them again?"):
            _say("nothing was sent")
            return ExitStatus.OK
    return _send(deployment, parcels, bus)


def _send(deployment: Deployment, parcels: list[happenings.Parcel], name: str) -> int:
    def refused(refusal: Refusal) -> None:
        _warn(
            f"the bus will never take an event: {refusal.code}: {refusal.message} ({refusal.detail_type}, id "
            f"{refusal.event_id})"
        )

    bus = Bus(deployment.events, name, _SENDING_SECONDS, refused)
    sent = lost = 0
    for done, parcel in enumerate(parcels):
        try:
            taken, never = bus.send(parcel.events)
        except (MonitorError, ClientError) as error:
            told = f"{error}; the events of {done:,} of {words.number(len(parcels), 'scan')} were sent"
            raise CommandError(told, ExitStatus.NO_ANSWER) from error
        sent, lost = sent + taken, lost + never
    _say(f"{words.number(sent, 'event')} sent")
    if lost:
        return ExitStatus.NO_ANSWER
    return ExitStatus.OK if all(parcel.exact for parcel in parcels) else ExitStatus.INCOMPLETE


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


@cli.command()
@click.option(
    "--output",
    "target",
    metavar="FILE",
    default="report.html",
    show_default=True,
    help="Where to; - is the output. Of all accounts, each has a file: report-222222222222.html.",
)
@click.option("--at", "moment", type=MOMENT, help="The account at a moment, and all that is kept up to then.")
@click.option("--from", "since", type=MOMENT, help="Beginning of the period.  [default: the oldest scan]")
@click.option("--to", "until", type=MOMENT, help="End of the period.  [default: the latest scan]")
@click.option(
    "--max-scans",
    type=click.IntRange(1, 400),
    default=MOST_SCANS,
    show_default=True,
    help="How many scans the page holds at most, evenly spread.",
)
@_unused_days
@_key_age_days
@_account_or_all
@_of_deployment
@_deployment
def report(
    deployment: Deployment,
    target: str,
    moment: Moment | None,
    since: Moment | None,
    until: Moment | None,
    max_scans: int,
    unused_days: int,
    key_age_days: int,
    account: str | None,
) -> int:
    """Write a page for auditors: one file, for any browser, without a network.

    It shows who existed at the last scan of a period, or at an earlier one, what they could get in with, what was
    wrong with it and since when, and what changed.
    """
    if moment is not None and (since is not None or until is not None):
        raise CommandError("--at is one moment and --from and --to are a period; give the one or the other")
    output_file = _writable(target)
    if account == ALL and output_file is None:
        raise CommandError("--output -: of all accounts, each has a file of its own; name one, such as report.html")
    _introduce(deployment, account)
    own = _reader(deployment)
    _check_period(own.now, moment, since, until)
    wanted = _Wanted(moment, since, until, max_scans, judging.Parameters(unused_days, key_age_days))
    if account == ALL and output_file is not None:
        return _pages(deployment, own, wanted, output_file)
    reader = scope.of_account(deployment, own, account)
    asked, chosen = _asked(deployment, reader, wanted)
    _note(f"reading {words.number(len(asked.scans), 'scan')} of {len(asked.period):,}")
    found = gather(reader, asked)
    _write(view.render(found), output_file)
    status = ExitStatus.OK
    for scan, missing in _missing_in(found, asked):
        status = max(status, ExitStatus(_complete(scan, missing)))
    if output_file is not None:
        told = f"{words.number(found.counts[-1].users, 'user')} in {_told(reader, chosen, moment)}"
        _note(f"{target}: {told}, {words.number(len(asked.scans), 'scan')}, {output_file.stat().st_size / 1e6:.1f} MB")
    return status


@dataclass(frozen=True)
class _Wanted:
    """What a page is to show."""

    moment: Moment | None
    since: Moment | None
    until: Moment | None
    max_scans: int
    parameters: judging.Parameters


def _pages(deployment: Deployment, own: Reader, wanted: _Wanted, output_file: Path) -> int:
    """Write a page for each account of the organization, each to a file that has the account's number in its name."""

    def write(account: scope.Account) -> everywhere.Part:
        asked, chosen = _asked(deployment, account.reader, wanted)
        found = gather(account.reader, asked)
        file = output_file.with_stem(f"{output_file.stem}-{account.account_id}")
        _write(view.render(found), file)
        users = words.number(found.counts[-1].users, "user")
        part = everywhere.Part([{"told": f"{file}: {users} in the scan {chosen.scan_timestamp}"}], [chosen])
        for scan, missing in _missing_in(found, asked):
            part.lacks(scan, missing)
        return part

    until = wanted.moment or wanted.until
    accounts = scope.everywhere(deployment, own, until.time if until is not None else own.now)
    answer = everywhere.Answer(accounts, write)
    count = 0
    for row in answer.rows():
        _note(str(row["told"]))
        count += 1
    return _tell_all(answer, f"{words.number(count, 'page')} of {answer.accounts}")


def _asked(deployment: Deployment, reader: Reader, wanted: _Wanted) -> tuple[Asked, RecordedScan]:
    """Return what a page of one account is made of, and the scan that it opens with.

    Raises
    ------
    CommandError
        No scan of then may be trusted.
    """
    known = list(reader.scans())
    chosen, period = _asked_period(known, wanted.moment, wanted.since, wanted.until)
    notes = []
    if wanted.moment is not None:
        unrecorded = scope.unrecorded(reader, known, chosen, wanted.moment.time)
        later = words.duration(wanted.moment.time - chosen.listing[1])
        notes = [
            f"Asked for {timestamps.to_seconds(wanted.moment.time)}, {later} after the scan had listed.",
            *unrecorded,
        ]
    asked = Asked(
        scans=spread(period, wanted.max_scans),
        period=period,
        every=known,
        parameters=wanted.parameters,
        notes=notes,
        deployment=f"table {deployment.table}, region {deployment.session.region_name}",
    )
    return asked, chosen


def _missing_in(found: Gathered, asked: Asked) -> list[tuple[RecordedScan, int]]:
    """Return the scans of which a page lacks records, and how many."""
    missing = ((scan, found.missing.get(scan.scan_timestamp, 0)) for scan in asked.scans)
    return [(scan, count) for scan, count in missing if count]


def _check_period(now: datetime, moment: Moment | None, since: Moment | None, until: Moment | None) -> None:
    """Say how the moments of a page are taken, and refuse those that cannot be."""
    for name, one in (("--at", moment), ("--from", since), ("--to", until)):
        if one is not None:
            _take(one, now, name)
    if since is not None and until is not None and since.time > until.time:
        raise CommandError(f"--from {since.text} is later than --to {until.text}; exchange them")


def _asked_period(
    known: list[RecordedScan], moment: Moment | None, since: Moment | None, until: Moment | None
) -> tuple[RecordedScan, list[RecordedScan]]:
    """Return the scan that a page opens with, and all trusted ones of its period."""
    if moment is not None:
        chosen = scope.chosen_at(known, moment)
        return chosen, in_period(known, None, chosen.moment)
    scope.chosen(known, LATEST, "report")
    period = in_period(known, since.time if since is not None else None, until.time if until is not None else None)
    if not period:
        bounds = (f"{name} {one.text}" for name, one in (("--from", since), ("--to", until)) if one is not None)
        raise CommandError(f"{' '.join(bounds)}: no scan of then has recorded every user; `scans` lists them")
    return period[-1], period


def _writable(target: str) -> Path | None:
    """Return the file that is to be written, None for the output, before anything is read that takes long."""
    if target == "-":
        return None
    output_file = Path(target)
    if not target or output_file.is_dir():
        raise CommandError(f"--output must be a file, or -, got {target!r}")
    if not output_file.parent.is_dir():
        raise CommandError(f"--output {target}: there is no folder {output_file.parent}")
    return output_file


def _write(text: str, output_file: Path | None) -> None:
    if output_file is None:
        click.echo(text, nl=False)
        return
    try:
        page.write(text, output_file)
    except OSError as error:
        raise CommandError(f"--output {output_file}: {error.strerror or error}") from None


def _gaps(reader: Reader, limit: int, wanted: timedelta | str, form: str) -> int:
    known = list(reader.scans(newest_first=False))
    trusted = sum(scan.trusted for scan in known)
    if not trusted:
        raise CommandError("--gaps: no scan has recorded every user yet; `scans` lists them")
    usual = periods.expected(known)
    longest = wanted if isinstance(wanted, timedelta) else usual
    if longest is None:
        raise CommandError("--gaps: one trusted scan does not tell how far apart they are; give a duration, such as 2h")
    found = periods.gaps(known, longest, reader.now)
    output.write(islice(rows.of_gaps(found, longest), limit), rows.GAP_COLUMNS, form, sys.stdout)
    told = f"longer than {words.duration(longest)}"
    if longest is usual:
        told += f", twice the median distance of {trusted:,} trusted scans"
    _note(f"{words.number(len(found), 'period')} without a trusted scan, {told}")
    _note(f"{known[0].scan_timestamp} is the oldest scan that is kept; what was before is not known")
    return ExitStatus.OK


def _asked_scan(
    deployment: Deployment, scan: datetime | str | None, moment: Moment | None, account: str | None
) -> tuple[Reader, list[RecordedScan], RecordedScan]:
    """Return a reader, all scans, and the trusted one that is asked for by --scan or --at."""
    _refuse_both(scan, moment)
    _introduce(deployment, account)
    reader = _reader_of(deployment, account)
    known = list(reader.scans())
    if moment is not None:
        _take(moment, reader.now)
    return reader, known, scope.answering(known, scan, moment)


def _asked_moment(deployment: Deployment, scan: datetime | str | None, moment: Moment | None) -> datetime | None:
    """Return the moment of --scan or --at, None for now."""
    _refuse_both(scan, moment)
    _introduce(deployment, ALL)
    if moment is None:
        return scan if isinstance(scan, datetime) else None
    _take(moment, _reader(deployment).now)
    return moment.time


def _refuse_both(scan: datetime | str | None, moment: Moment | None) -> None:
    if scan is not None and moment is not None:
        raise CommandError("--scan and --at are two answers to one question; give one of them")


def _take(moment: Moment, now: datetime, name: str = "--at") -> None:
    """Say how a moment is taken, and refuse one that is to come."""
    scope.refuse_the_future(moment, now, name)
    if moment.is_date:
        _note(f"{name} {moment.text} is taken as its beginning in UTC, {timestamps.to_seconds(moment.time)}")


def _ask_all(
    deployment: Deployment,
    question: everywhere.Question,
    columns: output.Columns,
    form: str,
    moment: datetime | None = None,
    *,
    since: datetime | None = None,
    former: bool = False,
    whom: str | None = None,
) -> tuple[everywhere.Answer, int]:
    """Print what all accounts answer; return what is to be said beside it, and how many rows there were.

    Parameters
    ----------
    moment
        That whose accounts are asked; None is now.
    since, former
        See :func:`scope.everywhere`.
    whom
        The user who is asked for: one whom no account has is an error.
    """
    reader = _reader(deployment)
    asked = scope.everywhere(deployment, reader, moment or reader.now, since=since, former=former)
    answer = everywhere.Answer(asked, question)
    found = answer.rows()
    first = list(islice(found, 1))
    if whom is not None and not first and not answer.found:
        for line in answer.warnings():
            _warn(line)
        raise CommandError(
            f"{whom}: no account that answers has a user of this name; a user_id is looked for in each one's last "
            "trusted scan only",
            ExitStatus.BAD_INPUT if answer.complete else ExitStatus.INCOMPLETE,
        )
    count = output.write(chain(first, found), rows.of_all_accounts(columns), form, sys.stdout)
    return answer, count


def _tell_all(answer: everywhere.Answer, *lines: str) -> int:
    """Say what is to be said beside the rows of all accounts; return the exit status."""
    for line in (*lines, *answer.notes()):
        _note(line)
    for line in answer.warnings():
        _warn(line)
    return ExitStatus.OK if answer.complete else ExitStatus.INCOMPLETE


def _told(reader: Reader, chosen: RecordedScan, moment: Moment | None) -> str:
    """Say which scan an answer is from, and how old it is."""
    asked = moment.time if moment is not None else reader.now
    return f"the scan {chosen.scan_timestamp} ({words.span(chosen)}, {words.age(asked, chosen)})"


def _reader(deployment: Deployment) -> Reader:
    return Reader(deployment.dynamodb, deployment.table)


def _reader_of(deployment: Deployment, account: str | None) -> Reader:
    """Return a reader of the account that is asked for."""
    return scope.of_account(deployment, _reader(deployment), account)


def _introduce(deployment: Deployment, account: str | None = None) -> None:
    """Say whom the command talks to, before it does."""
    if not deployment.quiet:
        _note(deployment.introduce(account))


def _follow(deployment: Deployment, arn: str, *, after_event: int = 0) -> int:
    say = _say
    say(arn)
    ended = executions.follow(deployment, arn, say, after=after_event)
    if ended["status"] == "SUCCEEDED":
        reason = executions.skipped_for(ended)
        if reason is not None:
            say(f"SKIPPED: {reason}")
            return ExitStatus.SKIPPED
        say("SUCCEEDED")
        return ExitStatus.OK
    say(ended["status"])
    if ended.get("cause"):
        say(executions.message_of(ended["cause"]))
    return ExitStatus.FAILED


def _complete(scan: RecordedScan, missing: int) -> int:
    """Say what the answer lacks; return the exit status."""
    if not missing:
        return ExitStatus.OK
    _warn(scope.missing(scan, missing))
    return ExitStatus.INCOMPLETE


def _say(text: str) -> None:
    click.echo(output.printable(text))


def _note(text: str) -> None:
    """Tell people something that is no row: on the error output, where it is in no tool's way."""
    context = click.get_current_context(silent=True)
    deployment = context.find_object(Deployment) if context is not None else None
    if deployment is None or not deployment.quiet:
        click.echo(output.printable(text), err=True)


def _warn(text: str) -> None:
    click.echo(f"warning: {output.printable(text)}", err=True)


def _failed(message: str, status: int) -> int:
    click.echo(f"error: {output.printable(' '.join(message.split()))}", err=True)
    return status
