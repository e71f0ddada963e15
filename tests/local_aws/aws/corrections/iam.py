"""Corrections of IAM."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from tests.local_aws.aws.corrections._ministack import service, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS_PER_USER = 2
_MAX_ITEMS = 1000
_DEFAULT_ITEMS = 100
_MARKER_PREFIX = "after:"

# An index, because to look for one user's among the keys of 5,000 users takes milliseconds. It may name deleted keys.
_keys_of: dict[tuple[str, str], list[str]] = {}
# An index, because 5,000 users compared with each other are 12.5 million comparisons. It may name deleted users.
_names: dict[tuple[str, str], str] = {}


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
            limit = max_items(iam._p(request, "MaxItems"))
            after = decode_marker(iam._p(request, "Marker"))
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
            end = f"<IsTruncated>true</IsTruncated><Marker>{encode_marker(_sort_key(page[-1]))}</Marker>"
        return iam._xml(200, "ListUsersResponse", f"<ListUsersResult><Users>{members}</Users>{end}</ListUsersResult>")

    iam._IAM_HANDLERS["ListUsers"]
    iam._IAM_HANDLERS["ListUsers"] = handle


def user_fields() -> None:
    """Give a single user PasswordLastUsed, and escape what may hold markup.

    AWS returns PasswordLastUsed for a user whose password has been used since October 2014, and paths may hold any
    printable ASCII character (IAM API reference, User), as may the values of tags.

    MiniStack never returns PasswordLastUsed, and a path or tag with ``&`` or ``<`` makes its answer malformed XML. To
    go when it escapes them and has a way to say when a user signed in; here it is :mod:`tests.local_aws.aws.past`.
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
        tags = _tags(user)
        return f"{fields}<Tags>{tags}</Tags>" if tags else fields

    def escaped(list_tags: Any) -> Any:
        def handle(request: Any) -> Any:
            user = iam._users.get(iam._p(request, "UserName"))
            if user is None:
                return list_tags(request)
            result = (
                f"<ListUserTagsResult><Tags>{_tags(user)}</Tags><IsTruncated>false</IsTruncated></ListUserTagsResult>"
            )
            return iam._xml(200, "ListUserTagsResponse", result)

        return handle

    wrap(iam, "_user_xml", lambda _original: user_xml)
    iam._IAM_HANDLERS["ListUserTags"] = escaped(iam._IAM_HANDLERS["ListUserTags"])


def user_names() -> None:
    """Refuse a user whose name differs from an existing one only in case.

    AWS: "Names are not distinguished by case" (IAM user guide, IAM and AWS STS quotas; API reference, CreateUser).
    MiniStack creates both. To go when it refuses the second.
    """
    iam = service("iam")

    def refuse_twins(create: Any) -> Any:
        def handle(request: Any) -> Any:
            name = iam._p(request, "UserName")
            if _twin_of(name):
                return iam._error(409, "EntityAlreadyExists", f"User with name {name} already exists.")
            response = create(request)
            if response[0] == 200:
                _remember(name)
            return response

        return handle

    iam._IAM_HANDLERS["CreateUser"] = refuse_twins(iam._IAM_HANDLERS["CreateUser"])


def _twin_of(name: str) -> str:
    """Return the user whose name differs in case at the most, empty for none."""
    iam = service("iam")
    twin = _names.get((iam.get_account_id(), name.lower()), "")
    return twin if twin in iam._users else ""


def _remember(name: str) -> None:
    _names[service("iam").get_account_id(), name.lower()] = name


def update_user() -> None:
    """Let a user get another name or path.

    AWS: UpdateUser changes name and path, and with them the ARN; the user keeps the ID, the credentials, the groups and
    the policies. A name that another user has is refused with EntityAlreadyExists. (IAM API reference, UpdateUser.)

    MiniStack does not know the operation. To go when it does.
    """
    iam = service("iam")

    def handle(request: Any) -> Any:
        name, path = iam._p(request, "UserName"), iam._p(request, "NewPath")
        new = iam._p(request, "NewUserName") or name
        if name not in iam._users:
            return iam._error(404, "NoSuchEntity", f"The user with name {name} cannot be found.")
        if _twin_of(new) not in {"", name}:
            return iam._error(409, "EntityAlreadyExists", f"User with name {new} already exists.")
        user = iam._users.pop(name)
        user["UserName"], user["Path"] = new, path or user["Path"]
        user["Arn"] = f"{user['Arn'].split(':user/')[0]}:user{user['Path']}{new}"
        iam._users[new] = user
        _remember(new)
        for key in iam._access_keys.values():
            key["UserName"] = new if key["UserName"] == name else key["UserName"]
        for device in iam._mfa_devices.values():
            device["User"] = new if device.get("User") == name else device.get("User")
        for group in iam._groups.values():
            group["Users"] = [new if member == name else member for member in group["Users"]]
        if name in iam._login_profiles:
            iam._login_profiles[new] = {**iam._login_profiles.pop(name), "UserName": new}
        if name in iam._user_inline_policies:
            iam._user_inline_policies[new] = iam._user_inline_policies.pop(name)
        account = iam.get_account_id()
        if (account, name) in _keys_of:
            _keys_of[account, new] = _keys_of.pop((account, name))
        return iam._xml(200, "UpdateUserResponse", "")

    iam._IAM_HANDLERS["UpdateUser"] = handle


