"""Every correction twice: AWS's behaviour with it, and without it the defect that it is there for.

When a test of a defect fails, MiniStack has learnt to do it right: remove the correction, and the test of the defect.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from tests.emulator.conftest import Account
from tests.local_aws.aws import emulator, organization
from tests.local_aws.aws.corrections import CORRECTIONS, install_all
from tests.local_aws.aws.corrections.cloudwatch import parse_embedded_metrics
from tests.local_aws.run import scan

if TYPE_CHECKING:
    from collections.abc import Collection

PAYLOAD_LIMIT = 262_144

EMBEDDED = (
    '{"_aws": {"CloudWatchMetrics": [{"Namespace": "N", "Dimensions": [%s], "Metrics": [{"Name": "A"}]}]}, "A": %s}'
)

# Does what the event asks for.
FUNCTION = """
import json, os, sys, time

class ScanFailed(Exception):
    pass

def handler(event, context):
    print("working")
    time.sleep(event.get("seconds", 0))
    if "log" in event:
        print(json.dumps(event["log"]))
    if "raise" in event:
        raise ScanFailed(event["raise"])
    if "exit" in event:
        os._exit(event["exit"])
    if "import" in event:
        __import__(event["import"])
    if "set" in event:
        return {1}
    if "size" in event:
        return "x" * event["size"]
    return {"pid": os.getpid(), "left": context.get_remaining_time_in_millis(), "id": context.aws_request_id}
"""


def defect(correction: str, still_there: object) -> None:
    """Fail when MiniStack no longer shows the defect that a correction is there for."""
    assert correction in CORRECTIONS
    assert still_there, f"MiniStack does it right by now: correction {correction} can go"


def task(function: str, **fields: object) -> dict[str, Any]:
    """Return a Task state that gives its input to a function, and the function's result to the next state."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload.$": "$"},
        "OutputPath": "$.Payload",
        **({} if "Next" in fields else {"End": True}),
        **fields,
    }


def catch(error: str) -> dict[str, Any]:
    return {"Catch": [{"ErrorEquals": [error], "ResultPath": "$.error", "Next": "Caught"}]}


def error_code(raised: pytest.ExceptionInfo[ClientError]) -> str:
    return raised.value.response["Error"]["Code"]


@pytest.fixture(scope="module")
def function(aws: Account) -> str:
    return aws.function(FUNCTION)


@pytest.fixture(scope="module")
def bare_function(bare: Account) -> str:
    return bare.function(FUNCTION)


def test_a_correction_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def outdated() -> None:
        raise AttributeError("no _list_users")

    monkeypatch.setattr("tests.local_aws.aws.corrections.CORRECTIONS", {"outdated": outdated})
    with pytest.raises(RuntimeError, match=r"correction outdated does not fit MiniStack .*no _list_users"):
        install_all()


@pytest.fixture(scope="module")
def path(aws: Account) -> str:
    """Create 120 users, and return the path that they alone have."""
    for number in range(120):
        aws.iam.create_user(UserName=f"page-{number:03}", Path="/pages/", Tags=[{"Key": "team", "Value": "a"}])
    return "/pages/"


class TestListUsers:
    def names(self, page: Any) -> list[str]:
        return [user["UserName"] for user in page["Users"]]

    def test_returns_100_users_unless_told(self, aws: Account, path: str) -> None:
        first = aws.iam.list_users(PathPrefix=path)
        assert (len(first["Users"]), first["IsTruncated"]) == (100, True)

        rest = aws.iam.list_users(PathPrefix=path, Marker=first["Marker"])
        assert (len(rest["Users"]), rest["IsTruncated"], "Marker" in rest) == (20, False, False)

    @pytest.mark.parametrize("size", [1, 7, 119, 120, 1000])
    def test_pages_of_any_size_hold_every_user_once(self, aws: Account, path: str, size: int) -> None:
        paginator = aws.iam.get_paginator("list_users")
        pages = list(paginator.paginate(PathPrefix=path, PaginationConfig={"PageSize": size}))
        assert all(len(page["Users"]) <= size for page in pages)
        assert [name for page in pages for name in self.names(page)] == [f"page-{n:03}" for n in range(120)]

    def test_a_marker_survives_users_that_come_and_go(self, aws: Account, path: str) -> None:
        # Given the first ten of 120 users
        first = aws.iam.list_users(PathPrefix=path, MaxItems=10)
        # When the last of them is deleted, and users appear before and after the marker
        aws.iam.delete_user(UserName="page-009")
        aws.iam.create_user(UserName="page-000-new", Path=path)
        aws.iam.create_user(UserName="page-010-new", Path=path)
        try:
            second = aws.iam.list_users(PathPrefix=path, MaxItems=3, Marker=first["Marker"])
        finally:
            aws.iam.delete_user(UserName="page-000-new")
            aws.iam.delete_user(UserName="page-010-new")
            aws.iam.create_user(UserName="page-009", Path=path, Tags=[{"Key": "team", "Value": "a"}])
        # Then the next page neither repeats nor misses one
        assert self.names(second) == ["page-010", "page-010-new", "page-011"]

    def test_other_paths_are_left_out(self, aws: Account, path: str) -> None:
        aws.iam.create_user(UserName="elsewhere", Path="/other/")
        assert self.names(aws.iam.list_users(PathPrefix="/other/")) == ["elsewhere"]

    @pytest.mark.parametrize("request_", [{"MaxItems": 1001}, {"Marker": "nonsense"}, {"Marker": "YWZ0"}])
    def test_bad_input_is_a_validation_error(self, aws: Account, request_: dict[str, Any]) -> None:
        with pytest.raises(ClientError) as raised:
            aws.iam.list_users(**request_)
        assert error_code(raised) == "ValidationError"

    def test_tags_and_boundaries_are_left_out(self, aws: Account, path: str) -> None:
        user = aws.iam.list_users(PathPrefix=path)["Users"][0]
        assert user.keys() == {"Path", "UserName", "UserId", "Arn", "CreateDate"}
        assert aws.iam.get_user(UserName=user["UserName"])["User"]["Tags"] == [{"Key": "team", "Value": "a"}]

    def test_defect(self, bare: Account) -> None:
        for name in ("one", "two"):
            bare.iam.create_user(UserName=name, Tags=[{"Key": "team", "Value": "a"}])
        page = bare.iam.list_users(MaxItems=1)
        defect("iam_list_users", len(page["Users"]) > 1 or "Tags" in page["Users"][0])


