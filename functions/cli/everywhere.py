"""The commands asked of all accounts of the organization: what each account answers, and what is said of all."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from functions.cli import changes as happenings
from functions.cli import posture, rows, scope, words
from functions.cli.deployment import Deployment
from functions.cli.errors import CommandError
from functions.cli.posture import Tally
from functions.cli.scope import Account, Everywhere
from functions.cli.values import Moment
from functions.table import findings as judging
from functions.table import gaps as periods
from functions.table import history as histories
from functions.table.history import USER_ID_PREFIX
from functions.table.reader import Reader
from functions.table.scans import RecordedScan, newest

Row = dict[str, Any]


@dataclass
class Part:
    """What one account answers.

    Attributes
    ----------
    scans
        Those that answer.
    notes, warnings
        What is to be said of it; after a warning, the answer is not complete.
    """

    rows: Sequence[Row] = ()
    scans: Sequence[RecordedScan] = ()
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    """What must not be missed, and lacks nothing."""
    found: bool = True
    """Whether the account has what is asked for."""
    tally: Tally = field(default_factory=Tally)
    unjudged: list[str] = field(default_factory=list)

    def lacks(self, scan: RecordedScan, missing: int) -> None:
        """Note that the index has not yielded all records of a scan."""
        if missing:
            self.warnings.append(scope.missing(scan, missing))


Question = Callable[[Account], Part]


@dataclass
class Answer:
    """What all accounts answer, collected while it is printed: of the rows nothing is kept.

    Attributes
    ----------
    found
        How many accounts have what is asked for.
    unjudged
        In which accounts nobody could be judged by a section, and why.
    """

    everywhere: Everywhere
    question: Question
    found: int = 0
    incomplete: bool = False
    tally: Tally = field(default_factory=Tally)
    unjudged: list[str] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)
    _warnings: list[str] = field(default_factory=list)
    _older: list[str] = field(default_factory=list)
    _lacking: Counter[str] = field(default_factory=Counter)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of one account after another."""
        for account, part in self.everywhere.ask(self.question):
            self._collect(account, part)
            for row in part.rows:
                yield {**row, "account_id": account.account_id, "account_name": account.name}

    def _collect(self, account: Account, part: Part) -> None:
        self.found += part.found
        self.incomplete = self.incomplete or bool(part.warnings)
        self._notes += (f"{account.told}: {note}" for note in part.notes)
        self._warnings += (f"{account.told}: {warning}" for warning in (*part.alarms, *part.warnings))
        self.unjudged += (f"{account.told}: {why}" for why in part.unjudged)
        self.tally.add(part.tally)
        if part.scans:
            last = part.scans[-1]
            self._lacking.update(happenings.lacking(last))
            if account.listed and last.scan_timestamp < self.everywhere.fleet.scan_timestamp:
                self._older.append(f"{account.told}: {last.scan_timestamp}")

    @property
    def accounts(self) -> str:
        """How many accounts have answered, in words."""
        answered = words.number(self.everywhere.answered, "account")
        return f"{answered} of the organization, run {self.everywhere.fleet.scan_timestamp}"

    def notes(self) -> Iterator[str]:
        """Yield what is to be said beside the rows."""
        yield from self.everywhere.remarks()
        if self._older:
            yield f"answered by an older scan than that of the run: {words.some(self._older)}"
        for section, count in self._lacking.items():
            yield f"{section} missing or stale in {words.number(count, 'account')}"
        yield from self._notes

    def warnings(self) -> Iterator[str]:
        """Yield what the answer lacks, and what must not be missed."""
        yield from self._warnings
        yield from self.everywhere.warnings()

    @property
    def complete(self) -> bool:
        """Whether all accounts have answered all that was asked."""
        return not self.incomplete and not self.everywhere.silent


# What is asked of an account.


def scans(deployment: Deployment, limit: int) -> Question:
    """Ask for its scans."""
    # boto3 makes clients one at a time: this one is made before several accounts ask for it.
    _ = deployment.stepfunctions

    def ask(account: Account) -> Part:
        found = list(rows.of_scans(deployment, islice(account.reader.scans(), limit)))
        if not found:
            raise CommandError("no scan is kept")
        return Part(found)

    return ask


def gaps(limit: int, wanted: timedelta | str) -> Question:
    """Ask for its periods without a trusted scan."""

    def ask(account: Account) -> Part:
        known = list(account.reader.scans(newest_first=False))
        longest = periods.expected(known) if isinstance(wanted, str) else wanted
        if not any(scan.trusted for scan in known):
            raise CommandError("--gaps: no scan has recorded every user yet")
        if longest is None:
            raise CommandError("--gaps: one trusted scan does not tell how far apart they are; give a duration")
        found = periods.gaps(known, longest, account.reader.now)
        return Part(list(islice(rows.of_gaps(found, longest), limit)))

    return ask


