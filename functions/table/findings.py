"""What is wrong with the users of a scan: controls that are computed on read, so that old scans answer to new rules.

Each control is OK, a FINDING, or UNKNOWN, with the reason in words. OK and FINDING are said only where the fact is
current; a fact that is missing or stale is UNKNOWN, never fine. Ages are those at the scan's time, when IAM was asked
for the user (``listed_at``), never those of today.

The identifiers are the project's own. Their numbers in the CIS AWS Foundations Benchmark
(https://www.cisecurity.org/benchmark/amazon_web_services) differ from version to version.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from functions.shared import timestamps
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
from functions.table.record import AUTHORIZATION, CREDENTIAL_REPORT, ROOT
from functions.table.scans import RecordedScan
from functions.table.wire import Item

CIS_VERSIONS = ("3.0", "4.0.1", "5.0", "6.0", "7.0")

AT_CREATION = timedelta(seconds=60)
"""A key that is created so soon after its user was set up with it: by hand or by a tool, it takes a few seconds."""

_CLOUDSHELL = ":iam::aws:policy/AWSCloudShellFullAccess"
_GOVCLOUD = "arn:aws-us-gov:"

Sections = Mapping[str, Mapping[str, Any]]
"""What a manifest says of its scan's sections."""


class Status(StrEnum):
    """What became of a control."""

    FINDING = "FINDING"
    UNKNOWN = "UNKNOWN"
    OK = "OK"


@dataclass(frozen=True)
class Parameters:
    """From when on something is too old.

    Attributes
    ----------
    unused_days
        A credential is unused when its last use is that long ago, or longer.
    key_age_days
        An access key is old when it was created longer ago than that.
    """

    unused_days: int = 45
    key_age_days: int = 90

    @property
    def unused(self) -> timedelta:
        """The same as a duration."""
        return timedelta(days=self.unused_days)

    @property
    def key_age(self) -> timedelta:
        """The same as a duration."""
        return timedelta(days=self.key_age_days)


DEFAULTS = Parameters()

Verdict = tuple[Status, str]
Judge = Callable[[Facts, datetime, Parameters], Verdict]


@dataclass(frozen=True)
class Control:
    """One question, about each user or about the root user."""

    name: str
    title: str
    """What is wrong where it is a finding."""
    asks: str
    """Exactly when it is a finding."""
    section: str
    """Where the facts come from."""
    cis: Mapping[str, str]
    """Its number in each version of the benchmark that has it."""
    judge: Judge
    """Says what a fact means that is known, at a time."""
    of_root: bool = False


@dataclass(frozen=True)
class Finding:
    """What a control says of a user."""

    control: Control
    user_name: str
    status: Status
    reason: str
    why: str | None = None
    """Why it is UNKNOWN, in words that others may share; None where it is known."""
    user_id: str | None = None
    arn: str | None = None


def of_scan(
    scan: RecordedScan,
    records: Iterable[Item],
    parameters: Parameters = DEFAULTS,
    controls: "Iterable[Control] | None" = None,
) -> Iterator[Finding]:
    """Yield what the controls say of the root user and of each user of a trusted scan."""
    manifest, chosen = scan.manifest, tuple(CONTROLS if controls is None else controls)
    yield from of_root(manifest.root, manifest.sections, scan.listing[0], parameters, chosen)
    for record in records:
        yield from of_user(record, manifest.sections, parameters, chosen)


def of_user(
    record: Item,
    sections: Sections | None,
    parameters: Parameters = DEFAULTS,
    controls: "Iterable[Control] | None" = None,
) -> Iterator[Finding]:
    """Yield what the controls say of a user, at the time when it was listed.

    Parameters
    ----------
    sections
        Those of its scan's manifest, which tell why facts are missing; None where the manifest has none.
    """
    at = listed_at(record)
    sections_known = {section: known(record, section) for section in NAMES}
    for control in CONTROLS if controls is None else controls:
        if control.of_root:
            continue
        knowledge = sections_known[control.section]
        if knowledge is Knowledge.UNKNOWN:
            verdict = _unknown(_why_not(record, control.section, sections))
        else:
            verdict = _verdict(control, record, at, parameters, stale=knowledge is Knowledge.STALE)
        yield Finding(control, str(record["user_name"]), *verdict, str(record["user_id"]), str(record["arn"]))


def told_of(record: Item) -> dict[str, Status]:
    """Return, by control, what is known of a user, at the time when it was listed: OK or FINDING, without the reasons.

    The same as :func:`of_user` without what is UNKNOWN, for whoever judges thousands.
    """
    at = listed_at(record)
    current = {section for section in NAMES if known(record, section) is Knowledge.CURRENT}
    judged = {
        control.name: control.judge(record, at, DEFAULTS)[0]
        for control in CONTROLS
        if not control.of_root and control.section in current
    }
    return {name: status for name, status in judged.items() if status is not Status.UNKNOWN}


