"""The operator's command as it is typed, in this process, on a table in memory."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from functions.cli import app
from functions.cli.deployment import Deployment
from tests.support.recorded import Table

STATE_MACHINE_ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:iam-user-monitor"


def asks(monkeypatch: pytest.MonkeyPatch, table: Table) -> Table:
    """Let the command ask this table, in place of DynamoDB, and return it."""
    monkeypatch.setenv("STATE_MACHINE_ARN", STATE_MACHINE_ARN)
    monkeypatch.delenv("DYNAMODB_TABLE_NAME", raising=False)
    monkeypatch.setattr(Deployment, "dynamodb", table)
    return table


def run(*arguments: str) -> Result:
    """Type a command and return how it ended. No error may be more than an exit status and its line."""
    result = CliRunner().invoke(app.cli, list(arguments), prog_name="iam-user-monitor")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def answer(*arguments: str) -> list[dict[str, Any]]:
    """Return the rows that a command answers, as tools get them."""
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found
