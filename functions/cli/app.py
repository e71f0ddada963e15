"""The commands. Each reads its options, asks and prints; to ask is for ``functions.table`` and ``executions``."""

import os
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click
from botocore.exceptions import BotoCoreError, ClientError

from functions.cli import changes as happenings
from functions.cli import executions, output, posture, rows, words
from functions.cli.deployment import DEFAULT_NAME, DEFAULT_TABLE, Deployment
from functions.cli.errors import CommandError, ExitStatus
from functions.cli.output import FORMATS
from functions.cli.report import page, view
from functions.cli.report.choose import MOST_SCANS, in_period, spread
from functions.cli.report.gather import Asked, gather
from functions.cli.values import (
    AUTO,
    CONTROLS,
    DURATION,
    LATEST,
    MOMENT,
    PREVIOUS,
    SCAN,
    SCAN_OR_PREVIOUS,
    SINCE,
    Moment,
)
from functions.shared import timestamps
from functions.shared.bus import Bus, Refusal
from functions.shared.errors import IndexBehind, MonitorError
from functions.table import diff as differences
from functions.table import findings as judging
from functions.table import gaps as periods
from functions.table import history as histories
from functions.table.manifest import Status
from functions.table.reader import Reader, TableBusy
from functions.table.record import CREDENTIAL_REPORT
from functions.table.replay import Chain, Replay
from functions.table.scans import RecordedScan, after, at, before, created_at, newest

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
@_of_deployment
@_deployment
def start(deployment: Deployment) -> int:
    """Start a scan and follow it to its end."""
    _introduce(deployment)
    return _follow(deployment, executions.start(deployment))


@cli.command()
@click.argument("execution", metavar="EXECUTION|latest")
@_of_deployment
@_deployment
def redrive(deployment: Deployment, execution: str) -> int:
    """Redrive a run that failed, by its ARN or its name, and follow it.

    latest is the newest run that can be redriven.
    """
    if not execution:
        raise CommandError("EXECUTION is empty; it must be the ARN or the name of an execution, or latest")
    _introduce(deployment)
    if execution == LATEST:
        newest_one = executions.newest_redrivable(deployment, list(_reader(deployment).scans()))
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
@_format
@_of_deployment
@_deployment
def scans(deployment: Deployment, limit: int, gaps: timedelta | str | None, form: str) -> int:
    """List the scans, newest first, and which may be trusted."""
    _introduce(deployment)
    if gaps is not None:
        return _gaps(deployment, limit, gaps, form)
    output.write(
        rows.of_scans(deployment, islice(_reader(deployment).scans(), limit)), rows.SCAN_COLUMNS, form, sys.stdout
    )
    return ExitStatus.OK


@cli.command()
@_answering_scan
@_format
@_of_deployment
@_deployment
def users(deployment: Deployment, scan: datetime | str | None, moment: Moment | None, form: str) -> int:
    """List who existed."""
    reader, known, chosen = _asked_scan(deployment, scan, moment)
    listing = reader.of_scan(chosen)
    count = output.write(map(rows.of_user, listing), rows.USER_COLUMNS, form, sys.stdout)
    _note(f"{words.number(count, 'user')} in {_told(reader, chosen, moment)}")
    if chosen.manifest.sections:
        for line in posture.sections(chosen):
            _note(line)
    if moment is not None:
        _name_the_unrecorded(reader, known, chosen, moment.time)
    return _complete(chosen, listing.missing)


@cli.command(epilog=posture.explained())
@_answering_scan
@click.option("--cis", type=click.Choice(judging.CIS_VERSIONS), help="Only what this version of the benchmark asks.")
@click.option("--only", type=CONTROLS, multiple=True, metavar="CONTROL[,…]", help="Only these controls.")
@_unused_days
@_key_age_days
@click.option("--fail-on-finding", is_flag=True, help="End with 3 where there is a finding, with 6 where none can be.")
@click.option("--all", "everything", is_flag=True, help="Show what is OK, too.")
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
    form: str,
) -> int:
    """Say what is wrong with what users can get in with, at the time of a scan.

    Each control is OK, a FINDING or UNKNOWN: what was not recorded, or is stale, is never OK.
    """
    controls = posture.chosen([control for some in only for control in some], cis)
    if not controls:
        raise CommandError(f"--only: version {cis} of the benchmark asks none of these; leave out --cis, or --only")
    parameters = judging.Parameters(unused_days, key_age_days)
    reader, known, chosen = _asked_scan(deployment, scan, moment)
    listing = reader.of_scan(chosen)
    found = posture.sort(judging.of_scan(chosen, listing, parameters, controls))
    shown = [one for one in found if everything or one.status is not judging.Status.OK]
    answer = posture.of_findings(shown, chosen, parameters, cis)
    output.write(posture.folded(answer) if form == "table" else answer, posture.FINDING_COLUMNS, form, sys.stdout)
    failed = sum(one.status is judging.Status.FINDING for one in found)
    _note(f"{words.number(failed, 'finding')} in {_told(reader, chosen, moment)}")
    for line in (*posture.sections(chosen), *posture.summary(found, controls)):
        _note(line)
    if moment is not None:
        _name_the_unrecorded(reader, known, chosen, moment.time)
    complete = _complete(chosen, listing.missing)
    if not fail_on_finding:
        return complete
    if failed:
        return ExitStatus.FINDING
    unjudged = posture.unjudged(found)
    for why in unjudged:
        _warn(f"that there is no finding means nothing: {why}")
    return ExitStatus.INCOMPLETE if unjudged else complete


