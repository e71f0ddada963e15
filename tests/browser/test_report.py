"""The page for auditors, looked at and used in headless Chromium."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.browser.conftest import Browser
from tests.support.command import answer, asks, run
from tests.support.quarter import (
    EVIL,
    FAILED,
    FIRST,
    MALLORY_FROM,
    NO_REPORT,
    OSCAR_UNTIL,
    WEEKS,
    quarter,
    scan_of,
    text,
)
from tests.support.recorded import Table

A4_BETWEEN_MARGINS = 688
"""Pixels of 1/96 inch: 210 mm without 14 mm on each side."""
BEFORE_MARCH = 7
"""The scan, by its number, that answers for 1 March: of 23 February."""
ROWS = "#rows > tr"
NAMES = "#rows > tr > th > button"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of an account through a quarter."""
    return written(tmp_path_factory.mktemp("page"), quarter(70))


def written(folder: Path, account: Table, *arguments: str, hidden: tuple[str, str] | None = None) -> Path:
    """Let the command write a page of a table, and return it; the index may not yield a record."""
    file = folder / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_REGION", "us-east-1")
        table = asks(patch, account)
        table.hidden |= {hidden} if hidden else set()
        result = run("report", "--output", str(file), *arguments)
    assert result.exit_code == (6 if hidden else 0), result.stderr
    return file


@pytest.fixture
def look(browser: Browser, page: Path) -> Browser:
    """Return the page, opened."""
    browser.open(page)
    return browser


def when(number: int) -> str:
    return scan_of(number)[:16].replace("T", " ")


def choose(look: Browser, number: int) -> None:
    look.tell("choose", selector="#moment", value=str(number))


def row_of(look: Browser, name: str) -> dict[str, str]:
    """Return the cells of a user, by the names of their columns."""
    look.evaluate("document.querySelector('#rows').showAll?.()")
    code = """Object.fromEntries([...document.querySelectorAll("#rows > tr")]
        .find((row) => row.querySelector("button").innerText === NAME).querySelectorAll("td").entries()
        .map(([_, cell]) => [cell.dataset.label, cell.innerText]))"""
    found: dict[str, str] = look.evaluate(code.replace("NAME", json.dumps(name)))
    return found


