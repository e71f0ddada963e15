"""What an execution's input asks for."""

import json
from datetime import timedelta
from typing import Any

import pytest

from functions.shared.errors import InvalidInput
from functions.shared.request import DEFAULT, Member, Request, fleet_request_of, request_of
from functions.shared.run import Run
from tests.support.scene import STARTED_AT, TIMESTAMP, Scene

OWN_ACCOUNT = "123456789012"
ACCOUNT = "222222222222"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/iam-user-monitor-member"
ASKED = {"account_id": ACCOUNT, "role_arn": ROLE, "scan_timestamp": TIMESTAMP, "trigger": "organization"}


def request(execution_input: Any) -> Request:
    return request_of(execution_input, OWN_ACCOUNT, STARTED_AT)


def test_a_member_account_is_asked_for_with_its_role_and_the_scan() -> None:
    assert request(ASKED | {"account_name": "Payroll (dev)"}) == Request(
        "organization", Member(ACCOUNT, ROLE), "Payroll (dev)", TIMESTAMP
    )


@pytest.mark.parametrize(
    "execution_input", [{}, {"account_id": None, "role_arn": None, "account_name": None}, {"Comment": "Insert"}]
)
def test_without_an_account_it_is_the_own_one(execution_input: Any) -> None:
    assert request(execution_input) == DEFAULT


