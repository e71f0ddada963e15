"""ListUsers."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.list_users.handler import PAGE_BYTES, Settings, list_users
from functions.shared.errors import MarkerNotAdvancing
from functions.shared.model import Cursor, Page, first_cursor

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
        settings=Settings(page_size, batch_size),
        **more,
    )


def names(page: Page) -> list[str]:
    return [user["user_name"] for batch in page["batches"] for user in batch["users"]]


def test_a_user_is_taken_as_iam_gives_it() -> None:
    used = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    page = call(FakeIam([aws_user("alice", PasswordLastUsed=used, Tags=[]), aws_user("bob", path="/ops/")]))

    assert page["batches"] == [
        {
            "users": [
                {
                    "user_name": "alice",
                    "user_id": aws_user("alice")["UserId"],
                    "arn": "arn:aws:iam::123456789012:user/alice",
                    "create_date": "2026-01-02T03:04:05Z",
                    "password_last_used": "2026-02-03T04:05:06Z",
                },
                {
                    "user_name": "bob",
                    "user_id": aws_user("bob")["UserId"],
                    "arn": "arn:aws:iam::123456789012:user/ops/bob",
                    "create_date": "2026-01-02T03:04:05Z",
                },
            ]
        }
    ]


def test_a_page_is_cut_into_batches_and_names_the_next() -> None:
    iam = FakeIam([aws_user(f"user-{number:03}") for number in range(25)])

    page = call(iam, page_size=20, batch_size=8)

    assert [len(batch["users"]) for batch in page["batches"]] == [8, 8, 4]
    assert page["count"] == 20
    assert page["next_marker"] == "user-019"
    assert iam.calls == [{"MaxItems": 20}]


def test_the_last_page_names_no_next() -> None:
    iam = FakeIam([aws_user(f"user-{number:03}") for number in range(25)])

    page = call(iam, Cursor(marker="user-019", page=1, users_scanned=20, records_written=20, errors=0, restarts=0))

    assert names(page) == [f"user-{number:03}" for number in range(20, 25)]
    assert page["next_marker"] is None
    assert iam.calls[0]["Marker"] == "user-019"


def test_an_empty_account_is_one_empty_page() -> None:
    assert call(FakeIam([])) == {"batches": [], "count": 0, "next_marker": None, "restarted": False}


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
    cursor, listed = first_cursor(), []

    for _ in range(len(users) + 1):
        page = call(iam, cursor, page_size, batch_size, page_bytes=page_bytes)
        assert len(json.dumps(page)) <= page_bytes
        assert all(1 <= len(batch["users"]) <= batch_size for batch in page["batches"])
        listed += names(page)
        cursor = Cursor(**{**cursor, "marker": page["next_marker"]})
        if cursor["marker"] is None:
            break

    assert listed == [user["UserName"] for user in users]


def test_an_expired_marker_starts_the_listing_again() -> None:
    iam = FakeIam([aws_user("alice"), aws_user("bob")])
    iam.refused_marker = "old"

    page = call(iam, Cursor(marker="old", page=3, users_scanned=9, records_written=9, errors=0, restarts=0))

    assert page["restarted"] is True
    assert names(page) == ["alice", "bob"]


def test_a_second_refused_marker_ends_the_scan() -> None:
    iam = FakeIam([aws_user("alice")])
    iam.refused_marker = "old"

    with pytest.raises(MarkerNotAdvancing, match="refused a marker of this scan again"):
        call(iam, Cursor(marker="old", page=3, users_scanned=9, records_written=9, errors=0, restarts=1))


def test_a_marker_that_does_not_advance_ends_the_scan() -> None:
    class Stuck(FakeIam):
        def list_users(self, **arguments: Any) -> dict[str, Any]:
            return {"Users": [], "IsTruncated": True, "Marker": "same"}

    with pytest.raises(MarkerNotAdvancing, match="page 2 with the marker it was asked for"):
        call(Stuck([]), Cursor(marker="same", page=1, users_scanned=1, records_written=1, errors=0, restarts=0))


def test_other_errors_pass() -> None:
    class Denied(FakeIam):
        def list_users(self, **arguments: Any) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListUsers")

    with pytest.raises(ClientError, match="AccessDenied"):
        call(Denied([]), Cursor(marker="m", page=1, users_scanned=1, records_written=1, errors=0, restarts=0))
