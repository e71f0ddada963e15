"""Corrections of Organizations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.local_aws.aws.corrections import iam as paging
from tests.local_aws.aws.corrections._ministack import core, service, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_A_PAGE = 20
_LISTS = {
    "ListAccounts": "Accounts",
    "ListAccountsForParent": "Accounts",
    "ListOrganizationalUnitsForParent": "OrganizationalUnits",
    "ListParents": "Parents",
    "ListRoots": "Roots",
}
_OF_A_PARENT = {"ListAccountsForParent", "ListOrganizationalUnitsForParent"}
_OF_ANY_MEMBER = {"DescribeOrganization"}
# Before a key, in a token: the next page is empty.
_EMPTY = "empty/"


def membership() -> None:
    """Let all accounts of an organization see the same one, and only those ask that may.

    AWS: an account is in one organization or in none; in none, calls fail with AWSOrganizationsNotInUseException. What
    changes it is for the management account, what reads it also for delegated administrators, and DescribeOrganization
    for every member; others get AccessDeniedException (Organizations API reference).

    MiniStack makes an organization for whoever asks, and of every account the management account of its own. To go when
    ListAccounts fails in a new account. An organization is founded by :mod:`tests.local_aws.aws.organization`.
    """

    def ask_the_management(handle: Any) -> Any:
        async def handle_request(method: str, path: str, headers: Any, body: Any, query: Any) -> Any:
            responses = core("responses")
            caller, operation = responses.get_account_id(), headers.get("x-amz-target", "").rpartition(".")[2]
            management = management_of(caller)
            if management is None:
                message = "Your account is not a member of an organization."
                return responses.error_response_json("AWSOrganizationsNotInUseException", message, 400)
            reads = operation.startswith(("List", "Describe"))
            if not (
                caller == management
                or operation in _OF_ANY_MEMBER
                or (reads and caller in service("organizations")._orgs.get_scoped(management, None, "delegated", ()))
            ):
                message = "You don't have permissions to access this resource."
                return responses.error_response_json("AccessDeniedException", message, 400)
            with responses.request_scope(management, responses.get_region()):
                return await handle(method, path, headers, body, query)

        return handle_request

    wrap(service("organizations"), "handle_request", ask_the_management)


def account_state() -> None:
    """Tell the State of an account, and not its Status.

    AWS: Account.State is PENDING_ACTIVATION, ACTIVE, SUSPENDED, PENDING_CLOSURE or CLOSED; Status is to be retired on
    9 September 2026 (Organizations API reference, Account). Who still reads it finds nothing here.

    MiniStack tells the Status only, and a Path that an account has not. To go when there is a State.
    """
    names = ("Id", "Arn", "Email", "Name", "JoinedMethod", "JoinedTimestamp")

    def told(account: Mapping[str, Any]) -> dict[str, Any]:
        return {**{name: account[name] for name in names}, "State": account["Status"]}

    wrap(service("organizations"), "_public_account", lambda _original: told)


def listings() -> None:
    """Return listings in pages, some of them empty, and refuse a parent that is not there.

    AWS returns at most 20 entries, or MaxResults from 1 to 20, and a NextToken where there are more; now and then a
    page is empty although more follow. A bad number or token is an InvalidInputException, an unknown root or unit a
    ParentNotFoundException. (Organizations API reference, ListAccounts, ListAccountsForParent, InvalidInputException.)
    The order is not documented: here it is that of the IDs. The second of several pages is empty, always: what happens
    now and then is not tested.

    MiniStack ignores MaxResults and NextToken, and says of an unknown parent that it is empty. To go when it does none
    of that, although it will have no empty pages then.
    """
    dispatch = service("organizations")._DISPATCH

    def in_pages(operation: str, handle: Any) -> Any:
        def list_page(request: dict[str, Any]) -> Any:
            if operation in _OF_A_PARENT and not _is_parent(request.get("ParentId")):
                message = "You specified parent that doesn't exist."
                return core("responses").error_response_json("ParentNotFoundException", message, 400)
            limit = request.get("MaxResults", _MOST_A_PAGE)
            if not 1 <= limit <= _MOST_A_PAGE:
                return _invalid("MIN_VALUE_EXCEEDED" if limit < 1 else "MAX_VALUE_EXCEEDED")
            try:
                after = paging.decode_marker(request.get("NextToken", ""))
            except ValueError:
                return _invalid("INVALID_NEXT_TOKEN")
            status, headers, body = handle(request)
            if status != 200:
                return status, headers, body
            if after is not None and after.startswith(_EMPTY):
                token = paging.encode_marker(after.removeprefix(_EMPTY))
                return status, headers, json.dumps({_LISTS[operation]: [], "NextToken": token}).encode()
            entries = sorted(json.loads(body)[_LISTS[operation]], key=_id)
            entries = [entry for entry in entries if after is None or _id(entry) > after]
            answer: dict[str, Any] = {_LISTS[operation]: entries[:limit]}
            if len(entries) > limit:
                last = _id(entries[limit - 1])
                answer["NextToken"] = paging.encode_marker(last if after else _EMPTY + last)
            return status, headers, json.dumps(answer).encode()

        return list_page

    for name in _LISTS:
        dispatch[name] = in_pages(name, dispatch[name])


def unit_resources() -> None:
    """Ask for a permission on the root or unit whose accounts or units are listed, where that is what is listed.

    AWS: ListAccountsForParent and ListOrganizationalUnitsForParent may be allowed on ``root/<organization>/<root>`` and
    ``ou/<organization>/<unit>`` of the management account; ListAccounts knows no resource (Service Authorization
    Reference, AWS Organizations).

    MiniStack asks for each of them on ``organization/*`` of the caller's account. To go when a role that may list the
    accounts of a unit lists them.
    """

    def with_parent(extract: Any) -> Any:
        def extract_resource_arn(
            name: str, method: str, path: str, headers: Any, body: Any, query: Any, region: str, account: str
        ) -> str:
            management = management_of(account) if name == "organizations" else None
            if management is None:
                return str(extract(name, method, path, headers, body, query, region, account))
            parent = json.loads(body or "{}").get("ParentId")
            if parent is None:
                return "*"
            found = service("organizations")._orgs.get_scoped(management, None, "self")
            kind = "root" if parent.startswith("r-") else "ou"
            return f"arn:aws:organizations::{management}:{kind}/{found['Id']}/{parent}"

        return extract_resource_arn

    wrap(core("iam_actions"), "extract_resource_arn", with_parent)


def management_of(account: str) -> str | None:
    """Return the management account of an account's organization, None where it is in none."""
    owners = [owner for owner, member in list(service("organizations")._accounts.to_dict()) if member == account]
    return owners[0] if owners else None


def state_of(account: str) -> str | None:
    """Return the state of an account in its organization, None where it is in none."""
    management = management_of(account)
    if management is None:
        return None
    return str(service("organizations")._accounts.get_scoped(management, None, account)["Status"])


def _is_parent(parent: Any) -> bool:
    organizations = service("organizations")
    return parent in organizations._roots or parent in organizations._ous


def _id(entry: Mapping[str, Any]) -> str:
    return str(entry["Id"])


def _invalid(reason: str) -> Any:
    body = {"__type": "InvalidInputException", "Message": "You specified an invalid value.", "Reason": reason}
    return 400, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(body).encode()