@pytest.mark.parametrize("more", [{}, {"role_arn": None, "account_name": None}])
def test_the_own_account_needs_no_role(more: dict[str, Any]) -> None:
    assert request({"account_id": OWN_ACCOUNT, "scan_timestamp": TIMESTAMP, **more}) == Request(
        scan_timestamp=TIMESTAMP
    )


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"account_id": "22222222222"}, "account_id must be a text of 12 digits, not '22222222222'"),
        ({"account_id": 222222222222}, "account_id must be a text of 12 digits, not '222222222222'"),
        ({"account_id": "２２２２２２２２２２２２"}, "account_id must be a text of 12 digits"),
        ({"account_id": "222222222222\n"}, "account_id must be a text of 12 digits"),
        ({"account_id": OWN_ACCOUNT}, "is the deployment's own account, which is scanned without a role"),
        ({"account_id": "333333333333"}, "role_arn must be the ARN of a role of account 333333333333, not"),
        ({"account_id": None}, "role_arn is given for the account_id that is to be scanned, and there is none"),
        ({"account_id": None, "role_arn": None}, "scan_timestamp is given for the account_id"),
        ({"role_arn": ""}, "role_arn must be the ARN of a role of account 222222222222, not ''"),
        ({"role_arn": "x"}, "role_arn must be the ARN of a role of account 222222222222, not 'x'"),
        ({"role_arn": ROLE.replace(":role/", ":user/")}, "role_arn must be the ARN of a role"),
        ({"role_arn": ROLE + "\n"}, "role_arn must be the ARN of a role"),
        ({"scan_timestamp": "2026-01-31 10:00:00"}, "scan_timestamp must be a UTC time such as"),
        ({"scan_timestamp": "2026-01-31T10:00:00+00:00"}, "scan_timestamp must be a UTC time such as"),
        ({"scan_timestamp": "2026-01-31T10:00:00.5Z"}, "scan_timestamp must be a UTC time such as"),
        ({"scan_timestamp": 7}, "scan_timestamp must be a UTC time such as"),
        ({"scan_timestamp": "2026-01-31T10:00:01Z"}, "must not be later than the start of the execution"),
        ({"account_name": ""}, "account_name must be a text of 1 to 64 printable characters"),
        ({"account_name": "two\nlines"}, "account_name must be a text of 1 to 64 printable characters"),
        ({"trigger": None}, "trigger must be a text of 1 to 64 printable characters, not 'None'"),
    ],
)
def test_what_cannot_be_scanned_is_refused_by_name(changed: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        request(ASKED | changed)


def test_a_deployment_without_an_organization_looks_into_no_other_account() -> None:
    with pytest.raises(InvalidInput, match="set organization_enabled to scan others"):
        Member(ACCOUNT, ROLE).admitted(None, "aws")


@pytest.mark.parametrize("name", ["Admin", "path/iam-user-monitor-member", "iam-user-monitor-member2"])
def test_no_other_role_is_taken(name: str) -> None:
    member = Member(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/{name}")
    with pytest.raises(InvalidInput, match=f"must be the ARN of the role iam-user-monitor-member .* not '.*{name}'"):
        member.admitted("iam-user-monitor-member", "aws")


def test_the_member_role_is() -> None:
    assert Member(ACCOUNT, ROLE).admitted("iam-user-monitor-member", "aws") == Member(ACCOUNT, ROLE)


def test_a_role_that_is_not_named_is_the_member_role_in_the_partition_of_the_deployment() -> None:
    request = request_of({"account_id": ACCOUNT, "role_arn": None}, OWN_ACCOUNT, STARTED_AT)
    arn = "arn:aws-cn:states:cn-north-1:123456789012:execution:iam-user-monitor:me"
    run = Run(arn, STARTED_AT, 1, STARTED_AT, request)

    assert run.admitted("iam-user-monitor-member").scan(STARTED_AT, 1)["role_arn"] == ROLE.replace(
        "arn:aws:", "arn:aws-cn:"
    )
    with pytest.raises(InvalidInput, match="scans its own account only"):
        run.admitted(None)


@pytest.mark.parametrize("more", [{}, {"account_id": None}, {"Comment": "Insert"}])
def test_a_run_of_all_accounts_is_asked_for_by_its_trigger_only(more: dict[str, Any]) -> None:
    assert fleet_request_of({"trigger": "schedule", **more}) == Request("schedule")


@pytest.mark.parametrize("name", ["account_id", "role_arn", "account_name", "scan_timestamp"])
def test_a_run_of_all_accounts_is_not_asked_for_one(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} is given, and the organization machine scans all accounts"):
        fleet_request_of({name: ASKED.get(name, "Payroll")})


@pytest.mark.parametrize("given", ["a text", [1], None])
def test_a_run_of_all_accounts_takes_an_object(given: Any) -> None:
    with pytest.raises(InvalidInput, match="must be a JSON object"):
        fleet_request_of(given)


def test_what_was_asked_for_travels_in_the_scan(scene: Scene) -> None:
    """Through JSON, from AcquireLock to every later step."""
    run = scene.run().asked(ASKED | {"account_name": "Payroll"})
    told = json.loads(json.dumps(run.scan(STARTED_AT, 1)))

    later = type(run).of(
        {"run": {"execution_arn": run.execution_arn, "started_at": TIMESTAMP, "redrive_count": 0}, "scan": told}
    )
    assert (later.account_id, later.own_account, later.scan_timestamp) == (ACCOUNT, OWN_ACCOUNT, TIMESTAMP)
    assert later.request.member == Member(ACCOUNT, ROLE)
    assert later.request.account_name == "Payroll"
    assert later.scan(STARTED_AT, 1) == told


def test_the_scan_of_the_own_account_is_what_it_always_was(scene: Scene) -> None:
    names = {"scan_timestamp", "execution_arn", "started_at", "attempt", "ttl"}
    assert scene.run().asked({}).scan(STARTED_AT, 1).keys() == names


@pytest.mark.parametrize("refused", ['"x"', "null", '{"account_id": "x"}'])
def test_an_input_that_is_refused_makes_the_run_one_of_the_own_account(scene: Scene, refused: str) -> None:
    run = scene.run().described_by({"input": refused})  # type: ignore[typeddict-item]
    assert (run.account_id, run.scan_timestamp) == (OWN_ACCOUNT, TIMESTAMP)


def test_a_scan_may_be_named_in_the_second_in_which_the_execution_starts(scene: Scene) -> None:
    assert request(ASKED | {"scan_timestamp": TIMESTAMP}).scan_timestamp == TIMESTAMP
    earlier = request_of(ASKED, OWN_ACCOUNT, STARTED_AT + timedelta(days=1))
    assert earlier.scan_timestamp == TIMESTAMP
