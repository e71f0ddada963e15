"""ReadPosture."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.read_posture.handler import Wanted, handler, read_posture
from functions.shared.errors import AccessDenied, PostureUnavailable, Throttled
from functions.table import posture
from tests.support.account import GENERATED, STYLES, Account, Style, User, accounts, details, iso, report
from tests.support.engine import TABLE, Context
from tests.support.logs import captured_logs
from tests.support.scene import EPOCH, TIMESTAMP, Scene, run_event

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

CREATED = datetime(2025, 3, 14, 9, 26, 53, tzinfo=UTC)
ALICE = User("alice", "AIDAALICE", CREATED, mfa=True)
BOB = User("bob", "AIDABOB", CREATED)
TWO = Account((ALICE, BOB), (ALICE, BOB))
MANY = Account(tuple(User(f"user-{number}", f"AIDA{number}", CREATED) for number in range(30)), ())
MOST_CALLS = 12
"""What the credential report and the last page may take of IAM."""


class FakeIam:
    """An IAM whose report takes its time, and that refuses what it is told to."""

    def __init__(
        self,
        account: Account = TWO,
        *,
        sizes: tuple[int, ...] = (1000,),
        style: Style | None = None,
        generated: datetime = GENERATED,
        generate: str | None = None,
        get: list[str] | str | None = None,
        page: dict[int, str] | None = None,
        seconds_a_call: float = 0.0,
    ) -> None:
        self.pages = details(account, sizes)
        self.report = report(account.reported, style)
        self.generated = generated
        self.generate_error = generate
        self.get_errors = get or []
        self.page_errors = page or {}
        self.seconds_a_call = seconds_a_call
        self.calls: list[str] = []
        self.now = 0.0

    def _called(self, operation: str, code: str | None) -> None:
        self.calls.append(operation)
        self.now += self.seconds_a_call
        if code == "lost":
            raise ConnectTimeoutError(endpoint_url="https://iam.amazonaws.com")
        if code is not None:
            raise ClientError({"Error": {"Code": code, "Message": f"{code} it is"}}, operation)

    def generate_credential_report(self) -> dict[str, Any]:
        self._called("GenerateCredentialReport", self.generate_error)
        return {"State": "STARTED"}

    def get_credential_report(self) -> dict[str, Any]:
        errors = self.get_errors
        self._called("GetCredentialReport", errors if isinstance(errors, str) else errors.pop(0) if errors else None)
        return {"Content": self.report, "GeneratedTime": self.generated, "ReportFormat": "text/csv"}

    def get_account_authorization_details(self, **request: Any) -> dict[str, Any]:
        number = int(request.get("Marker", "m0")[1:])
        self._called("GetAccountAuthorizationDetails", self.page_errors.get(number))
        assert request == {
            "Filter": ["User", "Group", "LocalManagedPolicy"],
            "MaxItems": 1000,
            **({"Marker": f"m{number}"} if number else {}),
        }
        return self.pages[number]

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def read(scene: Scene, iam: FakeIam, wanted: Wanted | None = None, seconds: float = 100) -> dict[str, Any]:
    found = read_posture(
        scene.run(),
        iam=iam,  # type: ignore[arg-type]
        dynamodb=scene.dynamodb,
        table_name=TABLE,
        wanted=wanted or Wanted(),
        seconds=seconds,
        clock=lambda: iam.now,
        sleep=iam.sleep,
    )
    return dict(found)


def kept(scene: Scene, found: dict[str, Any]) -> posture.Posture:
    """Return what WriteBatch will read."""
    return posture.load(scene.dynamodb, TABLE, TIMESTAMP, found)  # type: ignore[arg-type]


@pytest.fixture
def scene(scene: Scene) -> Scene:
    """Return an execution that began an hour after the report was made."""
    assert int(scene.clock.now.timestamp()) == EPOCH == int(GENERATED.timestamp()) + 3600
    return scene


def test_both_sources_are_read_and_kept_for_write_batch(scene: Scene) -> None:
    found = read(scene, FakeIam())

    assert found == {
        "sections": {
            "credential_report": {
                "state": "CURRENT",
                "generated_time": "2026-01-31T09:00:00Z",
                "users": 2,
                "matched": 2,
                "newer_users": 0,
                "unmatched": 0,
            },
            "authorization": {"state": "CURRENT", "generated_time": "2026-01-31T10:00:00Z", "users": 2},
        },
        "root": {
            "arn": "arn:aws:iam::123456789012:root",
            "credential_report_time": "2026-01-31T09:00:00Z",
            "user_creation_time": "2020-01-02T00:00:00Z",
            "password_last_used": "2026-01-30T00:00:00Z",
            "mfa_active": True,
        },
        "id": found["id"],
        "chunks": 1,
    }
    assert kept(scene, found).of(ALICE.listed) == TWO.expected(ALICE, ())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(account=accounts(), style=STYLES, sizes=st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_property_every_user_is_told_of_as_it_is_or_counted_as_not(
    account: Account, style: Style, sizes: list[int]
) -> None:
    """What no section tells of a user, the sections count."""
    from functions.shared import timestamps
    from tests.support.scene import Clock

    table = InMemory()
    with mock.patch.object(timestamps, "now", Clock()):
        found = read(Scene(table, Clock()), FakeIam(account, sizes=tuple(sizes), style=style))  # type: ignore[arg-type]

    told = found["sections"]["credential_report"]
    known = [user for user in account.users if user in account.reported]
    newer = [user for user in account.users if user.created > GENERATED]
    assert told["matched"] == len(known)
    assert told["unmatched"] == len(account.reported) - len(known)
    assert told["newer_users"] == len(newer)
    assert (told["users"], found["sections"]["authorization"]["users"]) == (len(account.reported), len(account.users))
    if found["id"] is None:
        assert not account.users
        assert not account.reported
        return
    loaded = posture.load(table, TABLE, TIMESTAMP, found)  # type: ignore[arg-type]
    for user in account.users:
        assert loaded.of(user.listed) == account.expected(user, ())


class InMemory:
    """What posture needs of a table."""

    def __init__(self) -> None:
        self.items: dict[str, Any] = {}

    def put_item(self, *, TableName: str, Item: dict[str, Any]) -> None:  # noqa: N803
        self.items[Item["scan_timestamp"]["S"]] = Item

    def get_item(self, *, TableName: str, Key: dict[str, Any], ConsistentRead: bool) -> dict[str, Any]:  # noqa: N803
        assert ConsistentRead
        return {"Item": self.items[Key["scan_timestamp"]["S"]]}


# The report takes its time


def test_the_details_give_the_report_the_time_it_needs(scene: Scene) -> None:
    iam = FakeIam(sizes=(1, 0, 1))
    read(scene, iam)
    pages = ["GetAccountAuthorizationDetails"] * 3
    assert iam.calls == ["GenerateCredentialReport", *pages, "GetCredentialReport"]


@pytest.mark.parametrize("answer", ["ReportNotPresent", "ReportInProgress", "ReportExpired"])
def test_a_report_that_is_being_made_is_waited_for(scene: Scene, answer: str) -> None:
    iam = FakeIam(get=[answer] * 3)

    assert read(scene, iam)["sections"]["credential_report"]["state"] == "CURRENT"
    assert iam.now == 1 + 2 + 2


def test_a_report_that_takes_too_long_is_left_to_the_next_scan(scene: Scene) -> None:
    iam = FakeIam(get="ReportInProgress")

    found = read(scene, iam)

    assert found["sections"]["credential_report"]["state"] == "MISSING"
    assert found["sections"]["credential_report"]["error_type"] == "ReportInProgress"
    assert found["root"] is None
    assert iam.now <= 20
    assert len(iam.calls) - 1 <= MOST_CALLS, "of IAM, besides the pages"
    assert kept(scene, found).of(ALICE.listed)["groups"] == [], "the other section is not hurt"


def test_a_short_time_is_not_waited_beyond(scene: Scene) -> None:
    iam = FakeIam(get="ReportInProgress")
    read(scene, iam, seconds=6)
    assert iam.now <= 6


# There may be an older one


@pytest.mark.parametrize("refusal", ["LimitExceeded", "Throttling", "AccessDenied", "lost"])
def test_a_report_that_is_there_is_read_although_none_is_made(scene: Scene, refusal: str) -> None:
    found = read(scene, FakeIam(generate=refusal))
    assert found["sections"]["credential_report"]["state"] == "CURRENT"


@pytest.mark.parametrize("answer", ["ReportNotPresent", "ReportExpired"])
def test_where_none_is_made_none_is_waited_for_and_that_is_the_reason(scene: Scene, answer: str) -> None:
    iam = FakeIam(generate="LimitExceeded", get=answer)

    section = read(scene, iam)["sections"]["credential_report"]

    assert (section["state"], section["error_type"]) == ("MISSING", "LimitExceeded")
    assert section["error_message"].endswith("LimitExceeded it is")
    assert iam.now == 0


def test_one_that_somebody_else_has_asked_for_is_waited_for(scene: Scene) -> None:
    found = read(scene, FakeIam(generate="LimitExceeded", get=["ReportInProgress"]))
    assert found["sections"]["credential_report"]["state"] == "CURRENT"


@pytest.mark.parametrize(("seconds", "state"), [(0, "CURRENT"), (1, "STALE")])
def test_a_report_is_stale_when_a_newer_one_should_be_there(scene: Scene, seconds: int, state: str) -> None:
    scene.clock.now = GENERATED + timedelta(hours=4, minutes=15, seconds=seconds)

    found = read(scene, FakeIam())

    assert found["sections"]["credential_report"]["state"] == state
    facts = kept(scene, found).of(ALICE.listed)
    assert facts["credential_report_time"] == iso(GENERATED), "by which a reader knows it, too"


# Neither hurts the other


@pytest.mark.parametrize("error", ["AccessDenied", "Throttling", "ServiceFailure", "lost"])
def test_without_the_details_there_is_the_report(scene: Scene, error: str) -> None:
    names = {"Throttling": "Throttled", "lost": "ConnectTimeoutError"}

    with captured_logs() as lines:
        found = read(scene, FakeIam(sizes=(1,), page={1: error}))

    section = found["sections"]["authorization"]
    assert (section["state"], section["error_type"]) == ("MISSING", names.get(error, error))
    assert found["sections"]["credential_report"] == {
        "state": "CURRENT", "generated_time": "2026-01-31T09:00:00Z", "users": 2,
    }, "how both go together is not known"  # fmt: skip
    assert kept(scene, found).of(ALICE.listed).keys() == {"credential_report_time", "password_enabled", "mfa_active"}
    (line,) = [line for line in lines() if line["message"].startswith("Posture is missing")]
    assert (line["level"], line["section"], line["error_type"]) == ("WARNING", "authorization", section["error_type"])


def test_half_of_the_details_is_none(scene: Scene) -> None:
    """A user of the first pages whose group was on a later one would look harmless."""
    found = read(scene, FakeIam(sizes=(1,), page={1: "ServiceFailure"}))
    assert kept(scene, found).authorization == {}


@pytest.mark.parametrize("error", ["AccessDenied", "Throttling", "ServiceFailure"])
def test_without_the_report_there_are_the_details(scene: Scene, error: str) -> None:
    iam = FakeIam(get=error)

    found = read(scene, iam)

    assert found["sections"]["credential_report"]["state"] == "MISSING"
    assert found["sections"]["authorization"]["state"] == "CURRENT"
    assert iam.now == 0, "what is refused is not waited for"
    assert "matched" not in found["sections"]["credential_report"]
    assert kept(scene, found).of(ALICE.listed).keys() == {"groups", "attached_policies", "inline_policies", "admin_via"}


def test_a_report_that_cannot_be_read_is_missing_and_says_why(scene: Scene) -> None:
    iam = FakeIam(style=Style(order=tuple(range(21))))

    section = read(scene, iam)["sections"]["credential_report"]

    assert section == {
        "state": "MISSING",
        "error_type": "MalformedReport",
        "error_message": "the credential report lacks the columns cert_2_last_rotated",
    }


def test_details_without_what_iam_always_gives_are_missing(scene: Scene) -> None:
    iam = FakeIam()
    del iam.pages[0]["UserDetailList"][0]["UserId"]
    section = read(scene, iam)["sections"]["authorization"]
    assert (section["state"], section["error_type"], section["error_message"]) == ("MISSING", "KeyError", "'UserId'")


def test_a_marker_that_does_not_advance_ends_the_details(scene: Scene) -> None:
    iam = FakeIam(MANY, sizes=(1,))
    iam.pages[1]["Marker"] = "m1"
    section = read(scene, iam)["sections"]["authorization"]
    assert (section["state"], section["error_type"]) == ("MISSING", "ValueError")


def test_details_that_take_too_long_leave_the_report_its_time(scene: Scene) -> None:
    iam = FakeIam(MANY, sizes=(1,), seconds_a_call=4)

    found = read(scene, iam, seconds=60)

    assert found["sections"]["authorization"]["error_type"] == "OutOfTime"
    assert found["sections"]["credential_report"]["state"] == "CURRENT"
    assert iam.now <= 60


def test_a_long_message_is_cut(scene: Scene) -> None:
    with mock.patch.object(FakeIam, "get_credential_report", side_effect=ValueError("x" * 5000)):
        found = read(scene, FakeIam())
    assert len(found["sections"]["credential_report"]["error_message"]) == 1000


# Nothing at all


@pytest.mark.parametrize(
    ("report_error", "details_error", "raised"),
    [
        ("AccessDenied", "AccessDeniedException", AccessDenied),
        ("Throttling", "Throttling", Throttled),
        ("AccessDenied", "Throttling", PostureUnavailable),
        ("ServiceFailure", "ServiceFailure", PostureUnavailable),
        ("lost", "lost", PostureUnavailable),
    ],
)
def test_where_nothing_can_be_had_the_function_fails_so_that_its_alarm_rings(
    scene: Scene, report_error: str, details_error: str, raised: type[Exception]
) -> None:
    iam = FakeIam(generate=report_error, get=report_error, page={0: details_error})
    with scene.untouched(), pytest.raises(raised):
        read(scene, iam)


@pytest.mark.parametrize("wanted", [Wanted(report=False), Wanted(details=False)], ids=["details", "report"])
def test_the_same_where_only_one_is_wanted(scene: Scene, wanted: Wanted) -> None:
    with pytest.raises(AccessDenied):
        read(scene, FakeIam(get="AccessDenied", page={0: "AccessDenied"}), wanted)


# Off means off


def test_a_report_that_is_switched_off_is_not_asked_for(scene: Scene) -> None:
    iam = FakeIam()

    found = read(scene, iam, Wanted(report=False))

    assert iam.calls == ["GetAccountAuthorizationDetails"]
    assert found["sections"]["credential_report"] == {"state": "OFF"}
    assert (found["root"], kept(scene, found).report) == (None, {})


def test_details_that_are_switched_off_are_not_asked_for(scene: Scene) -> None:
    iam = FakeIam()

    found = read(scene, iam, Wanted(details=False))

    assert iam.calls == ["GenerateCredentialReport", "GetCredentialReport"]
    assert found["sections"]["authorization"] == {"state": "OFF"}
    assert "matched" not in found["sections"]["credential_report"]
    assert kept(scene, found).authorization == {}


def test_only_the_tags_that_are_named_are_kept(scene: Scene) -> None:
    alice = User("alice", "AIDAALICE", CREATED, tags=(("mail", "a@b.c"), ("team", "ops")))
    found = read(scene, FakeIam(Account((alice,), (alice,))), Wanted(tags=frozenset({"team", "cost"})))
    assert kept(scene, found).of(alice.listed)["tags"] == {"team": "ops"}


# Late, and again


def test_a_retry_keeps_the_same_once(scene: Scene) -> None:
    first = read(scene, FakeIam())
    with scene.untouched():
        assert read(scene, FakeIam()) == first


def test_a_late_call_changes_nothing_that_another_one_has_kept(scene: Scene) -> None:
    found = read(scene, FakeIam())
    before = scene.everything()

    late = read(scene, FakeIam(Account((BOB,), (BOB,))))

    assert late["id"] != found["id"]
    assert [item for item in scene.everything() if item in before] == before
    assert kept(scene, found).of(ALICE.listed)["mfa_active"] is True


def test_an_account_without_users_keeps_nothing(scene: Scene) -> None:
    with scene.untouched():
        found = read(scene, FakeIam(Account((), ())))
    assert (found["id"], found["chunks"], found["root"]["mfa_active"]) == (None, 0, True)
    assert found["sections"]["authorization"]["users"] == 0


# As Lambda calls it


@pytest.fixture
def iam_of_the_function() -> Iterator[FakeIam]:
    """Return the IAM that the function's client is."""
    iam = FakeIam()
    with mock.patch("functions.read_posture.handler.clients.brisk_iam", return_value=iam, cache_clear=lambda: None):
        yield iam


