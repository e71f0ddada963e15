"""What the tests of the functions share: the table in moto, a clock, and the metrics that were emitted."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from functions.shared import timestamps
from tests.support.engine import REGION, TABLE, create_table, fresh_clients
from tests.support.scene import LEASE, RETENTION_DAYS, SPAN_LIMIT, Clock, Scene, clear

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


@pytest.fixture(scope="module")
def account() -> Iterator["DynamoDBClient"]:
    """Return a client of an account with the records table, for all tests of a module: to make one takes its time."""
    with mock_aws():
        client = boto3.client("dynamodb", region_name=REGION)
        create_table(client)
        yield client


@pytest.fixture
def dynamodb(account: "DynamoDBClient") -> "Iterator[DynamoDBClient]":
    """Return a client of an account that has the records table, empty."""
    clear(account)
    with fresh_clients():
        yield account


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of the functions, which stands at the start of the execution."""
    clock = Clock()
    monkeypatch.setattr(timestamps, "now", clock)
    return clock


@pytest.fixture
def scene(dynamodb: "DynamoDBClient", clock: Clock) -> Scene:
    """Return an execution that has just started, and an empty table."""
    return Scene(dynamodb, clock)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment variables of the functions."""
    for name, value in {
        "DYNAMODB_TABLE_NAME": TABLE,
        "RETENTION_DAYS": RETENTION_DAYS,
        "LEASE_SECONDS": LEASE,
        "SCAN_TIMEOUT_SECONDS": SPAN_LIMIT,
        "CREDENTIAL_REPORT_ENABLED": "true",
        "AUTHORIZATION_DETAILS_ENABLED": "true",
        "RECORDED_TAGS": '["team"]',
        "CHANGE_EVENTS_ENABLED": "true",
        "EVENT_BUS_NAME": "default",
        "ANNOUNCE_ACTIVITY": "false",
        "MASS_DELETION_GUARD_PERCENT": "20",
    }.items():
        monkeypatch.setenv(name, str(value))


@pytest.fixture
def emitted(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, float]]]:
    """Return a function that returns the metrics emitted since its last call: one dict of values for each attempt."""

    def read() -> list[dict[str, float]]:
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"_aws"')]
        return [
            {metric["Name"]: line[metric["Name"]][0] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
            for line in lines
        ]

    return read
