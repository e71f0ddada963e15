"""A fleet of accounts: who gets into each of them, what they may do there, and that the accounts are apart."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.local_aws.aws import ACCOUNT_ID, faults, fleet, member_role, organization, past, users
from tests.local_aws.errors import LocalAwsError
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import boto3

    from tests.emulator.conftest import Account
    from tests.local_aws.aws.emulator import Emulator
    from tests.local_aws.aws.fleet import Fleet
    from tests.local_aws.aws.member_role import Trust

MEMBER_ROLE = "iam-user-monitor-member"
EXTERNAL_ID = "5f0c6c8e-0e4b-4e0f-9d1c-3b8f0f6f2a11"

# Takes a role with what the event says, lists users with it, and says how each was answered.
FUNCTION = """
import boto3, botocore.exceptions
from botocore.config import Config

config = Config(retries={"total_max_attempts": 1})

def handler(event, context):
    answers = []
    for arn in event["roles"]:
        try:
            taken = boto3.client("sts", config=config).assume_role(
                RoleArn=arn, RoleSessionName="scan", ExternalId=event["external_id"]
            )["Credentials"]
            iam = boto3.client(
                "iam",
                aws_access_key_id=taken["AccessKeyId"],
                aws_secret_access_key=taken["SecretAccessKey"],
                aws_session_token=taken["SessionToken"],
                config=config,
            )
            answers.append(len(iam.list_users()["Users"]))
        except botocore.exceptions.ClientError as error:
            answers.append(error.operation_name + " " + error.response["Error"]["Code"])
    return answers
