"""What users could get in with, and what is wrong with it: in columns, and in words."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from functions.cli.output import Columns, Shown
from functions.cli.words import account_of, account_of_scan, duration, number
from functions.shared import timestamps
from functions.table import findings
from functions.table.facts import (
    NAMES,
    REPORT_TIME,
    Facts,
    Knowledge,
    keys_of,
    known,
    listed_at,
    time_of,
)
from functions.table.findings import CIS_VERSIONS, CONTROLS, Control, Finding, Parameters, Status
from functions.table.record import ATTRIBUTES, AUTHORIZATION, CREDENTIAL_REPORT
from functions.table.scans import RecordedScan
from functions.table.wire import Item

POSTURE = ("console", "keys", "groups", "admin")
"""What people see of a user's posture; tools get the attributes themselves."""

FINDING_COLUMNS = Columns(
    ["user_name", "control", "status", "cis", "reason"],
    ["user_name", "user_id", "arn", "control", "title", "status", "reason", "cis_version", "cis_number",
     "unused_days", "key_age_days", "scan_timestamp", "account_id"],
)  # fmt: skip

ROOT_COLUMNS = Columns(
    ["account_id", "console", "keys", "password_last_used", REPORT_TIME],
    ["account_id", "arn", "user_creation_time", "password_last_used",
     *(one.name for one in ATTRIBUTES if one.section == CREDENTIAL_REPORT), "scan_timestamp"],
)  # fmt: skip

_UNKNOWN = "unknown"
_STATUSES = list(Status)
_REASONS_SHOWN = 2


def of_record(record: Item) -> dict[str, Any]:
    """Return what people see of a user's posture, at the time when it was listed."""
    name_in_path = str(record.get("arn", "")).partition("/")[2]
    return {
        "path": "/" + name_in_path[: name_in_path.rfind("/") + 1],
        **credentials(record, listed_at(record)),
        "groups": Shown(record.get("groups"), _list(record.get("groups"))),
        "admin": _list(record.get("admin_via")),
    }


def credentials(facts: Facts, at: datetime) -> dict[str, str]:
    """Return console access and access keys in words."""
    knowledge = known(facts, CREDENTIAL_REPORT, at)
    if knowledge is Knowledge.UNKNOWN:
        return {"console": _UNKNOWN, "keys": _UNKNOWN}
    stale = " (stale)" if knowledge is Knowledge.STALE else ""
    keys = [f"{max((at - key.created).days, 0)} d{'' if key.active else ' inactive'}" for key in keys_of(facts)]
    return {"console": _console(facts) + stale, "keys": (", ".join(keys) or "none") + stale}


def _console(facts: Facts) -> str:
    if facts.get("password_enabled") is False:
        return "none"
    if "password_enabled" not in facts or "mfa_active" not in facts:
        return _UNKNOWN
    return "with MFA" if facts["mfa_active"] else "without MFA"


def _list(names: Sequence[str] | None) -> str:
    return _UNKNOWN if names is None else ", ".join(names)


def explained() -> str:
    """Return the controls with their titles, for the help of the command."""
    return "\b\nControls:\n" + "\n".join(f"  {one.name:<22}  {one.title}" for one in CONTROLS)


def chosen(only: Iterable[Control], cis: str | None) -> list[Control]:
    """Return the controls that are asked for: all, some by name, those of a version of the benchmark."""
    names = {control.name for control in only}
    return [one for one in CONTROLS if (not names or one.name in names) and (cis is None or cis in one.cis)]


def sort(found: Iterable[Finding]) -> list[Finding]:
    """Return the findings first, then what is unknown, then what is fine; each by control and user."""
    order = {control.name: place for place, control in enumerate(CONTROLS)}
    return sorted(found, key=lambda one: (_STATUSES.index(one.status), order[one.control.name], one.user_name))


