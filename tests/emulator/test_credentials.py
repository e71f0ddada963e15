"""What the local AWS says of users' credentials and permissions, and the past that tests give it.

Every correction twice: AWS's behaviour with it, and without it the defect that it is there for.
"""

from __future__ import annotations

import csv
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.test_corrections import defect, error_code
from tests.local_aws.aws import past
from tests.local_aws.aws.corrections.credential_report import COLUMNS
from tests.local_aws.aws.past import Call
from tests.local_aws.aws.users import create_users, population
from tests.local_aws.errors import LocalAwsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.emulator.conftest import Account
    from tests.local_aws.aws.emulator import Emulator

DAY = timedelta(days=1)
FOUR_HOURS = 4 * 3600.0
THEN = datetime(2025, 3, 14, 9, 26, 53, tzinfo=UTC)
NOTHING = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}})


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(autouse=True)
def no_report(local_aws: Emulator) -> Iterator[None]:
    """Let every test begin with no report but an expired one, and generations take no time unless it asks for it."""
    past.set_generation_time(local_aws, 0)
    past.pass_time(local_aws, 2 * FOUR_HOURS)
    yield
    past.set_generation_time(local_aws, 1)


def report_of(account: Account) -> str:
    account.iam.generate_credential_report()
    content: bytes = account.iam.get_credential_report()["Content"]
    return content.decode()


def rows(account: Account) -> dict[str, dict[str, str]]:
    return {row["user"]: row for row in csv.DictReader(report_of(account).splitlines())}


def row_of(account: Account, user: str) -> dict[str, str]:
    return rows(account)[user]


def refusal(account: Account) -> tuple[str, int]:
    """Return why there is no report to get."""
    with pytest.raises(ClientError) as raised:
        account.iam.get_credential_report()
    return error_code(raised), raised.value.response["ResponseMetadata"]["HTTPStatusCode"]


def used(account: Account, key: str) -> dict[str, Any]:
    answer: dict[str, Any] = account.iam.get_access_key_last_used(AccessKeyId=key)["AccessKeyLastUsed"]
    return answer


class TestGeneration:
    def test_it_takes_its_time(self, aws: Account, local_aws: Emulator) -> None:
        past.set_generation_time(local_aws, 3600)
        assert aws.iam.generate_credential_report()["State"] == "STARTED"
        assert aws.iam.generate_credential_report()["State"] == "INPROGRESS"
        assert refusal(aws) == ("ReportInProgress", 404)
        past.pass_time(local_aws, 3601)
        assert aws.iam.generate_credential_report()["State"] == "COMPLETE"
        assert aws.iam.get_credential_report()["ReportFormat"] == "text/csv"

    def test_it_is_done_within_a_second_or_two(self, aws: Account, local_aws: Emulator) -> None:
        past.set_generation_time(local_aws, 0.3)
        aws.iam.generate_credential_report()
        assert refusal(aws) == ("ReportInProgress", 404)
        time.sleep(0.35)
        assert aws.iam.get_credential_report()["Content"]

    def test_a_report_says_for_four_hours_what_it_said(self, aws: Account, local_aws: Emulator) -> None:
        aws.iam.create_user(UserName="was-there")
        first = report_of(aws)
        generated = aws.iam.get_credential_report()["GeneratedTime"]
        aws.iam.create_user(UserName="came-later")
        aws.iam.delete_user(UserName="was-there")
        past.pass_time(local_aws, FOUR_HOURS - 60)
        assert aws.iam.generate_credential_report()["State"] == "COMPLETE"
        assert report_of(aws) == first
        assert "was-there," in first
        assert aws.iam.get_credential_report()["GeneratedTime"] == generated - timedelta(seconds=FOUR_HOURS - 60)

        past.pass_time(local_aws, 60)
        assert refusal(aws) == ("ReportExpired", 410)
        assert aws.iam.generate_credential_report()["State"] == "STARTED"
        assert {"came-later"} <= rows(aws).keys()
        assert "was-there" not in rows(aws)

    def test_defect(self, bare: Account) -> None:
        with pytest.raises(ClientError) as raised:
            bare.iam.get_credential_report()
        assert error_code(raised) == "ReportNotPresent"
        defect("iam_credential_report", bare.iam.generate_credential_report()["State"] == "COMPLETE")


