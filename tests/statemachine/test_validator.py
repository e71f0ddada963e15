"""The rendered definitions, held against the Amazon States Language by a validator of its own (npm's asl-validator)."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import definition

PACKAGE = Path(__file__).with_name("asl_validator")
VALUES: dict[str, str | int] = {
    **{
        f"{step}_function_arn": f"arn:aws:lambda:us-east-1:123456789012:function:{step}"
        for step in (*definition.STEPS, *definition.ORGANIZATION_STEPS)
    },
    "scan_state_machine_arn": "arn:aws:states:us-east-1:123456789012:stateMachine:iam-user-monitor",
    "scan_execution_arn_prefix": "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor",
    "account_concurrency": 10,
    "organization_timeout_seconds": 10800,
    "partition": "aws",
    "table_name": "iam-user-records",
    "map_concurrency": 5,
    "task_timeout_seconds": 300,
    "scan_timeout_seconds": 1800,
    "posture_timeout_seconds": 60,
    "publish_timeout_seconds": 60,
}


@pytest.fixture(scope="module")
def validate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], str]:
    """Install the validator at its locked version; return a function that gives its complaints."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm on the PATH, which installs asl-validator")
    folder = tmp_path_factory.mktemp("asl-validator")
    for file in PACKAGE.glob("package*.json"):
        shutil.copy(file, folder)
    installed = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, capture_output=True, text=True
    )
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install asl-validator: {installed.stderr.strip().splitlines()[-1:]}")

    def complaints(machine: dict[str, Any]) -> str:
        file = folder / "definition.json"
        file.write_text(json.dumps(machine))
        done = subprocess.run(
            [folder / "node_modules/.bin/asl-validator", "--json-path", file], capture_output=True, text=True
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr

    return complaints


@pytest.mark.parametrize("source", definition.SOURCES, ids=lambda source: source.name)
def test_the_rendered_definition_is_valid(validate: Callable[[dict[str, Any]], str], source: Path) -> None:
    assert validate(definition.render(VALUES, source)) == ""


@pytest.mark.parametrize(
    "mistake",
    [
        {"Next": "Nowhere"},
        {"TimeoutSeconds": "soon"},
        {"Retry": [{"MaxAttempts": 1}]},
        {"ResultPath": "error"},
    ],
    ids=lambda mistake: next(iter(mistake)),
)
def test_a_mistake_is_found(validate: Callable[[dict[str, Any]], str], mistake: dict[str, Any]) -> None:
    machine = definition.render(VALUES)
    machine["States"]["ListUsers"].update(mistake)
    assert validate(machine) != ""
