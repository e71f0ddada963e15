"""The command that writes the page for auditors: what is in the page, for which scans, and how it ends."""

import html
import json
import os
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.cli.errors import ExitStatus
from functions.cli.report.choose import spread
from functions.cli.report.plots import plot
from functions.cli.report.runs import AGE, REPORT_TIMES, Presence, Run, Texts, Values
from functions.table.manifest import Manifest
from functions.table.scans import RecordedScan
from tests.support.command import asks, run
from tests.support.quarter import EVIL, EVIL_BOUNDARY, FAILED, NO_REPORT, WEEKS, quarter, scan_of
from tests.support.recorded import Table, manifest_of

DAY = 86_400


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    return asks(monkeypatch, quarter(40))


def page(*arguments: str, status: int = ExitStatus.OK) -> str:
    """Return the page that the command writes to its output."""
    result = run("report", "--output", "-", *arguments)
    assert result.exit_code == status, result.stderr
    return result.stdout


def data_of(text: str) -> dict[str, Any]:
    """Return what a browser reads of the page."""
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    found: dict[str, Any] = json.loads(block)
    return found


def scans_in(text: str) -> list[str]:
    return [one["scan"] for one in data_of(text)["scans"]]


@pytest.mark.usefixtures("table")
class TestPeriod:
    def test_all_that_is_kept(self) -> None:
        assert scans_in(page()) == [scan_of(number) for number in range(WEEKS)], "and none that may not be trusted"

    def test_up_to_a_moment(self) -> None:
        data = data_of(page("--at", "2026-03-01"))
        assert data["scans"][-1]["scan"] == scan_of(7)
        assert len(data["scans"]) == 8
        assert data["notes"] == ["Asked for 2026-03-01T00:00:00Z, 5 d 13 h after the scan had listed."]  # fmt: skip

    def test_whoever_came_between_the_scan_and_the_moment_is_named(self) -> None:
        notes = data_of(page("--at", "2026-01-26T09:00Z"))["notes"]
        assert notes[1:] == [f"created by then, first recorded in {scan_of(3)}: carol"]

    def test_a_period_begins_with_the_scan_that_answers_for_its_beginning(self) -> None:
        data = data_of(page("--from", "2026-02-10T00:00Z", "--to", "2026-03-02T10:00Z"))
        assert [one["scan"] for one in data["scans"]] == [scan_of(number) for number in (5, 6, 7, 8)]
        assert data["period"]["untrusted"] == [[FAILED, "FAILED"]]
        assert data["period"]["oldest"] == scan_of(0)

    def test_of_many_some_are_chosen_evenly_and_the_page_says_so(self) -> None:
        data = data_of(page("--max-scans", "4"))
        assert [one["scan"] for one in data["scans"]] == [scan_of(number) for number in (0, 4, 7, 11)]
        assert data["period"]["trusted"] == WEEKS

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--at", "2026-03-01", "--to", "2026-03-01"], "--at is one moment and --from and --to are a period; give"),
            (["--at", "2026-03-01", "--from", "2026-03-01"], "--at is one moment and --from and --to are a period"),
            (["--at", "2025-01-01"], "--at 2025-01-01: no scan up to then has recorded every user"),
            (["--from", "2026-03-01", "--to", "2026-02-01"], "--from 2026-03-01 is later than --to 2026-02-01; exch"),
            (["--to", "2025-12-01"], "--to 2025-12-01: no scan of then has recorded every user"),
            (["--from", "2999-01-01"], "--from 2999-01-01 is in the future"),
            (["--to", "2999-01-01"], "--to 2999-01-01 is in the future"),
            (["--max-scans", "0"], "Invalid value for '--max-scans': 0 is not in the range"),
            (["--unused-days", "0"], "Invalid value for '--unused-days'"),
            (["--output", ""], "--output must be a file, or -, got ''"),
            (["--output", "/"], "--output must be a file, or -, got '/'"),
            (["--output", "/no/where.html"], "--output /no/where.html: there is no folder /no"),
        ],
    )
    def test_a_wrong_value_is_one_line(self, arguments: list[str], message: str) -> None:
        result = run("--quiet", "report", *arguments)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith(f"error: {message}"), result.stderr

    def test_a_table_without_a_scan(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asks(monkeypatch, Table())
        result = run("--quiet", "report", "--output", "-")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "no scan has recorded every user yet" in result.stderr


@pytest.mark.usefixtures("table")
class TestFile:
    def test_it_takes_the_place_of_one_that_is_there(self, tmp_path: Path) -> None:
        file = tmp_path / "report.html"
        file.write_text("old")
        result = run("report", "--output", str(file))
        assert (result.exit_code, result.stdout) == (0, "")
        assert file.read_text().startswith("<!doctype html>")
        assert os.listdir(tmp_path) == ["report.html"]
        assert f"{file}: " in result.stderr
        assert " users in the scan 2026-03-23T10:00:00Z" in result.stderr

    def test_what_was_there_stays_where_it_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "report.html"
        file.write_text("old")

        def full(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        result = run("--quiet", "report", "--output", str(file))
        assert (result.exit_code, result.stderr) == (2, f"error: --output {file}: No space left on device\n")
        assert file.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["report.html"]


class TestContent:
    def test_no_name_ends_what_holds_it(self, table: Table) -> None:
        text = page()
        assert {EVIL, EVIL_BOUNDARY} <= {value for value in data_of(text)["values"] if isinstance(value, str)}
        assert text.count("</script>") == 2
        assert "taken" in text
        assert '<script>document.title="taken"' not in text

    def test_an_account_or_an_error_is_no_markup(self, table: Table) -> None:
        evil = "<img src=x onerror=alert(1)>"
        section = {"state": "MISSING", "error_type": "Bad", "error_message": evil}
        table.scan("2026-03-30T10:00:00Z", {}, sections={"credential_report": section, "authorization": section})
        text = page("--at", "2026-03-30T10:00:00Z", "--table", evil)
        assert text.count("onerror") >= 3
        assert "<img" not in text

    def test_its_policy_forbids_the_network_and_lets_only_its_own_script_run(self, table: Table) -> None:
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page())
        rules = dict(rule.strip().partition(" ")[::2] for rule in html.unescape(policy).split(";"))
        assert rules["default-src"] == "'none'"
        assert {"base-uri", "form-action", "require-trusted-types-for"} < rules.keys()
        for name in ("script-src", "style-src"):
            assert "sha256-" in rules[name]
            assert "unsafe" not in rules[name]
        assert not re.search(r"(src|href)=\"(?!#)", page())

    def test_an_index_that_is_behind_is_said_here_and_there(self, table: Table) -> None:
        table.hidden.add(("mallory", scan_of(3)))
        text = page(status=ExitStatus.INCOMPLETE)
        assert [one["missing"] for one in data_of(text)["scans"]] == [int(number == 3) for number in range(WEEKS)]
        result = run("--quiet", "report", "--output", "-")
        assert result.exit_code == 6
        assert result.stderr.startswith("warning: 1 of the ")
        assert ("deleted", "mallory") not in [tuple(change[1:3]) for change in data_of(text)["changes"]]

    def test_whom_an_index_lacks_that_is_behind_may_have_another_name_and_is_not_gone(self, table: Table) -> None:
        table.hidden.add(("carol.jones", scan_of(6)))
        changes = [tuple(change[:3]) for change in data_of(page(status=ExitStatus.INCOMPLETE))["changes"]]
        assert [change for change in changes if change[2].startswith("carol")] == [
            (3, "recreated", "carol"),
            (7, "renamed", "carol.jones"),
        ]

    def test_a_scan_without_a_report_says_why(self, table: Table) -> None:
        found = data_of(page())["scans"][NO_REPORT]
        report, details = found["sections"]
        assert (report["known"], report["line"]) == (
            False,
            "credential report missing: LimitExceeded: No more capacity",
        )
        assert details["known"]
        assert found["root"] is None
        assert {status for status, _ in found["root_findings"]} == {1}

    def test_a_scan_is_read_once(self, table: Table) -> None:
        page()
        assert table.queries == 1 + WEEKS

    def test_thresholds_may_be_set(self, table: Table) -> None:
        assert data_of(page("--key-age-days", "1000"))["parameters"] == {"unused_days": 45, "key_age_days": 1000}

    def test_by_other_thresholds_no_finding_is_said_to_have_begun(self, table: Table) -> None:
        usual, other = (data_of(page(*arguments))["changes"] for arguments in ((), ("--unused-days", "44")))
        assert any(change[6] or change[7] for change in usual)
        assert not any(change[6] or change[7] for change in other)
        assert [change[:6] for change in other] == [
            change[:6] for change in usual if change[1] != "changed" or change[5]
        ], "and who has not changed but for that is left out"

    def test_two_scans_that_overlap_are_not_compared(self, table: Table) -> None:
        table.scan("2026-03-23T10:00:01Z", {"mallory": {}})
        table.scan("2026-03-30T10:00:00Z", {"mallory": {"user_id": "AIDAMALLORY"}})
        data = data_of(page())
        assert [one["compared"] for one in data["scans"][-3:]] == [True, False, True]
        assert [change for change in data["changes"] if change[0] == WEEKS] == []
        assert ("deleted", "oscar") in [tuple(change[1:3]) for change in data["changes"] if change[0] == WEEKS + 1]

    def test_a_scan_without_a_report_hides_no_change(self, table: Table) -> None:
        (found,) = [change for change in data_of(page())["changes"] if change[2] == "mallory"]
        assert (found[0], found[5][0][0], found[6]) == (NO_REPORT + 1, "mfa_active", ["console-no-mfa"])


# What is read back is what was put in


def read(run_: Any, scan: int) -> Any:
    if not isinstance(run_, list):
        return run_
    return next(
        (value for first, value in reversed(list(zip(run_[::2], run_[1::2], strict=True))) if first <= scan), None
    )


def text_at(texts: Any, values: Values, scan: int, at: int, changing: list[str]) -> tuple[int, str | None]:
    """Do what the page's script does."""
    if not isinstance(texts, list):
        return texts, None
    step = [one for one in texts if one[0] <= scan][-1]
    if len(step) == 2:
        return step[1], None
    moments = iter(step[3:])
    parts = re.split(f"([{AGE}{''.join(REPORT_TIMES)}])", values.all[step[2]])
    words = [
        f"{max(0, (at - next(moments)) // DAY):,}" if part == AGE
        else changing[REPORT_TIMES.index(part)] if part in REPORT_TIMES and part
        else part
        for part in parts
    ]  # fmt: skip
    return step[1], "".join(words)


@given(st.lists(st.none() | st.integers(0, 2), min_size=1, max_size=20))
def test_a_value_is_what_it_was_in_each_scan(values: list[int | None]) -> None:
    kept = Run()
    for scan, value in enumerate(values):
        kept.put(scan, value)
    assert [read(kept.compact, scan) for scan in range(len(values))] == values


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_presence_is_what_it_was_in_each_scan(there: list[bool]) -> None:
    kept = Presence()
    for scan, is_there in enumerate(there):
        if is_there:
            kept.put(scan)
    ranges = list(zip(kept.ranges[::2], kept.ranges[1::2], strict=True))
    assert [any(first <= scan <= last for first, last in ranges) for scan in range(len(there))] == there


_REASONS = st.sampled_from(
    [
        None,
        "active access key of 2025-06-01T00:00:00Z is {} d old",
        "password not used for {} d; access key of x never used for {} d",
        "used, or new, less than 45 d ago: password",
        "created after the credential report of {time}",
        "{} d",
        "in 1,2 d, 01 d, 12d and \ue000 d",
    ]
)


@given(
    st.lists(
        st.tuples(_REASONS, st.integers(0, 2), st.lists(st.integers(0, 3_000), min_size=2, max_size=2)),
        min_size=1,
        max_size=15,
    ),
    st.integers(0, 5),
    st.integers(1, 200_000),
)
def test_a_text_is_what_it_was_in_each_scan(
    steps: list[tuple[str | None, int, list[int]]], begin: int, apart: int
) -> None:
    """Whether its ages grow with the scans or jump."""
    values = Values()
    kept = Texts(values)
    expected = []
    for scan, (reason, status, ages) in enumerate(steps):
        at = begin * DAY + scan * apart
        time = f"2026-01-{scan + 1:02}T00:00:00Z"
        text = None if reason is None else reason.format(*(f"{age:,}" for age in ages), time=time)
        kept.put(scan, at, status, text, [time])
        expected.append((status, None if text is None else text.replace("\ue000", "\ufffd")))
    assert [
        text_at(kept.compact, values, scan, begin * DAY + scan * apart, [f"2026-01-{scan + 1:02}T00:00:00Z"])
        for scan in range(len(steps))
    ] == expected


@given(st.integers(0, 10**7), st.integers(3_600, 3 * DAY), st.integers(2, 60))
def test_an_age_that_grows_is_kept_once(created: int, apart: int, scans: int) -> None:
    values = Values()
    kept = Texts(values)
    for scan in range(scans):
        at = 10**7 + scan * apart
        kept.put(scan, at, 0, f"key is {(at - created) // DAY:,} d old")
    assert len(kept.compact) == 1


# Which scans


def scans(*hours: int) -> list[RecordedScan]:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    times = [(begin + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ") for hour in hours]
    return [RecordedScan.of(Manifest(manifest_of(time, 1))) for time in times]


@given(st.sets(st.integers(0, 500), min_size=1, max_size=40), st.integers(1, 20))
def test_some_are_spread_over_the_whole_period(hours: set[int], most: int) -> None:
    every = scans(*sorted(hours))
    chosen = spread(every, most)
    assert 1 <= len(chosen) <= most
    assert [one for one in every if one in chosen] == chosen
    assert chosen[-1] == every[-1]
    if most > 1:
        assert chosen[0] == every[0]
    if len(every) <= most:
        assert chosen == every


def test_of_hourly_scans_the_chosen_are_as_far_apart_as_each_other() -> None:
    chosen = spread(scans(*range(24 * 59 + 1)), 60)
    apart = {(later.moment - former.moment) for former, later in pairwise(chosen)}
    assert apart == {timedelta(hours=24)}


# Plots


def test_what_is_unknown_is_a_gap_and_no_zero() -> None:
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3, 5)]
    drawn = plot("Findings", [("findings", [4, None, 0, 1_200])], moments)
    (curve,) = drawn.curves
    assert [line.count(",") for line in curve.lines] == [1, 2]
    assert len(curve.points) == 3
    assert drawn.summary == "findings: 4 at first, 1,200 at last, from 0 to 1,200, unknown in 1"
    assert [label for _, label in drawn.grid] == ["0", "1,000", "2,000"]
    assert plot("", [("findings", [None] * 4)], moments).summary == "findings: unknown in all scans"


def test_one_scan_is_a_point_in_the_middle() -> None:
    drawn = plot("Users", [("users", [0])], [datetime(2026, 1, 1, tzinfo=UTC)])
    (point,) = drawn.curves[0].points
    assert drawn.left < point.x < drawn.right
    assert point.y == drawn.bottom
