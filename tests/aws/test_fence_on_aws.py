"""What no emulator tells for sure: stops, redrives and CleanUp's event on a deployed stack, and calls that come late.

Asked for with ``make test-aws`` only. It starts executions, stops them and redrives them, and invokes the functions of
the stack once more with what they were given; a run that the schedule starts meanwhile may be skipped.
"""

import json
import os
import random
import time
from typing import Any

import pytest

from functions.shared.timestamps import to_seconds
from functions.table import wire
from functions.table.keys import OWN
from tests.aws.conftest import client
from tests.local_aws.run import scan
from tests.support.waiting import eventually, next_second

pytestmark = pytest.mark.skipif(not os.environ.get("RUN_ON_AWS"), reason="only `make test-aws` looks at a real account")

STATES = (
    "AcquireLock",
    "ReadPosture",
    "ListUsers",
    "WriteRecords",
    "SaveProgress",
    "EmitMetrics",
    "PublishChanges",
    "ReleaseLock",
)
# A state lasts some 100 ms, and a stop takes as long to arrive.
TRIES = 5
# EventBridge delivers within seconds, best effort; Lambda tries twice more, up to two minutes apart.
CLEAN_UP_SECONDS = 240
ALARM_SECONDS = 900


@pytest.mark.parametrize("state", STATES)
def test_a_run_that_is_stopped_is_cleaned_up_and_redriven_to_its_end(outputs: dict[str, Any], state: str) -> None:
    arn, stopped_in = stop_in(outputs, state)
    print(f"stopped in {stopped_in}")

    # CleanUp's event has come: its startDate named this scan, its redriveCount this attempt, and none other was made.
    cleaned_up(outputs, arn, attempt=1)
    client("stepfunctions").redrive_execution(executionArn=arn)
    ended = follow(arn)

    if ended.status == "FAILED":
        # Stopped behind a failure, or another scan ran at that moment: as the cause says, once more.
        print(ended.cause)
        client("stepfunctions").redrive_execution(executionArn=arn)
        ended = follow(arn)
    assert ended.status == "SUCCEEDED", ended.cause
    done = manifest_of(outputs, arn)
    assert done["status"] == "COMPLETE"
    assert "error_type" not in done
    eventually(lambda: (lock(outputs) or {}).get("owner") != arn, "the lock is held", seconds=CLEAN_UP_SECONDS, every=1)


def test_a_run_that_is_stopped_twice_is_cleaned_up_twice(outputs: dict[str, Any]) -> None:
    """The second event holds the redrive: by it, CleanUp knows the attempt."""
    arn, _ = stop_in(outputs, "ListUsers")
    cleaned_up(outputs, arn, attempt=1)
    client("stepfunctions").redrive_execution(executionArn=arn)
    client("stepfunctions").stop_execution(executionArn=arn)
    if follow(arn).status != "ABORTED":
        pytest.skip("the redriven run had ended before it could be stopped")

    cleaned_up(outputs, arn, attempt=2)

    assert client("stepfunctions").describe_execution(executionArn=arn)["redriveCount"] == 1
    client("stepfunctions").redrive_execution(executionArn=arn)
    assert follow(arn).status == "SUCCEEDED"
    assert manifest_of(outputs, arn)["status"] == "COMPLETE"


def test_late_calls_of_a_finished_scan_change_nothing(outputs: dict[str, Any]) -> None:
    execution = follow(begin(outputs))
    assert execution.status == "SUCCEEDED", execution.cause
    calls = scan.invocations_of(client, execution.arn)
    seed = time.time_ns() % 1_000_000
    print(f"shuffled by the seed {seed}")
    random.Random(seed).shuffle(calls)
    before = items_of(outputs, execution.arn)

    for call in calls:
        client("lambda").invoke(FunctionName=call.function, Payload=json.dumps(call.payload).encode())

    assert items_of(outputs, execution.arn) == before
    assert (lock(outputs) or {}).get("owner") != execution.arn