@cli.command()
@_answering_scan
@_format
@_of_deployment
@_deployment
def root(deployment: Deployment, scan: datetime | str | None, moment: Moment | None, form: str) -> int:
    """Show what the root user of the account could get in with."""
    reader, _, chosen = _asked_scan(deployment, scan, moment)
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
@_format
@_of_deployment
@_deployment
def history(deployment: Deployment, user: str, everything: bool, activity: bool, form: str) -> int:
    """Show a user through time, by its name or its user_id, whatever it was called."""
    if not user:
        raise CommandError("USER is empty; it must be the name or the user_id of an IAM user")
    _introduce(deployment)
    try:
        found = histories.history(_reader(deployment), user, activity=activity)
    except histories.UnknownUser as unknown:
        hint = f"; did you mean {' or '.join(unknown.similar)}?" if unknown.similar else "; `users` lists the last scan"
        raise CommandError(f"USER {user}: no scan has recorded a user of this name{hint}") from None
    output.write(rows.of_history(found, everything), rows.HISTORY_COLUMNS, form, sys.stdout)
    _tell_the_edge(found)
    for scan in found.behind:
        _warn(f"the index does not yield all records of the scan {scan.scan_timestamp} yet; ask again")
    return ExitStatus.INCOMPLETE if found.behind else ExitStatus.OK


