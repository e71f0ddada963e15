"""How long a function takes to import its code, and how large the package is."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile

from tests.support.paths import REPOSITORY

PACKAGE = REPOSITORY / "build" / "iam_user_monitor.zip"
BASELINE = "import boto3; from aws_lambda_powertools import Logger"
ROUNDS = 7

_PROGRAM = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
began = time.perf_counter()
exec(sys.argv[2])
print(time.perf_counter() - began)
"""


def steps() -> list[str]:
    """Return the functions of the workflow and CleanUp, by folder."""
    return sorted(handler.parent.name for handler in (REPOSITORY / "functions").glob("*/handler.py"))


def measure(rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """Import each handler from the package, and the baseline beside it, in turns and in fresh processes.

    Returns
    -------
    For each step the median ``seconds``, and the median ``ratio`` to the baseline of the same turn.
    """
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(PACKAGE).extractall(folder)
        found = {}
        for step in steps():
            pairs = [(_seconds(folder, f"import functions.{step}.handler"), _seconds(folder, BASELINE))
                     for _ in range(rounds)]  # fmt: skip
            found[step] = {
                "seconds": statistics.median(handler for handler, _ in pairs),
                "ratio": statistics.median(handler / baseline for handler, baseline in pairs),
            }
        return found


def modules(step: str) -> set[str]:
    """Return the modules that importing a step's handler from the package loads."""
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(PACKAGE).extractall(folder)
        program = (
            f"import sys, json; sys.path.insert(0, {folder!r}); import functions.{step}.handler; "
            "print(json.dumps(sorted(sys.modules)))"
        )
        return set(json.loads(_run(["-c", program])))


def _seconds(folder: str, statement: str) -> float:
    return float(_run(["-c", _PROGRAM, folder, statement]))


def _run(arguments: list[str]) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, env=environment, cwd="/"
    )
    return done.stdout.strip().splitlines()[-1]