class TestUsers:
    def test_paths_and_tags_may_hold_markup(self, aws: Account) -> None:
        path, tags = '/a&b/<"\\>/', [{"Key": "a<b", "Value": "c&d"}]
        created = aws.iam.create_user(UserName="markup", Path=path, Tags=tags)["User"]
        found = aws.iam.get_user(UserName="markup")["User"]
        listed = aws.iam.list_users(PathPrefix="/a&b/")["Users"][0]
        assert created["Path"] == found["Path"] == listed["Path"] == path
        assert found["Tags"] == aws.iam.list_user_tags(UserName="markup")["Tags"] == tags

    def test_fields_defect(self, bare: Account) -> None:
        try:
            bare.iam.create_user(UserName="markup", Path="/a&b/")
            defect("iam_user_fields", still_there=False)
        except ResponseParserError:
            pass
        finally:
            bare.iam.delete_user(UserName="markup")

    def test_names_that_differ_in_case_only_are_refused(self, aws: Account) -> None:
        aws.iam.create_user(UserName="Twin")
        with pytest.raises(ClientError) as raised:
            aws.iam.create_user(UserName="twIN")
        assert error_code(raised) == "EntityAlreadyExists"

        aws.iam.delete_user(UserName="Twin")
        aws.iam.create_user(UserName="twIN")

    def test_a_renamed_user_keeps_all_but_name_path_and_arn(self, aws: Account) -> None:
        iam = aws.iam
        before = iam.create_user(UserName="maiden", Path="/a/")["User"]
        iam.create_group(GroupName="renamed")
        iam.add_user_to_group(GroupName="renamed", UserName="maiden")
        iam.create_login_profile(UserName="maiden", Password="none")
        device = iam.create_virtual_mfa_device(VirtualMFADeviceName="maiden")["VirtualMFADevice"]["SerialNumber"]
        codes = {"AuthenticationCode1": "123456", "AuthenticationCode2": "123457"}
        iam.enable_mfa_device(UserName="maiden", SerialNumber=device, **codes)
        key = iam.create_access_key(UserName="maiden")["AccessKey"]["AccessKeyId"]
        statement = {"Effect": "Deny", "Action": "*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="maiden", PolicyName="inline", PolicyDocument=policy)

        iam.update_user(UserName="maiden", NewUserName="Married", NewPath="/b/")

        after = iam.get_user(UserName="Married")["User"]
        arn = "arn:aws:iam::000000000000:user/b/Married"
        assert after == {**before, "UserName": "Married", "Path": "/b/", "Arn": arn}
        with pytest.raises(iam.exceptions.NoSuchEntityException):
            iam.get_user(UserName="maiden")
        assert [group["GroupName"] for group in iam.list_groups_for_user(UserName="Married")["Groups"]] == ["renamed"]
        assert iam.get_login_profile(UserName="Married")["LoginProfile"]["UserName"] == "Married"
        assert [one["SerialNumber"] for one in iam.list_mfa_devices(UserName="Married")["MFADevices"]] == [device]
        assert [one["AccessKeyId"] for one in iam.list_access_keys(UserName="Married")["AccessKeyMetadata"]] == [key]
        assert iam.list_user_policies(UserName="Married")["PolicyNames"] == ["inline"]
        # The old name is free, the new one is taken, and a user may change the case of its own.
        iam.create_user(UserName="maiden")
        iam.update_user(UserName="Married", NewUserName="married")
        for taken in ("MAIDEN", "maiden"):
            with pytest.raises(iam.exceptions.EntityAlreadyExistsException):
                iam.update_user(UserName="married", NewUserName=taken)
        with pytest.raises(iam.exceptions.EntityAlreadyExistsException):
            iam.create_user(UserName="Married")

    def test_rename_defect(self, bare: Account) -> None:
        bare.iam.create_user(UserName="maiden")
        with pytest.raises(ClientError) as raised:
            bare.iam.update_user(UserName="maiden", NewUserName="married")
        defect("iam_update_user", error_code(raised) == "InvalidAction")

    def test_names_defect(self, bare: Account) -> None:
        bare.iam.create_user(UserName="Twin")
        try:
            bare.iam.create_user(UserName="twIN")
        except ClientError:
            defect("iam_user_names", still_there=False)


class TestTakingARole:
    def trusting(self, aws: Account, condition: dict[str, Any], path: str = "/") -> str:
        """Create a role that the account's own roles may take under a condition, and return its ARN."""
        name, root = aws.name("role"), {"AWS": "arn:aws:iam::000000000000:root"}
        statement = {"Effect": "Allow", "Principal": root, "Action": "sts:AssumeRole", "Condition": condition}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        role = aws.iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust)["Role"]
        arn: str = role["Arn"]
        return arn

    def by_its_own_arn(self, aws: Account) -> tuple[Any, str]:
        """Return STS of a role's session, and the ARN of a role that only that one may take."""
        arn = aws.role("sts:AssumeRole")
        taken = self.trusting(aws, {"ArnEquals": {"aws:PrincipalArn": arn}})
        return aws.assume(arn, "whatever").client("sts"), taken

    def test_a_condition_on_the_principal_is_about_the_role(self, aws: Account) -> None:
        sts, taken = self.by_its_own_arn(aws)
        assert sts.assume_role(RoleArn=taken, RoleSessionName="me")["AssumedRoleUser"]["Arn"].endswith("/me")

        other = aws.assume(aws.role("sts:AssumeRole"), "whatever").client("sts")
        with pytest.raises(ClientError) as raised:
            other.assume_role(RoleArn=taken, RoleSessionName="me")
        assert error_code(raised) == "AccessDenied"

    def test_the_principal_of_a_session_cannot_be_named(self, aws: Account) -> None:
        role = aws.role("sts:AssumeRole")
        session = f"{role.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/')}/whatever"
        taken = self.trusting(aws, {"ArnEquals": {"aws:PrincipalArn": session}})
        with pytest.raises(ClientError) as raised:
            aws.assume(role, "whatever").client("sts").assume_role(RoleArn=taken, RoleSessionName="me")
        assert error_code(raised) == "AccessDenied"

    def test_the_path_of_a_role_is_part_of_it(self, aws: Account) -> None:
        caller = self.trusting(aws, {}, "/teams/security/")
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        aws.iam.put_role_policy(RoleName=caller.rpartition("/")[2], PolicyName="policy", PolicyDocument=policy)
        taken = self.trusting(aws, {"StringEquals": {"aws:PrincipalArn": caller}})
        assert ":role/teams/security/" in caller
        aws.assume(caller).client("sts").assume_role(RoleArn=taken, RoleSessionName="me")

    def test_principal_defect(self, bare: Account) -> None:
        sts, taken = self.by_its_own_arn(bare)
        refused = False
        try:
            sts.assume_role(RoleArn=taken, RoleSessionName="me")
        except ClientError:
            refused = True
        defect("sts_principal_arn", refused)

    @pytest.mark.parametrize(
        "request_",
        [
            {"RoleSessionName": "scan#1"},
            {"RoleSessionName": "arn:aws:states"},
            {"RoleSessionName": "x" * 65},
        ],
    )
    def test_a_bad_session_is_a_validation_error(self, aws: Account, request_: dict[str, Any]) -> None:
        sts = aws.assume(aws.role("sts:AssumeRole")).client("sts")
        with pytest.raises(ClientError) as raised:
            sts.assume_role(RoleArn=aws.admin, **request_)
        assert error_code(raised) == "ValidationError"

    def test_a_role_that_is_taken_by_a_role_lasts_an_hour(self, aws: Account) -> None:
        long = self.trusting(aws, {})
        aws.iam.update_role(RoleName=long.rpartition("/")[2], MaxSessionDuration=7200)
        sts = aws.assume(aws.role("sts:AssumeRole")).client("sts")
        sts.assume_role(RoleArn=long, RoleSessionName="scan", DurationSeconds=3600)
        with pytest.raises(ClientError, match="role chaining") as raised:
            sts.assume_role(RoleArn=long, RoleSessionName="scan", DurationSeconds=3601)
        assert error_code(raised) == "ValidationError"

    def test_a_session_lasts_as_long_as_its_role_allows(self, aws: Account) -> None:
        sts = aws.emulator.client("sts")
        long = self.trusting(aws, {})
        aws.iam.update_role(RoleName=long.rpartition("/")[2], MaxSessionDuration=7200)
        sts.assume_role(RoleArn=long, RoleSessionName="scan", DurationSeconds=7200)
        for role, seconds in ((long, 7201), (self.trusting(aws, {}), 3601)):
            with pytest.raises(ClientError, match="MaxSessionDuration") as raised:
                sts.assume_role(RoleArn=role, RoleSessionName="scan", DurationSeconds=seconds)
            assert error_code(raised) == "ValidationError"

    def test_session_defect(self, bare: Account) -> None:
        sts, kept = bare.emulator.client("sts"), []
        for request_ in ({"RoleSessionName": "scan#1"}, {"RoleSessionName": "scan", "DurationSeconds": 3601}):
            try:
                sts.assume_role(RoleArn=bare.admin, **request_)
            except ClientError:
                kept.append(request_)
        defect("sts_sessions", len(kept) < 2)

    @pytest.mark.parametrize("state", ["SUSPENDED", "CLOSED", "PENDING_CLOSURE", "PENDING_ACTIVATION"])
    def test_nobody_gets_into_an_account_that_is_closed(self, aws: Account, state: str) -> None:
        account = organization.Account("301000000001", "acquired")
        organization.found(aws.emulator, [account], management="301000000000")
        role = self.role_in(aws, account.account_id)
        sts = aws.emulator.client("sts")
        sts.assume_role(RoleArn=role, RoleSessionName="scan")

        organization.found(aws.emulator, [replace(account, state=state)], management="301000000000")

        with pytest.raises(ClientError) as raised:
            sts.assume_role(RoleArn=role, RoleSessionName="scan")
        assert error_code(raised) == "AccessDenied"

    def role_in(self, aws: Account, account: str) -> str:
        """Return the ARN of a role of another account that everybody may take."""
        statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        role = aws.emulator.client("iam", account).create_role(
            RoleName=aws.name("role"), AssumeRolePolicyDocument=trust
        )["Role"]
        arn: str = role["Arn"]
        return arn

    def test_closed_account_defect(self, bare: Account) -> None:
        organizations = bare.emulator.client("organizations")
        made = organizations.create_account(Email="a@example.com", AccountName="a")["CreateAccountStatus"]
        role = self.role_in(bare, made["AccountId"])
        organizations.close_account(AccountId=made["AccountId"])
        try:
            bare.emulator.client("sts").assume_role(RoleArn=role, RoleSessionName="scan")
        except ClientError:
            defect("sts_closed_accounts", still_there=False)


MANAGEMENT = "302000000000"


@pytest.fixture(scope="module")
def units(aws: Account) -> dict[str, str]:
    """Found an organization of 45 accounts besides the management account, and return the IDs of its units."""
    accounts = [
        organization.Account(f"3020000001{number:02}", f"account-{number}", f"Workloads/{('A', 'B')[number % 2]}")
        for number in range(44)
    ]
    closed = organization.Account("302000000199", "closed", "Suspended", "SUSPENDED")
    return organization.found(aws.emulator, [*accounts, closed], management=MANAGEMENT)


