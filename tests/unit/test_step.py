"""The wrapper of every handler, and the configuration it reads."""

import os
import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.shared import configuration, timestamps
from functions.shared.errors import AccessDenied, InvalidConfiguration, Throttled
from functions.shared.step import logger, step
from tests.statemachine.engine import Context
from tests.unit.logs import captured_logs

EVENT = {"scan": {"execution_arn": "arn:me", "scan_timestamp": "2026-01-31T10:00:00Z", "attempt": 2}}


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


def test_every_log_line_names_the_execution() -> None:
    @step("ListUsers")
    def handler(event: Any, context: Any) -> None:
        logger.info("a line")

    with captured_logs() as lines:
        handler(EVENT, Context())  # type: ignore[arg-type]
        handler({"execution_arn": "arn:other", "state": {}}, Context())  # type: ignore[arg-type]

    first, second = lines()
    assert first["execution_arn"] == "arn:me"
    assert first["scan_timestamp"] == "2026-01-31T10:00:00Z"
    assert first["attempt"] == 2
    assert first["state"] == "ListUsers"
    assert second["execution_arn"] == "arn:other", "a warm function must not keep the former execution's identifiers"
    assert second.get("scan_timestamp") is None


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
