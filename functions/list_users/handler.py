"""ListUsers: one page of the account's IAM users, cut into batches, small enough for the state machine."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from functions.shared import clients, configuration, timestamps
from functions.shared.errors import MarkerNotAdvancing, error_code
from functions.shared.model import Batch, Cursor, Page, Scan, User
from functions.shared.step import logger, step

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient
    from types_boto3_iam.type_defs import ListUsersResponseTypeDef, UserTypeDef

PAGE_BYTES = 192 * 1024
"""The most a page may take of the 256 KiB that a state may carry; the rest is for the scan, the cursor, the writes
and, after a failure, an error's cause of up to 32 KiB."""

# What IAM answers to a Marker it does not (any longer) know.
_MARKER_REFUSED_CODES = frozenset({"ValidationError", "InvalidInput", "InvalidMarker", "InvalidPaginationToken"})


class Event(TypedDict):
    """What the state ListUsers sends."""

    scan: Scan
    cursor: Cursor


@dataclass(frozen=True)
class Settings:
    """The function's configuration: users per page, users per batch."""

    page_size: int
    batch_size: int

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read PAGE_SIZE and BATCH_SIZE."""
        return cls(configuration.page_size(), configuration.batch_size())


@step("ListUsers")
def handler(event: Event, context: LambdaContext) -> Page:
    """Handle one invocation by the state machine."""
    return list_users(event["cursor"], iam=clients.iam(), settings=Settings.from_environment())


def list_users(cursor: Cursor, *, iam: "IAMClient", settings: Settings, page_bytes: int = PAGE_BYTES) -> Page:
    """Return the page at the cursor.

    IAM may return fewer users than asked for, or none, and say that there are more: only the marker counts
    (https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListUsers.html).

    Parameters
    ----------
    page_bytes
        The page's size as JSON that must not be passed. A larger page is listed again from the same marker with fewer
        users, because a Marker is opaque and a page cannot be cut in the middle.

    Raises
    ------
    MarkerNotAdvancing
        IAM gave the marker it was asked for again, or refused a second marker of this attempt.
    AccessDenied, Throttled
        IAM refused the call, or throttled it for longer than the client retries.
    """
    marker = cursor["marker"]
    restarted = False
    max_items = settings.page_size
    while True:
        try:
            response = _call(iam, marker, max_items)
        except ClientError as error:
            if marker is None or error_code(error) not in _MARKER_REFUSED_CODES:
                raise
            if cursor["restarts"] > 0:
                raise MarkerNotAdvancing(f"IAM refused a marker of this scan again: {error}") from error
            # The marker of an old checkpoint. Writing records again is harmless, leaving users out is not.
            logger.warning("IAM refused the marker; the listing starts again", error_message=str(error))
            marker, restarted = None, True
            continue

        next_marker = response["Marker"] if response["IsTruncated"] else None
        if next_marker is not None and next_marker == marker:
            raise MarkerNotAdvancing(
                f"IAM answered page {cursor['page'] + 1} with the marker it was asked for; the scan cannot go on"
            )
        page = _page([_user(user) for user in response["Users"]], next_marker, settings.batch_size, restarted)
        size = len(json.dumps(page))
        if size <= page_bytes or page["count"] <= 1:
            logger.info("Page of users listed", page=cursor["page"] + 1, users=page["count"], bytes=size)
            return page
        max_items = min(max_items - 1, max(1, page["count"] * page_bytes * 9 // (size * 10)))
        logger.info("Page too large, listing it again", bytes=size, bytes_allowed=page_bytes, max_items=max_items)


def _call(iam: "IAMClient", marker: str | None, max_items: int) -> "ListUsersResponseTypeDef":
    if marker is None:
        return iam.list_users(MaxItems=max_items)
    return iam.list_users(MaxItems=max_items, Marker=marker)


def _user(user: "UserTypeDef") -> User:
    record = User(
        user_name=user["UserName"],
        user_id=user["UserId"],
        arn=user["Arn"],
        create_date=timestamps.to_seconds(user["CreateDate"]),
    )
    if "PasswordLastUsed" in user:
        record["password_last_used"] = timestamps.to_seconds(user["PasswordLastUsed"])
    return record


def _page(users: list[User], next_marker: str | None, batch_size: int, restarted: bool) -> Page:
    batches = [Batch(users=users[start : start + batch_size]) for start in range(0, len(users), batch_size)]
    return Page(batches=batches, count=len(users), next_marker=next_marker, restarted=restarted)
