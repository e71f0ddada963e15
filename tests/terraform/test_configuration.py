"""The Terraform configuration itself: formatted, valid, and its own tests pass."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local_aws.deploy.terraform import Terraform
from tests.local_aws.deploy.terraform_install import required_provider_version, satisfies
from tests.support.paths import REPOSITORY
from tests.support.provider import resident

TESTS = REPOSITORY / "terraform" / "tests"
REFUSALS = "refusals.tftest.hcl"


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Copy the configuration with its tests, and all that they look at; nothing of it talks to an AWS."""
    terraform = Terraform(
        work_dir=tmp_path_factory.mktemp("configuration"),
        environment={
            **{name: value for name, value in os.environ.items() if not name.startswith(("TF_VAR_", "AWS_"))},
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        },
    )
    terraform.init()
    shutil.copytree(TESTS, terraform.directory / "tests", ignore=shutil.ignore_patterns(REFUSALS))
    shutil.copytree(REPOSITORY / "functions", terraform.work_dir / "functions")
    with resident(terraform):
        yield terraform


def run(terraform: Terraform, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [terraform.program, *arguments],
        cwd=folder or terraform.directory,
        env=terraform.process_environment,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )


def test_it_is_formatted(terraform: Terraform) -> None:
    done = run(terraform, "fmt", "-check", "-recursive", "-diff", "-no-color", folder=REPOSITORY / "terraform")

    assert done.returncode == 0, f"run `make format`:\n{done.stdout}{done.stderr}"


def test_it_is_valid_without_a_warning(terraform: Terraform) -> None:
    result = json.loads(run(terraform, "validate", "-json").stdout)

    # From provider 6.28 on, `hash_key` of an index is deprecated; what takes its place is not in provider 5.
    unexpected = [one for one in result["diagnostics"] if "hash_key is deprecated" not in json.dumps(one)]
    assert unexpected == []
    assert result["valid"] is True


def test_its_own_tests_pass(terraform: Terraform) -> None:
    done = run(terraform, "test", "-no-color")

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Success! \d\d+ passed, 0 failed\.", done.stdout)


def test_its_variables_refuse_bad_values(terraform: Terraform, tmp_path: Path) -> None:
    """The variables alone: with the provider every refusal would load its schema, which takes a second and a half."""
    (tmp_path / "tests").mkdir()
    shutil.copy(REPOSITORY / "terraform" / "variables.tf", tmp_path)
    shutil.copy(TESTS / REFUSALS, tmp_path / "tests")
    assert run(terraform, "init", "-input=false", "-no-color", folder=tmp_path).returncode == 0

    done = run(terraform, "test", "-no-color", folder=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Success! \d\d+ passed, 0 failed\.", done.stdout)


def test_it_takes_the_versions_of_the_provider_that_work_and_no_others() -> None:
    """6.29 to 6.40 cannot plan a table that exists: hashicorp/terraform-provider-aws#46755."""
    constraint = required_provider_version(REPOSITORY / "terraform")
    broken = {(6, minor, patch) for minor in range(29, 41) for patch in (0, 1)}
    working = {(5, 67, 0), (5, 100, 0), (6, 0, 0), (6, 28, 0), (6, 41, 0), (6, 99, 1)}

    assert {version for version in broken | working if satisfies(version, constraint)} == working
    assert not satisfies((5, 66, 0), constraint)
    assert not satisfies((7, 0, 0), constraint)


def test_it_needs_no_provider_but_aws(terraform: Terraform) -> None:
    lock = (terraform.directory / ".terraform.lock.hcl").read_text()

    providers = re.findall(r'^provider "[^/"]+/([^"]+)"', lock, re.MULTILINE)
    assert providers == ["hashicorp/aws"]


def test_nothing_of_it_is_only_for_the_local_aws() -> None:
    """What is tested here is what is deployed to AWS."""
    text = "".join(file.read_text() for file in (REPOSITORY / "terraform").glob("*.tf"))

    assert (
        re.findall(r"\b(skip_\w+|endpoints(?= *\{)|endpoint_url|access_key|secret_key|localhost|127\.0\.0\.1)\b", text)
        == []
    )


def test_every_variable_and_output_is_described(terraform: Terraform) -> None:
    folder = REPOSITORY / "terraform"
    blocks = "".join(file.read_text() for file in (*folder.glob("*.tf"), *folder.glob("modules/*/*.tf")))

    for kind in ("variable", "output"):
        for name, body in re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', blocks, re.MULTILINE | re.DOTALL):
            assert re.search(r'^  description = ".{20,}"$', body, re.MULTILINE), f"{kind} {name}"


def test_every_check_of_the_security_scan_that_is_skipped_says_why() -> None:
    text = "".join(file.read_text() for file in (REPOSITORY / "terraform").glob("*.tf"))

    skips = re.findall(r"checkov:skip=(.*)", text)
    assert skips
    assert [skip for skip in skips if not re.fullmatch(r"CKV2?_AWS_\d+:.{30,}", skip)] == []


def test_every_wildcard_resource_of_a_policy_says_why() -> None:
    """Only where AWS knows no narrower resource, and with a comment above it."""
    lines = (REPOSITORY / "terraform" / "iam.tf").read_text().splitlines()

    above = [
        lines[number - 1].strip() for number, line in enumerate(lines) if re.search(r'resources\s*= \["\*"\]', line)
    ]
    assert len(above) == 4
    assert [line for line in above if not line.startswith("#")] == []
