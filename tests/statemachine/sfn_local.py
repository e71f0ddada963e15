"""AWS's own Step Functions Local in Docker, for the tests that have a Docker engine."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Its newest release; AWS no longer develops it.
IMAGE = "amazon/aws-stepfunctions-local:2.0.0"
_PORT = 8083
_MOCK_CONFIG = "/home/StepFunctionsLocal/MockConfigFile.json"


def unavailable() -> str | None:
    """Return why there is no Docker engine to run it on, or None if there is one."""
    import docker

    try:
        client = docker.from_env(timeout=5)
    except docker.errors.DockerException as error:
        return f"no Docker engine answers, which Step Functions Local ({IMAGE}) needs: {_first_line(error)}"
    try:
        client.ping()
    except Exception as error:  # noqa: BLE001 - whatever keeps it from answering
        return f"no Docker engine answers, which Step Functions Local ({IMAGE}) needs: {_first_line(error)}"
    finally:
        client.close()
    return None


@contextmanager
def running(mock_config: Path) -> Iterator[Any]:
    """Run it with a mock configuration and yield a Step Functions client of it.

    Parameters
    ----------
    mock_config
        The file that the container reads; https://docs.aws.amazon.com/step-functions/latest/dg/sfn-local-test-sm-exec.html
        describes its format.
    """
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.waiting_utils import wait_for_logs

    container = (
        DockerContainer(IMAGE)
        .with_exposed_ports(_PORT)
        .with_env("SFN_MOCK_CONFIG", _MOCK_CONFIG)
        .with_env("AWS_DEFAULT_REGION", "us-east-1")
        .with_env("AWS_ACCOUNT_ID", "123456789012")
        .with_env("WAIT_TIME_SCALE", "0")
        .with_volume_mapping(str(mock_config), _MOCK_CONFIG, "ro")
    )
    with container:
        wait_for_logs(container, "Starting server on port", timeout=60)
        yield boto3.client(
            "stepfunctions",
            endpoint_url=f"http://{container.get_container_host_ip()}:{container.get_exposed_port(_PORT)}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    reason = unavailable()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        sys.exit(2)
