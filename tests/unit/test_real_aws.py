"""What is for a real account does not go to a local AWS, and a shell can leave it again."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.aws import preflight
from tests.aws.preflight import NotReadyError
from tests.local_aws import real_aws
from tests.local_aws.run import report
from tests.support.paths import REPOSITORY


def make(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run make as typed, where no tool of Terraform would be found if it came so far."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        ["make", *arguments],
        cwd=REPOSITORY,
        env={**kept, "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("target", ["plan", "deploy", "destroy", "test-aws"])
def test_a_local_endpoint_is_refused_in_one_line(target: str) -> None:
    done = make(target, AWS_ENDPOINT_URL="http://127.0.0.1:4566")
    assert (done.returncode, done.stdout) == (2, "")
    first, *others = done.stderr.splitlines()
    assert first.startswith("error: AWS_ENDPOINT_URL is http://127.0.0.1:4566, a local AWS, and this is for a real acc")
    assert [line for line in others if not line.startswith("make: ***")] == []


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, None),
        ({"AWS_ENDPOINT_URL": ""}, None),
        ({"AWS_ENDPOINT_URL": "https://vpce-1.dynamodb.eu-west-1.vpce.amazonaws.com"}, None),
        ({"AWS_ENDPOINT_URL": "http://localhost.example.com"}, None),
        ({"AWS_ENDPOINT_URL": "http://[broken"}, None),
        ({"AWS_ENDPOINT_URL": "http://localhost:4566"}, "AWS_ENDPOINT_URL"),
        ({"AWS_ENDPOINT_URL": "http://LOCALHOST:4566"}, "AWS_ENDPOINT_URL"),
        ({"AWS_ENDPOINT_URL": "http://127.9.8.7"}, "AWS_ENDPOINT_URL"),
        ({"AWS_ENDPOINT_URL": "http://[::1]:4566"}, "AWS_ENDPOINT_URL"),
        ({"AWS_ENDPOINT_URL": "http://0.0.0.0:4566"}, "AWS_ENDPOINT_URL"),
        ({"AWS_ENDPOINT_URL": "http://aws.localhost:4566/"}, "AWS_ENDPOINT_URL"),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "http://localhost:8000"}, "AWS_ENDPOINT_URL_DYNAMODB"),
    ],
)
def test_an_endpoint_on_this_machine_is_known(environment: dict[str, str], named: str | None) -> None:
    found = real_aws.local_endpoint(environment)
    assert (found and found[0]) == named


def test_test_aws_looks_at_the_credentials_before_its_first_test(tmp_path: Path) -> None:
    done = make(
        "test-aws", AWS_REGION="us-east-1", HOME=str(tmp_path), AWS_EC2_METADATA_DISABLED="true",
        PATH=os.environ["PATH"],
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: the credentials do not work: Unable to locate credentials")
    assert "passed" not in done.stdout


class TestPreflight:
    @pytest.fixture(autouse=True)
    def account(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        with mock_aws():
            yield

    @staticmethod
    def stack(tmp_path: Path, **other: str) -> dict[str, str]:
        client = boto3.client("stepfunctions", region_name="us-east-1")
        role = "arn:aws:iam::123456789012:role/r"
        machine = client.create_state_machine(
            name="m", roleArn=role, definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}'
        )["stateMachineArn"]
        told = {"account_id": "123456789012", "aws_region": "us-east-1", "state_machine_arn": machine, **other}
        file = tmp_path / "outputs.json"
        file.write_text(str(told).replace("'", '"'))
        return {"STACK_OUTPUTS": str(file)}

    def test_it_says_what_is_tried(self, tmp_path: Path) -> None:
        told = preflight.check(self.stack(tmp_path))
        assert told.startswith("account 123456789012, region us-east-1, endpoint https://states.us-east-1.")

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            ({"account_id": "999999999999"}, "the stack is in account 999999999999"),
            ({"aws_region": "eu-west-1"}, "and the stack is in account 123456789012 in eu-west-1"),
            (
                {"state_machine_arn": "arn:aws:states:us-east-1:123456789012:stateMachine:gone"},
                "the stack is not there",
            ),
        ],
    )
    def test_another_stack_is_none(self, tmp_path: Path, other: dict[str, str], message: str) -> None:
        with pytest.raises(NotReadyError, match=message):
            preflight.check(self.stack(tmp_path, **other))

    def test_no_stack_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(NotReadyError, match="what is deployed cannot be read"):
            preflight.check({"STACK_OUTPUTS": str(tmp_path / "nothing.json")})

    def test_a_region_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
        with pytest.raises(NotReadyError, match="no region is set"):
            preflight.check({})


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh"])
def test_a_shell_can_leave_the_local_aws(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    outputs = {
        "log_group_names": {"emit_metrics": "/aws/lambda/p-emit-metrics"},
        "state_machine_arn": "arn:m",
        "dynamodb_table_name": "t",
        "clean_up_dead_letter_queue_url": "http://127.0.0.1:1/q",
    }
    file = tmp_path / "local.env"
    local = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_PROFILE": "default", "AWS_SESSION_TOKEN": ""}
    file.write_text(report.shell_environment(local, outputs))
    script = f"""
env | sort > {tmp_path}/before
. {file}
. {file}
env | grep -c ^AWS_ENDPOINT_URL=http://127.0.0.1:1
printf '%s\\n' "$AWS_PROFILE" "$STATE_MACHINE_ARN"
leave_local_aws
env | sort > {tmp_path}/after
command -v leave_local_aws || echo left
"""
    mine = {"PATH": os.environ["PATH"], "AWS_PROFILE": 'it\'s "mine" $HOME `id`', "HOME": str(tmp_path)}
    done = subprocess.run([shell, "-c", script], env=mine, capture_output=True, text=True, check=False)

    assert (done.stdout.split(), done.stderr) == (["1", "default", "arn:m", "left"], "")
    assert _told(tmp_path / "before") == _told(tmp_path / "after")


def _told(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if not line.startswith("_=")]
