"""The role of a member account: the module's own tests, and that module and template describe the same role."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.local_aws.aws import member_role
from tests.local_aws.aws.member_role import Trust
from tests.support.paths import TERRAFORM
from tests.terraform.plans import Planner

MODULE = TERRAFORM / "modules" / "member_role"
REFUSALS = "refusals.tftest.hcl"
TRUST: Trust = {
    "role_name": "audit",
    "monitor_account_id": "123456789012",
    "monitor_role_arns": [
        f"arn:aws:iam::123456789012:role/iam-user-monitor-{step}" for step in ("list-users", "read-posture")
    ],
    "external_id": "5f0c6c8e-0e4b-4e0f-9d1c-3b8f0f6f2a11",
}


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Planner:
    return Planner(tmp_path_factory.mktemp("member-role"))


@pytest.fixture(scope="module")
def module(planner: Planner) -> Path:
    """Return a copy of the module, initialised."""
    folder = planner.terraform.directory / "modules" / "member_role"
    mirror = planner.terraform.directory / ".terraform" / "providers"
    done = planner.run(folder, "init", "-input=false", "-no-color", f"-plugin-dir={mirror}")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_its_own_tests_pass(planner: Planner, module: Path) -> None:
    done = planner.run(module, "test", "-no-color", "-filter=tests/member_role.tftest.hcl")

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Success! [1-9]\d* passed, 0 failed\.", done.stdout)


def test_its_variables_refuse_bad_values(planner: Planner, tmp_path: Path) -> None:
    """The variables alone: with the provider every refusal would load its schema, which takes a second and a half."""
    (tmp_path / "tests").mkdir()
    shutil.copy(MODULE / "variables.tf", tmp_path)
    shutil.copy(MODULE / "tests" / REFUSALS, tmp_path / "tests")
    assert planner.run(tmp_path, "init", "-input=false", "-no-color").returncode == 0

    done = planner.run(tmp_path, "test", "-no-color")

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Success! [1-9]\d* passed, 0 failed\.", done.stdout)


def test_terraform_makes_the_role_of_the_template(planner: Planner, module: Path) -> None:
    variables = {"name" if name == "role_name" else name: value for name, value in TRUST.items()}

    planned = {one.address: one.values for one in planner.plan(module, variables)}

    role, policy = planned["aws_iam_role.member"], planned["aws_iam_role_policy.member"]
    wanted = member_role.properties(TRUST)
    (inline,) = wanted["Policies"]
    assert planned.keys() == {"aws_iam_role.member", "aws_iam_role_policy.member"}
    assert json.loads(role["assume_role_policy"]) == wanted["AssumeRolePolicyDocument"]
    assert (policy["name"], json.loads(policy["policy"])) == (inline["PolicyName"], inline["PolicyDocument"])
    assert (role["name"], role["description"], role["max_session_duration"]) == (
        wanted["RoleName"], wanted["Description"], wanted["MaxSessionDuration"],
    )  # fmt: skip
    assert wanted.keys() == {
        "RoleName", "Description", "MaxSessionDuration", "AssumeRolePolicyDocument", "Policies",
    }, "what else the template says, the module has to say, too"  # fmt: skip


def test_it_may_do_what_the_functions_do_in_their_own_account() -> None:
    used = set(re.findall(r'"(iam:\w+)"', (TERRAFORM / "steps.tf").read_text()))

    (policy,) = member_role.properties(TRUST)["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert set(statement["Action"]) == used


def test_the_deployment_knows_the_role_by_the_same_name() -> None:
    deployment = (TERRAFORM / "variables.tf").read_text().partition('variable "member_role_name"')[2]
    template = yaml.safe_load(member_role.TEMPLATE.read_text())

    for text in (deployment, (MODULE / "variables.tf").read_text()):
        (default, *_) = re.findall(r'default +(?:=) "(.*)"', text)
        assert default == template["Parameters"]["Name"]["Default"]


def test_template_and_variables_ask_for_the_same() -> None:
    variables = (MODULE / "variables.tf").read_text()

    for name, parameter in yaml.safe_load(member_role.TEMPLATE.read_text())["Parameters"].items():
        assert f'regex("{parameter["AllowedPattern"]}"' in variables, name
    assert "length(var.external_id) >= 2 && length(var.external_id) <= 1224" in variables
    parameter = yaml.safe_load(member_role.TEMPLATE.read_text())["Parameters"]["ExternalId"]
    assert (parameter["MinLength"], parameter["MaxLength"]) == (2, 1224)
