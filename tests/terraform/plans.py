"""Plans a configuration with mocked providers, and returns what it would make."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.local_aws.deploy.terraform import Terraform, var_arguments
from tests.support.paths import REPOSITORY

_TEST = """
mock_provider "aws" {
  alias = "management"

  mock_data "aws_organizations_organization" {
    defaults = { roots = [{ id = "r-ab12" }] }
  }
}

mock_provider "aws" {
  alias = "security"

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_service" {
    defaults = { region = "eu-west-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_kms_alias" {
    defaults = { target_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" }
  }
}

run "plan" {
  command = plan
}
"""


@dataclass(frozen=True)
class Planned:
    """A resource of a plan."""

    address: str
    type: str
    values: dict[str, Any]


class Planner:
    """A copy of the configuration and its examples, with the provider, to make plans of."""

    def __init__(self, work_dir: Path) -> None:
        self.terraform = Terraform(
            work_dir=work_dir,
            environment={
                **{name: value for name, value in os.environ.items() if not name.startswith(("TF_VAR_", "AWS_"))},
                **{name: value for name, value in os.environ.items() if name == "AWS_PROVIDER_VERSION"},
                "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            },
        )
        self.terraform.init()
        shutil.copytree(REPOSITORY / "functions", work_dir / "functions")
        for folder in ("examples", "modules"):
            shutil.copytree(REPOSITORY / "terraform" / folder, self.terraform.directory / folder)

    def example(self, name: str) -> Path:
        """Return an example's folder, initialised with the same provider, and without its backend."""
        folder = self.terraform.directory / "examples" / name
        if (folder / ".terraform").exists():
            return folder
        mirror = self.terraform.directory / ".terraform" / "providers"
        done = self.run(folder, "init", "-backend=false", "-input=false", "-no-color", f"-plugin-dir={mirror}")
        assert done.returncode == 0, done.stdout + done.stderr
        return folder

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Terraform in a folder."""
        return subprocess.run(
            [self.terraform.program, *arguments],
            cwd=folder,
            env=self.terraform.process_environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def plan(self, folder: Path | None = None, variables: Mapping[str, object] | None = None) -> list[Planned]:
        """Return the resources that an apply would make."""
        folder = folder or self.terraform.directory
        (folder / "tests").mkdir(exist_ok=True)
        (folder / "tests" / "plan.tftest.hcl").write_text(_TEST)
        # Not those that the folder has itself.
        only = "-filter=tests/plan.tftest.hcl"
        done = self.run(folder, "test", "-json", "-verbose", only, *var_arguments(variables))
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        plans = [message["test_plan"] for message in messages if message["type"] == "test_plan"]
        assert len(plans) == 1, done.stdout
        return [
            Planned(change["address"], change["type"], change["change"]["after"])
            for change in plans[0]["resource_changes"]
            if change["mode"] == "managed"
        ]
