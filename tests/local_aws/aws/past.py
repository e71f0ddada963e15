"""Gives the local AWS a past: calls made, and credentials used, at moments long gone.

AWS has no call that backdates a user, an access key or a sign-in, and nobody can sign in to the local console. So tests
tell the emulator what happened, and when. Many calls go in one request: 5,000 users with everything they have take no
longer than their CreateUser calls one by one.
"""

from __future__ import annotations

import json
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.local_aws.aws import ACCOUNT_ID
from tests.local_aws.aws.corrections import credential_report
from tests.local_aws.aws.corrections._ministack import core, service, wrap
from tests.local_aws.aws.corrections.iam import access_keys_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from tests.local_aws.aws.emulator import Emulator

ROUTE = "/_local/past"
"""Where the emulator takes orders, by POST, for one ``account``: ``calls``, ``root``, ``pass_seconds``,
``generation_seconds``."""

_moment: ContextVar[str | None] = ContextVar("moment", default=None)


class Call(NamedTuple):
    """Something that happened.

    Attributes
    ----------
    at
        When.
    action
        An operation of IAM, or one that no API has: ``SignIn`` with UserName, ``UseAccessKey`` with UserName,
        AccessKeyId, Region and ServiceName.
    parameters
        As the query protocol names them: ``{"UserName": "alice", "Tags.member.1.Key": "team"}``. Instead of AccessKeyId
        may stand KeyNumber, from 1, which counts the user's keys in the order of their creation.
    """

    at: datetime
    action: str
    parameters: Mapping[str, str]


def happened(aws: Emulator, calls: Iterable[Call], account: str = ACCOUNT_ID) -> None:
    """Let calls have been made in an account, in this order, each at its moment.

    Raises
    ------
    LocalAwsError
        If IAM refuses one; those before it stand.
    """
    made = [(f"{at:%Y-%m-%dT%H:%M:%SZ}", action, dict(given)) for at, action, given in calls]
    _order(aws, account, {"calls": made})


def set_root(aws: Emulator, account: str = ACCOUNT_ID, /, **columns: str) -> None:
    """Let the credential report, from its next generation on, say this of the account's root user."""
    _order(aws, account, {"root": columns})


def pass_time(aws: Emulator, seconds: float, account: str = ACCOUNT_ID) -> None:
    """Let the credential report, and its generation, become older; nothing else has a clock."""
    _order(aws, account, {"pass_seconds": seconds})


def set_generation_time(aws: Emulator, seconds: float, account: str = ACCOUNT_ID) -> None:
    """Let the generation of a credential report take so long from now on."""
    _order(aws, account, {"generation_seconds": seconds})


def _order(aws: Emulator, account: str, order: Mapping[str, Any]) -> None:
    aws.order("POST", ROUTE, json.dumps({"account": account, **order}), seconds=60)


# The emulator's side


def install() -> None:
    """Let MiniStack's IAM in this process believe that it is the moment of the call."""

    def at_the_moment(now: Any) -> Any:
        return lambda: _moment.get() or now()

    wrap(service("iam"), "_now", at_the_moment)


async def answer(method: str, body: bytes) -> tuple[int, bytes]:
    """Answer a request to :data:`ROUTE`."""
    if method != "POST":
        return 405, b"POST"
    try:
        order = json.loads(body)
        # Seen by this request only, which has a context of its own; as is the moment.
        core("responses").set_request_account_id(order["account"])
        for at, action, parameters in order.get("calls", ()):
            _moment.set(at)
            _happen(action, parameters)
        credential_report.set_root(order.get("root", {}))
        if "generation_seconds" in order:
            credential_report.set_generation_seconds(order["generation_seconds"])
        credential_report.pass_time(order.get("pass_seconds", 0))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the request, its sender is told
        return 400, f"{type(error).__name__}: {error}".encode()
    return 200, b"{}"


def _happen(action: str, given: Mapping[str, str]) -> None:
    iam, parameters = service("iam"), dict(given)
    if "KeyNumber" in parameters:
        key = access_keys_of(parameters["UserName"])[int(parameters.pop("KeyNumber")) - 1]
        parameters["AccessKeyId"] = key["AccessKeyId"]
    if action == "SignIn":
        iam._users[parameters["UserName"]]["PasswordLastUsed"] = iam._now()
    elif action == "UseAccessKey":
        use = {name: parameters[name] for name in ("Region", "ServiceName")}
        iam._access_keys[parameters["AccessKeyId"]]["LastUsed"] = {"LastUsedDate": iam._now(), **use}
    else:
        status, _, xml = iam._IAM_HANDLERS[action]({name: [value] for name, value in parameters.items()})
        if status != 200:
            message = re.search(rb"<Message>(.*)</Message>", xml)
            raise ValueError(f"{action} {parameters}: {message[1].decode() if message else status}")
