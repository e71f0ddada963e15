"""The wrapper of every handler, the configuration it reads, and how it writes times."""

import gc
import os
import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.shared import configuration, timestamps
from functions.shared.errors import AccessDenied, InvalidConfiguration, Throttled
from functions.shared.step import logger, step
from tests.support.engine import Context
from tests.support.logs import captured_logs
from tests.support.scene import ME, OTHER, TIMESTAMP, run_event, scan

EVENT = {"run": run_event(1)}


def failing_with(code: str) -> Any:
    @step("ListUsers")
    def handler(event: Any, context: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "the message"}}, "ListUsers")

    return handler


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("AccessDenied", AccessDenied),
        ("AccessDeniedException", AccessDenied),
        ("Throttling", Throttled),
        ("ProvisionedThroughputExceededException", Throttled),
    ],
)
def test_an_aws_error_has_its_own_name_in_the_console(code: str, name: type[Exception]) -> None:
    with pytest.raises(name, match="the message"):
        failing_with(code)(EVENT, Context())


def test_an_unexpected_aws_error_passes_unchanged() -> None:
    with pytest.raises(ClientError, match="ServiceFailure"):
        failing_with("ServiceFailure")(EVENT, Context())


@pytest.mark.parametrize("on", [True, False])
def test_the_garbage_collector_is_off_while_a_step_works_and_then_as_it_was(on: bool) -> None:
    seen = []

    @step("ListUsers")
    def working(event: Any, context: Any) -> None:
        seen.append(gc.isenabled())
        raise KeyError("an end like another")

    if not on:
        gc.disable()
    try:
        with pytest.raises(KeyError):
            working(EVENT, Context())  # type: ignore[arg-type]
        assert (seen, gc.isenabled()) == ([False], on)
    finally:
        gc.enable()


@step("ListUsers")
def logging(event: Any, context: Any) -> None:
    logger.info("a line")


def story(event: Any) -> dict[str, Any]:
    """Return what the log line of an invocation says about its run."""
    with captured_logs() as lines:
        logging(event, Context())  # type: ignore[arg-type]
    (line,) = lines()
    return {name: line.get(name) for name in ("state", "execution_arn", "scan_timestamp", "attempt")}


def test_every_log_line_names_the_run() -> None:
    assert story(EVENT) == {"state": "ListUsers", "execution_arn": ME, "scan_timestamp": TIMESTAMP, "attempt": 2}


def test_every_log_line_names_the_newest_attempt_that_the_run_knows_of() -> None:
    assert story({**EVENT, "scan": scan(3)})["attempt"] == 3


def test_a_warm_function_does_not_keep_the_identifiers_of_the_run_before() -> None:
    story(EVENT)

    assert story({"run": run_event(arn=OTHER)})["execution_arn"] == OTHER
    assert story({"detail": {}}) == {
        "state": "ListUsers", "execution_arn": None, "scan_timestamp": None, "attempt": None,
    }  # fmt: skip


def test_the_error_that_ends_a_step_is_a_line_that_names_the_run() -> None:
    with captured_logs() as lines, pytest.raises(AccessDenied):
        failing_with("AccessDeniedException")(EVENT, Context())

    (line,) = lines()
    assert (line["level"], line["message"], line["error_type"]) == ("ERROR", "Step failed", "AccessDenied")
    assert "the message" in line["error_message"]
    assert (line["state"], line["execution_arn"], line["attempt"]) == ("ListUsers", ME, 2)


@pytest.mark.parametrize("value", ["", "0", "1001", "12.5", "-1", "x", "²"])
def test_a_bad_environment_variable_is_named_with_its_value_and_range(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("PAGE_SIZE", value)

    with pytest.raises(InvalidConfiguration, match="PAGE_SIZE") as raised:
        configuration.page_size()

    if value:
        assert repr(value) in str(raised.value)
        assert "from 1 to 1000" in str(raised.value)


def test_bounds_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("1", "1000"):
        monkeypatch.setenv("PAGE_SIZE", value)
        assert configuration.page_size() == int(value)


def test_times_are_utc_with_a_z() -> None:
    instant = timestamps.parse("2026-01-31T11:00:00.987+01:00")

    assert timestamps.to_seconds(instant) == "2026-01-31T10:00:00Z"
    assert timestamps.to_milliseconds(instant) == "2026-01-31T10:00:00.987Z"
    with pytest.raises(ValueError, match="no UTC offset"):
        timestamps.parse("2026-01-31T11:00:00")


def test_the_log_level_is_that_of_its_documented_variable() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POWERTOOLS_")}
    done = subprocess.run(
        [sys.executable, "-c", "from functions.shared.step import logger; print(logger.log_level)"],
        env={**environment, "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "40\n"


def test_the_table_is_that_of_its_documented_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "records")

    assert configuration.table_name() == "records"
