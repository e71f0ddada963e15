"""Makes an organization to scan: accounts with users, and the role by which a deployment reads them.

Beside the accounts that can be read stand two that cannot: one is suspended, and one has no role.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.local_aws.aws import member_role, organization, past, users
from tests.local_aws.aws.past import Call
from tests.local_aws.errors import LocalAwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.local_aws.aws.emulator import Emulator
    from tests.local_aws.aws.member_role import Trust

MAX_ACCOUNTS = 3000
"""As many as a run can have: its history has room for no more."""

_FIRST_ACCOUNT = 210_000_000_001
_PRODUCTS = ["checkout", "ledger", "search", "warehouse", "website"]
_STAGES = {"prod": "Workloads/Production", "dev": "Workloads/Development"}
_ROLE_MADE = timedelta(days=90)


@dataclass(frozen=True)
class Member:
    """An account of the fleet.

    Attributes
    ----------
    users
        The names of its users.
    """

    account: organization.Account
    users: tuple[str, ...]
    has_role: bool = True

    @property
    def account_id(self) -> str:
        """Its ID."""
        return self.account.account_id

    @property
    def can_be_scanned(self) -> bool:
        """Whether a scan of it succeeds."""
        return self.has_role and self.account.state == "ACTIVE"


@dataclass(frozen=True)
class Fleet:
    """An organization.

    Attributes
    ----------
    units
        The ID of every organizational unit by its path, such as ``Workloads/Production``; of the root by the empty one.
    """

    members: tuple[Member, ...]
    units: dict[str, str]


def parse_count(text: str) -> int:
    """Return how many accounts to create, from what the person typed.

    Raises
    ------
    LocalAwsError
        It is not a whole number from 0 to 3,000.
    """
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_ACCOUNTS):
        raise LocalAwsError(f"ACCOUNTS must be a whole number from 0 to {MAX_ACCOUNTS}, got {text!r}")
    return int(text)


def make(
    aws: Emulator,
    count: int,
    users_each: int,
    trust: Trust,
    progress: Callable[[int], None] = lambda done: None,
) -> Fleet:
    """Create so many accounts that can be scanned, with so many users each, and the two that cannot.

    Parameters
    ----------
    aws
        An emulator in which they are not there yet. Its own account is the management account.
    trust
        Who may read them: the output ``member_role_trust`` of the deployment.
    progress
        Called with the number of accounts done.
    """
    role = member_role.properties(trust)
    units = organization.found(aws, [account for account, _ in _accounts(count)])
    members = []
    for account, has_role in _accounts(count):
        names = users.populate(aws, users_each, account.account_id)
        if has_role:
            make_role(aws, account.account_id, role)
        members.append(Member(account, tuple(names), has_role))
        progress(len(members))
    return Fleet(tuple(members), units)


def make_role(aws: Emulator, account_id: str, role: dict[str, Any]) -> None:
    """Make a role in an account, from the properties that :func:`member_role.properties` returns."""
    at, name = datetime.now(UTC) - _ROLE_MADE, role["RoleName"]
    made = {
        "RoleName": name,
        "Description": role["Description"],
        "MaxSessionDuration": str(role["MaxSessionDuration"]),
        "AssumeRolePolicyDocument": json.dumps(role["AssumeRolePolicyDocument"]),
    }
    policies = [
        {
            "RoleName": name,
            "PolicyName": policy["PolicyName"],
            "PolicyDocument": json.dumps(policy["PolicyDocument"]),
        }
        for policy in role["Policies"]
    ]
    calls = [Call(at, "CreateRole", made), *(Call(at, "PutRolePolicy", policy) for policy in policies)]
    past.happened(aws, calls, account_id)


def _accounts(count: int) -> Iterator[tuple[organization.Account, bool]]:
    """Yield the accounts, and whether each has the role."""
    stages = [(product, stage) for product in _PRODUCTS for stage in _STAGES]
    for number in range(count):
        product, stage = stages[number % len(stages)]
        name = f"{product}-{stage}" + (f"-{number // len(stages) + 1}" if number >= len(stages) else "")
        yield organization.Account(_account_id(number), name, _STAGES[stage]), True
    yield organization.Account(_account_id(count), "acquired-and-forgotten", "Sandbox"), False
    yield organization.Account(_account_id(count + 1), "closed-last-year", "Suspended", "SUSPENDED"), True


def _account_id(number: int) -> str:
    return str(_FIRST_ACCOUNT + number)
