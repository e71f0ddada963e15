"""The command's answers about changes: what happened, whether it was told, and how it is told again."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from functions.cli import app
from functions.cli.deployment import Deployment
from functions.cli.errors import ExitStatus
from functions.shared import timestamps
from functions.table import detection
from functions.table.detection import Options
from tests.support.command import STATE_MACHINE_ARN, answer, run
from tests.support.paths import REPOSITORY
from tests.support.publishing import EPOCH, World, everybody, refusal, user

FIRST = timestamps.to_seconds(EPOCH)
NEVER = "2026-03-01T10:00:00Z"


class Typed(World):
    """A world that the command is typed in, minutes after what happened last."""

    def then(self, users: dict[str, dict[str, Any]], *, publish: bool = True, **more: Any) -> str:
        """Scan an hour later, and publish where that is not said otherwise; return the scan_timestamp."""
        self.wait(60)
        details = [attributes["user_id"] for attributes in users.values()]
        scan = self.scan(users, **{"detailed": details, "listed_from": self.now, "publish": publish, **more})
        if publish:
            self.publish()
        return scan


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Return a world whose first scan, of alice, bob and carol, is announced."""
    world = Typed()
    world.table.meta = SimpleNamespace(endpoint_url="https://dynamodb.us-east-1.amazonaws.com")  # type: ignore[attr-defined]
    world.scan(everybody(), detailed=[one["user_id"] for one in everybody().values()])
    world.publish()
    world.bus.received.clear()
    monkeypatch.setenv("STATE_MACHINE_ARN", STATE_MACHINE_ARN)
    monkeypatch.setattr(Deployment, "dynamodb", world.table)
    monkeypatch.setattr(Deployment, "events", world.bus)
    monkeypatch.setattr(app, "_reader", lambda _: world.publisher(settled=True).reader)
    return world


def told(events: list[dict[str, Any]]) -> list[str]:
    return [event["id"] for event in events]


def rows(*arguments: str) -> list[tuple[str, str]]:
    return [(row["user_name"], row["change"]) for row in answer("changes", *arguments)]


