"""What the functions print: the metrics, in CloudWatch's embedded metric format."""

import json
from typing import Any

import pytest


class Metrics:
    """Gathers the metrics lines that the functions print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.lines: list[dict[str, Any]] = []

    def success(self) -> list[float]:
        """Return the Success metric of every attempt so far."""
        printed = self._capsys.readouterr().out.splitlines()
        self.lines += [json.loads(line) for line in printed if line.startswith('{"_aws"')]
        return [line["Success"][0] for line in self.lines]
