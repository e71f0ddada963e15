"""``make run``: deploy, scan, verify, tell; change the account and scan again; and take everything down."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from functions.cli.report import page, view
from functions.cli.report.choose import in_period
from functions.cli.report.gather import Asked, gather
from functions.table.reader import Reader
from tests.local_aws.aws import emulator, meter
from tests.local_aws.aws.emulator import Emulator
from tests.local_aws.run import changes, html_report, organization, posture, report, scan
from tests.local_aws.run.steps import create_users, deploy, only_one, relative, say

RUN_FACTS = "run.json"
RUN_PICTURE = "run.html"
RUN_PAGE = "report.html"

DEFAULT_RETENTION_DAYS = 90
EXIT_FAILED_CHECK = 1


def run(build: Path, users: int, port: int | None, accounts: int = 0) -> int:
    """Deploy, scan, verify and take everything down; the facts go to run.json in the build folder.

    Parameters
    ----------
    accounts
        How many member accounts with so many users each are scanned, too; without any, there is no organization.
    """
    work_dir, facts_file, picture_file = build / "run", build / RUN_FACTS, build / RUN_PICTURE
    page_file = build / RUN_PAGE
    with only_one(work_dir):
        for file in (facts_file, picture_file, page_file):
            file.unlink(missing_ok=True)
        emulator.sweep(work_dir)
        # A former run's state is about an AWS that is gone.
        shutil.rmtree(work_dir / "deployment", ignore_errors=True)
        say("Starting the local AWS")
        with emulator.running(log_file=work_dir / "emulator.log", port=port) as aws:
            outputs = deploy(aws, work_dir, organization.VARIABLES if accounts else {})
            create_users(aws, users)
            if accounts:
                return _scan_organization(aws, outputs, accounts, users, facts_file)
            listener = changes.Listener(aws.client, outputs) if outputs["event_bus_arn"] else None
            say("Starting the scan")
            meter.begin(aws)
            arn = scan.start(aws.client, outputs["state_machine_arn"])
            progress = report.Progress(print)
            execution = scan.follow(aws.client, arn, progress, waiting=progress.waiting)
            calls = meter.read(aws)["calls"]
            facts = scan.collect(aws.client, outputs, execution)
            account = scan.users(aws.client)
            checks = scan.verify(execution, facts, account, _retention_days())
            checks += posture.verify(aws.client, facts.records, facts.manifest, _recorded_tags())
            told = report.facts_as_json(execution, facts, checks, len(account))
            _write(facts_file, told)
            picture_file.write_text(html_report.page(execution, facts, checks, calls))
            for line in report.summary(execution, facts, checks):
                print(line)
            print()
            for line in posture.summary(posture.counts(facts.records)):
                print(line)
            print("\nFindings, as `iam-user-monitor findings` counts them")
            for line in posture.findings(aws.client("dynamodb"), outputs["dynamodb_table_name"]):
                print(f"  {line}")
            if listener is not None and posture.is_current(facts.manifest) and all(check.passed for check in checks):
                second, found = _second_scan(aws, outputs, listener, execution, len(account))
                checks += found
                told |= {"changes": second, "checks": report.checks_as_json(checks)}
                _write(facts_file, told)
            _write_page(aws.client("dynamodb"), outputs["dynamodb_table_name"], page_file)
    print()
    if page_file.exists():
        print(f"The users       {relative(page_file)}, the page that `iam-user-monitor report` writes")
    print(f"The run         {relative(picture_file)}, a picture of it")
    print(f"Facts for tools {relative(facts_file)}")
    print("Look further    `make up` leaves such an AWS running and prints the commands to explore it")
    return _verdict(checks)


def _scan_organization(aws: Emulator, outputs: Mapping[str, Any], accounts: int, users: int, facts_file: Path) -> int:
    made = organization.make(aws, outputs, accounts, users)
    facts, checks = organization.run(aws, outputs, made, _retention_days(), _recorded_tags())
    _write(facts_file, facts)
    print(f"\nFacts for tools {relative(facts_file)}")
    print("Look further    `make up` with the same ACCOUNTS leaves such an AWS running")
    return _verdict(checks)


def _verdict(checks: Sequence[scan.Check]) -> int:
    """Say whether all was right, and return the exit status."""
    passed = all(check.passed for check in checks)
    say("Done: the scans are verified" if passed else "The scan is WRONG: see the failed checks above")
    return 0 if passed else EXIT_FAILED_CHECK


def _second_scan(
    aws: Emulator, outputs: Mapping[str, Any], listener: changes.Listener, first: scan.Execution, users: int
) -> tuple[dict[str, Any], list[scan.Check]]:
    """Change the account, scan again, and hold what was announced against what was done; return that, and checks."""
    baseline = changes.verify_baseline(listener.events(), users)
    listener.sentences()
    print()
    say("Changing the account, and letting the four hours pass for which IAM keeps a credential report")
    done = changes.change(aws, sign_in=not _activity_is_announced())
    say("Starting the second scan")
    execution = scan.follow(aws.client, scan.start(aws.client, outputs["state_machine_arn"]), lambda event: None)
    scans = changes.Scans(first.scan_timestamp, execution.scan_timestamp, execution.arn, len(scan.users(aws.client)))
    events = listener.events()
    told = changes.verify(done, events, scans, listener.sentences())
    told.checks[:0] = [baseline, changes.verify_publication(execution)]
    print()
    for line in changes.summary(told):
        print(line)
    facts = {"scan_timestamp": scans.second, "execution_arn": execution.arn}
    return {**facts, "events": [event.as_json() for event in events]}, told.checks


def _write(file: Path, facts: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(facts, indent=2, default=int) + "\n")


def _write_page(dynamodb: Any, table: str, file: Path) -> None:
    """Write the page for auditors, where a scan may be trusted."""
    reader = Reader(dynamodb, table)
    every = list(reader.scans())
    if trusted := in_period(every, None, None):
        page.write(
            view.render(gather(reader, Asked(trusted, trusted, every, deployment=f"local AWS, table {table}"))), file
        )


def _recorded_tags() -> list[str]:
    keys: list[str] = json.loads(os.environ.get("TF_VAR_recorded_tags", "[]"))  # noqa: SIM112 - Terraform's spelling
    return keys


def _activity_is_announced() -> bool:
    return os.environ.get("TF_VAR_announce_activity") == "true"  # noqa: SIM112 - Terraform's spelling


def _retention_days() -> int:
    return int(os.environ.get("TF_VAR_retention_days", DEFAULT_RETENTION_DAYS))  # noqa: SIM112 - Terraform's spelling