@cli.command()
@click.argument("former", metavar="FROM", type=SCAN_OR_PREVIOUS)
@click.argument("later", metavar="[TO]", type=SCAN, default=LATEST)
@_activity
@_format
@_of_deployment
@_deployment
def diff(deployment: Deployment, former: datetime | str, later: datetime | str, activity: bool, form: str) -> int:
    """Show who was created, deleted, recreated, renamed or changed between two scans.

    FROM and TO are scan_timestamps or latest; FROM may be previous, the scan before TO. What one of them does not know
    is no change.
    """
    _introduce(deployment)
    reader = _reader(deployment)
    known = list(reader.scans())
    end = _chosen(known, later, "TO")
    if former == PREVIOUS:
        begin = before(known, end)
        if begin is None:
            raise CommandError(f"FROM previous: no scan before {end.scan_timestamp} may be trusted; `scans` lists them")
    else:
        begin = _chosen(known, former, "FROM")
    if begin.moment > end.moment:
        raise CommandError(f"FROM {begin.scan_timestamp} is newer than TO {end.scan_timestamp}; exchange them")
    try:
        found = differences.diff(reader, begin, end, activity=activity)
    except differences.SpansOverlap:
        raise CommandError(
            f"FROM {begin.scan_timestamp} ({words.span(begin)}) and TO {end.scan_timestamp} ({words.span(end)}) "
            "overlap: they do not tell what came first; choose another scan"
        ) from None
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
@_format
@_of_deployment
@_deployment
def changes(deployment: Deployment, since: Moment | timedelta, user: str | None, activity: bool, form: str) -> int:
    """Show what happened, scan after scan, and whether it was announced.

    It is what the change events say, told again from the records, also where there are no events: only what is sure.
    """
    if user == "":
        raise CommandError("--user is empty; it must be the name or the user_id of an IAM user")
    _introduce(deployment)
    reader = _reader(deployment)
    known = list(reader.scans())
    begin, is_oldest = happenings.base(known, since, reader.now)
    if isinstance(since, Moment) and since.is_date:
        _note(f"--since {since.text} is taken as its beginning in UTC, {timestamps.to_seconds(since.time)}")
    try:
        replay = Replay(reader, known, begin, Chain.of(reader), activity)
    except IndexBehind as error:
        raise CommandError(f"{error}; ask again", ExitStatus.INCOMPLETE) from error
    answer = happenings.Answer(replay, happenings.Following(user, replay.picture) if user is not None else None)
    behind = None
    try:
        for step in replay:
            answer.add(step)
    except IndexBehind as error:
        behind = f"{error}; ask again"
    if answer.following is not None and not answer.following.found:
        raise CommandError(
            f"--user {user}: no scan since {begin.scan_timestamp} has a user of this name; see `history`"
        )
    count = output.write(answer.rows, rows.CHANGE_COLUMNS, form, sys.stdout)
    _note(f"{words.number(count, 'change')} {answer.period}")
    if is_oldest:
        _note(f"{begin.scan_timestamp} is the oldest scan that is kept; what was before is not known")
    for line in answer.remarks():
        _note(line)
    for line in answer.warnings:
        _warn(line)
    if behind is not None:
        _warn(behind)
    elif answer.missing:
        _warn(
            f"{words.number(answer.missing, 'record')} missing from the index of the table: who is new may be missing"
        )
    return ExitStatus.INCOMPLETE if behind is not None or answer.missing else ExitStatus.OK


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
@_of_deployment
@_deployment
def announce(deployment: Deployment, former: datetime | str, later: datetime | str, yes: bool, bus: str) -> int:
    """Send the events of the scans after FROM, up to TO, again, as they were announced: under the same ids.

    FROM and TO are scan_timestamps or latest, the last scan that was announced; FROM may be previous, the one that was
    announced before TO. It says what it would send, and asks. Whoever has seen an event drops it by its detail.id.
    """
    if not bus:
        raise CommandError("--bus is empty; it must be the name or the ARN of an event bus")
    _introduce(deployment)
    reader = _reader(deployment)
    chain = Chain.of(reader)
    wanted = happenings.announced(chain, former, later)
    parcels = [happenings.parcel(reader, chain, one) for one in wanted]
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
    "--output", "target", metavar="FILE", default="report.html", show_default=True, help="Where to; - is the output."
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
) -> int:
    """Write a page for auditors: one file, for any browser, without a network.

    It shows who existed at the last scan of a period, or at an earlier one, what they could get in with, what was
    wrong with it and since when, and what changed.
    """
    if moment is not None and (since is not None or until is not None):
        raise CommandError("--at is one moment and --from and --to are a period; give the one or the other")
    output_file = _writable(target)
    _introduce(deployment)
    reader = _reader(deployment)
    known = list(reader.scans())
    chosen, period = _asked_period(known, reader.now, moment, since, until)
    held = spread(period, max_scans)
    notes = []
    if moment is not None:
        unrecorded = _unrecorded(reader, known, chosen, moment.time)
        later = words.duration(moment.time - chosen.listing[1])
        notes = [f"Asked for {timestamps.to_seconds(moment.time)}, {later} after the scan had listed.", *unrecorded]
    _note(f"reading {words.number(len(held), 'scan')} of {len(period):,}")
    asked = Asked(
        scans=held,
        period=period,
        every=known,
        parameters=judging.Parameters(unused_days, key_age_days),
        notes=notes,
        deployment=f"table {deployment.table}, region {deployment.session.region_name}",
    )
    found = gather(reader, asked)
    _write(view.render(found), output_file)
    status = ExitStatus.OK
    for scan in held:
        if missing := found.missing.get(scan.scan_timestamp):
            status = max(status, ExitStatus(_complete(scan, missing)))
    if output_file is not None:
        told = f"{words.number(found.counts[-1].users, 'user')} in {_told(reader, chosen, moment)}"
        _note(f"{target}: {told}, {words.number(len(held), 'scan')}, {output_file.stat().st_size / 1e6:.1f} MB")
    return status


def _asked_period(
    known: list[RecordedScan], now: datetime, moment: Moment | None, since: Moment | None, until: Moment | None
) -> tuple[RecordedScan, list[RecordedScan]]:
    """Return the scan that a page opens with, and all trusted ones of its period."""
    if moment is not None:
        chosen = _chosen_at(known, moment, now)
        return chosen, in_period(known, None, chosen.moment)
    for name, one in (("--from", since), ("--to", until)):
        if one is not None and one.time > now:
            raise CommandError(f"{name} {one.text} is in the future; it is {timestamps.to_seconds(now)} now")
        if one is not None and one.is_date:
            _note(f"{name} {one.text} is taken as its beginning in UTC, {timestamps.to_seconds(one.time)}")
    if since is not None and until is not None and since.time > until.time:
        raise CommandError(f"--from {since.text} is later than --to {until.text}; exchange them")
    _chosen(known, LATEST, "report")
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


