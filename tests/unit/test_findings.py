"""What each control says: a table of cases, at every threshold and one second beside it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.table import findings
from functions.table.findings import BY_NAME, CIS_VERSIONS, CONTROLS, Parameters, Status
from functions.table.manifest import Manifest
from functions.table.record import ROOT
from functions.table.scans import RecordedScan
from tests.support.recorded import manifest_of, record_of

SCAN = "2026-03-31T12:00:00Z"
LISTED = datetime(2026, 3, 31, 12, tzinfo=UTC)
OK, FINDING, UNKNOWN = Status.OK, Status.FINDING, Status.UNKNOWN

# Before the listing: 45 days, 90 days, and 4 h 15 min, each with a second more and a second less.
DAYS_45, MORE_45, LESS_45 = "2026-02-14T12:00:00Z", "2026-02-14T11:59:59Z", "2026-02-14T12:00:01Z"
DAYS_90, MORE_90, LESS_90 = "2025-12-31T12:00:00Z", "2025-12-31T11:59:59Z", "2025-12-31T12:00:01Z"
FRESH, STALE = "2026-03-31T07:45:00Z", "2026-03-31T07:44:59Z"
RECENT, OLD = "2026-03-30T12:00:00Z", "2024-01-01T00:00:00Z"

CURRENT = {
    "credential_report": {"state": "CURRENT", "generated_time": "2026-03-31T11:59:00Z"},
    "authorization": {"state": "CURRENT", "generated_time": "2026-03-31T11:59:10Z"},
}
REPORT = {"credential_report_time": FRESH, "password_enabled": False, "mfa_active": False}
NO_GRANTS: dict[str, Any] = {"groups": [], "attached_policies": [], "inline_policies": [], "admin_via": []}
PASSWORD = {"password_enabled": True, "password_last_changed": OLD}
CLOUDSHELL = "arn:aws:iam::aws:policy/AWSCloudShellFullAccess"


def key(slot: int, created: str, used: str | None = None, *, active: bool = True) -> dict[str, Any]:
    found = {f"access_key_{slot}_active": active, f"access_key_{slot}_last_rotated": created}
    return found | ({f"access_key_{slot}_last_used_date": used} if used else {})


def user(**attributes: Any) -> dict[str, Any]:
    return record_of("alice", SCAN, **{**REPORT, **NO_GRANTS, **attributes})


def without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def judged(control: str, record: dict[str, Any], sections: Any = CURRENT, **parameters: int) -> findings.Finding:
    (found,) = findings.of_user(record, sections, Parameters(**parameters), [BY_NAME[control]])
    return found


def judged_root(control: str, root: Any, sections: Any = CURRENT, **parameters: int) -> findings.Finding:
    (found,) = findings.of_root(root, sections, LISTED, Parameters(**parameters), [BY_NAME[control]])
    return found


CASES: list[tuple[str, dict[str, Any], Status, str]] = [
    # A console password without MFA.
    ("console-no-mfa", {**PASSWORD, "mfa_active": False}, FINDING, "a console password, and no MFA device"),
    ("console-no-mfa", {**PASSWORD, "mfa_active": True}, OK, "with an MFA device"),
    ("console-no-mfa", {"password_enabled": False, "mfa_active": False}, OK, "no console password"),
    ("console-no-mfa", {"password_enabled": False, "mfa_active": None}, OK, "no console password"),
    ("console-no-mfa", {**PASSWORD, "mfa_active": None}, UNKNOWN, "does not say mfa_active"),
    ("console-no-mfa", {"password_enabled": None}, UNKNOWN, "does not say password_enabled"),
    ("console-no-mfa", {"password_enabled": None, "mfa_active": True}, OK, "with an MFA device"),
    # A key that came with the user, who was created at 2025-03-14T09:26:53Z.
    ("key-at-creation", {**PASSWORD, **key(1, "2025-03-14T09:26:53Z")}, FINDING, "created with the user"),
    ("key-at-creation", {**PASSWORD, **key(2, "2025-03-14T09:27:53Z")}, FINDING, "key of 2025-03-14T09:27:53Z was"),
    ("key-at-creation", {**PASSWORD, **key(1, "2025-03-14T09:27:54Z")}, OK, "no active access key that was created"),
    ("key-at-creation", {**PASSWORD, **key(1, "2025-03-14T09:26:53Z", RECENT)}, OK, "no active access key"),
    ("key-at-creation", {**PASSWORD, **key(1, "2025-03-14T09:26:53Z", active=False)}, OK, "no active access key"),
    ("key-at-creation", {**key(1, "2025-03-14T09:26:53Z")}, OK, "no console password"),
    ("key-at-creation", {"password_enabled": None, **key(1, "2025-03-14T09:26:53Z")}, UNKNOWN, "does not say"),
    ("key-at-creation", {"password_enabled": None}, OK, "no active access key"),
    # Unused for 45 days.
    ("unused-45-days", {}, OK, "no console password and no active access key"),
    ("unused-45-days", {**PASSWORD, "password_last_used": DAYS_45}, FINDING, "password not used for 45 d"),
    ("unused-45-days", {**PASSWORD, "password_last_used": MORE_45}, FINDING, "password not used for 45 d"),
    ("unused-45-days", {**PASSWORD, "password_last_used": LESS_45}, OK, "used, or new, less than 45 d ago: password"),
    ("unused-45-days", {"password_enabled": True, "password_last_changed": DAYS_45}, FINDING, "never used for 45 d"),
    ("unused-45-days", {"password_enabled": True, "password_last_changed": LESS_45}, OK, "new, less than 45 d ago"),
    ("unused-45-days", {"password_enabled": True}, UNKNOWN, "does not say when the password was set"),
    ("unused-45-days", {"password_last_used": OLD}, OK, "no console password and no active access key"),
    ("unused-45-days", key(1, OLD, DAYS_45), FINDING, "access key of 2024-01-01T00:00:00Z not used for 45 d"),
    ("unused-45-days", key(2, OLD, LESS_45), OK, "access key of 2024-01-01T00:00:00Z"),
    ("unused-45-days", key(1, DAYS_45), FINDING, "access key of 2026-02-14T12:00:00Z never used for 45 d"),
    ("unused-45-days", key(1, LESS_45), OK, "used, or new, less than 45 d ago: access key of 2026-02-14T12:00:01Z"),
    ("unused-45-days", key(1, OLD, OLD, active=False), OK, "no console password and no active access key"),
    ("unused-45-days", {**PASSWORD, "password_last_used": RECENT, **key(1, OLD, OLD)}, FINDING, "access key of 2024"),
    ("unused-45-days", {"password_enabled": None, **key(1, OLD, RECENT)}, UNKNOWN, "does not say password_enabled"),
    ("unused-45-days", {"password_enabled": None, **key(1, OLD, OLD)}, FINDING, "not used for 820 d"),
    ("unused-45-days", {"password_enabled": True, **key(1, OLD, OLD)}, FINDING, "not used for 820 d"),
    # Two active keys.
    ("two-active-keys", {**key(1, OLD), **key(2, RECENT)}, FINDING, f"active access keys of {OLD} and {RECENT}"),
    ("two-active-keys", {**key(1, OLD), **key(2, RECENT, active=False)}, OK, "1 active access key"),
    ("two-active-keys", {**key(1, OLD, active=False), **key(2, RECENT, active=False)}, OK, "no active access key"),
    # Keys older than 90 days.
    ("key-older-90-days", key(1, MORE_90, RECENT), FINDING, "active access key of 2025-12-31T11:59:59Z is 90 d old"),
    ("key-older-90-days", key(1, DAYS_90, RECENT), OK, "no active access key is older than 90 d"),
    ("key-older-90-days", key(2, LESS_90, RECENT), OK, "no active access key is older than 90 d"),
    ("key-older-90-days", key(1, MORE_90, RECENT, active=False), OK, "no active access key"),
    ("key-older-90-days", {**key(1, RECENT), **key(2, OLD)}, FINDING, "active access key of 2024-01-01T00:00:00Z"),
    # Policies.
    ("direct-policies", {}, OK, "no policy of its own"),
    ("direct-policies", {"groups": ["staff"]}, OK, "no policy of its own"),
    ("direct-policies", {"attached_policies": ["arn:aws:iam::aws:policy/Read"]}, FINDING, "of its own: arn:aws:iam::a"),
    ("direct-policies", {"inline_policies": ["mine"]}, FINDING, "policies of its own: inline mine"),
    ("admin-policy", {}, OK, "no policy that allows everything"),
    ("admin-policy", {"admin_via": ["group ops: inline policy all"]}, FINDING, "by group ops: inline policy all"),
    ("admin-policy", {"admin_via": ["policy a"], "permissions_boundary": "b"}, FINDING, "a; within the boundary b"),
    ("admin-policy", {"admin_via": None}, UNKNOWN, "does not say whether it is an administrator"),
    ("cloudshell-full-access", {}, OK, "not attached to it, and it is in no group"),
    ("cloudshell-full-access", {"attached_policies": [CLOUDSHELL], "groups": ["ops"]}, FINDING, "is attached to it"),
    ("cloudshell-full-access", {"attached_policies": [CLOUDSHELL.replace("aws:", "aws-cn:", 1)]}, FINDING, "attached"),
    ("cloudshell-full-access", {"attached_policies": ["arn:aws:iam::123456789012:policy/AWSCloudShellFullAccess"]}, OK,
     "not attached to it"),
    ("cloudshell-full-access", {"groups": ["ops"]}, UNKNOWN, "which policies its groups have is not recorded"),
]  # fmt: skip


@pytest.mark.parametrize(("control", "attributes", "status", "reason"), CASES)
def test_what_a_control_says_of_a_user(control: str, attributes: dict[str, Any], status: Status, reason: str) -> None:
    found = judged(control, user(**attributes))
    assert (found.status, found.user_name, found.user_id) == (status, "alice", "AIDAALICE")
    assert reason in found.reason
    assert found.why == (found.reason if status is UNKNOWN else None)


@pytest.mark.parametrize("report_time", [FRESH, STALE, None])
@pytest.mark.parametrize("detailed", [True, False])
def test_what_is_told_without_reasons_is_the_same(report_time: str | None, detailed: bool) -> None:
    """PublishChanges judges by it."""
    for _, attributes, _, _ in CASES:
        record = user(**attributes, credential_report_time=report_time)
        record = without(record, *(() if report_time else REPORT), *(() if detailed else NO_GRANTS))
        reasoned = {one.control.name: one.status for one in findings.of_user(record, CURRENT)}
        assert findings.told_of(record) == {name: is_ for name, is_ in reasoned.items() if is_ is not UNKNOWN}


ROOT_ROW: dict[str, Any] = {
    "arn": "arn:aws:iam::123456789012:root",
    "user_creation_time": OLD,
    "credential_report_time": FRESH,
    "password_enabled": True,
    "mfa_active": True,
}
GOVCLOUD = {"arn": "arn:aws-us-gov:iam::123456789012:root", "password_enabled": None}
ROOT_CASES: list[tuple[str, dict[str, Any], Status, str]] = [
    ("root-access-key", {}, OK, "no access key"),
    ("root-access-key", key(1, OLD), FINDING, f"active access key of {OLD}"),
    ("root-access-key", key(2, OLD, active=False), FINDING, f"inactive access key of {OLD}"),
    ("root-no-mfa", {}, OK, "with an MFA device"),
    ("root-no-mfa", {"mfa_active": False}, FINDING, "a password, and no MFA device"),
    ("root-no-mfa", {"mfa_active": None}, UNKNOWN, "does not say whether it has an MFA device"),
    ("root-no-mfa", {"password_enabled": False, "mfa_active": False}, OK, "no password and no active access key"),
    ("root-no-mfa", {"password_enabled": False, "mfa_active": False, **key(1, OLD)}, FINDING, "an active access key,"),
    ("root-no-mfa", {"password_enabled": False, "mfa_active": False, **key(1, OLD, active=False)}, OK, "no password"),
    ("root-no-mfa", {"password_enabled": None, "mfa_active": False}, FINDING, "a password, and no MFA device"),
    ("root-no-mfa", {**GOVCLOUD, "mfa_active": False}, OK, "no password and no active access key"),
    ("root-no-mfa", {**GOVCLOUD, "mfa_active": False, **key(1, OLD)}, FINDING, "an active access key, and no MFA"),
    ("root-used", {}, OK, "no use is known"),
    ("root-used", {"password_last_used": LESS_45}, FINDING, "last used 44 d before the scan, on 2026-02-14T12:00:01Z"),
    ("root-used", {"password_last_used": DAYS_45}, OK, "last used 45 d before the scan"),
    ("root-used", {"password_last_used": OLD, **key(2, OLD, LESS_45)}, FINDING, f"(access key of {OLD})"),
    ("root-used", key(1, OLD, DAYS_45, active=False), OK, "last used 45 d before the scan"),
]


@pytest.mark.parametrize(("control", "attributes", "status", "reason"), ROOT_CASES)
def test_what_a_control_says_of_the_root_user(
    control: str, attributes: dict[str, Any], status: Status, reason: str
) -> None:
    root = {name: value for name, value in {**ROOT_ROW, **attributes}.items() if value is not None}
    found = judged_root(control, root)
    assert (found.status, found.user_name, found.user_id) == (status, ROOT, None)
    assert reason in found.reason


def test_every_control_and_every_verdict_has_its_cases() -> None:
    tried = {(control, status) for control, _, status, _ in (*CASES, *ROOT_CASES)}
    assert {control for control, _ in tried} == set(BY_NAME)
    assert {control for control, status in tried if status is OK} == set(BY_NAME)
    assert {control for control, status in tried if status is FINDING} == set(BY_NAME)


@pytest.mark.parametrize(
    ("parameters", "attributes", "statuses"),
    [
        ({}, key(1, MORE_90, MORE_45), (FINDING, FINDING)),
        ({"unused_days": 46}, key(1, MORE_90, MORE_45), (OK, FINDING)),
        ({"key_age_days": 91}, key(1, MORE_90, MORE_45), (FINDING, OK)),
        ({"unused_days": 1}, key(1, RECENT), (FINDING, OK)),
    ],
)
def test_the_thresholds_are_parameters(
    parameters: dict[str, int], attributes: dict[str, Any], statuses: tuple[Status, Status]
) -> None:
    names = ("unused-45-days", "key-older-90-days")
    assert tuple(judged(name, user(**attributes), **parameters).status for name in names) == statuses


def test_ages_are_those_of_the_scan_and_not_of_today() -> None:
    """The same key, used on 2026-03-30, is fine in the scan of the day after, whenever that is asked for."""
    assert judged("unused-45-days", user(**key(1, OLD, RECENT))).status is OK
    later = user(**key(1, OLD, RECENT), listed_at="2026-05-14T12:00:00.000Z", credential_report_time=None)
    later["credential_report_time"] = "2026-05-14T11:00:00Z"
    assert judged("unused-45-days", later).status is FINDING
    without_listed_at = without(user(**key(1, OLD, RECENT)), "listed_at")
    assert judged("unused-45-days", without_listed_at).status is OK, "it was listed at the scan's time, or later"


class TestWhatIsNotKnown:
    OF_REPORT = tuple(one for one in CONTROLS if one.section == "credential_report")

    @pytest.mark.parametrize(
        ("sections", "reason"),
        [
            (None, "recorded by a version without {}"),
            ({}, "recorded by a version without {}"),
            ({"state": "OFF"}, "{} switched off"),
            ({"state": "MISSING", "error_type": "LimitExceeded", "error_message": "No more capacity"},
             "{} missing: LimitExceeded: No more capacity"),
            ({"state": "MISSING"}, "{} missing: no error was noted"),
            ({"state": "CURRENT", "generated_time": "2025-03-14T09:26:53Z"},
             "created after the {} of 2025-03-14T09:26:53Z"),
            ({"state": "CURRENT", "generated_time": "2025-03-14T09:26:54Z"},
             "not in the {} of 2025-03-14T09:26:54Z"),
            ({"state": "STALE", "generated_time": "2025-03-14T09:26:53Z"},
             "created after the {} of 2025-03-14T09:26:53Z"),
            ({"state": "CURRENT"}, "not in the {}"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("section", ["credential_report", "authorization"])
    def test_a_record_without_it_says_why(self, section: str, sections: Any, reason: str) -> None:
        bare = without(user(), *REPORT, *NO_GRANTS)
        found = findings.of_user(bare, {section: sections} if sections else sections)
        told = {one.reason for one in found if one.control.section == section and one.status is UNKNOWN}
        assert told == {reason.format({"credential_report": "credential report"}.get(section, "authorization details"))}

    def test_one_section_does_not_hurt_the_other(self) -> None:
        statuses = {
            one.control.name: one.status
            for one in findings.of_user(without(user(), *REPORT), {**CURRENT}, Parameters())
        }
        assert {name for name, status in statuses.items() if status is OK} == {
            "direct-policies", "admin-policy", "cloudshell-full-access",
        }  # fmt: skip

    def test_a_report_that_is_too_old_is_told_but_not_believed(self) -> None:
        fresh = user(**PASSWORD, mfa_active=True)
        assert judged("console-no-mfa", fresh).status is OK
        stale = judged("console-no-mfa", {**fresh, "credential_report_time": STALE})
        assert (stale.status, stale.reason) == (
            UNKNOWN,
            f"credential report stale, of {STALE}; it said OK: with an MFA device",
        )
        assert stale.why == f"credential report stale, of {STALE}"
        wrong = judged("console-no-mfa", {**fresh, "mfa_active": False, "credential_report_time": STALE})
        assert (wrong.status, "said FINDING: a console password" in wrong.reason) == (UNKNOWN, True)

    @pytest.mark.parametrize(
        ("root", "sections", "reason"),
        [
            (None, CURRENT, "no row of the root user in the credential report"),
            (None, None, "recorded by a version without credential report"),
            (None, {"credential_report": {"state": "MISSING", "error_type": "X"}}, "missing: X"),
            ({**ROOT_ROW, "credential_report_time": STALE}, CURRENT, f"of {STALE}; it said OK"),
            (ROOT_ROW, {"credential_report": {"state": "STALE"}}, f"of {FRESH}; it said OK"),
        ],
    )
    def test_the_root_user_may_be_unknown(self, root: Any, sections: Any, reason: str) -> None:
        for name in ("root-access-key", "root-no-mfa", "root-used"):
            found = judged_root(name, root, sections)
            assert found.status is UNKNOWN
            assert reason in found.reason

    times = st.sampled_from([OLD, DAYS_90, DAYS_45, RECENT, None])
    flags = st.sampled_from([True, False, None])

    @given(
        st.fixed_dictionaries(
            {
                "password_enabled": flags,
                "mfa_active": flags,
                "password_last_used": times,
                "password_last_changed": times,
                "access_key_1_active": flags,
                "access_key_1_last_rotated": times,
                "access_key_1_last_used_date": times,
                "access_key_2_active": flags,
                "access_key_2_last_rotated": times,
            }
        ),
        st.sampled_from([None, STALE, OLD]),
    )
    def test_a_stale_or_missing_report_is_never_fine(self, attributes: dict[str, Any], report_time: str | None) -> None:
        record = without(user(**attributes), "credential_report_time")
        if report_time is not None:
            record["credential_report_time"] = report_time
        assert {judged(one.name, record).status for one in self.OF_REPORT if not one.of_root} == {UNKNOWN}
        root = {**ROOT_ROW, **record} if report_time else None
        assert {judged_root(one.name, root).status for one in self.OF_REPORT if one.of_root} == {UNKNOWN}


def test_a_scan_is_its_root_user_and_its_users() -> None:
    manifest = manifest_of(SCAN, 2, root=ROOT_ROW, sections=CURRENT)
    scan = RecordedScan.of(Manifest(manifest))
    found = list(findings.of_scan(scan, [user(), {**user(), "user_name": "bob"}]))
    assert [(one.user_name, one.control.name) for one in found] == [
        *((ROOT, one.name) for one in CONTROLS if one.of_root),
        *((name, one.name) for name in ("alice", "bob") for one in CONTROLS if not one.of_root),
    ]
    only = list(findings.of_scan(scan, [user()], controls=[BY_NAME["admin-policy"], BY_NAME["root-used"]]))
    assert [(one.user_name, one.control.name) for one in only] == [(ROOT, "root-used"), ("alice", "admin-policy")]


def test_the_numbers_of_the_benchmark() -> None:
    """As each version of it numbers its recommendations; version 7.0 has two of them no more."""
    printed = """
        root-access-key         1.4   1.4   1.3   2.3   2.4
        root-no-mfa             1.5   1.5   1.4   2.4   2.5
        root-used               1.7   1.7   1.6   2.6   2.7
        console-no-mfa          1.10  1.10  1.9   2.9   2.10
        key-at-creation         1.11  1.11  1.10  2.10  -
        unused-45-days          1.12  1.12  1.11  2.11  2.11
        two-active-keys         1.13  1.13  1.12  2.12  -
        key-older-90-days       1.14  1.14  1.13  2.13  2.12
        direct-policies         1.15  1.15  1.14  2.14  2.13
        admin-policy            1.16  1.16  1.15  2.15  2.14
        cloudshell-full-access  1.22  1.22  1.21  2.21  2.20
    """
    rows = [line.split() for line in printed.strip().splitlines()]
    assert [(one.name, [one.cis.get(version, "-") for version in CIS_VERSIONS]) for one in CONTROLS] == [
        (name, numbers) for name, *numbers in rows
    ]