class TestTheQuestionOfOneMinute:
    def test_who_is_an_administrator_without_mfa_and_since_when(self, look: Browser) -> None:
        look.evaluate("document.querySelectorAll('.tile')[2].click()")
        assert look.texts(NAMES) == ["mallory"]
        assert row_of(look, "mallory")["Since"] == f"{when(MALLORY_FROM)}\nunknown on {when(NO_REPORT)}"
        assert look.text("#matched").startswith("1 user of ")

    def test_whoever_is_unknown_is_counted_and_shown_on_request_and_never_fine(self, look: Browser) -> None:
        look.evaluate("document.querySelectorAll('.tile')[2].click()")
        assert look.text("#maybe") == "Unknown for 1 more: they may be, too. Show them"
        look.evaluate("document.querySelector('#maybe button').click()")
        assert sorted(look.texts(NAMES)) == ["mallory", "trent"]
        assert row_of(look, "trent")["MFA"] == "unknown"
        assert "unknown for 1 more" in look.texts(".tile")[2]

    def test_and_who_was_it_on_1_march(self, look: Browser) -> None:
        choose(look, BEFORE_MARCH)
        look.evaluate("document.querySelectorAll('.tile')[2].click()")
        assert sorted(look.texts(NAMES)) == ["mallory", "oscar"]
        assert row_of(look, "oscar")["Since"] == f"{when(NO_REPORT + 1)}\nunknown on {when(NO_REPORT)}"
        assert look.text("#said").startswith(f"The account at {when(BEFORE_MARCH)} UTC: ")

    def test_what_was_so_in_the_oldest_scan_may_be_older(self, look: Browser) -> None:
        choose(look, 2)
        look.evaluate("document.querySelectorAll('.tile')[2].click()")
        assert row_of(look, "oscar")["Since"] == f"{when(0)}\nor earlier"

    def test_a_scan_without_the_report_has_nobody_of_whom_it_is_known(self, look: Browser) -> None:
        choose(look, NO_REPORT)
        look.evaluate("document.querySelectorAll('.tile')[2].click()")
        assert look.texts(NAMES) == []
        assert re.match(r"Unknown for \d+ more", look.text("#maybe"))
        assert set(look.texts("#rows td[data-label=MFA]")) <= {"unknown"}
        assert "credential report missing: LimitExceeded: No more capacity" in look.text("#limits")

    def test_what_a_stale_report_said_is_shown_and_not_taken_for_known(self, look: Browser) -> None:
        cells = row_of(look, "peggy")
        assert (cells["MFA"], cells["Password"]) == ("yes, stale", "none, stale")
        look.evaluate("document.querySelector('[data-filter=mfa]').click()")
        look.evaluate("document.querySelector('#maybe button').click()")
        look.evaluate("document.querySelector('#rows').showAll?.()")
        assert {"peggy", "trent"} <= set(look.texts(NAMES))
        assert "carol.jones" not in look.texts(NAMES)
        assert "credential report stale, of 2026-03-23T04:00:00Z" in look.text("#limits")

    def test_a_reason_names_the_report_of_its_own_scan(self, browser: Browser, tmp_path: Path) -> None:
        table = quarter(20, 3)
        for number in range(3):
            place = ("mallory", scan_of(number))
            listed = ("user_name", "scan_timestamp", "user_id", "arn", "create_date", "listed_at", "ttl", "groups")
            table.items[place] = {name: value for name, value in table.items[place].items() if name in listed}
        browser.open(written(tmp_path, table))
        for number in (2, 0, 1):
            choose(browser, number)
            told = re.findall(r"not in the credential report of (\S+)", browser.text("#limits"))
            assert told == [text(FIRST + timedelta(weeks=number, minutes=-50))], number

    def test_an_index_that_is_behind_and_scans_that_are_left_out_are_told(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        browser.open(written(tmp_path, quarter(20), "--max-scans", "6", hidden=("mallory", scan_of(9))))
        told = browser.text("#limits")
        assert re.search(rf"1 of \d+ records of the scan {scan_of(9)} are missing here", told)
        assert "This page holds 6 of the 12 trusted scans of its period, evenly spread." in told
        assert f"1 scan of this period may not be trusted, and is left out: {FAILED} FAILED" in told
        browser.evaluate("document.querySelectorAll('.tile')[2].click()")
        assert row_of(browser, "mallory")["Since"] == f"{when(11)}\nunknown on {when(9)}"
        choose(browser, 4)
        assert re.search(r"1 of \d+ records of this scan are missing here", browser.text("#limits"))


class TestTable:
    def test_a_search_finds_names_groups_and_ids(self, look: Browser) -> None:
        everybody = look.text("#matched")
        for words, found in (("mallory", ["mallory"]), ("AIDATRENT", ["trent"]), ("a<b>&'c'", [EVIL])):
            look.evaluate("document.querySelector('#search').value = ''; document.querySelector('#search').focus()")
            look.tell("type", text=words)
            assert wait_for(look, NAMES, found) == found
        look.evaluate("document.querySelector('#clear').click()")
        assert look.text("#matched") == everybody

    def test_a_column_sorts_up_and_down_and_says_so(self, look: Browser) -> None:
        look.evaluate("document.querySelector('#rows').showAll()")
        assert sorted_by(look) == ("Findings", "descending")
        look.tell("click", selector="[data-column=user] button")
        look.evaluate("document.querySelector('#rows').showAll()")
        up = look.texts(NAMES)
        assert sorted_by(look) == ("User", "ascending")
        assert up == sorted(up, key=str.lower)
        look.tell("click", selector="[data-column=user] button")
        look.evaluate("document.querySelector('#rows').showAll()")
        assert sorted_by(look) == ("User", "descending")
        assert look.texts(NAMES) == up[::-1]

    def test_it_shows_what_the_command_answers(self, look: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
        """At any of its scans, whatever was told of the others."""
        asks(monkeypatch, quarter(70))
        for number in (0, NO_REPORT, BEFORE_MARCH, WEEKS - 1):
            choose(look, number)
            found = answer("findings", "--scan", scan_of(number))
            for control in ("unused-45-days", "key-older-90-days", "cloudshell-full-access", "root-used"):
                expected = sorted(
                    (one["user_name"].replace("<root_account>", "root user"), one["reason"])
                    for one in found
                    if one["control"] == control and one["status"] == "FINDING"
                )
                assert sorted(map(tuple, findings(look, control))) == expected, (number, control)

    def test_many_are_shown_on_demand(self, look: Browser) -> None:
        everybody = int(look.text("#matched").split()[0])
        assert len(look.texts(ROWS)) == 50 < everybody
        look.evaluate("document.querySelector('[data-list] > .more button').click()")
        assert len(look.texts(ROWS)) == everybody
        assert look.evaluate("document.activeElement.closest('tr') !== null"), "who uses the keyboard goes on there"


def wait_for(look: Browser, selector: str, found: list[str]) -> list[str]:
    for _ in range(50):
        if look.texts(selector) == found:
            break
        look.evaluate("new Promise((done) => setTimeout(done, 40))")
    return look.texts(selector)


def sorted_by(look: Browser) -> tuple[str, str]:
    code = """(([head]) => [head.innerText.trim(), head.getAttribute("aria-sort")])(
        [...document.querySelectorAll("#heads th:not([aria-sort=none])")])"""
    name, order = look.evaluate(code)
    return name, order


def findings(look: Browser, control: str) -> list[list[str]]:
    code = """(() => {
        const details = [...document.querySelectorAll("details.control")]
            .find((one) => one.querySelector(".what .pale").innerText.startsWith(NAME + ","));
        details.open = true;
        details.show();
        const list = details.querySelector("[data-list] > .people");
        list?.showAll?.();
        return [...(list?.children ?? [])].map((one) => [one.children[0].innerText, one.children[1].innerText]);
    })()"""
    found: list[list[str]] = look.evaluate(code.replace("NAME", json.dumps(control)))
    return found


class TestUser:
    def test_a_user_is_opened_and_closed_by_keyboard(self, look: Browser) -> None:
        look.evaluate("document.querySelector('#search').focus()")
        look.tell("type", text="carol")
        assert wait_for(look, NAMES, ["carol.jones"]) == ["carol.jones"]
        look.evaluate("document.querySelector('#rows button').focus()")
        look.press("Enter")
        assert look.evaluate("document.querySelector('#user').open")
        assert look.text("#user-name") == "carol.jones"
        look.press("Escape")
        assert not look.evaluate("document.querySelector('#user').open")
        assert look.evaluate("document.activeElement.innerText") == "carol.jones", "where the reader was"

    def test_its_history_knows_who_it_was(self, look: Browser) -> None:
        look.evaluate("document.querySelector('#rows').showAll()")
        look.evaluate("document.querySelector('[data-user=AIDACAROL2]').click()")
        history = look.texts(".history > li")
        assert [line.split()[0] for line in history] == ["renamed", "recreated", "first"]
        assert "user_name carol → carol.jones" in history[0]
        assert f"between {when(5)} and {when(6)}" in history[0]
        assert "user_id AIDACAROL1 → AIDACAROL2" in history[1]

    def test_it_is_shown_as_it_was_then(self, look: Browser) -> None:
        for number, word in ((BEFORE_MARCH, "no"), (OSCAR_UNTIL, "yes"), (NO_REPORT, "unknown")):
            choose(look, number)
            look.evaluate("document.querySelector('#rows').showAll?.()")
            look.evaluate("document.querySelector('[data-user=AIDAOSCAR]').click()")
            assert f"\nmfa_active\n{word}\n" in look.text("#user-body"), number
            look.press("Escape")


class TestOverTime:
    def test_changes_come_by_scan_and_kind(self, look: Browser) -> None:
        timeline = look.text("#timeline")
        assert "oscar\nmfa_active no → yes" in timeline
        assert "mallory\nmfa_active yes → no" in timeline, "and the scan without a report hides no change"
        look.tell("choose", selector="#kind", value="renamed")
        (only,) = look.texts("#timeline > li")
        assert only.startswith(f"{when(6)} UTC since {when(5)}\nrenamed carol.jones\nuser_name carol → carol.jones\n")

    def test_a_plot_has_a_gap_where_nothing_is_known(self, look: Browser) -> None:
        code = "[...document.querySelectorAll('.plot')].map((one) => one.querySelectorAll('polyline').length)"
        assert look.evaluate(code) == [1, 1 + 2, 2, 1]
        assert "unknown in 1" in look.evaluate("document.querySelector('#plot-3-summary').textContent")
        numbers = look.evaluate(
            f"[...document.querySelectorAll('.numbers tbody tr')[{NO_REPORT}].cells].map((one) => one.textContent)"
        )
        assert (numbers[0], numbers[3:5]) == (scan_of(NO_REPORT), ["unknown", "unknown"])

    def test_the_numbers_are_those_of_the_tiles(self, look: Browser) -> None:
        for number in (0, BEFORE_MARCH, WEEKS - 1):
            choose(look, number)
            cells = f"[...document.querySelectorAll('.numbers tbody tr')[{number}].cells].map((one) => one.textContent)"
            _, users, administrators, unprotected, found, unknown = look.evaluate(cells)
            tiles = look.texts(".tile")
            told = [tile.split("\n")[0] for tile in tiles]
            assert [*told[:3], told[4]] == [users, administrators, unprotected, found]
            assert f"{unknown} could not be judged" in tiles[4]

    def test_a_click_on_a_plot_chooses_the_moment(self, look: Browser) -> None:
        look.evaluate("""(() => {
            const plot = document.querySelector("svg[data-points]"), box = plot.getBoundingClientRect();
            const x = Number(plot.dataset.points.split(" ")[3]) / plot.viewBox.baseVal.width * box.width + box.left;
            plot.dispatchEvent(new MouseEvent("click", { clientX: x + 1, bubbles: true }));
        })()""")
        assert look.evaluate("document.querySelector('#moment').value") == "3"
        look.tell("click", selector="#earlier")
        assert look.evaluate("document.querySelector('#moment').value") == "2"


class TestPage:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing_and_no_request_leaves_the_page(self, browser: Browser, page: Path, scheme: str) -> None:
        browser.open(page, scheme=scheme)
        assert browser.evaluate("document.title") == f"IAM users of account 123456789012, {scan_of(WEEKS - 1)}"
        browser.evaluate("document.querySelectorAll('.tile')[2].click()")
        browser.evaluate("document.querySelector('#maybe button').click()")
        browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert browser.tell("axe") == []
        browser.evaluate("document.querySelector('[data-user=AIDAMALLORY]').click()")
        assert browser.tell("axe") == []
        assert browser.problems == []

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [390, 1280])
    def test_it_fits(self, browser: Browser, page: Path, width: int, scheme: str) -> None:
        browser.open(page, width=width, scheme=scheme)
        assert browser.evaluate("document.documentElement.scrollWidth") == width
        assert browser.shot(f"report-{scheme}-{width}", full=False).stat().st_size > 10_000
        if width == 390:
            assert browser.tell("axe") == [], "cards are a table, too"

    def test_the_policy_of_the_page_stops_what_is_not_its_own(self, look: Browser) -> None:
        refused = look.evaluate("""new Promise((done) => {
            const heard = [];
            addEventListener("securitypolicyviolation", (event) => heard.push(event.effectiveDirective));
            const image = document.createElement("img");
            image.src = "https://example.com/x.png";
            const script = document.createElement("script");
            try { script.textContent = "document.title = 'taken'"; } catch { heard.push("trusted-types"); }
            document.body.append(image, script);
            fetch("https://example.com/").catch(() => setTimeout(() => done(heard), 50));
        })""")
        assert {"img-src", "connect-src"} <= set(refused)
        assert look.evaluate("document.title").startswith("IAM users")

    def test_print_shows_all_that_was_asked_for_and_no_controls(self, look: Browser) -> None:
        everybody = int(look.text("#matched").split()[0])
        file = Path(look.tell("print", path=str(look.folder / "report.pdf")))
        assert file.read_bytes().startswith(b"%PDF")
        assert len(look.texts(ROWS)) == everybody
        look.tell("media", type="print")
        shown = "[...document.querySelectorAll('SELECTOR')].filter((one) => one.offsetParent !== null).length"
        for selector in (".controls", ".sections", "#earlier"):
            assert look.evaluate(shown.replace("SELECTOR", selector)) == 0, selector
        look.tell("media", type="screen")

    def test_nothing_is_cut_off_on_paper(self, browser: Browser, page: Path) -> None:
        browser.open(page, width=A4_BETWEEN_MARGINS)
        browser.tell("media", type="print")
        widest = "Math.max(...[...document.querySelectorAll('main, table')].map((one) => one.scrollWidth))"
        assert browser.evaluate(widest) <= A4_BETWEEN_MARGINS
        assert browser.evaluate("getComputedStyle(document.querySelector('#rows > tr')).display") == "table-row"
        browser.tell("media", type="screen")

    def test_paper_is_white_for_those_whose_screen_is_dark(self, browser: Browser, page: Path) -> None:
        browser.open(page, scheme="dark")
        assert browser.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        browser.tell("media", type="print")
        assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert browser.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        browser.tell("media", type="screen")

    def test_5000_users_are_there_within_2_seconds(
        self, browser: Browser, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """For the first time, in a browser that has just been started; and of nobody is known how well it is guarded.

        That is most to say: the last scan has no credential report, so each user is unknown to most controls.
        """
        file = written(tmp_path_factory.mktemp("large"), quarter(6_500, NO_REPORT + 1))
        # What else the machine does is not the page's: the best of three.
        times = [browser.open_cold(file) for _ in range(3)]
        assert all(0 < one["ready"] <= one["painted"] for one in times)
        assert min(one["painted"] for one in times) < 2_000, times
        assert file.stat().st_size < 5_000_000
        browser.open(file)
        everybody = int(browser.text("#matched").split()[0].replace(",", ""))
        assert everybody >= 5_000
        assert f"Unknown for {everybody:,} users: credential report missing" in browser.text("#limits")
        assert len(browser.texts(ROWS)) == 50
        browser.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert browser.evaluate(f"document.querySelectorAll({json.dumps(ROWS)}).length") == everybody, "all are printed"

    def test_one_scan_is_a_page_too(self, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
        browser.open(written(tmp_path_factory.mktemp("one"), quarter(10, 1)))
        assert browser.problems == []
        assert browser.text("#no-changes") == "No change between the scans of this page."
        assert f"{FIRST:%Y-%m-%d %H:%M} UTC" in browser.text("#moment")
        assert browser.tell("axe") == []


def test_names_are_text(look: Browser) -> None:
    assert EVIL in look.evaluate("document.querySelector('#rows').showAll(), document.querySelector('#rows').innerText")
    look.evaluate("document.querySelector('[data-user=AIDAEVIL]').click()")
    assert look.text("#user-name") == EVIL
    assert '/a"b\\c/evil' in look.text("#user-body")
    assert look.problems == []
