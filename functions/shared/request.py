"""What an execution is asked for: its input, checked."""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from functions.shared import timestamps
from functions.shared.errors import InvalidInput

DEFAULT_TRIGGER = "manual"
MAX_TEXT_LENGTH = 64

_ACCOUNT = re.compile(r"[0-9]{12}")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::([0-9]{12}):role/[\x21-\x7e]{1,512}")


@dataclass(frozen=True)
class Member:
    """An account that the deployment's own account may look into."""

    account_id: str
    role_arn: str = ""
    """Empty where the input does not name it."""

    def admitted(self, role_name: str | None, partition: str) -> "Member":
        """Return the account with the role that member accounts have for this deployment, which alone is admitted.

        Parameters
        ----------
        role_name
            None where it scans its own account only.
        partition
            Of the deployment: an organization is in one.

        Raises
        ------
        InvalidInput
            Another one is asked for.
        """
        if role_name is None:
            raise InvalidInput(
                f"account_id is {self.account_id}, and this deployment scans its own account only: set "
                "organization_enabled to scan others"
            )
        role_arn = self.role_arn or f"arn:{partition}:iam::{self.account_id}:role/{role_name}"
        if role_arn.partition(":role/")[2] != role_name:
            raise InvalidInput(
                f"role_arn must be the ARN of the role {role_name} of account {self.account_id}, not {self.role_arn!r}"
            )
        return replace(self, role_arn=role_arn)


@dataclass(frozen=True)
class Request:
    """What an execution is to scan, and for whom.

    Attributes
    ----------
    trigger
        Who started it, in a word.
    member
        The account that is scanned; None for the deployment's own.
    account_name
        What people call the account, where it was told.
    scan_timestamp
        The scan's name; None where the start of the execution is. Whoever gives it, expects that scan and no other: it
        is not skipped.
    """

    trigger: str = DEFAULT_TRIGGER
    member: Member | None = None
    account_name: str | None = None
    scan_timestamp: str | None = None


DEFAULT = Request()
"""A scan of the deployment's own account, started by hand."""


def request_of(execution_input: Any, own_account: str, started_at: datetime) -> Request:
    """Return what an execution's input, any JSON, asks for, by nothing else: so all steps read it alike.

    Parameters
    ----------
    own_account
        The account of the deployment.
    started_at
        When the execution started.

    Raises
    ------
    InvalidInput
        It is not an object, or one of its keys is not what it must be. Other keys are let through: the console fills in
        a sample comment of its own.
    """
    _check_object(execution_input)
    trigger = _trigger(execution_input)
    account_id = execution_input.get("account_id")
    if account_id is None:
        for name in ("role_arn", "account_name", "scan_timestamp"):
            if execution_input.get(name) is not None:
                raise InvalidInput(f"{name} is given for the account_id that is to be scanned, and there is none")
        return Request(trigger)
    if not isinstance(account_id, str) or not _ACCOUNT.fullmatch(account_id):
        raise InvalidInput(f"account_id must be a text of 12 digits, not {_shown(account_id)}")
    member = _member(account_id, execution_input.get("role_arn"), own_account)
    named = execution_input.get("account_name") is not None
    return Request(
        trigger, member, _text(execution_input, "account_name") if named else None, _moment(execution_input, started_at)
    )


def fleet_request_of(execution_input: Any) -> Request:
    """Return what the input of an execution of the organization machine, any JSON, asks for.

    Raises
    ------
    InvalidInput
        It is not an object, or asks for one account: all would be scanned instead.
    """
    _check_object(execution_input)
    for name in ("account_id", "role_arn", "account_name", "scan_timestamp"):
        if execution_input.get(name) is not None:
            raise InvalidInput(
                f"{name} is given, and the organization machine scans all accounts: start the state machine that scans "
                "one for that"
            )
    return Request(_trigger(execution_input))


def _check_object(execution_input: Any) -> None:
    if not isinstance(execution_input, dict):
        raise InvalidInput(
            f'the execution input must be a JSON object such as {{}} or {{"trigger": "manual"}}, '
            f"not {type(execution_input).__name__}: {str(execution_input)[:100]!r}"
        )


def _trigger(execution_input: dict[str, Any]) -> str:
    return _text(execution_input, "trigger") or DEFAULT_TRIGGER


def _member(account_id: str, role_arn: Any, own_account: str) -> Member | None:
    if account_id == own_account:
        if role_arn is not None:
            raise InvalidInput(
                f"account_id {account_id} is the deployment's own account, which is scanned without a role: leave out "
                f"role_arn, which is {_shown(role_arn)}"
            )
        return None
    if role_arn is None:
        return Member(account_id)
    match = _ROLE.fullmatch(role_arn) if isinstance(role_arn, str) else None
    if match is None or match.group(1) != account_id:
        raise InvalidInput(f"role_arn must be the ARN of a role of account {account_id}, not {_shown(role_arn)}")
    return Member(account_id, role_arn)


def _moment(execution_input: dict[str, Any], started_at: datetime) -> str | None:
    value = execution_input.get("scan_timestamp")
    if value is None:
        return None
    try:
        moment = timestamps.parse(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or timestamps.to_seconds(moment) != value:
        raise InvalidInput(f"scan_timestamp must be a UTC time such as 2026-01-31T10:00:00Z, not {_shown(value)}")
    if moment > started_at:
        raise InvalidInput(
            f"scan_timestamp must not be later than the start of the execution, {timestamps.to_seconds(started_at)}, "
            f"and {value} is"
        )
    return str(value)


def _text(execution_input: dict[str, Any], name: str) -> str | None:
    """Return a short text, None where it is left out."""
    if name not in execution_input:
        return None
    value = execution_input[name]
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT_LENGTH or not value.isprintable():
        raise InvalidInput(f"{name} must be a text of 1 to {MAX_TEXT_LENGTH} printable characters, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return repr(str(value)[:100])