class TestChanges:
    def test_what_happened_is_told_scan_after_scan(self, world: Typed) -> None:
        dave = user(4, world.now + timedelta(minutes=30), mfa_active=False, password_enabled=True)
        second = world.then(everybody(bob=None, dave=dave))
        third = world.then(everybody(bob=None, david=dave, alice={"groups": ["ops"]}))
        found = answer("changes")
        assert [(row["scan_timestamp"], row["user_name"], row["change"]) for row in found] == [
            (second, "bob", "deleted"),
            (second, "dave", "created"),
            (third, "alice", "changed"),
            (third, "david", "renamed"),
        ]
        assert found[1]["findings_opened"] == ["console-no-mfa"]
        assert (found[2]["attributes"], found[2]["before"], found[2]["after"]) == (
            ["groups"],
            {"groups": []},
            {"groups": ["ops"]},
        )
        assert {row["account_id"] for row in found} == {"123456789012"}
        assert [row["arn"].rpartition("/")[2] for row in found] == ["bob", "dave", "alice", "david"]

    def test_each_has_the_id_and_the_time_of_its_event(self, world: Typed) -> None:
        second = world.then(everybody(bob=None))
        (row,) = answer("changes")
        sent = world.bus.received
        assert (row["event_id"], row["announced_scan_timestamp"]) == (sent[0]["id"], second)
        assert row["announced_at"].endswith("Z")
        assert f"announced up to the scan {second}" in run("changes").stderr

    def test_what_was_not_announced_says_no(self, world: Typed) -> None:
        second = world.then(everybody(bob=None), publish=False)
        (row,) = answer("changes")
        assert "announced_at" not in row
        assert "event_id" not in row
        result = run("changes")
        assert result.stdout.splitlines()[1].endswith("  no")
        assert f"announced up to the scan {FIRST}\nnot announced (yet): 1 scan, from {second} on\n" in result.stderr

    def test_what_was_left_out_was_told_with_the_next(self, world: Typed) -> None:
        """Events were off in between: only the difference was told, and what was undone by then was not."""
        world.then(everybody(alice={"groups": ["ops"]}), publish=False)
        third = world.then(everybody(bob=None))
        found = answer("changes")
        assert [(row["user_name"], row["announced_scan_timestamp"]) for row in found] == [
            ("alice", third),
            ("alice", third),
            ("bob", third),
        ]
        assert {row["announced_previous_scan_timestamp"] for row in found} == {FIRST}
        assert all("event_id" not in row for row in found)
        lines = run("changes").stdout.splitlines()
        assert lines[1].endswith(f"since {FIRST}, with {third}")

    def test_without_any_events_the_records_tell(self, world: Typed) -> None:
        world.then(everybody(bob=None))
        for key in [key for key in world.table.items if key[1].startswith(("changes", "baseline#"))]:
            del world.table.items[key]
        assert rows() == [("bob", "deleted")]
        assert "nothing was announced: change events are off, or none was published yet" in run("changes").stderr

    def test_the_first_announced_scan_told_a_baseline_only(self, world: Typed) -> None:
        for key in [key for key in world.table.items if key[1].startswith(("changes", "baseline#"))]:
            del world.table.items[key]
        world.table.items["__scan__", f"scan#{FIRST}"]["publish"] = {"BOOL": False}
        world.then(everybody(bob=None))
        assert world.bus.received[0]["baseline"] is True
        (row,) = answer("changes")
        assert "announced_at" not in row

    def test_mere_use_is_shown_on_request_and_was_not_announced(self, world: Typed) -> None:
        world.then(everybody(alice={"password_last_used": timestamps.to_seconds(world.now)}))
        assert rows() == []
        (row,) = answer("changes", "--activity")
        assert (row["attributes"], "announced_at" in row) == (["password_last_used"], False)

    def test_mere_use_beside_a_change_takes_nothing_from_that(self, world: Typed) -> None:
        world.then(everybody(alice={"password_last_used": timestamps.to_seconds(world.now)}, bob={"groups": ["ops"]}))
        alice, bob = answer("changes", "--activity")
        assert ("event_id" in alice, bob["event_id"]) == (False, world.bus.received[0]["id"])

    def test_mere_use_that_was_announced_says_so(self, world: Typed) -> None:
        world.options = Options(activity=True)
        world.then(everybody())
        world.bus.received.clear()
        world.then(everybody(alice={"password_last_used": timestamps.to_seconds(world.now)}))
        (row,) = answer("changes", "--activity")
        assert row["event_id"] == world.bus.received[0]["id"]

    def test_a_finding_that_time_or_use_alone_changes_was_announced(self, world: Typed) -> None:
        key = {"access_key_1_active": True, "access_key_1_last_rotated": "2025-11-25T12:00:00Z"}
        world.then(everybody(alice=key))
        world.wait(60 * 24 * 10)
        made = {"credential_report_time": timestamps.to_seconds(world.now)}
        world.then(everybody(alice={**key, **made}))
        world.then(everybody(alice={**key, **made, "access_key_1_last_used_date": timestamps.to_seconds(world.now)}))
        _, opened, closed = answer("changes", "--since", FIRST, "--activity")
        assert (opened.get("attributes"), opened["findings_opened"]) == (None, ["unused-45-days"])
        assert (closed["attributes"], closed["findings_closed"]) == (
            ["access_key_1_last_used_date"],
            ["unused-45-days"],
        )
        assert [row["event_id"] for row in (opened, closed)] == [
            one["id"] for one in world.bus.received if one["scan_timestamp"] > opened["previous_scan_timestamp"]
            and one["change"] == "changed"
        ]  # fmt: skip

    def test_an_id_is_that_of_the_two_scans_that_were_announced(self, world: Typed) -> None:
        world.then(everybody(), publish=False)
        world.then(everybody(bob=None))
        world.then(everybody(bob=None, alice=None), publish=False)
        world.then(everybody(bob=None, alice=None))
        bob, alice = answer("changes")
        assert "event_id" not in bob, "told after the first scan, not after the second"
        assert "event_id" not in alice, "told by the last scan, not by the one before it"

    def test_an_event_that_was_refused_is_said(self, world: Typed) -> None:
        world.bus.answers = ["MalformedDetail"]
        with pytest.raises(Exception, match="will never take 1"):
            world.then(everybody(bob=None))
        assert "EventBridge has refused 1 event of the scan" in run("changes").stderr


