"""The command as it is installed: ``pip install .`` from a wheel, into an empty environment."""

import os
import subprocess
import zipfile
from pathlib import Path

from functions.cli.errors import ExitStatus
from tests.support.paths import REPOSITORY


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        env={**os.environ, **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_holds_the_command_and_what_it_shares_with_the_functions(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folders = {os.path.dirname(name) for name in archive.namelist() if ".dist-info/" not in name}
        pages = {os.path.basename(name) for name in archive.namelist() if "/templates/" in name}
    assert folders == {
        *("functions", "functions/cli", "functions/shared", "functions/table"),
        *("functions/cli/report", "functions/cli/report/templates"),
    }
    assert pages == {"base.html", "report.html", "report.js", "style.css"}


def test_an_empty_environment_has_a_working_command_and_no_test_tools(installed: Path) -> None:
    done = run(installed, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: iam-user-monitor [OPTIONS] COMMAND [ARGS]..." in done.stdout
    assert run(installed, "--version").stdout.count(".") == 2

    listing = run(installed.parent / "python", "-m", "pip", "list", "--format", "freeze")
    packages = {line.partition("==")[0].lower() for line in listing.stdout.splitlines()}
    needed = {"iam-user-monitor", "boto3", "botocore", "click", "jmespath", "python-dateutil", "s3transfer", "six"}
    assert packages - {"pip", "setuptools"} == {*needed, "urllib3", "jinja2", "markupsafe"}


def test_it_writes_pages_from_what_the_wheel_has(installed: Path) -> None:
    program = "from functions.cli.report import page; print(page.render('base.html', {}))"
    done = run(installed.parent / "python", "-c", program)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("<!doctype html>")
    assert "--ground:" in done.stdout


def test_its_errors_are_one_line(installed: Path) -> None:
    done = run(installed, "users", "--at", "0001-01-01T00:00+14:00")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (ExitStatus.BAD_INPUT, "", 1)


def test_it_ends_well_where_nobody_reads_on(installed: Path) -> None:
    script = f"set -o pipefail; {installed} --help | true"
    assert run("bash", "-c", script).stderr == ""


def test_a_first_make_target_prints_nothing_of_its_own() -> None:
    """Its output is for a tool: ``make users FORMAT=json | jq``."""
    done = subprocess.run(
        ["make", "users", "AT=yesterday"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: Invalid value for '--at'")


def test_values_reach_the_command_as_data(tmp_path: Path) -> None:
    written = tmp_path / "written"
    for value in (
        f"x'; touch {written}; '",
        f"$(shell touch {written})",
        f"`touch {written}`",
        f'"; touch {written} "',
    ):
        for target, name in (("users", "SCAN"), ("diff", "FROM"), ("scans", "FORMAT"), ("findings", "ONLY")):
            done = subprocess.run(
                ["make", target, f"{name}={value}"],
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 2
            assert "Traceback" not in done.stderr
            assert not written.exists(), (target, value)
