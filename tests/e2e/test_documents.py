"""The commands of the documents, typed as they stand there."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from functions.table.record import ATTRIBUTES
from tests.local_aws.aws import emulator, fleet, organization
from tests.local_aws.aws.emulator import Emulator
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


def person(checkout: Path, aws: Emulator, folder: Path, path: str = "") -> Callable[[str], str]:
    """Return somebody who types commands in a checkout, says yes to every plan, and tells what was printed.

    Parameters
    ----------
    path
        Where commands are found first.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_VAR_"))}
    Terraform(work_dir=folder / "probe", environment={**environment, **aws.client_env()}).init()
    answers = {
        "TF_CLI_ARGS_init": f"-plugin-dir={provider_folder()}",
        "TF_CLI_ARGS_apply": "-auto-approve",
        "TF_CLI_ARGS_destroy": "-auto-approve",
    }
    found = {"PATH": os.pathsep.join(filter(None, [path, os.environ["PATH"]]))}

    def run(script: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=checkout,
            env={**environment, **aws.client_env(), **answers, **found},
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_deployment_and_its_removal_go_as_documented(checkout: Path, tmp_path: Path) -> None:
    # Given an account, and a person who says yes to every plan; the registry may be out of reach
    with emulator.running(log_file=tmp_path / "emulator.log") as aws:
        run = person(checkout, aws, tmp_path)
        deploy, remove = commands(README, "Deploy to AWS"), commands(DEPLOYMENT, "Remove it")
        assert commands(DEPLOYMENT, "As it is") in deploy
        assert "start-execution" in deploy
        assert "destroy" in remove

        # When it is deployed, a scan is started, and everything is removed again
        assert '"executionArn"' in run(deploy)
        states = aws.client("stepfunctions")
        (machine,) = states.list_state_machines()["stateMachines"]
        (execution,) = states.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]
        ended = scan.follow(aws.client, execution["executionArn"], lambda event: None, timeout_seconds=300)
        removed = run(remove)

        # Then the scan has succeeded, and nothing is left
        assert ended.status == "SUCCEEDED"
        assert "Destroy complete!" in removed
        assert states.list_state_machines()["stateMachines"] == []
        assert aws.client("dynamodb").list_tables()["TableNames"] == []


def test_the_guide_leads_from_nothing_to_the_first_snapshot_of_an_organization(
    checkout: Path, installed: Path, tmp_path: Path
) -> None:
    deploy, begin, run_and_look = commands(
        DEPLOYMENT, "An organization, from nothing to the first fleet snapshot"
    ).partition("ORGANIZATION=")
    assert "iam-user-monitor users --account all" in run_and_look
    with emulator.running(log_file=tmp_path / "emulator.log") as aws:
        run = person(checkout, aws, tmp_path, str(installed.parent))
        # When the deployment is told of the organization
        assert '"iam-user-monitor-member"' in run(deploy)
        # And its accounts are given the role, as a StackSet would, which the local AWS has not; one is suspended
        trust = json.loads(run("terraform -chdir=terraform output -json member_role_trust"))
        made = fleet.make(aws, 2, 3, trust)
        organization.found(aws, left=[one.account_id for one in made.members if not one.has_role])
        aws.client("iam").create_user(UserName="of-the-deployment")

        told = run(begin + run_and_look)

        # Then all of it is there after the first run
        status, _, rest = told.partition("\n")
        assert status == "SUCCEEDED"
        accounts, _, users = rest.partition("\naccount_id")
        ids = [
            aws.client("sts").get_caller_identity()["Account"],
            *(one.account_id for one in made.members if one.has_role),
        ]
        rows = [line.split() for line in accounts.splitlines()]
        assert [one for one in ids if sum(row[:1] == [one] for row in rows) != 1] == []
        assert sum("COMPLETE" in row for row in rows) == 3
        assert sum("SUSPENDED" in " ".join(row) for row in rows) == 1
        assert len(users.splitlines()) == 1 + 1 + 2 * 3
        assert "of-the-deployment" in users


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
        timeout=800,
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
