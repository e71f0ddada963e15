"""Which accounts there are to scan: those that Organizations lists, or a list that is given."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.shared.errors import AccessDenied, InvalidConfiguration, error_code, named
from functions.shared.request import MAX_TEXT_LENGTH
from functions.table.fleet import FleetAccount, SkippedAccount

if TYPE_CHECKING:
    from types_boto3_organizations import OrganizationsClient

ACTIVE = "ACTIVE"

Account = dict[str, Any]
"""An account, as Organizations answers."""


@dataclass(frozen=True)
class Choice:
    """What the deployment is set to scan.

    Parameters
    ----------
    accounts
        These, and Organizations is not asked; empty: those that it lists.
    units
        Only accounts somewhere below these organizational units or roots; empty: all of the organization.
    excluded
        None of these.
    """

    accounts: Sequence[str]
    units: Sequence[str]
    excluded: Collection[str]

    def made(self, organizations: "OrganizationsClient") -> tuple[list[FleetAccount], list[SkippedAccount]]:
        """Return the accounts to scan and those to skip, each by their numbers.

        Raises
        ------
        AccessDenied, InvalidConfiguration
            Organizations does not answer this deployment. Other errors pass unchanged: a listing that is not whole
            must not be taken for one.
        """
        chosen, skipped = [], []
        for account_id, account in sorted(self._found(organizations).items()):
            name = _name(account)
            if account_id in self.excluded:
                skipped.append(SkippedAccount(account_id, name, "excluded"))
            elif (state := _state(account)) != ACTIVE:
                skipped.append(SkippedAccount(account_id, name, state))
            else:
                chosen.append(FleetAccount(account_id, name))
        return chosen, skipped

    def _found(self, organizations: "OrganizationsClient") -> dict[str, Account]:
        if self.accounts:
            return {account_id: {"State": ACTIVE} for account_id in self.accounts}
        try:
            accounts = (
                [account for unit in self.units for account in _below(unit, organizations)]
                if self.units
                else list(_pages(organizations, "list_accounts", "Accounts"))
            )
        except ClientError as error:
            raise (_told(error) or error) from error
        # A unit that is in another one is walked twice.
        return {account["Id"]: account for account in accounts}


def _below(unit: str, organizations: "OrganizationsClient") -> Iterator[Account]:
    """Yield the accounts of a unit, and of all units in it."""
    try:
        yield from _pages(organizations, "list_accounts_for_parent", "Accounts", ParentId=unit)
        inner = _pages(organizations, "list_organizational_units_for_parent", "OrganizationalUnits", ParentId=unit)
        units = [child["Id"] for child in inner]
    except ClientError as error:
        if error_code(error) in {"ParentNotFoundException", "InvalidInputException"}:
            raise InvalidConfiguration(
                f"environment variable INCLUDED_ORGANIZATIONAL_UNITS has {unit!r}, or a unit in it has gone: {error}"
            ) from error
        raise
    for child in units:
        yield from _below(child, organizations)


def _pages(organizations: "OrganizationsClient", operation: Any, what: str, **request: str) -> Iterator[Account]:
    # A page may be empty, and have a NextToken.
    for page in organizations.get_paginator(operation).paginate(**request):
        yield from page.get(what, ())


def _state(account: Account) -> str:
    """Return the state of an account. Status, which had it before, is retired: read where there is no State."""
    return str(account.get("State") or account.get("Status") or "its state is not told")


def _name(account: Account) -> str | None:
    """Return an account's name as a scan takes it."""
    name = "".join(letter for letter in account.get("Name", "") if letter.isprintable())[:MAX_TEXT_LENGTH]
    return name or None


def _told(error: ClientError) -> Exception | None:
    if error_code(error) == "AWSOrganizationsNotInUseException":
        return InvalidConfiguration(
            f"this account is in no organization: name the accounts to scan in the variable accounts ({error})"
        )
    if isinstance(named(error), AccessDenied):
        return AccessDenied(
            "Organizations lists accounts for the management account and for delegated administrators only, and this "
            f"account is none, or the role of this function lacks the permission; nothing is scanned ({error})"
        )
    return None
