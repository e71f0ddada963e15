"""The picture of a run, looked at in headless Chromium."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.browser.conftest import Browser
from tests.local_aws.run import html_report
from tests.local_aws.run.scan import Check, Execution, Facts
from tests.support import scenarios

BEGAN = datetime(2026, 1, 31, 10, tzinfo=UTC)
SUCCESS = [*scenarios.READ, *scenarios.page(), *scenarios.page(), *scenarios.SUCCESS]
FAILURE = [*scenarios.READ, "ListUsers", *scenarios.FAILURE]
CALLS = {"iam:ListUsers": 1_200, "dynamodb:BatchWriteItem": 48}
EVIL = '<script>alert("x")</script><img src=x>'

SEEN = """(() => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    const box = (element) => element.getBoundingClientRect();
    return {
        title: document.title,
        text: document.body.innerText,
        visits: Object.fromEntries(all("#graph .state").map((one) => [one.dataset.state, Number(one.dataset.visits)])),
        taken: all("#graph .edge.taken").map((one) => `${one.dataset.from} → ${one.dataset.to}`),
        bars: all("#timeline .bar").map((one) => [box(one).left, box(one).right]),
        rows: all("#timeline .bar").map((one) => one.getAttribute("y")),
        letters: all("svg text").map((one) => box(one).height),
        cells: all("td").map((one) => box(one).height / parseFloat(getComputedStyle(one).lineHeight)),
        graph: all("#graph").map((one) => [box(one).width, box(one).height])[0],
        overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        injected: all("script, img").length,
    };
})()"""

Look = Callable[..., dict[str, Any]]


@pytest.fixture
def look(browser: Browser) -> Look:
    """Return a function that opens a page and tells what is seen."""

    def open_page(page: str, width: int = 1000) -> dict[str, Any]:
        browser.open(page, width)
        return {**browser.evaluate(SEEN), "problems": browser.problems}

    return open_page


def execution(path: list[str], status: str = "SUCCEEDED", cause: str = "") -> Execution:
    """Return an execution that spent a second in each state, and never left FailScan."""
    events: list[dict[str, Any]] = []
    for number, state in enumerate(path):
        moment = BEGAN + timedelta(seconds=number)
        events.append({"timestamp": moment, "stateEnteredEventDetails": {"name": state}})
        if state != "FailScan":
            events.append({"timestamp": moment + timedelta(seconds=1), "stateExitedEventDetails": {"name": state}})
    ended = BEGAN + timedelta(seconds=len(path))
    return Execution("arn:aws:states:…:example", status, BEGAN, ended, {}, cause, events)


def facts(name: str = "alice") -> Facts:
    record = {"user_name": name, "user_id": "AIDA", "arn": f"arn:{name}", "create_date": "2025-03-14T09:26:53Z"}
    return Facts(
        "2026-01-31T10:00:00Z", [record] * 12, [], {"UsersScanned": 1200.0, "Success": 1.0}, None,
        {"status": "COMPLETE", "users_scanned": 1200, "records_written": 1200, "errors": 0},
    )  # fmt: skip


def test_the_path_and_the_timeline_are_drawn(look: Look) -> None:
    seen = look(html_report.page(execution(SUCCESS), facts(), [Check("the lock is gone", True, "free")]))

    assert seen["problems"] == []
    assert seen["title"] == "Scan 2026-01-31T10:00:00Z: SUCCEEDED"
    assert {state: count for state, count in seen["visits"].items() if count} == {
        state: SUCCESS.count(state) for state in SUCCESS
    }
    assert seen["visits"]["FailScan"] == 0
    assert "MorePages? → ListUsers" in seen["taken"]
    assert "MorePages? → EmitMetrics" in seen["taken"]
    assert "ListUsers → EmitMetrics" not in seen["taken"]
    # A bar for each visit, one after another
    assert len(seen["bars"]) == len(SUCCESS)
    assert all(before[1] <= after[0] + 1 for before, after in zip(seen["bars"], seen["bars"][1:], strict=False))
    assert min(seen["graph"]) > 300
    for text in ("1,200", "ListUsers × 2", "the lock is gone", "Records, 10 of 12", "alice", "1.00 s"):
        assert text in seen["text"], text


def test_a_failure_shows_where_and_why(look: Look) -> None:
    checks = [Check("the execution succeeded", False, "FAILED")]
    seen = look(html_report.page(execution(FAILURE, "FAILED", "AccessDenied: no ListUsers"), facts(), checks))

    assert seen["problems"] == []
    assert "ListUsers → EmitMetrics" in seen["taken"]
    assert "ScanOutcome? → FailScan" in seen["taken"]
    assert "AccessDenied: no ListUsers" in seen["text"]
    assert "FAILED\tthe execution succeeded" in seen["text"]


@pytest.mark.parametrize("width", [360, 420, 1000])
def test_it_fits_a_phone_and_a_desktop_whatever_a_user_is_called(look: Look, width: int) -> None:
    seen = look(html_report.page(execution(SUCCESS), facts("n" * 64), []), width)
    assert seen["overflow"] <= 0
    # What is wider is moved aside, and neither shrinks beyond reading nor breaks words into a letter a line
    assert min(seen["letters"]) >= 8
    assert max(seen["cells"]) <= 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, scheme: str) -> None:
    page = html_report.page(execution(FAILURE, "FAILED", "Cause"), facts(), [Check("it ran", False, "no")], CALLS)
    browser.open(page, 390, scheme=scheme)
    assert browser.tell("axe") == []
    assert browser.shot(f"run-{scheme}").stat().st_size > 10_000


def test_payloads_and_calls_are_told(look: Look) -> None:
    run = execution(SUCCESS)
    entered = [event["stateEnteredEventDetails"] for event in run.events if "stateEnteredEventDetails" in event]
    for place, details in enumerate(one for one in entered if one["name"] == "ListUsers"):
        details["input"] = "x" * 1024 * (3 - place)
    text = look(html_report.page(run, facts(), [], CALLS))["text"]
    assert "ListUsers\n3.0 KiB" in text
    assert "iam:ListUsers\t1,200" in text


def test_many_pages_share_a_row(look: Look) -> None:
    path = [*scenarios.BEGIN, *scenarios.page() * 10, *scenarios.SUCCESS]
    seen = look(html_report.page(execution(path), facts(), []))
    assert len(seen["bars"]) == len(path)
    assert len(set(seen["rows"])) == len(scenarios.BEGIN) + 1 + len(scenarios.SUCCESS)
    assert "10 pages" in seen["text"]
    assert "40.00 s" in seen["text"]


def test_it_says_where_it_was_and_in_which_units(look: Look) -> None:
    text = look(html_report.page(execution(SUCCESS), facts(), []))["text"]
    assert "On the local AWS, an emulator on this machine: its times are not those of AWS." in text
    assert f"{len(SUCCESS)}.00 s" in text
    assert "UsersScanned\t1,200\tcount" in text


def test_a_users_name_is_text_and_never_markup(look: Look) -> None:
    seen = look(html_report.page(execution(SUCCESS, cause=EVIL), facts(EVIL), [Check(EVIL, True, EVIL)]))
    assert (seen["injected"], seen["problems"]) == (0, [])
    assert seen["text"].count(EVIL) >= 12


def test_an_execution_without_a_state_is_a_page_too(look: Look) -> None:
    assert "No state was entered" in look(html_report.page(execution([], "ABORTED"), facts(), []))["text"]
