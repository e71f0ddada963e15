"""Values that are given to make reach the commands as data: neither make nor the shell reads them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

HOSTILE = (
    "x'; touch {file}; '",
    'x"; touch {file}; "',
    "`touch {file}`",
    "$(touch {file})",
    "$(shell touch {file})",
    "x; touch {file} #",
    "$HOME \\ $$ %",
    "",
)
TARGETS = {
    "run": {"USERS": "--users", "PORT": "--port"},
    "up": {"USERS": "--users", "PORT": "--port"},
    "simulate": {"INTERLEAVINGS": "--interleavings", "SEED": "--seed"},
    "pytest": {"WORKERS": "--numprocesses"},
    "start": {"ACCOUNT": "--account", "ROLE_NAME": "--role-name"},
    "accounts": {"AT": "--at", "FORMAT": "--format"},
    "scans": {"LIMIT": "--limit", "ACCOUNT": "--account", "FORMAT": "--format"},
    "users": {"SCAN": "--scan", "AT": "--at", "ACCOUNT": "--account"},
    "findings": {"ACCOUNT": "--account"},
    "report": {"OUTPUT": "--output", "AT": "--at", "FROM": "--from", "TO": "--to", "ACCOUNT": "--account"},
    "redrive": {"EXECUTION": "", "ACCOUNT": "--account"},
    "history": {"USER": "", "ACCOUNT": "--account"},
    "diff": {"FROM": "", "TO": "", "ACCOUNT": "--account"},
    "changes": {"SINCE": "--since", "USER": "--user", "ACCOUNT": "--account"},
    "announce": {"BUS": "--bus", "FROM": "", "TO": "", "ACCOUNT": "--account"},
    "release": {"VERSION": ""},
    "release-check": {"TAG": "--tag"},
    "release-files": {"TAG": "--tag"},
}


def make(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def told(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """Return what the command was given; what make had to build before has lines of its own."""
    given: list[str] = json.loads(done.stdout.splitlines()[-1])
    return given


@pytest.fixture
def python(tmp_path: Path) -> str:
    """Return a Python that tells what it was given."""
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize("target", TARGETS)
def test_a_value_is_data(target: str, python: str, tmp_path: Path) -> None:
    options, file = TARGETS[target], tmp_path / "touched"
    for hostile in HOSTILE:
        value = hostile.format(file=file)

        interpreter = "PYTHON" if target.startswith("release") else "PY"
        needed = {"pytest": ["TESTS=tests"]}.get(target, [])
        done = make(target, f"{interpreter}={python}", *needed, *(f"{name}={value}" for name in options))

        assert done.returncode == 0, done.stderr
        given = told(done)
        for option in options.values():
            assert (f"{option}={value}" if option else value) in given
        assert not file.exists(), hostile


@pytest.mark.parametrize("hostile", HOSTILE)
def test_so_it_is_from_the_environment(hostile: str, python: str, tmp_path: Path) -> None:
    value = hostile.format(file=tmp_path / "touched")
    assert f"--users={value}" in told(make("run", f"PY={python}", USERS=value))
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("target", ["start", "users", "diff"])
def test_an_account_that_is_not_named_is_none(target: str, python: str) -> None:
    assert not [given for given in told(make(target, f"PY={python}")) if given.startswith("--")]


def test_a_yes_is_given_on_the_command_line_only(python: str) -> None:
    command = ("announce", f"PY={python}", "FROM=previous", "TO=latest")
    assert told(make(*command, YES="1"))[-3:] == ["--", "previous", "latest"]
    assert "--yes" not in told(make(*command, YES="1"))
    assert "--yes" in told(make(*command, "YES=1"))


def test_tests_are_several_words(python: str, tmp_path: Path) -> None:
    file = tmp_path / "touched"
    value = f"tests/unit tests/docs; $(touch {file}) $(shell touch {file})"
    given = told(make("pytest", f"PY={python}", f"TESTS={value}"))
    assert given[-6:] == ["tests/unit", "tests/docs;", "$(touch", f"{file})", "$(shell", "touch", f"{file})"][-6:]
    assert not file.exists()


@pytest.mark.parametrize("name", ["CALL", "FAULT", "NUMBERS", "BY", "ACCOUNT"])
def test_what_is_to_break_is_data(name: str, tmp_path: Path) -> None:
    good = {"CALL": "dynamodb:BatchWriteItem", "FAULT": "throttled"}
    hostile = f"x'; touch {tmp_path}/touched; '$(touch {tmp_path}/touched)`touch {tmp_path}/touched`"

    done = make("break", *(f"{key}={value}" for key, value in {**good, name: hostile}.items()))

    assert done.returncode == 2
    assert done.stderr.startswith("error: "), done.stderr
    assert not (tmp_path / "touched").exists()


def test_break_refuses_what_it_does_not_know() -> None:
    done = make("break", "CALL=iam:ListUsers", "FAULT=throttled", "NUMBER=2-", "USERS=3")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] in {
        "error: make break knows CALL FAULT NUMBERS BY ACCOUNT, not NUMBER USERS",
        "error: make break knows CALL FAULT NUMBERS BY ACCOUNT, not USERS NUMBER",
    }


def test_the_help_of_break_names_all_it_knows() -> None:
    (line,) = [line for line in make("help").stdout.splitlines() if "make break" in line]
    for name in ("CALL=", "FAULT=", "NUMBERS=", "BY=", "ACCOUNT"):
        assert name in line


def test_help_names_the_targets_in_the_order_of_need() -> None:
    done = make("help")
    assert (done.returncode, done.stderr) == (0, "")
    sections = [part.split(":\n", 1) for part in done.stdout.strip().split("\n\n")]
    assert [title.partition(" ")[0] for title, _ in sections] == ["Try", "Ask", "Deploy", "Develop", "Release"]
    named = [[line.split()[1] for line in targets.splitlines()] for _, targets in sections]
    assert named[0][:5] == ["help", "doctor", "run", "up", "down"]
    assert named[1][:2] == ["start", "redrive"]
    assert named[2][-4:] == ["plan", "deploy", "test-aws", "destroy"]
    assert {"install", "test", "pytest", "clean"} <= set(named[3])


def test_no_tests_by_accident(python: str) -> None:
    """All of them take a quarter of an hour: make test says that it runs them all."""
    done = make("pytest", f"PY={python}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: name the tests: make pytest TESTS=")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("USRES=5", "USRES is no variable that a target knows; `make help` names those of each."),
        ("users=5", "users is no variable that a target knows; "),
        ("USER=5", "USER is for `make history` and `make changes`; a number of users is USERS."),
    ],
)
def test_a_slip_of_the_pen_is_not_passed_by(typed: str, said: str, python: str) -> None:
    done = make("run", f"PY={python}", typed)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    "typed", ["AWS_PROVIDER_VERSION=5.67.0", "TF_VAR_log_level=DEBUG", "TERRAFORM=/usr/bin/terraform"]
)
def test_what_tools_read_from_the_environment_may_be_typed(typed: str, python: str) -> None:
    assert make("run", f"PY={python}", typed).returncode == 0


def test_the_doctor_answers_without_a_python() -> None:
    done = make("doctor", "PYTHON=no-such-python")
    assert done.returncode == 2
    assert done.stderr.startswith("MISSING  Python           no 'no-such-python' is on the PATH, and 3.11 or newer")
