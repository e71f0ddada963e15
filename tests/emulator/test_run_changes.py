"""What `make run` holds the announced changes against is strict: whatever is wrong with an event, a check fails."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.local_aws.run import changes
from tests.local_aws.run.changes import Done, Event, Scans

ACCOUNT = "000000000000"
SCANS = Scans("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", f"arn:aws:states:r:{ACCOUNT}:execution:m:2", users=3)

CREATED = Done(
    "nina came",
    "IAM User Created",
    "nina",
    "AIDANINA",
    after={"mfa_active": False},
    opened=frozenset({"console-no-mfa"}),
)
RENAMED = Done(
    "ann got another name",
    "IAM User Renamed",
    "anna",
    "AIDAANN",
    before={"user_name": "ann"},
    after={"user_name": "anna"},
    attributes=frozenset({"user_name", "arn"}),
)
DELETED = Done("bob went", "IAM User Deleted", "bob", "AIDABOB", before={"user_id": "AIDABOB"}, closed=None)
DONE = (CREATED, RENAMED, DELETED)


def detail(number: int, change: str, **facts: Any) -> dict[str, Any]:
    return {
        "version": "1",
        "id": f"id-{number}",
        "account_id": ACCOUNT,
        "change": change,
        "attributes": [],
        "before": None,
        "after": None,
        "findings_opened": [],
        "findings_closed": [],
        "previous_scan_timestamp": SCANS.first,
        "scan_timestamp": SCANS.second,
        "execution_arn": SCANS.execution_arn,
        **facts,
    }


def told() -> list[Event]:
    """Return the events of what was done."""
    created = detail(
        1,
        "created",
        summary="nina was created",
        user_name="nina",
        user_id="AIDANINA",
        after={"mfa_active": False, "groups": []},
        findings_opened=["console-no-mfa"],
    )
    renamed = detail(
        2,
        "renamed",
        summary="ann was renamed to anna",
        user_name="anna",
        user_id="AIDAANN",
        attributes=["user_name", "arn"],
        before={"user_name": "ann", "arn": "a"},
        after={"user_name": "anna", "arn": "b"},
        # Time alone does that, to anybody
        findings_opened=["unused-45-days"],
    )
    deleted = detail(
        3,
        "deleted",
        summary="bob was deleted",
        user_name="bob",
        user_id="AIDABOB",
        before={"user_id": "AIDABOB"},
        findings_closed=["admin-policy"],
    )
    names = ("created", "deleted", "recreated", "renamed", "changed", "unconfirmed_deletions", "suspected_deletions")
    end = detail(
        4,
        "scan_completed",
        summary="the scan ended",
        user_name=None,
        user_id=None,
        baseline=False,
        users=3,
        events=3,
        counts={**dict.fromkeys(names, 0), "created": 1, "renamed": 1, "deleted": 1},
        sections={"credential_report": "CURRENT", "authorization": "CURRENT"},
    )
    types = ("IAM User Created", "IAM User Renamed", "IAM User Deleted", "IAM User Scan Completed")
    return [Event(*pair) for pair in zip(types, (created, renamed, deleted, end), strict=True)]


def failed(events: list[Event], sentences: list[str] | None = None) -> list[str]:
    return [check.name for check in changes.verify(DONE, events, SCANS, sentences).checks if not check.passed]


def test_what_was_done_and_told_is_right() -> None:
    found = changes.verify(DONE, told(), SCANS, ["bob was deleted", "nina was created", "ann was renamed to anna"])

    assert [check for check in found.checks if not check.passed] == []
    lines = "\n".join(changes.summary(found))
    assert "  bob went\n    IAM User Deleted: bob was deleted\n" in lines
    assert "ok      the topic tells the same sentences: 3 sentences" in lines


@pytest.mark.parametrize(
    ("number", "name", "value"),
    [
        (0, "summary", ""),
        (0, "summary", "somebody was created"),
        (0, "summary", "nina\nwas created"),
        (1, "summary", "was renamed"),
        (0, "version", "2"),
        (0, "account_id", "1"),
        (0, "change", "recreated"),
        (0, "before", {}),
        (0, "after", None),
        (0, "after", {"mfa_active": True}),
        (0, "findings_opened", []),
        (0, "findings_opened", ["console-no-mfa", "admin-policy"]),
        (0, "findings_closed", ["console-no-mfa"]),
        (1, "attributes", ["user_name"]),
        (1, "attributes", ["user_name", "arn", "groups"]),
        (1, "before", {"user_name": "bob"}),
        (2, "previous_scan_timestamp", None),
        (2, "scan_timestamp", SCANS.first),
        (2, "execution_arn", ""),
    ],
)
def test_whatever_is_wrong_with_an_event_is_found(number: int, name: str, value: object) -> None:
    events = copy.deepcopy(told())
    events[number] = Event(events[number].detail_type, {**events[number].detail, name: value})

    assert failed(events) == [f"told: {DONE[number].words}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("users", 4), ("events", 4), ("baseline", True), ("counts", {}), ("sections", {}), ("scan_timestamp", "")],
)
def test_whatever_is_wrong_with_the_end_is_found(name: str, value: object) -> None:
    *others, end = told()

    assert failed([*others, Event(end.detail_type, {**end.detail, name: value})]) == [
        "last, the scan says that all is told"
    ]


def test_root_has_no_name_in_a_sentence() -> None:
    deed = Done("root lost its MFA", "IAM User Changed", changes.ROOT, None)
    facts = {"user_name": changes.ROOT, "user_id": None}
    for summary, right in (("The root user of account 1 has changed", True), ("Somebody has changed", False)):
        event = Event("IAM User Changed", detail(5, "changed", summary=summary, **facts))
        assert changes.verify([deed], [event], SCANS).checks[0].passed is right


def test_what_is_missing_told_twice_or_too_much_is_found() -> None:
    created, renamed, deleted, end = told()
    other = Event("IAM User Deleted", {**deleted.detail, "id": "id-5", "user_name": "eve", "user_id": "AIDAEVE"})
    last = "last, the scan says that all is told"

    assert failed([renamed, deleted, end]) == ["told: nina came", last]
    assert failed([created, renamed, deleted]) == [last]
    assert failed([created, renamed, deleted, end, other]) == ["nothing else is told", last]
    assert failed([created, created, renamed, deleted, end]) == ["told: nina came", "nothing is told twice", last]
    assert failed([created, other, renamed, deleted, end]) == ["nothing else is told", last]
    same_id = Event(deleted.detail_type, {**deleted.detail, "id": "id-1"})
    assert failed([created, renamed, same_id, end]) == ["nothing is told twice"]
    assert failed(told(), ["bob was deleted"]) == ["the topic tells the same sentences"]


def test_time_alone_may_open_findings_of_anybody() -> None:
    created, renamed, deleted, end = told()
    facts = {"user_name": "eve", "user_id": "AIDAEVE", "findings_opened": ["key-older-90-days"]}
    older = Event("IAM User Changed", detail(5, "changed", summary="eve has a new finding", **facts))
    counts = {**end.detail["counts"], "changed": 1}
    end = Event(end.detail_type, {**end.detail, "events": 4, "counts": counts})

    assert failed([created, renamed, deleted, older, end]) == []
    for wrong in ({"findings_opened": ["admin-policy"]}, {"attributes": ["groups"]}):
        event = Event("IAM User Changed", {**older.detail, **wrong})
        assert "nothing else is told" in failed([created, renamed, deleted, event, end])


def test_a_first_scan_tells_nothing_but_that_it_was_the_first() -> None:
    created, *_, end = told()
    first = Event(end.detail_type, {**end.detail, "baseline": True, "events": 0, "users": 2})

    assert changes.verify_baseline([first], 2).passed
    for wrong in ([], [created, first], [first, first], [end], [created]):
        assert not changes.verify_baseline(wrong, 2).passed
    assert not changes.verify_baseline([first], 3).passed
