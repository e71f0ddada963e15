"""The queries read what was recorded, trust only what may be trusted, and say what they cannot know."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from functions.shared import timestamps
from functions.table import queries
from functions.table.history import Event
from functions.table.keys import Keys
from functions.table.reader import Reader, members
from functions.table.scans import RecordedScan
from tests.support.recorded import TABLE, Table, manifest_of, record_of, text_of
from tests.support.scene import Clock

JANUARY = "2026-01-31T10:00:00Z"
FAILED = "2026-02-01T10:00:00Z"
FEBRUARY = "2026-02-02T10:00:00Z"
MARCH = "2026-03-02T10:00:00Z"


@pytest.fixture
def table() -> Table:
    return Table()


def scan_of(table: Table, timestamp: str) -> RecordedScan:
    (found,) = [scan for scan in queries.scans(table, TABLE) if scan.scan_timestamp == timestamp]  # type: ignore[arg-type]
    return found


def told(table: Table, user: str, **options: Any) -> list[tuple[str, str, str]]:
    """Return what the history of a user says, but for scans without a change."""
    events = queries.history(table, TABLE, user, **options).events  # type: ignore[arg-type]
    return [(event.scan_timestamp, event.user_name, event.change) for event in events if event.change]


def compared(table: Table, before: str, after: str, **options: Any) -> dict[str, str]:
    diff = queries.diff(table, TABLE, scan_of(table, before), scan_of(table, after), **options)  # type: ignore[arg-type]
    return {change.user_name: change.change for change in diff.changes}


def late(timestamp: str, **time: float) -> dict[str, Any]:
    """Return when a scan listed that began to list so much later."""
    begin = datetime.fromisoformat(timestamp) + timedelta(**time)
    return {"listed_from": text_of(begin), "listed_until": text_of(begin + timedelta(seconds=2))}


def moved(timestamp: str, **time: float) -> str:
    return text_of(datetime.fromisoformat(timestamp) + timedelta(**time))


class TestTrust:
    def test_a_complete_scan_of_a_short_span_is_trusted(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}})
        assert scan_of(table, JANUARY).trusted

    @pytest.mark.parametrize("status", ["RUNNING", "INCOMPLETE", "FAILED", "ABORTED"])
    def test_any_other_status_is_not(self, table: Table, status: str) -> None:
        table.scan(JANUARY, {"alice": {}}, status=status)
        assert not scan_of(table, JANUARY).trusted

    @pytest.mark.parametrize(("seconds", "trusted"), [(1800, True), (1801, False)])
    def test_a_span_beyond_the_limit_is_not(self, table: Table, seconds: int, trusted: bool) -> None:
        table.scan(JANUARY, {"alice": {}}, seconds=seconds)
        assert scan_of(table, JANUARY).trusted is trusted

    def test_an_older_manifest_has_the_time_of_the_whole_run_instead(self, table: Table) -> None:
        for timestamp, days in ((JANUARY, 0), (FEBRUARY, 3)):
            manifest = manifest_of(timestamp, 0)
            for name in ("listed_from", "listed_until", "span_limit_seconds", "sequence"):
                del manifest[name]
            table.put({**manifest, "finished_at": moved(timestamp, days=days, seconds=3)})
        assert scan_of(table, JANUARY).trusted
        assert not scan_of(table, FEBRUARY).trusted, "it was redriven days later"

    def test_a_scan_that_listed_much_later_speaks_for_that_time(self, table: Table) -> None:
        table.scan(
            JANUARY, {}, listed_from=moved(FEBRUARY, hours=-1), listed_until=moved(FEBRUARY, hours=-1, seconds=2)
        )
        table.scan(FAILED, {})
        table.scan(FEBRUARY, {})
        scans = queries.scans(table, TABLE)  # type: ignore[arg-type]
        found = queries.at(scans, datetime.fromisoformat(FEBRUARY) - timedelta(minutes=30))
        assert found is not None
        assert (found.scan_timestamp, found.trusted) == (JANUARY, True)
        found = queries.at(scans, datetime.fromisoformat(FAILED))
        assert found is not None
        assert found.scan_timestamp == FAILED

    def test_what_has_expired_is_left_out(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}}, ttl=1_000_000_000)
        assert queries.scans(table, TABLE) == []  # type: ignore[arg-type]

    def test_records_of_a_listing_that_was_begun_again_are_no_part_of_the_scan(self, table: Table) -> None:
        """A scan failed on its second page, and was redriven the day after: bob had been deleted since."""
        users: dict[str, Any] = {"alice": {"listed_at": moved(JANUARY, days=1)}, "old": {"listed_at": None}}
        table.scan(JANUARY, users, **late(JANUARY, days=1))
        table.put(record_of("bob", JANUARY))
        listing = queries.users(table, TABLE, scan_of(table, JANUARY))  # type: ignore[arg-type]
        assert {record["user_name"] for record in listing} == {"alice", "old"}
        with pytest.raises(queries.UnknownUser):
            told(table, "bob")

    def test_a_function_that_still_wrote_when_the_listing_began_again_takes_nobody_out(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}}, **late(JANUARY, seconds=2600))
        assert len(list(queries.users(table, TABLE, scan_of(table, JANUARY)))) == 1  # type: ignore[arg-type]


class TestIndexBehind:
    @pytest.fixture
    def fresh(self, table: Table) -> str:
        """Put a scan that ended just now, and two days earlier one."""
        timestamp = Reader(table, TABLE).now.strftime("%Y-%m-%dT%H:%M:%SZ")  # type: ignore[arg-type]
        table.scan(JANUARY, {"alice": {}, "bob": {}})
        table.scan(timestamp, {"alice": {}, "bob": {}, "carol": {"create_date": timestamp}})
        table.hidden = {("bob", timestamp)}
        return timestamp

    def test_it_is_asked_again_until_it_has_caught_up(self, table: Table, fresh: str) -> None:
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                table.hidden.clear()

        listing = queries.users(table, TABLE, scan_of(table, fresh), sleep=sleep)  # type: ignore[arg-type]
        assert sorted(record["user_name"] for record in listing) == ["alice", "bob", "carol"]
        assert (listing.missing, waits) == (0, [0.2, 0.4])

    def test_it_is_not_waited_for_longer_than_a_few_seconds(self, table: Table, fresh: str) -> None:
        waits: list[float] = []
        listing = queries.users(table, TABLE, scan_of(table, fresh), sleep=waits.append)  # type: ignore[arg-type]
        assert len(list(listing)) == 2
        assert listing.missing == 1
        assert sum(waits) < 5

    def test_what_is_left_of_a_listing_before_makes_up_for_nothing(self, table: Table) -> None:
        """A listing began again at once; bob is left of it, and carol is missing."""
        table.scan(
            JANUARY, {"alice": {"listed_at": moved(JANUARY, seconds=30)}, "bob": {}}, **late(JANUARY, seconds=30)
        )
        table.put(record_of("bob", JANUARY))
        listing = queries.users(table, TABLE, scan_of(table, JANUARY))  # type: ignore[arg-type]
        assert {record["user_name"] for record in listing} == {"alice", "bob"}
        assert listing.missing == 1

    def test_the_index_of_an_old_scan_is_not_waited_for(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}, "bob": {}})
        table.hidden = {("bob", JANUARY)}

        def sleep(seconds: float) -> None:
            raise AssertionError("waited")

        listing = queries.users(table, TABLE, scan_of(table, JANUARY), sleep=sleep)  # type: ignore[arg-type]
        assert (len(list(listing)), listing.missing) == (1, 1)

    def test_a_diff_looks_into_the_table_for_whom_the_index_lacks(self, table: Table, fresh: str) -> None:
        assert compared(table, JANUARY, fresh, sleep=lambda seconds: None) == {"carol": "created"}

    def test_nobody_is_created_whom_the_index_of_the_former_scan_lacks(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}, "bob": {}})
        table.scan(FEBRUARY, {"alice": {}, "bob": {}})
        table.hidden = {("bob", JANUARY)}
        assert compared(table, JANUARY, FEBRUARY) == {}

    def test_nobody_is_recreated_who_may_have_another_name_now(self, table: Table) -> None:
        """The first alice is carol now, whose record the index has not yielded; there is a new alice."""
        table.scan(JANUARY, {"alice": {}})
        new = {"user_id": "AIDANEW", "create_date": "2026-02-01T00:00:00Z"}
        table.scan(FEBRUARY, {"alice": new, "carol": {"user_id": "AIDAALICE"}})
        table.hidden = {("carol", FEBRUARY)}
        diff = queries.diff(table, TABLE, scan_of(table, JANUARY), scan_of(table, FEBRUARY))  # type: ignore[arg-type]
        assert sorted((change.user_id, change.change) for change in diff.changes) == [
            ("AIDAALICE", "deleted or renamed"),
            ("AIDANEW", "created"),
        ]

    def test_a_diff_leaves_open_what_only_the_index_could_tell(self, table: Table, fresh: str) -> None:
        """Bob may have another name in the later scan, and no record under his old one."""
        del table.items["bob", fresh]
        diff = queries.diff(
            table, TABLE, scan_of(table, JANUARY), scan_of(table, fresh), sleep=lambda seconds: None  # type: ignore[arg-type]
        )  # fmt: skip
        assert [(change.user_name, change.change) for change in diff.changes] == [
            ("bob", "deleted or renamed"),
            ("carol", "created"),
        ]
        assert (diff.missing_before, diff.missing_after) == (0, 1)

    def test_a_history_leaves_it_open_too(self, table: Table, fresh: str) -> None:
        del table.items["bob", fresh]
        found = queries.history(table, TABLE, "bob", sleep=lambda seconds: None)  # type: ignore[arg-type]
        assert [event.change for event in found.events] == ["first seen", "deleted or renamed"]
        assert [scan.scan_timestamp for scan in found.behind] == [fresh]


class TestDiff:
    def test_who_came_went_and_changed(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}, "bob": {}, "carol": {}, "erin": {}, "same": {}})
        renamed = {"user_id": "AIDAERIN", "arn": "arn:aws:iam::123456789012:user/eve"}
        used = {"password_last_used": "2026-02-01T09:00:00Z"}
        table.scan(FEBRUARY, {"alice": used, "carol": {"user_id": "AIDAOTHER"}, "dave": {}, "eve": renamed, "same": {}})
        scans = scan_of(table, JANUARY), scan_of(table, FEBRUARY)
        diff = queries.diff(table, TABLE, *scans, activity=True)  # type: ignore[arg-type]
        assert [(change.user_name, change.change, change.attributes) for change in diff.changes] == [
            ("alice", "changed", ("password_last_used",)),
            ("bob", "deleted", ()),
            ("carol", "recreated", ("user_id",)),
            ("dave", "created", ()),
            ("eve", "renamed", ("user_name", "arn")),
        ]

    def test_two_users_may_exchange_their_names(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {"user_id": "AIDA1"}, "bob": {"user_id": "AIDA2"}})
        table.scan(FEBRUARY, {"alice": {"user_id": "AIDA2"}, "bob": {"user_id": "AIDA1"}})
        assert compared(table, JANUARY, FEBRUARY) == {"alice": "renamed", "bob": "renamed"}

    def test_a_scan_differs_in_nothing_from_itself(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}})
        assert compared(table, JANUARY, JANUARY) == {}

    def test_scans_that_overlap_prove_nothing(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}}, seconds=100)
        table.scan("2026-01-31T10:01:00Z", {})
        with pytest.raises(queries.SpansOverlap):
            compared(table, JANUARY, "2026-01-31T10:01:00Z")


class TestHistory:
    def test_changes_are_marked(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}, "bob": {}, "carol": {}})
        table.scan(FAILED, {"alice": {}}, status="FAILED")
        used = {"password_last_used": "2026-02-01T09:00:00Z"}
        table.scan(FEBRUARY, {"alice": used, "carol": {"user_id": "AIDAOTHER", "create_date": "2026-02-01T00:00:00Z"}})
        changed = [(JANUARY, "alice", "first seen"), (FEBRUARY, "alice", "changed")]
        assert told(table, "alice", activity=True) == changed
        assert told(table, "alice") == changed[:1], "mere use is no change"
        assert told(table, "bob") == [(JANUARY, "bob", "first seen"), (FEBRUARY, "bob", "deleted")]
        assert told(table, "carol") == [(JANUARY, "carol", "first seen"), (FEBRUARY, "carol", "recreated")]
        events = queries.history(table, TABLE, "alice", activity=True).events  # type: ignore[arg-type]
        assert [event.change for event in events] == ["first seen", "", "changed"]
        assert events[-1].attributes == ("password_last_used",)

    def test_a_user_is_followed_through_its_names(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {"user_id": "AIDAX"}})
        table.scan(FEBRUARY, {"bob": {"user_id": "AIDAX"}})
        table.scan(MARCH, {"carol": {"user_id": "AIDAX"}, "alice": {"user_id": "AIDAY"}})
        of_x = [(JANUARY, "alice", "first seen"), (FEBRUARY, "bob", "renamed"), (MARCH, "carol", "renamed")]
        for question in ("bob", "carol", "AIDAX"):
            assert told(table, question) == of_x
        assert sorted(told(table, "alice")) == sorted([*of_x, (MARCH, "alice", "first seen")])

    def test_a_user_id_that_is_no_more_is_found_in_an_older_scan(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {"user_id": "AIDAX"}})
        table.scan(FEBRUARY, {})
        assert told(table, "AIDAX") == [(JANUARY, "alice", "first seen"), (FEBRUARY, "alice", "deleted")]

    def test_one_whom_a_scan_did_not_list_was_not_deleted(self, table: Table) -> None:
        """A user_id never comes back: IAM, which is eventually consistent, has left it out once."""
        table.scan(JANUARY, {"alice": {}})
        table.scan(FEBRUARY, {})
        table.scan(MARCH, {"alice": {}})
        assert [change for _, _, change in told(table, "alice")] == ["first seen", "not listed", "seen again"]

    def test_a_scan_that_listed_before_says_nothing_of_who_came_later(self, table: Table) -> None:
        """The older scan was redriven: it listed after the newer one, and saw whom that could not have seen."""
        created = {"create_date": "2026-01-31T10:07:00Z", "listed_at": moved(JANUARY, minutes=8)}
        table.scan(JANUARY, {"zoe": created}, **late(JANUARY, minutes=8))
        table.scan("2026-01-31T10:05:00Z", {})
        assert told(table, "zoe") == [(JANUARY, "zoe", "first seen")]

    def test_one_who_was_created_while_both_were_asking_was_not_deleted(self, table: Table) -> None:
        """A scan that failed asked first and was answered last; in between, another one listed, and zoe was created."""
        table.scan(JANUARY, {"zoe": {"create_date": "2026-01-31T10:00:03Z"}}, status="FAILED", seconds=4)
        table.scan("2026-01-31T10:00:01Z", {}, seconds=1)
        assert told(table, "zoe") == [(JANUARY, "zoe", "first seen")]

    def test_a_scan_that_ends_while_the_history_is_read_deletes_nobody(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}})
        paginate = table.paginate

        def ending(**query: Any) -> Any:
            yield from paginate(**query)
            table.scan(FEBRUARY, {})

        table.paginate = ending  # type: ignore[method-assign]
        assert told(table, "alice") == [(JANUARY, "alice", "first seen")]

    def test_who_is_there_costs_two_queries(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}, "bob": {}})
        table.scan(FEBRUARY, {"alice": {}, "bob": {}})
        told(table, "alice")
        assert table.queries == 2

    def test_an_unknown_user_comes_with_names_that_differ_in_case(self, table: Table) -> None:
        table.scan(JANUARY, {"Alice": {}})
        with pytest.raises(queries.UnknownUser) as unknown:
            told(table, "alice")
        assert unknown.value.similar == ("Alice",)

    @pytest.mark.parametrize("user", ["__scan__", "__execution_lock__"])
    def test_the_manifests_and_the_lock_are_no_users(self, table: Table, user: str) -> None:
        table.scan(JANUARY, {"alice": {}})
        table.put({"user_name": "__execution_lock__", "scan_timestamp": "lock", "owner": "x", "ttl": 4_000_000_000})
        with pytest.raises(queries.UnknownUser):
            told(table, user)

    def test_an_event_without_a_record_still_says_whose_it_is(self, table: Table) -> None:
        table.scan(JANUARY, {"bob": {}})
        table.scan(FEBRUARY, {})
        found = queries.history(table, TABLE, "bob")  # type: ignore[arg-type]
        assert found.events[-1] == Event(FEBRUARY, "bob", "AIDABOB", "deleted")
        assert found.since is not None
        assert found.since.scan_timestamp == JANUARY


def knowing(timestamp: str, **attributes: Any) -> dict[str, Any]:
    """Return the attributes of a user of whom a scan knows everything; None for what it does not."""
    return {
        "credential_report_time": timestamp,
        "password_enabled": True,
        "mfa_active": True,
        "groups": ["staff"],
        "attached_policies": [],
        "inline_policies": [],
        "admin_via": [],
        **attributes,
    }


def key(slot: int, created: str, *, active: bool = True) -> dict[str, Any]:
    return {f"access_key_{slot}_active": active, f"access_key_{slot}_last_rotated": created}


NO_REPORT: dict[str, Any] = {"credential_report_time": None, "password_enabled": None, "mfa_active": None}
NO_DETAILS: dict[str, Any] = dict.fromkeys(("groups", "attached_policies", "inline_policies", "admin_via"))
FIRST, SECOND, THIRD = "2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z", "2025-03-01T00:00:00Z"


class TestPosture:
    def attributes(self, table: Table, before: dict[str, Any], after: dict[str, Any], **options: Any) -> list[str]:
        """Return what differs in alice, by a diff, of two scans that know what is given."""
        table.scan(JANUARY, {"alice": knowing(JANUARY, **before)})
        table.scan(FEBRUARY, {"alice": knowing(FEBRUARY, **after)})
        scans = scan_of(table, JANUARY), scan_of(table, FEBRUARY)
        found = queries.diff(table, TABLE, *scans, **options)  # type: ignore[arg-type]
        (event,) = queries.history(table, TABLE, "alice", **options).events[1:]  # type: ignore[arg-type]
        assert [event.attributes] == ([change.attributes for change in found.changes] or [()]), "history agrees"
        return [name for change in found.changes for name in change.attributes]

    @pytest.mark.parametrize(
        ("before", "after", "attributes"),
        [
            ({}, {}, []),
            ({}, {"mfa_active": False}, ["mfa_active"]),
            ({}, {"groups": ["ops", "staff"]}, ["groups"]),
            ({}, {"admin_via": ["policy x"], "permissions_boundary": "y"}, ["permissions_boundary", "admin_via"]),
            # The report, or the details, are missing on one side, or on both.
            ({}, {**NO_REPORT}, []),
            ({**NO_REPORT}, {}, []),
            ({**NO_REPORT}, {**NO_REPORT}, []),
            ({}, {**NO_DETAILS, "mfa_active": False}, ["mfa_active"]),
            ({"permissions_boundary": "x"}, {**NO_DETAILS}, []),
            ({**NO_DETAILS}, {"groups": ["ops"]}, []),
            ({}, {**NO_REPORT, "groups": []}, ["groups"]),
            # 4 h 15 min, and a second more.
            ({}, {"credential_report_time": "2026-02-02T05:45:00Z", "mfa_active": False}, ["mfa_active"]),
            ({}, {"credential_report_time": "2026-02-02T05:44:59Z", "mfa_active": False}, []),
            ({"credential_report_time": "2026-01-31T05:44:59Z"}, {"mfa_active": False}, []),
            # What the report does not say, and tags that nobody asked for.
            ({}, {"mfa_active": None}, []),
            ({"password_enabled": None}, {}, []),
            ({"admin_via": ["policy x"]}, {"admin_via": None}, []),
            ({}, {"tags": {"team": "x"}}, []),
            ({"tags": {"team": "x"}}, {"tags": {}}, ["tags"]),
            # Keys.
            ({}, key(1, FIRST), ["access_key_1_active", "access_key_1_last_rotated"]),
            (key(1, FIRST), key(1, FIRST, active=False), ["access_key_1_active"]),
            (key(1, FIRST), key(1, SECOND), ["access_key_1_last_rotated"]),
            (key(1, FIRST), key(2, FIRST), []),
            ({**key(1, FIRST), **key(2, SECOND)}, {**key(1, SECOND), **key(2, FIRST)}, []),
            ({**key(1, FIRST), **key(2, SECOND)}, key(1, SECOND), ["access_key_1_active", "access_key_1_last_rotated"]),
            ({**key(1, FIRST), **key(2, SECOND)}, {**key(1, THIRD), **key(2, FIRST)}, ["access_key_2_last_rotated"]),
            ({**key(1, FIRST), **key(2, FIRST, active=False)}, {**key(2, FIRST), **key(1, FIRST, active=False)}, []),
            ({**key(1, FIRST), **key(2, SECOND, active=False)}, {**key(2, FIRST, active=False), **key(1, SECOND)},
             ["access_key_1_active", "access_key_2_active"]),
            ({"cert_1_active": True, "cert_1_last_rotated": FIRST},
             {"cert_2_active": False, "cert_2_last_rotated": FIRST}, ["cert_1_active"]),
        ],
    )  # fmt: skip
    def test_what_is_not_known_is_no_change(
        self, table: Table, before: dict[str, Any], after: dict[str, Any], attributes: list[str]
    ) -> None:
        assert self.attributes(table, before, after) == attributes

    def test_use_is_no_change_unless_asked_for(self, table: Table) -> None:
        used = {**key(1, FIRST), "access_key_1_last_used_date": JANUARY, "access_key_1_last_used_region": "us-east-1"}
        again = {"access_key_1_last_used_date": FEBRUARY, "access_key_1_last_used_region": "eu-west-1"}
        assert self.attributes(table, used, {**used, **again}) == []
        assert self.attributes(table, used, {**used, **again}, activity=True) == list(again)
        assert self.attributes(table, {**used, **NO_REPORT}, {**used, **again}, activity=True) == []

    def test_a_scan_without_the_report_loses_no_change(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": knowing(JANUARY)})
        table.scan(FAILED, {"alice": knowing(FAILED, **NO_REPORT, groups=["ops"])})
        table.scan(FEBRUARY, {"alice": knowing(FEBRUARY, mfa_active=False, **NO_DETAILS)})
        table.scan(MARCH, {"alice": knowing(MARCH, mfa_active=False, groups=["ops"])})
        events = queries.history(table, TABLE, "alice").events  # type: ignore[arg-type]
        assert [(event.change, event.attributes) for event in events] == [
            ("first seen", ()),
            ("changed", ("groups",)),
            ("changed", ("mfa_active",)),
            ("", ()),
        ]

    def test_a_diff_says_how_many_it_could_not_compare(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": knowing(JANUARY), "bob": knowing(JANUARY, **NO_REPORT), "carol": {}})
        table.scan(FEBRUARY, {"alice": knowing(FEBRUARY), "bob": knowing(FEBRUARY), "dave": {}})
        found = queries.diff(table, TABLE, scan_of(table, JANUARY), scan_of(table, FEBRUARY))  # type: ignore[arg-type]
        assert found.uncompared == {"credential_report": 1}


def test_a_reader_goes_by_the_clock_of_whoever_sets_one(clock: Clock) -> None:
    """By the real time, which a default once kept, every record of the tests had expired some months later."""
    clock.wait(1000 * 86_400)

    assert Reader(Table(), TABLE).now == timestamps.now()  # type: ignore[arg-type]


class TestManyAccounts:
    DEV, PROD = "222222222222", "333333333333"

    def test_the_members_are_found_without_reading_their_scans(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}})
        for number in range(5):
            for member in (self.PROD, self.DEV):
                table.scan(f"2026-01-1{number}T10:00:00Z", {"alice": {}}, member=member)
        table.fleet(JANUARY, {self.DEV: "dev"})
        asked = []
        query = table.query
        table.query = lambda **call: asked.append(call) or query(**call)  # type: ignore[method-assign, func-returns-value]

        assert list(members(table, TABLE)) == [self.DEV, self.PROD]  # type: ignore[arg-type]
        assert [call["Limit"] for call in asked] == [1, 1, 1]

    def test_the_key_of_a_members_record_is_no_name_in_the_own_account(self, table: Table) -> None:
        table.scan(JANUARY, {"alice": {}}, member=self.DEV)
        reader = Reader(table, TABLE)  # type: ignore[arg-type]
        assert list(reader.of_name(f"{self.DEV}/alice")) == []
        assert [record["user_name"] for record in replace(reader, keys=Keys(self.DEV)).of_name("alice")] == ["alice"]

    @pytest.mark.parametrize("member", [None, "222222222222"])
    def test_what_is_newer_is_not_read(self, table: Table, member: str | None) -> None:
        for timestamp in (JANUARY, FEBRUARY, MARCH):
            table.scan(timestamp, {}, member=member)
        reader = Reader(table, TABLE, keys=Keys(member))  # type: ignore[arg-type]
        assert [scan.scan_timestamp for scan in reader.scans(until=FEBRUARY)] == [FEBRUARY, JANUARY]
