"""Which account a command asks, and which of its scans answers; or all accounts of the organization, side by side."""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import TypeVar

from functions.cli import words
from functions.cli.deployment import Deployment
from functions.cli.errors import CommandError
from functions.cli.values import LATEST, PREVIOUS, Moment
from functions.shared import timestamps
from functions.table.diff import Diff, SpansOverlap, diff
from functions.table.fleet import Fleet, keys_of, role_arn_of
from functions.table.keys import FLEET
from functions.table.manifest import Manifest, Status
from functions.table.reader import Reader, members
from functions.table.scans import RecordedScan, after, at, before, created_at, newest

T = TypeVar("T")

_SIDE_BY_SIDE = 4
"""So many accounts are asked at a time: what each has to say is held until those before it are printed."""

_MOST_NAMED = 10


@dataclass(frozen=True)
class Account:
    """An account that is asked.

    Attributes
    ----------
    listed
        Whether the run of the organization has listed it; else only its records are left, or it is scanned by hand.
    """

    account_id: str
    name: str | None
    reader: Reader
    listed: bool = True

    @property
    def told(self) -> str:
        """The account in words."""
        return told(self.account_id, self.name)


def told(account_id: str, name: str | None) -> str:
    """Return an account in words."""
    return account_id if name is None else f"{account_id} ({name})"


def of_account(deployment: Deployment, own: Reader, account_id: str | None) -> Reader:
    """Return a reader of one account; None is the deployment's own.

    Raises
    ------
    CommandError
        Nothing is known of the account.
    """
    if account_id is None or account_id == deployment.account:
        return own
    reader = reader_of(deployment, own, account_id)
    if next(reader.scans(), None) is not None:
        return reader
    fleet, _ = listed_at(own, own.now)
    names = names_of(fleet)
    if account_id in names:
        return reader
    found = islice(members(own.dynamodb, own.table_name), _MOST_NAMED + 1)
    known = sorted({deployment.account, *names, *found})
    raise CommandError(
        f"--account {account_id}: no scan of this account is kept, and no run of the organization knows it; known are "
        f"{words.some(known, _MOST_NAMED)} (`accounts` lists them)"
    )


def reader_of(deployment: Deployment, own: Reader, account_id: str) -> Reader:
    """Return a reader of an account that is known."""
    return replace(own, keys=keys_of(account_id, deployment.account))


def names_of(fleet: Fleet | None) -> dict[str, str | None]:
    """Return the accounts that a run of the organization knows, with their names, by their number."""
    if fleet is None:
        return {}
    listed = {one.account_id: one.account_name for one in fleet.accounts}
    return listed | {one.account_id: one.account_name for one in fleet.skipped}


def unnamed_in(fleet: Fleet) -> str | None:
    """Say how many accounts a run has skipped that it does not name: of thousands, it names the first."""
    count = int(fleet.manifest.item.get("accounts_skipped", 0)) - len(fleet.skipped)
    return f"{words.number(count, 'account')} more skipped by it, and not named" if count > 0 else None


def to_start(deployment: Deployment, own: Reader, account_id: str, role_name: str | None) -> dict[str, str] | None:
    """Return what an execution is told that is to scan an account; None for the deployment's own.

    Parameters
    ----------
    role_name
        Of the role that the account has for the deployment; None for the one that the deployment takes by itself.

    Raises
    ------
    CommandError
        A role is given for the deployment's own account.
    """
    if account_id == deployment.account:
        if role_name is not None:
            raise CommandError(f"--role-name: {account_id} is the deployment's own account, which needs no role")
        return None
    asked = {"account_id": account_id}
    if role_name is not None:
        asked["role_arn"] = role_arn_of(account_id, role_name, deployment.state_machine_arn.split(":")[1])
    account_name = names_of(listed_at(own, own.now)[0]).get(account_id)
    return asked if account_name is None else {**asked, "account_name": account_name}


