"""Whatever becomes of an account, its scans and their publication: every change is told, none that was not, each once.

:class:`Judge` is who judges: it knows nothing of how changes are detected.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from functions.cli import rows
from functions.shared import events
from functions.shared.errors import IndexBehind
from functions.table import detection
from functions.table.replay import Chain, Replay, rebuild
from tests.support.judge import Judge
from tests.support.publishing import EPOCH, Faults, Interrupted, World, user

NAMES = ("ann", "bob", "cy", "222222222222")
TOLD = ("mfa_active", "groups")


@dataclass(frozen=True)
class Person:
    """A user of the account, as it is now."""

    number: int
    name: str
    created: datetime
    mfa_active: bool = True
    groups: tuple[str, ...] = ()

    @property
    def user_id(self) -> str:
        return f"AIDA{self.number:04}"


@dataclass
class Account:
    """Its users, by user_id."""

    users: dict[str, Person] = field(default_factory=dict)
    born: int = 0

    def create(self, name: str, now: datetime) -> None:
        if name not in {person.name for person in self.users.values()}:
            self.born += 1
            person = Person(self.born, name, now)
            self.users[person.user_id] = person

    def change(self, kind: str, which: int, name: str, now: datetime) -> None:
        people = list(self.users.values())
        if kind == "create" or not people:
            self.create(name, now)
            return
        person = people[which % len(people)]
        if kind in {"delete", "recreate"}:
            del self.users[person.user_id]
            if kind == "recreate":
                self.create(person.name, now)
            return
        changed = {
            "rename": {"name": name} if name not in {other.name for other in people} else {},
            "mfa": {"mfa_active": not person.mfa_active},
            "groups": {"groups": () if person.groups else ("admins",)},
        }[kind]
        self.users[person.user_id] = replace(person, **changed)  # type: ignore[arg-type]


@dataclass
class Scans:
    """Scans of the account: complete or not, with and without its two other sources, that may lose users."""

    world: World
    account: Account
    lost: frozenset[str] = frozenset()
    """Whom the last trusted scan that had no details did not list."""

    def scan(
        self,
        *,
        status: str = "COMPLETE",
        reported: bool = True,
        detailed: bool = True,
        lost: frozenset[str] = frozenset(),
        started: datetime | None = None,
    ) -> None:
        if not detailed and status == "COMPLETE":
            # Two listings that lose the same user are believed: that is what is taken for granted.
            lost, self.lost = lost - self.lost, lost - self.lost
        elif status == "COMPLETE":
            self.lost = frozenset()
        listed = {
            person.name: self._record(person, reported=reported, detailed=detailed)
            for person in self.account.users.values()
            if person.user_id not in lost
        }
        self.world.scan(
            listed,
            status=status,
            detailed=list(self.account.users) if detailed else None,
            report="CURRENT" if reported else "MISSING",
            started=started,
        )

    def _record(self, person: Person, *, reported: bool, detailed: bool) -> dict[str, Any]:
        """Return what a scan records of a user; without its source, nothing."""
        known = user(person.number, person.created)
        known["credential_report_time"] = self.world.now.isoformat() if reported else None
        known["password_enabled"] = False if reported else None
        known["mfa_active"] = person.mfa_active if reported else None
        for name in ("groups", "attached_policies", "inline_policies", "admin_via"):
            known[name] = list(getattr(person, name, ())) if detailed else None
        return known


def assert_told_again(world: World) -> None:
    """Whoever asks for the changes is told what was sent, and so is who asks for it to be sent again."""
    reader = world.publisher().reader
    sent = {one["id"]: one for one in world.bus.distinct() if one["user_name"] is not None}
    scans, chain = list(reader.scans()), Chain.of(reader)
    base = next(scan for scan in scans if scan.scan_timestamp == world.written[0])
    told = [row for step in Replay(reader, scans, base, chain) for row in rows.of_step(step)]
    assert sorted(row["event_id"] for row in told) == sorted(sent)
    for row in told:
        if row["event_id"] is None:
            continue
        one = sent[row["event_id"]]
        assert all(row[name] == one[name] for name in ("user_name", "user_id", "change", "scan_timestamp"))
        assert (row["attributes"] or [], row["announced_scan_timestamp"]) == (one["attributes"], one["scan_timestamp"])
        findings = (row["findings_opened"] or [], row["findings_closed"] or [])
        assert findings == (one["findings_opened"], one["findings_closed"])
    assert chain.cursor.scan_timestamp is not None
    *links, first = chain.until(chain.cursor.scan_timestamp)
    assert first.previous is None
    again: list[events.Event] = []
    for link in reversed(links):
        rebuilt = rebuild(reader, chain, link)
        assert rebuilt is not None
        again += events.of_detection(rebuilt[0].detection, rebuilt[0].scan, link.previous)
    assert {one.detail["id"]: {"detail-type": one.detail_type, **one.detail} for one in again} == {
        one["id"]: one for one in world.bus.distinct()[1:]
    }


KINDS = ("create", "delete", "recreate", "rename", "mfa", "groups")
CHANGES = st.tuples(
    st.just("change"), st.sampled_from(KINDS), st.integers(0, 3), st.sampled_from(NAMES), st.integers(1, 60)
)
SCANS = st.tuples(
    st.just("scan"),
    st.sampled_from(["COMPLETE", "COMPLETE", "COMPLETE", "INCOMPLETE", "FAILED"]),
    st.booleans(),
    st.booleans(),
    st.frozensets(st.integers(1, 6), max_size=2),
    st.booleans(),
)
PUBLICATIONS = st.tuples(
    st.just("publish"),
    st.one_of(st.none(), st.integers(1, 24)),
    st.sampled_from(["before", "after"]),
    st.lists(st.sampled_from([None, "InternalFailure"]), max_size=4),
    st.booleans(),
)

Step = tuple[Any, ...]
PERFECT: Step = ("scan", "COMPLETE", True, True, frozenset(), False)
EPILOGUE: tuple[Step, ...] = (("publish", None, "before", [], False), PERFECT, PERFECT,
                              ("publish", None, "before", [], False))  # fmt: skip
"""In the end, two scans of an account that has come to rest are published without a fault."""


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    first=st.lists(st.sampled_from(NAMES), unique=True),
    reported=st.booleans(),
    detailed=st.booleans(),
    guard=st.integers(1, 10),
    steps=st.lists(st.one_of(CHANGES, CHANGES, SCANS, PUBLICATIONS), max_size=25),
)
def test_property_every_change_is_told_once_and_none_that_was_not(
    first: list[str], reported: bool, detailed: bool, guard: int, steps: list[Step]
) -> None:
    world, account = World(), Account()
    scans = Scans(world, account)
    for name in first:
        account.create(name, EPOCH - timedelta(days=1))
    with mock.patch.object(detection, "LEAST_GUARDED", guard):
        scans.scan(reported=reported, detailed=detailed)
        baseline = {
            person.user_id: {
                "user_name": person.name,
                **({"mfa_active": person.mfa_active} if reported else {}),
                **({"groups": list(person.groups)} if detailed else {}),
            }
            for person in account.users.values()
        }
        world.publish()
        judge, heard = Judge(baseline), 0
        redrivable: datetime | None = None
        for step in (*steps, *EPILOGUE):
            match step:
                case ("change", kind, which, name, minutes):
                    world.wait(minutes)
                    account.change(kind, which, name, world.now)
                case ("scan", status, reported, detailed, lost, late):
                    world.wait(60)
                    started, redrivable = (redrivable, None) if late else (None, redrivable)
                    if status == "FAILED":
                        redrivable = world.now
                    if started is not None:
                        event("a scan that is redriven late")
                    missing = frozenset(f"AIDA{number:04}" for number in lost)
                    scans.scan(status=status, reported=reported, detailed=detailed, lost=missing, started=started)
                case ("publish", at, kind, answers, lags):
                    world.bus.answers = list(answers)
                    try:
                        world.publish(Faults(at, kind))
                    except (Interrupted, IndexBehind) as error:
                        event(f"a publication ends with {type(error).__name__}")
                    world.bus.answers = []
                    # The index stands still from here on, or shows everything again.
                    world.table.catch_up()
                    world.table.index_lags = lags
            told = world.bus.distinct()
            for one in told[heard:]:
                judge.hear(one, account.users)
                event(f"told: {one['change']}")
            heard = len(told)

        # Where the index was taken as it was, the records tell by now what they did not tell then.
        if not any(step[0] == "publish" and step[-1] for step in steps):
            assert_told_again(world)

    assert {user_id: known["user_name"] for user_id, known in judge.users.items()} == {
        person.user_id: person.name for person in account.users.values()
    }
    for person in account.users.values():
        for name, value in (("mfa_active", person.mfa_active), ("groups", list(person.groups))):
            assert judge.users[person.user_id].get(name, value) == value