class TestSince:
    @pytest.fixture
    def scans(self, world: Typed) -> list[str]:
        return [FIRST, world.then(everybody(bob=None)), world.then(everybody(bob=None, carol=None))]

    @pytest.mark.parametrize(
        ("since", "names"),
        [
            ("2026-01-01", ["bob", "carol"]),
            ("2026-01-01T00:59Z", ["bob", "carol"]),
            ("2026-01-01T01:30Z", ["carol"]),
            ("5min", []),
            ("1h", ["carol"]),
            ("90min", ["bob", "carol"]),
            ("30d", ["bob", "carol"]),
        ],
    )
    def test_it_begins_with_the_last_scan_up_to_then(self, scans: list[str], since: str, names: list[str]) -> None:
        assert [name for name, _ in rows("--since", since)] == names

    def test_a_scan_may_be_named(self, scans: list[str]) -> None:
        assert rows("--since", scans[1]) == [("carol", "deleted")]
        assert rows("--since", scans[2]) == []
        assert f"0 changes since {scans[2]} (listed " in run("changes", "--since", scans[2]).stderr

    def test_a_scan_that_was_redriven_late_may_be_named(self, world: Typed) -> None:
        """It speaks for the time in which it listed, not for that of its name."""
        started = world.now
        world.then(everybody())
        late = world.then(everybody(alice={"groups": ["ops"]}), started=started, span_limit_seconds=60)
        world.then(everybody(bob=None))
        assert rows("--since", late) == [("alice", "changed"), ("bob", "deleted")]

    def test_without_it_a_day_is_told(self, world: Typed) -> None:
        world.wait(60 * 30)
        second = world.then(everybody(bob=None))
        world.wait(60 * 23)
        world.then(everybody(bob=None, carol=None))
        assert rows() == [("carol", "deleted")]
        assert f"1 change from {second} (listed " in run("changes").stderr

    def test_the_edge_of_what_is_kept_is_told(self, scans: list[str]) -> None:
        assert f"{FIRST} is the oldest scan that is kept" in run("changes", "--since", "30d").stderr
        assert "oldest" not in run("changes", "--since", scans[1]).stderr

    @pytest.mark.parametrize(
        ("since", "message"),
        [
            ("", "Invalid value for '--since': it must be an ISO 8601 time in UTC, such as 2026-01-31T00:00Z, a date"),
            ("yesterday", "Invalid value for '--since': it must be an ISO 8601 time"),
            ("0d", "Invalid value for '--since': it must be an ISO 8601 time"),
            ("9000-01-01", "--since 9000-01-01 is in the future; it is 2026-01-01T"),
        ],
    )
    @pytest.mark.usefixtures("world")
    def test_what_is_no_moment_is_one_line(self, since: str, message: str) -> None:
        result = run("--quiet", "changes", "--since", since)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith(f"error: {message}")

    def test_without_a_scan_to_trust_there_is_no_answer(self, world: Typed) -> None:
        world.table.items.clear()
        result = run("--quiet", "changes")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--since: no scan has recorded every user yet" in result.stderr