def listed_at(own: Reader, moment: datetime) -> tuple[Fleet | None, Fleet | None]:
    """Return the last run of the organization up to a moment that has listed the accounts, and the last one of all."""
    last = None
    # One run may have thousands of accounts: no more is read of older ones than this takes.
    for item in own.about_scans(FLEET.manifest_prefix, until=timestamps.to_seconds(moment)):
        fleet = Fleet.of(Manifest(item))
        last = last or fleet
        if fleet.accounts or fleet.skipped:
            return fleet, last
    return None, last


@dataclass
class Everywhere:
    """The accounts that are asked, and what became of that.

    Attributes
    ----------
    fleet
        The run of the organization that has listed them.
    last
        The last run up to then, whether it has or not.
    left
        Those that an earlier run has listed, and this one does not know.
    silent
        Which accounts could not answer, by the reason.
    """

    fleet: Fleet
    last: Fleet
    accounts: Collection[Account]
    left: Collection[str] = ()
    answered: int = 0
    silent: dict[str, list[str]] = field(default_factory=dict)

    def ask(self, question: Callable[[Account], T]) -> Iterator[tuple[Account, T]]:
        """Yield what the accounts answer, in their order; some are asked while the former are looked at."""
        for account, answer in side_by_side(self.accounts, lambda account: _answer(question, account)):
            if not isinstance(answer, CommandError):
                self.answered += 1
                yield account, answer
            elif account.listed:
                self.silent.setdefault(answer.message, []).append(account.told)

    def remarks(self) -> Iterator[str]:
        """Yield what is to be said of the accounts themselves."""
        if self.last is not self.fleet:
            yield (
                f"the run {self.last.scan_timestamp} of the organization is {self.last.status}, and has not listed its "
                f"accounts: these are those of {self.fleet.scan_timestamp}"
            )
        if self.fleet.skipped:
            skipped = [f"{told(one.account_id, one.account_name)}: {one.reason}" for one in self.fleet.skipped]
            yield f"skipped by the run {self.fleet.scan_timestamp} of the organization: {words.some(skipped)}"
        if unnamed := unnamed_in(self.fleet):
            yield unnamed
        if self.left:
            yield f"not known any longer to that run, and not asked: {words.some(self.left)}"

    def warnings(self) -> Iterator[str]:
        """Yield which accounts could not answer: all of them, by name."""
        for reason, accounts in self.silent.items():
            yield f"{words.number(len(accounts), 'account')} not in this answer ({reason}): {', '.join(accounts)}"


def everywhere(
    deployment: Deployment, own: Reader, moment: datetime, *, since: datetime | None = None, former: bool = False
) -> Everywhere:
    """Return the accounts of the organization at a moment.

    Parameters
    ----------
    since
        An earlier moment: the accounts of then that are no more are named.
    former
        Whether those are asked, too, of which there are records only: they left, were skipped, or are scanned by hand.
        It is for questions about the past; asked who is there now, they would tell of users who may be gone.

    Raises
    ------
    CommandError
        No run has listed its accounts.
    """
    fleet, last = listed_at(own, moment)
    if fleet is None or last is None:
        raise CommandError(
            f"--account all: no run of the organization up to {timestamps.to_seconds(moment)} has listed its accounts; "
            "`accounts` lists those that are known"
        )
    known = names_of(fleet)
    accounts = {
        one.account_id: Account(one.account_id, one.account_name, reader_of(deployment, own, one.account_id))
        for one in fleet.accounts
    }
    if former:
        for account_id in (deployment.account, *members(own.dynamodb, own.table_name)):
            reader = reader_of(deployment, own, account_id)
            accounts.setdefault(account_id, Account(account_id, known.get(account_id), reader, listed=False))
    earlier = listed_at(own, since)[0] if since is not None else None
    then = earlier.accounts if earlier is not None else ()
    left = [told(one.account_id, one.account_name) for one in then if one.account_id not in known]
    return Everywhere(fleet, last, [accounts[account_id] for account_id in sorted(accounts)], left)