def test_the_alarms_tell_of_the_runs_that_were_stopped(outputs: dict[str, Any]) -> None:
    """After the tests above: scans have failed, and scans have succeeded."""
    if not outputs.get("alarm_names"):
        pytest.skip("the stack has no alarms")
    if "AWS_ENDPOINT_URL" in os.environ:
        pytest.skip("an emulator evaluates no metric math")
    names = outputs["alarm_names"]

    def states() -> dict[str, str]:
        found = client("cloudwatch").describe_alarms(AlarmNames=list(names.values()))["MetricAlarms"]
        return {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}

    eventually(
        lambda: states()[names["scan-failed"]] == "ALARM", "scan-failed does not ring", seconds=ALARM_SECONDS, every=1
    )
    now = states()
    print(now)
    assert now[names["clean-up-failing"]] != "ALARM"
    assert now[names["dead-letters"]] != "ALARM"
    assert now.get(names.get("no-success", "")) != "ALARM"


def begin(outputs: dict[str, Any]) -> str:
    """Start a scan that is not skipped, in a second of its own."""
    eventually(lambda: lock(outputs) is None, "another scan runs", seconds=600, every=1)
    next_second()
    return scan.start(client, outputs["state_machine_arn"])


def stop_in(outputs: dict[str, Any], state: str) -> tuple[str, str]:
    """Start a scan and stop it when it enters a state; return its ARN, and the state in which the stop found it."""
    stepfunctions = client("stepfunctions")
    for _ in range(TRIES):
        arn = begin(outputs)
        while True:
            entered = [visit.state for visit in scan.visits(scan.history(stepfunctions, arn))]
            running = stepfunctions.describe_execution(executionArn=arn)["status"] == "RUNNING"
            if state in entered or not running:
                break
        if running:
            stepfunctions.stop_execution(executionArn=arn)
            execution = follow(arn)
            if execution.status == "ABORTED":
                return arn, execution.visits[-1].state
    pytest.skip(f"{state} was over before the stop, {TRIES} times")


def follow(arn: str) -> scan.Execution:
    return scan.follow(client, arn, lambda event: None, 3600)


def cleaned_up(outputs: dict[str, Any], arn: str, attempt: int) -> None:
    """Wait until the end of an attempt is recorded, its metrics are said, and its lock is free."""

    def recorded() -> bool:
        found = manifest_of(outputs, arn)
        ended = found.get("status") == "COMPLETE" or (found.get("status"), found.get("attempt")) == ("ABORTED", attempt)
        return ended and attempt in found.get("reported", ()) and (lock(outputs) or {}).get("owner") != arn

    complaint = "CleanUp has not recorded the stop, or not freed the lock"
    eventually(recorded, complaint, seconds=CLEAN_UP_SECONDS, every=1)


def lock(outputs: dict[str, Any]) -> dict[str, Any] | None:
    return item(outputs, OWN.lock)


def manifest_of(outputs: dict[str, Any], arn: str) -> dict[str, Any]:
    """Return the manifest of an execution's scan; empty where it has none, yet."""
    found = item(outputs, OWN.manifest(scan_timestamp(arn))) or {}
    assert found.get("execution_arn") in {None, arn}
    return found


def scan_timestamp(arn: str) -> str:
    started = client("stepfunctions").describe_execution(executionArn=arn)["startDate"]
    return to_seconds(started)


def item(outputs: dict[str, Any], key: dict[str, str]) -> dict[str, Any] | None:
    answer = client("dynamodb").get_item(
        TableName=outputs["dynamodb_table_name"], Key=wire.to_wire(key), ConsistentRead=True
    )
    return wire.from_wire(answer["Item"]) if "Item" in answer else None


def items_of(outputs: dict[str, Any], arn: str) -> list[str]:
    """Return the manifest and the records of a scan, in a form that can be compared."""
    timestamp = scan_timestamp(arn)
    pages = (
        client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=outputs["dynamodb_table_name"],
            IndexName=outputs["scan_index_name"],
            KeyConditionExpression="scan_timestamp = :scan",
            ExpressionAttributeValues=wire.to_wire({":scan": timestamp}),
        )
    )
    records = [record for page in pages for record in page["Items"]]
    return sorted(json.dumps(one, sort_keys=True, default=sorted) for one in [*records, manifest_of(outputs, arn)])
