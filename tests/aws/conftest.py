"""The stack that ``make test-aws`` looks at."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.paths import REPOSITORY


def client(service: str) -> Any:
    """Return a client with the credentials, the region and the endpoint of the environment."""
    return boto3.client(service)  # type: ignore[call-overload]


@pytest.fixture(scope="session")
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
