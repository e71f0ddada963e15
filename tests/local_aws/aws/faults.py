"""Faults in the local AWS, by the call they hit and its number: what there is, and how to order it.

They hit the calls of the deployed functions and of the state machine only. What a person or a test asks of the local
AWS is answered as ever, so that the damage can be looked at.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.session

from tests.local_aws.errors import LocalAwsError
from tests.support.paths import FUNCTIONS

if TYPE_CHECKING:
    from tests.local_aws.aws.emulator import Emulator

ROUTE = "/_local/faults"
"""Where the emulator takes orders: GET lists the faults with their counts, POST adds one, DELETE removes all."""

STATE_MACHINE = "state_machine"
EVERY_CALL = "1-"

KINDS = {
    "throttled": "refused as too many; not executed",
    "access_denied": "refused for want of a permission; not executed",
    "error": "an internal error of the service; not executed",
    "limit_exceeded": "GenerateCredentialReport only: refused, because as many are being generated as can be",
    "timeout": "no answer for HOLD_SECONDS, then an internal error; not executed",
    "lost_response": "executed, but answered with an internal error",
    "crash": "the calling function's process is killed; not executed",
    "unprocessed": "BatchWriteItem only: the first item is written, the others come back as UnprocessedItems",
    "entries_failed": "PutEvents only: the first half of the entries is taken, the others come back as InternalFailure",
    "entries_throttled": "PutEvents only: the same, as ThrottlingException",
    "entries_malformed": "PutEvents only: the same, as MalformedDetail",
    "late": "what the state machine calls only: answered with an error at once, executed when the fault is removed",
    "held": "what the state machine calls only: executed, and answered, when the fault is removed",
}
"""The kinds of faults, and what becomes of the call."""

HOLD_SECONDS = 30
"""How long a call without an answer hangs, at most: until the fault is removed. The functions' clients wait 15 s.

