"""The deployed workflow, from the outside. The tests run in this order: the last ones change the deployment."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.e2e.conftest import USERS, Deployment
from tests.local_aws.aws import faults
from tests.local_aws.run import scan
from tests.local_aws.run.report import path_of
from tests.support.paths import REPOSITORY
from tests.support.waiting import eventually

RETENTION_DAYS = 90
# The emulator looks at its schedules every 10 seconds, and a new rule waits for its first minute.
SCHEDULE_SECONDS = 100
CHANGED = {
    "monitoring_period": "rate(1 minute)",
    "retention_days": 30,
    "log_level": "DEBUG",
    "dashboard_enabled": False,
    "kms_key": "create",
    "change_email": "team@example.com",
}


def test_a_plan_after_the_apply_shows_no_changes(deployment: Deployment) -> None:
    assert deployment.terraform.plan_has_changes() is False


def test_a_scan_of_several_pages_records_every_user(deployment: Deployment) -> None:
    execution = deployment.finish(deployment.start())

    facts = scan.collect(deployment.aws.client, deployment.outputs, execution)
    users = deployment.users()
    assert len(users) == USERS
    assert [check for check in scan.verify(execution, facts, users, RETENTION_DAYS) if not check.passed] == []
    assert path_of(execution.visits) == (
        "AcquireLock → LockAcquired? → ReadPosture → 3 × (ListUsers → WriteRecords → SaveProgress → MorePages?) "
        "→ EmitMetrics → ChangesToPublish? → PublishChanges → ReleaseLock → ScanOutcome? → ScanSucceeded"
    )
    assert execution.output["outcome"]["users_scanned"] == USERS
    assert "users" not in json.dumps(execution.output["cursor"]).replace("users_scanned", "")


def test_the_checks_for_a_stack_on_aws_pass_here_too(deployment: Deployment, tmp_path: Path) -> None:
    """So that ``make test-aws`` is known to work before it is pointed at a real account."""
    stack = tmp_path / "outputs.json"
    stack.write_text(json.dumps(deployment.outputs))
    environment = {**os.environ, **deployment.aws.client_env(), "RUN_ON_AWS": "1", "STACK_OUTPUTS": str(stack)}

    done = subprocess.run(
        # The last states are over too soon here to be stopped in.
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "tests/aws",
            "-k",
            "not (EmitMetrics or PublishChanges or ReleaseLock)",
        ],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout
    # The alarms are skipped, as the emulator evaluates none, and a state that was left before the stop came.
    passed = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed[0]) >= 5, done.stdout


def test_some_users_have_a_password_that_was_used_and_some_have_not(deployment: Deployment) -> None:
    """Otherwise nothing shows that the attribute is absent where IAM gives none."""
    have = Counter("PasswordLastUsed" in user for user in deployment.users())

    assert have[True] > 100
    assert have[False] > 100


def test_of_two_scans_at_once_one_is_skipped(deployment: Deployment) -> None:
    # Given a scan that is at work, for it hangs where it writes
    faults.inject(deployment.aws, faults.fault("dynamodb:BatchWriteItem", "timeout", "1"))
    first = deployment.start()
    try:
        eventually(lambda: faults.injected(deployment.aws)[0]["hit"] == 1, "the first scan writes nothing")
        second = deployment.run()
    finally:
        faults.mend(deployment.aws)

    assert (second.status, second.visits[-1].state) == ("SUCCEEDED", "ScanSkipped")
    lines = _log_lines(deployment, "acquire_lock")
    assert [line for line in lines if line["message"] == "Failed to acquire execution lock"]
    done = deployment.finish(first)
    assert (done.status, done.visits[-1].state) == ("SUCCEEDED", "ScanSucceeded")


def test_the_completion_line_is_in_the_log_with_its_execution(deployment: Deployment) -> None:
    execution = deployment.finish(deployment.start())

    lines = [line for line in _log_lines(deployment, "emit_metrics") if line.get("execution_arn") == execution.arn]
    (done,) = [line for line in lines if line.get("message") == "Scan completed successfully"]
    assert done["total_users"] == USERS
    assert done["level"] == "INFO"


def test_no_log_holds_a_user(deployment: Deployment) -> None:
    """Logs hold counts and identifiers."""
    name = deployment.users()[0]["UserName"]

    for step in deployment.outputs["lambda_function_names"]:
        for line in _log_lines(deployment, step):
            assert name not in json.dumps(line)


def test_a_missing_permission_fails_the_scan_by_its_name_and_frees_the_lock(deployment: Deployment) -> None:
    iam = deployment.aws.client("iam")
    role = deployment.outputs["lambda_function_names"]["list_users"]
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    statements = [one for one in document["Statement"] if "iam:ListUsers" not in one["Action"]]
    assert len(statements) < len(document["Statement"])
    iam.put_role_policy(
        RoleName=role, PolicyName=policy, PolicyDocument=json.dumps({**document, "Statement": statements})
    )
    try:
        execution = deployment.finish(deployment.start())
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))

    assert execution.status == "FAILED"
    assert "AccessDenied" in execution.cause
    assert "ListUsers" in execution.cause
    facts = scan.collect(deployment.aws.client, deployment.outputs, execution)
    assert facts.lock is None
    assert facts.manifest["status"] == "FAILED"
    assert facts.records == []


def test_changed_variables_are_applied_and_planned_no_more(deployment: Deployment) -> None:
    deployment.terraform.apply(CHANGED)

    assert deployment.terraform.plan_has_changes(CHANGED) is False
    functions = deployment.aws.client("lambda")
    names = deployment.outputs["lambda_function_names"]
    settings = {
        step: functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        for step, name in names.items()
    }
    told = {step: variables.get("RETENTION_DAYS") for step, variables in settings.items()}
    # The manifest fixes the time to live of a scan: only what may begin one knows how long it is.
    knowing = ("acquire_lock", "emit_metrics", "clean_up")
    assert told == {**dict.fromkeys(names), **dict.fromkeys(knowing, "30")}
    assert deployment.aws.client("cloudwatch").list_dashboards()["DashboardEntries"] == []


def test_the_schedule_starts_a_scan_by_itself(deployment: Deployment) -> None:
    """With the changed variables: every minute, and under a key of our own."""
    manifest = _wait_for_scheduled_scan(deployment)

    assert manifest["status"]["S"] == "COMPLETE"
    assert manifest["users_scanned"]["N"] == str(USERS)


def test_the_table_is_protected_from_being_deleted(deployment: Deployment) -> None:
    with pytest.raises(ClientError, match=r"ValidationException.*protect"):
        deployment.aws.client("dynamodb").delete_table(TableName=deployment.outputs["dynamodb_table_name"])


def test_destroying_leaves_nothing(deployment: Deployment) -> None:
    """As documented: without deletion protection first."""
    unprotected = {**CHANGED, "deletion_protection_enabled": False}
    deployment.terraform.apply(unprotected)
    deployment.terraform.destroy(unprotected)

    assert deployment.terraform.resources() == []
    assert deployment.aws.client("dynamodb").list_tables()["TableNames"] == []
    assert deployment.aws.client("lambda").list_functions()["Functions"] == []
    assert deployment.aws.client("stepfunctions").list_state_machines()["stateMachines"] == []
    assert deployment.aws.client("events").list_rules()["Rules"] == []
    assert deployment.aws.client("logs").describe_log_groups()["logGroups"] == []
    assert deployment.aws.client("logs").describe_query_definitions()["queryDefinitions"] == []
    assert deployment.aws.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert deployment.aws.client("sqs").list_queues().get("QueueUrls", []) == []
    assert deployment.aws.client("sns").list_topics()["Topics"] == []


def _wait_for_scheduled_scan(deployment: Deployment) -> dict[str, dict[str, str]]:
    def ended() -> list[dict[str, dict[str, str]]]:
        manifests = deployment.aws.client("dynamodb").query(
            TableName=deployment.outputs["dynamodb_table_name"],
            KeyConditionExpression="user_name = :key AND begins_with(scan_timestamp, :prefix)",
            ExpressionAttributeValues={":key": {"S": "__scan__"}, ":prefix": {"S": "scan#"}},
            ScanIndexForward=False,
        )["Items"]
        # On a busy machine, the next tick comes before the scan of the last one has ended, and is skipped.
        under_way = {"RUNNING", "SKIPPED"}
        return [one for one in manifests if one["trigger"]["S"] == "schedule" and one["status"]["S"] not in under_way]

    return eventually(ended, "there is no scheduled scan", seconds=SCHEDULE_SECONDS, every=1)[0]


def _log_lines(deployment: Deployment, step: str) -> list[dict[str, object]]:
    pages = (
        deployment.aws.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=deployment.outputs["log_group_names"][step])
    )
    messages = [event["message"] for page in pages for event in page["events"]]
    return [json.loads(message) for message in messages if message.startswith("{")]