class TestReport:
    def test_its_columns_are_those_of_aws(self, aws: Account) -> None:
        header, root, *_ = report_of(aws).split("\n")
        assert header.split(",") == list(COLUMNS)
        assert len(COLUMNS) == 22
        assert root.startswith("<root_account>,arn:aws:iam::000000000000:root,")

    def test_names_with_commas_are_quoted(self, aws: Account) -> None:
        aws.iam.create_user(UserName="Doe,Jane", Path='/a"b/')
        line = next(line for line in report_of(aws).split("\n") if "Doe" in line)
        assert line.startswith('"Doe,Jane","arn:aws:iam::000000000000:user/a""b/Doe,Jane",20')
        assert row_of(aws, "Doe,Jane")["password_enabled"] == "false"

    def test_a_user_with_nothing(self, aws: Account) -> None:
        created = aws.iam.create_user(UserName="nothing")["User"]
        row = row_of(aws, "nothing")
        assert (row.pop("user"), row.pop("arn")) == ("nothing", created["Arn"])
        assert row.pop("user_creation_time") == iso(created["CreateDate"])
        assert {name for name, value in row.items() if value == "false"} == {
            "password_enabled", "mfa_active", "access_key_1_active", "access_key_2_active", "cert_1_active",
            "cert_2_active",
        }  # fmt: skip
        assert set(row.values()) == {"false", "N/A"}

    def test_a_password_and_its_use(self, aws: Account, local_aws: Emulator) -> None:
        past.happened(
            local_aws,
            [
                Call(THEN, "CreateUser", {"UserName": "signs-in"}),
                Call(THEN + DAY, "CreateLoginProfile", {"UserName": "signs-in", "Password": "secret"}),
            ],
        )
        row = row_of(aws, "signs-in")
        assert row["user_creation_time"] == iso(THEN)
        assert [row[f"password_{name}"] for name in ("enabled", "last_used", "last_changed", "next_rotation")] == [
            "true", "no_information", iso(THEN + DAY), "N/A",
        ]  # fmt: skip

        past.happened(local_aws, [Call(THEN + 2 * DAY, "SignIn", {"UserName": "signs-in"})])
        past.happened(
            local_aws, [Call(THEN + 3 * DAY, "UpdateLoginProfile", {"UserName": "signs-in", "Password": "new"})]
        )
        aws.iam.update_login_profile(UserName="signs-in", PasswordResetRequired=True)  # changes no password
        aws.iam.update_account_password_policy(MaxPasswordAge=90)
        try:
            past.pass_time(local_aws, FOUR_HOURS)
            row = row_of(aws, "signs-in")
        finally:
            aws.iam.delete_account_password_policy()
        assert [row[f"password_{name}"] for name in ("last_used", "last_changed", "next_rotation")] == [
            iso(THEN + 2 * DAY), iso(THEN + 3 * DAY), iso(THEN + 93 * DAY),
        ]  # fmt: skip
        assert aws.iam.get_user(UserName="signs-in")["User"]["PasswordLastUsed"] == THEN + 2 * DAY
        listed = [user for page in aws.iam.get_paginator("list_users").paginate() for user in page["Users"]]
        assert [user["PasswordLastUsed"] for user in listed if user["UserName"] == "signs-in"] == [THEN + 2 * DAY]

    def test_mfa_shows(self, aws: Account) -> None:
        aws.iam.create_user(UserName="careful")
        serial = aws.iam.create_virtual_mfa_device(VirtualMFADeviceName="careful")["VirtualMFADevice"]["SerialNumber"]
        codes = {"AuthenticationCode1": "123456", "AuthenticationCode2": "654321"}
        aws.iam.enable_mfa_device(UserName="careful", SerialNumber=serial, **codes)
        assert row_of(aws, "careful")["mfa_active"] == "true"

    def test_root_is_what_a_test_says(self, aws: Account, local_aws: Emulator) -> None:
        root = row_of(aws, "<root_account>")
        assert root["password_next_rotation"] == "not_supported"
        past.set_root(local_aws, mfa_active="true", password_last_used=iso(THEN))
        past.pass_time(local_aws, FOUR_HOURS)
        try:
            assert row_of(aws, "<root_account>") == {**root, "mfa_active": "true", "password_last_used": iso(THEN)}
        finally:
            past.set_root(local_aws, **{name: root[name] for name in ("mfa_active", "password_last_used")})
        with pytest.raises(LocalAwsError, match="no columns of the report: mfa"):
            past.set_root(local_aws, mfa="true")


