"""The organization machine on the deployed workflow: whatever happens in one account, happens in that one only."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from functions.table.keys import Keys
from tests.e2e.conftest import Deployment, deployed
from tests.local_aws.aws import ACCOUNT_ID, faults, fleet, member_role
from tests.local_aws.aws import organization as organizations
from tests.local_aws.run import changes, organization, scan
from tests.support.waiting import eventually, next_second

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local_aws.aws.fleet import Fleet

ACCOUNTS, USERS = 7, 6

THROTTLED, DENIED, STRANGER, SUSPENDED, HELD, SCANNED, QUIET = range(ACCOUNTS)
"""What becomes of the accounts, by their place in the fleet."""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Deploy with an organization, and with retries that wait for a fiftieth of their time."""
    variables = {
        **organization.VARIABLES,
        "schedule_enabled": "false",
        "lambda_timeout": "12",
        "account_concurrency": "5",
    }
    folder = tmp_path_factory.mktemp("local-aws")
    with deployed(folder, USERS, variables, {"SFN_WAIT_SCALE": "0.02"}) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def made(deployment: Deployment) -> Fleet:
    return fleet.make(deployment.aws, ACCOUNTS, USERS, deployment.outputs["member_role_trust"])


@pytest.fixture(scope="module")
def listener(deployment: Deployment) -> changes.Listener:
    return deployment.listener()


@pytest.fixture(autouse=True)
def mended(deployment: Deployment, made: Fleet) -> Iterator[None]:
    """Let nothing that a test broke, and no run of the same second, reach another test."""
    next_second()
    yield
    mend(deployment, made)


def mend(deployment: Deployment, made: Fleet) -> None:
    """Let every call be answered, and every account be one that can be scanned but the last, which is suspended."""
    faults.mend(deployment.aws)
    organizations.found(deployment.aws, [member.account for member in made.members])
    role = member_role.properties(deployment.outputs["member_role_trust"])
    for number in (STRANGER, HELD, ACCOUNTS):
        account = made.members[number].account_id
        free_lock(deployment, account)
        remove_role(deployment, account)
        fleet.make_role(deployment.aws, account, role)


def start(deployment: Deployment) -> str:
    return scan.start(deployment.aws.client, deployment.outputs["organization_state_machine_arn"])


def item(deployment: Deployment, user_name: str, sort_key: str) -> dict[str, Any]:
    """Return an item of the table; empty where it is not there."""
    found = deployment.aws.client("dynamodb").get_item(
        TableName=deployment.outputs["dynamodb_table_name"],
        Key={"user_name": {"S": user_name}, "scan_timestamp": {"S": sort_key}},
        ConsistentRead=True,
    )
    return scan.plain(found.get("Item", {}))


def manifests(deployment: Deployment, made: Fleet, execution: scan.Execution) -> dict[str, dict[str, Any]]:
    """Return the manifest of every account that has one of this run."""
    keys = {ACCOUNT_ID: "scan#", **{one.account_id: f"account#{one.account_id}#scan#" for one in made.members}}
    found = {one: item(deployment, "__scan__", key + execution.scan_timestamp) for one, key in keys.items()}
    return {one: manifest for one, manifest in found.items() if manifest}


def of_fleet(deployment: Deployment, execution: scan.Execution) -> dict[str, Any]:
    return item(deployment, "__scan__", f"organization#{execution.scan_timestamp}")


def failed(deployment: Deployment, execution: scan.Execution) -> dict[str, str]:
    """Return the error of each account that has failed, as the manifest of the organization has it."""
    return {one["account_id"]: one["error_type"] for one in of_fleet(deployment, execution).get("failed", [])}


def locks(deployment: Deployment) -> list[str]:
    pages = deployment.aws.client("dynamodb").get_paginator("query")
    found = pages.paginate(
        TableName=deployment.outputs["dynamodb_table_name"],
        KeyConditionExpression="user_name = :lock",
        ExpressionAttributeValues={":lock": {"S": "__execution_lock__"}},
        ConsistentRead=True,
    )
    return [lock["scan_timestamp"]["S"] for page in found for lock in page["Items"]]


def hold_lock(deployment: Deployment, account_id: str) -> None:
    """Let somebody else hold the lock of an account."""
    until = int(time.time()) + 600
    deployment.aws.client("dynamodb").put_item(
        TableName=deployment.outputs["dynamodb_table_name"],
        Item={
            **{name: {"S": value} for name, value in Keys(account_id).lock.items()},
            "owner": {"S": "somebody else"},
            "attempt": {"N": "1"},
            "acquired_at": {"N": str(until - 600)},
            "expires_at": {"N": str(until)},
            "ttl": {"N": str(until)},
        },
    )


def free_lock(deployment: Deployment, account_id: str) -> None:
    key = {name: {"S": value} for name, value in Keys(account_id).lock.items()}
    deployment.aws.client("dynamodb").delete_item(TableName=deployment.outputs["dynamodb_table_name"], Key=key)


