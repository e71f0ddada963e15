"""The promise of the product on the deployed workflow: whatever fails, nothing is lost and nothing stays stuck.

The whole matrix, every state × every kind of fault, runs on the interpreter (``tests/statemachine``). Here are the
faults that need the real thing: functions that are processes, an SDK with retries of its own, roles, and EventBridge
telling CleanUp.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import Deployment, deployed
from tests.local_aws.aws import faults, past
from tests.local_aws.run import changes, scan
from tests.support import definition
from tests.support.waiting import eventually, next_second

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local_aws.aws.faults import Fault

USERS = 130  # three pages of two batches
RETENTION_DAYS = 90
CLEAN_UP_SECONDS = 10
NEWCOMERS = 13


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Deploy with small pages, and with retries that wait for a fiftieth of their time."""
    variables = {
        "page_size": "50",
        "batch_size": "25",
        "map_concurrency": "1",
        # How long a WriteBatch that is throttled for good goes on trying.
        "lambda_timeout": "6",
        "schedule_enabled": "false",
        "change_email": "somebody@example.com",
    }
    folder = tmp_path_factory.mktemp("local-aws")
    with deployed(folder, USERS, variables, {"SFN_WAIT_SCALE": "0.02"}) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def listener(deployment: Deployment) -> changes.Listener:
    return deployment.listener()


@pytest.fixture(autouse=True)
def mended(deployment: Deployment) -> Iterator[None]:
    """Let no fault, and no scan of the same second, reach another test."""
    next_second()
    yield
    faults.mend(deployment.aws)


@dataclass(frozen=True)
class Case:
    """Faults, and what they make of the run and its scan."""

    name: str
    faults: tuple[Fault, ...]
    status: str = "SUCCEEDED"
    manifest: str = "COMPLETE"
    error: str = ""


def denied(call: str, numbers: str = "", by: str = "") -> Fault:
    return faults.fault(call, "access_denied", numbers, by)


