"""Corrections of taking a role, in this account or another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.local_aws.aws.corrections import organizations
from tests.local_aws.aws.corrections._ministack import core, service, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

_CHAINED_SECONDS = 3600
_DEFAULT_SECONDS = 3600
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


def principal_arn() -> None:
    """Give a condition on aws:PrincipalArn the ARN of the role, not of its session.

    AWS: "For IAM roles, the request context returns the ARN of the role, not the ARN of the user that assumed the role"
    (IAM user guide, AWS global condition context keys, aws:PrincipalArn): with its path, whatever the session's name.

    MiniStack gives the session's. To go when a trust policy with such a condition lets the role in.
    """

    def of_the_role(resolve: Any) -> Any:
        def resolve_key(key: str, context: Any) -> Any:
            if key.lower() == "aws:principalarn" and ":assumed-role/" in context.principal_arn:
                return _role_of(context.principal_arn)
            return resolve(key, context)

        return resolve_key

    wrap(core("iam_evaluator"), "_resolve_condition_key", of_the_role)


def sessions() -> None:
    r"""Refuse a session whose name or duration AWS does not allow.

    AWS: a RoleSessionName has 2 to 64 characters of ``[\w+=,.@-]``; DurationSeconds, 3,600 unless told, are at most
    the role's MaxSessionDuration, and at most 3,600 where a role is taken by another role's session, which is called
    role chaining (STS API reference, AssumeRole). Anything else is a ValidationError. (That they are at least 900 is
    what boto3 checks itself.)

    MiniStack takes any name and any duration. To go when it refuses both.
    """

    def refuse(parameters: dict[str, str], caller: str) -> str | None:
        name = parameters.get("RoleSessionName", "")
        if not _SESSION_NAME.fullmatch(name):
            return (
                f"1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [\\w+=,.@-]*"
            )
        seconds = int(parameters.get("DurationSeconds", _DEFAULT_SECONDS))
        if seconds > _CHAINED_SECONDS and caller in service("sts")._sessions:
            return "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        role = _role(parameters.get("RoleArn", "")) or {}
        if seconds > int(role.get("MaxSessionDuration") or _DEFAULT_SECONDS):
            return "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        return None

    wrap(service("sts"), "handle_request", _refusing(400, "ValidationError", refuse))


def closed_accounts() -> None:
    """Let nobody into an account that is suspended, or about to be closed, or closed.

    AWS: nobody can use such an account (Organizations user guide, "Monitor the state of your AWS accounts"). With which
    error AssumeRole is refused is not documented: here it is the one of a role that is not there, since AWS tells
    nobody which roles another account has.

    MiniStack does not ask for the state. To go when it does.
    """

    def refuse(parameters: dict[str, str], _caller: str) -> str | None:
        arn = parameters.get("RoleArn", "")
        if organizations.state_of(_account_of(arn)) in {None, "ACTIVE"}:
            return None
        return f"User: is not authorized to perform: sts:AssumeRole on resource: {arn}"

    wrap(service("sts"), "handle_request", _refusing(403, "AccessDenied", refuse))


def parameters_of(body: bytes, query: Any) -> dict[str, str]:
    """Return the parameters of a call in the query protocol, in which SDKs speak to STS."""
    given = {**query, **parse_qs(body.decode(errors="replace"))}
    return {name: values[0] if isinstance(values, list) else values for name, values in given.items()}


def _refusing(status: int, code: str, refuse: Callable[[dict[str, str], str], str | None]) -> Any:
    """Return a wrapper that answers AssumeRole with an error where ``refuse`` has a message."""

    def wrapper(handle: Any) -> Any:
        async def handle_request(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
            parameters = parameters_of(body, query)
            if parameters.get("Action") == "AssumeRole":
                message = refuse(parameters, core("router").extract_access_key_id(headers, query))
                if message is not None:
                    return service("iam")._error(status, code, message, ns="sts")
            return await handle(method, path, headers, body, query)

        return handle_request

    return wrapper


def _account_of(arn: str) -> str:
    return (arn.split(":") + [""] * 5)[4]


def _role(arn: str) -> dict[str, Any] | None:
    role: dict[str, Any] | None = service("iam")._roles.get_scoped(_account_of(arn), None, arn.rpartition("/")[2])
    return role


def _role_of(session_arn: str) -> str:
    """Return the ARN of the role that a session is of; of a role that is gone, as it was without a path."""
    account, name = _account_of(session_arn), session_arn.split("/")[1]
    role = service("iam")._roles.get_scoped(account, None, name)
    return str(role["Arn"]) if role else f"arn:{session_arn.split(':')[1]}:iam::{account}:role/{name}"
