"""One deployment on a local AWS that the tests of this folder share."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.local_aws import emulator, scan
from tests.local_aws.emulator import Emulator
from tests.local_aws.terraform import Terraform
from tests.local_aws.users import create_users

USERS = 1100  # three pages


@dataclass(frozen=True)
class Deployment:
    """The local AWS with everything deployed to it."""

    aws: Emulator
    terraform: Terraform
    outputs: dict[str, Any]

    def start(self) -> str:
        """Start a scan by hand and return the execution's ARN."""
        return scan.start(self.aws.client, self.outputs["state_machine_arn"])

    def finish(self, arn: str) -> scan.Execution:
        """Wait for an execution to end."""
        return scan.follow(self.aws.client, arn, lambda event: None, timeout_seconds=120)

    def users(self) -> list[dict[str, Any]]:
        """Return the users as IAM has them."""
        pages = self.aws.client("iam").get_paginator("list_users").paginate()
        return [user for page in pages for user in page["Users"]]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Deploy the configuration once, with IAM enforced, and create users."""
    folder = tmp_path_factory.mktemp("local-aws")
    with emulator.running(log_file=folder / "emulator.log") as aws:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_VAR_")}
        terraform = Terraform(work_dir=folder / "deployment", environment={**environment, **aws.client_env()})
        terraform.init()
        outputs = terraform.apply()
        create_users(aws.client("iam"), USERS, lambda done: None)
        yield Deployment(aws, terraform, outputs)