def of_root(
    root: Facts | None,
    sections: Sections | None,
    at: datetime,
    parameters: Parameters = DEFAULTS,
    controls: "Iterable[Control] | None" = None,
) -> Iterator[Finding]:
    """Yield what the controls say of the root user.

    Parameters
    ----------
    root
        What the manifest has of it, None where it has nothing.
    at
        When the scan began to list.
    """
    for control in CONTROLS if controls is None else controls:
        if not control.of_root:
            continue
        if root is None or known(root, control.section, at) is Knowledge.UNKNOWN:
            yield Finding(control, ROOT, *_unknown(why_no_root(sections)))
            continue
        stale = known(root, control.section, at) is Knowledge.STALE or _state(sections, control.section) == "STALE"
        verdict = _verdict(control, root, at, parameters, stale=stale)
        yield Finding(control, ROOT, *verdict, arn=str(root["arn"]) if "arn" in root else None)


def _verdict(
    control: Control, facts: Facts, at: datetime, parameters: Parameters, *, stale: bool
) -> tuple[Status, str, str | None]:
    status, reason = control.judge(facts, at, parameters)
    if stale:
        why = _stale(control.section, facts[REPORT_TIME])
        return Status.UNKNOWN, f"{why}; it said {status}: {reason}", why
    return status, reason, reason if status is Status.UNKNOWN else None


def _unknown(why: str) -> tuple[Status, str, str | None]:
    return Status.UNKNOWN, why, why


# Why something is not known.


def why_no_root(sections: Sections | None) -> str:
    """Say why a scan knows nothing of the root user."""
    return _why_no_section(CREDENTIAL_REPORT, sections) or "no row of the root user in the credential report"


def why_unknown(section: str, sections: Sections | None) -> str | None:
    """Say why a scan has not the current facts of a section, None where it has them, but for single users."""
    missing = _why_no_section(section, sections)
    if missing is None and _state(sections, section) == "STALE":
        return _stale(section, (sections or {})[section].get("generated_time"))
    return missing


def _stale(section: str, generated_time: Any) -> str:
    return f"{NAMES[section]} stale, of {generated_time}"


def _state(sections: Sections | None, section: str) -> str | None:
    return str((sections or {}).get(section, {}).get("state", "")) or None


def _why_no_section(section: str, sections: Sections | None) -> str | None:
    """Say why a scan has nothing of a section, None where it has it."""
    state, name = _state(sections, section), NAMES[section]
    if state is None:
        return f"recorded by a version without {name}"
    if state == "OFF":
        return f"{name} switched off"
    if state == "MISSING":
        found = (sections or {})[section]
        error = ": ".join(str(found[part]) for part in ("error_type", "error_message") if found.get(part))
        return f"{name} missing: {error or 'no error was noted'}"
    return None


def _why_not(record: Facts, section: str, sections: Sections | None) -> str:
    """Say why a record has nothing of a section."""
    missing = _why_no_section(section, sections)
    if missing is not None:
        return missing
    generated = time_of((sections or {})[section], "generated_time")
    created = time_of(record, "create_date")
    name = NAMES[section] if generated is None else f"{NAMES[section]} of {timestamps.to_seconds(generated)}"
    if generated is not None and created is not None and created >= generated:
        return f"created after the {name}"
    return f"not in the {name}"


# What a known fact means. Each returns the status and the reason.


def _root_access_key(root: Facts, at: datetime, parameters: Parameters) -> Verdict:
    keys = keys_of(root)
    if not keys:
        return Status.OK, "no access key"
    return Status.FINDING, "; ".join(
        f"{'active' if key.active else 'inactive'} access key of {timestamps.to_seconds(key.created)}" for key in keys
    )


def _root_no_mfa(root: Facts, at: datetime, parameters: Parameters) -> Verdict:
    active = any(key.active for key in keys_of(root))
    # Where the report does not say, there is a password; but in GovCloud the root user has no console.
    govcloud = str(root.get("arn", "")).startswith(_GOVCLOUD)
    password = bool(root.get("password_enabled", not govcloud))
    if not password and not active:
        return Status.OK, "no password and no active access key, so nothing to protect with MFA"
    if "mfa_active" not in root:
        return Status.UNKNOWN, "the credential report does not say whether it has an MFA device"
    if root["mfa_active"]:
        return Status.OK, "with an MFA device"
    held = [*(["a password"] if password else []), *(["an active access key"] if active else [])]
    return Status.FINDING, f"{' and '.join(held)}, and no MFA device"


