"""One real scan of a deployed stack, verified as ``make run`` verifies one. Asked for with ``make test-aws`` only.

It starts an execution, as its schedule does all the time, and reads; it changes nothing else.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.local_aws import scan

REPOSITORY = Path(__file__).resolve().parents[2]
# CloudWatch shows metrics that were logged after a minute or two.
METRICS_SECONDS = 300

pytestmark = pytest.mark.skipif(not os.environ.get("RUN_ON_AWS"), reason="only `make test-aws` looks at a real account")


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    """Return the outputs of the deployment: of the file STACK_OUTPUTS, or of Terraform's state in terraform/."""
    if file := os.environ.get("STACK_OUTPUTS"):
        told: dict[str, Any] = json.loads(Path(file).read_text())
        return told
    done = subprocess.run(
        ["terraform", f"-chdir={REPOSITORY / 'terraform'}", "output", "-json"],
        capture_output=True,
        text=True,
        check=True,
    )
    outputs = {name: output["value"] for name, output in json.loads(done.stdout).items()}
    assert outputs, "nothing is deployed from terraform/; deploy it, or name a file of outputs in STACK_OUTPUTS"
    return outputs


def test_the_credentials_are_of_the_deployments_account(outputs: dict[str, Any]) -> None:
    assert boto3.client("sts").get_caller_identity()["Account"] == outputs["account_id"]


def test_a_scan_records_every_user(outputs: dict[str, Any]) -> None:
    functions = boto3.client("lambda")
    name = outputs["lambda_function_names"]["write_batch"]
    settings = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    # The metrics have no dimension that tells one scan from another: begin where no other scan is in the same minute.
    time.sleep(60 - time.time() % 60)
    pages = _client("iam").get_paginator("list_users").paginate()
    users = [user for page in pages for user in page["Users"]]

    execution = scan.follow(_client, scan.start(_client, outputs["state_machine_arn"]), lambda event: None, 3600)

    assert execution.visits[-1].state != "ScanSkipped", "another scan runs; try again when it has ended"
    deadline = time.monotonic() + METRICS_SECONDS
    while True:
        facts = scan.collect(_client, outputs, execution)
        checks = scan.verify(execution, facts, users, int(settings["RETENTION_DAYS"]))
        failed = [check for check in checks if not check.passed]
        if not any("metrics" in check.name for check in failed) or time.monotonic() > deadline:
            break
        time.sleep(10)
    assert failed == []


def _client(service: str) -> Any:
    return boto3.client(service)  # type: ignore[call-overload]
