"""What all tests share."""

import os
from collections.abc import Iterator
from unittest import mock

import pytest

# A test that reaches for AWS by mistake must fail, not find the credentials of whoever runs it.
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@pytest.fixture(autouse=True)
def no_real_aws() -> Iterator[None]:
    """Replace the credentials of the person who runs the tests."""
    with mock.patch.dict(os.environ, _CREDENTIALS):
        os.environ.pop("AWS_PROFILE", None)
        os.environ.pop("AWS_ENDPOINT_URL", None)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the fault matrix, where its tests ran: what each fault made of the run, of its scan, and of a redrive."""
    cells = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "fault_matrix"
    ]
    if cells:
        terminalreporter.section("fault matrix")
        for row in (("state", "fault", "execution", "manifest", "redrive"), *cells):
            terminalreporter.write_line("  ".join(f"{column!s:<13}" for column in row).rstrip())
