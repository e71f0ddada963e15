"""One real scan of a deployed stack, verified as ``make run`` verifies one. Asked for with ``make test-aws`` only.

It starts an execution, as its schedule does all the time, and reads; it changes nothing else.
"""

import os
import time
from typing import Any

import boto3
import pytest

from tests.aws.conftest import client
from tests.local_aws.run import scan

# CloudWatch shows metrics that were logged after a minute or two.
METRICS_SECONDS = 300

pytestmark = pytest.mark.skipif(not os.environ.get("RUN_ON_AWS"), reason="only `make test-aws` looks at a real account")


def test_the_credentials_are_of_the_deployments_account(outputs: dict[str, Any]) -> None:
    assert boto3.client("sts").get_caller_identity()["Account"] == outputs["account_id"]


def test_a_scan_records_every_user(outputs: dict[str, Any]) -> None:
    functions = boto3.client("lambda")
    name = outputs["lambda_function_names"]["acquire_lock"]
    settings = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    # The metrics have no dimension that tells one scan from another: begin where no other scan is in the same minute.
    time.sleep(60 - time.time() % 60)
    pages = client("iam").get_paginator("list_users").paginate()
    users = [user for page in pages for user in page["Users"]]

    execution = scan.follow(client, scan.start(client, outputs["state_machine_arn"]), lambda event: None, 3600)

    assert execution.visits[-1].state != "ScanSkipped", "another scan runs; try again when it has ended"
    deadline = time.monotonic() + METRICS_SECONDS
    while True:
        facts = scan.collect(client, outputs, execution)
        checks = scan.verify(execution, facts, users, int(settings["RETENTION_DAYS"]))
        failed = [check for check in checks if not check.passed]
        if not any("metrics" in check.name for check in failed) or time.monotonic() > deadline:
            break
        time.sleep(10)
    assert failed == []
