"""Every call of a scan, once more: late, in any order, and side by side.

Step Functions gives calls up that go on behind its back, and EventBridge may tell of an end twice and hours late. Here
all of them come again, on the deployed workflow, with what the definition and the event gave them.
"""

from __future__ import annotations

import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import Deployment, deployed
from tests.e2e.test_faults import attempts
from tests.local_aws.aws import faults
from tests.local_aws.run import changes, scan
from tests.support.waiting import eventually, next_second

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = 70  # three pages of two batches
RETENTION_DAYS = 90
SIDE_BY_SIDE = 4
MOMENTS = ("startDate", "stopDate", "redriveDate")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Deploy with small pages, and with retries that take no time."""
    variables = {"page_size": "25", "batch_size": "15", "schedule_enabled": "false"}
    with deployed(tmp_path_factory.mktemp("local-aws"), USERS, variables, {"SFN_WAIT_SCALE": "0.01"}) as deployment:
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


def test_after_a_complete_scan(deployment: Deployment, listener: changes.Listener) -> None:
    """Which had something to announce."""
    deployment.run()
    next_second()
    changes.change(deployment.aws)
    execution = deployment.run()
    assert execution.status == "SUCCEEDED", execution.cause
    assert execution.output["changes"]["events"] > 1

    nothing_changes(deployment, listener, scan.invocations_of(deployment.aws.client, execution.arn))
    the_next_scan_is_right(deployment)


def test_after_a_scan_that_failed_and_was_redriven_to_its_end(
    deployment: Deployment, listener: changes.Listener
) -> None:
    """With the calls of both attempts, and CleanUp's."""
    faults.inject(deployment.aws, faults.fault("iam:ListUsers", "access_denied", "2-"))
    execution = deployment.run()
    assert execution.status == "FAILED"
    told = end_of(deployment, execution)
    faults.mend(deployment.aws)
    assert deployment.redrive(execution.arn).status == "SUCCEEDED"

    calls = [*scan.invocations_of(deployment.aws.client, execution.arn), told]
    nothing_changes(deployment, listener, calls)
    functions = {call.function for call in calls}
    assert functions == set(deployment.outputs["lambda_function_names"].values()), "no function is left out"
    the_next_scan_is_right(deployment)


def test_after_a_scan_that_was_stopped(deployment: Deployment, listener: changes.Listener) -> None:
    """It may get records that it had not written; it stays ABORTED, with what its manifest says."""
    faults.inject(deployment.aws, faults.fault("dynamodb:BatchWriteItem", "timeout", "4-"))
    arn = deployment.start()
    eventually(lambda: bool(faults.injected(deployment.aws)[0]["hit"]), "no batch is written")
    deployment.aws.client("stepfunctions").stop_execution(executionArn=arn)
    execution = deployment.finish(arn)
    eventually(lambda: _reported(deployment, execution) == {1}, "CleanUp does not hear of it")
    eventually(lambda: deployment.lock() is None, "the lock is held")
    faults.mend(deployment.aws)

    calls = [*scan.invocations_of(deployment.aws.client, arn), end_of(deployment, execution)]
    nothing_changes(deployment, listener, calls, records_too=False)
    the_next_scan_is_right(deployment)
    # And it can still be redriven
    assert deployment.redrive(arn).status == "SUCCEEDED"
    facts = scan.collect(deployment.aws.client, deployment.outputs, execution)
    assert (facts.manifest["status"], len(facts.records)) == ("COMPLETE", USERS)


def nothing_changes(
    deployment: Deployment, listener: changes.Listener, calls: list[scan.Invocation], *, records_too: bool = True
) -> None:
    """Make calls again, each of them twice, shuffled and side by side."""
    seed = int(os.environ.get("REPLAY_SEED") or time.time_ns() % 1_000_000)
    print(f"To replay in this order again: REPLAY_SEED={seed}")
    again = calls * 2
    random.Random(seed).shuffle(again)
    assert len({call.function for call in calls}) >= 4
    listener.events()
    before, attempts_before = items(deployment), attempts(deployment)
    functions = deployment.aws.client("lambda")

    def call(one: scan.Invocation) -> str:
        answer = functions.invoke(FunctionName=one.function, Payload=json.dumps(one.payload))
        payload: str = answer["Payload"].read().decode()
        return payload

    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        answers = list(threads.map(call, again))

    # They ran, and what was refused was refused by the fence, or said what it had said before.
    errors = {error for answer in answers if (error := (json.loads(answer) or {}).get("errorType"))}
    assert errors <= {"Superseded", "ScanFailed"}, answers
    assert "Superseded" in errors
    after = items(deployment)
    if not records_too:
        before, after = ([item for item in found if "user_id" not in item] for found in (before, after))
    assert after == before
    assert deployment.lock() is None
    assert attempts(deployment) == attempts_before, "metrics were emitted again"
    assert listener.events() == [], "changes were announced again"


def the_next_scan_is_right(deployment: Deployment) -> None:
    # The metrics have no dimension that tells one scan from another; their sums are another test's.
    next_second()
    execution = deployment.run()
    facts = scan.collect(deployment.aws.client, deployment.outputs, execution)
    checks = scan.verify(execution, facts, deployment.users(), RETENTION_DAYS)
    assert [check for check in checks if not check.passed and "metrics" not in check.name] == []


def items(deployment: Deployment) -> list[Any]:
    pages = deployment.aws.client("dynamodb").get_paginator("scan")
    found = pages.paginate(TableName=deployment.outputs["dynamodb_table_name"], ConsistentRead=True)
    everything = [item for page in found for item in page["Items"]]
    for item in everything:
        if item["scan_timestamp"]["S"].startswith("posture#"):
            # Kept for two weeks from when it was last read: that it is kept a little longer is all that may change.
            del item["ttl"]
    return sorted(everything, key=lambda item: json.dumps(item, sort_keys=True, default=repr))


def end_of(deployment: Deployment, execution: scan.Execution) -> scan.Invocation:
    """Return the call of CleanUp by which EventBridge told of an execution's end."""
    described = deployment.aws.client("stepfunctions").describe_execution(executionArn=execution.arn)
    detail = {name: described[name] for name in ("executionArn", "status", "redriveCount")}
    detail |= {name: int(described[name].timestamp() * 1000) if name in described else None for name in MOMENTS}
    return scan.Invocation(deployment.outputs["lambda_function_names"]["clean_up"], {"detail": detail})


def _reported(deployment: Deployment, execution: scan.Execution) -> Any:
    return scan.manifest_of(deployment.aws.client, deployment.outputs, execution).get("reported")
