"""ListUsers."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.list_users.handler import PAGE_BYTES, list_users
from functions.shared import timestamps
from functions.shared.errors import MarkerNotAdvancing
from functions.shared.model import Cursor, Page, first_cursor
from functions.table.record import user_of
from tests.support.logs import captured_logs
from tests.support.scene import SPAN_LIMIT, STARTED, Clock, cursor

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def aws_user(name: str, path: str = "/", **more: Any) -> dict[str, Any]:
    return {
        "UserName": name,
        "Path": path,
        "UserId": "AIDA" + name[:8].upper().rjust(17, "0"),
        "Arn": f"arn:aws:iam::123456789012:user{path}{name}",
        "CreateDate": CREATED,
        **more,
    }


@pytest.fixture(autouse=True)
def standing_clock(clock: Clock) -> None:
    """Have the listing go on within its span, unless a test lets time pass."""


class FakeIam:
    """IAM's ListUsers over a list: the marker is the last name, and a page may be cut short."""

    def __init__(self, users: list[dict[str, Any]], short_page: int | None = None) -> None:
        self.users = users
        self.short_page = short_page
        self.calls: list[dict[str, Any]] = []
        self.refused_marker: str | None = None

    def list_users(self, **arguments: Any) -> dict[str, Any]:
        self.calls.append(arguments)
        marker = arguments.get("Marker")
        if marker is not None and marker == self.refused_marker:
            raise ClientError({"Error": {"Code": "ValidationError", "Message": "Invalid Marker."}}, "ListUsers")
        rest = [user for user in self.users if marker is None or user["UserName"] > marker]
        page = rest[: min(arguments["MaxItems"], self.short_page or 1000)]
        if len(page) < len(rest):
            return {"Users": page, "IsTruncated": True, "Marker": page[-1]["UserName"] if page else "none"}
        return {"Users": page, "IsTruncated": False}


def call(iam: FakeIam, cursor: Cursor | None = None, page_size: int = 500, batch_size: int = 100, **more: Any) -> Page:
    return list_users(
        cursor or first_cursor(),
        iam=iam,  # type: ignore[arg-type]
        page_size=page_size,
        batch_size=batch_size,
        span_limit_seconds=SPAN_LIMIT,
        **more,
    )


def names(page: Page) -> list[str]:
    return [user["user_name"] for batch in page["batches"] for user in batch["users"]]


def test_a_page_holds_its_users_as_records_have_them() -> None:
    page = call(FakeIam([aws_user("alice", Tags=[]), aws_user("bob", path="/ops/")]))

    assert page["batches"] == [{"users": [user_of(aws_user("alice")), user_of(aws_user("bob", path="/ops/"))]}]


def test_a_page_is_cut_into_batches_and_names_the_next() -> None:
    iam = FakeIam([aws_user(f"user-{number:03}") for number in range(25)])

    page = call(iam, page_size=20, batch_size=8)

    assert [len(batch["users"]) for batch in page["batches"]] == [8, 8, 4]
    assert page["count"] == 20
    assert page["next_marker"] == "user-019"
    assert iam.calls == [{"MaxItems": 20}]


def test_the_last_page_names_no_next() -> None:
    iam = FakeIam([aws_user(f"user-{number:03}") for number in range(25)])

    page = call(iam, cursor(marker="user-019"))

    assert names(page) == [f"user-{number:03}" for number in range(20, 25)]
    assert page["next_marker"] is None
    assert iam.calls[0]["Marker"] == "user-019"


def test_an_empty_account_is_one_empty_page() -> None:
    assert call(FakeIam([])) == {
        "batches": [],
        "count": 0,
        "next_marker": None,
        "restarted": False,
        "listed_from": STARTED,
        "listed_until": STARTED,
    }


def test_a_short_page_is_followed_by_its_marker() -> None:
    """IAM may return fewer users than asked for although there are more."""
    iam = FakeIam([aws_user(f"user-{number:03}") for number in range(10)], short_page=3)

    page = call(iam)

    assert page["count"] == 3
    assert page["next_marker"] == "user-002"


def test_a_page_of_the_worst_users_is_made_to_fit() -> None:
    path = "/" + '\\"' * 255 + "/"
    iam = FakeIam([aws_user(f"{number:04}".rjust(64, "n"), path) for number in range(1000)])

    page = call(iam, page_size=1000)

    assert len(json.dumps(page)) <= PAGE_BYTES
    assert page["count"] > 50, "not smaller than it must be"
    assert page["next_marker"] == names(page)[-1]


@settings(max_examples=30, deadline=None)
@given(
    paths=st.lists(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=500), max_size=60),
    page_size=st.integers(1, 1000),
    batch_size=st.integers(1, 500),
    page_bytes=st.integers(2000, 60_000),
    short_page=st.none() | st.integers(1, 20),
)
def test_property_every_user_is_listed_once_in_pages_that_fit(
    paths: list[str], page_size: int, batch_size: int, page_bytes: int, short_page: int | None
) -> None:
    users = [aws_user(f"user-{number:04}", f"/{path}/") for number, path in enumerate(paths)]
    iam = FakeIam(users, short_page)
    at, listed = first_cursor(), []

    for _ in range(len(users) + 1):
        page = call(iam, at, page_size, batch_size, page_bytes=page_bytes)
        assert len(json.dumps(page)) <= page_bytes
        assert all(1 <= len(batch["users"]) <= batch_size for batch in page["batches"])
        listed += names(page)
        at = cursor(marker=page["next_marker"])
        if at["marker"] is None:
            break

    assert listed == [user["UserName"] for user in users]


