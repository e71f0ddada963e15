"""Whatever scans know of a user: what is missing or stale is never a change and never fine, and no change is lost."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from functions.shared import timestamps
from functions.table import findings, queries
from functions.table.findings import Status
from tests.support.recorded import TABLE, Table, record_of

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
KEYS_OF_THE_DETAILS = ("groups", "attached_policies", "inline_policies", "admin_via")


@dataclass(frozen=True)
class State:
    """What a user could get in with at a moment."""

    password: bool
    mfa: bool
    keys: tuple[tuple[int, bool], ...]
    """When each was created, in seconds after the epoch, and whether it is active."""
    groups: frozenset[str]
    admin: bool

    @property
    def reported(self) -> tuple[Any, ...]:
        """What the credential report tells."""
        return self.password, self.mfa, tuple(sorted(self.keys))

    @property
    def detailed(self) -> tuple[Any, ...]:
        """What the authorization details tell."""
        return self.groups, self.admin


@dataclass(frozen=True)
class Seen:
    """A state, and what the scan knew of it."""

    state: State
    report: str
    details: bool
    exchanged: bool
    """Whether its keys are in the other slots."""


states = st.builds(
    State,
    password=st.booleans(),
    mfa=st.booleans(),
    keys=st.lists(st.tuples(st.integers(-2, -1), st.booleans()), max_size=2).map(tuple),
    groups=st.frozensets(st.sampled_from(["ops", "staff"])),
    admin=st.booleans(),
)
sightings = st.lists(
    st.builds(
        Seen,
        state=states,
        report=st.sampled_from(["CURRENT", "CURRENT", "STALE", "MISSING"]),
        details=st.sampled_from([True, True, False]),
        exchanged=st.booleans(),
    ),
    min_size=2,
    max_size=6,
)


def timestamp_of(number: int) -> str:
    return timestamps.to_seconds(EPOCH + timedelta(hours=number))


def attributes_of(seen: Seen, number: int) -> dict[str, Any]:
    """Return what is recorded of a user in a scan that sees it."""
    listed, state = EPOCH + timedelta(hours=number), seen.state
    recorded: dict[str, Any] = {}
    if seen.report != "MISSING":
        made = listed - timedelta(hours=4, minutes=15, seconds=1 if seen.report == "STALE" else 0)
        recorded |= {
            "credential_report_time": timestamps.to_seconds(made),
            "password_enabled": state.password,
            "mfa_active": state.mfa,
            **({"password_last_changed": timestamp_of(-100)} if state.password else {}),
        }
        slots = (2, 1) if seen.exchanged else (1, 2)
        for slot, (created, active) in zip(slots, state.keys, strict=False):
            recorded[f"access_key_{slot}_active"] = active
            recorded[f"access_key_{slot}_last_rotated"] = timestamps.to_seconds(EPOCH + timedelta(days=created))
    if seen.details:
        recorded |= {
            "groups": sorted(state.groups),
            "attached_policies": [],
            "inline_policies": [],
            "admin_via": ["inline policy all"] if state.admin else [],
        }
    return recorded


def table_of(scans: list[Seen]) -> Table:
    table = Table()
    for number, seen in enumerate(scans):
        table.scan(timestamp_of(number), {"alice": attributes_of(seen, number)})
    return table


def kinds(attributes: tuple[str, ...]) -> set[str]:
    return {"details" if name in KEYS_OF_THE_DETAILS else "report" for name in attributes}


def expected(former: Seen | None, latter: Seen | None, seen: Seen) -> set[str]:
    """Return of which kind a change must be, from the states that are known and from nothing else."""
    found = set()
    if seen.report == "CURRENT" and former is not None and former.state.reported != seen.state.reported:
        found.add("report")
    if seen.details and latter is not None and latter.state.detailed != seen.state.detailed:
        found.add("details")
    return found


quickly = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


@quickly
@given(sightings)
def test_a_history_tells_each_change_that_is_known_and_no_other(scans: list[Seen]) -> None:
    found = queries.history(table_of(scans), TABLE, "alice")  # type: ignore[arg-type]
    reported = detailed = None
    for seen, told in zip(scans, found.events, strict=True):
        assert kinds(told.attributes) == expected(reported, detailed, seen), told
        assert told.change == ("first seen" if seen is scans[0] else "changed" if told.attributes else ""), told
        event(f"{seen.report}: {told.change}")
        reported = seen if seen.report == "CURRENT" else reported
        detailed = seen if seen.details else detailed


@quickly
@given(sightings)
def test_a_diff_compares_what_both_scans_know(scans: list[Seen]) -> None:
    table = table_of(scans)
    recorded = queries.scans(table, TABLE)[::-1]  # type: ignore[arg-type]
    for (before, former), (after, seen) in pairwise(zip(recorded, scans, strict=True)):
        found = queries.diff(table, TABLE, before, after)  # type: ignore[arg-type]
        known = former if former.report == "CURRENT" else None
        told = kinds(tuple(name for change in found.changes for name in change.attributes))
        assert told == expected(known, former if former.details else None, seen)
        assert set(found.uncompared) == {
            *(["credential_report"] if {former.report, seen.report} != {"CURRENT"} else []),
            *(["authorization"] if not (former.details and seen.details) else []),
        }


@quickly
@given(sightings)
def test_what_is_missing_or_stale_is_never_fine_and_never_a_finding(scans: list[Seen]) -> None:
    for number, seen in enumerate(scans):
        record = record_of("alice", timestamp_of(number), **attributes_of(seen, number))
        for found in findings.of_user(record, None):
            known = seen.report == "CURRENT" if found.control.section == "credential_report" else seen.details
            if not known:
                assert found.status is Status.UNKNOWN
            elif found.control.name != "cloudshell-full-access":
                assert found.status is not Status.UNKNOWN
