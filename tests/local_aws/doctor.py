"""What this machine lacks to run, test and deploy this project, and how to get it: ``make doctor``.

Runs before anything is installed, so it imports the standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from tests.local_aws.deploy import terraform_install
from tests.support.paths import REPOSITORY

OLDEST_PYTHON = (3, 11)


class Finding(NamedTuple):
    """One thing, whether it is there, what for it is needed, and what was found or how to get it."""

    name: str
    there: bool
    needed: bool
    text: str


Run = Callable[[list[str]], str | None]


def run(command: list[str]) -> str | None:
    """Return the first line that a command prints, or None if it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return (done.stdout.strip() or done.stderr.strip()).partition("\n")[0]


def examine(environment: Mapping[str, str], call: Run = run) -> Iterator[Finding]:
    """Yield what is there and what is not."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(
        "Python", sys.version_info >= OLDEST_PYTHON, True,
        f"{version}" if sys.version_info >= OLDEST_PYTHON
        else f"is {version}; 3.11 or newer is needed. Name another one: make doctor PYTHON=python3.12",
    )  # fmt: skip
    venv = call([sys.executable, "-c", "import venv, ensurepip; print('there')"])
    yield Finding("Python's venv", venv is not None, True, venv or "install it; on Debian and Ubuntu: python3-venv")
    yield _terraform(environment, call)
    yield _provider(environment)
    for program, purpose, how in (
        ("aws", "the commands of the README on your account", "aws.amazon.com/cli; build/venv/bin/aws is one, too"),
        ("npm", "tests with asl-validator and Chromium, which are skipped without", "nodejs.org"),
    ):
        path = shutil.which(program, path=environment.get("PATH"))
        yield Finding(program, path is not None, False, path or f"only for {purpose}: {how}")
    yield _docker(environment, call)
    credentials = any(environment.get(name) for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID"))
    yield Finding(
        "AWS credentials", credentials, False,
        "in the environment" if credentials else "only to deploy: set AWS_PROFILE and AWS_REGION, as for the AWS CLI",
    )  # fmt: skip


def _docker(environment: Mapping[str, str], call: Run) -> Finding:
    """Tell whether an engine answers: a client alone runs nothing."""
    purpose = "only for make test-sfn-local"
    path = shutil.which("docker", path=environment.get("PATH"))
    if path is None:
        return Finding("Docker engine", False, False, f"{purpose}: docs.docker.com/get-docker")
    version = call([path, "version", "--format", "{{.Server.Version}}"])
    if not version:
        return Finding("Docker engine", False, False, f"{purpose}: {path} is there, and no engine answers; start one")
    return Finding("Docker engine", True, False, f"{version}, {path}")


def _terraform(environment: Mapping[str, str], call: Run) -> Finding:
    pinned = terraform_install.PINNED_VERSION
    path = environment.get("TERRAFORM") or shutil.which("terraform", path=environment.get("PATH"))
    if path is None:
        return Finding("Terraform", True, True, f"is not on the PATH: {pinned} will be downloaded into build/")
    constraint = terraform_install.required_version(REPOSITORY / "terraform")
    found = call([path, "version"]) or "does not run"
    version = terraform_install.parse_version(found.rpartition(" v")[2])
    if version is not None and terraform_install.satisfies(version, constraint):
        return Finding("Terraform", True, True, f"{found.rpartition(' v')[2]}, {path}")
    return Finding(
        "Terraform", False, True,
        f"{path} is {found}, and {constraint} is needed: install one, or take it off the PATH to have {pinned} "
        "downloaded",
    )  # fmt: skip


def _provider(environment: Mapping[str, str]) -> Finding:
    constraint = terraform_install.required_provider_version(REPOSITORY / "terraform")
    mirrors = terraform_install.find_mirrors(environment, constraint)
    text = f"a mirror at {mirrors[0].folder}" if mirrors else "will be downloaded from the registry, once"
    return Finding("AWS provider", True, True, text)


def main() -> int:
    """Print what was found. Returns 1 if something is missing that is needed."""
    findings = list(examine(os.environ))
    for finding in findings:
        sign = "ok     " if finding.there else ("MISSING" if finding.needed else "absent ")
        print(f"{sign}  {finding.name:<16} {finding.text}")
    missing = [finding.name for finding in findings if finding.needed and not finding.there]
    print(f"missing: {', '.join(missing)}" if missing else "nothing is missing: `make run` is next")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