class TestUser:
    @pytest.fixture
    def renamed(self, world: Typed) -> Typed:
        world.then(everybody(alice={"groups": ["ops"]}, bob={"groups": ["ops"]}))
        world.then(everybody(alice={"groups": ["ops"]}, bob=None, robert=user(2, groups=["ops"])))
        world.then(everybody(alice={"groups": ["ops"]}, bob=None, robert=user(2)))
        return world

    @pytest.mark.parametrize("asked", ["bob", "robert", "AIDA0002"])
    def test_a_user_is_followed_whatever_it_was_called(self, renamed: Typed, asked: str) -> None:
        assert rows("--user", asked) == [("bob", "changed"), ("robert", "renamed"), ("robert", "changed")]

    @pytest.mark.parametrize("asked", ["bob", "AIDA0002", "AIDA0009"])
    def test_who_was_created_anew_has_two_identities(self, world: Typed, asked: str) -> None:
        world.then(everybody(bob=user(9, world.now), alice={"groups": ["ops"]}))
        assert rows("--user", asked) == [("bob", "recreated")]

    def test_who_was_deleted_is_found_by_name(self, world: Typed) -> None:
        world.then(everybody(bob=None, carol=None))
        assert rows("--user", "bob") == [("bob", "deleted")]

    def test_the_root_user_may_be_asked_for(self, world: Typed) -> None:
        root = {"arn": "arn:aws:iam::123456789012:root", "credential_report_time": FIRST, "password_enabled": True}
        world.then(everybody(), root={**root, "mfa_active": True})
        world.then(everybody(bob=None), root={**root, "mfa_active": False})
        assert rows("--user", "<root_account>") == [("<root_account>", "changed")]

    def test_of_whom_nothing_changed_there_is_no_row(self, renamed: Typed) -> None:
        assert rows("--user", "carol") == []

    def test_an_unknown_one_is_one_line(self, renamed: Typed) -> None:
        for name in ("nobody", ""):
            result = run("--quiet", "changes", "--user", name, "--format", "json")
            assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
            assert result.stderr.startswith("error: --user ")