class TestAccessKeys:
    KEY = ("active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")

    def slots(self, row: Mapping[str, str]) -> list[tuple[str, ...]]:
        return [tuple(row[f"access_key_{number}_{name}"] for name in self.KEY) for number in (1, 2)]

    def test_a_key_that_was_used_says_so_everywhere(self, aws: Account, local_aws: Emulator) -> None:
        use = {"UserName": "uses-keys", "KeyNumber": "2", "Region": "eu-west-1", "ServiceName": "s3"}
        past.happened(
            local_aws,
            [
                Call(THEN, "CreateUser", {"UserName": "uses-keys"}),
                Call(THEN, "CreateAccessKey", {"UserName": "uses-keys"}),
                Call(THEN + DAY, "CreateAccessKey", {"UserName": "uses-keys"}),
                Call(THEN + 2 * DAY, "UseAccessKey", use),
            ],
        )
        keys = aws.iam.list_access_keys(UserName="uses-keys")["AccessKeyMetadata"]
        assert [key["CreateDate"] for key in keys] == [THEN, THEN + DAY]
        assert used(aws, keys[0]["AccessKeyId"]) == {"Region": "N/A", "ServiceName": "N/A"}
        assert used(aws, keys[1]["AccessKeyId"]) == {
            "LastUsedDate": THEN + 2 * DAY, "Region": "eu-west-1", "ServiceName": "s3",
        }  # fmt: skip

        aws.iam.update_access_key(UserName="uses-keys", AccessKeyId=keys[0]["AccessKeyId"], Status="Inactive")
        never = ("false", iso(THEN), "N/A", "N/A", "N/A")
        once = ("true", iso(THEN + DAY), iso(THEN + 2 * DAY), "eu-west-1", "s3")
        by_id = sorted(keys, key=lambda key: str(key["AccessKeyId"]))
        expected = [never, once] if by_id == keys else [once, never]
        assert self.slots(row_of(aws, "uses-keys")) == expected

        # The other one moves up.
        aws.iam.delete_access_key(UserName="uses-keys", AccessKeyId=keys[0]["AccessKeyId"])
        past.pass_time(local_aws, FOUR_HOURS)
        assert self.slots(row_of(aws, "uses-keys")) == [once, ("false", "N/A", "N/A", "N/A", "N/A")]

    def test_a_third_key_is_refused(self, aws: Account) -> None:
        aws.iam.create_user(UserName="keys")
        first, _ = [aws.iam.create_access_key(UserName="keys")["AccessKey"]["AccessKeyId"] for _ in range(2)]
        with pytest.raises(ClientError) as raised:
            aws.iam.create_access_key(UserName="keys")
        assert error_code(raised) == "LimitExceeded"
        aws.iam.delete_access_key(UserName="keys", AccessKeyId=first)
        aws.iam.create_access_key(UserName="keys")

    def test_defect(self, bare: Account) -> None:
        bare.iam.create_user(UserName="keys")
        try:
            for _ in range(3):
                bare.iam.create_access_key(UserName="keys")
        except ClientError:
            defect("iam_access_keys", still_there=False)