def _root_used(root: Facts, at: datetime, parameters: Parameters) -> Verdict:
    uses = [("password", time_of(root, "password_last_used"))]
    uses += [(f"access key of {timestamps.to_seconds(key.created)}", key.last_used) for key in keys_of(root)]
    known_uses = [(used, name) for name, used in uses if used is not None]
    if not known_uses:
        return Status.OK, "no use is known"
    last, name = max(known_uses)
    told = f"last used {_days(at - last)} before the scan, on {timestamps.to_seconds(last)} ({name})"
    return (Status.FINDING if at - last < parameters.unused else Status.OK), told


def _console_no_mfa(user: Facts, at: datetime, parameters: Parameters) -> Verdict:
    if user.get("password_enabled") is False:
        return Status.OK, "no console password"
    unsaid = [name for name in ("password_enabled", "mfa_active") if name not in user]
    if user.get("mfa_active"):
        return Status.OK, "with an MFA device"
    if unsaid:
        return Status.UNKNOWN, f"the credential report does not say {' and '.join(unsaid)}"
    return Status.FINDING, "a console password, and no MFA device"


def _key_at_creation(user: Facts, at: datetime, parameters: Parameters) -> Verdict:
    created = time_of(user, "create_date")
    if created is None:
        return Status.UNKNOWN, "its creation is not known"
    idle = [
        f"access key of {timestamps.to_seconds(key.created)}"
        for key in keys_of(user)
        if key.active and key.last_used is None and key.created - created <= AT_CREATION
    ]
    if not idle:
        return Status.OK, "no active access key that was created with the user and never used"
    if "password_enabled" not in user:
        return Status.UNKNOWN, "the credential report does not say password_enabled"
    if not user["password_enabled"]:
        return Status.OK, "no console password"
    return Status.FINDING, f"{', '.join(idle)} was created with the user, which has a password, and was never used"


def _unused(user: Facts, at: datetime, parameters: Parameters) -> Verdict:
    credentials = [
        (f"access key of {timestamps.to_seconds(key.created)}", key.last_used is not None, key.last_used or key.created)
        for key in keys_of(user)
        if key.active
    ]
    unsaid = None if "password_enabled" in user else "password_enabled"
    if user.get("password_enabled"):
        used, changed = time_of(user, "password_last_used"), time_of(user, "password_last_changed")
        if (last := used or changed) is None:
            unsaid = "when the password was set"
        else:
            credentials.insert(0, ("password", used is not None, last))
    unused = [
        f"{name} {'not' if used else 'never'} used for {_days(at - last)}"
        for name, used, last in credentials
        if at - last >= parameters.unused
    ]
    if unused:
        return Status.FINDING, "; ".join(unused)
    if unsaid is not None:
        return Status.UNKNOWN, f"the credential report does not say {unsaid}"
    if not credentials:
        return Status.OK, "no console password and no active access key"
    names = ", ".join(name for name, _, _ in credentials)
    return Status.OK, f"used, or new, less than {parameters.unused_days} d ago: {names}"


def _two_active_keys(user: Facts, at: datetime, parameters: Parameters) -> Verdict:
    active = [timestamps.to_seconds(key.created) for key in keys_of(user) if key.active]
    if len(active) > 1:
        return Status.FINDING, f"active access keys of {' and '.join(active)}"
    return Status.OK, f"{len(active)} active access key" if active else "no active access key"


def _old_keys(user: Facts, at: datetime, parameters: Parameters) -> Verdict:
    active = [key for key in keys_of(user) if key.active]
    old = [
        f"active access key of {timestamps.to_seconds(key.created)} is {_days(at - key.created)} old"
        for key in active
        if at - key.created > parameters.key_age
    ]
    if old:
        return Status.FINDING, "; ".join(old)
    return Status.OK, f"no active access key is older than {parameters.key_age_days} d" if active else (
        "no active access key"
    )


def _direct_policies(user: Facts, at: datetime, parameters: Parameters) -> Verdict:
    direct = [*user.get("attached_policies", ()), *(f"inline {name}" for name in user.get("inline_policies", ()))]
    if direct:
        return Status.FINDING, f"policies of its own: {', '.join(direct)}"
    return Status.OK, "no policy of its own"


def _admin_policy(user: Facts, at: datetime, parameters: Parameters) -> Verdict:
    via = user.get("admin_via")
    if via is None:
        return Status.UNKNOWN, "its record does not say whether it is an administrator"
    if not via:
        return Status.OK, "no policy that allows everything"
    boundary = user.get("permissions_boundary")
    return Status.FINDING, f"administrator by {'; '.join(via)}" + (f"; within the boundary {boundary}" * bool(boundary))


