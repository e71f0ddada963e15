"""Whoever deploys gets by with what terraform/README.md says."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.local_aws.aws import emulator
from tests.local_aws.aws.emulator import Emulator
from tests.local_aws.deploy.terraform import Terraform
from tests.local_aws.errors import LocalAwsError
from tests.support.paths import REPOSITORY

MOST = {
    "kms_key": "create",
    "alarm_email": "team@example.com",
    "change_email": "team@example.com",
    "organization_enabled": True,
    "member_external_id": "the-monitor",
    "deletion_protection_enabled": False,
}


def documented() -> dict[str, Any]:
    policy: dict[str, Any] = json.loads(
        (REPOSITORY / "terraform" / "README.md")
        .read_text()
        .partition("## Who deploys\n")[2]
        .split("```json\n")[1]
        .split("```")[0]
    )
    return policy


def deployer(aws: Emulator, folder: Path, policy: dict[str, Any]) -> Terraform:
    """Create a user who may do what a policy says, and return a Terraform with the user's credentials.

    On any resource: AWS puts the ARN of what is yet to be created together from the request, and the emulator does not.
    """
    anywhere = {**policy, "Statement": [{**statement, "Resource": "*"} for statement in policy["Statement"]]}
    iam = aws.client("iam")
    iam.create_user(UserName="deployer")
    iam.put_user_policy(UserName="deployer", PolicyName="deploy", PolicyDocument=json.dumps(anywhere))
    key = iam.create_access_key(UserName="deployer")["AccessKey"]
    credentials = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_VAR_")}
    terraform = Terraform(
        work_dir=folder / "deployment", environment={**environment, **aws.client_env(), **credentials}
    )
    terraform.init()
    return terraform


def test_the_documented_policy_fits_into_one_managed_policy() -> None:
    assert len(json.dumps(documented(), separators=(",", ":"))) <= 6144


def test_the_documented_permissions_deploy_change_and_destroy(tmp_path: Path) -> None:
    with emulator.running(log_file=tmp_path / "emulator.log") as aws:
        terraform = deployer(aws, tmp_path, documented())

        terraform.apply(MOST)
        terraform.apply(
            {**MOST, "retention_days": 30, "tags": {"Team": "security"}, "monitoring_period": "rate(1 day)"}
        )
        terraform.destroy(MOST)

        assert terraform.resources() == []


def test_without_the_permission_to_have_the_definition_checked_nothing_is_planned(tmp_path: Path) -> None:
    """And so that the test above is not for nothing."""
    policy = documented()
    for statement in policy["Statement"]:
        statement["Action"] = [one for one in statement["Action"] if one != "states:ValidateStateMachineDefinition"]
    with emulator.running(log_file=tmp_path / "emulator.log") as aws:
        terraform = deployer(aws, tmp_path, policy)

        with pytest.raises(LocalAwsError, match="states:ValidateStateMachineDefinition"):
            terraform.plan_has_changes(MOST)
