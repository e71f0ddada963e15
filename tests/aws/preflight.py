"""What ``make test-aws`` needs, looked at before its first test: credentials, a region and a stack that is theirs."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.paths import TERRAFORM

EXIT_BAD_INPUT = 2
_CONFIG = Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 2})


class NotReadyError(Exception):
    """Something is missing; the message is one line that says what, and how to get it."""


def outputs_of(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the outputs of the deployment: of the file STACK_OUTPUTS, or of Terraform's state in terraform/.

    Raises
    ------
    NotReadyError
        There is no deployment.
    """
    try:
        if file := environment.get("STACK_OUTPUTS"):
            told: dict[str, Any] = json.loads(Path(file).read_text())
            return told
        done = subprocess.run(
            ["terraform", f"-chdir={TERRAFORM}", "output", "-json"],
            capture_output=True,
            text=True,
            check=True,
        )
        outputs = {name: output["value"] for name, output in json.loads(done.stdout).items()}
    except subprocess.CalledProcessError as error:
        raise NotReadyError(f"terraform does not tell what is deployed: {_one_line(error.stderr)}") from error
    except (OSError, ValueError) as error:
        raise NotReadyError(f"what is deployed cannot be read: {error}") from error
    if not outputs:
        raise NotReadyError("nothing is deployed from terraform/; `make deploy`, or name its outputs in STACK_OUTPUTS")
    return outputs


def check(environment: Mapping[str, str]) -> str:
    """Return one line that says which stack is tried.

    Raises
    ------
    NotReadyError
        It cannot be.
    """
    # boto3 itself does not know AWS_REGION, which Terraform and the AWS CLI take first.
    session = boto3.Session(region_name=environment.get("AWS_REGION") or None)
    if session.region_name is None:
        raise NotReadyError("no region is set; set AWS_REGION, or AWS_PROFILE to a profile that has one")
    try:
        account = session.client("sts", config=_CONFIG).get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise NotReadyError(f"the credentials do not work: {_one_line(str(error))}") from error
    outputs = outputs_of(environment)
    deployed = (outputs["account_id"], outputs["aws_region"])
    if (account, session.region_name) != deployed:
        raise NotReadyError(
            f"the credentials are of account {account} in {session.region_name}, and the stack is in account "
            f"{deployed[0]} in {deployed[1]}"
        )
    client = session.client("stepfunctions", config=_CONFIG)
    arn = outputs["state_machine_arn"]
    try:
        client.describe_state_machine(stateMachineArn=arn)
    except (BotoCoreError, ClientError) as error:
        raise NotReadyError(f"the stack is not there, or may not be looked at: {_one_line(str(error))}") from error
    return f"account {account}, region {session.region_name}, endpoint {client.meta.endpoint_url}, {arn}"


def _one_line(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def main() -> int:
    """Say which stack is tried, or what is in the way. Returns 2 if something is."""
    try:
        print(check(os.environ), file=sys.stderr)
    except NotReadyError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
