"""What the page knows, from the table alone: the scans, the users through them, what was wrong, what changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from functions.cli import posture
from functions.cli.report.events import Events
from functions.cli.report.runs import Presence, Run, Texts, Values
from functions.cli.words import account_of_scan
from functions.shared import timestamps
from functions.table import findings, gaps
from functions.table.changes import SECTIONS
from functions.table.detection import Change
from functions.table.diff import CHANGED
from functions.table.facts import NAMES, Knowledge, known, time_of
from functions.table.reader import Reader
from functions.table.record import ATTRIBUTES, AUTHORIZATION, CREDENTIAL_REPORT, LISTING, Attribute, Kind, by_user_id
from functions.table.scans import RecordedScan
from functions.table.wire import Item

STATUSES = tuple(findings.Status)
"""A status is kept as its place in here."""
KNOWLEDGE = tuple(Knowledge)
"""And so is what is known of the credential report."""

_OF_ROOT = tuple(control for control in findings.CONTROLS if control.of_root)
_OF_USERS = findings.CONTROLS[len(_OF_ROOT) :]
"""Those of the root user come first."""
_SHOWN = tuple(
    one
    for one in ATTRIBUTES
    if one.section in {LISTING, CREDENTIAL_REPORT, AUTHORIZATION}
    and one.name not in {"user_id", "credential_report_time"}
)


@dataclass(frozen=True)
class Asked:
    """What a page is asked for.

    Attributes
    ----------
    notes
        What else they have to know.
    """

    scans: Sequence[RecordedScan]
    """Those that the page holds, oldest first."""
    period: Sequence[RecordedScan]
    """All trusted ones of its period, of which these were chosen."""
    every: Sequence[RecordedScan]
    """All that are kept."""
    parameters: findings.Parameters = findings.DEFAULTS
    notes: Sequence[str] = ()
    deployment: str = ""


@dataclass(frozen=True)
class Gathered:
    """What a page knows.

    Attributes
    ----------
    data
        As the page's script reads it.
    missing
        For each scan whose index has not yielded all records, how many it lacks.
    counts
        For each scan.
    """

    data: dict[str, Any]
    missing: Mapping[str, int]
    counts: Sequence["Counts"]


@dataclass
class Counts:
    """What there is to count in a scan.

    Attributes
    ----------
    report, authorization
        Whether the scan knows the section.
    controls
        For each control, how many there are of each status.
    """

    moment: datetime
    report: bool
    authorization: bool
    controls: list[list[int]] = field(default_factory=lambda: [[0] * len(STATUSES) for _ in findings.CONTROLS])
    users: int = 0
    administrators: int = 0
    administrators_without_mfa: int = 0

    @property
    def findings(self) -> int | None:
        """All findings, None where a section is not known."""
        known_ = self.report and self.authorization
        return sum(numbers[STATUSES.index(findings.Status.FINDING)] for numbers in self.controls) if known_ else None

    @property
    def unknown(self) -> int:
        """How often something could not be judged."""
        return sum(numbers[STATUSES.index(findings.Status.UNKNOWN)] for numbers in self.controls)

    def of_control(self, place: int) -> int | None:
        """Return how many findings a control has, None where its section is not known."""
        is_known = self.report if findings.CONTROLS[place].section == CREDENTIAL_REPORT else self.authorization
        return self.controls[place][STATUSES.index(findings.Status.FINDING)] if is_known else None


class _User:
    """A user_id through the scans."""

    def __init__(self, values: Values) -> None:
        self.presence = Presence()
        self.attributes = {one.name: Run() for one in _SHOWN}
        self.knowledge = Run()
        self.controls = [Texts(values) for _ in _OF_USERS]


def gather(reader: Reader, asked: Asked) -> Gathered:
    """Read the scans of a page, one after another."""
    walk = Events(reader)
    values, users = Values(), dict[str, _User]()
    scans, changes, missing, counts = [], list[list[Any]](), dict[str, int](), list[Counts]()
    for number, scan in enumerate(asked.scans):
        listing = reader.of_scan(scan)
        records = by_user_id(listing)
        told = _Scan(number, scan, asked.parameters, values)
        for user_id, record in records.items():
            told.add(users.setdefault(user_id, _User(values)), record)
        shown = told.of_itself(len(records), listing.missing)
        counts.append(told.counts)
        if listing.missing:
            missing[scan.scan_timestamp] = listing.missing
        found = walk.of(scan, records, complete=not listing.missing)
        shown["compared"] = found is not None
        for change in found or ():
            if kept := _change(number, change, values, judged=asked.parameters == findings.DEFAULTS):
                changes.append(kept)
        scans.append(shown)
    last = asked.scans[-1]
    return Gathered(
        {
            "account": account_of_scan(last),
            "deployment": asked.deployment,
            "made": timestamps.to_seconds(reader.now),
            "parameters": {
                "unused_days": asked.parameters.unused_days,
                "key_age_days": asked.parameters.key_age_days,
            },
            "notes": list(asked.notes),
            "period": _period(asked, reader.now),
            "controls": [_control(control) for control in findings.CONTROLS],
            "attributes": [
                {"name": one.name, "meaning": one.meaning, "section": one.section, "kind": str(one.kind)}
                for one in _SHOWN
            ],
            "scans": scans,
            "users": [_compact(user_id, user) for user_id, user in users.items()],
            "changes": changes,
            "values": values.all,
        },
        missing,
        counts,
    )


class _Scan:
    """One scan, as it is added to the page."""

    def __init__(self, number: int, scan: RecordedScan, parameters: findings.Parameters, values: Values) -> None:
        self.number, self.scan, self.parameters, self.values = number, scan, parameters, values
        self.at = int(scan.listing[0].timestamp())
        sections = scan.manifest.sections or {}
        generated = [time_of(sections.get(name, {}), "generated_time") for name in SECTIONS]
        self.changing = [None if one is None else timestamps.to_seconds(one) for one in generated]
        is_known = [findings.why_unknown(name, scan.manifest.sections) is None for name in SECTIONS]
        self.counts = Counts(scan.moment, report=is_known[0], authorization=is_known[1])

    def add(self, user: _User, record: Item) -> None:
        """Add what the scan says of a user."""
        user.presence.put(self.number)
        for attribute in _SHOWN:
            user.attributes[attribute.name].put(self.number, _value(attribute, record, self.values))
        knowledge = known(record, CREDENTIAL_REPORT)
        user.knowledge.put(self.number, KNOWLEDGE.index(knowledge))
        found = findings.of_user(record, self.scan.manifest.sections, self.parameters, _OF_USERS)
        for place, (texts, one) in enumerate(zip(user.controls, found, strict=True), start=len(_OF_ROOT)):
            reason = None if one.status is findings.Status.OK else one.reason
            texts.put(self.number, self.at, STATUSES.index(one.status), reason, self.changing)
            self.counts.controls[place][STATUSES.index(one.status)] += 1
        self.counts.users += 1
        if record.get("admin_via"):
            self.counts.administrators += 1
            if knowledge is Knowledge.CURRENT and record.get("mfa_active") is False:
                self.counts.administrators_without_mfa += 1

    def of_itself(self, users: int, missing: int) -> dict[str, Any]:
        """Return what there is to say of the scan itself."""
        scan, manifest = self.scan, self.scan.manifest
        root = list(findings.of_root(manifest.root, manifest.sections, scan.listing[0], self.parameters))
        for place, one in enumerate(root):
            self.counts.controls[place][STATUSES.index(one.status)] += 1
        return {
            "scan": scan.scan_timestamp,
            "from": timestamps.to_seconds(scan.listing[0]),
            "until": timestamps.to_seconds(scan.listing[1]),
            "at": self.at,
            "users": users,
            "written": scan.records_written,
            "missing": missing,
            "report_times": self.changing,
            "sections": [
                {
                    "name": NAMES[name],
                    "known": findings.why_unknown(name, manifest.sections) is None,
                    "line": " ".join(posture.sections(scan, [name])),
                }
                for name in SECTIONS
            ],
            "root": posture.credentials(manifest.root, scan.listing[0]) if manifest.root else None,
            "root_used": (manifest.root or {}).get("password_last_used"),
            "root_findings": [[STATUSES.index(one.status), one.reason] for one in root],
        }


def _value(attribute: Attribute, record: Item, values: Values) -> Any:
    """Return a value in few bytes: a flag as 0 or 1, a time in epoch seconds, anything else by its place."""
    value = record.get(attribute.name)
    if value is None:
        return None
    if attribute.kind is Kind.FLAG:
        return int(bool(value))
    if attribute.kind is Kind.TIME:
        instant = timestamps.parse(str(value))
        # What is not to the second stays as it is written.
        return int(instant.timestamp()) if timestamps.to_seconds(instant) == value else value
    return values.place_of(value)


def _compact(user_id: str, user: _User) -> list[Any]:
    attributes = {
        place: run.compact
        for place, run in enumerate(user.attributes.values())
        if run.steps and run.steps != [run.steps[0], None]
    }
    controls = [texts.compact for texts in user.controls]
    return [user_id, user.presence.ranges, attributes, user.knowledge.compact, controls]


def _change(number: int, change: Change, values: Values, *, judged: bool) -> list[Any] | None:
    """Return a change in few bytes, None where there is nothing to say.

    Parameters
    ----------
    judged
        Whether the thresholds are those by which changes are judged: by others, findings begin and end elsewhere.
    """
    opened, closed = (change.opened, change.closed) if judged else ((), ())
    if change.change == CHANGED and not (change.attributes or opened or closed):
        return None
    before, after = change.before or {}, change.after or {}
    differences = [
        [name, values.place_of(before.get(name)), values.place_of(after.get(name))] for name in change.attributes
    ]
    former = before.get("user_id", change.user_id)
    return [number, change.change, change.user_name, change.user_id, former, differences, list(opened), list(closed)]


def _period(asked: Asked, now: datetime) -> dict[str, Any]:
    """Say what the page holds of what there is, and what there is not."""
    begin, end = asked.scans[0], asked.scans[-1]
    trusted = [one for one in asked.every if one.trusted]
    usual = gaps.expected(trusted)
    inside = [one for one in asked.every if begin.moment <= one.moment <= end.moment]
    found = gaps.gaps(inside, usual, end.listing[0]) if usual is not None else []
    return {
        "trusted": len(asked.period),
        "oldest": min(trusted, key=lambda one: one.moment).scan_timestamp,
        "newest": max(trusted, key=lambda one: one.moment).scan_timestamp,
        "untrusted": [[one.scan_timestamp, str(one.status)] for one in inside if not one.trusted],
        "gaps": [[timestamps.to_seconds(one.since), timestamps.to_seconds(one.until)] for one in found[::-1]],
    }


def _control(control: findings.Control) -> dict[str, Any]:
    return {
        "name": control.name,
        "title": control.title,
        "asks": control.asks,
        "section": NAMES[control.section],
        "cis": [[version, control.cis[version]] for version in findings.CIS_VERSIONS if version in control.cis],
        "root": control.of_root,
    }