class TestOrganizations:
    def organizations(self, aws: Account, account: str = MANAGEMENT) -> Any:
        return aws.emulator.client("organizations", account)

    def test_accounts_come_in_pages_of_which_some_are_empty(self, aws: Account, units: dict[str, str]) -> None:
        pages = list(self.organizations(aws).get_paginator("list_accounts").paginate())
        assert [len(page["Accounts"]) for page in pages] == [20, 0, 20, 6]
        assert len({account["Id"] for page in pages for account in page["Accounts"]}) == 46

    @pytest.mark.parametrize(("size", "pages"), [(1, 47), (7, 8), (20, 4)])
    def test_pages_of_any_size_hold_every_account_once(
        self, aws: Account, units: dict[str, str], size: int, pages: int
    ) -> None:
        paginator = self.organizations(aws).get_paginator("list_accounts")
        answers = list(paginator.paginate(PaginationConfig={"PageSize": size}))
        assert (len(answers), len({one["Id"] for page in answers for one in page["Accounts"]})) == (pages, 46)

    def test_a_page_survives_an_account_that_leaves(self, aws: Account, units: dict[str, str]) -> None:
        leaver = organization.Account("302000000050", "leaver")
        organization.found(aws.emulator, [leaver], management=MANAGEMENT)
        api = self.organizations(aws)
        first = api.list_accounts(MaxResults=2)
        assert first["Accounts"][1]["Id"] == leaver.account_id
        organization.found(aws.emulator, left=[leaver.account_id], management=MANAGEMENT)
        empty = api.list_accounts(MaxResults=2, NextToken=first["NextToken"])
        second = api.list_accounts(MaxResults=2, NextToken=empty["NextToken"])
        assert [account["Id"] for account in second["Accounts"]] == ["302000000100", "302000000101"]

    @pytest.mark.parametrize(
        ("request_", "reason"),
        [
            ({"MaxResults": 21}, "MAX_VALUE_EXCEEDED"),
            ({"NextToken": "nonsense"}, "INVALID_NEXT_TOKEN"),
        ],
    )
    def test_bad_input_is_refused(
        self, aws: Account, units: dict[str, str], request_: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(ClientError) as raised:
            self.organizations(aws).list_accounts(**request_)
        response: dict[str, Any] = {**raised.value.response}
        assert (error_code(raised), response["Reason"]) == ("InvalidInputException", reason)

    def test_units_are_nested(self, aws: Account, units: dict[str, str]) -> None:
        api = self.organizations(aws)
        (root,) = api.list_roots()["Roots"]
        assert units.keys() == {"", "Workloads", "Workloads/A", "Workloads/B", "Suspended"}
        assert root["Id"] == units[""]

        def below(parent: str) -> dict[str, str]:
            found = api.list_organizational_units_for_parent(ParentId=parent)["OrganizationalUnits"]
            return {unit["Name"]: unit["Id"] for unit in found}

        assert below(root["Id"]) == {"Workloads": units["Workloads"], "Suspended": units["Suspended"]}
        assert below(units["Workloads"]) == {"A": units["Workloads/A"], "B": units["Workloads/B"]}
        pages = api.get_paginator("list_accounts_for_parent").paginate(ParentId=units["Workloads/A"])
        assert len([account for page in pages for account in page["Accounts"]]) == 22
        assert api.list_accounts_for_parent(ParentId=units["Workloads"])["Accounts"] == []
        assert api.list_parents(ChildId="302000000100")["Parents"] == [
            {"Id": units["Workloads/A"], "Type": "ORGANIZATIONAL_UNIT"}
        ]

    @pytest.mark.parametrize("operation", ["list_accounts_for_parent", "list_organizational_units_for_parent"])
    def test_an_unknown_parent_is_not_an_empty_one(self, aws: Account, units: dict[str, str], operation: str) -> None:
        with pytest.raises(ClientError) as raised:
            getattr(self.organizations(aws), operation)(ParentId="ou-ab12-cdefghij")
        assert error_code(raised) == "ParentNotFoundException"

    def test_listing_defect(self, bare: Account) -> None:
        api = bare.emulator.client("organizations", "303000000000")
        api.create_account(Email="a@example.com", AccountName="a")
        answers = [len(api.list_accounts(MaxResults=1)["Accounts"]) > 1]
        try:
            api.list_accounts_for_parent(ParentId="ou-ab12-cdefghij")
            answers.append(True)
        except ClientError:
            pass
        defect("organizations_listings", any(answers))

    def test_an_account_has_a_state_and_no_status(self, aws: Account, units: dict[str, str]) -> None:
        api = self.organizations(aws)
        (closed,) = api.list_accounts_for_parent(ParentId=units["Suspended"])["Accounts"]
        assert closed == api.describe_account(AccountId="302000000199")["Account"]
        assert closed.keys() == {"Id", "Arn", "Email", "Name", "State", "JoinedMethod", "JoinedTimestamp"}
        assert (closed["State"], closed["Name"]) == ("SUSPENDED", "closed")
        assert re.fullmatch(r"arn:aws:organizations::302000000000:account/o-\w{10}/302000000199", closed["Arn"])

    def test_state_defect(self, bare: Account) -> None:
        (account,) = bare.emulator.client("organizations", "304000000000").list_accounts()["Accounts"]
        defect("organizations_account_state", "State" not in account)

    def test_a_member_may_not_list(self, aws: Account, units: dict[str, str]) -> None:
        member = self.organizations(aws, "302000000100")
        with pytest.raises(ClientError) as raised:
            member.list_accounts()
        assert error_code(raised) == "AccessDeniedException"
        assert member.describe_organization()["Organization"]["MasterAccountId"] == MANAGEMENT

    def test_a_delegated_administrator_lists_and_changes_nothing(self, aws: Account, units: dict[str, str]) -> None:
        organization.found(aws.emulator, delegated=["302000000101"], management=MANAGEMENT)
        delegated = self.organizations(aws, "302000000101")
        assert len(delegated.list_accounts()["Accounts"]) == 20
        with pytest.raises(ClientError) as raised:
            delegated.close_account(AccountId="302000000100")
        assert error_code(raised) == "AccessDeniedException"

        organization.found(aws.emulator, delegated=[], management=MANAGEMENT)
        with pytest.raises(ClientError) as raised:
            delegated.list_accounts()
        assert error_code(raised) == "AccessDeniedException"

    def test_an_account_in_no_organization_is_told_so(self, aws: Account, units: dict[str, str]) -> None:
        for operation in ("list_accounts", "describe_organization"):
            with pytest.raises(ClientError) as raised:
                getattr(self.organizations(aws, "305000000000"), operation)()
            assert error_code(raised) == "AWSOrganizationsNotInUseException"

    def test_a_role_lists_only_with_the_permission(self, aws: Account, units: dict[str, str]) -> None:
        organization.found(aws.emulator, [organization.Account("302000000198", "new")])
        aws.assume(aws.role("organizations:ListAccounts")).client("organizations").list_accounts()
        with pytest.raises(ClientError) as raised:
            aws.assume(aws.role("organizations:ListRoots")).client("organizations").list_accounts()
        assert error_code(raised) == "AccessDeniedException"

    LISTINGS: ClassVar[dict[str, str]] = {
        "list_accounts_for_parent": "organizations:ListAccountsForParent",
        "list_organizational_units_for_parent": "organizations:ListOrganizationalUnitsForParent",
    }

    def may_list(self, account: Account, parent: str, resource: str, operation: str) -> bool:
        """Return whether a role lists what is in a parent that may do that on a resource."""
        api = account.assume(account.role(self.LISTINGS[operation], resource=resource)).client("organizations")
        try:
            getattr(api, operation)(ParentId=parent)
        except api.exceptions.AccessDeniedException:
            return False
        return True

    @pytest.mark.parametrize("operation", LISTINGS)
    def test_a_role_lists_the_root_or_the_units_that_it_may(self, aws: Account, operation: str) -> None:
        of_own = organization.found(aws.emulator, [organization.Account("302000000197", "new", "One")])
        root, unit = of_own[""], of_own["One"]
        resource = "arn:aws:organizations::000000000000:{}/o-*/{}"
        assert self.may_list(aws, root, resource.format("root", "r-*"), operation)
        assert self.may_list(aws, unit, resource.format("ou", unit), operation)
        assert not self.may_list(aws, unit, resource.format("root", "r-*"), operation)
        assert not self.may_list(aws, root, resource.format("ou", "ou-*"), operation)

    def test_unit_resources_defect(self, bare: Account) -> None:
        api = bare.emulator.client("organizations")
        api.list_accounts()
        (root,) = api.list_roots()["Roots"]
        resource = "arn:aws:organizations::000000000000:root/o-*/r-*"
        lists = self.may_list(bare, root["Id"], resource, "list_accounts_for_parent")
        defect("organizations_unit_resources", not lists)

    def test_membership_defect(self, bare: Account) -> None:
        api = bare.emulator.client("organizations", "306000000000")
        try:
            api.list_accounts()
        except ClientError:
            defect("organizations_membership", still_there=False)


class TestPythonRuntime:
    def test_an_exception_keeps_its_class(self, aws: Account, function: str) -> None:
        payload, failed = aws.invoke(function, {"raise": 'two\nlines, "é"'})
        assert failed
        assert payload.keys() == {"errorType", "errorMessage", "requestId", "stackTrace"}
        assert (payload["errorType"], payload["errorMessage"]) == ("ScanFailed", 'two\nlines, "é"')
        (frame,) = payload["stackTrace"]
        assert frame.startswith("  File ")
        assert frame.rstrip().endswith('raise ScanFailed(event["raise"])')

    def test_an_exception_leaves_the_worker_warm_and_its_log_complete(self, aws: Account) -> None:
        function = aws.function(FUNCTION)
        before, _ = aws.invoke(function, {})
        failed, _ = aws.invoke(function, {"raise": "no"})
        after, _ = aws.invoke(function, {})
        assert before["pid"] == after["pid"]
        assert len({before["id"], failed["requestId"], after["id"]}) == 3
        lines = [
            event["message"] for event in aws.logs.filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
        ]
        assert lines.count("working") == 3
        assert "[ERROR] ScanFailed: no" in lines

    def test_step_functions_catches_it_by_name(self, aws: Account, function: str) -> None:
        states = {
            "Scan": task(function, Next="Done", **catch("ScanFailed")),
            "Done": {"Type": "Succeed"},
            "Caught": {"Type": "Pass", "End": True},
        }
        description = aws.wait(aws.start(states, {"raise": "no users"}))
        error = json.loads(description["output"])["error"]
        assert error["Error"] == "ScanFailed"
        assert json.loads(error["Cause"])["errorMessage"] == "no users"

    @pytest.mark.parametrize(
        ("event", "error_type"),
        [
            ({"exit": 3}, "Runtime.ExitError"),
            ({"seconds": 2}, "Sandbox.Timedout"),
            ({"set": True}, "Runtime.MarshalError"),
            # Installed beside the emulator, but in no package.
            ({"import": "pytest"}, "ModuleNotFoundError"),
        ],
    )
    def test_other_failures_have_the_types_of_aws(self, aws: Account, event: object, error_type: str) -> None:
        payload, failed = aws.invoke(aws.function(FUNCTION, timeout=1), event)
        assert failed
        assert payload["errorType"] == error_type

    @pytest.mark.parametrize(
        ("source", "error_type"),
        [
            ("import nonesuch", "Runtime.ImportModuleError"),
            ("def", "Runtime.UserCodeSyntaxError"),
            ("", "Runtime.HandlerNotFound"),
            ("1 / 0", "ZeroDivisionError"),
        ],
    )
    def test_a_module_that_does_not_load_fails_every_invocation(
        self, aws: Account, source: str, error_type: str
    ) -> None:
        function = aws.function(source)
        for _ in range(2):
            payload, failed = aws.invoke(function)
            assert failed
            assert payload["errorType"] == error_type

    def test_the_package_comes_before_what_is_installed(self, aws: Account) -> None:
        files = {
            "pack/__init__.py": "",
            "pack/step/__init__.py": "",
            "pack/step/handler.py": "import boto3, hypercorn, pytest\ndef handler(*_): return [hypercorn.A, pytest.A]",
            "hypercorn.py": "A = 'packaged hypercorn'",
            "pytest/__init__.py": "A = 'packaged pytest'",
        }
        payload, failed = aws.invoke(aws.function(files, handler="pack.step.handler.handler"))
        assert not failed, payload
        assert payload == ["packaged hypercorn", "packaged pytest"]

    def test_the_context_counts_down(self, aws: Account, function: str) -> None:
        payload, _ = aws.invoke(function, {"seconds": 0.2})
        assert 9_000 < payload["left"] <= 9_800

    def test_defect(self, bare: Account, bare_function: str) -> None:
        payload, _ = bare.invoke(bare_function, {"raise": "no"})
        defect("lambda_python_runtime", payload["errorType"] != "ScanFailed")


class TestMetrics:
    @staticmethod
    def line(namespace: str, *dimension_sets: list[str], **values: object) -> dict[str, Any]:
        directive = {
            "Namespace": namespace,
            "Dimensions": list(dimension_sets),
            "Metrics": [{"Name": "Users", "Unit": "Count"}, {"Name": "Duration", "Unit": "Milliseconds"}],
        }
        moment = int((datetime.now(UTC) - timedelta(minutes=30)).timestamp() * 1000)
        return {"_aws": {"Timestamp": moment, "CloudWatchMetrics": [directive]}, "Users": 3, "Duration": 1.5, **values}

    @staticmethod
    def statistics(account: Account, namespace: str, name: str, **dimensions: str) -> list[Any]:
        now = datetime.now(UTC)
        points = account.metrics.get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=now - timedelta(hours=1),
            EndTime=now,
            Period=60,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        return [(point["Sum"], point["SampleCount"], point["Unit"]) for point in points]

    def test_a_printed_line_becomes_metrics(self, aws: Account, function: str) -> None:
        aws.invoke(function, {"log": self.line("Printed", [], ["service"], service="scan", Users=[1, 2])})

        listed = aws.metrics.list_metrics(Namespace="Printed")["Metrics"]
        assert sorted((metric["MetricName"], len(metric["Dimensions"])) for metric in listed) == [
            ("Duration", 0), ("Duration", 1), ("Users", 0), ("Users", 1),
        ]  # fmt: skip
        assert self.statistics(aws, "Printed", "Users") == [(3, 2, "Count")]
        assert self.statistics(aws, "Printed", "Duration", service="scan") == [(1.5, 1, "Milliseconds")]

    def test_the_lines_own_time_counts(self, aws: Account, function: str) -> None:
        line = self.line("Earlier", [])
        line["_aws"]["Timestamp"] -= 3_600_000
        aws.invoke(function, {"log": line})
        assert aws.metrics.list_metrics(Namespace="Earlier")["Metrics"]
        assert self.statistics(aws, "Earlier", "Users") == []

    def test_metric_data_shows_them(self, aws: Account, function: str) -> None:
        aws.invoke(function, {"log": self.line("Queried", [])})
        now = datetime.now(UTC)
        statistic = {"Metric": {"Namespace": "Queried", "MetricName": "Users"}, "Period": 60, "Stat": "Sum"}
        (result,) = aws.metrics.get_metric_data(
            MetricDataQueries=[{"Id": "users", "MetricStat": statistic}],
            StartTime=now - timedelta(hours=1),
            EndTime=now,
        )["MetricDataResults"]
        assert result["Values"] == [3]

    @pytest.mark.parametrize(
        "line",
        [
            "plain text",
            '{"_aws"',
            '{"_aws": 1}',
            '{"message": "about _aws"}',
            EMBEDDED % ('["absent"]', "1"),
            EMBEDDED % ("[]", '"1"'),
            EMBEDDED % ("[]", "[]"),
            EMBEDDED % ("[]", "null"),
        ],
    )
    def test_other_lines_publish_nothing(self, line: str) -> None:
        assert list(parse_embedded_metrics(line)) == []

    def test_a_line_need_not_name_time_or_unit(self) -> None:
        (datum,) = parse_embedded_metrics(EMBEDDED % ("[]", "1"))
        assert (datum.name, datum.dimensions, datum.unit, datum.values) == ("A", {}, "None", [1])
        assert datum.timestamp == pytest.approx(time.time(), abs=5)

    def test_emf_defect(self, bare: Account, bare_function: str) -> None:
        bare.invoke(bare_function, {"log": self.line("Printed", [])})
        defect("cloudwatch_emf", not bare.metrics.list_metrics(Namespace="Printed")["Metrics"])

    def publish_with_dimension(self, account: Account) -> None:
        datum = {
            "MetricName": "Users",
            "Dimensions": [{"Name": "service", "Value": "scan"}],
            "Timestamp": datetime.now(UTC) - timedelta(minutes=5),
            "Value": 7,
        }
        account.metrics.put_metric_data(Namespace="Dimensions", MetricData=[datum])

    def test_a_query_without_dimensions_finds_no_metric_with_dimensions(self, aws: Account) -> None:
        self.publish_with_dimension(aws)
        assert self.statistics(aws, "Dimensions", "Users") == []
        assert self.statistics(aws, "Dimensions", "Users", service="scan") == [(7, 1, "None")]

    def test_no_dimensions_defect(self, bare: Account) -> None:
        self.publish_with_dimension(bare)
        defect("cloudwatch_no_dimensions", self.statistics(bare, "Dimensions", "Users"))


class TestPayloadLimit:
    LARGEST = PAYLOAD_LIMIT - len('{"StatusCode":200,"Payload":""}')

    def test_the_largest_result_passes(self, aws: Account, function: str) -> None:
        assert aws.wait(aws.start({"Scan": task(function)}, {"size": self.LARGEST}))["status"] == "SUCCEEDED"

    def test_one_byte_more_fails(self, aws: Account, function: str) -> None:
        description = aws.wait(aws.start({"Scan": task(function)}, {"size": self.LARGEST + 1}))
        assert (description["status"], description["error"]) == ("FAILED", "States.DataLimitExceeded")

    def test_bytes_count_not_characters(self, aws: Account) -> None:
        states = {"Say": {"Type": "Pass", "Result": "é" * (PAYLOAD_LIMIT // 2), "End": True}}
        assert aws.wait(aws.start(states))["error"] == "States.DataLimitExceeded"

    @pytest.mark.parametrize("error", ["States.ALL", "States.TaskFailed", "States.DataLimitExceeded"])
    def test_only_its_name_catches_it(self, aws: Account, function: str, error: str) -> None:
        states = {"Scan": task(function, **catch(error)), "Caught": {"Type": "Pass", "End": True}}
        description = aws.wait(aws.start(states, {"size": PAYLOAD_LIMIT}))
        expected = "SUCCEEDED" if error == "States.DataLimitExceeded" else "FAILED"
        assert description["status"] == expected

    def test_results_of_a_map_add_up(self, aws: Account, function: str) -> None:
        processor = {"StartAt": "Scan", "States": {"Scan": task(function)}}
        states = {
            "All": {
                "Type": "Map", "ItemsPath": "$.items", "ItemProcessor": processor, "End": True,
                **catch("States.DataLimitExceeded"),
            },
            "Caught": {"Type": "Succeed"},
        }  # fmt: skip
        description = aws.wait(aws.start(states, {"items": [{"size": PAYLOAD_LIMIT // 2}] * 2}))
        assert description["status"] == "SUCCEEDED", description
        assert "MapStateEntered" in aws.history(description["executionArn"])
        assert "SucceedStateEntered" in aws.history(description["executionArn"])

    def test_defect(self, bare: Account, bare_function: str) -> None:
        description = bare.wait(bare.start({"Scan": task(bare_function)}, {"size": PAYLOAD_LIMIT}))
        defect("states_payload_limit", description["status"] == "SUCCEEDED")


class TestPaths:
    """See ``test_interpreters.py`` for ResultPath."""

    @pytest.mark.parametrize("path", ["$.absent", "$.list[2]", "$.list.first", "$$.Execution.Absent", "$.empty.deep"])
    @pytest.mark.parametrize("template", ["{}", "States.Format('{{}}', {})"])
    def test_a_path_that_finds_nothing_fails_the_state(self, aws: Account, path: str, template: str) -> None:
        states = {"Say": {"Type": "Pass", "Parameters": {"it": {"is.$": template.format(path)}}, "End": True}}
        description = aws.wait(aws.start(states, {"list": [1, 2], "empty": None}))
        assert (description["status"], description["error"]) == ("FAILED", "States.Runtime")
        assert f"The JSONPath '{path}' specified for the field" in description["cause"]

    @pytest.mark.parametrize(
        ("path", "value"),
        [("$", {"list": [1, 2], "empty": None}), ("$.empty", None), ("$.list[1]", 2), ("$['list']", [1, 2]),
         ("$.list[*]", [1, 2]), ("$$.State.Name", "Say"), ("States.Format('{}', $.list[0])", "1")],
    )  # fmt: skip
    def test_what_is_there_is_found(self, aws: Account, path: str, value: object) -> None:
        states = {"Say": {"Type": "Pass", "Parameters": {"it": {"is.$": path}}, "End": True}}
        description = aws.wait(aws.start(states, {"list": [1, 2], "empty": None}))
        assert json.loads(description["output"]) == {"it": {"is": value}}

    def test_nothing_catches_it(self, aws: Account, function: str) -> None:
        states = {"Scan": task(function, **catch("States.ALL")), "Caught": {"Type": "Succeed"}}
        states["Scan"]["Parameters"]["Payload.$"] = "$.absent"
        assert aws.wait(aws.start(states))["error"] == "States.Runtime"

    def test_a_tested_state_fails_as_well(self, aws: Account) -> None:
        scan = task("function", **catch("Busy"))
        states = {"Scan": scan, "Caught": {"Type": "Succeed"}}
        answer = aws.states_without_host_prefix.test_state(
            definition=json.dumps({"StartAt": "Scan", "States": states}),
            stateName="Scan",
            input="[1]",
            mock={"errorOutput": {"error": "Busy", "cause": "once"}},
        )
        assert (answer["status"], answer["error"]) == ("FAILED", "States.ResultPathMatchFailure")

    def test_defect(self, bare: Account) -> None:
        states = {"Say": {"Type": "Pass", "Parameters": {"is.$": "$.absent"}, "End": True}}
        defect("states_paths", bare.wait(bare.start(states))["status"] == "SUCCEEDED")


class TestScheduledTask:
    @staticmethod
    def scheduled(account: Account, function: str) -> list[dict[str, Any]]:
        """Run a function in a Map, then a call of DynamoDB that fails; return what was scheduled."""
        one = task(function)
        one["Parameters"]["Payload"] = {"item.$": "$", "name.$": "$$.State.Name"}
        del one["Parameters"]["Payload.$"]
        delete = {
            "Type": "Task",
            "Resource": "arn:aws:states:::dynamodb:deleteItem",
            "Parameters": {"TableName": "none", "Key": {"id": {"S.$": "$$.State.Name"}}},
            "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}],
            "End": True,
        }
        processor = {"StartAt": "One", "States": {"One": one}}
        states = {"All": {"Type": "Map", "ItemProcessor": processor, "Next": "Delete"}, "Delete": delete}
        execution = account.start(states, ["a", "b"])
        account.wait(execution)
        events = account.states.get_execution_history(executionArn=execution)["events"]
        return [event["taskScheduledEventDetails"] for event in events if event["type"] == "TaskScheduled"]

    def test_the_history_has_what_a_task_was_called_with(self, aws: Account, function: str) -> None:
        calls = [(call["resourceType"], call["resource"], call["region"], json.loads(call["parameters"]))
                 for call in self.scheduled(aws, function)]  # fmt: skip
        invocations = [
            ("lambda", "invoke", "us-east-1", {"FunctionName": function, "Payload": {"item": item, "name": "One"}})
            for item in ("a", "b")
        ]
        delete = ("dynamodb", "deleteItem", "us-east-1", {"TableName": "none", "Key": {"id": {"S": "Delete"}}})
        assert sorted(calls[:2], key=str) == invocations
        assert calls[2:] == [delete, delete]

    def test_the_invocations_of_an_execution_can_be_made_again(
        self, local_aws: emulator.Emulator, aws: Account, function: str
    ) -> None:
        # Given an execution that failed, was redriven, and failed again, with a retry each
        retry = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}]
        arn = aws.functions.get_function(FunctionName=function)["Configuration"]["FunctionArn"]
        states = {"First": {**task(arn, Next="Second"), "OutputPath": "$", "ResultPath": None},
                  "Second": task(f"{arn}:$LATEST", Retry=retry)}  # fmt: skip
        states["Second"]["Parameters"]["Payload"] = {"raise": "no"}
        del states["Second"]["Parameters"]["Payload.$"]
        execution = aws.start(states, {"seconds": 0})
        aws.wait(execution)
        aws.states.redrive_execution(executionArn=execution)
        aws.wait(execution)
        # When its invocations are asked for
        invocations = scan.invocations_of(local_aws.client, execution)
        # Then all of them are there, and can be made again
        assert invocations == [(function, {"seconds": 0}), *[(function, {"raise": "no"})] * 4]
        answers = [aws.invoke(*invocation) for invocation in invocations]
        assert [failed for _, failed in answers] == [False, True, True, True, True]

    def test_defect(self, bare: Account, bare_function: str) -> None:
        defect("states_scheduled_task", not any("parameters" in call for call in self.scheduled(bare, bare_function)))


class TestTimeout:
    def states(self, function: str) -> dict[str, Any]:
        return {
            "Scan": task(function, Next="Never", **catch("States.ALL")),
            "Never": {"Type": "Pass", "End": True},
            "Caught": {"Type": "Pass", "End": True},
        }

    def test_the_machines_timeout_ends_the_execution(self, aws: Account, function: str) -> None:
        # Given a rule that hears of it
        heard = aws.function(
            "import boto3\n"
            "def handler(event, context):\n"
            "    boto3.client('iam').create_user(UserName='heard-' + event['detail']['status'])"
        )
        aws.events.put_rule(
            Name="timed-out", EventPattern=json.dumps({"source": ["aws.states"], "detail": {"status": ["TIMED_OUT"]}})
        )
        target = aws.functions.get_function(FunctionName=heard)["Configuration"]["FunctionArn"]
        aws.events.put_targets(Rule="timed-out", Targets=[{"Id": "heard", "Arn": target}])
        # When a task takes longer than the machine may
        started = time.monotonic()
        execution = aws.start(self.states(function), {"seconds": 4}, TimeoutSeconds=1)
        description = aws.wait(execution)
        # Then it ends in time, in no Catch, with an event in its history and one on the bus, and for good
        assert description["status"] == "TIMED_OUT"
        assert time.monotonic() - started < 3.5
        expected = ["ExecutionStarted", "TaskStateEntered", "TaskScheduled", "ExecutionTimedOut"]
        assert aws.history(execution) == expected
        time.sleep(4)
        assert aws.history(execution) == expected
        assert "heard-TIMED_OUT" in {user["UserName"] for user in aws.iam.list_users(MaxItems=1000)["Users"]}

    def test_a_wait_is_cut_short(self, aws: Account) -> None:
        execution = aws.start({"Wait": {"Type": "Wait", "Seconds": 1000, "End": True}}, TimeoutSeconds=1)
        assert aws.wait(execution)["status"] == "TIMED_OUT"

    def test_an_execution_in_time_is_left_alone(self, aws: Account, function: str) -> None:
        execution = aws.start({"Scan": task(function)}, TimeoutSeconds=1)
        assert aws.wait(execution)["status"] == "SUCCEEDED"
        time.sleep(1.2)
        assert aws.wait(execution)["status"] == "SUCCEEDED"
        assert aws.history(execution)[-1] == "ExecutionSucceeded"

    def test_defect(self, bare: Account, bare_function: str) -> None:
        description = bare.wait(bare.start(self.states(bare_function), {"seconds": 1.5}, TimeoutSeconds=1))
        defect("states_timeout", description["status"] != "TIMED_OUT")


class TestStop:
    @staticmethod
    def stop_in_map(account: Account, function: str) -> tuple[str, list[str], list[str]]:
        """Stop an execution in the middle of a Map whose calls fail later.

        Return its status, its history right after the stop, and what came later.
        """
        retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 3}]
        processor = {"StartAt": "Scan", "States": {"Scan": task(function, Retry=retry)}}
        states = {
            "All": {
                "Type": "Map", "MaxConcurrency": 2, "ItemProcessor": processor, "Next": "After", **catch("States.ALL"),
            },
            "After": task(function),
            "Caught": {"Type": "Pass", "End": True},
        }  # fmt: skip
        execution = account.start(states, [{"seconds": 0.4, "raise": "late"}] * 6)
        while account.history(execution).count("TaskScheduled") < 2:
            time.sleep(0.02)
        account.states.stop_execution(executionArn=execution)
        at_once = account.history(execution)
        time.sleep(1.5)
        status = account.states.describe_execution(executionArn=execution)["status"]
        return status, at_once, account.history(execution)[len(at_once) :]

    def test_nothing_starts_after_it(self, aws: Account, function: str) -> None:
        status, at_once, later = self.stop_in_map(aws, function)
        assert status == "ABORTED"
        assert at_once[-1] == "ExecutionAborted"
        assert later == []

    def test_defect(self, bare: Account, bare_function: str) -> None:
        status, _, later = self.stop_in_map(bare, bare_function)
        defect("states_end", later or status != "ABORTED")


class TestRetry:
    @staticmethod
    def delays(account: Account, function: str, **retrier: object) -> list[float]:
        """Return the seconds between attempts, of which there is a tenth of what the retrier says."""
        retry = [{"ErrorEquals": ["States.ALL"], **retrier}]
        execution = account.start({"Scan": task(function, Retry=retry)}, {"raise": "again"})
        assert account.wait(execution)["status"] == "FAILED"
        events = account.states.get_execution_history(executionArn=execution)["events"]
        failed = [event["timestamp"] for event in events if event["type"] == "TaskFailed"]
        scheduled = [event["timestamp"] for event in events if event["type"] == "TaskScheduled"]
        return [(after - before).total_seconds() for before, after in zip(failed, scheduled[1:], strict=False)]

    @staticmethod
    def are(delays: list[float], expected: list[float]) -> bool:
        """Tell whether the delays are those; a busy machine may make them longer, never shorter."""
        pairs = zip(delays, expected, strict=True)
        return all(expected - 0.03 <= delay < expected + 1 for delay, expected in pairs)

    def test_a_delay_grows_up_to_its_maximum(self, aws: Account, function: str) -> None:
        # Without the maximum, the last ones would be 1.6 and 6.4.
        delays = self.delays(aws, function, BackoffRate=4, MaxAttempts=4, MaxDelaySeconds=2)
        assert self.are(delays, [0.1, 0.2, 0.2, 0.2])

    def test_without_a_maximum_it_grows_on(self, aws: Account, function: str) -> None:
        delays = self.delays(aws, function, BackoffRate=4, MaxAttempts=3)
        assert self.are(delays, [0.1, 0.4, 1.6])

    def test_full_jitter_spreads_the_delays(self, aws: Account, function: str) -> None:
        delays = self.delays(aws, function, IntervalSeconds=2, BackoffRate=1, MaxAttempts=10, JitterStrategy="FULL")
        assert len(delays) == 10
        assert sorted(delays)[5] < 0.35
        # All of ten evenly spread delays in the upper quarter would be one chance in a million.
        assert min(delays) < 0.15

    def test_defect(self, bare: Account, bare_function: str) -> None:
        capped = self.delays(bare, bare_function, BackoffRate=4, MaxAttempts=2, MaxDelaySeconds=1)
        defect("states_retry_delay", capped[-1] > 0.3)


class TestRoles:
    @staticmethod
    def delete_lock(account: Account, role: str) -> dict[str, Any]:
        table = account.name("table")
        key = {"AttributeName": "id", "KeyType": "HASH"}
        account.tables.create_table(
            TableName=table,
            KeySchema=[key],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        state = {
            "Type": "Task",
            "Resource": "arn:aws:states:::dynamodb:deleteItem",
            "Parameters": {"TableName": table, "Key": {"id": {"S": "lock"}}},
            "End": True,
        }
        return account.wait(account.start({"Delete": state}, role=role))

    def test_a_machine_may_invoke_what_its_role_allows(self, aws: Account, function: str) -> None:
        arn = f"arn:aws:lambda:us-east-1:000000000000:function:{function}"
        role = aws.role("lambda:InvokeFunction", resource=arn)
        allowed = aws.start({"Scan": task(function)}, role=role)
        other = aws.start({"Scan": task(aws.function(FUNCTION))}, role=role)
        assert aws.wait(allowed)["status"] == "SUCCEEDED"
        denied = aws.wait(other)
        assert denied["error"] == "Lambda.AWSLambdaException"
        assert "is not authorized to perform: lambda:InvokeFunction on resource:" in denied["cause"]

    def test_a_machine_may_change_what_its_role_allows(self, aws: Account) -> None:
        assert self.delete_lock(aws, aws.role("dynamodb:DeleteItem"))["status"] == "SUCCEEDED"
        denied = self.delete_lock(aws, aws.role("dynamodb:PutItem"))
        assert denied["error"] == "DynamoDB.AccessDeniedException"

    @staticmethod
    def is_started_by_rule(account: Account, role: str) -> bool:
        definition = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
        name = account.name("target")
        machine = account.states.create_state_machine(
            name=name, definition=json.dumps(definition), roleArn=account.admin
        )["stateMachineArn"]
        account.events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
        account.events.put_targets(Rule=name, Targets=[{"Id": "machine", "Arn": machine, "RoleArn": role}])
        account.events.put_events(Entries=[{"Source": name, "DetailType": "test", "Detail": "{}"}])
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            if account.states.list_executions(stateMachineArn=machine)["executions"]:
                return True
            time.sleep(0.05)
        return False

    def test_a_rule_starts_what_its_targets_role_allows(self, aws: Account) -> None:
        assert self.is_started_by_rule(aws, aws.role("states:StartExecution"))
        assert not self.is_started_by_rule(aws, aws.role("states:StopExecution"))

    def test_machine_defect(self, bare: Account, bare_function: str) -> None:
        description = bare.wait(bare.start({"Scan": task(bare_function)}, role=bare.role()))
        defect("state_machine_role", description["status"] == "SUCCEEDED")

    def test_rule_defect(self, bare: Account) -> None:
        defect("rule_target_role", self.is_started_by_rule(bare, bare.role()))


class TestNestedExecutions:
    """One machine starts another one, and waits for it."""

    MANAGED_RULE = ("events:DescribeRule", "events:PutRule", "events:PutTargets")
    START: ClassVar[dict[str, Any]] = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn.$": "$.machine", "Name.$": "$.name", "Input.$": "$.input"},
        "End": True,
    }
    CAUGHT: ClassVar[dict[str, Any]] = {"Type": "Pass", "End": True}

    @staticmethod
    def child(account: Account, function: str) -> str:
        """Create a machine that runs a function, and return its ARN."""
        definition = json.dumps({"StartAt": "Work", "States": {"Work": task(function)}})
        arn: str = account.states.create_state_machine(
            name=account.name("child"), definition=definition, roleArn=account.admin
        )["stateMachineArn"]
        return arn

    @staticmethod
    def execution(machine: str, name: str) -> str:
        return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"

    def start(self, account: Account, machine: str, data: Any, *, name: str = "one", role: str | None = None) -> str:
        states = {"Start": {**self.START, **catch("States.Timeout")}, "Caught": self.CAUGHT}
        return account.start(states, {"machine": machine, "name": name, "input": data}, role=role)

    def test_the_end_of_the_child_is_the_result(self, aws: Account, function: str) -> None:
        machine = self.child(aws, function)
        parent = self.start(aws, machine, {"size": 3})
        result = json.loads(aws.wait(parent)["output"])
        assert (result["Status"], result["Input"], result["Output"]) == ("SUCCEEDED", {"size": 3}, "xxx")
        assert result["ExecutionArn"] == self.execution(machine, "one")
        assert aws.history(result["ExecutionArn"])[-1] == "ExecutionSucceeded"
        (scheduled,) = [
            event["taskScheduledEventDetails"]
            for event in aws.states.get_execution_history(executionArn=parent)["events"]
            if event["type"] == "TaskScheduled"
        ]
        assert (scheduled["resourceType"], scheduled["resource"]) == ("states", "startExecution.sync:2")

    def test_a_child_that_fails_is_the_cause_and_can_be_redriven(self, aws: Account, function: str) -> None:
        machine = self.child(aws, function)
        ended = aws.wait(self.start(aws, machine, {"raise": "no"}))
        assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
        cause = json.loads(ended["cause"])
        assert (cause["Status"], cause["Error"], cause["Name"]) == ("FAILED", "ScanFailed", "one")
        aws.states.redrive_execution(executionArn=cause["ExecutionArn"])
        assert aws.wait(cause["ExecutionArn"])["redriveCount"] == 1

    def test_a_name_that_is_taken_is_refused_unless_it_runs(self, aws: Account, function: str) -> None:
        machine = self.child(aws, function)
        first = self.start(aws, machine, {"seconds": 1})
        while aws.history(first)[-1] != "TaskScheduled":
            time.sleep(0.02)
        # It waits for the one that runs, and starts none.
        assert json.loads(aws.wait(self.start(aws, machine, {"seconds": 1}))["output"])["Status"] == "SUCCEEDED"
        assert aws.wait(first)["status"] == "SUCCEEDED"
        assert len(aws.states.list_executions(stateMachineArn=machine)["executions"]) == 1
        again = aws.wait(self.start(aws, machine, {"seconds": 1}))
        assert again["error"] == "StepFunctions.ExecutionAlreadyExistsException"

    def test_a_child_is_stopped_with_its_parent(self, aws: Account, function: str) -> None:
        machine = self.child(aws, function)
        parent = self.start(aws, machine, {"seconds": 5})
        while not aws.states.list_executions(stateMachineArn=machine)["executions"]:
            time.sleep(0.02)
        aws.states.stop_execution(executionArn=parent)
        assert aws.wait(self.execution(machine, "one"), seconds=3)["status"] == "ABORTED"

    def redrive(self, account: Account, execution: str) -> dict[str, Any]:
        """Redrive an execution by a state."""
        parameters = {"ExecutionArn": execution}
        state = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:sfn:redriveExecution", "End": True}
        return account.wait(account.start({"Redrive": {**state, "Parameters": parameters}}))

    def test_a_state_redrives_what_has_failed(self, aws: Account, function: str) -> None:
        machine = self.child(aws, function)
        aws.wait(self.start(aws, machine, {"raise": "no"}))
        execution = self.execution(machine, "one")
        assert "RedriveDate" in json.loads(self.redrive(aws, execution)["output"])
        assert aws.wait(execution)["redriveCount"] == 1
        aws.wait(self.start(aws, machine, {}, name="two"))
        refused = self.redrive(aws, self.execution(machine, "two"))
        assert refused["error"] == "Sfn.ExecutionNotRedrivableException"

    @pytest.mark.parametrize(
        ("missing", "error"),
        [("StartExecution", "StepFunctions.AWSStepFunctionsException"),
         ("DescribeExecution", "StepFunctions.AWSStepFunctionsException")],
    )  # fmt: skip
    def test_it_may_do_what_its_role_allows(self, aws: Account, function: str, missing: str, error: str) -> None:
        allowed = [f"states:{one}" for one in ("StartExecution", "DescribeExecution") if one != missing]
        role = aws.role(*self.MANAGED_RULE, *allowed)
        denied = aws.wait(self.start(aws, self.child(aws, function), {}, role=role))
        assert denied["error"] == error
        assert f"is not authorized to perform: states:{missing} on resource:" in denied["cause"]

    def test_without_the_permission_to_stop_it_a_child_goes_on(self, aws: Account, function: str) -> None:
        machine = self.child(aws, function)
        role = aws.role(*self.MANAGED_RULE, "states:StartExecution", "states:DescribeExecution")
        parent = self.start(aws, machine, {"seconds": 0.7}, role=role)
        while not aws.states.list_executions(stateMachineArn=machine)["executions"]:
            time.sleep(0.02)
        aws.states.stop_execution(executionArn=parent)
        assert aws.wait(self.execution(machine, "one"))["status"] == "SUCCEEDED"

    def refused(self, account: Account, role: str) -> str:
        """Create a machine that waits for another one, with a role; return why it is refused, empty if it is not."""
        definition = json.dumps({"StartAt": "Start", "States": {"Start": self.START}})
        try:
            account.states.create_state_machine(name=account.name("parent"), definition=definition, roleArn=role)
        except ClientError as error:
            return str(error)
        return ""

    @pytest.mark.parametrize("missing", MANAGED_RULE)
    def test_a_machine_that_cannot_hear_of_its_children_is_refused(self, aws: Account, missing: str) -> None:
        role = aws.role(*(action for action in self.MANAGED_RULE if action != missing))
        assert "is not authorized to create managed-rule" in self.refused(aws, role)
        assert self.refused(aws, aws.role(*self.MANAGED_RULE)) == ""

    def test_defect(self, bare: Account, bare_function: str) -> None:
        machine = self.child(bare, bare_function)
        bare.wait(self.start(bare, machine, {}))
        defect("states_nested_executions", bare.wait(self.start(bare, machine, {}))["status"] == "SUCCEEDED")

    def test_rule_defect(self, bare: Account) -> None:
        defect("states_managed_rule", self.refused(bare, bare.role()) == "")


class TestLeadingKeys:
    @staticmethod
    def table(account: Account) -> str:
        name = account.name("table")
        account.tables.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for key in ("lock", "other"):
            account.tables.put_item(TableName=name, Item={"id": {"S": key}})
        return name

    @staticmethod
    def limited_role(account: Account, *actions: str) -> str:
        """Create a role that may do this to the item "lock" only."""
        arn = account.role()
        statement = {
            "Effect": "Allow",
            "Action": list(actions),
            "Resource": "*",
            "Condition": {
                "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["lock"]},
                "Null": {"dynamodb:LeadingKeys": "false"},
            },
        }
        account.iam.put_role_policy(
            RoleName=arn.rpartition("/")[2],
            PolicyName="limited",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
        return arn

    def allowed(self, account: Account, operation: str, request: dict[str, Any]) -> bool:
        """Tell whether a role that is limited to "lock" may make a request."""
        actions = ("GetItem", "DeleteItem", "PutItem", "BatchWriteItem", "Query", "Scan")
        role = self.limited_role(account, *(f"dynamodb:{action}" for action in actions))
        try:
            getattr(account.assume(role).client("dynamodb"), operation)(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDeniedException":
                raise
            return False
        return True

    def test_a_role_may_touch_the_key_it_is_limited_to_and_no_other(self, aws: Account) -> None:
        table = self.table(aws)

        for key, expected in (("lock", True), ("other", False)):
            item = {"id": {"S": key}}
            writes = {"RequestItems": {table: [{"PutRequest": {"Item": item}}]}}
            assert self.allowed(aws, "get_item", {"TableName": table, "Key": item}) is expected
            assert self.allowed(aws, "put_item", {"TableName": table, "Item": item}) is expected
            assert self.allowed(aws, "batch_write_item", writes) is expected
            assert self.allowed(aws, "delete_item", {"TableName": table, "Key": item}) is expected
            for name in ("id", "#id"):
                query = {
                    "TableName": table,
                    "KeyConditionExpression": f"{name} = :id",
                    "ExpressionAttributeValues": {":id": item["id"]},
                    **({"ExpressionAttributeNames": {"#id": "id"}} if name == "#id" else {}),
                }
                assert self.allowed(aws, "query", query) is expected

    def test_of_a_batch_every_key_must_be_allowed(self, aws: Account) -> None:
        table = self.table(aws)
        writes = [{"PutRequest": {"Item": {"id": {"S": key}}}} for key in ("lock", "other")]

        assert self.allowed(aws, "batch_write_item", {"RequestItems": {table: writes}}) is False

    def test_of_a_transaction_every_action_must_be_allowed_on_its_key(self, aws: Account) -> None:
        table = self.table(aws)

        def allowed(actions: tuple[str, ...], *kinds: tuple[str, str]) -> bool:
            """Tell whether a role with these actions on "lock" may make a transaction of kinds and keys."""
            role = self.limited_role(aws, *(f"dynamodb:{action}" for action in actions))
            client: Any = aws.assume(role).client("dynamodb")
            made = []
            for kind, key in kinds:
                item = {"id": {"S": key}}
                values = {":a": {"S": key}}
                more: dict[str, dict[str, Any]] = {
                    "Put": {"Item": item},
                    "Update": {"Key": item, "UpdateExpression": "SET a = :a", "ExpressionAttributeValues": values},
                    "Delete": {"Key": item},
                    "ConditionCheck": {"Key": item, "ConditionExpression": "attribute_not_exists(nothing)"},
                }  # fmt: skip
                made.append({kind: {"TableName": table, **more[kind]}})
            try:
                client.transact_write_items(TransactItems=made)
            except ClientError as error:
                if error.response["Error"]["Code"] != "AccessDeniedException":
                    raise
                return False
            return True

        every = {
            "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem",
        }  # fmt: skip
        for kind, action in every.items():
            assert allowed((action,), (kind, "lock"))
            assert not allowed((action,), (kind, "other"))
            assert not allowed(tuple(set(every.values()) - {action}), (kind, "lock"))
            # One key that is not allowed refuses the whole, wherever it stands.
            assert not allowed((action,), (kind, "lock"), (kind, "other"))
            assert not allowed((action,), (kind, "other"), (kind, "lock"))
        assert not allowed(("TransactWriteItems",), ("Put", "lock"))

    def test_every_item_of_a_transaction_is_judged_by_its_own_key(self, aws: Account) -> None:
        """As the functions' policies are: this action on this key, that action on that one."""
        table = self.table(aws)
        role = aws.role()
        allowed = (("lock", "dynamodb:PutItem"), ("other", "dynamodb:UpdateItem"))
        statements = [
            {
                "Effect": "Allow",
                "Action": action,
                "Resource": "*",
                "Condition": {
                    "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [key]},
                    "Null": {"dynamodb:LeadingKeys": "false"},
                },
            }
            for key, action in allowed
        ]
        aws.iam.put_role_policy(
            RoleName=role.rpartition("/")[2],
            PolicyName="limited",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )
        client: Any = aws.assume(role).client("dynamodb")

        def transact(put: str, update: str) -> None:
            values = {":a": {"S": "done"}}
            written = {
                "Key": {"id": {"S": update}},
                "UpdateExpression": "SET a = :a",
                "ExpressionAttributeValues": values,
            }
            client.transact_write_items(
                TransactItems=[
                    {"Put": {"TableName": table, "Item": {"id": {"S": put}}}},
                    {"Update": {"TableName": table, **written}},
                ]
            )

        transact("lock", "other")
        with pytest.raises(ClientError) as raised:
            transact("other", "lock")
        assert error_code(raised) == "AccessDeniedException"

    def test_a_request_without_a_key_is_refused(self, aws: Account) -> None:
        assert self.allowed(aws, "scan", {"TableName": self.table(aws)}) is False

    @pytest.mark.parametrize(("key", "status"), [("lock", "SUCCEEDED"), ("other", "FAILED")])
    def test_a_state_machines_role_is_limited_as_well(self, aws: Account, key: str, status: str) -> None:
        delete = {
            "Type": "Task",
            "Resource": "arn:aws:states:::dynamodb:deleteItem",
            "Parameters": {"TableName": self.table(aws), "Key": {"id": {"S": key}}},
            "End": True,
        }
        execution = aws.start({"Delete": delete}, role=self.limited_role(aws, "dynamodb:DeleteItem"))

        assert aws.wait(execution)["status"] == status

    def test_defect(self, bare: Account) -> None:
        item = {"id": {"S": "lock"}}
        allowed = self.allowed(bare, "get_item", {"TableName": self.table(bare), "Key": item})
        defect("dynamodb_leading_keys", not allowed)

    def test_transaction_defect(self, bare: Account) -> None:
        actions = [{"Put": {"TableName": self.table(bare), "Item": {"id": {"S": "lock"}}}}]
        defect("dynamodb_leading_keys", not self.allowed(bare, "transact_write_items", {"TransactItems": actions}))


class TestAlarms:
    ALARM: ClassVar[dict[str, Any]] = {
        "AlarmDescription": "what it means & what to do",
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0.0,
        "EvaluationPeriods": 2,
        "TreatMissingData": "notBreaching",
        "ActionsEnabled": True,
        "AlarmActions": ["arn:aws:sns:us-east-1:000000000000:alarms"],
        "OKActions": [],
        "InsufficientDataActions": [],
    }
    METRIC: ClassVar[dict[str, Any]] = {
        "Namespace": "AWS/States",
        "MetricName": "ExecutionsFailed",
        "Dimensions": [{"Name": "StateMachineArn", "Value": "arn"}],
    }
    MATH: ClassVar[dict[str, Any]] = {
        "Metrics": [
            {"Id": "sum", "Expression": "FILL(failed, 0)", "Label": "failed", "ReturnData": True},
            {
                "Id": "failed",
                "MetricStat": {"Metric": METRIC, "Period": 300, "Stat": "Sum"},
                "ReturnData": False,
            },
        ]
    }
    SIMPLE: ClassVar[dict[str, Any]] = {**METRIC, "Statistic": "Sum", "Period": 300}

    def described(self, account: Account, alarm: dict[str, Any], protocol: str | None) -> dict[str, Any]:
        """Put an alarm and return how it is described, in a protocol of the SDKs or in boto3's own choice."""
        client = account.metrics if protocol is None else account.client("cloudwatch", protocol)
        name = account.name("alarm")
        client.put_metric_alarm(AlarmName=name, **self.ALARM, **alarm)
        (found,) = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return {member: found[member] for member in {**self.ALARM, **alarm} if member in found}

    @pytest.mark.parametrize("protocol", [None, "query", "json"])
    @pytest.mark.parametrize("kind", ["MATH", "SIMPLE"])
    def test_an_alarm_is_described_as_it_was_put(self, aws: Account, kind: str, protocol: str | None) -> None:
        alarm = getattr(self, kind)
        assert self.described(aws, alarm, protocol) == {**self.ALARM, **alarm}

    def test_an_alarm_on_metric_math_has_no_metric_of_its_own(self, aws: Account) -> None:
        name = aws.name("alarm")
        aws.metrics.put_metric_alarm(AlarmName=name, **self.ALARM, **self.MATH)
        (found,) = aws.metrics.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        assert {"MetricName", "Namespace", "Statistic", "Period"} & {
            key for key in found if found[key] is not None
        } == set()

    def test_math_defect(self, bare: Account) -> None:
        defect("cloudwatch_alarms", "Metrics" not in self.described(bare, self.MATH, None))

    def test_query_protocol_defect(self, bare: Account) -> None:
        defect("cloudwatch_alarms", "AlarmActions" not in self.described(bare, self.SIMPLE, "query"))


class TestQueryDefinitions:
    def test_a_saved_query_is_kept_changed_and_removed(self, aws: Account) -> None:
        logs, name = aws.logs, aws.name("query")
        identifier = logs.put_query_definition(name=f"{name}/errors", queryString="limit 1", logGroupNames=["a", "b"])[
            "queryDefinitionId"
        ]
        logs.put_query_definition(queryDefinitionId=identifier, name=f"{name}/errors", queryString="limit 2")
        logs.put_query_definition(name="another", queryString="limit 3")

        (found,) = logs.describe_query_definitions(queryDefinitionNamePrefix=name)["queryDefinitions"]
        assert found["queryDefinitionId"] == identifier
        assert found["queryString"] == "limit 2"
        assert logs.delete_query_definition(queryDefinitionId=identifier)["success"] is True
        assert logs.describe_query_definitions(queryDefinitionNamePrefix=name)["queryDefinitions"] == []

    @pytest.mark.parametrize("operation", ["put_query_definition", "delete_query_definition"])
    def test_an_unknown_one_is_an_error(self, aws: Account, operation: str) -> None:
        more = {"name": "x", "queryString": "limit 1"} if operation.startswith("put") else {}
        with pytest.raises(ClientError) as raised:
            getattr(aws.logs, operation)(queryDefinitionId="none", **more)
        assert error_code(raised) == "ResourceNotFoundException"

    def test_defect(self, bare: Account) -> None:
        with pytest.raises(ClientError) as raised:
            bare.logs.put_query_definition(name="x", queryString="limit 1")
        defect("logs_query_definitions", error_code(raised) == "InvalidOperationException")


class TestKeyAssociation:
    KEY = "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"

    def test_the_key_of_a_log_group_is_changed_and_taken_away(self, aws: Account) -> None:
        name = aws.name("group")
        aws.logs.create_log_group(logGroupName=name)

        aws.logs.associate_kms_key(logGroupName=name, kmsKeyId=self.KEY)
        (group,) = aws.logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        assert group["kmsKeyId"] == self.KEY

        aws.logs.disassociate_kms_key(logGroupName=name)
        (group,) = aws.logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        assert "kmsKeyId" not in group

    def test_an_unknown_log_group_is_an_error(self, aws: Account) -> None:
        with pytest.raises(ClientError) as raised:
            aws.logs.associate_kms_key(logGroupName="none", kmsKeyId=self.KEY)
        assert error_code(raised) == "ResourceNotFoundException"

    def test_defect(self, bare: Account) -> None:
        bare.logs.create_log_group(logGroupName="group")
        with pytest.raises(ClientError) as raised:
            bare.logs.associate_kms_key(logGroupName="group", kmsKeyId=self.KEY)
        defect("logs_key_association", error_code(raised) == "InvalidOperationException")


def test_every_correction_has_a_test_of_its_defect() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in CORRECTIONS if f'defect("{name}"' not in source] == []


class TestInput:
    @staticmethod
    def refused(account: Account) -> bool:
        definition = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
        machine = {"name": account.name("machine"), "definition": definition, "roleArn": account.admin}
        arn = account.states.create_state_machine(**machine)["stateMachineArn"]
        try:
            account.states.start_execution(stateMachineArn=arn, input="not json")
        except ClientError as error:
            return error.response["Error"]["Code"] == "InvalidExecutionInput"
        return False

    def test_an_input_that_is_no_json_starts_nothing(self, aws: Account) -> None:
        assert self.refused(aws)

    def test_defect(self, bare: Account) -> None:
        defect("states_input", not self.refused(bare))


class TestTracing:
    @staticmethod
    def described(account: Account, *, update: bool) -> Any:
        """Create or update a machine with tracing on, and return what is said of its tracing."""
        definition = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
        on = {"tracingConfiguration": {"enabled": True}}
        machine = {"name": account.name("machine"), "definition": definition, "roleArn": account.admin}
        arn = account.states.create_state_machine(**machine, **({} if update else on))["stateMachineArn"]
        if update:
            account.states.update_state_machine(stateMachineArn=arn, **on)
        return account.states.describe_state_machine(stateMachineArn=arn).get("tracingConfiguration")

    @pytest.mark.parametrize("update", [False, True])
    def test_a_machine_remembers_that_it_is_traced(self, aws: Account, update: bool) -> None:
        assert self.described(aws, update=update) == {"enabled": True}

    def test_defect(self, bare: Account) -> None:
        defect("states_tracing", self.described(bare, update=False) != {"enabled": True})


class TestMocks:
    """A task that is mocked to fail once, and is retried."""

    CONFIG: ClassVar[dict[str, Any]] = {
        "StateMachines": {"mocked": {"TestCases": {"Once": {"Scan": "Second"}}}},
        "MockedResponses": {
            "Second": {"0": {"Throw": {"Error": "Busy", "Cause": "once"}}, "1-2": {"Return": {"Payload": "done"}}}
        },
    }

    def run(self, folder: Path, without: Collection[str] = ()) -> tuple[dict[str, Any], list[str]]:
        """Return how the execution ended, and its history."""
        config = folder / "mocks.json"
        config.write_text(json.dumps(self.CONFIG))
        settings = {"SFN_MOCK_CONFIG": str(config), "SFN_WAIT_SCALE": "0"}
        log_file = folder / "emulator.log"
        with emulator.running(log_file=log_file, environment=settings, auth=False, without=without) as running:
            account = Account(running)
            scan = task("function", Retry=[{"ErrorEquals": ["Busy"], "MaxAttempts": 3}])
            machine = account.states.create_state_machine(
                name="mocked",
                definition=json.dumps({"StartAt": "Scan", "States": {"Scan": scan}}),
                roleArn="arn:aws:iam::000000000000:role/any",
            )["stateMachineArn"]
            execution = account.states.start_execution(stateMachineArn=f"{machine}#Once")["executionArn"]
            return account.wait(execution), account.history(execution)

    def test_every_retry_takes_the_next_response(self, tmp_path: Path) -> None:
        description, history = self.run(tmp_path)
        assert (description["status"], description.get("output")) == ("SUCCEEDED", '"done"')
        assert history == [
            "ExecutionStarted", "TaskStateEntered", "TaskScheduled", "TaskFailed", "TaskScheduled", "TaskSucceeded",
            "TaskStateExited", "ExecutionSucceeded",
        ]  # fmt: skip

    def test_defect(self, tmp_path: Path) -> None:
        description, _ = self.run(tmp_path, without=CORRECTIONS)
        defect("states_mocks", description["status"] == "FAILED")


class TestTestState:
    """What becomes of an error of a state with both Retry and Catch; ``tests/statemachine`` asks it of every task."""

    def status(self, account: Account, retries: int) -> str:
        scan = task("function", Retry=[{"ErrorEquals": ["Busy"], "MaxAttempts": 2}], **catch("Busy"))
        states = {"Scan": scan, "Caught": {"Type": "Succeed"}}
        answer = account.states_without_host_prefix.test_state(
            definition=json.dumps({"StartAt": "Scan", "States": states}),
            stateName="Scan",
            mock={"errorOutput": {"error": "Busy", "cause": "once"}},
            stateConfiguration={"retrierRetryCount": retries},
        )
        return str(answer["status"])

    def test_it_is_retried_before_it_is_caught(self, aws: Account) -> None:
        assert [self.status(aws, retries) for retries in range(3)] == ["RETRIABLE", "RETRIABLE", "CAUGHT_ERROR"]

    def test_defect(self, bare: Account) -> None:
        defect("states_test_state", self.status(bare, 0) == "CAUGHT_ERROR")


class TestEvents:
    TEXT: ClassVar[dict[str, Any]] = {
        "InputPathsMap": {"it": "$.detail.summary"},
        "InputTemplate": '"<it>"',
    }

    @staticmethod
    def arn_of(rule: str) -> str:
        return f"arn:aws:events:us-east-1:000000000000:rule/{rule}"

    @staticmethod
    def allow(*rules: str, action: str = "sqs:SendMessage") -> str:
        """Return a policy that lets rules of these ARNs, and nothing else of EventBridge, in."""
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": action,
            "Resource": "*",
            "Condition": {"ArnEquals": {"aws:SourceArn": list(rules)}},
        }
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    def queue(self, account: Account, *rules: str) -> tuple[str, str]:
        """Create a queue that these rules, by their names, may send to; return its address and its ARN."""
        policy = {"Policy": self.allow(*map(self.arn_of, rules))} if rules else {}
        url = account.queues.create_queue(QueueName=account.name("queue"), Attributes=policy)["QueueUrl"]
        arn = account.queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return url, arn

    @staticmethod
    def received(account: Account, url: str) -> list[dict[str, Any]]:
        answer = account.queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def target(self, account: Account, rule: str, arn: str, **fields: Any) -> None:
        """Let a rule deliver the events that have its name as their source."""
        account.events.put_rule(Name=rule, EventPattern=json.dumps({"source": [rule]}))
        account.events.put_targets(Rule=rule, Targets=[{"Id": "target", "Arn": arn, **fields}])

    @staticmethod
    def entry(source: str, detail: str = '{"summary": "alice was created"}', **fields: str) -> dict[str, Any]:
        return {"Source": source, "DetailType": "IAM User Created", "Detail": detail, **fields}

    def put(self, account: Account, *entries: dict[str, Any]) -> list[str]:
        """Put events and return what became of each."""
        answer = account.events.put_events(Entries=list(entries))
        assert answer["FailedEntryCount"] == sum("ErrorCode" in one for one in answer["Entries"])
        return [one.get("ErrorCode", "taken" if one.get("EventId") else "?") for one in answer["Entries"]]

    def test_an_event_without_a_json_object_is_refused_and_the_others_are_delivered(self, aws: Account) -> None:
        rule = aws.name("rule")
        url, arn = self.queue(aws, rule)
        self.target(aws, rule, arn)

        details = ('{"number": 1}', "bad", '"text"', "[]", '{"number": 2}')
        outcomes = self.put(aws, *(self.entry(rule, detail) for detail in details))

        assert outcomes == ["taken", *["MalformedDetail"] * 3, "taken"]
        bodies = [json.loads(message["Body"]) for message in self.received(aws, url)]
        assert [(body["detail"], body["detail-type"]) for body in bodies] == [
            ({"number": number}, "IAM User Created") for number in (1, 2)
        ]

    def test_a_bus_that_does_not_exist_takes_everything_as_it_does_on_aws(self, aws: Account) -> None:
        assert self.put(aws, self.entry("a", EventBusName="nowhere")) == ["taken"]

    def test_a_pattern_may_ask_for_the_beginning_of_a_value(self, aws: Account) -> None:
        rule = aws.name("rule")
        url, arn = self.queue(aws, rule)
        self.target(aws, rule, arn)
        pattern = {"source": [rule], "detail": {"execution_arn": [{"prefix": "arn:aws:states:::execution:a:"}]}}
        aws.events.put_rule(Name=rule, EventPattern=json.dumps(pattern))

        for machine in ("a:1", "ab:2", "a"):
            detail = json.dumps({"execution_arn": f"arn:aws:states:::execution:{machine}"})
            self.put(aws, self.entry(rule, detail))

        bodies = [json.loads(message["Body"]) for message in self.received(aws, url)]
        assert [body["detail"]["execution_arn"].rpartition(":execution:")[2] for body in bodies] == ["a:1"]

    @pytest.mark.parametrize("operator", ["StringEquals", "ForAllValues:StringEquals"])
    def test_a_role_may_be_limited_to_a_source_a_detail_type_and_a_bus(self, aws: Account, operator: str) -> None:
        assert self.allowed(aws, operator, self.entry("mine"), self.entry("mine"))
        for other in ({"Source": "yours"}, {"DetailType": "Other"}, {"EventBusName": "other"}):
            # Wherever it stands
            assert not self.allowed(aws, operator, self.entry("mine") | other)
            assert not self.allowed(aws, operator, self.entry("mine"), self.entry("mine") | other)

    @staticmethod
    def allowed(account: Account, operator: str, *entries: dict[str, Any]) -> bool:
        """Tell whether a role that is limited to one source and one detail type may put events."""
        role = account.role()
        statement = {
            "Effect": "Allow",
            "Action": "events:PutEvents",
            "Resource": "arn:aws:events:us-east-1:000000000000:event-bus/default",
            "Condition": {operator: {"events:source": "mine", "events:detail-type": "IAM User Created"}},
        }
        account.iam.put_role_policy(
            RoleName=role.rpartition("/")[2],
            PolicyName="limited",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
        client: Any = account.assume(role).client("events")
        try:
            client.put_events(Entries=list(entries))
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDeniedException":
                raise
            return False
        return True

    def test_a_queue_receives_only_what_its_policy_allows(self, aws: Account) -> None:
        rule, other = aws.name("rule"), aws.name("rule")
        queues = [self.queue(aws, *allowed) for allowed in ((rule,), (other,), ())]
        aws.events.put_rule(Name=rule, EventPattern=json.dumps({"source": [rule]}))
        aws.events.put_targets(Rule=rule, Targets=[{"Id": arn[-8:], "Arn": arn} for _, arn in queues])

        self.put(aws, self.entry(rule))

        assert [len(self.received(aws, url)) for url, _ in queues] == [1, 0, 0]

    def test_a_topic_publishes_only_what_its_policy_allows_and_as_text(self, aws: Account) -> None:
        rule = aws.name("rule")
        topic = aws.topics.create_topic(Name=rule)["TopicArn"]
        url, queue = self.queue(aws)
        policy = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
        aws.queues.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document})
        aws.topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
        self.target(aws, rule, topic, InputTransformer=self.TEXT)

        # With the policy that a topic has from the beginning, and with one of the rule
        self.put(aws, self.entry(rule))
        assert self.received(aws, url) == []
        allowed = self.allow(self.arn_of(rule), action="sns:Publish")
        aws.topics.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=allowed)
        self.put(aws, self.entry(rule))

        (message,) = self.received(aws, url)
        # A target gets JSON, and so the text has quotation marks around it.
        assert json.loads(message["Body"])["Message"] == '"alice was created"'

    @pytest.mark.parametrize(
        ("kind", "code"), [("gone", "NO_RESOURCE"), ("closed", "NO_PERMISSIONS"), ("function", "NO_RESOURCE")]
    )
    def test_what_cannot_be_delivered_goes_to_the_dead_letters(self, aws: Account, kind: str, code: str) -> None:
        rule = aws.name("rule")
        url, letters = self.queue(aws, rule)
        closed = self.queue(aws)[1]
        target = {
            "gone": closed + "-gone",
            "closed": closed,
            "function": "arn:aws:lambda:us-east-1:000000000000:function:gone",
        }[kind]
        policy = {"MaximumRetryAttempts": 5, "MaximumEventAgeInSeconds": 60}
        self.target(
            aws, rule, target, DeadLetterConfig={"Arn": letters}, RetryPolicy=policy, InputTransformer=self.TEXT
        )

        self.put(aws, self.entry(rule))

        (message,) = self.received(aws, url)
        event = json.loads(message["Body"])
        assert (event["source"], event["detail"]) == (rule, {"summary": "alice was created"})
        told = {name: attribute["StringValue"] for name, attribute in message["MessageAttributes"].items()}
        assert told.pop("ERROR_MESSAGE")
        assert told == {"RULE_ARN": self.arn_of(rule), "TARGET_ARN": target, "ERROR_CODE": code}

    def test_dead_letters_need_a_permission_too(self, aws: Account) -> None:
        rule = aws.name("rule")
        url, letters = self.queue(aws, aws.name("rule"))
        self.target(aws, rule, self.queue(aws)[1] + "-gone", DeadLetterConfig={"Arn": letters})

        self.put(aws, self.entry(rule))

        assert self.received(aws, url) == []

    def test_a_state_machine_that_may_not_be_started_is_a_dead_letter(self, aws: Account) -> None:
        rule = aws.name("rule")
        url, letters = self.queue(aws, rule)
        definition = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
        created = aws.states.create_state_machine(name=rule, definition=definition, roleArn=aws.admin)
        machine = created["stateMachineArn"]
        self.target(aws, rule, machine, RoleArn=aws.role(), DeadLetterConfig={"Arn": letters})

        self.put(aws, self.entry(rule))

        (message,) = self.received(aws, url)
        assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_PERMISSIONS"

    def test_entries_defect(self, bare: Account) -> None:
        defect("events_entries", self.put(bare, self.entry("a", "bad")) == ["taken"])

    def test_condition_keys_defect(self, bare: Account) -> None:
        defect("events_condition_keys", not self.allowed(bare, "StringEquals", self.entry("mine")))

    def test_target_policies_defect(self, bare: Account) -> None:
        rule = bare.name("rule")
        url, arn = self.queue(bare)
        self.target(bare, rule, arn)
        self.put(bare, self.entry(rule))
        defect("events_target_policies", self.received(bare, url))

    def test_dead_letters_defect(self, bare: Account) -> None:
        rule = bare.name("rule")
        url, letters = self.queue(bare, rule)
        self.target(bare, rule, letters + "-gone", DeadLetterConfig={"Arn": letters})
        self.put(bare, self.entry(rule))
        defect("events_dead_letters", not self.received(bare, url))
