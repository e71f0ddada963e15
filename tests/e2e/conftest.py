"""One deployment on a local AWS that the tests of this folder share."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.local_aws.aws import emulator
from tests.local_aws.aws.emulator import Emulator
from tests.local_aws.aws.users import create_users
from tests.local_aws.deploy.terraform import Terraform
from tests.local_aws.run import changes, scan
from tests.support.paths import REPOSITORY

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
        return scan.follow(self.aws.client, arn, lambda event: None, timeout_seconds=300)

    def run(self) -> scan.Execution:
        """Start a scan by hand and wait for its end."""
        return self.finish(self.start())

    def redrive(self, arn: str) -> scan.Execution:
        """Redrive an execution and wait for its end."""
        self.aws.client("stepfunctions").redrive_execution(executionArn=arn)
        return self.finish(arn)

    def lock(self) -> dict[str, Any] | None:
        """Return the lock, or None when it is free."""
        found = self.aws.client("dynamodb").get_item(
            TableName=self.outputs["dynamodb_table_name"], Key=scan.LOCK_KEY, ConsistentRead=True
        )
        item: dict[str, Any] | None = found.get("Item")
        return item

    def listener(self) -> changes.Listener:
        """Listen to the events that it announces from now on, with a rule of the test's own."""
        return changes.Listener(self.aws.client, self.outputs)

    def users(self) -> list[dict[str, Any]]:
        """Return the users as IAM has them."""
        return scan.users(self.aws.client)


@contextmanager
def deployed(
    folder: Path, users: int, variables: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Deployment]:
    """Deploy the configuration, with IAM enforced, and create users.

    Parameters
    ----------
    variables, settings
        Variables of the Terraform configuration, and settings of the emulator, that differ from their defaults.
    """
    # Otherwise tests that are run by themselves would deploy the functions of some time ago.
    subprocess.run(["make", "package"], cwd=REPOSITORY, check=True, capture_output=True)
    with emulator.running(log_file=folder / "emulator.log", environment=settings) as aws:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_VAR_")}
        terraform = Terraform(work_dir=folder / "deployment", environment={**environment, **aws.client_env()})
        terraform.init()
        outputs = terraform.apply(variables or {})
        create_users(aws, users, lambda done: None)
        yield Deployment(aws, terraform, outputs)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of the operator's command."""
    folder = tmp_path_factory.mktemp("wheel")
    _pip(Path(sys.executable), "wheel", "--no-deps", "--wheel-dir", str(folder), str(REPOSITORY))
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an empty environment, as pipx does, and return the command."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    # At the versions that are tested, so that a new release of a dependency fails no test of ours.
    constraints = str(REPOSITORY / "tests" / "constraints.txt")
    _pip(folder / "bin" / "python", "install", "--constraint", constraints, str(wheel))
    return folder / "bin" / "iam-user-monitor"


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Deploy the configuration as it is."""
    with deployed(tmp_path_factory.mktemp("local-aws"), USERS) as deployment:
        yield deployment
