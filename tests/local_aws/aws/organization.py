"""Gives the local AWS an organization: units, and accounts with the IDs and in the states that a test asks for.

AWS gives accounts their IDs itself, takes minutes for each, and suspends them by itself. So tests tell the emulator.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tests.local_aws.aws import ACCOUNT_ID
from tests.local_aws.aws.corrections._ministack import core, service

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tests.local_aws.aws.emulator import Emulator

ROUTE = "/_local/organization"
"""Where the emulator takes orders, by POST: ``management``, ``accounts``, ``left`` and ``delegated``."""


@dataclass(frozen=True)
class Account:
    """An account of an organization.

    Attributes
    ----------
    unit
        The names of the units that it is in, from the root on: ``Workloads/Production``. Empty for the root itself.
    state
        One of those that AWS has: ACTIVE, SUSPENDED, CLOSED, PENDING_CLOSURE or PENDING_ACTIVATION.
    """

    account_id: str
    name: str
    unit: str = ""
    state: str = "ACTIVE"


def found(
    aws: Emulator,
    accounts: Iterable[Account] = (),
    *,
    left: Collection[str] = (),
    delegated: Collection[str] | None = None,
    management: str = ACCOUNT_ID,
) -> dict[str, str]:
    """Found an organization, or change the one that is there.

    Parameters
    ----------
    accounts
        Those that join, or whose name, unit or state changes.
    left
        The IDs of accounts that leave.
    delegated
        The IDs of all accounts that are delegated administrators; None leaves them as they are.
    management
        The account that founds it.

    Returns
    -------
    The ID of every unit by its path, and of the root by the empty one.
    """
    order = {
        "management": management,
        "accounts": [asdict(account) for account in accounts],
        "left": list(left),
        "delegated": None if delegated is None else list(delegated),
    }
    units: dict[str, str] = json.loads(aws.order("POST", ROUTE, json.dumps(order)))
    return units


# The emulator's side


async def answer(method: str, body: bytes) -> tuple[int, bytes]:
    """Answer a request to :data:`ROUTE`."""
    if method != "POST":
        return 405, b"POST"
    try:
        order = json.loads(body)
        # Seen by this request only, which has a context of its own.
        core("responses").set_request_account_id(order["management"])
        return 200, json.dumps(_change(order)).encode()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the request, its sender is told
        return 400, f"{type(error).__name__}: {error}".encode()


def _change(order: dict[str, Any]) -> dict[str, str]:
    organizations = service("organizations")
    organizations._ensure_org()
    for account in order["accounts"]:
        _join(organizations, Account(**account))
    for account_id in order["left"]:
        del organizations._accounts[account_id]
    if order["delegated"] is not None:
        organizations._orgs["delegated"] = order["delegated"]
    return _units(organizations)


def _join(organizations: Any, account: Account) -> None:
    parent = _unit(organizations, account.unit)
    organization = organizations._orgs["self"]
    arn = organization["MasterAccountArn"].rpartition("/")[0]
    organizations._accounts[account.account_id] = {
        "Id": account.account_id,
        "Arn": f"{arn}/{account.account_id}",
        "Email": f"aws+{account.account_id}@example.com",
        "Name": account.name,
        "Status": account.state,
        "JoinedMethod": "CREATED",
        "JoinedTimestamp": int(time.time()),
        "_ParentId": parent,
    }


def _unit(organizations: Any, path: str) -> str:
    """Return the ID of a unit, made with those above it where it is not there."""
    known = _units(organizations)
    if path in known:
        return known[path]
    above, _, name = path.rpartition("/")
    request = {"ParentId": _unit(organizations, above), "Name": name}
    made = json.loads(organizations._create_organizational_unit(request)[2])
    return str(made["OrganizationalUnit"]["Id"])


def _units(organizations: Any) -> dict[str, str]:
    (root,) = organizations._roots
    units = {"": str(root)}
    # Parents stand before their children: they were made first.
    paths = {root: ""}
    for unit_id, unit in organizations._ous.items():
        paths[unit_id] = f"{paths[unit['_ParentId']]}/{unit['Name']}".lstrip("/")
        units[paths[unit_id]] = unit_id
    return units
