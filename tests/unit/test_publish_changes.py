"""PublishChanges: what is told when, story by story."""

from datetime import timedelta
from typing import Any

import pytest

from functions.shared.errors import AccessDenied, EventsRefused, IndexBehind, Throttled
from functions.shared.run import Run
from functions.table import detection
from functions.table.announcement import Announcements
from functions.table.detection import Options
from functions.table.findings import CONTROLS
from tests.support.logs import captured_logs
from tests.support.publishing import EPOCH, Faults, Interrupted, World, everybody, refusal, user


def ids_of(users: dict[str, dict[str, Any]]) -> list[str]:
    return [attributes["user_id"] for attributes in users.values()]


@pytest.fixture
def world() -> World:
    """Return a world whose first scan, of alice, bob and carol, is announced."""
    world = World()
    world.scan(everybody(), detailed=ids_of(everybody()))
    world.publish()
    world.bus.received.clear()
    world.wait(60)
    return world


def scan_and_publish(world: World, users: dict[str, dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    """Scan an account whose details agree with its listing, publish, and return the new events."""
    before = len(world.bus.received)
    world.scan(users, **{"detailed": ids_of(users), "listed_from": world.now, **more})
    world.publish()
    world.wait(60)
    return world.bus.received[before:]


def told(events: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(event["detail-type"], event["user_name"]) for event in events]


END = ("IAM User Scan Completed", None)


def test_the_first_scan_announces_a_baseline_only() -> None:
    world = World()
    world.scan(everybody(alice={"mfa_active": False, "password_enabled": True}), detailed=[])

    assert world.publish() == {"status": "ANNOUNCED", "scans": 1, "events": 1, "refused": 0}

    (event,) = world.bus.received
    assert (event["change"], event["baseline"], event["users"]) == ("scan_completed", True, 3)
    assert event["previous_scan_timestamp"] is None


def test_what_did_not_change_is_not_told(world: World) -> None:
    assert told(scan_and_publish(world, everybody())) == [END]


def test_a_scan_is_announced_once(world: World) -> None:
    scan_and_publish(world, everybody(bob=None))

    assert world.publish()["status"] == "NOTHING_NEW"


def test_a_user_was_created(world: World) -> None:
    dave = user(4, world.now - timedelta(minutes=30), mfa_active=False, password_enabled=True)

    event, end = scan_and_publish(world, everybody(dave=dave))

    assert (event["change"], event["user_name"], event["user_id"]) == ("created", "dave", "AIDA0004")
    assert event["before"] is None
    assert event["after"]["mfa_active"] is False
    assert event["findings_opened"] == ["console-no-mfa"]
    assert end["counts"]["created"] == 1


def test_a_user_was_deleted(world: World) -> None:
    event, _ = scan_and_publish(world, everybody(bob=None))

    assert (event["change"], event["user_name"], event["user_id"]) == ("deleted", "bob", "AIDA0002")
    assert event["after"] is None
    assert event["before"]["create_date"] == "2025-12-23T00:00:00Z"


def test_of_two_who_had_the_name_the_last_one_was_created_again(world: World) -> None:
    """Whatever the order in which they are known."""
    absent = everybody(bob=user(0, world.now))
    scan_and_publish(world, absent, detailed=None)

    events = scan_and_publish(world, everybody(bob=user(5, world.now)))

    assert [(event["change"], event["user_id"], (event["before"] or {}).get("user_id")) for event in events[:2]] == [
        ("deleted", "AIDA0002", "AIDA0002"),
        ("recreated", "AIDA0005", "AIDA0000"),
    ]


def test_a_user_was_deleted_and_created_again(world: World) -> None:
    event, _ = scan_and_publish(world, everybody(bob=user(9, world.now)))

    assert (event["change"], event["user_name"], event["user_id"]) == ("recreated", "bob", "AIDA0009")
    assert (event["before"]["user_id"], event["after"]["user_id"]) == ("AIDA0002", "AIDA0009")
    assert "user_id" in event["attributes"]


def test_a_user_was_renamed(world: World) -> None:
    event, _ = scan_and_publish(world, everybody(bob=None, robert=user(2)))

    assert (event["change"], event["user_name"], event["user_id"]) == ("renamed", "robert", "AIDA0002")
    assert (event["before"]["user_name"], event["after"]["user_name"]) == ("bob", "robert")
    assert event["summary"].startswith("IAM user bob of account 123456789012 was renamed to robert")


def test_a_user_has_changed(world: World) -> None:
    changed = {"password_enabled": True, "mfa_active": True, "groups": ["admins"]}
    scan_and_publish(world, everybody(alice=changed))

    event, _ = scan_and_publish(world, everybody(alice={**changed, "mfa_active": False}))

    assert (event["change"], event["attributes"]) == ("changed", ["mfa_active"])
    assert (event["before"], event["after"]) == ({"mfa_active": True}, {"mfa_active": False})
    assert (event["findings_opened"], event["findings_closed"]) == (["console-no-mfa"], [])
    assert event["summary"] == (
        "IAM user alice of account 123456789012 has changed: mfa_active yes is now no. New findings: console-no-mfa."
    )


def test_a_finding_is_told_when_it_opens_by_time_alone(world: World) -> None:
    key = {"access_key_1_active": True, "access_key_1_last_rotated": "2025-10-04T12:00:00Z"}
    used = {"access_key_1_last_used_date": "2025-12-31T00:00:00Z"}
    scan_and_publish(world, everybody(alice={**key, **used}))
    world.wait(60 * 24 * 2)
    made = {"credential_report_time": world.now.isoformat()}

    event, _ = scan_and_publish(world, everybody(alice={**key, **used, **made}))

    assert (event["attributes"], event["findings_opened"]) == ([], ["key-older-90-days"])
    assert event["summary"] == (
        "IAM user alice of account 123456789012 has other findings than before. New findings: key-older-90-days."
    )


def test_mere_use_is_told_only_when_it_is_asked_for(world: World) -> None:
    used = everybody(alice={"password_last_used": "2026-01-01T00:30:00Z"})
    assert told(scan_and_publish(world, used)) == [END]

    world.options = Options(activity=True)
    used = everybody(alice={"password_last_used": "2026-01-01T01:30:00Z"})
    assert told(scan_and_publish(world, used)) == [END], "what was used before is not known"
    used = everybody(alice={"password_last_used": "2026-01-01T02:30:00Z"})
    assert told(scan_and_publish(world, used)) == [("IAM User Changed", "alice"), END]


def test_the_root_user_is_told_of(world: World) -> None:
    root = {"arn": "arn:aws:iam::123456789012:root", "credential_report_time": "2026-01-01T00:30:00Z"}
    scan_and_publish(world, everybody(), root={**root, "password_enabled": True, "mfa_active": True})

    event, _ = scan_and_publish(world, everybody(), root={**root, "password_enabled": True, "mfa_active": False})

    assert (event["detail-type"], event["user_name"], event["user_id"]) == ("IAM User Changed", "<root_account>", None)
    assert event["findings_opened"] == ["root-no-mfa"]
    assert event["summary"].startswith("The root user of account 123456789012 has changed: mfa_active yes is now no.")


def test_a_root_user_who_is_not_known_is_not_gone(world: World) -> None:
    root = {"arn": "arn:aws:iam::123456789012:root", "credential_report_time": "2026-01-01T00:30:00Z"}
    known = {**root, "password_enabled": True, "mfa_active": True}
    scan_and_publish(world, everybody(), root=known)
    assert told(scan_and_publish(world, everybody())) == [END]

    events = scan_and_publish(world, everybody(), root={**known, "mfa_active": False})

    assert told(events) == [("IAM User Changed", "<root_account>"), END]


def test_a_key_is_known_by_its_creation_and_told_in_the_slot_in_which_it_was(world: World) -> None:
    old, new = "2025-12-01T00:00:00Z", "2025-12-20T00:00:00Z"
    two = {"access_key_1_active": True, "access_key_1_last_rotated": old, "access_key_2_active": True}
    scan_and_publish(world, everybody(alice={**two, "access_key_2_last_rotated": new}))

    event, _ = scan_and_publish(
        world, everybody(alice={"access_key_1_active": False, "access_key_1_last_rotated": new})
    )

    gone = {"access_key_1_active": True, "access_key_1_last_rotated": old}
    assert event["before"] == {**gone, "access_key_2_active": True}
    assert event["after"] == {**dict.fromkeys(gone), "access_key_2_active": False}


def test_a_sentence_can_be_put_into_a_template(world: World) -> None:
    odd = 'arn:aws:iam::123456789012:user/a"b\\c/alice'

    event, _ = scan_and_publish(world, everybody(alice={"arn": odd}))

    assert event["after"] == {"arn": odd}
    assert "arn:aws:iam::123456789012:user/a'b/c/alice" in event["summary"]
    assert not {'"', "\\"} & set(event["summary"])


# What is not sure


def test_a_deletion_that_the_details_do_not_confirm_is_not_told(world: World) -> None:
    events = scan_and_publish(world, everybody(bob=None), detailed=ids_of(everybody()))

    assert told(events) == [END]
    assert events[0]["counts"]["unconfirmed_deletions"] == 1
    assert told(scan_and_publish(world, everybody())) == [END], "and it is no creation when the user is listed again"


def test_details_that_are_missing_confirm_nothing(world: World) -> None:
    """The credential report alone may be kept where the details would be."""
    gone = everybody(bob=None)
    missing = {"credential_report": {"state": "CURRENT"}, "authorization": {"state": "MISSING"}}

    assert told(scan_and_publish(world, gone, detailed=[], sections=missing)) == [END]


def test_without_details_the_next_scan_must_agree(world: World) -> None:
    gone = everybody(bob=None)
    assert told(scan_and_publish(world, gone, detailed=None)) == [END]
    assert told(scan_and_publish(world, gone, detailed=None)) == [("IAM User Deleted", "bob"), END]


def test_without_details_a_user_who_is_seen_again_was_not_deleted(world: World) -> None:
    scan_and_publish(world, everybody(bob=None), detailed=None)
    assert told(scan_and_publish(world, everybody(), detailed=None)) == [END]
    assert told(scan_and_publish(world, everybody(bob=None), detailed=None)) == [END]


def test_who_is_renamed_while_the_scan_pages_is_not_deleted(world: World) -> None:
    """Neither page has the user: the first was read before, and the last after the renaming."""
    scan_and_publish(world, everybody(carol=None), detailed=ids_of(everybody()))

    events = scan_and_publish(world, everybody(carol=None, ann=user(3)))

    assert told(events) == [("IAM User Renamed", "ann"), END]


def test_a_mass_deletion_is_suspected_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "LEAST_GUARDED", 1)
    nobody = everybody(alice=None, bob=None)

    suspected, end = scan_and_publish(world, nobody)

    assert (suspected["change"], suspected["missing"], suspected["guard"]) == ("mass_deletion_suspected", 2, 1)
    assert suspected["user_names"] == ["alice", "bob"]
    assert end["counts"]["suspected_deletions"] == 2
    assert told(scan_and_publish(world, nobody)) == [("IAM User Deleted", "alice"), ("IAM User Deleted", "bob"), END]


def test_a_mass_deletion_that_was_none_is_not_told_further(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "LEAST_GUARDED", 1)
    scan_and_publish(world, everybody(alice=None, bob=None))

    assert told(scan_and_publish(world, everybody(bob={"groups": ["x"]}))) == [("IAM User Changed", "bob"), END]


def test_users_who_are_created_again_are_no_mass_deletion(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """That another one has the name proves that the former is no more."""
    monkeypatch.setattr(detection, "LEAST_GUARDED", 1)

    events = scan_and_publish(world, everybody(alice=user(11, world.now), bob=user(12, world.now)))

    assert told(events) == [("IAM User Recreated", "alice"), ("IAM User Recreated", "bob"), END]


@pytest.mark.parametrize(("percent", "users", "guard"), [(20, 100, 20), (20, 20, 10), (10, 150, 15), (100, 30, 30)])
def test_the_guard_is_ten_users_or_so_many_percent(percent: int, users: int, guard: int) -> None:
    world = World(options=Options(guard_percent=percent))
    account = {f"user-{number}": user(number) for number in range(users)}
    world.scan(account, detailed=ids_of(account))
    world.publish()
    for more, kinds in ((0, {"deleted"}), (1, {"mass_deletion_suspected"})):
        before = len(world.bus.received)
        trial = World(world.table_copy(), options=world.options, now=world.now + timedelta(hours=1))
        if guard + more > users:
            continue
        left = dict(list(account.items())[guard + more :])
        trial.scan(left, detailed=ids_of(left))
        trial.publish()
        assert {event["change"] for event in trial.bus.received} - {"scan_completed"} == kinds
        assert len(world.bus.received) == before


def test_a_user_whom_the_first_scan_lost_was_not_created_later() -> None:
    world = World()
    world.scan(everybody(bob=None), detailed=None)
    world.publish()
    world.wait(60)

    assert told(scan_and_publish(world, everybody())) == [END]


def test_a_missing_report_is_no_change_and_hides_none(world: World) -> None:
    console = {"password_enabled": True, "mfa_active": True}
    unknown = {"credential_report_time": None, "password_enabled": None, "mfa_active": None}
    scan_and_publish(world, everybody(alice=console))
    assert told(scan_and_publish(world, everybody(alice={**console, **unknown}), report="MISSING")) == [END]

    event, _ = scan_and_publish(world, everybody(alice={**console, "mfa_active": False}))

    assert event["before"] == {"mfa_active": True}


def test_the_first_report_of_all_opens_no_findings() -> None:
    """The report is switched on, or the first scan came before it: what was so already is no news."""
    world = World()
    unknown = {"credential_report_time": None, "password_enabled": None, "mfa_active": None}
    world.scan({name: {**one, **unknown} for name, one in everybody().items()}, detailed=ids_of(everybody()))
    world.publish()
    world.wait(60)
    without = {"password_enabled": True, "mfa_active": False}
    assert told(scan_and_publish(world, everybody(alice=without))) == [END]

    late = user(4, world.now - timedelta(minutes=5), **unknown)
    scan_and_publish(world, everybody(alice=without, dave=late))
    events = scan_and_publish(world, everybody(alice=without, dave=user(4, world.now, **without)))

    assert [event["findings_opened"] for event in events if event["user_name"] == "dave"] == [["console-no-mfa"]]


# What comes late


def test_what_could_not_be_told_the_next_call_tells(world: World) -> None:
    world.scan(everybody(bob=None), detailed=ids_of(everybody(bob=None)))
    with pytest.raises(Interrupted):
        world.publish(Faults(at=1))
    world.wait(60)
    world.scan(everybody(), detailed=ids_of(everybody()))

    assert world.publish()["scans"] == 2


@pytest.mark.parametrize("status", ["FAILED", "INCOMPLETE", "ABORTED", "RUNNING"])
def test_a_scan_that_is_not_complete_says_nothing(world: World, status: str) -> None:
    assert scan_and_publish(world, everybody(bob=None), status=status, detailed=[]) == []


def test_a_scan_that_listed_for_too_long_says_nothing(world: World) -> None:
    """It is no picture of a moment."""
    begun = world.now
    world.wait(60)

    assert scan_and_publish(world, everybody(bob=None), listed_from=begun) == []


def test_a_scan_that_was_made_while_events_were_off_is_left_out(world: World) -> None:
    assert scan_and_publish(world, everybody(bob=None), publish=False) == []
    assert told(scan_and_publish(world, everybody(bob=None))) == [("IAM User Deleted", "bob"), END]


def test_a_scan_that_was_redriven_late_and_listed_anew_is_announced(world: World) -> None:
    started = world.now
    world.wait(60)
    scan_and_publish(world, everybody())
    events = scan_and_publish(world, everybody(bob=None), started=started)

    assert told(events) == [("IAM User Deleted", "bob"), END]
    assert events[0]["scan_timestamp"] < events[0]["previous_scan_timestamp"], "it is named by its start"


def test_a_scan_that_listed_before_what_is_announced_says_nothing(world: World) -> None:
    early = world.now
    world.wait(10)
    scan_and_publish(world, everybody(bob=None))

    events = scan_and_publish(world, everybody(), started=early, listed_from=early, listed_until=early.isoformat())

    assert events == []


def test_what_is_left_of_a_listing_that_was_begun_again_says_nothing(world: World) -> None:
    """A run that failed was redriven when another scan was announced: what it had listed before came back, and went."""
    early = world.now
    world.wait(1)
    now = everybody(bob=None, alice={"arn": "arn:aws:iam::123456789012:user/new/alice"})
    world.scan(now, detailed=ids_of(now))
    world.publish()
    world.wait(1)
    world.bus.received.clear()

    # Of its second listing are carol and alice; but what a late call has written of alice is of the first one.
    world.scan(
        everybody(eve=user(5, early)),
        detailed=ids_of(now),
        started=early,
        listed_at={"alice": early, "bob": early, "eve": early},
        records_written=2,
    )
    world.publish(settled=True)

    (end,) = world.bus.received
    assert end["change"] == "scan_completed", "bob and eve were not created, and alice has not changed back"
    assert end["counts"]["unconfirmed_deletions"] == 1
    world.wait(60)
    assert told(scan_and_publish(world, now)) == [END]


def test_the_index_must_yield_all_records(world: World) -> None:
    world.table.catch_up()
    world.table.index_lags = True
    world.scan(everybody(bob=None), detailed=ids_of(everybody(bob=None)))

    with pytest.raises(IndexBehind, match="0 of the 2 records"):
        world.publish()
    assert len(world.bus.received) == 0

    assert world.publish(settled=True)["scans"] == 1
    assert told(world.bus.received) == [("IAM User Deleted", "bob"), END]
    assert world.bus.received[1]["counts"]["unconfirmed_deletions"] == 0, "whoever is missing is looked up by name"


def test_a_new_user_whom_the_index_never_yields_is_announced_by_the_next_scan(world: World) -> None:
    dave = everybody(dave=user(4, world.now))
    world.table.catch_up()
    world.table.index_lags = True
    world.scan(dave, detailed=ids_of(dave))
    world.publish(settled=True)
    assert told(world.bus.received) == [END]
    world.table.index_lags = False
    world.wait(60)

    assert told(scan_and_publish(world, dave)) == [("IAM User Created", "dave"), END]


def test_a_picture_that_has_expired_is_made_from_the_records(world: World) -> None:
    for key in [key for key in world.table.items if key[1].startswith("baseline#")]:
        del world.table.items[key]

    assert told(scan_and_publish(world, everybody(bob=None))) == [("IAM User Deleted", "bob"), END]


def test_where_the_records_have_expired_too_it_begins_anew(world: World) -> None:
    for key in [key for key in world.table.items if key[1].startswith(("baseline#", "scan#"))]:
        del world.table.items[key]

    events = scan_and_publish(world, everybody(bob=None))

    assert (told(events), events[0]["baseline"]) == ([END], True)


def test_a_planned_scan_that_has_expired_is_given_up(world: World) -> None:
    expired = world.scan(everybody(bob=None), detailed=ids_of(everybody(bob=None)))
    with pytest.raises(Interrupted):
        world.publish(Faults(at=5))
    cursor = Announcements(world.table, "iam-user-records").cursor()  # type: ignore[arg-type]
    assert cursor.plan is not None
    assert cursor.plan.scan_timestamp == expired
    del world.table.items["__scan__", f"scan#{expired}"]
    world.wait(60)

    assert told(scan_and_publish(world, everybody(bob=None))) == [("IAM User Deleted", "bob"), END]


def test_details_that_have_expired_are_none(world: World) -> None:
    world.scan(everybody(bob=None), detailed=ids_of(everybody(bob=None)))
    for key in [key for key in world.table.items if key[1].startswith("posture#")]:
        del world.table.items[key]
    world.publish()

    assert told(world.bus.received) == [END]
    assert world.bus.received[0]["counts"]["unconfirmed_deletions"] == 1


def test_how_a_scan_is_announced_is_fixed_when_it_begins(world: World) -> None:
    world.scan(everybody(alice={"password_last_used": "2026-01-01T00:30:00Z"}), detailed=ids_of(everybody()))
    with pytest.raises(Interrupted):
        world.publish(Faults(at=5))

    world.options = Options(activity=True)
    world.publish()

    assert told(world.bus.received) == [END]


def test_it_ends_in_time_and_the_next_call_goes_on(world: World) -> None:
    for _ in range(3):
        world.scan(everybody(), detailed=ids_of(everybody()))
        world.wait(60)
    ticks = iter(range(100))
    publisher = world.publisher()
    object.__setattr__(publisher, "clock", lambda: next(ticks))

    run = Run("arn:aws:states:us-east-1:123456789012:execution:m:r", EPOCH, 1, EPOCH)
    assert publisher.publish(run, seconds=3) == {"status": "BEHIND", "scans": 2, "events": 2, "refused": 0}
    assert world.publish()["scans"] == 1


# The bus


def crowd(world: World) -> dict[str, dict[str, Any]]:
    return {**everybody(), **{f"new-{number:02}": user(100 + number, world.now) for number in range(24)}}


def test_events_go_ten_a_call(world: World) -> None:
    assert len(scan_and_publish(world, crowd(world))) == 25
    assert world.bus.sizes[-3:] == [10, 10, 5]


def test_a_call_stays_below_the_limit_of_its_size(world: World) -> None:
    tags = {"tags": {f"key-{number}": "x" * 250 for number in range(300)}}
    sizes = len(world.bus.sizes)

    scan_and_publish(world, everybody(**{f"big-{number}": user(10 + number, world.now, **tags) for number in range(7)}))

    assert world.bus.sizes[sizes:] == [3, 3, 2]


def test_an_id_is_that_of_the_two_scans(world: World) -> None:
    scan = world.scan(everybody(bob=None), detailed=ids_of(everybody(bob=None)))
    world.publish()
    for key in [
        key for key in world.table.items if key[1] != f"scan#{scan}" and key[1].startswith(("changes", "scan#"))
    ]:
        del world.table.items[key]
    world.publish()

    ids = {event["id"] for event in world.bus.received if event["change"] == "scan_completed"}
    assert len(ids) == 2, f"{scan} is the first one now"


def test_only_what_was_not_taken_is_sent_again(world: World) -> None:
    world.bus.answers = [None, "InternalFailure", None, "ThrottlingException", *[None] * 6]
    sizes = len(world.bus.sizes)

    events = scan_and_publish(world, crowd(world))

    assert world.bus.sizes[sizes:] == [10, 2, 10, 5]
    assert len({event["id"] for event in events}) == len(events) == 25


def test_an_event_that_will_never_be_taken_is_counted_and_told(world: World) -> None:
    world.bus.answers = ["MalformedDetail"]
    world.scan(everybody(bob=None), detailed=ids_of(everybody(bob=None)))

    with captured_logs() as lines, pytest.raises(EventsRefused, match="will never take 1 event"):
        world.publish()

    (line,) = [line for line in lines() if "never" in line["message"]]
    assert (line["error_type"], line["detail_type"]) == ("MalformedDetail", "IAM User Deleted")
    assert "bob" not in str(line)
    assert world.publish()["status"] == "NOTHING_NEW", "it is not sent for ever"


@pytest.mark.parametrize(
    ("code", "error"),
    [("NotAuthorizedForSource", AccessDenied), ("AccessDeniedException", AccessDenied), ("NoSuchBus", EventsRefused)],
)
def test_a_bus_that_takes_nothing_leaves_all_to_the_next_call(world: World, code: str, error: type[Exception]) -> None:
    world.bus.answers = [code]
    world.scan(everybody(bob=None), detailed=ids_of(everybody(bob=None)))
    with pytest.raises(error, match=code):
        world.publish()

    assert world.publish()["events"] == 2


def test_a_bus_that_throttles_is_asked_as_long_as_there_is_time(world: World) -> None:
    clock = iter(range(1000))
    publisher = world.publisher()
    publisher.bus.clock = lambda: next(clock)
    world.bus.put_events = lambda **_: (_ for _ in ()).throw(refusal("ThrottlingException"))  # type: ignore[method-assign]
    world.scan(everybody(), detailed=ids_of(everybody()))

    with pytest.raises(Throttled, match="did not take 1 events"):
        publisher.publish(Run("arn:aws:states:us-east-1:1:execution:m:r", EPOCH, 1, EPOCH), seconds=100)


def test_the_log_counts_what_each_control_finds_as_last_known() -> None:
    """And nothing of a control that has told nothing: the root user is in no manifest here."""
    world = World()
    without = everybody(alice={"mfa_active": False, "password_enabled": True})
    unknown = dict.fromkeys(("credential_report_time", "password_enabled", "mfa_active"))

    found = [logged_findings(world, users) for users in (without, everybody(alice=unknown), everybody())]

    assert [findings["console_no_mfa"] for findings in found] == [1, 1, 0]
    assert {name for findings in found for name in findings} == {
        control.name.replace("-", "_") for control in CONTROLS if not control.of_root
    }


def logged_findings(world: World, users: dict[str, dict[str, Any]]) -> dict[str, int]:
    with captured_logs() as lines:
        scan_and_publish(world, users)
    (line,) = [line for line in lines() if line["message"] == "Scan announced"]
    return dict(line["findings"])


def test_no_log_holds_a_user(world: World) -> None:
    with captured_logs() as lines:
        scan_and_publish(world, everybody(bob=None, dave=user(4, world.now)))

    assert lines()
    assert not any(name in str(line) for line in lines() for name in ("bob", "dave", "AIDA"))
