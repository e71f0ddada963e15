"""``make doctor`` names what is missing and how to get it, before anything is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.local_aws import doctor
from tests.support.paths import REPOSITORY

NOTHING = {"PATH": "/nowhere", "HOME": "/nowhere"}


def findings(environment: dict[str, str], answers: dict[str, str | None]) -> dict[str, doctor.Finding]:
    def call(command: list[str]) -> str | None:
        return answers.get(Path(command[0]).name, "there")

    return {finding.name: finding for finding in doctor.examine(environment, call)}


def test_without_anything_nothing_but_python_is_needed() -> None:
    found = findings(NOTHING, {})
    assert [one.name for one in found.values() if one.needed and not one.there] == []
    assert "1.11.4 will be downloaded" in found["Terraform"].text
    assert {one.name for one in found.values() if not one.there} == {"aws", "npm", "Docker engine", "AWS credentials"}


def test_a_terraform_that_is_too_old_is_named_with_what_is_needed() -> None:
    found = findings({**NOTHING, "TERRAFORM": "/usr/bin/terraform"}, {"terraform": "Terraform v1.5.7"})["Terraform"]
    assert not found.there
    assert "Terraform v1.5.7" in found.text
    assert ">= 1.9" in found.text


def test_a_missing_venv_is_named_with_how_to_get_it() -> None:
    found = findings(NOTHING, {Path(sys.executable).name: None})["Python's venv"]
    assert not found.there
    assert "python3-venv" in found.text


@pytest.mark.parametrize(
    ("engine", "there", "text"),
    [("28.1.1", True, "28.1.1, "), (None, False, "no engine"), ("", False, "no engine")],
)
def test_a_docker_client_alone_is_no_engine(tmp_path: Path, engine: str | None, there: bool, text: str) -> None:
    client = tmp_path / "docker"
    client.touch(mode=0o755)
    found = findings({**NOTHING, "PATH": str(tmp_path)}, {"docker": engine})["Docker engine"]
    assert (found.there, found.needed) == (there, False)
    assert text in found.text


def test_something_needed_that_is_missing_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = doctor.Finding("Terraform", there=False, needed=True, text="install it")
    monkeypatch.setattr(doctor, "examine", lambda environment: iter([missing]))
    assert doctor.main() == 1
    assert capsys.readouterr().out == "MISSING  Terraform        install it\nmissing: Terraform\n"


def test_it_runs_without_anything_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, '.'); import tests.local_aws.doctor"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