def of_findings(
    found: Iterable[Finding], scan: RecordedScan, parameters: Parameters, cis: str | None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of findings."""
    for one in found:
        version = cis or [version for version in CIS_VERSIONS if version in one.control.cis][-1]
        yield {
            "user_name": one.user_name,
            "user_id": one.user_id,
            "arn": one.arn,
            "control": one.control.name,
            "title": one.control.title,
            "status": one.status,
            "reason": one.reason,
            "cis": f"v{version}/{one.control.cis[version]}",
            "cis_version": version,
            "cis_number": one.control.cis[version],
            "unused_days": parameters.unused_days,
            "key_age_days": parameters.key_age_days,
            "scan_timestamp": scan.scan_timestamp,
            "account_id": account_of(one.arn) if one.arn else account_of_scan(scan),
        }


def folded(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield sorted rows for people: of whom the same is unknown for the same reason, only how many they are."""
    for key, alike in groupby(rows, key=lambda row: (row["control"], row["status"])):
        if key[1] is not Status.UNKNOWN:
            yield from alike
            continue
        by_reason: dict[str, list[dict[str, Any]]] = {}
        for row in alike:
            by_reason.setdefault(row["reason"], []).append(row)
        for some in by_reason.values():
            yield some[0] if len(some) == 1 else {**some[0], "user_name": f"({len(some):,} users)"}


@dataclass
class Tally:
    """How many there are of each control and status, and why what is unknown is."""

    counts: Counter[tuple[str, Status]] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Iterable[Finding]) -> "Tally":
        """Count."""
        tally = cls()
        for one in found:
            tally.counts[one.control.name, one.status] += 1
            if one.why is not None:
                tally.reasons.setdefault(one.control.name, Counter())[one.why] += 1
        return tally

    def add(self, other: "Tally") -> None:
        """Add what was counted elsewhere."""
        self.counts.update(other.counts)
        for name, reasons in other.reasons.items():
            self.reasons.setdefault(name, Counter()).update(reasons)

    @property
    def findings(self) -> int:
        """How many findings there are."""
        return sum(count for (_, status), count in self.counts.items() if status is Status.FINDING)

    def summary(self, controls: Iterable[Control]) -> Iterator[str]:
        """Yield one line for each control: how many findings, how many are fine, how many unknown, and why."""
        for control in controls:
            numbers = {status: self.counts[control.name, status] for status in Status}
            line = (
                f"{control.name:<22}  {numbers[Status.FINDING]:>5,} FINDING  {numbers[Status.OK]:>5,} OK  "
                f"{numbers[Status.UNKNOWN]:>5,} UNKNOWN"
            )
            why = self.reasons.get(control.name, Counter()).most_common()
            told = "; ".join(f"{reason} ({count:,})" for reason, count in why[:_REASONS_SHOWN])
            more = f"; and {len(why) - _REASONS_SHOWN} more reasons" if len(why) > _REASONS_SHOWN else ""
            yield f"{line}: {told}{more}" if told else line


def sections(scan: RecordedScan, wanted: Iterable[str] = (CREDENTIAL_REPORT, AUTHORIZATION)) -> Iterator[str]:
    """Yield one line for each section: of when it is, or why there is none."""
    told = scan.manifest.sections
    for section in wanted:
        why = findings.why_unknown(section, told)
        if why is not None:
            yield why
            continue
        generated = time_of((told or {})[section], "generated_time")
        if generated is not None:
            before = duration(scan.listing[0] - generated)
            yield f"{NAMES[section]} of {timestamps.to_seconds(generated)}, {before} before the scan listed"


def uncompared(section: str, count: int) -> str:
    """Say that users could not be compared by a section."""
    return (
        f"{number(count, 'user')} could not be compared by the {NAMES[section]}: unknown or stale in one of the scans"
    )


def unjudged(found: Iterable[Finding]) -> list[str]:
    """Return, for each section of which nobody could be judged by anything, the reason that most share."""
    reasons: dict[str, Counter[str | None]] = {}
    for one in found:
        reasons.setdefault(one.control.section, Counter())[one.why] += 1
    return [str(whys.most_common(1)[0][0]) for whys in reasons.values() if None not in whys]


def of_root(scan: RecordedScan, root: Facts) -> dict[str, Any]:
    """Return the row of the root user."""
    return {
        **root,
        **credentials(root, scan.listing[0]),
        "scan_timestamp": scan.scan_timestamp,
        "account_id": account_of(str(root["arn"])) if root.get("arn") else account_of_scan(scan),
    }
