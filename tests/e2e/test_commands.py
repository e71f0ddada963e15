"""The commands of the quick start, run as a user runs them."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from tests.local_aws import processes
from tests.support.paths import REPOSITORY
from tests.support.waiting import eventually


def command(*arguments: str, build: Path) -> list[str]:
    """Return the command that a make target runs, with a build folder of the test's own."""
    return [sys.executable, "-m", "tests.local_aws", *arguments, "--build", str(build)]


def run(*arguments: str, build: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, build=build),
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )


def processes_of(build: Path) -> list[str]:
    """Return the command lines of all processes that mention the build folder."""
    return list(processes.naming(str(build)).values())


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_run_scans_verifies_and_takes_everything_down(tmp_path: Path) -> None:
    done = run("run", "--users", "30", build=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads((tmp_path / "run.json").read_text())
    assert {name: facts[name] for name in ("status", "users", "users_scanned", "records_written", "errors")} == {
        "status": "SUCCEEDED",
        "users": 30,
        "users_scanned": 30,
        "records_written": 30,
        "errors": 0,
    }
    assert facts["metrics"]["UsersScanned"] == 30
    assert facts["metrics"]["Success"] == 1
    assert facts["lock_released"] is True
    assert facts["manifest_status"] == "COMPLETE"
    assert facts["history_events"] > 20
    assert facts["duration_ms"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", facts["scan_timestamp"])
    assert facts["execution_arn"].startswith("arn:aws:states:")
    assert all(check["passed"] for check in facts["checks"])
    types = [event["detail-type"] for event in facts["changes"]["events"]]
    assert {f"IAM User {word}" for word in ("Created", "Deleted", "Recreated", "Renamed", "Changed")} <= set(types)
    assert types[-1] == "IAM User Scan Completed"
    run_words = ("AcquireLock", "30 users scanned", "Status          SUCCEEDED", "the lock is gone")
    posture_words = ("Administrators  ", "console-no-mfa", "admin-policy")
    for word in (*run_words, *posture_words, "nina.newcomer came", "ok      nothing is told twice: "):
        assert word in done.stdout
    for name, title in (
        ("report.html", "IAM users of account "),
        ("run.html", f"Scan {facts['scan_timestamp']}: SUCC"),
    ):
        assert f"<title>{title}" in (tmp_path / name).read_text()
        assert name in done.stdout
    assert processes_of(tmp_path) == []


def test_run_scans_the_accounts_of_an_organization_too(tmp_path: Path) -> None:
    done = run("run", "--accounts", "2", "--users", "5", build=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["status"] == "SUCCEEDED"
    assert list(facts["accounts"].values()) == [5] * 4
    assert [entry["reason"] for entry in facts["skipped"]] == ["SUSPENDED"]
    assert facts["checks"]
    assert all(check["passed"] for check in facts["checks"])
    for word in ("acquired-and-forgotten", "AccessDenied", "redriving", "4 accounts, 20 users", "no lock is held"):
        assert word in done.stdout
    assert processes_of(tmp_path) == []


def test_up_leaves_an_aws_running_that_down_stops(tmp_path: Path) -> None:
    try:
        up = run("up", "--users", "3", build=tmp_path)
        assert up.returncode == 0, up.stdout + up.stderr
        facts = json.loads((tmp_path / "local.json").read_text())
        outputs = {"state_machine_arn", "state_machine_name", "dynamodb_table_name", "lambda_function_names"}
        assert outputs | {"event_rule_name", "endpoint_url"} <= facts.keys()
        client = boto3.client(
            "stepfunctions",
            endpoint_url=facts["endpoint_url"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
            aws_session_token=None,
        )
        arn = client.start_execution(stateMachineArn=facts["state_machine_arn"])["executionArn"]
        eventually(
            lambda: client.describe_execution(executionArn=arn)["status"] == "SUCCEEDED", "no success", seconds=300
        )

        # The commands that it prints, as typed
        printed = up.stdout.split("\nLook further\n")[1].split("\n\n")[0].splitlines()
        typed = "\n".join(line.strip() for line in printed)
        shell = subprocess.run(
            ["bash", "-ec", typed], cwd=REPOSITORY, capture_output=True, text=True, timeout=400, check=False
        )
        assert (shell.returncode, shell.stderr) == (0, "")
        assert "Scan completed successfully" in shell.stdout
        assert "`make report` in that shell" in up.stdout
        wanted = f"{typed.splitlines()[0]}\nmake report OUTPUT={tmp_path}/users.html"
        subprocess.run(["bash", "-ec", wanted], cwd=REPOSITORY, capture_output=True, timeout=400, check=True)
        assert "<title>IAM users of account " in (tmp_path / "users.html").read_text()

        other = run("up", "--users", "3", "--accounts", "2", build=tmp_path)
        assert other.returncode == 2
        assert "ACCOUNTS is 2, and the one that is up has 0: leave it out, or `make down` first" in other.stderr

        again = run("up", "--users", "3", build=tmp_path)
        assert again.returncode == 0, again.stdout + again.stderr
        assert f"runs already at {facts['endpoint_url']}" in again.stdout
        # Somebody kills it
        os.kill(facts["pid"], signal.SIGKILL)
    finally:
        down = run("down", build=tmp_path)
    assert down.returncode == 0, down.stderr
    assert processes_of(tmp_path) == []
    assert list((tmp_path / "up").glob("emulator-*")) == []
    assert not (tmp_path / "local.json").exists()
    assert "no local AWS is up" in run("down", build=tmp_path).stdout


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ("abc", "USERS must be a whole number from 0 to 5000 (the quota of an AWS account), got 'abc'"),
        ("-1", "USERS must be a whole number from 0 to 5000 (the quota of an AWS account), got '-1'"),
        ("5001", "USERS must be a whole number from 0 to 5000 (the quota of an AWS account), got '5001'"),
    ],
)
def test_a_bad_number_of_users_is_one_clear_line(tmp_path: Path, users: str, message: str) -> None:
    done = run("run", f"--users={users}", build=tmp_path)

    assert (done.returncode, done.stderr) == (2, f"error: {message}\n")
    assert done.stdout == "", "nothing was started"


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with taken_port() as port:
        done = run("run", "--port", str(port), build=tmp_path)

    assert done.returncode == 2
    assert done.stderr == f"error: port {port} is in use; stop what listens there or choose another port\n"


def test_a_variable_out_of_range_is_one_clear_line(tmp_path: Path) -> None:
    done = run("run", build=tmp_path, TF_VAR_lambda_memory="100")

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "lambda_memory must be a multiple of 64 from 128 to 10240" in done.stderr
    assert "got 100" in done.stderr
    assert processes_of(tmp_path) == []


def test_a_missing_terraform_that_cannot_be_downloaded_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        empty = tmp_path / "bin"
        empty.mkdir()
        # A downloaded release is shared by all builds, so this test must not find one.
        shutil.copytree(REPOSITORY, tmp_path / "copy", ignore=shutil.ignore_patterns("tools", "venv", ".git"))
        done = subprocess.run(
            command("run", build=tmp_path / "build"),
            cwd=tmp_path / "copy",
            env={**os.environ, "PATH": str(empty), "TERRAFORM_RELEASES_URL": url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 2
    assert done.stderr.startswith("error: terraform is not on the PATH and cannot be downloaded from " + url)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "moment", ["Starting the local AWS", "Deploying with Terraform", "created aws_lambda_function"]
)
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_process_behind(tmp_path: Path, moment: str, signal_number: signal.Signals) -> None:
    process = subprocess.Popen(
        command("run", build=tmp_path),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if moment in line:
            break
    process.send_signal(signal_number)
    _, error = process.communicate(timeout=60)

    assert process.returncode == 130
    assert error == "interrupted; everything that was started is stopped\n"
    # What was just being started ends when it notices the end of its parent.
    eventually(lambda: not processes_of(tmp_path), lambda: f"left behind: {processes_of(tmp_path)}")