def remove_role(deployment: Deployment, account_id: str) -> None:
    iam, name = deployment.aws.client("iam", account_id), deployment.outputs["member_role_trust"]["role_name"]
    if name not in {role["RoleName"] for role in iam.list_roles()["Roles"]}:
        return
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    iam.delete_role(RoleName=name)


def told(listener: changes.Listener) -> Counter[tuple[str, str]]:
    """Return what was announced since the last call, by its type and account."""
    return Counter((event.detail_type, event.detail["account_id"]) for event in listener.events())


def test_what_fails_in_an_account_fails_no_other_and_a_redrive_mends_only_that(
    deployment: Deployment, made: Fleet, listener: changes.Listener
) -> None:
    aws, ids = deployment.aws, [member.account_id for member in made.members]
    other_trust: Any = {**deployment.outputs["member_role_trust"], "external_id": "somebody-else"}
    forgotten, closed = ids[ACCOUNTS], ids[ACCOUNTS + 1]
    # Given an account that throttles for good, one that denies a call, one that expects somebody else, one that another
    # scan runs in, and one that has no role from the start
    faults.inject(aws, faults.fault("iam:ListUsers", "throttled", account=ids[THROTTLED]))
    faults.inject(aws, faults.fault("iam:ListUsers", "access_denied", account=ids[DENIED]))
    faults.inject(aws, faults.fault("lambda:save_progress", "error", account=ids[SCANNED]))
    remove_role(deployment, ids[STRANGER])
    fleet.make_role(aws, ids[STRANGER], member_role.properties(other_trust))
    hold_lock(deployment, ids[HELD])
    # and one that is suspended when its scan has begun
    faults.inject(aws, faults.fault("lambda:list_users", "held", "1", account=ids[SUSPENDED]))
    arn = start(deployment)
    eventually(
        lambda: any(one["hit"] for one in faults.injected(aws) if one["kind"] == "held"), "it is not held", seconds=120
    )
    suspended = made.members[SUSPENDED].account
    organizations.found(aws, [replace(suspended, state="SUSPENDED")])
    execution = deployment.finish(arn)

    # Then the run fails and names those, and the others are complete
    expected = {
        ids[THROTTLED]: "Throttled",
        ids[DENIED]: "AccessDenied",
        ids[STRANGER]: "AccessDenied",
        ids[SUSPENDED]: "AccessDenied",
        ids[HELD]: "LockHeld",
        ids[SCANNED]: "Lambda.ServiceException",
        forgotten: "AccessDenied",
    }
    assert execution.status == "FAILED"
    causes = failed(deployment, execution)
    # As long as IAM throttles, the SDK tries again: the time of the function may be over before its tries are.
    assert causes[ids[THROTTLED]] in {"Throttled", "Sandbox.Timedout"}
    assert causes == expected | {ids[THROTTLED]: causes[ids[THROTTLED]]}
    found = manifests(deployment, made, execution)
    complete = {one for one, manifest in found.items() if manifest["status"] == "COMPLETE"}
    assert complete == {ACCOUNT_ID, ids[QUIET]}
    assert found.keys() == complete | expected.keys()
    skipped = {one["account_id"]: one["reason"] for one in of_fleet(deployment, execution)["skipped"]}
    assert skipped.keys() == {closed}
    assert f"{len(complete)} of {len(ids)} accounts are complete" in execution.cause
    assert locks(deployment) == [f"lock#{ids[HELD]}"]
    assert told(listener) == Counter(
        [*((changes.SCAN_COMPLETED, one) for one in complete), *((organization.SCAN_FAILED, one) for one in expected)]
    )

    # When all is mended
    mend(deployment, made)
    redriven = deployment.redrive(arn)

    # Then a redrive scans just those
    assert redriven.status == "SUCCEEDED", redriven.cause
    again = manifests(deployment, made, redriven)
    assert {manifest["status"] for manifest in again.values()} == {"COMPLETE"}
    assert {one for one in again if again[one] != found[one]} == expected.keys()
    assert {one: manifest["execution_arn"] for one, manifest in again.items()} == {
        one: manifest["execution_arn"] for one, manifest in found.items()
    }
    assert (of_fleet(deployment, redriven)["status"], failed(deployment, redriven)) == ("COMPLETE", {})
    assert {manifest["records_written"] for manifest in again.values()} == {USERS}
    assert locks(deployment) == []
    assert told(listener) == Counter((changes.SCAN_COMPLETED, one) for one in expected)


def test_of_two_runs_at_once_one_has_nothing_to_do(deployment: Deployment, made: Fleet) -> None:
    faults.inject(deployment.aws, faults.fault("lambda:summarize_accounts", "held", "1"))
    first = start(deployment)
    eventually(lambda: bool(faults.injected(deployment.aws)[0]["hit"]), "it does not come so far", seconds=300)
    next_second()
    second = deployment.finish(start(deployment))
    assert second.status == "SUCCEEDED", second.cause
    assert [visit.state for visit in second.visits][-1] == "OrganizationSkipped"
    assert manifests(deployment, made, second) == {}
    faults.mend(deployment.aws)
    assert deployment.finish(first).status == "SUCCEEDED"
    assert locks(deployment) == []


