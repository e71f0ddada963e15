"""The commands of the documents, typed as they stand there."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.table.record import ATTRIBUTES
from tests.local_aws.aws import emulator
from tests.local_aws.deploy.terraform import Terraform
from tests.local_aws.run import scan
from tests.support.documents import COMMAND, DEPLOYMENT, OPERATING, README, RECORDS, commands
from tests.support.paths import REPOSITORY


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """Return a copy of this checkout, with the development environment that is installed here."""
    folder = tmp_path / "checkout"
    for name in ("functions", "statemachine", "terraform", "tests"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".terraform*"))
    shutil.copy2(REPOSITORY / "Makefile", folder)
    (folder / "build").mkdir()
    for name in ("venv", "tools"):
        (folder / "build" / name).symlink_to(REPOSITORY / "build" / name)
    yield folder
    subprocess.run(["make", "down"], cwd=folder, check=True, capture_output=True)


def provider_folder() -> Path:
    """Return where the provider is that the local AWS has found: the folder of an earlier download, or a mirror."""
    tools = REPOSITORY / "build" / "tools"
    noted = tools / "provider-mirror"
    candidates = [tools / "plugins", *([Path(noted.read_text())] if noted.exists() else [])]
    return next(folder for folder in candidates if any(folder.rglob("terraform-provider-aws*")))


def test_the_deployment_and_its_removal_go_as_documented(checkout: Path, tmp_path: Path) -> None:
    # Given an account, and a person who says yes to every plan; the registry may be out of reach
    with emulator.running(log_file=tmp_path / "emulator.log") as aws:
        Terraform(work_dir=tmp_path / "probe", environment={**os.environ, **aws.client_env()}).init()
        answers = {
            "TF_CLI_ARGS_init": f"-plugin-dir={provider_folder()}",
            "TF_CLI_ARGS_apply": "-auto-approve",
            "TF_CLI_ARGS_destroy": "-auto-approve",
        }
        deploy, remove = commands(README, "Deploy to AWS"), commands(DEPLOYMENT, "Remove it")
        assert commands(DEPLOYMENT, "As it is") in deploy
        assert "start-execution" in deploy
        assert "destroy" in remove

        def run(script: str) -> str:
            done = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", script],
                cwd=checkout,
                env={**os.environ, **aws.client_env(), **answers},
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        # When it is deployed, a scan is started, and everything is removed again
        assert '"executionArn"' in run(deploy)
        states = aws.client("stepfunctions")
        (machine,) = states.list_state_machines()["stateMachines"]
        (execution,) = states.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]
        ended = scan.follow(aws.client, execution["executionArn"], lambda event: None, timeout_seconds=60)
        removed = run(remove)

        # Then the scan has succeeded, and nothing is left
        assert ended.status == "SUCCEEDED"
        assert "Destroy complete!" in removed
        assert states.list_state_machines()["stateMachines"] == []
        assert aws.client("dynamodb").list_tables()["TableNames"] == []


def test_a_failed_run_is_redriven_to_its_end_as_the_documents_say(checkout: Path, installed: Path) -> None:
    exercise, stop, _ = commands(OPERATING, "Redrive a failed run").partition("make down\n")
    assert "make redrive" in exercise
    # The commands of these sections are tried on the same local AWS, before it is stopped.
    ask = commands(COMMAND, "")
    assert "iam-user-monitor start" in ask
    queries = commands(RECORDS, "What is recorded") + commands(OPERATING, "Troubleshooting")
    script = exercise + "echo asking\n" + ask + queries + stop
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_VAR_"))}

    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=checkout,
        env={**environment, "PATH": f"{installed.parent}{os.pathsep}{environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    output = done.stdout
    assert done.returncode == 0, output + done.stderr
    # First it fails for the reason that was made up, and says how far it got; then the same execution succeeds.
    failed, _, succeeded = output.partition("every call is answered again")
    redriven, _, asked = succeeded.partition("\nasking\n")
    assert "ListUsers\n" in failed
    assert "FAILED" in failed
    assert "\nScanFailed: scan " in failed
    assert "failed: AccessDenied: An error occurred (AccessDenied) when calling the ListUsers operation" in failed
    assert "500 users scanned, 500 records written in 1 page" in failed
    assert "failed, as it should" in failed
    assert "FailScan\n" not in succeeded, "a redriven state is not entered again"
    assert "SUCCEEDED" in succeeded
    # One scan, from both attempts, with everybody; and the start of its users.
    (row,) = [line.split() for line in redriven.splitlines() if line.startswith("20") and "COMPLETE" in line]
    assert row[1:7] == ["COMPLETE", "1200", "1200", "0", "2", "manual"]
    columns = ",".join(attribute.name for attribute in ATTRIBUTES if attribute.name != "ttl") + "\n"
    assert columns in redriven
    # The installed command knows the two scans, and nothing has changed in between.
    assert len([line for line in asked.splitlines() if line.startswith("20") and "  COMPLETE  " in line]) == 2
    told = [line for line in done.stderr.splitlines() if line.startswith("1,200 users in the scan")]
    assert len(told) == 1, "head has seen enough after three lines"
    assert "</html>" in (checkout / "build" / "report.html").read_text()
    assert (checkout / "build" / "users.csv").read_text().startswith(columns)
    assert len((checkout / "build" / "users.csv").read_text().splitlines()) == 1201
    assert "  first seen  " in asked
    assert "0 changes from " in done.stderr
    assert '"TimeToLiveStatus": "ENABLED"' in succeeded
    assert '"State": "ENABLED"' in succeeded
    assert '"MetricName": "RecordsWritten"' in succeeded
    assert "iam-user-monitor-schedule-dead-letters" in succeeded
    assert '"S": "COMPLETE"' in succeeded, "the manifests are queried"
    assert "the local AWS is stopped" in succeeded