def users(scan: datetime | str | None, moment: Moment | None) -> Question:
    """Ask who existed."""

    def ask(account: Account) -> Part:
        known, chosen = _answering(account.reader, scan, moment)
        listing = account.reader.of_scan(chosen)
        part = Part(list(map(rows.of_user, listing)), [chosen], _unrecorded(account.reader, known, chosen, moment))
        part.lacks(chosen, listing.missing)
        return part

    return ask


def findings(
    scan: datetime | str | None,
    moment: Moment | None,
    controls: Collection[judging.Control],
    parameters: judging.Parameters,
    show: Callable[[Iterable[judging.Finding], RecordedScan], Iterable[Row]],
) -> Question:
    """Ask what is wrong, as ``show`` makes rows of it."""

    def ask(account: Account) -> Part:
        known, chosen = _answering(account.reader, scan, moment)
        listing = account.reader.of_scan(chosen)
        found = posture.sort(judging.of_scan(chosen, listing, parameters, controls))
        part = Part(list(show(found, chosen)), [chosen], _unrecorded(account.reader, known, chosen, moment))
        part.tally, part.unjudged = Tally.of(found), posture.unjudged(found)
        part.lacks(chosen, listing.missing)
        return part

    return ask


def root(scan: datetime | str | None, moment: Moment | None) -> Question:
    """Ask what its root user could get in with."""

    def ask(account: Account) -> Part:
        _, chosen = _answering(account.reader, scan, moment)
        known = chosen.manifest.root
        if not known:
            why = judging.why_no_root(chosen.manifest.sections)
            raise CommandError(f"the scan {chosen.scan_timestamp} does not know the root user: {why}")
        return Part([posture.of_root(chosen, known)], [chosen])

    return ask


def history(user: str, *, everything: bool, activity: bool) -> Question:
    """Ask what became of a user."""

    def ask(account: Account) -> Part:
        if not _has(account.reader, user):
            return Part(found=False)
        try:
            found = histories.history(account.reader, user, activity=activity)
        except histories.UnknownUser:
            return Part(found=False)
        part = Part(list(rows.of_history(found, everything)))
        part.notes += edge(found)
        part.warnings += [behind(one) for one in found.behind]
        return part

    return ask


def _has(reader: Reader, user: str) -> bool:
    """Tell, by little reading, whether an account has a user: most of a thousand accounts have not.

    A user_id is looked for in the last trusted scan only. Who has it is one account; in all others, every scan would
    be read in vain.
    """
    if next(iter(reader.of_name(user)), None) is not None:
        return True
    if not user.startswith(USER_ID_PREFIX):
        return False
    last = newest(reader.scans())
    return last is not None and any(record["user_id"] == user for record in reader.of_scan(last))


def edge(found: histories.History) -> Iterator[str]:
    """Say so where a user may be older than what is kept."""
    first = next((event for event in found.events if event.record is not None), None)
    if first is not None and found.since is not None and first.scan_timestamp == found.since.scan_timestamp:
        yield f"{found.since.scan_timestamp} is the oldest scan that is kept; what was before is not known"


def behind(scan: RecordedScan) -> str:
    """Say that the index lacks records of a scan."""
    return f"the index does not yield all records of the scan {scan.scan_timestamp} yet; ask again"


def diff(former: datetime | str, later: datetime | str, *, activity: bool) -> Question:
    """Ask what changed between two scans."""

    def ask(account: Account) -> Part:
        begin, end = scope.pair(list(account.reader.scans()), former, later)
        found = scope.compared(account.reader, begin, end, activity=activity)
        part = Part(list(rows.of_diff(found)), [begin, end])
        if any(scan.manifest.sections for scan in (begin, end)):
            part.notes += (posture.uncompared(section, count) for section, count in found.uncompared.items())
        part.lacks(begin, found.missing_before)
        part.lacks(end, found.missing_after)
        return part

    return ask


def changes(since: Moment | timedelta, user: str | None, *, activity: bool) -> Question:
    """Ask what happened."""

    def ask(account: Account) -> Part:
        told = happenings.tell(account.reader, since, user, activity=activity)
        answer = told.answer
        if answer.following is not None and not answer.following.found:
            return Part(found=False)
        part = Part(answer.rows, answer.scans, list(answer.unsure()), alarms=answer.warnings)
        if told.behind is not None:
            part.warnings.append(told.behind)
        elif answer.missing:
            part.warnings.append(happenings.maybe_new(answer.missing))
        return part

    return ask


def _answering(
    reader: Reader, scan: datetime | str | None, moment: Moment | None
) -> tuple[list[RecordedScan], RecordedScan]:
    known = list(reader.scans())
    return known, scope.answering(known, scan, moment)


def _unrecorded(
    reader: Reader, known: Collection[RecordedScan], chosen: RecordedScan, moment: Moment | None
) -> list[str]:
    return [] if moment is None else scope.unrecorded(reader, known, chosen, moment.time)