def test_a_run_that_is_stopped_frees_its_lock_and_is_redriven(deployment: Deployment, made: Fleet) -> None:
    member = made.members[QUIET].account_id
    faults.inject(deployment.aws, faults.fault("lambda:list_users", "held", "1", account=member))
    arn = start(deployment)
    eventually(lambda: bool(faults.injected(deployment.aws)[0]["hit"]), "it does not come so far", seconds=300)
    states = deployment.aws.client("stepfunctions")
    states.stop_execution(executionArn=arn, error="Operator", cause="by hand")
    stopped = deployment.finish(arn)
    assert stopped.status == "ABORTED"
    eventually(lambda: "lock#organization" not in locks(deployment), "its lock is held")
    eventually(lambda: of_fleet(deployment, stopped)["status"] == "ABORTED", "its manifest is wrong")
    faults.mend(deployment.aws)
    redriven = deployment.redrive(arn)
    assert redriven.status == "SUCCEEDED", redriven.cause
    assert {one["status"] for one in manifests(deployment, made, redriven).values()} == {"COMPLETE"}
    assert of_fleet(deployment, redriven)["status"] == "COMPLETE"


def test_a_scan_by_hand_while_the_accounts_are_scanned(deployment: Deployment, made: Fleet) -> None:
    """The account is scanned by hand; the run over all of them names it, and a redrive finds it free."""
    member = made.members[QUIET]
    trust = deployment.outputs["member_role_trust"]
    role = f"arn:aws:iam::{member.account_id}:role/{trust['role_name']}"
    faults.inject(deployment.aws, faults.fault("lambda:list_users", "held", "1", account=member.account_id))
    by_hand = deployment.aws.client("stepfunctions").start_execution(
        stateMachineArn=deployment.outputs["state_machine_arn"],
        input=json.dumps({"account_id": member.account_id, "role_arn": role, "trigger": "manual"}),
    )["executionArn"]
    eventually(lambda: bool(faults.injected(deployment.aws)[0]["hit"]), "it does not come so far", seconds=300)
    next_second()
    execution = deployment.finish(start(deployment))
    assert failed(deployment, execution) == {member.account_id: "LockHeld"}, execution.cause
    faults.mend(deployment.aws)
    assert deployment.finish(by_hand).status == "SUCCEEDED"
    assert deployment.redrive(execution.arn).status == "SUCCEEDED"


def test_an_account_that_leaves_takes_no_user_away(
    deployment: Deployment, made: Fleet, listener: changes.Listener
) -> None:
    gone, closed = made.members[QUIET].account_id, made.members[SCANNED].account
    listener.events()
    organizations.found(
        deployment.aws,
        [replace(closed, state="SUSPENDED")],
        left=[gone],
    )
    execution = deployment.finish(start(deployment))
    assert execution.status == "SUCCEEDED", execution.cause
    manifest = of_fleet(deployment, execution)
    assert {gone, closed.account_id}.isdisjoint(one["account_id"] for one in manifest["accounts"])
    assert closed.account_id in {one["account_id"] for one in manifest["skipped"]}
    assert {gone, closed.account_id}.isdisjoint(manifests(deployment, made, execution))
    # Their last scans stay, and nobody is told that their users were deleted.
    kinds = told(listener)
    assert {kind for kind, _ in kinds} == {changes.SCAN_COMPLETED}
    assert {gone, closed.account_id}.isdisjoint(account for _, account in kinds)
    assert item(deployment, f"{gone}/{made.members[QUIET].users[0]}", _last(deployment, gone))


def test_where_the_accounts_cannot_be_listed_nothing_starts(deployment: Deployment, made: Fleet) -> None:
    faults.inject(deployment.aws, faults.fault("organizations:ListAccounts", "error", "1-"))
    execution = deployment.finish(start(deployment))
    assert execution.status == "FAILED"
    assert manifests(deployment, made, execution) == {}
    assert of_fleet(deployment, execution)["status"] == "FAILED"
    assert locks(deployment) == []


def _last(deployment: Deployment, account_id: str) -> str:
    """Return the scan_timestamp of the last scan of an account."""
    found = deployment.aws.client("dynamodb").query(
        TableName=deployment.outputs["dynamodb_table_name"],
        KeyConditionExpression="user_name = :scan AND begins_with(scan_timestamp, :account)",
        ExpressionAttributeValues={":scan": {"S": "__scan__"}, ":account": {"S": f"account#{account_id}#scan#"}},
        ScanIndexForward=False,
        Limit=1,
    )
    return str(found["Items"][0]["scan_timestamp"]["S"]).rpartition("#")[2]