CASES = [
    Case("AcquireLock is throttled, then not",
         (faults.fault("dynamodb:TransactWriteItems", "throttled", "1-4", "acquire_lock"),)),
    Case("AcquireLock crashes before it has taken the lock",
         (faults.fault("dynamodb:TransactWriteItems", "crash", "1", "acquire_lock"),)),
    Case("AcquireLock is not told that it has the lock",
         (faults.fault("dynamodb:TransactWriteItems", "lost_response", "1", "acquire_lock"),)),
    Case("AcquireLock's answer is lost", (faults.fault("lambda:acquire_lock", "lost_response", "1"),)),
    Case("AcquireLock may not write", (denied("dynamodb:TransactWriteItems", by="acquire_lock"),), "FAILED", "FAILED",
         "AccessDenied"),
    Case("ListUsers is throttled, then not", (faults.fault("iam:ListUsers", "throttled", "2"),)),
    Case("ListUsers may not list the second page", (denied("iam:ListUsers", "2-"),), "FAILED", "FAILED",
         "AccessDenied"),
    Case("ListUsers times out on the third page", (faults.fault("lambda:list_users", "timeout", "3-"),), "FAILED",
         "FAILED", "Sandbox.Timedout"),
    Case("WriteBatch gets items back", (faults.fault("dynamodb:BatchWriteItem", "unprocessed", "1-3"),)),
    Case("WriteBatch crashes between two calls", (faults.fault("dynamodb:BatchWriteItem", "crash", "2"),)),
    Case("WriteBatch's answer is lost", (faults.fault("lambda:write_batch", "lost_response", "2-3"),)),
    Case("WriteBatch may not write one batch", (denied("dynamodb:BatchWriteItem", "3"),), "FAILED", "INCOMPLETE",
         "no record;"),
    Case("WriteBatch may not write at all", (denied("dynamodb:BatchWriteItem"),), "FAILED", "INCOMPLETE",
         "no record;"),
    Case("WriteBatch is throttled for good", (faults.fault("dynamodb:BatchWriteItem", "throttled"),), "FAILED",
         "FAILED", "TableThrottled: DynamoDB throttled 50 of the 50 writes of page 1"),
    Case("SaveProgress is throttled, then not",
         (faults.fault("dynamodb:TransactWriteItems", "throttled", "2-5", "save_progress"),)),
    Case("SaveProgress crashes before it has saved",
         (faults.fault("dynamodb:TransactWriteItems", "crash", "2", "save_progress"),)),
    Case("SaveProgress is not told that it has saved",
         (faults.fault("dynamodb:TransactWriteItems", "lost_response", "2", "save_progress"),)),
    Case("SaveProgress's answer is lost", (faults.fault("lambda:save_progress", "lost_response", "2"),)),
    Case("SaveProgress fails for good", (faults.fault("lambda:save_progress", "error"),), "FAILED", "FAILED",
         "Lambda.ServiceException"),
    Case("EmitMetrics crashes before it has told",
         (faults.fault("dynamodb:UpdateItem", "crash", "1", "emit_metrics"),)),
    Case("EmitMetrics is not told that it has told",
         (faults.fault("dynamodb:UpdateItem", "lost_response", "1", "emit_metrics"),)),
    Case("EmitMetrics's answer is lost", (faults.fault("lambda:emit_metrics", "lost_response", "1"),)),
    Case("EmitMetrics fails for good", (faults.fault("lambda:emit_metrics", "error"),), "FAILED", "FAILED",
         "Lambda.ServiceException"),
    Case("ReleaseLock fails for good", (faults.fault("dynamodb:DeleteItem", "error", by="state_machine"),), "FAILED",
         "COMPLETE", "DynamoDB.InternalServerError"),
    Case("ReleaseLock's answer is lost", (faults.fault("dynamodb:DeleteItem", "lost_response", "1", "state_machine"),)),
    Case("FailScan fails, too", (denied("iam:ListUsers"), faults.fault("lambda:fail_scan", "error")), "FAILED",
         "FAILED", "Lambda.ServiceException"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_is_lost_and_nothing_stays_stuck(deployment: Deployment, case: Case) -> None:
    attempts_before = attempts(deployment)
    for fault in case.faults:
        faults.inject(deployment.aws, fault)

    execution = deployment.run()

    # The run ends as it should, and tells why
    assert (execution.status, case.error in execution.cause) == (case.status, True), execution.cause
    assert all(fault["hit"] for fault in faults.injected(deployment.aws))
    # The lock is free, at the latest when CleanUp has heard of it
    eventually(lambda: deployment.lock() is None, "the lock is held")
    eventually(lambda: manifest(deployment, execution)["status"] == case.manifest, "the manifest is wrong")
    # Every attempt has its metrics once
    assert attempts(deployment, attempts_before + 1) - attempts_before == 1
    # What the manifest says to be written is there, once
    facts = scan.collect(deployment.aws.client, deployment.outputs, execution)
    names = [record["user_name"] for record in facts.records]
    assert len(names) == len(set(names)) >= facts.manifest["records_written"]

    faults.mend(deployment.aws)
    next_second()
    assert deployment.run().status == "SUCCEEDED"

    if case.status == "FAILED":
        redriven = deployment.redrive(execution.arn)
        assert redriven.status == "SUCCEEDED", redriven.cause
        assert recorded(deployment, redriven) == everybody(deployment)
        assert manifest(deployment, redriven)["status"] == "COMPLETE"
        assert manifest(deployment, redriven)["users_scanned"] == USERS
        assert manifest(deployment, redriven)["records_written"] == USERS
        assert deployment.lock() is None
    else:
        assert recorded(deployment, execution) == everybody(deployment)


def test_a_run_that_is_stopped_in_the_middle_of_its_batches_frees_the_lock(deployment: Deployment) -> None:
    # Given a run that hangs in the second page's batches
    faults.inject(deployment.aws, faults.fault("dynamodb:BatchWriteItem", "timeout", "3-"))
    arn = deployment.start()
    eventually(lambda: bool(faults.injected(deployment.aws)[0]["hit"]), "no batch is written")
    lock = deployment.lock()
    assert lock is not None
    assert lock["owner"]["S"] == arn
    # When somebody stops it
    stopped_at = time.monotonic()
    deployment.aws.client("stepfunctions").stop_execution(executionArn=arn, error="Operator", cause="by hand")
    # Then the lock is free within seconds, and the manifest says what happened
    eventually(lambda: deployment.lock() is None, "the lock is held")
    assert time.monotonic() - stopped_at < CLEAN_UP_SECONDS
    execution = deployment.finish(arn)
    assert execution.status == "ABORTED"
    eventually(lambda: manifest(deployment, execution)["status"] == "ABORTED", "the manifest is wrong")
    told = "the execution was stopped by hand: Operator: by hand"
    assert manifest(deployment, execution)["error_message"] == told
    # And the next run works, and the stopped one can be redriven to its end
    faults.mend(deployment.aws)
    next_second()
    assert deployment.run().status == "SUCCEEDED"
    redriven = deployment.redrive(arn)
    assert redriven.status == "SUCCEEDED", redriven.cause
    assert recorded(deployment, redriven) == everybody(deployment)
    assert manifest(deployment, redriven)["status"] == "COMPLETE"
    assert deployment.lock() is None


@pytest.mark.parametrize("step", ["acquire_lock", "save_progress", "emit_metrics"])
def test_a_call_that_wakes_up_when_its_retry_has_completed_the_scan(deployment: Deployment, step: str) -> None:
    before = attempts(deployment)
    # Given a call that is given up while it is still on its way, and a scan that its retry completes
    faults.inject(deployment.aws, faults.fault(f"lambda:{step}", "late", "1"))
    execution = deployment.run()
    assert execution.status == "SUCCEEDED", execution.cause
    left = scan.collect(deployment.aws.client, deployment.outputs, execution)
    assert (left.manifest["status"], left.lock) == ("COMPLETE", None)
    # When it gets there
    faults.mend(deployment.aws)
    # Then it changes nothing
    now = scan.collect(deployment.aws.client, deployment.outputs, execution)
    assert (now.manifest, now.lock) == (left.manifest, None)
    assert sorted(now.records, key=str) == sorted(left.records, key=str)
    assert attempts(deployment, before + 1) - before == 1


@pytest.mark.parametrize("step", [step for step in definition.SCAN_STEPS if step != "publish_changes"])
def test_a_run_that_is_stopped_while_a_call_is_on_its_way(deployment: Deployment, step: str) -> None:
    before = attempts(deployment)
    # Given a call that has not come to its function yet
    faults.inject(deployment.aws, faults.fault(f"lambda:{step}", "held", "1"))
    arn = deployment.start()
    eventually(lambda: bool(faults.injected(deployment.aws)[0]["hit"]), "the step is not called")
    # When the run is stopped and cleaned up, and the call gets there after all that
    deployment.aws.client("stepfunctions").stop_execution(executionArn=arn)
    execution = deployment.finish(arn)
    eventually(lambda: manifest(deployment, execution).get("status") == "ABORTED", "it is not cleaned up")
    eventually(lambda: deployment.lock() is None, "the lock is held")
    eventually(lambda: has_metrics(deployment, execution, {1}), "no metrics")
    left = manifest(deployment, execution)
    faults.mend(deployment.aws)
    # Then it is late
    assert manifest(deployment, execution) == left
    assert deployment.lock() is None
    assert attempts(deployment, before + 1) - before == 1
    # And the run can be redriven to its end
    redriven = deployment.redrive(arn)
    assert redriven.status == "SUCCEEDED", redriven.cause
    assert recorded(deployment, redriven) == everybody(deployment)
    assert manifest(deployment, redriven)["status"] == "COMPLETE"
    assert deployment.lock() is None
    assert attempts(deployment, before + 2) - before == 2


def test_a_run_that_is_stopped_twice_can_be_redriven(deployment: Deployment) -> None:
    before = attempts(deployment)
    states = deployment.aws.client("stepfunctions")
    arn = deployment.start()
    for attempt in (1, 2):
        # Given a run that hangs where it writes
        faults.inject(deployment.aws, faults.fault("dynamodb:BatchWriteItem", "timeout"))
        if attempt == 2:
            states.redrive_execution(executionArn=arn)
        eventually(lambda: bool(faults.injected(deployment.aws)[0]["hit"]), "no batch is written")
        # When somebody stops it
        states.stop_execution(executionArn=arn)
        execution = deployment.finish(arn)
        # Then its lock is freed, and its manifest says so, each time
        eventually(lambda: deployment.lock() is None, "the lock is held")
        ended = partial(has_metrics, deployment, execution, set(range(1, attempt + 1)))
        eventually(ended, "it is not cleaned up")
        assert manifest(deployment, execution)["status"] == "ABORTED"
        assert manifest(deployment, execution)["attempt"] == attempt
        faults.mend(deployment.aws)
    assert attempts(deployment, before + 2) - before == 2
    redriven = deployment.redrive(arn)
    assert redriven.status == "SUCCEEDED", redriven.cause
    assert recorded(deployment, redriven) == everybody(deployment)


def test_a_second_failure_after_a_redrive_can_be_redriven_again(deployment: Deployment) -> None:
    before = attempts(deployment)
    faults.inject(deployment.aws, denied("iam:ListUsers", "2-"))
    execution = deployment.run()
    assert execution.status == "FAILED"
    again = deployment.redrive(execution.arn)
    assert (again.status, "AccessDenied" in again.cause) == ("FAILED", True)
    # The first page is not listed again: the run resumes at its checkpoint.
    assert again.events[-1]["type"] == "ExecutionFailed"
    faults.mend(deployment.aws)
    done = deployment.redrive(execution.arn)
    assert done.status == "SUCCEEDED", done.cause
    assert recorded(deployment, done) == everybody(deployment)
    assert manifest(deployment, done)["attempt"] == 3
    assert manifest(deployment, done)["scan_timestamp"] == manifest(deployment, execution)["scan_timestamp"]
    assert attempts(deployment, before + 3) - before == 3


def test_users_who_come_and_go_while_a_scan_runs_harm_nobody_else(deployment: Deployment) -> None:
    # Given a scan that hangs while it writes the first page, with a user who is on it and one who is on the last
    iam = deployment.aws.client("iam")
    listed, unlisted = "0-listed", "zz-unlisted"
    for name in (listed, unlisted):
        iam.create_user(UserName=name)
    others = everybody(deployment)
    faults.inject(deployment.aws, faults.fault("dynamodb:BatchWriteItem", "timeout", "1"))
    arn = deployment.start()
    eventually(lambda: bool(faults.injected(deployment.aws)[0]["hit"]), "no batch is written")
    # When both are deleted, and new ones come before and behind the marker
    try:
        for name in (listed, unlisted):
            iam.delete_user(UserName=name)
        for name in ("0-early", "zz-late"):
            iam.create_user(UserName=name)
        faults.mend(deployment.aws)
        execution = deployment.finish(arn)
        # Then everybody who was there all the time has a record, and nobody has two
        assert execution.status == "SUCCEEDED"
        names = recorded(deployment, execution)
        assert set(others) - {unlisted} <= set(names) <= set(others) | {"0-early", "zz-late"}
        assert {listed, "zz-late"} <= set(names)
        assert len(names) == len(set(names)) == manifest(deployment, execution)["records_written"]
    finally:
        for name in {"0-early", "zz-late", listed, unlisted} & set(everybody(deployment)):
            iam.delete_user(UserName=name)


def test_what_has_changed_is_told_on_the_bus_and_by_the_topic(
    deployment: Deployment, listener: changes.Listener
) -> None:
    first = all_is_told(deployment, listener)

    done = changes.change(deployment.aws)
    second = deployment.run()

    assert changes.verify_publication(second).passed, second.output
    scans = changes.Scans(first.scan_timestamp, second.scan_timestamp, second.arn, len(deployment.users()))
    told = changes.verify(done, listener.events(), scans, listener.sentences())
    assert [check for check in told.checks if not check.passed] == []
    assert len(done) == 7, "there are users for everything"


@dataclass(frozen=True)
class Publication:
    """Faults of a publication, and whether it gets through nevertheless."""

    name: str
    faults: tuple[Fault, ...]
    published: bool = False


def put_events(kind: str, numbers: str = "") -> Fault:
    return faults.fault("events:PutEvents", kind, numbers)


PUBLICATIONS = [
    Publication("before the first call, for want of a permission", (put_events("access_denied"),)),
    Publication("between the calls, for good", (put_events("error", "2-"),)),
    Publication("after the last call", (
        faults.fault("dynamodb:TransactWriteItems", "error", by="publish_changes"),)),
    Publication("between the calls, by a crash, and is repeated", (put_events("crash", "2"),), published=True),
    Publication("in some entries, then as a whole, and is sent again", (
        put_events("entries_failed", "1-2"), put_events("throttled", "4")), published=True),
]  # fmt: skip


@pytest.mark.parametrize("case", PUBLICATIONS, ids=lambda case: case.name)
def test_a_publication_that_fails_loses_nothing(
    deployment: Deployment, listener: changes.Listener, case: Publication
) -> None:
    # Given more users who come than one call takes
    all_is_told(deployment, listener)
    with newcomers(deployment) as names:
        for fault in case.faults:
            faults.inject(deployment.aws, fault)
        # When their publication fails
        first = deployment.run()
        faults.mend(deployment.aws)
        next_second()
        second = deployment.run()
        events = listener.events()
    # Then the scan is none the worse for it
    assert (first.status, second.status) == ("SUCCEEDED", "SUCCEEDED")
    assert ("changes" in first.output, "publish_changes_error" in first.output) == (case.published, not case.published)
    assert changes.verify_publication(second).passed, second.output
    assert deployment.lock() is None
    # And everybody is announced under one id, in the name of the scan that found them, and nothing else is
    contents = {event.detail["id"]: event for event in events}
    assert all(event == contents[event.detail["id"]] for event in events)
    told = sorted((event.detail_type, event.detail["user_name"]) for event in contents.values())
    ends = [("IAM User Scan Completed", None)] * 2
    assert told == [*(("IAM User Created", name) for name in names), *ends]
    assert {event.detail["scan_timestamp"] for event in events if event.detail["user_name"]} == {first.scan_timestamp}


def test_an_event_that_is_never_taken_costs_no_other(deployment: Deployment, listener: changes.Listener) -> None:
    all_is_told(deployment, listener)
    with newcomers(deployment) as names:
        # Given a bus that takes half of the first call's entries never
        faults.inject(deployment.aws, put_events("entries_malformed", "1"))
        first = deployment.run()
        faults.mend(deployment.aws)
        # Then all others are announced, and the error says how many were not
        assert first.status == "SUCCEEDED"
        error = first.output["publish_changes_error"]
        assert (error["Error"], "5 events" in error["Cause"]) == ("EventsRefused", True), error
        events = listener.events()
        assert [event.detail["user_name"] for event in events] == [*names[:5], *names[10:], None]
        # And they are not sent for ever
        next_second()
        deployment.run()
    assert [event.detail["user_name"] for event in listener.events()] == [None]


def test_a_run_that_is_stopped_while_its_publication_is_on_its_way(
    deployment: Deployment, listener: changes.Listener
) -> None:
    all_is_told(deployment, listener)
    with newcomers(deployment) as names:
        # Given a publication that has not come to its function yet, when the run is stopped and cleaned up
        faults.inject(deployment.aws, faults.fault("lambda:publish_changes", "held", "1"))
        arn = deployment.start()
        eventually(lambda: bool(faults.injected(deployment.aws)[0]["hit"]), "the step is not called")
        deployment.aws.client("stepfunctions").stop_execution(executionArn=arn)
        execution = deployment.finish(arn)
        eventually(lambda: deployment.lock() is None, "the lock is held")
        assert manifest(deployment, execution)["status"] == "COMPLETE"
        # Then it announces nevertheless when it gets there, and whoever redrives the run repeats nothing
        faults.mend(deployment.aws)
        redriven = deployment.redrive(arn)
    assert redriven.status == "SUCCEEDED", redriven.cause
    assert redriven.output["changes"]["status"] == "NOTHING_NEW"
    assert [event.detail["user_name"] for event in listener.events()] == [*names, None]


def test_a_change_that_the_topic_does_not_take_is_a_dead_letter(deployment: Deployment) -> None:
    topics, queues = deployment.aws.client("sns"), deployment.aws.client("sqs")
    topic, letters = deployment.outputs["change_topic_arn"], deployment.outputs["change_dead_letter_queue_url"]
    policy = topics.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    executions = deployment.outputs["state_machine_arn"].replace(":stateMachine:", ":execution:")
    # Given a topic whose policy was changed by somebody
    closed = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": topic}]})  # fmt: skip
    topics.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=closed)
    try:
        # When something happens in this deployment, and in another one
        for name, execution in (("ours", f"{executions}:1"), ("theirs", f"{executions}-2:1")):
            detail = {"id": name, "summary": name, "execution_arn": execution}
            entry = {"Source": "iam-user-monitor", "DetailType": "IAM User Deleted", "Detail": json.dumps(detail)}
            deployment.aws.client("events").put_events(Entries=[entry])
    finally:
        topics.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    # Then the one is kept, whole
    (letter,) = queues.receive_message(QueueUrl=letters, MessageAttributeNames=["All"])["Messages"]
    assert json.loads(letter["Body"])["detail"]["id"] == "ours"
    assert letter["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_PERMISSIONS"


def all_is_told(deployment: Deployment, listener: changes.Listener) -> scan.Execution:
    """Scan once, so that nothing is left to announce, and forget what was announced; return the scan."""
    execution = deployment.run()
    assert execution.status == "SUCCEEDED", execution.cause
    listener.events()
    listener.sentences()
    next_second()
    return execution


@contextmanager
def newcomers(deployment: Deployment) -> Iterator[list[str]]:
    """Let users come, more than one call of PutEvents announces, and go again in the end."""
    names = [f"new-{number:02}" for number in range(NEWCOMERS)]
    now = datetime.now(UTC)
    past.happened(deployment.aws, [past.Call(now, "CreateUser", {"UserName": name}) for name in names])
    try:
        yield names
    finally:
        past.happened(deployment.aws, [past.Call(now, "DeleteUser", {"UserName": name}) for name in names])


def everybody(deployment: Deployment) -> list[str]:
    return sorted(user["UserName"] for user in deployment.users())


def recorded(deployment: Deployment, execution: scan.Execution) -> list[str]:
    """Return the names that the scan has recorded, those recorded twice twice."""
    facts = scan.collect(deployment.aws.client, deployment.outputs, execution)
    return sorted(record["user_name"] for record in facts.records)


def manifest(deployment: Deployment, execution: scan.Execution) -> dict[str, Any]:
    return scan.manifest_of(deployment.aws.client, deployment.outputs, execution)


def has_metrics(deployment: Deployment, execution: scan.Execution, attempts: set[int]) -> bool:
    """Tell whether the metrics of exactly these attempts were emitted, as the manifest has it."""
    return bool(manifest(deployment, execution).get("reported") == attempts)


def attempts(deployment: Deployment, awaited_first: int = 0) -> int:
    """Return how often the metrics were emitted so far, having waited for ``awaited_first`` of them.

    What the manifest says is no sign that they were: FailScan ends an attempt whose metrics CleanUp emits afterwards,
    and a line of a log becomes a metric later than it is written.
    """

    def emitted() -> int:
        now = datetime.now(UTC)
        points = deployment.aws.client("cloudwatch").get_metric_statistics(
            Namespace=scan.METRIC_NAMESPACE,
            MetricName="Success",
            Dimensions=[],
            StartTime=now - timedelta(hours=2),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["SampleCount"],
        )["Datapoints"]
        return int(sum(point["SampleCount"] for point in points))

    if awaited_first:
        eventually(lambda: emitted() >= awaited_first, "metrics are missing")
    return emitted()