def _cloudshell(user: Facts, at: datetime, parameters: Parameters) -> Verdict:
    if any(str(arn).endswith(_CLOUDSHELL) for arn in user.get("attached_policies", ())):
        return Status.FINDING, "AWSCloudShellFullAccess is attached to it"
    if user.get("groups"):
        return Status.UNKNOWN, "not attached to it; which policies its groups have is not recorded"
    return Status.OK, "AWSCloudShellFullAccess is not attached to it, and it is in no group"


def _days(age: timedelta) -> str:
    return f"{max(age.days, 0):,} d"


def _cis(*numbers: str | None) -> dict[str, str]:
    return {version: number for version, number in zip(CIS_VERSIONS, numbers, strict=True) if number is not None}


CONTROLS = (
    Control(
        "root-access-key",
        "The root user has an access key",
        "An access key of the root user exists, active or not: the benchmark wants it deleted.",
        CREDENTIAL_REPORT,
        _cis("1.4", "1.4", "1.3", "2.3", "2.4"),
        _root_access_key,
        of_root=True,
    ),
    Control(
        "root-no-mfa",
        "The root user has no MFA device",
        "The root user has no MFA device, but a password or an active access key. Without either it needs none. Where "
        "the report does not say whether there is a password, there is one, but in GovCloud, whose root user has no "
        "console.",
        CREDENTIAL_REPORT,
        _cis("1.5", "1.5", "1.4", "2.4", "2.5"),
        _root_no_mfa,
        of_root=True,
    ),
    Control(
        "root-used",
        "The root user was used",
        "The password or an access key of the root user was used less than --unused-days before the scan. The "
        "benchmark names no number.",
        CREDENTIAL_REPORT,
        _cis("1.7", "1.7", "1.6", "2.6", "2.7"),
        _root_used,
        of_root=True,
    ),
    Control(
        "console-no-mfa",
        "A console password without MFA",
        "The user has a console password, and no MFA device.",
        CREDENTIAL_REPORT,
        _cis("1.10", "1.10", "1.9", "2.9", "2.10"),
        _console_no_mfa,
    ),
    Control(
        "key-at-creation",
        "An access key that came with a console user and was never used",
        "The user has a console password, and an active access key that was created at most 60 seconds after the user "
        "and was never used.",
        CREDENTIAL_REPORT,
        _cis("1.11", "1.11", "1.10", "2.10", None),
        _key_at_creation,
    ),
    Control(
        "unused-45-days",
        "A password or an active access key that is not used",
        "The last use of the console password, or of an active access key, is --unused-days (45) or more ago: exactly "
        "that is a finding, a second less is none. A credential that was never used counts from its last change or "
        "its creation.",
        CREDENTIAL_REPORT,
        _cis("1.12", "1.12", "1.11", "2.11", "2.11"),
        _unused,
    ),
    Control(
        "two-active-keys",
        "Two active access keys",
        "Both access keys of the user are active.",
        CREDENTIAL_REPORT,
        _cis("1.13", "1.13", "1.12", "2.12", None),
        _two_active_keys,
    ),
    Control(
        "key-older-90-days",
        "An active access key that was not rotated",
        "An active access key was created more than --key-age-days (90) ago: exactly that is none, a second more is a "
        "finding.",
        CREDENTIAL_REPORT,
        _cis("1.14", "1.14", "1.13", "2.13", "2.12"),
        _old_keys,
    ),
    Control(
        "direct-policies",
        "Policies of its own, not through groups",
        "A policy is attached to the user, or written into it (inline).",
        AUTHORIZATION,
        _cis("1.15", "1.15", "1.14", "2.14", "2.13"),
        _direct_policies,
    ),
    Control(
        "admin-policy",
        "An administrator",
        "A policy of the user, or of one of its groups, allows every action on every resource (admin_via says which). "
        "The benchmark asks this of policies, this asks it of users; a permissions boundary is named, but excuses "
        "nothing.",
        AUTHORIZATION,
        _cis("1.16", "1.16", "1.15", "2.15", "2.14"),
        _admin_policy,
    ),
    Control(
        "cloudshell-full-access",
        "Full access to CloudShell",
        "The policy AWSCloudShellFullAccess is attached to the user. Whether one of its groups has it is not "
        "recorded, so who is in a group is unknown.",
        AUTHORIZATION,
        _cis("1.22", "1.22", "1.21", "2.21", "2.20"),
        _cloudshell,
    ),
)
"""All controls, in the order in which they are shown."""

BY_NAME = {control.name: control for control in CONTROLS}