class TestWhatIsNotSure:
    def test_a_suspected_mass_deletion_is_no_row(self, world: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(detection, "LEAST_GUARDED", 1)
        second = world.then(everybody(alice=None, bob=None))
        result = run("changes", "--format", "csv")
        assert len(result.stdout.splitlines()) == 1
        assert (
            f"warning: mass deletion suspected: 2 of 3 users are missing from the scan {second}, more than the 1 that "
            "are believed at once (alice, bob); each is a deletion when the next scan agrees\n"
        ) in result.stderr
        assert "refused" not in result.stderr
        world.then(everybody(alice=None, bob=None))
        assert rows() == [("alice", "deleted"), ("bob", "deleted")]

    def test_the_guard_is_that_of_the_announcement(self, world: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(detection, "LEAST_GUARDED", 0)
        world.options = Options(guard_percent=100)
        world.then(everybody(alice=None, bob=None))
        assert rows() == [("alice", "deleted"), ("bob", "deleted")]

    def test_that_of_a_scan_that_was_not_is_that_of_the_last(
        self, world: Typed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(detection, "LEAST_GUARDED", 0)
        world.options = Options(guard_percent=100)
        world.then(everybody())
        world.then(everybody(alice=None, bob=None), publish=False)
        assert rows() == [("alice", "deleted"), ("bob", "deleted")]

    def test_what_no_second_listing_confirms_is_no_row(self, world: Typed) -> None:
        second = world.then(everybody(bob=None), detailed=None)
        result = run("changes", "--format", "csv")
        assert len(result.stdout.splitlines()) == 1
        missing = f"1 user missing from the scan {second}, and no second listing agrees"
        assert f"{missing}: the next scan decides\n" in result.stderr
        assert "authorization details missing or stale in 1 of 1 scan: what is unknown is no change" in result.stderr
        world.then(everybody(bob=None), detailed=None)
        assert rows() == [("bob", "deleted")]
        assert f"{missing}: that alone is no deletion\n" in run("changes").stderr

    @staticmethod
    def expire(world: Typed, *kinds: str) -> None:
        for key in [key for key in world.table.items if key[1].startswith(kinds)]:
            del world.table.items[key]

    def test_where_the_second_listing_has_expired_what_was_announced_tells(self, world: Typed) -> None:
        world.then(everybody(bob=None))
        self.expire(world, "posture#")
        (row,) = answer("changes")
        assert row["event_id"] == world.bus.received[0]["id"]

    def test_where_that_has_expired_too_the_next_scan_decides(self, world: Typed) -> None:
        world.then(everybody(bob=None))
        self.expire(world, "posture#", "baseline#")
        assert rows() == []
        assert "the next scan decides" in run("changes").stderr
        third = world.then(everybody(bob=None))
        self.expire(world, "baseline#")
        (row,) = answer("changes")
        assert (row["change"], row["scan_timestamp"]) == ("deleted", third)
        assert "event_id" not in row, "it was told of by another pair of scans"

    def test_a_failed_scan_says_nothing(self, world: Typed) -> None:
        """Throttling must not read as deletion."""
        world.then(everybody(alice=None, bob=None), status="FAILED")
        assert rows() == []
        assert "no trusted scan has listed after it" in run("changes").stderr

    def test_what_the_first_scan_does_not_know_is_said(self, world: Typed) -> None:
        unknown = {"credential_report_time": None, "password_enabled": None, "mfa_active": None}
        second = world.then({name: {**one, **unknown} for name, one in everybody().items()}, report="MISSING")
        world.then(everybody(alice={"mfa_active": True}))
        assert rows("--since", second) == [("alice", "changed")], "the picture of what was announced knows more"
        assert "with which this begins" not in run("changes", "--since", second).stderr
        for key in [key for key in world.table.items if key[1].startswith("baseline#")]:
            del world.table.items[key]
        assert rows("--since", second) == []
        assert f"credential report of {second}, with which this begins, missing or stale" in (
            run("changes", "--since", second).stderr
        )

    def test_an_index_that_is_behind_has_an_exit_status(self, world: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
        world.then(everybody(bob=None))
        world.table.catch_up()
        world.table.index_lags = True
        third = world.then(everybody(bob=None, carol=None), publish=False)
        monkeypatch.setattr(app, "_reader", lambda _: world.publisher().reader)
        result = run("changes", "--format", "json")
        assert result.exit_code == ExitStatus.INCOMPLETE
        assert [row["user_name"] for row in json.loads(result.stdout)] == ["bob"]
        assert f"warning: the index yields 0 of the 1 records of scan {third}" in result.stderr
        result = run("changes", "--since", third)
        assert (result.exit_code, result.stdout) == (ExitStatus.INCOMPLETE, "")

    def test_records_that_never_come_are_said(self, world: Typed) -> None:
        world.then(everybody(bob=None), publish=False, records_written=3)
        result = run("changes", "--format", "json")
        assert (result.exit_code, len(json.loads(result.stdout))) == (ExitStatus.INCOMPLETE, 1)
        assert "warning: 1 record missing from the index of the table" in result.stderr


def sent_again(world: Typed, *arguments: str) -> list[dict[str, Any]]:
    """Announce, and return what the bus has got besides."""
    before = len(world.bus.received)
    result = run("announce", *arguments, "--yes")
    assert result.exit_code == 0, result.stderr
    return world.bus.received[before:]


class TestAnnounce:
    @pytest.fixture
    def scans(self, world: Typed) -> list[str]:
        """Return the scans: the baseline, all kinds of changes, and one more deletion."""
        key = {"access_key_1_active": True, "access_key_1_last_rotated": "2025-12-30T00:00:00Z"}
        dave = user(4, world.now + timedelta(minutes=30), **key)
        bob = user(9, world.now)
        second = world.then(everybody(alice={"groups": ["ops"]}, bob=bob, carol=None, dave=dave))
        third = world.then(everybody(alice=None, anna=user(1, groups=["ops"]), bob=bob, carol=None))
        return [FIRST, second, third]

    def test_the_same_events_are_sent_again(self, world: Typed, scans: list[str]) -> None:
        first = list(world.bus.received)
        assert {event["change"] for event in first} >= {"created", "deleted", "recreated", "renamed", "changed"}
        assert sent_again(world, scans[0], scans[2]) == first
        assert sent_again(world, scans[0], "latest") == first

    @pytest.mark.parametrize("former", ["previous", None])
    def test_those_of_one_scan_are(self, world: Typed, scans: list[str], former: str | None) -> None:
        of_third = [event for event in world.bus.received if event["scan_timestamp"] == scans[2]]
        assert sent_again(world, former or scans[1], scans[2]) == of_third

    def test_those_of_earlier_ones_are(self, world: Typed, scans: list[str]) -> None:
        of_second = [event for event in world.bus.received if event["scan_timestamp"] == scans[1]]
        assert sent_again(world, FIRST, scans[1]) == of_second

    def test_it_writes_nothing(self, world: Typed, scans: list[str]) -> None:
        before = dict(world.table.items)
        sent_again(world, *scans[::2])
        assert world.table.items == before
        assert world.publish()["status"] == "NOTHING_NEW"

    def test_the_options_are_those_of_then(self, world: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(detection, "LEAST_GUARDED", 0)
        world.options = Options(guard_percent=100, activity=True)
        world.then(everybody())
        world.bus.received.clear()
        used = {"password_last_used": timestamps.to_seconds(world.now)}
        world.then(everybody(alice=used, bob=None, carol=None))
        first = list(world.bus.received)
        assert [event["change"] for event in first] == ["changed", "deleted", "deleted", "scan_completed"]
        assert sent_again(world, "previous", "latest") == first

    @pytest.mark.parametrize("kept", [(), ("posture#",)])
    def test_what_waits_for_the_next_scan_waits_again(
        self, world: Typed, monkeypatch: pytest.MonkeyPatch, kept: tuple[str, ...]
    ) -> None:
        """Also when the details have expired that were asked then: the picture has whom they had."""
        monkeypatch.setattr(detection, "LEAST_GUARDED", 1)
        both = everybody(alice=None, bob=None)
        lost = everybody(carol=None)
        world.then(lost, detailed=[one["user_id"] for one in everybody().values()])
        world.then(everybody())
        world.then(both)
        world.then(both)
        world.then(everybody(alice=None, bob=None, carol=None), detailed=None)
        first = list(world.bus.received)
        assert [event["change"] for event in first if event["change"] != "scan_completed"] == [
            "mass_deletion_suspected", "deleted", "deleted",
        ]  # fmt: skip
        for key in [key for key in world.table.items if key[1].startswith(kept)] if kept else []:
            del world.table.items[key]
        assert sent_again(world, FIRST, "latest") == first

    def test_what_the_index_did_not_yield_then_is_not_told_of_that_scan(self, world: Typed) -> None:
        """It was announced of the next one, under another id."""
        account = everybody(dave=user(4, world.now + timedelta(minutes=30)), bob=None, robert=user(2))
        world.table.catch_up()
        world.table.index_lags = True
        second = world.then(account, publish=False)
        world.table.items["__scan__", f"scan#{second}"]["publish"] = {"BOOL": True}
        world.publish(settled=True)
        world.table.index_lags = False
        world.then(account)
        first = list(world.bus.received)
        assert [event["change"] for event in first] == ["scan_completed", "created", "renamed", "scan_completed"]
        assert sent_again(world, FIRST, "latest") == first

    def test_it_says_what_it_would_send_and_asks(
        self, world: Typed, scans: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.bus.received.clear()
        monkeypatch.setattr(app, "_somebody_is_there", lambda: True)
        monkeypatch.setattr("click.confirm", lambda text: asked.append(text))
        asked: list[str] = []
        result = run("announce", scans[1], scans[2], "--bus", "audit")
        at = datetime.now().astimezone()
        assert result.exit_code == 0
        head, *lines = result.stdout.splitlines()
        assert head.startswith(f"{scans[2]}, after {scans[1]}, announced {at.year}-")
        assert lines == [
            "      1 IAM User Renamed",
            "      1 IAM User Deleted",
            "      1 IAM User Scan Completed",
            "3 events to the bus audit",
            "nothing was sent",
        ]
        assert (asked, world.bus.received) == (["Send them again?"], [])
        monkeypatch.setattr("click.confirm", lambda text: True)
        assert run("announce", scans[1], scans[2]).stdout.endswith("3 events sent\n")
        assert len(world.bus.received) == 3

    def test_without_a_terminal_it_needs_a_yes(self, world: Typed, scans: list[str]) -> None:
        world.bus.received.clear()
        result = run("--quiet", "announce", *scans[1:])
        assert (result.exit_code, world.bus.received) == (2, [])
        assert result.stderr == "error: nothing was sent: there is nobody to ask; give --yes\n"
        assert "3 events to the bus default\n" in result.stdout

    @pytest.mark.parametrize(
        ("options", "variable", "bus"),
        [
            ([], None, "default"),
            ([], "central", "central"),
            (["--bus", "audit"], "central", "audit"),
            (["--bus", "arn:aws:events:eu-west-1:222222222222:event-bus/x"], None,
             "arn:aws:events:eu-west-1:222222222222:event-bus/x"),
        ],
    )  # fmt: skip
    def test_the_bus_is_the_one_that_is_named(
        self,
        world: Typed,
        scans: list[str],
        monkeypatch: pytest.MonkeyPatch,
        options: list[str],
        variable: str | None,
        bus: str,
    ) -> None:
        named: set[str] = set()
        put = world.bus.put_events

        def put_events(*, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
            named.update(entry["EventBusName"] for entry in Entries)
            return put(Entries=Entries)

        monkeypatch.setattr(world.bus, "put_events", put_events)
        if variable is not None:
            monkeypatch.setenv("EVENT_BUS_NAME", variable)
        sent_again(world, *scans[1:], *options)
        assert named == {bus}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["{0}", NEVER], "TO {never} was not announced, or has expired; announced are {2}, {1}, {0}"),
            ([NEVER, "{2}"], "FROM {never} was not announced before TO {2}; announced before it are {1}, {0}"),
            (["{2}", "{1}"], "FROM {2} was not announced before TO {1}; announced before it are {0}"),
            (["{1}", "{1}"], "FROM {1} was not announced before TO {1}; announced before it are {0}"),
            (["latest", "latest"], "FROM {2} was not announced before TO {2}; announced before it are {1}, {0}"),
            (["previous", "{0}"], "TO {0} is the first that was announced: a baseline, with nothing before it"),
            (["{0}", "{1}", "--bus", ""], "--bus is empty; it must be the name or the ARN of an event bus"),
            (["{0}"], "Missing argument 'TO'"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_told_again_is_one_line(
        self, world: Typed, scans: list[str], arguments: list[str], message: str
    ) -> None:
        world.bus.received.clear()
        result = run("--quiet", "announce", *(one.format(*scans) for one in arguments), "--yes")
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith(f"error: {message.format(*scans, never=NEVER)}")
        assert world.bus.received == []

    def test_before_anything_was_announced_there_is_nothing(self, world: Typed) -> None:
        for key in [key for key in world.table.items if key[1].startswith(("changes", "baseline#"))]:
            del world.table.items[key]
        result = run("--quiet", "announce", "previous", "latest")
        assert result.exit_code == 2
        assert result.stderr.startswith("error: nothing was announced: change events are off, or")

    def test_a_picture_that_has_expired_is_made_from_the_records_and_said(self, world: Typed, scans: list[str]) -> None:
        first = [event for event in world.bus.received if event["scan_timestamp"] == scans[2]]
        for key in [key for key in world.table.items if key[1].startswith("baseline#")]:
            del world.table.items[key]
        assert sent_again(world, *scans[1:]) == first
        assert f"made from the records of {scans[1]}: what was known when it was announced has expired" in (
            run("announce", *scans[1:], "--yes").stdout
        )

    def test_what_cannot_be_told_as_it_was_is_said_and_has_an_exit_status(self, world: Typed, scans: list[str]) -> None:
        for key in [key for key in world.table.items if key[1].startswith(("baseline#", "posture#"))]:
            del world.table.items[key]
        result = run("announce", *scans[1:], "--yes")
        assert result.exit_code == ExitStatus.INCOMPLETE
        assert "not what was announced: 0 deleted (then 1), 1 unconfirmed_deletions (then 0)" in result.stdout

    @pytest.mark.parametrize("gone", [0, 2])
    def test_where_the_records_have_expired_nothing_is_sent(self, world: Typed, scans: list[str], gone: int) -> None:
        world.bus.received.clear()
        for key in list(world.table.items):
            if key[1].startswith("baseline#") or key[1] == f"scan#{scans[1:][gone // 2]}":
                del world.table.items[key]
        result = run("--quiet", "announce", *scans[1:], "--yes")
        assert (result.exit_code, world.bus.received) == (2, [])
        assert result.stderr.startswith(f"error: nothing was sent: what was announced of {scans[2]} cannot be told")

    def test_an_index_that_is_behind_sends_nothing(
        self, world: Typed, scans: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.bus.received.clear()
        world.table.index_lags = True
        monkeypatch.setattr(app, "_reader", lambda _: world.publisher().reader)
        result = run("--quiet", "announce", *scans[1:], "--yes")
        assert (result.exit_code, world.bus.received) == (ExitStatus.INCOMPLETE, [])
        assert result.stderr.startswith("error: nothing was sent: the index yields 0 of the 2 records")

    def test_a_bus_that_may_not_be_written_to_is_said(self, world: Typed, scans: list[str]) -> None:
        world.bus.answers = ["NotAuthorizedForSource"]
        result = run("--quiet", "announce", *scans[1:], "--yes")
        assert result.exit_code == ExitStatus.NO_ANSWER
        assert result.stderr == (
            "error: the bus default refuses events: NotAuthorizedForSource: no; the events of 0 of 1 scan were sent\n"
        )

    def test_a_call_that_may_not_be_made_is_said(
        self, world: Typed, scans: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def put_events(**_: Any) -> Any:
            raise refusal("AccessDeniedException")

        monkeypatch.setattr(world.bus, "put_events", put_events)
        result = run("--quiet", "announce", scans[0], scans[2], "--yes")
        assert result.exit_code == ExitStatus.NO_ANSWER
        assert "AccessDeniedException" in result.stderr
        assert result.stderr.endswith("; the events of 0 of 2 scans were sent\n")

    def test_an_event_that_will_never_be_taken_is_said(self, world: Typed, scans: list[str]) -> None:
        (renamed,) = (event for event in world.bus.received if event["change"] == "renamed")
        world.bus.answers = ["MalformedDetail"]
        result = run("--quiet", "announce", *scans[1:], "--yes")
        assert result.exit_code == ExitStatus.NO_ANSWER
        assert result.stderr == (
            f"warning: the bus will never take an event: MalformedDetail: no (IAM User Renamed, id {renamed['id']})\n"
        )
        assert result.stdout.endswith("\n2 events sent\n")


def test_the_command_needs_nothing_of_the_functions_own() -> None:
    """It is installed with boto3 and click only."""
    program = "import sys, functions.cli.app; sys.exit('aws_lambda_powertools' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False).returncode == 0