@pytest.fixture(scope="module")
def people(aws: Account) -> list[str]:
    """Create a group, a policy and 30 users."""
    aws.iam.create_group(GroupName="details", Path="/teams/")
    aws.iam.attach_group_policy(GroupName="details", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    aws.iam.put_group_policy(GroupName="details", PolicyName="inline", PolicyDocument=NOTHING)
    boundary = aws.iam.create_policy(PolicyName="details", PolicyDocument=NOTHING)["Policy"]["Arn"]
    names = [f"detail-{number:02}" for number in range(30)]
    for name in names:
        aws.iam.create_user(UserName=name, PermissionsBoundary=boundary, Tags=[{"Key": "team", "Value": "R&D"}])
    aws.iam.add_user_to_group(GroupName="details", UserName=names[3])
    aws.iam.attach_user_policy(UserName=names[3], PolicyArn=boundary)
    aws.iam.put_user_policy(UserName=names[3], PolicyName="inline", PolicyDocument=NOTHING)
    return names


class TestAuthorizationDetails:
    def pages(self, account: Account, size: int, *kinds: str) -> list[dict[str, Any]]:
        paginator = account.iam.get_paginator("get_account_authorization_details")
        return list(paginator.paginate(PaginationConfig={"PageSize": size}, **({"Filter": kinds} if kinds else {})))

    @pytest.mark.parametrize("size", [1, 2, 20, 1000])
    def test_pages_are_shorter_than_asked_for_and_hold_everybody_once(
        self, aws: Account, people: list[str], size: int
    ) -> None:
        pages = self.pages(aws, size, "User", "Group")
        lists = ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")
        counts = [sum(len(page[name]) for name in lists) for page in pages]
        assert all(count <= size for count in counts)
        assert all(count < size for count in counts if size > 1)
        assert [page["IsTruncated"] for page in pages] == [True] * (len(pages) - 1) + [False]
        names = [user["UserName"] for page in pages for user in page["UserDetailList"]]
        assert len(names) == len(set(names))
        assert set(people) <= set(names)
        assert [group["GroupName"] for page in pages for group in page["GroupDetailList"]].count("details") == 1

    def test_a_user_has_everything_it_may_do(self, aws: Account, people: list[str]) -> None:
        users = {user["UserName"]: user for page in self.pages(aws, 1000, "User") for user in page["UserDetailList"]}
        boundary = {
            "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
            "PermissionsBoundaryArn": "arn:aws:iam::000000000000:policy/details",
        }
        plain, rich = (users[people[number]] for number in (2, 3))
        account_wide = {"PermissionsBoundary": boundary, "Tags": [{"Key": "team", "Value": "R&D"}], "Path": "/"}
        own = {name: aws.iam.get_user(UserName=people[2])["User"][name] for name in ("UserId", "Arn", "CreateDate")}
        assert plain == {
            "UserName": people[2], **own, **account_wide, "GroupList": [], "AttachedManagedPolicies": [],
        }  # fmt: skip
        assert rich["GroupList"] == ["details"]
        assert rich["UserPolicyList"] == [{"PolicyName": "inline", "PolicyDocument": json.loads(NOTHING)}]
        assert rich["AttachedManagedPolicies"] == [
            {"PolicyName": "details", "PolicyArn": "arn:aws:iam::000000000000:policy/details"}
        ]

    def test_groups_and_policies_have_their_documents(self, aws: Account, people: list[str]) -> None:
        pages = self.pages(aws, 1000, "Group", "LocalManagedPolicy")
        assert people
        assert [page["UserDetailList"] + page["RoleDetailList"] for page in pages] == [[]] * len(pages)
        (group,) = [group for page in pages for group in page["GroupDetailList"] if group["GroupName"] == "details"]
        assert group["Path"] == "/teams/"
        assert group["GroupPolicyList"] == [{"PolicyName": "inline", "PolicyDocument": json.loads(NOTHING)}]
        assert group["AttachedManagedPolicies"] == [
            {"PolicyName": "ReadOnlyAccess", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}
        ]
        (policy,) = [policy for page in pages for policy in page["Policies"] if policy["PolicyName"] == "details"]
        (version,) = policy["PolicyVersionList"]
        assert (version["VersionId"], version["IsDefaultVersion"]) == (policy["DefaultVersionId"], True)
        assert version["Document"] == json.loads(NOTHING)

    def test_roles_are_described_as_ever(self, aws: Account, bare: Account) -> None:
        def described(account: Account) -> dict[str, Any]:
            arn = account.role("s3:GetObject")
            roles = [role for page in self.pages(account, 1000, "Role") for role in page["RoleDetailList"]]
            (role,) = [role for role in roles if role["Arn"] == arn]
            changing = ("RoleName", "Arn", "RoleId", "CreateDate")
            return {name: value for name, value in role.items() if name not in changing}

        assert described(aws) == described(bare)

    @pytest.mark.parametrize("request_", [{"MaxItems": 1001}, {"Marker": "nonsense"}])
    def test_bad_input_is_a_validation_error(self, aws: Account, request_: dict[str, Any]) -> None:
        with pytest.raises(ClientError) as raised:
            aws.iam.get_account_authorization_details(**request_)
        assert error_code(raised) == "ValidationError"

    def test_defect(self, bare: Account) -> None:
        for name in ("detail-1", "detail-2"):
            bare.iam.create_user(UserName=name)
        page = bare.iam.get_account_authorization_details(MaxItems=1, Filter=["User"])
        defect("iam_authorization_details", len(page["UserDetailList"]) > 1)


class TestPast:
    def test_what_happened_did_so_at_its_moment_only(self, aws: Account, local_aws: Emulator) -> None:
        past.happened(local_aws, [Call(THEN, "CreateUser", {"UserName": "old"})])
        aws.iam.create_user(UserName="new")
        assert aws.iam.get_user(UserName="old")["User"]["CreateDate"] == THEN
        assert aws.iam.get_user(UserName="new")["User"]["CreateDate"] > datetime.now(UTC) - timedelta(minutes=1)

    def test_what_cannot_have_happened_is_told(self, local_aws: Emulator) -> None:
        twice = [Call(THEN, "CreateUser", {"UserName": "twice"})] * 2
        with pytest.raises(LocalAwsError, match=r"CreateUser .*twice.* already exists"):
            past.happened(local_aws, twice)
        with pytest.raises(LocalAwsError, match="KeyError: 'SignOut'"):
            past.happened(local_aws, [Call(THEN, "SignOut", {"UserName": "twice"})])


class TestPopulation:
    TODAY = datetime(2026, 11, 24, tzinfo=UTC)

    def test_it_is_the_same_each_time_and_grows_at_its_end(self) -> None:
        some, more = list(population(50, self.TODAY)), list(population(100, self.TODAY))
        assert more[:50] == some
        assert some != list(population(50, self.TODAY, seed=2))

    def test_it_ends_before_today_and_its_ages_do_not_change(self) -> None:
        users, later = population(100, self.TODAY), population(100, self.TODAY + 400 * DAY)
        for user, same in zip(users, later, strict=True):
            assert [call.action for call in user.history] == [call.action for call in same.history]
            assert {b.at - a.at for a, b in zip(user.history, same.history, strict=True)} == {400 * DAY}
            assert all(user.history[0].at <= call.at <= self.TODAY for call in user.history)

    def test_an_account_of_the_usual_size_has_something_of_everything(self) -> None:
        did = [call for user in population(250, self.TODAY) for call in user.history]
        assert {call.action for call in did} == {
            "CreateUser", "CreateLoginProfile", "UpdateLoginProfile", "CreateVirtualMFADevice", "EnableMFADevice",
            "SignIn", "CreateAccessKey", "UpdateAccessKey", "UseAccessKey", "AddUserToGroup", "AttachUserPolicy",
            "PutUserPolicy",
        }  # fmt: skip
        told = {value for call in did for value in call.parameters.values()}
        assert {"developers", "operators", "administrators", "until-it-works", "R&D"} <= told
        assert {name for value in told if (name := value.rpartition(":policy/")[2]) != value} == {
            "AWSCloudShellFullAccess", "AdministratorAccess", "AmazonDynamoDBFullAccess", "AmazonS3ReadOnlyAccess",
            "CloudWatchReadOnlyAccess", "contractor-boundary", "platform-admin",
        }  # fmt: skip

    def test_users_are_created_once(self, aws: Account, local_aws: Emulator) -> None:
        done: list[int] = []
        create_users(local_aws, 260, done.append)
        first = rows(aws)
        create_users(local_aws, 260, done.append)
        assert done == [250, 260] * 2
        past.pass_time(local_aws, FOUR_HOURS)
        assert rows(aws) == first
        assert [row["mfa_active"] for row in first.values() if row["user"] == "<root_account>"] == ["true"]
        people = [row for row in first.values() if row["password_enabled"] == "true"]
        with_mfa = [row for row in people if row["mfa_active"] == "true"]
        assert 0.7 * len(people) < len(with_mfa) < len(people)