def access_keys() -> None:
    """Let a user have two access keys, and tell when one was last used.

    AWS refuses a third with LimitExceeded (IAM user guide, "IAM and AWS STS quotas"). GetAccessKeyLastUsed tells date,
    Region and service of the last use, or no date and ``N/A`` twice (IAM API reference, AccessKeyLastUsed).

    MiniStack makes any number of keys and says of each that it was never used. To go when it refuses a third key and
    has a way to say when a key was used; here it is :mod:`tests.local_aws.aws.past`.
    """
    iam = service("iam")

    def refuse_third(create: Any) -> Any:
        def handle(request: Any) -> Any:
            name = iam._p(request, "UserName")
            known = access_keys_of(name)
            if len(known) >= _KEYS_PER_USER:
                message = f"Cannot exceed quota for AccessKeysPerUser: {_KEYS_PER_USER}"
                return iam._error(409, "LimitExceeded", message)
            response = create(request)
            if made := re.search(rb"<AccessKeyId>(\w+)</AccessKeyId>", response[2]):
                ids = [*(key["AccessKeyId"] for key in known), made[1].decode()]
                _keys_of[iam.get_account_id(), name] = ids
            return response

        return handle

    def tell_use(last_used: Any) -> Any:
        def handle(request: Any) -> Any:
            key = iam._access_keys.get(iam._p(request, "AccessKeyId"))
            if key is None or "LastUsed" not in key:
                return last_used(request)
            used = "".join(f"<{name}>{value}</{name}>" for name, value in key["LastUsed"].items())
            result = f"<UserName>{key['UserName']}</UserName><AccessKeyLastUsed>{used}</AccessKeyLastUsed>"
            result = f"<GetAccessKeyLastUsedResult>{result}</GetAccessKeyLastUsedResult>"
            return iam._xml(200, "GetAccessKeyLastUsedResponse", result)

        return handle

    iam._IAM_HANDLERS["CreateAccessKey"] = refuse_third(iam._IAM_HANDLERS["CreateAccessKey"])
    iam._IAM_HANDLERS["GetAccessKeyLastUsed"] = tell_use(iam._IAM_HANDLERS["GetAccessKeyLastUsed"])


def access_keys_of(user: str) -> list[dict[str, Any]]:
    """Return the access keys of a user that :func:`access_keys` has seen made, in the order of their creation."""
    iam = service("iam")
    ids = _keys_of.get((iam.get_account_id(), user), [])
    return [iam._access_keys[key] for key in ids if key in iam._access_keys]


def max_items(text: str) -> int:
    """Return how many entries a page may have, at most.

    Raises
    ------
    ValueError
        If it is not a number from 1 to 1,000; with the message of AWS.
    """
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


def encode_marker(key: str) -> str:
    """Return a Marker that goes on after the entry with this key."""
    return base64.urlsafe_b64encode((_MARKER_PREFIX + key).encode()).decode()


def decode_marker(marker: str) -> str | None:
    """Return the key after which a Marker goes on, None without one.

    Raises
    ------
    ValueError
        If it is none that :func:`encode_marker` has made.
    """
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
    names = ("Path", "UserName", "UserId", "Arn", "CreateDate", "PasswordLastUsed")
    return "".join(f"<{name}>{escape(str(user[name]))}</{name}>" for name in names if name in user)


def _tags(user: Mapping[str, Any]) -> str:
    return "".join(
        f"<member><Key>{escape(tag['Key'])}</Key><Value>{escape(tag['Value'])}</Value></member>"
        for tag in user.get("Tags") or []
    )
