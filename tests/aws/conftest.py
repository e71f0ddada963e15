"""The stack that ``make test-aws`` looks at."""

import os
from typing import Any

import boto3
import pytest

from tests.aws.preflight import outputs_of


def client(service: str) -> Any:
    """Return a client with the credentials, the region and the endpoint of the environment."""
    return boto3.client(service)  # type: ignore[call-overload]


@pytest.fixture(scope="session")
def outputs() -> dict[str, Any]:
    """Return the outputs of the deployment."""
    return outputs_of(os.environ)
