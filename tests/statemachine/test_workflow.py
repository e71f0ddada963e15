"""The workflow on an interpreter in this process, with the real handlers behind its tasks."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from boto3.dynamodb.conditions import Key

from tests.support import definition
from tests.support.engine import INDEX, REGION, TABLE, Engine, Execution, FunctionError, engine
from tests.support.paths import TERRAFORM
from tests.support.scenarios import READ, SUCCESS, page

STATE_LIMIT = 256 * 1024


def user_names(count: int) -> list[str]:
    return [f"user-{number:04}" for number in range(count)]


def events_by_terraform(users: int, page_size: int, batch_size: int) -> int:
    """Return the number that terraform/state_machine.tf computes, by its formula as it stands there."""
    configuration = (TERRAFORM / "state_machine.tf").read_text()
    formula = r"history_events += (\d+) \+ local\.history_pages \* \((\d+) \+ (\d+) \* local\.history_batches\)"
    found = re.search(formula, configuration)
    assert found is not None, "the formula is written in another way"
    once, a_page, a_batch = map(int, found.groups())
    return once + math.ceil(users / page_size) * (a_page + a_batch * math.ceil(page_size / batch_size))


def metrics(capsys: pytest.CaptureFixture[str]) -> list[dict[str, float]]:
    """Return the values of every metrics line printed, in order."""
    found = []
    for line in capsys.readouterr().out.splitlines():
        if line.startswith('{"_aws"'):
            parsed = json.loads(line)
            names = [metric["Name"] for metric in parsed["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
            found.append({name: parsed[name][0] for name in names})
    return found


def failing(step: str, times: int, error: Callable[[], Exception]) -> Any:
    """Return an invoke that lets a step fail so many times before its handler runs."""
    left = {step: times}

    def invoke(name: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        if name == step and left[step] > 0:
            left[step] -= 1
            raise error()
        return handler(event)

    return invoke


def assert_recorded(running: Engine, execution: Execution, names: list[str]) -> None:
    """Every user has exactly one record of the scan, and the index gives the same set."""
    timestamp = execution.output["scan"]["scan_timestamp"]
    records = running.records()
    assert sorted(record["user_name"] for record in records) == sorted(names)
    assert {record["scan_timestamp"] for record in records} <= {timestamp}
    table = boto3.resource("dynamodb", region_name=REGION).Table(TABLE)
    indexed = table.query(IndexName=INDEX, KeyConditionExpression=Key("scan_timestamp").eq(timestamp))
    if len(names) < 500:
        assert sorted(str(item["user_name"]) for item in indexed["Items"]) == sorted(names)


@pytest.mark.parametrize(
    ("users", "pages", "batches"), [(0, 1, 0), (1, 1, 1), (99, 1, 4), (100, 1, 4), (101, 2, 5), (250, 3, 10)]
)
def test_every_user_is_recorded_whatever_the_number_of_pages(
    users: int, pages: int, batches: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with engine(page_size=100, batch_size=25) as running:
        running.create_users(user_names(users))

        execution = running.run({"trigger": "manual"})

        assert execution.status == "SUCCEEDED", execution.cause
        assert_recorded(running, execution, user_names(users))
        assert [state for state in execution.route if state != "WriteBatch"] == [*READ, *page() * pages, *SUCCESS]
        assert execution.entered("WriteBatch") == batches
        assert execution.output["outcome"]["status"] == "COMPLETE"
        assert running.lock() is None
        (manifest,) = running.manifests()
        assert manifest["status"] == "COMPLETE"
        assert (manifest["users_scanned"], manifest["records_written"], manifest["errors"]) == (users, users, 0)
        (emitted,) = metrics(capsys)
        assert {name: value for name, value in emitted.items() if name != "Duration"} == {
            "UsersScanned": users,
            "RecordsWritten": users,
            "Errors": 0,
            "Success": 1,
        }
        assert emitted["Duration"] == execution.output["outcome"]["duration_ms"]


def test_what_users_could_get_in_with_is_recorded_and_root_in_the_manifest() -> None:
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    everything = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with engine(page_size=1) as running:
        running.create_users(["alice", "bob"])
        iam = running.client("iam")
        iam.create_login_profile(UserName="alice", Password="wonderland")
        iam.create_access_key(UserName="alice")
        iam.create_group(GroupName="operators")
        iam.put_group_policy(GroupName="operators", PolicyName="all", PolicyDocument=everything)
        iam.add_user_to_group(GroupName="operators", UserName="alice")
        power = iam.create_policy(PolicyName="power", PolicyDocument=everything)["Policy"]["Arn"]
        iam.attach_user_policy(UserName="bob", PolicyArn=power)
        iam.tag_user(UserName="bob", Tags=[{"Key": "team", "Value": "b"}, {"Key": "mail", "Value": "b@example.com"}])

        execution = running.run()

        assert execution.status == "SUCCEEDED", execution.cause
        alice, bob = sorted(running.records(), key=lambda record: str(record["user_name"]))
        (manifest,) = running.manifests()
        assert (alice["password_enabled"], alice["mfa_active"], alice["access_key_1_active"]) == (True, False, True)
        assert (bob["password_enabled"], "access_key_1_active" in bob) == (False, False)
        assert (alice["groups"], alice["admin_via"]) == (["operators"], ["group operators: inline policy all"])
        assert (bob["groups"], bob["admin_via"]) == ([], [f"policy {power}"])
        assert bob["tags"] == {"team": "b"}, "what recorded_tags names"
        assert {alice["account_id"], bob["account_id"]} == {"123456789012"}
        assert {name: section["state"] for name, section in manifest["sections"].items()} == {
            "credential_report": "CURRENT",
            "authorization": "CURRENT",
        }
        assert manifest["sections"]["credential_report"]["generated_time"] == alice["credential_report_time"]
        assert manifest["root"]["mfa_active"] is True


def test_a_run_that_is_redriven_reads_posture_anew_and_keeps_what_was_written() -> None:
    """The users of the first pages have that of the first attempt, and say so by its time."""
    broken = True

    def invoke(step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        if broken and step == "list_users" and event["cursor"]["page"] == 1:
            raise FunctionError("ServiceFailure", "IAM is down")
        return handler(event)

    with engine(page_size=1, invoke=invoke) as running:
        running.create_users(["alice", "bob"])
        execution = running.run()
        (manifest,) = running.manifests()
        assert (manifest["status"], manifest["sections"]["authorization"]["state"]) == ("FAILED", "CURRENT")
        broken = False
        running.client("iam").create_login_profile(UserName="bob", Password="wonderland")

        assert running.redrive(execution.arn).status == "SUCCEEDED"

        alice, bob = sorted(running.records(), key=lambda record: str(record["user_name"]))
        assert (alice["password_enabled"], bob["password_enabled"]) == (False, True)
        assert running.invocations.count("read_posture") == 2


def test_posture_that_cannot_be_read_leaves_a_complete_scan_that_says_why() -> None:
    def invoke(step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        if step == "read_posture":
            raise FunctionError("AccessDenied", "no iam:GenerateCredentialReport")
        return handler(event)

    with engine(invoke=invoke) as running:
        running.create_users(["alice"])
        assert running.run().status == "SUCCEEDED"
        (manifest,), (alice,) = running.manifests(), running.records()
        missing = {
            "state": "MISSING",
            "error_type": "AccessDenied",
            "error_message": "no iam:GenerateCredentialReport",
        }
        assert manifest["status"] == "COMPLETE"
        assert manifest["sections"] == {"credential_report": missing, "authorization": missing}
        assert not {"credential_report_time", "groups", "mfa_active"} & alice.keys()
        assert running.invocations.count("read_posture") == 1, "what is not permitted is not tried again"


def test_posture_that_is_switched_off_is_not_asked_for() -> None:
    with engine(posture=False) as running:
        running.create_users(["alice"])
        assert running.run().status == "SUCCEEDED"
        (manifest,), (alice,) = running.manifests(), running.records()
        assert "read_posture" not in running.invocations
        assert manifest["sections"] == {"credential_report": {"state": "OFF"}, "authorization": {"state": "OFF"}}
        assert not {"credential_report_time", "groups"} & alice.keys()


def test_an_account_at_its_limit_stays_within_the_limits_of_a_state_machine() -> None:
    """5,000 users with the longest names, and paths that JSON doubles: 256 KiB a state, few events, few calls."""
    names = [f"{number:04}".rjust(64, "n") for number in range(5000)]
    path = "/" + '"\\' * 255 + "/"
    with engine() as running:
        running.create_users(dict.fromkeys(names, path))

        execution = running.run()

        assert execution.status == "SUCCEEDED", execution.cause
        assert sorted(record["user_name"] for record in running.records()) == names
        assert execution.largest_payload < STATE_LIMIT
        assert execution.output["cursor"]["page"] > 1


def test_5000_ordinary_users_take_ten_pages_and_a_tenth_of_the_history() -> None:
    with engine() as running:
        running.create_users(user_names(5000))

        execution = running.run()

        assert execution.status == "SUCCEEDED", execution.cause
        assert len(running.records()) == 5000
        assert Counter(running.invocations)["list_users"] == 10
        assert len(execution.history) == events_by_terraform(5000, page_size=500, batch_size=100) == 545


@pytest.mark.parametrize(("users", "page_size", "batch_size"), [(20, 5, 3), (12, 4, 4), (6, 2, 1)])
def test_terraform_knows_how_many_events_a_scan_writes(users: int, page_size: int, batch_size: int) -> None:
    """It refuses sizes with which an account of 5,000 users would fill the history."""
    with engine(page_size=page_size, batch_size=batch_size) as running:
        running.create_users(user_names(users))

        execution = running.run()

        assert execution.status == "SUCCEEDED", execution.cause
        assert len(execution.history) == events_by_terraform(users, page_size, batch_size)


def test_a_second_scan_while_one_runs_is_skipped_as_a_success(capsys: pytest.CaptureFixture[str]) -> None:
    with engine() as running:
        running.create_users(user_names(3))
        table = boto3.resource("dynamodb", region_name=REGION).Table(TABLE)
        held = {"user_name": "__execution_lock__", "scan_timestamp": "lock", "owner": "another"}
        table.put_item(Item=held | {"acquired_at": 1, "expires_at": 9_999_999_999, "ttl": 9_999_999_999})

        execution = running.run()

        assert execution.status == "SUCCEEDED"
        assert execution.route == ["AcquireLock", "LockAcquired?", "ScanSkipped"]
        assert execution.output["holder"]["owner"] == "another"
        assert running.records() == []
        assert running.lock()["owner"] == "another"  # type: ignore[index]
        assert metrics(capsys) == []


def test_two_scans_after_another_keep_the_history() -> None:
    with engine() as running:
        running.create_users(["alice", "bob"])
        first = running.run()
        while running.run().output.get("acquired") is False:  # a scan is named after its second
            pass
        timestamps = {record["scan_timestamp"] for record in running.records()}

        assert first.output["scan"]["scan_timestamp"] in timestamps
        assert len(timestamps) == 2
        assert len(running.records()) == 4


@pytest.mark.parametrize("step", definition.SCAN_STEPS)
@pytest.mark.parametrize("error", ["Lambda.TooManyRequestsException", "Sandbox.Timedout", "Runtime.ExitError"])
def test_a_passing_fault_of_any_step_is_retried(step: str, error: str, capsys: pytest.CaptureFixture[str]) -> None:
    with engine(page_size=20, batch_size=10, invoke=failing(step, 1, lambda: FunctionError(error, "once"))) as running:
        running.create_users(user_names(45))

        execution = running.run()

        assert execution.status == "SUCCEEDED", execution.cause
        assert_recorded(running, execution, user_names(45))
        assert running.lock() is None
        assert len(metrics(capsys)) == 1


@pytest.mark.parametrize("step", definition.SCAN_STEPS)
def test_a_lost_response_of_any_step_counts_nothing_twice(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    lost: set[str] = set()

    def invoke(name: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        result = handler(event)
        if name == step and name not in lost:
            lost.add(name)
            raise FunctionError("Lambda.SdkClientException", "the connection broke")
        return result

    with engine(page_size=20, batch_size=10, invoke=invoke) as running:
        running.create_users(user_names(45))

        execution = running.run()

        assert execution.status == "SUCCEEDED", execution.cause
        assert_recorded(running, execution, user_names(45))
        assert running.manifests()[0]["users_scanned"] == 45
        (emitted,) = metrics(capsys)
        assert (emitted["UsersScanned"], emitted["Success"]) == (45, 1)


@pytest.mark.parametrize("step", ["acquire_lock", "list_users", "save_progress"])
def test_a_step_that_fails_for_good_frees_the_lock_and_tells_why(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    invoke = failing(step, 99, lambda: ValueError("the disk is on fire"))
    with engine(page_size=20, batch_size=10, invoke=invoke) as running:
        running.create_users(user_names(45))

        execution = running.run()

        assert execution.status == "FAILED"
        assert execution.route[-5:] == ["EmitMetrics", "ChangesToPublish?", "ReleaseLock", "ScanOutcome?", "FailScan"]
        assert execution.error == "ScanFailed"
        assert "ValueError: the disk is on fire." in str(execution.cause)
        assert running.lock() is None
        (manifest,) = running.manifests()
        assert (manifest["status"], manifest["error_type"]) == ("FAILED", "ValueError")
        (emitted,) = metrics(capsys)
        assert (emitted["Success"], emitted["Errors"]) == (0, 1)


def test_a_batch_that_fails_for_good_is_counted_and_the_scan_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def invoke(name: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        if name == "write_batch" and event["batch"]["users"][0]["user_name"] == "user-0010":
            raise ValueError("the disk is on fire")
        return handler(event)

    with engine(page_size=20, batch_size=10, invoke=invoke) as running:
        running.create_users(user_names(45))

        execution = running.run()

        assert execution.status == "FAILED"
        assert execution.entered("BatchFailed") == 1
        assert execution.entered("ListUsers") == 3, "the other pages are scanned"
        assert "10 users have no record" in str(execution.cause)
        assert len(running.records()) == 35
        assert running.lock() is None
        (manifest,) = running.manifests()
        assert (manifest["status"], manifest["errors"]) == ("INCOMPLETE", 10)
        assert manifest["marker"] is None, "the checkpoint stays before the incomplete page"
        (emitted,) = metrics(capsys)
        assert (emitted["UsersScanned"], emitted["RecordsWritten"], emitted["Errors"], emitted["Success"]) == (
            45,
            35,
            10,
            0,
        )


def test_failing_metrics_do_not_keep_the_lock() -> None:
    with engine(invoke=failing("emit_metrics", 99, lambda: ValueError("no metrics today"))) as running:
        running.create_users(user_names(3))

        execution = running.run()

        assert execution.status == "FAILED"
        assert "EmitMetrics failed with ValueError: no metrics today." in str(execution.cause)
        assert running.lock() is None


def test_a_missing_permission_is_named_and_not_retried() -> None:
    from functions.shared.errors import AccessDenied

    invoke = failing("list_users", 99, lambda: AccessDenied("not authorized to perform: iam:ListUsers"))
    with engine(invoke=invoke) as running:
        execution = running.run()

        assert "AccessDenied: not authorized to perform: iam:ListUsers." in str(execution.cause)
        assert Counter(running.invocations)["list_users"] == 1


@pytest.mark.parametrize(
    "text",
    ['"x"', "[1]", "null", "3", '{"trigger": ""}', '{"trigger": {"scan": "x"}}', '{"trigger": 1, "scan": "x"}',
     '{"trigger": [], "outcome": {"status": "COMPLETE"}}'],
)  # fmt: skip
def test_an_input_that_is_refused_fails_by_name_and_locks_nothing(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with engine() as running:
        execution = running.run(text=text)

        assert execution.status == "FAILED"
        assert execution.route == [
            "AcquireLock",
            "ScanNotBegun",
            "EmitMetrics",
            "ChangesToPublish?",
            "ReleaseLock",
            "ScanOutcome?",
            "FailScan",
        ]
        assert "InvalidInput: " in str(execution.cause)
        assert "Start a new execution with another input" in str(execution.cause)
        assert running.lock() is None
        (manifest,) = running.manifests()
        assert (manifest["status"], manifest["error_type"]) == ("FAILED", "InvalidInput")
        assert [line["Success"] for line in metrics(capsys)] == [0]


@pytest.mark.parametrize("text", ['{"scan": "x"}', '{"outcome": {"status": "COMPLETE"}}', '{"error": {}, "cursor": 1}'])
def test_an_input_that_poses_as_state_data_changes_nothing(text: str) -> None:
    with engine() as running:
        running.create_users(user_names(3))

        execution = running.run(text=text)

        assert execution.status == "SUCCEEDED", execution.cause
        assert_recorded(running, execution, user_names(3))
        assert set(execution.output) == {"lock", "scan", "cursor", "posture", "outcome", "changes"}


def test_what_a_scan_says_of_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    """It speaks for the span in which it listed, and all of it expires at once."""
    with engine(page_size=2, batch_size=1) as running:
        running.create_users(user_names(5))

        execution = running.run()

        (manifest,) = running.manifests()
        records = sorted(running.records(), key=lambda record: str(record["user_name"]))
        assert {record["ttl"] for record in records} == {manifest["ttl"]} == {execution.output["scan"]["ttl"]}
        started = datetime.fromisoformat(execution.output["scan"]["scan_timestamp"])
        assert manifest["ttl"] == int((started + timedelta(days=90)).timestamp())
        assert manifest["started_at"] <= manifest["listed_from"] <= manifest["listed_until"] <= manifest["finished_at"]
        assert manifest["span_limit_seconds"] == 1800
        times = [record["listed_at"] for record in records]
        assert times == sorted(times)
        assert (times[0], len(set(times))) == (manifest["listed_from"], 3)
        assert times[-1] <= manifest["listed_until"]
        assert manifest["sequence"] == execution.output["cursor"]["sequence"] == 3
        assert manifest["reported"] == {1}
