"""What all tests share."""

import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from botocore.loaders import Loader

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
    """Replace the credentials of the person who runs the tests, unless AWS itself is to be tested."""
    if os.environ.get("RUN_ON_AWS"):
        yield
        return
    with mock.patch.dict(os.environ, _CREDENTIALS):
        os.environ.pop("AWS_PROFILE", None)
        os.environ.pop("AWS_ENDPOINT_URL", None)
        yield


def pytest_configure() -> None:
    """Prepare the process that runs the tests, and every worker of it."""
    _take_interrupts()
    _take_the_region()
    _forget_make()
    _read_botocore_data_once()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: what calculates beside what waits, and no long file alone at the end."""
    order = (
        "simulator/test_simulator",
        "e2e/test_faults",
        "e2e/test_deployment",
        "e2e",
        "statemachine/test_fault_matrix",
        "statemachine/test_workflow",
        "terraform",
    )
    items.sort(key=lambda item: next((n for n, part in enumerate(order) if f"tests/{part}" in item.nodeid), len(order)))


def _forget_make() -> None:
    """Let a test that types make do it as a person does, not as a child of the make that runs the tests."""
    for name in list(os.environ):
        if name in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "TESTS", "WORKERS"} or name.startswith(
            "ASKED_"
        ):
            del os.environ[name]


def _take_interrupts() -> None:
    """Take Ctrl-C, even from a shell that started the tests in the background.

    Such a shell has its children ignore SIGINT, they hand that down to theirs, and no test could interrupt anything.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _take_the_region() -> None:
    """On AWS, look where Terraform and the AWS CLI look, too: boto3 itself does not know AWS_REGION."""
    if os.environ.get("RUN_ON_AWS") and (region := os.environ.get("AWS_REGION")):
        os.environ["AWS_DEFAULT_REGION"] = region


def _read_botocore_data_once() -> None:
    """Let all sessions of botocore share what they know of the services.

    Every test with a mocked AWS has sessions of its own. Each would parse megabytes of JSON, and look through the
    folders of four hundred services.
    """
    known: defaultdict[tuple[str, ...], dict[Any, Any]] = defaultdict(dict)
    Loader._cache = property(lambda self: known[tuple(self.search_paths)], lambda self, _: None)  # type: ignore[attr-defined]


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
