"""Whatever becomes of an account between whatever scans: no deletion is made up, and none is missed."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from functions.shared import timestamps
from functions.table import history as histories
from functions.table import queries
from functions.table.history import History
from functions.table.scans import RecordedScan
from tests.support.recorded import TABLE, Table, manifest_of, record_of, text_of

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = 60
PAGES = 3
ASKING = 0.4
"""IAM is asked so many seconds before it answers, and has answered as many after."""


@dataclass
class User:
    """A user of the account, with its names from when to when."""

    user_id: str
    created: int
    names: list[tuple[int, str]]
    deleted: int | None = None

    def name_at(self, second: float) -> str | None:
        if second < self.created or (self.deleted is not None and second >= self.deleted):
            return None
        return [name for since, name in self.names if since <= second][-1]

    @property
    def page(self) -> int:
        return sum(map(ord, self.user_id)) % PAGES


@dataclass
class Account:
    users: list[User] = field(default_factory=list)
    second: int = 100
    moments: list[int] = field(default_factory=lambda: [100])

    def living(self) -> list[User]:
        return [user for user in self.users if user.name_at(self.second) is not None]

    def change(self, kind: str, which: int, name: str, after: int) -> None:
        self.second += after
        self.moments.append(self.second)
        living = self.living()
        free = name not in {user.name_at(self.second) for user in living}
        if kind == "create" and free:
            self.users.append(User(f"AIDA{len(self.users)}", self.second, [(self.second, name)]))
        elif living and kind == "delete":
            living[which % len(living)].deleted = self.second
        elif living and kind == "rename" and free:
            living[which % len(living)].names.append((self.second, name))


@dataclass(frozen=True)
class Plan:
    """A scan: when it lists, how long, and how it ends."""

    near: int
    """It starts near so many changes of the account,"""
    offset: int
    """and so many seconds before or after."""
    seconds: int
    status: str
    redriven_after: int | None
    """How much later it is redriven, and lists from the start again."""
    late: bool
    """Whether a record of the listing before is written after that of the new one."""


changes = st.lists(
    st.tuples(
        st.sampled_from(["create", "create", "delete", "delete", "rename"]),
        st.integers(0, 5),
        st.sampled_from(["ada", "bob", "cy"]),
        st.sampled_from([1, 3, 20, 400, 1500]),
    ),
    min_size=4,
    max_size=14,
)
plans = st.lists(
    st.builds(
        Plan,
        near=st.integers(0, 14),
        offset=st.sampled_from([-100, -40, -5, -3, -1, 0, 1, 2, 10, 100]),
        seconds=st.sampled_from([0, 2, 20, 61]),
        status=st.sampled_from(["COMPLETE"] * 5 + ["INCOMPLETE", "FAILED", "RUNNING"]),
        redriven_after=st.sampled_from([None] * 4 + [30, 300, 2000]),
        late=st.booleans(),
    ),
    min_size=4,
    max_size=8,
)


def at(second: float) -> datetime:
    return EPOCH + timedelta(seconds=second)


def record(table: Table, account: Account, plan: Plan, start: int) -> None:
    """Let a scan list the account, and put what it records."""
    timestamp = timestamps.to_seconds(at(start))
    begin = start + (plan.redriven_after or 0)
    written = set()
    # No function runs for so long that it writes after a listing of half an hour later.
    late = plan.late and plan.redriven_after != 2000
    if plan.redriven_after is not None and not late:
        _list(table, account, timestamp, 0, start)
    pages = {"FAILED": 1, "RUNNING": 2}.get(plan.status, PAGES)
    moments = [begin + plan.seconds * page / (PAGES - 1) for page in range(pages)]
    for page, moment in enumerate(moments):
        written |= _list(table, account, timestamp, page, moment, leave_out=plan.status == "INCOMPLETE")
    if plan.redriven_after is not None and late:
        _list(table, account, timestamp, 0, start)
    table.put(
        manifest_of(
            timestamp,
            len(written),
            plan.status,
            listed_from=text_of(at(begin - ASKING)),
            listed_until=text_of(at(moments[-1] + ASKING)),
            span_limit_seconds=LIMIT,
        )
    )


def _list(
    table: Table, account: Account, timestamp: str, page: int, moment: float, *, leave_out: bool = False
) -> set[str]:
    names = set()
    for user in account.users:
        name = user.name_at(moment)
        if name is None or user.page != page or (leave_out and user.user_id.endswith("1")):
            continue
        names.add(name)
        table.put(
            record_of(
                name,
                timestamp,
                user_id=user.user_id,
                create_date=timestamps.to_seconds(at(user.created)),
                listed_at=text_of(at(moment - ASKING)),
            )
        )
    return names


def build(sequence: list[tuple[str, int, str, int]], scans: list[Plan]) -> tuple[Table, Account]:
    account, table = Account(), Table()
    for change in sequence:
        account.change(*change)
    started = set()
    for plan in scans:
        start = account.moments[plan.near % len(account.moments)] + plan.offset
        # Of two that start in the same second, one is skipped.
        if start not in started:
            started.add(start)
            record(table, account, plan, start)
    return table, account


def ask(table: Any, user: str) -> History | None:
    try:
        return queries.history(table, TABLE, user, sleep=lambda seconds: None)
    except queries.UnknownUser:
        return None


def histories_of(table: Table, account: Account) -> dict[str, History]:
    questions = {name for user in account.users for _, name in user.names} | {user.user_id for user in account.users}
    return {question: found for question in sorted(questions) if (found := ask(table, question)) is not None}


def of_scan(item: dict[str, Any], scan: RecordedScan) -> bool:
    return bool(item["scan_timestamp"] == scan.scan_timestamp)


def ended(scan: RecordedScan) -> float:
    return (scan.listing[1] - EPOCH).total_seconds()


settings.register_profile("queries", deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(settings.get_profile("queries"), max_examples=400)
@given(changes, plans, st.sets(st.integers(0, 11), max_size=4))
def test_no_deletion_is_made_up(sequence: list[tuple[str, int, str, int]], scans: list[Plan], behind: set[int]) -> None:
    """Also while the index is behind: then a user may read as "deleted or renamed", and the answer says why."""
    table, account = build(sequence, scans)
    records = sorted(key for key in table.items if key[0] != "__scan__")
    table.hidden = {key for number, key in enumerate(records) if number % 12 in behind}
    users = {user.user_id: user for user in account.users}
    known = {scan.scan_timestamp: scan for scan in queries.scans(table, TABLE)}  # type: ignore[arg-type]

    for found in histories_of(table, account).values():
        for told in found.events:
            if told.change == histories.DELETED:
                scan, deleted = known[told.scan_timestamp], users[told.user_id].deleted
                assert scan.trusted
                assert deleted is not None
                assert deleted <= ended(scan), (told, users[told.user_id])
            elif told.change == histories.RECREATED:
                former = [user for user in account.users if told.user_name in {name for _, name in user.names}]
                assert any(user.deleted is not None and user.user_id != told.user_id for user in former)
            elif told.change == histories.DELETED_OR_RENAMED:
                assert found.behind

    trusted = [scan for scan in known.values() if scan.trusted]
    for former_scan in trusted:
        for later in trusted:
            if not former_scan.is_before(later):
                continue
            diff = queries.diff(table, TABLE, former_scan, later, sleep=lambda seconds: None)  # type: ignore[arg-type]
            for change in diff.changes:
                gone = change.before["user_id"] if change.before is not None else None
                if change.change in {"deleted", "recreated"}:
                    deleted = users[str(gone)].deleted
                    assert deleted is not None
                    assert deleted <= ended(later)
                if change.change == "deleted or renamed":
                    assert diff.missing_after


@settings(settings.get_profile("queries"), max_examples=400)
@given(changes, plans)
def test_no_deletion_between_two_trusted_scans_is_missed(
    sequence: list[tuple[str, int, str, int]], scans: list[Plan]
) -> None:
    table, account = build(sequence, scans)
    trusted = [scan for scan in queries.scans(table, TABLE) if scan.trusted]  # type: ignore[arg-type]
    answers = histories_of(table, account)

    for user in account.users:
        if user.deleted is None:
            continue
        for former in trusted:
            for later in trusted:
                begin, end = ended(former), (later.listing[0] - EPOCH).total_seconds()
                # It was there while the former listed, and gone before the later began to.
                if not (user.created <= (former.listing[0] - EPOCH).total_seconds() and begin < user.deleted <= end):
                    continue
                recorded = [item for item in table.items.values() if item.get("user_id") == user.user_id]
                if not any(of_scan(item, former) for item in recorded):
                    # A late record of the listing before has taken the place of its own: both had the same name.
                    continue
                if any(of_scan(item, later) and later.holds(item) for item in recorded):
                    # Of the listing that a redrive has begun again, a little while ago: the next scan will tell.
                    continue
                event("a deletion between two trusted scans")
                diff = queries.diff(table, TABLE, former, later)  # type: ignore[arg-type]
                gone = [one for one in diff.changes if one.before and one.before["user_id"] == user.user_id]
                # A record of the listing before, written late, looks like one that the index has not yielded yet.
                late = not all(map(later.counts, (item for item in table.items.values() if of_scan(item, later))))
                assert [one.change for one in gone] in (["deleted"], ["recreated"], *[["deleted or renamed"]] * late)
                name = str(gone[0].before["user_name"]) if gone[0].before is not None else ""
                told = answers[name].events
                assert any(
                    (one.change == histories.DELETED and one.user_id == user.user_id)
                    or (one.change == histories.DELETED_OR_RENAMED and answers[name].behind)
                    or (one.change == histories.RECREATED and one.user_name in {name for _, name in user.names})
                    for one in told
                ), told