def _gaps(deployment: Deployment, limit: int, wanted: timedelta | str, form: str) -> int:
    reader = _reader(deployment)
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
    deployment: Deployment, scan: datetime | str | None, moment: Moment | None
) -> tuple[Reader, list[RecordedScan], RecordedScan]:
    """Return a reader, all scans, and the trusted one that is asked for by --scan or --at."""
    if scan is not None and moment is not None:
        raise CommandError("--scan and --at are two answers to one question; give one of them")
    _introduce(deployment)
    reader = _reader(deployment)
    known = list(reader.scans())
    if moment is not None:
        return reader, known, _chosen_at(known, moment, reader.now)
    return reader, known, _chosen(known, scan or LATEST, "--scan")


def _told(reader: Reader, chosen: RecordedScan, moment: Moment | None) -> str:
    """Say which scan an answer is from, and how old it is."""
    asked = moment.time if moment is not None else reader.now
    return f"the scan {chosen.scan_timestamp} ({words.span(chosen)}, {words.age(asked, chosen)})"


def _reader(deployment: Deployment) -> Reader:
    return Reader(deployment.dynamodb, deployment.table)


def _introduce(deployment: Deployment) -> None:
    """Say whom the command talks to, before it does."""
    if not deployment.quiet:
        _note(deployment.introduce())


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


def _chosen(scans: list[RecordedScan], wanted: datetime | str, name: str) -> RecordedScan:
    """Return a scan that may be trusted."""
    if isinstance(wanted, str):
        latest = newest(scans)
        if latest is None:
            raise CommandError(f"{name} {wanted}: no scan has recorded every user yet; `scans` lists them")
        return latest
    timestamp = timestamps.to_seconds(wanted)
    for scan in scans:
        if scan.scan_timestamp != timestamp:
            continue
        if scan.status is Status.SKIPPED:
            raise CommandError(f"{name} {timestamp} recorded nobody: another scan was at work; `scans` lists them")
        if scan.status is not Status.COMPLETE:
            raise CommandError(
                f"{name} {timestamp} may not be trusted: it is {scan.status}, so users may be missing; choose one that "
                "is COMPLETE, or redrive it (`scans` lists them)"
            )
        if not scan.trusted:
            raise CommandError(
                f"{name} {timestamp} may not be trusted: it {words.span(scan)}, which is longer than the "
                f"{scan.span_limit.total_seconds():.0f} s in which users may come and go unseen; choose another scan"
            )
        return scan
    raise CommandError(f"{name} {timestamp}: there is no such scan, or it has expired; `scans` lists them")


def _chosen_at(scans: list[RecordedScan], moment: Moment, now: datetime) -> RecordedScan:
    if moment.time > now:
        raise CommandError(f"--at {moment.text} is in the future; it is {timestamps.to_seconds(now)} now")
    if moment.is_date:
        _note(f"--at {moment.text} is taken as its beginning in UTC, {timestamps.to_seconds(moment.time)}")
    scan = at(scans, moment.time)
    if scan is None:
        raise CommandError(f"--at {moment.text}: no scan up to then has recorded every user; `scans` lists them")
    return scan


def _name_the_unrecorded(reader: Reader, scans: list[RecordedScan], chosen: RecordedScan, moment: datetime) -> None:
    for line in _unrecorded(reader, scans, chosen, moment):
        _note(line)


def _unrecorded(reader: Reader, scans: list[RecordedScan], chosen: RecordedScan, moment: datetime) -> list[str]:
    """Name the users who were created between the scan and the moment, as the next scan tells."""
    following = after(scans, chosen)
    if following is None:
        return []
    names = []
    for record in reader.of_scan(following):
        created = created_at(record)
        if created is not None and chosen.listing[1] < created <= moment:
            names.append(str(record["user_name"]))
    if not names:
        return []
    return [f"created by then, first recorded in {following.scan_timestamp}: {words.some(sorted(names))}"]


def _tell_the_edge(found: histories.History) -> None:
    """Say so where a user may be older than what is kept."""
    first = next((event for event in found.events if event.record is not None), None)
    if first is None or found.since is None or first.scan_timestamp != found.since.scan_timestamp:
        return
    _note(f"{found.since.scan_timestamp} is the oldest scan that is kept; what was before is not known")


def _complete(scan: RecordedScan, missing: int) -> int:
    """Say what the answer lacks; return the exit status."""
    if not missing:
        return ExitStatus.OK
    _warn(
        f"{missing:,} of the {scan.records_written:,} records of the scan {scan.scan_timestamp} are missing from this "
        "answer: the index of the table has not yielded them yet; ask again"
    )
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
