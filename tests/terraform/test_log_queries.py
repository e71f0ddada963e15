"""The queries of logs, saved and of the dashboard, run on what the functions log of scans that succeed and fail."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from functions.shared import clients
from functions.table import findings
from functions.table.detection import Detection, Picture
from tests.support import insights
from tests.support.engine import ACCOUNT, Engine, engine
from tests.support.insights import Row
from tests.support.logs import captured_logs
from tests.support.waiting import next_second
from tests.terraform.plans import Planned

LOGS = "/aws/lambda/iam-user-monitor-"
MEMBER = "222222222222"
POSTURE = ["generate_credential_report", "get_credential_report", "get_account_authorization_details"]


@dataclass(frozen=True)
class Asked:
    """A query and where it searches."""

    name: str
    groups: list[str]
    query: insights.Query


@pytest.fixture(scope="module")
def asked(planned: list[Planned]) -> dict[str, Asked]:
    """Return every query of the deployment, by its name, or by the title of its widget."""
    saved = [one.values for one in planned if one.type == "aws_cloudwatch_query_definition"]
    found = [Asked(one["name"], one["log_group_names"], insights.parse(one["query_string"])) for one in saved]
    (dashboard,) = [one.values for one in planned if one.type == "aws_cloudwatch_dashboard"]
    for widget in json.loads(dashboard["dashboard_body"])["widgets"]:
        if widget["type"] == "log":
            query = insights.parse(widget["properties"]["query"])
            found.append(Asked(widget["properties"]["title"], query.source, query))
    return {one.name: one for one in found}


@contextmanager
def denied(client: Any, *calls: str) -> Iterator[None]:
    """Let calls be refused for lack of permission."""
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "any")
    patches = [mock.patch.object(client, call, side_effect=error) for call in calls]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


@pytest.fixture(scope="module")
def lines() -> list[Row]:
    """Run scans of every kind of end, and return what the functions have logged."""
    with captured_logs() as logged, engine(page_size=5, batch_size=5) as running:
        running.create_users([f"user-{number}" for number in range(8)])
        run(running)
        running.client("iam").create_user(UserName="another")
        run(running, again=True)
        with denied(clients.iam(), "list_users"):
            run(running)
        for lost in (["get_credential_report"], ["get_account_authorization_details"], POSTURE):
            with denied(clients.brisk_iam(), *lost):
                run(running)
        with mock.patch.object(clients.dynamodb(), "batch_write_item", side_effect=ValueError("broken")):
            run(running)
    return lines_of(logged())


@pytest.fixture(scope="module")
def fleet_lines() -> list[Row]:
    """Do the same for an organization: of two accounts one fails; then the accounts cannot be listed."""
    with captured_logs() as logged, engine(organization={}) as running:
        running.create_accounts({MEMBER: "payments"}, ["erin"])
        running.run(organization=True)
        next_second()
        with denied(clients.iam(), "list_users"):
            running.run(organization=True)
        next_second()
        with denied(clients.organizations(), "get_paginator"):
            running.run(organization=True)
    return lines_of(logged())


def lines_of(logged: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return log lines as Logs Insights has them: each in the log group of its function, an hour after the last one."""
    return [
        insights.line_of(
            json.dumps(line), LOGS + re.sub(r"(?<!^)(?=[A-Z])", "-", line["state"]).lower(), 3600.0 * number
        )
        for number, line in enumerate(logged)
    ]


def run(running: Engine, *, again: bool = False) -> None:
    """Run a scan; ``again``: and another one in the same second, which has nothing to do."""
    next_second()
    first = running.start()
    if again:
        running.wait(running.start())
    running.wait(first)


def answer(asked: Asked, lines: list[Row]) -> list[Row]:
    """Return what Logs Insights would: only lines of the log groups that the query searches."""
    return asked.query.run([line for line in lines if line["@log"] in asked.groups])


def test_every_query_is_tried(asked: dict[str, Asked]) -> None:
    assert len(asked) == 5 + 4