"""


@pytest.fixture(scope="module")
def reader(aws: Account) -> str:
    """Return the ARN of a role of the monitoring account that may take the role of every member."""
    return aws.role("sts:AssumeRole", resource=f"arn:aws:iam::*:role/{MEMBER_ROLE}")


@pytest.fixture(scope="module")
def powerless(aws: Account) -> str:
    """Return the ARN of a role that the members trust, and that may do nothing itself."""
    return aws.role()


@pytest.fixture(scope="module")
def made(local_aws: Emulator, aws: Account, reader: str, powerless: str) -> Fleet:
    """Make a fleet of two accounts that can be scanned, and the two that cannot."""
    return fleet.make(local_aws, 2, 5, trust(reader, powerless, aws.admin))


def trust(*roles: str) -> Trust:
    """Return what a member role trusts: these roles."""
    return {
        "role_name": MEMBER_ROLE,
        "monitor_account_id": ACCOUNT_ID,
        "monitor_role_arns": list(roles),
        "external_id": EXTERNAL_ID,
    }


def arn_of(account_id: str) -> str:
    return f"arn:aws:iam::{account_id}:role/{MEMBER_ROLE}"


def taken(aws: Account, session: boto3.Session, account_id: str, **request: str) -> boto3.Session:
    """Return a session of the member role of an account, taken by another session."""
    given = {"RoleSessionName": "scan", "ExternalId": EXTERNAL_ID, **request}
    asked = {name: value for name, value in given.items() if value}
    sts: Any = session.client("sts")
    credentials = sts.assume_role(RoleArn=arn_of(account_id), **asked)["Credentials"]
    return aws.emulator.session(credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])


def refused(ask: Callable[[], object]) -> str:
    """Return the code of the error that a call fails with."""
    with pytest.raises(ClientError) as raised:
        ask()
    return raised.value.response["Error"]["Code"]


def names(iam: Any) -> set[str]:
    return {user["UserName"] for page in iam.get_paginator("list_users").paginate() for user in page["Users"]}


# Who gets in


def test_the_users_of_each_account_are_read_by_its_role(aws: Account, made: Fleet, reader: str) -> None:
    for member in made.members[:2]:
        iam = taken(aws, aws.assume(reader), member.account_id).client("iam")
        assert len(member.users) == 5
        assert names(iam) == set(member.users)
        details = iam.get_account_authorization_details(Filter=["User"])["UserDetailList"]
        assert {user["Arn"].split(":")[4] for user in details} == {member.account_id}
        iam.generate_credential_report()
        report = eventually(partial(report_of, iam), "the report is not generated", seconds=10)
        assert f"<root_account>,arn:aws:iam::{member.account_id}:root," in report
        assert all(f"\n{name}," in report for name in member.users)
    assert not set(made.members[0].users) & set(made.members[1].users)


def report_of(iam: Any) -> str:
    try:
        content: bytes = iam.get_credential_report()["Content"]
    except ClientError:
        return ""
    return content.decode()


@pytest.mark.parametrize("name", ["iam-user-monitor-list-users", "7", "Scan=1,+@x.y-z"])
def test_whatever_the_names_of_the_sessions(aws: Account, made: Fleet, reader: str, name: str) -> None:
    account_id = made.members[0].account_id
    session = taken(aws, aws.assume(reader, f"by-{name}"), account_id, RoleSessionName=f"as-{name}")
    arn = session.client("sts").get_caller_identity()["Arn"]
    assert arn == f"arn:aws:sts::{account_id}:assumed-role/{MEMBER_ROLE}/as-{name}"


def test_the_account_without_the_role_lets_nobody_in(aws: Account, made: Fleet, reader: str) -> None:
    (member,) = [one for one in made.members if not one.has_role]
    assert refused(lambda: taken(aws, aws.assume(reader), member.account_id)) == "AccessDenied"
    assert not member.can_be_scanned


def test_the_suspended_account_lets_nobody_in(local_aws: Emulator, aws: Account, made: Fleet, reader: str) -> None:
    (member,) = [one for one in made.members if one.account.state == "SUSPENDED"]
    assert refused(lambda: taken(aws, aws.assume(reader), member.account_id)) == "AccessDenied"
    assert not member.can_be_scanned
    # It is for that reason only.
    assert local_aws.client("iam", member.account_id).get_role(RoleName=MEMBER_ROLE)


@pytest.mark.parametrize("external_id", ["", "another", EXTERNAL_ID.upper()])
def test_without_the_external_id_nobody_gets_in(aws: Account, made: Fleet, reader: str, external_id: str) -> None:
    account_id = made.members[0].account_id
    assert refused(lambda: taken(aws, aws.assume(reader), account_id, ExternalId=external_id)) == "AccessDenied"


def test_another_role_of_the_monitoring_account_does_not_get_in(aws: Account, made: Fleet) -> None:
    other = aws.assume(aws.role("*"))
    assert refused(lambda: taken(aws, other, made.members[0].account_id)) == "AccessDenied"


def test_nor_does_a_session_that_is_named_like_the_role(aws: Account, made: Fleet, reader: str) -> None:
    other = aws.assume(aws.role("*"), reader.rpartition("/")[2])
    assert refused(lambda: taken(aws, other, made.members[0].account_id)) == "AccessDenied"


def test_nor_a_role_of_the_same_name_in_another_account(
    local_aws: Emulator, aws: Account, made: Fleet, reader: str
) -> None:
    account_id, name = made.members[1].account_id, reader.rpartition("/")[2]
    everybody = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    iam = local_aws.client("iam", account_id)
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(everybody))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy(everything))
    try:
        other = aws.assume(arn)
        assert refused(lambda: taken(aws, other, made.members[0].account_id)) == "AccessDenied"
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="all")
        iam.delete_role(RoleName=name)


def test_the_trust_is_not_enough_without_a_permission_of_ones_own(aws: Account, made: Fleet, powerless: str) -> None:
    account_id = made.members[0].account_id
    assert refused(lambda: taken(aws, aws.assume(powerless), account_id)) == "AccessDenied"
    name = powerless.rpartition("/")[2]
    allowed = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": arn_of(account_id)}
    aws.iam.put_role_policy(RoleName=name, PolicyName="take", PolicyDocument=policy(allowed))
    try:
        taken(aws, aws.assume(powerless), account_id)
        # And for that account only.
        other = made.members[1].account_id
        assert refused(lambda: taken(aws, aws.assume(powerless), other)) == "AccessDenied"
    finally:
        aws.iam.delete_role_policy(RoleName=name, PolicyName="take")


def test_a_role_that_is_deleted_and_created_again_is_still_trusted(aws: Account, made: Fleet, powerless: str) -> None:
    account_id, name = made.members[0].account_id, powerless.rpartition("/")[2]
    role = aws.iam.get_role(RoleName=name)["Role"]
    aws.iam.delete_role(RoleName=name)
    again = aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(role["AssumeRolePolicyDocument"]))[
        "Role"
    ]
    allowed = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    aws.iam.put_role_policy(RoleName=name, PolicyName="take", PolicyDocument=policy(allowed))
    try:
        assert again["RoleId"] != role["RoleId"]
        taken(aws, aws.assume(powerless), account_id)
    finally:
        aws.iam.delete_role_policy(RoleName=name, PolicyName="take")


def test_who_got_in_may_read_the_users_and_nothing_else(aws: Account, made: Fleet, reader: str) -> None:
    account_id, user = made.members[0].account_id, made.members[0].users[0]
    session = taken(aws, aws.assume(reader), account_id)
    iam = session.client("iam")
    forbidden: list[Callable[[], object]] = [
        lambda: iam.get_user(UserName=user),
        lambda: iam.list_access_keys(UserName=user),
        lambda: iam.list_roles(),
        lambda: iam.create_user(UserName="intruder"),
        lambda: iam.create_access_key(UserName=user),
        lambda: session.client("dynamodb").list_tables(),
        lambda: taken(aws, session, made.members[1].account_id),
        lambda: session.client("organizations").list_accounts(),
    ]
    assert {refused(ask) for ask in forbidden} <= {"AccessDenied", "AccessDeniedException"}


def test_cloudformation_makes_the_role_of_the_template(local_aws: Emulator, made: Fleet, reader: str) -> None:
    """The same engine that a StackSet uses, where the fleet has filled the template in by itself."""
    account_id = "210999999999"
    trusted = trust(reader, f"{reader}-2")
    given = member_role.parameters(trusted)
    local_aws.client("cloudformation", account_id).create_stack(
        StackName="member",
        TemplateBody=member_role.TEMPLATE.read_text(),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
    )
    iam = local_aws.client("iam", account_id)
    role = eventually(lambda: role_of(iam), "the stack makes no role", seconds=10)
    wanted = member_role.properties(trusted)
    assert role is not None
    assert role["AssumeRolePolicyDocument"] == wanted["AssumeRolePolicyDocument"]
    assert (role["MaxSessionDuration"], role["Description"]) == (wanted["MaxSessionDuration"], wanted["Description"])
    (inline,) = wanted["Policies"]
    found = iam.get_role_policy(RoleName=MEMBER_ROLE, PolicyName=inline["PolicyName"])["PolicyDocument"]
    assert found == inline["PolicyDocument"]


def role_of(iam: Any) -> dict[str, Any] | None:
    try:
        role: dict[str, Any] = iam.get_role(RoleName=MEMBER_ROLE)["Role"]
    except ClientError:
        return None
    return role


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


# The organization


def test_the_organization_knows_the_accounts_and_why_two_cannot_be_scanned(aws: Account, made: Fleet) -> None:
    organizations = aws.emulator.client("organizations")
    pages = organizations.get_paginator("list_accounts").paginate()
    listed = {account["Id"]: account for page in pages for account in page["Accounts"]}
    states = {member.account_id: listed[member.account_id]["State"] for member in made.members}
    assert list(states.values()) == ["ACTIVE", "ACTIVE", "ACTIVE", "SUSPENDED"]
    assert [member.can_be_scanned for member in made.members] == [True, True, False, False]
    below = organizations.list_accounts_for_parent(ParentId=made.units["Workloads/Production"])["Accounts"]
    assert [account["Id"] for account in below] == [made.members[0].account_id]


@pytest.mark.parametrize("text", ["-1", "3001", "x", "1.5", "", "٣"])
def test_a_number_of_accounts_that_is_none_is_one_clear_line(text: str) -> None:
    with pytest.raises(LocalAwsError, match="ACCOUNTS must be a whole number from 0 to 3000"):
        fleet.parse_count(text)
    assert fleet.parse_count("3000") == 3000


# The accounts are apart


@pytest.fixture
def apart(local_aws: Emulator) -> tuple[Any, Any]:
    """Return IAM of two accounts."""
    return local_aws.client("iam", "220000000001"), local_aws.client("iam", "220000000002")


def test_a_name_is_taken_in_its_account_only(apart: tuple[Any, Any]) -> None:
    one, other = apart
    one.create_user(UserName="Alice", Tags=[{"Key": "team", "Value": "R&D"}])
    other.create_user(UserName="alice")
    other.update_user(UserName="alice", NewUserName="ALICE")
    assert refused(lambda: one.create_user(UserName="aLICE")) == "EntityAlreadyExists"
    assert one.get_user(UserName="Alice")["User"]["Tags"] == [{"Key": "team", "Value": "R&D"}]
    assert "Tags" not in other.get_user(UserName="ALICE")["User"]
    for iam, name in ((one, "Alice"), (other, "ALICE")):
        for _ in range(2):
            iam.create_access_key(UserName=name)
        assert refused(partial(iam.create_access_key, UserName=name)) == "LimitExceeded"
        assert names(iam) == {name}


def test_a_marker_goes_on_in_its_account(local_aws: Emulator) -> None:
    made = [users.populate(local_aws, 5, account) for account in ("220000000003", "220000000004")]
    for account, expected in zip(("220000000003", "220000000004"), made, strict=True):
        iam = local_aws.client("iam", account)
        pages = list(iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 2}))
        assert [len(page["Users"]) for page in pages] == [2, 2, 1]
        assert {user["UserName"] for page in pages for user in page["Users"]} == set(expected)
        assert {user["Arn"].split(":")[4] for page in pages for user in page["Users"]} == {account}
        details = iam.get_paginator("get_account_authorization_details").paginate(
            Filter=["User", "Group", "LocalManagedPolicy"], PaginationConfig={"PageSize": 4}
        )
        found = list(details)
        assert len(found) > 2
        assert {user["UserName"] for page in found for user in page["UserDetailList"]} == set(expected)
        owned = {one["Arn"].split(":")[4] for page in found for one in page["Policies"]}
        assert owned == {account}


def test_each_account_has_a_credential_report_of_its_own(local_aws: Emulator, apart: tuple[Any, Any]) -> None:
    one, other = apart
    past.set_generation_time(local_aws, 0, "220000000001")
    past.set_generation_time(local_aws, 3600, "220000000002")
    past.set_root(local_aws, "220000000001", mfa_active="true")
    assert one.generate_credential_report()["State"] == "STARTED"
    assert one.generate_credential_report()["State"] == "COMPLETE"
    assert refused(other.get_credential_report) == "ReportNotPresent"
    assert other.generate_credential_report()["State"] == "STARTED"
    assert refused(other.get_credential_report) == "ReportInProgress"
    past.pass_time(local_aws, 4 * 3600, "220000000001")
    assert refused(one.get_credential_report) == "ReportExpired"
    past.pass_time(local_aws, 3600, "220000000002")
    root = other.get_credential_report()["Content"].decode().splitlines()[1].split(",")
    assert (root[1], root[7]) == ("arn:aws:iam::220000000002:root", "false")


# Faults


@pytest.fixture
def mended(local_aws: Emulator) -> Iterator[None]:
    """Let no fault reach another test."""
    yield
    faults.mend(local_aws)


@pytest.fixture(scope="module")
def function(aws: Account) -> str:
    return aws.function(FUNCTION, name="fleet-list-users")


def listed(aws: Account, made: Fleet, function: str, **more: Any) -> list[Any]:
    """Return what a function tells of the first two accounts: how many users, or what was refused, and how."""
    roles = [arn_of(member.account_id) for member in made.members[:2]]
    answers, failed = aws.invoke(function, {"roles": roles, "external_id": EXTERNAL_ID, **more})
    assert not failed, answers
    found: list[Any] = answers
    return found


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize(
    ("call", "kind", "answer"),
    [
        ("iam:ListUsers", "throttled", "ListUsers Throttling"),
        ("iam:ListUsers", "access_denied", "ListUsers AccessDenied"),
        ("sts:AssumeRole", "throttled", "AssumeRole Throttling"),
        ("sts:AssumeRole", "access_denied", "AssumeRole AccessDenied"),
        ("sts:AssumeRole", "error", "AssumeRole InternalFailure"),
    ],
)
def test_a_fault_hits_one_account_only(
    local_aws: Emulator, aws: Account, made: Fleet, function: str, call: str, kind: str, answer: str
) -> None:
    faults.inject(local_aws, faults.fault(call, kind, by="list_users", account=made.members[1].account_id))
    assert listed(aws, made, function) == [5, answer]
    (counts,) = faults.injected(local_aws)
    assert (counts["seen"], counts["hit"]) == (1, 1)
    faults.mend(local_aws)
    assert listed(aws, made, function) == [5, 5]


@pytest.mark.usefixtures("mended")
def test_a_fault_by_step_hits_what_it_does_by_a_role_that_it_took(
    local_aws: Emulator, aws: Account, made: Fleet, function: str
) -> None:
    faults.inject(local_aws, faults.fault("iam:ListUsers", "throttled", by="read_posture"))
    assert listed(aws, made, function) == [5, 5]
    faults.inject(local_aws, faults.fault("iam:ListUsers", "throttled", "2", by="list_users"))
    assert listed(aws, made, function) == [5, "ListUsers Throttling"]


@pytest.mark.usefixtures("mended")
def test_an_invocation_fails_for_the_account_of_its_payload(
    local_aws: Emulator, aws: Account, made: Fleet, function: str
) -> None:
    account = made.members[0].account_id
    payload = {"roles": [], "external_id": EXTERNAL_ID}
    states: dict[str, Any] = {
        "Call": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": function, "Payload.$": "$"},
            "End": True,
        }
    }

    def ends(**more: Any) -> str:
        status: str = aws.wait(aws.start(states, {**payload, **more}))["status"]
        return status

    faults.inject(local_aws, faults.fault("lambda:list_users", "error", account=account))
    assert ends(run={"account_id": account}) == "FAILED"
    assert ends(run={"account_id": made.members[1].account_id}) == "SUCCEEDED"
    assert ends() == "SUCCEEDED"
    faults.mend(local_aws)
    faults.inject(local_aws, faults.fault("lambda:list_users", "error", account=ACCOUNT_ID))
    assert ends() == "FAILED"
    assert ends(run={"account_id": account}) == "SUCCEEDED"


@pytest.mark.usefixtures("mended")
def test_an_organization_that_does_not_answer(local_aws: Emulator, aws: Account) -> None:
    source = (
        "import boto3, botocore.config\n"
        "def handler(event, context):\n"
        "    once = botocore.config.Config(retries={'total_max_attempts': 1})\n"
        "    client = boto3.client('organizations', config=once)\n"
        "    try:\n"
        "        return len(client.list_accounts()['Accounts'])\n"
        "    except client.exceptions.TooManyRequestsException:\n"
        "        return 'throttled'\n"
    )
    organization.found(local_aws)
    function = aws.function(source)
    assert aws.invoke(function)[0] > 0
    faults.inject(local_aws, faults.fault("organizations:ListAccounts", "throttled"))
    assert aws.invoke(function)[0] == "throttled"


@pytest.mark.parametrize(
    ("call", "account", "message"),
    [
        ("dynamodb:PutItem", "210000000001", "ACCOUNT must be empty for dynamodb:PutItem"),
        ("organizations:ListAccounts", "210000000001", "ACCOUNT must be empty for organizations:ListAccounts"),
        ("iam:ListUsers", "21000000001", "ACCOUNT must be the 12 digits of an account, got '21000000001'"),
    ],
)
def test_an_account_that_cannot_be_is_one_clear_line(call: str, account: str, message: str) -> None:
    with pytest.raises(LocalAwsError, match=message):
        faults.fault(call, "throttled", account=account)
