"""``make run``: deploy, scan, verify, tell, and take everything down."""

import json
import os
import shutil
from pathlib import Path

from tests.local_aws.aws import emulator
from tests.local_aws.run import html_report, posture, report, scan
from tests.local_aws.run.steps import create_users, deploy, only_one, relative, say

RUN_FACTS = "run.json"
RUN_PICTURE = "report.html"

DEFAULT_RETENTION_DAYS = 90
EXIT_FAILED_CHECK = 1


def run(build: Path, users: int, port: int | None) -> int:
    """Deploy, scan, verify and take everything down; the facts go to run.json in the build folder."""
    work_dir, facts_file, picture_file = build / "run", build / RUN_FACTS, build / RUN_PICTURE
    with only_one(work_dir):
        for file in (facts_file, picture_file):
            file.unlink(missing_ok=True)
        emulator.sweep(work_dir)
        # A former run's state is about an AWS that is gone.
        shutil.rmtree(work_dir / "deployment", ignore_errors=True)
        say("Starting the local AWS")
        with emulator.running(log_file=work_dir / "emulator.log", port=port) as aws:
            outputs = deploy(aws, work_dir)
            create_users(aws, users)
            say("Starting the scan")
            arn = scan.start(aws.client, outputs["state_machine_arn"])
            progress = report.Progress(print)
            execution = scan.follow(aws.client, arn, progress, waiting=progress.waiting)
            facts = scan.collect(aws.client, outputs, execution)
            listed = aws.client("iam").get_paginator("list_users").paginate()
            account = [user for page in listed for user in page["Users"]]
            checks = scan.verify(execution, facts, account, _retention_days())
            checks += posture.verify(aws.client, facts.records, facts.manifest, _recorded_tags())
            facts_file.write_text(
                json.dumps(report.facts_as_json(execution, facts, checks, len(account)), indent=2, default=int) + "\n"
            )
            picture_file.write_text(html_report.page(execution, facts, checks))
            for line in report.summary(execution, facts, checks):
                print(line)
            print()
            for line in posture.summary(posture.counts(facts.records)):
                print(line)
            print("\nFindings, as `iam-user-monitor findings` counts them")
            for line in posture.findings(aws.client("dynamodb"), outputs["dynamodb_table_name"]):
                print(f"  {line}")
    print()
    print(f"Picture         {relative(picture_file)}")
    print(f"Facts for tools {relative(facts_file)}")
    print("Look further    `make up` leaves such an AWS running and prints the commands to explore it")
    passed = all(check.passed for check in checks)
    say("Done: the scan is verified" if passed else "The scan is WRONG: see the failed checks above")
    return 0 if passed else EXIT_FAILED_CHECK


def _recorded_tags() -> list[str]:
    keys: list[str] = json.loads(os.environ.get("TF_VAR_recorded_tags", "[]"))  # noqa: SIM112 - Terraform's spelling
    return keys


def _retention_days() -> int:
    return int(os.environ.get("TF_VAR_retention_days", DEFAULT_RETENTION_DAYS))  # noqa: SIM112 - Terraform's spelling