@pytest.mark.usefixtures("configured", "scene")
def test_the_handler_reads_what_its_environment_says(
    iam_of_the_function: FakeIam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIAL_REPORT_ENABLED", "false")
    monkeypatch.setenv("RECORDED_TAGS", "[]")

    found = handler({"run": run_event()}, Context())  # type: ignore[arg-type]

    assert iam_of_the_function.calls == ["GetAccountAuthorizationDetails"]
    assert found["sections"]["authorization"]["users"] == 2


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("name", "value"), [("CREDENTIAL_REPORT_ENABLED", "yes"), ("RECORDED_TAGS", "team"), ("RECORDED_TAGS", "[1]")]
)
def test_a_variable_that_cannot_be_read_is_named(
    dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    from functions.shared.errors import InvalidConfiguration

    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidConfiguration, match=f"{name} is '"):
        handler({"run": run_event()}, Context())  # type: ignore[arg-type]


@pytest.mark.parametrize(("iam", "hours"), [(FakeIam(), 1.0), (FakeIam(get="AccessDenied"), None)])
def test_the_log_tells_how_old_the_report_is(scene: Scene, iam: FakeIam, hours: float | None) -> None:
    """A dashboard cannot reckon with the time in ``sections``."""
    with captured_logs() as lines:
        read(scene, iam)

    assert lines()[-1].get("credential_report_age_hours") == hours


@pytest.mark.usefixtures("configured", "iam_of_the_function")
def test_a_log_names_no_user(scene: Scene) -> None:
    with captured_logs() as lines:
        handler({"run": run_event()}, Context())  # type: ignore[arg-type]
    assert [line["message"] for line in lines()] == ["Posture read"]
    assert "alice" not in str(lines())