A call that is late or held waits as long as it takes: whoever made it may be gone by then.
"""

MEND_SECONDS = 60
"""How long :func:`mend` waits, at most, for the calls that it lets run."""

WAITING_KINDS = {"late", "held"}
"""The kinds of faults whose removal lets a call run."""

_OF_ONE_OPERATION = {
    "limit_exceeded": "GenerateCredentialReport",
    "unprocessed": "BatchWriteItem",
    "entries_failed": "PutEvents",
    "entries_throttled": "PutEvents",
    "entries_malformed": "PutEvents",
}
_SERVICES = {
    "dynamodb": "dynamodb",
    "iam": "iam",
    "states": "stepfunctions",
    "events": "events",
    "sts": "sts",
    "organizations": "organizations",
}
_EXAMPLES = {
    "dynamodb": "dynamodb:BatchWriteItem",
    "iam": "iam:ListUsers",
    "states": "states:DescribeExecution",
    "events": "events:PutEvents",
    "sts": "sts:AssumeRole",
    "organizations": "organizations:ListAccounts",
}
# The services whose calls are about one account or another: the others' are all made in that of the deployment.
_OF_AN_ACCOUNT = {"iam", "sts", "lambda"}


@dataclass(frozen=True)
class Fault:
    """A fault. Made by :func:`fault`, which checks the parts."""

    call: str
    kind: str
    numbers: str = EVERY_CALL
    by: str = ""
    account: str = ""

    def hits(self, number: int) -> bool:
        """Tell whether the call of this number, counted from 1, is hit."""
        first, dash, last = self.numbers.partition("-")
        if not dash:
            return number == int(first)
        return int(first) <= number and (not last or number <= int(last))


def fault(call: str, kind: str, numbers: str = "", by: str = "", account: str = "") -> Fault:
    """Describe a fault.

    Parameters
    ----------
    call
        ``lambda:<step>``, the invocation of a function, or ``<service>:<Operation>``, a call that a function or the
        state machine makes: ``lambda:write_batch``, ``iam:ListUsers``.
    kind
        One of :data:`KINDS`.
    numbers
        Which of the calls are hit: ``2``, ``1-3``, ``2-``; empty for all. Counted from the moment the fault is there,
        and as the service counts: what an SDK sends again is another call.
    by
        A step, or ``state_machine``: only its calls count. Empty for anybody's.
    account
        The ID of an account: only calls about it count. Of IAM, those made in it; of STS, those that take a role of it;
        of a function, those whose payload has this ``account_id``, or none where it is the deployment's own. Empty for
        every account's.

    Raises
    ------
    LocalAwsError
        If there is no such call, kind, caller or account, or the numbers are none; the message says what is allowed.
    """
    service, _, operation = call.partition(":")
    if service == "lambda":
        if operation not in steps():
            raise LocalAwsError(f"CALL must be lambda: and one of {', '.join(steps())}, got {call!r}")
        if by:
            raise LocalAwsError(f"BY must be empty for {call}, which nobody but the workflow calls, got {by!r}")
        allowed = [name for name in KINDS if name not in {"crash", *_OF_ONE_OPERATION}]
    elif service in _SERVICES:
        if operation not in _operations(service):
            raise LocalAwsError(f"CALL must be an operation of {service}, such as {_EXAMPLES[service]}, got {call!r}")
        if by and by not in {*steps(), STATE_MACHINE}:
            raise LocalAwsError(f"BY must be empty, {STATE_MACHINE} or one of {', '.join(steps())}, got {by!r}")
        allowed = [name for name in KINDS if _OF_ONE_OPERATION.get(name, operation) == operation]
        if by != STATE_MACHINE:
            allowed = [name for name in allowed if name not in WAITING_KINDS]
        if by == STATE_MACHINE:
            allowed.remove("crash")
    else:
        beginnings = f"lambda:, {':, '.join(_SERVICES)}:"
        raise LocalAwsError(f"CALL must begin with {beginnings}, such as iam:ListUsers, got {call!r}")
    if kind not in allowed:
        raise LocalAwsError(f"FAULT must be one of {', '.join(allowed)} for {call}, got {kind!r}")
    numbers = numbers or EVERY_CALL
    match = re.fullmatch(r"([1-9][0-9]{0,5})(-([1-9][0-9]{0,5})?)?", numbers, re.ASCII)
    if match is None or (match[3] and int(match[3]) < int(match[1])):
        raise LocalAwsError(f"NUMBERS must be like 2, 1-3 or 2-, got {numbers!r}")
    if account and service not in _OF_AN_ACCOUNT:
        raise LocalAwsError(f"ACCOUNT must be empty for {call}, which is about no account in particular")
    if account and not re.fullmatch(r"[0-9]{12}", account, re.ASCII):
        raise LocalAwsError(f"ACCOUNT must be the 12 digits of an account, got {account!r}")
    return Fault(call, kind, numbers, by, account)


def inject(aws: Emulator, ordered: Fault) -> None:
    """Let a fault happen from now on."""
    aws.order("POST", ROUTE, json.dumps(asdict(ordered)))


def mend(aws: Emulator) -> None:
    """Remove every fault: calls that hang are answered, and those that were late or held run to their end.

    Raises
    ------
    LocalAwsError
        If such a call still runs after :data:`MEND_SECONDS`.
    """
    aws.order("DELETE", ROUTE, seconds=MEND_SECONDS + 10)


def injected(aws: Emulator) -> list[dict[str, Any]]:
    """Return the faults that are there, each with ``seen`` and ``hit``: how many calls matched, and were hit.

    A call that is late or held counts as hit from the moment at which it waits.
    """
    faults: list[dict[str, Any]] = json.loads(aws.order("GET", ROUTE))
    return faults


@cache
def steps() -> tuple[str, ...]:
    """Return the steps that are functions, by the names of their folders."""
    return tuple(sorted(handler.parent.name for handler in FUNCTIONS.glob("*/handler.py")))


@cache
def _operations(service: str) -> frozenset[str]:
    return frozenset(botocore.session.get_session().get_service_model(_SERVICES[service]).operation_names)
