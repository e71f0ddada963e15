"""The deployment as it is planned; a checkout in miniature, and a stand-in for the ``terraform`` program."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.local_aws.deploy import terraform_install as install
from tests.local_aws.deploy.terraform import Terraform
from tests.support.paths import REPOSITORY
from tests.terraform.plans import Planned, Planner


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> list[Planned]:
    """Plan the deployment with the most alarms, once for all who look at it."""
    most = {"change_email": "team@example.com", "organization_enabled": True, "member_external_id": "the-monitor"}
    return Planner(tmp_path_factory.mktemp("planned")).plan(variables=most)


def make_program(path: Path, script: str) -> Path:
    """Write a shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def make_provider(mirror: Path, version: str, platform: str | None = None) -> Path:
    """Put a provider into a filesystem mirror, unpacked."""
    folder = mirror / "registry.example.com" / "hashicorp" / "aws" / version / (platform or install.platform_name())
    folder.mkdir(parents=True)
    (folder / f"terraform-provider-aws_v{version}_x5").touch()
    return mirror


@dataclass
class Checkout:
    """A checkout whose ``terraform`` is a stand-in that notes how it is called."""

    folder: Path
    lines: list[str] = field(default_factory=list)

    @property
    def tools(self) -> Path:
        """Where downloads are kept."""
        return self.folder / "build" / "tools"

    @property
    def calls(self) -> list[str]:
        """The arguments of every call of the stand-in."""
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def terraform(self, *, without_mirror: str = "exit 0", **environment: str) -> Terraform:
        """Return a Terraform with the stand-in.

        Asked to use a mirror it succeeds; asked to use the registry it runs the script ``without_mirror``.
        """
        program = make_program(
            self.folder / "bin" / "terraform",
            f"""
            echo "$@" >> '{self.folder}/calls'
            case "$*" in
            version) echo 'Terraform v1.11.4' ;;
            *-plugin-dir=*) exit 0 ;;
            *) {without_mirror} ;;
            esac
            """,
        )
        return Terraform(
            work_dir=self.folder / "work",
            environment={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder / "home"),
                "TERRAFORM": str(program),
                "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
                **environment,
            },
            progress=self.lines.append,
            repository=self.folder,
        )


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """Make a checkout on a machine that has no provider anywhere."""
    monkeypatch.setattr(install, "_BROAD_PREFIXES", ("~/opt",))
    folder = tmp_path / "checkout"
    for name in ("terraform", "statemachine", "build", "home"):
        (folder / name).mkdir(parents=True)
    shutil.copyfile(REPOSITORY / "terraform" / "versions.tf", folder / "terraform" / "versions.tf")
    (folder / "statemachine" / "iam_user_monitor.asl.yaml").write_text("{}")
    (folder / "build" / "iam_user_monitor.zip").write_bytes(b"package")
    return Checkout(folder)