def test_an_expired_marker_starts_the_listing_again() -> None:
    iam = FakeIam([aws_user("alice"), aws_user("bob")])
    iam.refused_marker = "old"

    page = call(iam, cursor(marker="old"))

    assert page["restarted"] is True
    assert names(page) == ["alice", "bob"]


def test_an_error_that_only_looks_like_a_refused_marker_ends_the_scan() -> None:
    """No marker was sent with the first page."""

    class Refusing(FakeIam):
        def list_users(self, **arguments: Any) -> dict[str, Any]:
            assert not self.calls, "to ask again would go on for ever"
            self.calls.append(arguments)
            raise ClientError({"Error": {"Code": "ValidationError", "Message": "MaxItems"}}, "ListUsers")

    with pytest.raises(ClientError, match="MaxItems"):
        call(Refusing([]))


def test_a_second_refused_marker_ends_the_scan() -> None:
    iam = FakeIam([aws_user("alice")])
    iam.refused_marker = "old"

    with pytest.raises(MarkerNotAdvancing, match="refused a marker of this scan again"):
        call(iam, cursor(marker="old", restarts=1))


def test_a_marker_that_does_not_advance_ends_the_scan() -> None:
    class Stuck(FakeIam):
        def list_users(self, **arguments: Any) -> dict[str, Any]:
            return {"Users": [], "IsTruncated": True, "Marker": "same"}

    with pytest.raises(MarkerNotAdvancing, match="page 2 with the marker it was asked for"):
        call(Stuck([]), cursor(marker="same"))


def test_other_errors_pass() -> None:
    class Denied(FakeIam):
        def list_users(self, **arguments: Any) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListUsers")

    with pytest.raises(ClientError, match="AccessDenied"):
        call(Denied([]), cursor(marker="m"))


# When it was listed


def test_a_page_tells_from_when_until_when_it_was_listed(clock: Clock) -> None:
    class Slow(FakeIam):
        def list_users(self, **arguments: Any) -> dict[str, Any]:
            clock.wait(2.5)
            return super().list_users(**arguments)

    page = call(Slow([aws_user("alice")]))

    assert (page["listed_from"], page["listed_until"]) == (STARTED, "2026-01-31T10:00:02.750Z")


def test_a_page_is_not_listed_before_the_page_before_it(clock: Clock) -> None:
    """The clock of another machine is behind: its records looked like those of a listing before the scan's own.

    They were not counted, so the index seemed to be behind for ten minutes, and for so long no change was published.
    """
    earlier = timestamps.to_milliseconds(timestamps.now() + timedelta(milliseconds=400))

    page = call(FakeIam([aws_user("alice"), aws_user("bob")]), cursor(marker="alice", listed_from=earlier))

    assert (page["listed_from"], page["listed_until"]) == (earlier, earlier)


@pytest.mark.parametrize(
    ("waited", "restarted"),
    [
        pytest.param(timedelta(seconds=SPAN_LIMIT), False, id="within the span"),
        pytest.param(timedelta(seconds=SPAN_LIMIT, milliseconds=1), True, id="a moment too long"),
        pytest.param(timedelta(days=13), True, id="redriven late"),
    ],
)
def test_row_8_a_listing_that_has_become_too_old_starts_again(clock: Clock, waited: timedelta, restarted: bool) -> None:
    """Row 8: users of two moments are a picture of neither."""
    iam = FakeIam([aws_user("alice"), aws_user("bob")])
    clock.wait(waited.total_seconds())

    page = call(iam, cursor(marker="alice", restarts=3))

    assert page["restarted"] is restarted
    assert names(page) == (["alice", "bob"] if restarted else ["bob"])


def test_row_8_and_says_so_in_its_log(clock: Clock) -> None:
    """Row 8: it takes as long as a new scan, and an operator wonders why."""
    clock.wait(SPAN_LIMIT + 1)

    with captured_logs() as lines:
        call(FakeIam([]), cursor(marker="alice"))

    assert [line["level"] for line in lines() if line["message"].startswith("The listing has become too old")] == [
        "WARNING"
    ]


def test_the_first_page_is_never_too_old(clock: Clock) -> None:
    """A redriven run may have to wait for days before it lists at all."""
    clock.wait(13 * 86_400)

    assert call(FakeIam([aws_user("alice")]))["restarted"] is False


def test_row_13_a_page_that_names_a_user_twice_has_him_once() -> None:
    """Row 13: DynamoDB refuses a whole batch that names a key twice."""

    class Repeating(FakeIam):
        def list_users(self, **arguments: Any) -> dict[str, Any]:
            return {
                "Users": [aws_user("alice"), aws_user("bob"), aws_user("alice", path="/new/")],
                "IsTruncated": False,
            }

    page = call(Repeating([]), batch_size=1)

    assert (page["count"], names(page)) == (2, ["alice", "bob"])
    assert page["batches"][0]["users"][0]["arn"].endswith("user/new/alice"), "as IAM said last"