def test_a_query_shows_no_column_that_no_line_ever_fills(
    asked: dict[str, Asked], lines: list[Row], fleet_lines: list[Row]
) -> None:
    empty = {
        (one.name, heading)
        for one in asked.values()
        for heading in one.query.headings
        if all(row[heading] is None for row in answer(one, lines + fleet_lines))
    }
    assert empty == set()


def test_the_accounts_that_failed_are_told_with_the_end_of_their_run(
    asked: dict[str, Asked], fleet_lines: list[Row]
) -> None:
    rows = answer(asked["iam-user-monitor/accounts"], fleet_lines)
    told = [
        (row["message"], row["accounts_scanned"], row["accounts_failed"], row["failed_account"], row["error_type"])
        for row in reversed(rows)
    ]
    assert told == [
        ("Accounts listed", None, None, None, None),
        ("Organization scan completed successfully", 2, 0, None, None),
        ("Accounts listed", None, None, None, None),
        ("Account failed", None, None, ACCOUNT, "AccessDenied"),
        ("Organization scan completed with errors", 1, 1, None, None),
        ("Organization scan failed", 0, 0, None, "AccessDenied"),
    ]


def test_findings_and_changes_of_every_kind_have_a_line_in_their_widget(asked: dict[str, Asked]) -> None:
    (found,) = [one for name, one in asked.items() if name.startswith("Findings")]
    assert found.query.headings == ["bin(1h)", *(name.replace("-", "_") for name in findings.BY_NAME)]
    (changed,) = [one for name, one in asked.items() if name.startswith("Changes")]
    counts = Detection((), None, Picture(""), True, 0, 0, 0).counts
    assert changed.query.headings == ["bin(1h)", *counts, "refused_events"]


def test_the_widgets_show_what_was_announced(asked: dict[str, Asked], lines: list[Row]) -> None:
    (changed,) = [answer(one, lines) for name, one in asked.items() if name.startswith("Changes")]
    assert [row["created"] for row in changed] == [0, 1, 0, 0, 0]


def test_a_scan_without_posture_is_told_with_its_reason(asked: dict[str, Asked], lines: list[Row]) -> None:
    (posture,) = [answer(one, lines) for name, one in asked.items() if name.startswith("Posture of")]
    told = ("credential_report", "report_error", "authorization_details", "details_error", "error_type")
    assert {tuple(row[name] for name in told) for row in posture} == {
        ("CURRENT", None, "CURRENT", None, None),
        ("MISSING", "AccessDenied", "CURRENT", None, None),
        ("CURRENT", None, "MISSING", "AccessDenied", None),
        (None, None, None, None, "AccessDenied"),
    }


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("fields a | where b = 1", "no command where"),
        ("fields a-b", "not understood"),
        ('fields a | filter b = "open', "not understood"),
        ("stats median(a) by bin(1h)", "no statistic"),
        ("stats max(a) by bin(1 h)", "expected span"),
        ("fields a | filter b in (1)", r"expected \["),
        ("filter a = 1", "nothing is shown"),
        ("fields a | limit ten", "expected number"),
    ],
)
def test_what_is_no_query_is_refused(query: str, why: str) -> None:
    with pytest.raises(insights.Malformed, match=why):
        insights.parse(query)


def test_a_query_is_answered_as_by_logs_insights() -> None:
    told: Callable[[int, dict[str, Any]], Row] = lambda hour, facts: insights.line_of(  # noqa: E731
        json.dumps(facts), "group", 3600.0 * hour
    )
    lines = [told(0, {"m": "a", "n": {"x-y": 2}}), told(0, {"m": "b"}), told(1, {"m": "a", "n": {"x-y": 5}})]

    by_hour = insights.parse('filter m in ["a"] | stats max(`n.x-y`) as most by bin(1h)')
    assert by_hour.run(lines) == [{"bin(1h)": 0, "most": 2}, {"bin(1h)": 3600, "most": 5}]
    latest = insights.parse(
        'fields m, `n.x-y` as xy | filter @message like /"b"/ or n.x = 1 | sort @timestamp desc | limit 1'
    )
    assert latest.run(lines) == [{"m": "b", "xy": None}]
