"""ListUsers: one page of the account's IAM users, cut into batches, small enough for the state machine."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from functions.shared import access, configuration, timestamps
from functions.shared.errors import MarkerNotAdvancing, error_code
from functions.shared.model import Batch, Cursor, Page, Scan
from functions.shared.run import Run, RunEvent
from functions.shared.step import logger, step
from functions.table.manifest import spans_too_long
from functions.table.record import user_of

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient
    from types_boto3_iam.type_defs import ListUsersResponseTypeDef

PAGE_BYTES = 160 * 1024
"""The most a page may take of the 256 KiB that a state may carry; the rest is for the scan, the cursor, the writes and,
after failures, the causes of an error and of that of ReadPosture, of up to 32 KiB each."""

# What IAM answers to a Marker it does not (any longer) know.
_MARKER_REFUSED_CODES = frozenset({"ValidationError", "InvalidInput", "InvalidMarker", "InvalidPaginationToken"})


class Event(TypedDict):
    """What the state ListUsers sends."""

    run: RunEvent
    scan: Scan
    cursor: Cursor


@step("ListUsers")
def handler(event: Event, context: LambdaContext) -> Page:
    """Handle one invocation by the state machine."""
    return list_users(
        event["cursor"],
        iam=access.iam_of(Run.of(event), patient=True),
        page_size=configuration.page_size(),
        batch_size=configuration.batch_size(),
        span_limit_seconds=configuration.scan_timeout_seconds(),
    )


def list_users(
    cursor: Cursor,
    *,
    iam: "IAMClient",
    page_size: int,
    batch_size: int,
    span_limit_seconds: int,
    page_bytes: int = PAGE_BYTES,
) -> Page:
    """Return the page at the cursor, or the first page again where the listing cannot go on from there.

    IAM may return fewer users than asked for, or none, and say that there are more: only the marker counts
    (https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListUsers.html).

    Parameters
    ----------
    page_size, batch_size
        Users to ask for, and users of a batch.
    span_limit_seconds
        The longest time that a listing may span. A run that is redriven days later would record today's users beside
        those of then; so it lists all of them again.
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
    if marker is not None and spans_too_long(cursor["listed_from"], timestamps.now(), span_limit_seconds):
        logger.warning("The listing has become too old; it starts again", listed_from=cursor["listed_from"])
        marker, restarted = None, True
    max_items = page_size
    while True:
        listed_from = _now(cursor)
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
        # By name: a page that names a user twice must not make one write of the same key twice, which DynamoDB refuses.
        users = list({user["UserName"]: user_of(user) for user in response["Users"]}.values())
        page = Page(
            batches=[Batch(users=users[start : start + batch_size]) for start in range(0, len(users), batch_size)],
            count=len(users),
            next_marker=next_marker,
            restarted=restarted,
            listed_from=timestamps.to_milliseconds(listed_from),
            listed_until=timestamps.to_milliseconds(max(timestamps.now(), listed_from)),
        )
        size = len(json.dumps(page))
        if size <= page_bytes or page["count"] <= 1:
            logger.info("Page of users listed", page=cursor["page"] + 1, users=page["count"], bytes=size)
            return page
        max_items = min(max_items - 1, max(1, page["count"] * page_bytes * 9 // (size * 10)))
        logger.info("Page too large, listing it again", bytes=size, bytes_allowed=page_bytes, max_items=max_items)


def _now(cursor: Cursor) -> datetime:
    """Return the time, which does not go back within a listing, though each page may be listed by another clock.

    A record must not look as if it had been listed before its scan began to list.
    """
    before = cursor["listed_until"]
    return timestamps.now() if before is None else max(timestamps.now(), timestamps.parse(before))


def _call(iam: "IAMClient", marker: str | None, max_items: int) -> "ListUsersResponseTypeDef":
    if marker is None:
        return iam.list_users(MaxItems=max_items)
    return iam.list_users(MaxItems=max_items, Marker=marker)