def side_by_side(accounts: Collection[Account], ask: Callable[[Account], T]) -> Iterator[tuple[Account, T]]:
    """Yield each account with what it answers, in their order, never far ahead of whoever takes them."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        waiting: deque[tuple[Account, Future[T]]] = deque()
        for account in accounts:
            waiting.append((account, pool.submit(ask, account)))
            if len(waiting) > _SIDE_BY_SIDE:
                first, answer = waiting.popleft()
                yield first, answer.result()
        for first, answer in waiting:
            yield first, answer.result()


def _answer(question: Callable[[Account], T], account: Account) -> T | CommandError:
    try:
        return question(account)
    except CommandError as error:
        return error


# Which of an account's scans answers.


def chosen(scans: Collection[RecordedScan], wanted: datetime | str, name: str) -> RecordedScan:
    """Return a scan that may be trusted.

    Raises
    ------
    CommandError
        There is none of this name, or it may not be trusted.
    """
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


def refuse_the_future(moment: Moment, now: datetime, name: str) -> None:
    """Refuse a moment that is to come.

    Raises
    ------
    CommandError
        It is.
    """
    if moment.time > now:
        raise CommandError(f"{name} {moment.text} is in the future; it is {timestamps.to_seconds(now)} now")


def chosen_at(scans: Collection[RecordedScan], moment: Moment) -> RecordedScan:
    """Return the last scan up to a moment that may be trusted.

    Raises
    ------
    CommandError
        There is none.
    """
    scan = at(scans, moment.time)
    if scan is None:
        raise CommandError(f"--at {moment.text}: no scan up to then has recorded every user; `scans` lists them")
    return scan


def pair(
    scans: Collection[RecordedScan], former: datetime | str, later: datetime | str
) -> tuple[RecordedScan, RecordedScan]:
    """Return the two trusted scans that are to be compared.

    Raises
    ------
    CommandError
        One of them may not be trusted, or they are the wrong way round.
    """
    end = chosen(scans, later, "TO")
    if former == PREVIOUS:
        begin = before(scans, end)
        if begin is None:
            raise CommandError(f"FROM previous: no scan before {end.scan_timestamp} may be trusted; `scans` lists them")
    else:
        begin = chosen(scans, former, "FROM")
    if begin.moment > end.moment:
        raise CommandError(f"FROM {begin.scan_timestamp} is newer than TO {end.scan_timestamp}; exchange them")
    return begin, end


def compared(reader: Reader, begin: RecordedScan, end: RecordedScan, *, activity: bool) -> Diff:
    """Return what became of the users between two scans.

    Raises
    ------
    CommandError
        The scans do not tell what came first.
    """
    try:
        return diff(reader, begin, end, activity=activity)
    except SpansOverlap:
        raise CommandError(
            f"FROM {begin.scan_timestamp} ({words.span(begin)}) and TO {end.scan_timestamp} ({words.span(end)}) "
            "overlap: they do not tell what came first; choose another scan"
        ) from None


def answering(scans: Collection[RecordedScan], scan: datetime | str | None, moment: Moment | None) -> RecordedScan:
    """Return the trusted scan that is asked for by --scan or --at."""
    return chosen_at(scans, moment) if moment is not None else chosen(scans, scan or LATEST, "--scan")


def unrecorded(reader: Reader, scans: Collection[RecordedScan], scan: RecordedScan, moment: datetime) -> list[str]:
    """Name the users who were created between the scan and the moment, as the next scan tells."""
    following = after(scans, scan)
    if following is None:
        return []
    names = []
    for record in reader.of_scan(following):
        created = created_at(record)
        if created is not None and scan.listing[1] < created <= moment:
            names.append(str(record["user_name"]))
    if not names:
        return []
    return [f"created by then, first recorded in {following.scan_timestamp}: {words.some(sorted(names))}"]


def missing(scan: RecordedScan, count: int) -> str:
    """Say what an answer lacks."""
    return (
        f"{count:,} of the {scan.records_written:,} records of the scan {scan.scan_timestamp} are missing from this "
        "answer: the index of the table has not yielded them yet; ask again"
    )
