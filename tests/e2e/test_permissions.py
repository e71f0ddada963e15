"""Least privilege, proved: every permission of every role is taken away once, and something fails for want of it.

The permissions are read from the deployed roles, so a new one that nothing needs, or that no scenario here shows to be
needed, fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import deployed
from tests.e2e.permissions import Account, denials, item_by_item, needed, unprovable, without_all

USERS = 30

WORKFLOW = (
    "acquire-lock",
    "read-posture",
    "list-users",
    "write-batch",
    "save-progress",
    "emit-metrics",
    "publish-changes",
    "fail-scan",
)
ROLES = (*WORKFLOW, "clean-up", "state-machine", "schedule")

# What the emulator cannot show, and why. A test holds each of them against the deployed policies.
UNPROVABLE = {
    **unprovable((*WORKFLOW, "clean-up"), "state-machine"),
    ("clean-up", "sqs:SendMessage"): "the emulator sends to a failure destination in nobody's name",
}

ITEM_BY_ITEM = item_by_item(("acquire-lock", "save-progress"))


# What a role's permissions are needed for, the quickest first. Before the fence refuses a call, it asks whether the run
# was redriven: DescribeExecution is for late calls only.
SCENARIOS = {
    "acquire-lock": ("scan", "late_calls"),
    "read-posture": ("scan",),
    "list-users": ("scan",),
    "write-batch": ("scan",),
    "save-progress": ("scan", "late_calls"),
    "emit-metrics": ("scan", "late_calls"),
    "publish-changes": ("scan_of_changes",),
    "fail-scan": ("failed_and_redriven_scan",),
    "clean-up": ("stopped_and_redriven_scan",),
    "state-machine": ("scan", "failed_and_redriven_scan"),
    "schedule": ("tick",),
}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Deploy with retries that take no time."""
    variables = {"schedule_enabled": "false", "lambda_timeout": "6"}
    with deployed(tmp_path_factory.mktemp("local-aws"), USERS, variables, {"SFN_WAIT_SCALE": "0.01"}) as deployment:
        yield Account(deployment)


def test_every_role_is_looked_at(account: Account) -> None:
    assert account.roles == set(ROLES) == set(SCENARIOS)


@pytest.mark.parametrize("scenario", sorted({scenario for scenarios in SCENARIOS.values() for scenario in scenarios}))
def test_with_all_permissions_nothing_is_denied(account: Account, scenario: str) -> None:
    """Nor is anything with those that the emulator cannot show: they would have to be shown otherwise."""
    told = ""
    with without_all(account, UNPROVABLE):
        told = denials(account, scenario)
    assert "not authorized" not in told
    assert "AccessDenied" not in told


def test_what_cannot_be_shown_is_there(account: Account) -> None:
    deployed_permissions = {(role, one.action) for role in ROLES for one in account.permissions(role)}
    assert sorted(UNPROVABLE.keys() - deployed_permissions) == []
    by_key = {(role, one.action, one.key) for role in ROLES for one in account.permissions(role)}
    assert by_key >= ITEM_BY_ITEM


@pytest.mark.parametrize("role", ROLES)
def test_no_permission_is_unnecessary(account: Account, role: str) -> None:
    permissions = [
        one
        for one in account.permissions(role)
        if (role, one.action) not in UNPROVABLE and (role, one.action, one.key) not in ITEM_BY_ITEM
    ]
    assert permissions
    unneeded = [str(permission) for permission in permissions if not needed(account, permission, SCENARIOS[role])]
    assert unneeded == [], f"{role} is not shown to need this; remove it, or add the scenario that needs it"


def test_a_permission_that_nothing_needs_is_found(account: Account) -> None:
    """Otherwise the test above would prove nothing."""

    def with_more(document: dict[str, Any]) -> dict[str, Any]:
        table = next(one["Resource"] for one in document["Statement"] if one["Action"] == "dynamodb:BatchWriteItem")
        more = {"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": table}
        return {**document, "Statement": [*document["Statement"], more]}

    with account.changed("write-batch", with_more):
        permissions = [one for one in account.permissions("write-batch") if one.action == "dynamodb:Scan"]
        assert [needed(account, permission, SCENARIOS["write-batch"]) for permission in permissions] == [False]
