"""Corrections of IAM."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from tests.local_aws.aws.corrections._ministack import service, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping

PASSWORD_LAST_USED_TAG = "emulator:password-last-used"
"""The tag by which a test says, through the plain API, when a user last signed in (ISO 8601)."""

_MAX_ITEMS = 1000
_DEFAULT_ITEMS = 100
_MARKER_PREFIX = "after:"


def list_users() -> None:
    """Make ListUsers return pages.

    AWS returns at most MaxItems users (1 to 1,000, 100 unless told), and with IsTruncated a Marker to go on from; it
    omits the users' tags and permissions boundaries (IAM API reference, ListUsers). What goes on after a Marker is not
    documented to be a snapshot; here it is every user that sorts after the last one returned, so users who come and go
    between two pages neither shift nor repeat others. The reference names no error for a bad Marker or MaxItems in
    particular: the common error for input outside a parameter's constraints is ValidationError.

    MiniStack ignores MaxItems and Marker, returns everything, with tags. To go when it pages.
    """
    iam = service("iam")

    def handle(request: Any) -> Any:
        try:
            limit = _max_items(iam._p(request, "MaxItems"))
            after = _decode_marker(iam._p(request, "Marker"))
        except ValueError as error:
            return iam._error(400, "ValidationError", str(error))
        prefix = iam._p(request, "PathPrefix") or "/"
        users = [user for user in list(iam._users.values()) if user["Path"].startswith(prefix)]
        users.sort(key=_sort_key)
        if after is not None:
            users = [user for user in users if _sort_key(user) > after]
        page = users[:limit]
        members = "".join(f"<member>{_common_fields(user)}</member>" for user in page)
        end = "<IsTruncated>false</IsTruncated>"
        if len(users) > limit:
            end = f"<IsTruncated>true</IsTruncated><Marker>{_encode_marker(_sort_key(page[-1]))}</Marker>"
        return iam._xml(200, "ListUsersResponse", f"<ListUsersResult><Users>{members}</Users>{end}</ListUsersResult>")

    iam._IAM_HANDLERS["ListUsers"]
    iam._IAM_HANDLERS["ListUsers"] = handle


def user_fields() -> None:
    """Give a single user PasswordLastUsed, and escape what may hold markup.

    AWS returns PasswordLastUsed for a user whose password has been used since October 2014, and paths may hold any
    printable ASCII character (IAM API reference, User).

    MiniStack never returns PasswordLastUsed, and a path or tag with ``&`` or ``<`` makes its answer malformed XML. To
    go when it escapes them and has a way to say when a user signed in.
    """
    iam = service("iam")

    def user_xml(name: str, boundary: bool = True) -> str:
        user = iam._users[name]
        fields = _common_fields(user)
        if boundary and user.get("PermissionsBoundary"):
            fields += (
                "<PermissionsBoundary><PermissionsBoundaryType>PermissionsBoundaryPolicy</PermissionsBoundaryType>"
                f"<PermissionsBoundaryArn>{escape(user['PermissionsBoundary'])}</PermissionsBoundaryArn>"
                "</PermissionsBoundary>"
            )
        tags = "".join(
            f"<member><Key>{escape(tag['Key'])}</Key><Value>{escape(tag['Value'])}</Value></member>"
            for tag in user.get("Tags") or []
        )
        return f"{fields}<Tags>{tags}</Tags>" if tags else fields

    wrap(iam, "_user_xml", lambda _original: user_xml)


def user_names() -> None:
    """Refuse a user whose name differs from an existing one only in case.

    AWS: "Names are not distinguished by case" (IAM user guide, IAM and AWS STS quotas; API reference, CreateUser).
    MiniStack creates both. To go when it refuses the second.
    """
    iam = service("iam")
    # An index, because 5,000 users compared with each other are 12.5 million comparisons. It may name deleted users.
    known: dict[tuple[str, str], str] = {}

    def refuse_twins(create: Any) -> Any:
        def handle(request: Any) -> Any:
            name = iam._p(request, "UserName")
            key = (iam.get_account_id(), name.lower())
            if key in known and known[key] in iam._users:
                return iam._error(409, "EntityAlreadyExists", f"User with name {name} already exists.")
            response = create(request)
            if response[0] == 200:
                known[key] = name
            return response

        return handle

    iam._IAM_HANDLERS["CreateUser"] = refuse_twins(iam._IAM_HANDLERS["CreateUser"])


def _max_items(text: str) -> int:
    if not text:
        return _DEFAULT_ITEMS
    number = int(text) if text.lstrip("-").isdecimal() else 0
    constraint = f"greater than or equal to {1}" if number < 1 else f"less than or equal to {_MAX_ITEMS}"
    if not 1 <= number <= _MAX_ITEMS:
        raise ValueError(
            f"1 validation error detected: Value '{text}' at 'maxItems' failed to satisfy constraint: "
            f"Member must have value {constraint}"
        )
    return number


def _sort_key(user: Mapping[str, Any]) -> str:
    return str(user["UserName"]).lower()


def _encode_marker(key: str) -> str:
    return base64.urlsafe_b64encode((_MARKER_PREFIX + key).encode()).decode()


def _decode_marker(marker: str) -> str | None:
    if not marker:
        return None
    try:
        text = base64.b64decode(marker, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        text = ""
    if not text.startswith(_MARKER_PREFIX):
        raise ValueError(f"Invalid Marker: {marker}")
    return text.removeprefix(_MARKER_PREFIX)


def _common_fields(user: Mapping[str, Any]) -> str:
    """Return what ListUsers and GetUser both tell of a user."""
    fields = {name: user[name] for name in ("Path", "UserName", "UserId", "Arn", "CreateDate")}
    for tag in user.get("Tags") or []:
        if tag["Key"] == PASSWORD_LAST_USED_TAG:
            fields["PasswordLastUsed"] = tag["Value"]
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in fields.items())
