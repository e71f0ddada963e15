"""The promise of the product, cell by cell: whatever fails, wherever.

Every state × every kind of fault. After each: the lock is free, or its lease ends; every attempt has its metrics
once; the manifest says whether the scan may be trusted; the next scheduled run succeeds; and a redrive of the failed
run ends SUCCEEDED with every user recorded.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from tests.statemachine.engine import REGION, TABLE, Engine, Execution, FunctionError, engine

USERS = [f"user-{number:04}" for number in range(45)]
PAGE_SIZE, BATCH_SIZE = 20, 10

STATES = {
    "AcquireLock": "acquire_lock",
    "ListUsers": "list_users",
    "WriteBatch": "write_batch",
    "SaveProgress": "save_progress",
    "EmitMetrics": "emit_metrics",
    "ReleaseLock": "release_lock",
    "FailScan": "fail_scan",
}
FAULTS = ("error once", "error always", "timeout", "crash", "stopped")

# What the manifest of the scan says after the fault, where it is not COMPLETE.
EXPECTED_STATUS = {
    ("AcquireLock", "error always"): "FAILED",
    ("AcquireLock", "timeout"): "FAILED",
    ("AcquireLock", "stopped"): "ABORTED",
    ("ListUsers", "error always"): "FAILED",
    ("ListUsers", "timeout"): "FAILED",
    ("ListUsers", "stopped"): "ABORTED",
    # Not a user is recorded, but all were listed: the scan came to its end.
    ("WriteBatch", "error always"): "INCOMPLETE",
    ("WriteBatch", "timeout"): "INCOMPLETE",
    ("WriteBatch", "stopped"): "ABORTED",
    ("SaveProgress", "error always"): "FAILED",
    ("SaveProgress", "timeout"): "FAILED",
    ("SaveProgress", "stopped"): "ABORTED",
    # CleanUp records what EmitMetrics could not.
    ("EmitMetrics", "error always"): "FAILED",
    ("EmitMetrics", "timeout"): "FAILED",
    # FailScan is reached by a failure only: here, of ListUsers.
    ("FailScan", "error once"): "FAILED",
    ("FailScan", "error always"): "FAILED",
    ("FailScan", "timeout"): "FAILED",
    ("FailScan", "crash"): "FAILED",
    ("FailScan", "stopped"): "FAILED",
}


@dataclass
class Saboteur:
    """Stands between the state machine and its steps and breaks one of them, until told to stop."""

    step: str
    fault: str
    active: bool = True
    calls: int = 0
    stop: Callable[[], None] = lambda: None
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        if self.active and self.step == "fail_scan" and step == "list_users":
            raise FunctionError("ServiceFailure", "IAM is down")
        if not self.active or step != self.step:
            return handler(event)
        with self._guard:
            self.calls += 1
            first = self.calls == 1
        if self.fault == "error always" or (self.fault == "error once" and first):
            raise FunctionError("InternalServerError", "the service is out of order")
        if self.fault == "timeout":
            raise FunctionError("Sandbox.Timedout", "Task timed out after 300.00 seconds")
        result = handler(event)
        if self.fault == "crash" and first:
            raise FunctionError("Runtime.ExitError", "Runtime exited with error: signal: killed")
        if self.fault == "stopped" and first:
            self.stop()
        return result


class Metrics:
    """Counts the metrics lines that the functions print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.lines: list[dict[str, Any]] = []

    def success(self) -> list[float]:
        """Return the Success metric of every attempt so far."""
        printed = self._capsys.readouterr().out.splitlines()
        self.lines += [json.loads(line) for line in printed if line.startswith('{"_aws"')]
        return [line["Success"][0] for line in self.lines]


def run(running: Engine, saboteur: Saboteur) -> Execution:
    """Run a scan under the fault, and let CleanUp hear of its end."""
    arns: list[str] = []
    started = threading.Event()

    def stop() -> None:
        started.wait(10)
        running.stop(arns[0])

    saboteur.stop = stop
    arns.append(running.start({"trigger": "schedule"}))
    started.set()
    execution = running.wait(arns[0])
    running.clean_up(execution)
    return execution


def next_second() -> None:
    """Wait for the next second: a scan is named after its second."""
    time.sleep(1.01 - time.time() % 1)


def timestamp_of(running: Engine, execution: Execution) -> str:
    (manifest,) = [item for item in running.manifests() if item["execution_arn"] == execution.arn]
    return str(manifest["scan_timestamp"]).removeprefix("scan#")


def recorded(running: Engine, timestamp: str) -> list[str]:
    return sorted(item["user_name"] for item in running.records() if item["scan_timestamp"] == timestamp)


def manifest_of(running: Engine, timestamp: str) -> dict[str, Any]:
    (manifest,) = [item for item in running.manifests() if item["scan_timestamp"] == f"scan#{timestamp}"]
    return manifest


def let_the_lease_end(running: Engine) -> None:
    table = boto3.resource("dynamodb", region_name=REGION).Table(TABLE)
    table.update_item(
        Key={"user_name": "__execution_lock__", "scan_timestamp": "lock"},
        UpdateExpression="SET expires_at = :past",
        ExpressionAttributeValues={":past": 1},
    )


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("state", STATES)
def test_fault(
    state: str, fault: str, capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> None:
    saboteur = Saboteur(STATES[state], fault)
    metrics = Metrics(capsys)
    with engine(page_size=PAGE_SIZE, batch_size=BATCH_SIZE, invoke=saboteur) as running:
        running.create_users(USERS)

        execution = run(running, saboteur)

        assert saboteur.calls > 0, "the fault was never met"
        timestamp = timestamp_of(running, execution)
        status = EXPECTED_STATUS.get((state, fault), "COMPLETE")
        manifest = manifest_of(running, timestamp)
        assert manifest["status"] == status
        assert metrics.success() == [int(status == "COMPLETE")], "one attempt, one set of metrics, and a true one"
        written = recorded(running, timestamp)
        assert set(written) <= set(USERS)
        assert len(written) >= manifest["records_written"], "what is counted as written is there"
        if status == "COMPLETE":
            assert written == USERS
        lock = running.lock()
        if (state, fault) in {("ReleaseLock", "error always"), ("ReleaseLock", "timeout")}:
            assert lock is not None
            assert lock["expires_at"] <= time.time() + 600, "nothing can free it but its lease"
            let_the_lease_end(running)
        else:
            assert lock is None

        # The next scheduled run, when the fault is mended.
        saboteur.active = False
        next_second()
        following = running.run({"trigger": "schedule"})
        assert following.status == "SUCCEEDED"
        assert recorded(running, timestamp_of(running, following)) == USERS
        assert metrics.success()[1:] == [1]

        # The redrive of the run that failed, although another one came between.
        if execution.status != "SUCCEEDED":
            redriven = running.redrive(execution.arn)
            assert redriven.status == "SUCCEEDED", redriven.cause
            assert recorded(running, timestamp) == USERS
            manifest = manifest_of(running, timestamp)
            assert manifest["status"] == "COMPLETE"
            assert (manifest["users_scanned"], manifest["records_written"], manifest["errors"]) == (45, 45, 0)
            assert metrics.success()[2:] in ([], [1]), "at most one more attempt, and a successful one"
            assert running.lock() is None
            redrive = redriven.status
        else:
            redrive = "-"
        record_property("fault_matrix", (state, fault, execution.status, status, redrive))


def test_the_redriven_attempt_has_its_own_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    saboteur = Saboteur("list_users", "error always")
    metrics = Metrics(capsys)
    with engine(page_size=PAGE_SIZE, batch_size=BATCH_SIZE, invoke=saboteur) as running:
        running.create_users(USERS)
        execution = run(running, saboteur)
        again = running.redrive(execution.arn)
        running.clean_up(again)
        assert again.status == "FAILED", "the fault is not mended yet"
        saboteur.active = False

        third = running.redrive(execution.arn)

        assert third.status == "SUCCEEDED"
        assert metrics.success() == [0, 0, 1]
        (manifest,) = running.manifests()
        assert manifest["attempt"] == 3


def test_a_redrive_resumes_at_the_first_incomplete_page(capsys: pytest.CaptureFixture[str]) -> None:
    broken = True

    def invoke(step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        if broken and step == "write_batch" and event["batch"]["users"][0]["user_name"] == "user-0020":
            raise FunctionError("ValidationException", "no")
        return handler(event)

    with engine(page_size=PAGE_SIZE, batch_size=BATCH_SIZE, invoke=invoke) as running:
        running.create_users(USERS)
        execution = running.run()
        assert execution.status == "FAILED"
        broken = False
        running.invocations.clear()

        redriven = running.redrive(execution.arn)

        assert redriven.status == "SUCCEEDED"
        assert running.invocations.count("list_users") == 2, "the first page is not listed again"
        (manifest,) = running.manifests()
        assert (manifest["users_scanned"], manifest["records_written"]) == (45, 45)
        assert recorded(running, timestamp_of(running, redriven)) == USERS


def test_a_marker_that_iam_refuses_restarts_the_listing_on_redrive() -> None:
    from botocore.exceptions import ClientError

    broken = True

    def invoke(step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        if broken and step == "save_progress" and event["cursor"]["page"] == 1:
            raise FunctionError("ValidationException", "no")
        return handler(event)

    with engine(page_size=PAGE_SIZE, batch_size=BATCH_SIZE, invoke=invoke) as running:
        running.create_users(USERS)
        execution = running.run()
        assert execution.status == "FAILED"
        broken = False
        from functions.shared import clients

        iam = clients.iam()
        listed = iam.list_users
        old = running.manifests()[0]["marker"]

        def refuse(**arguments: Any) -> Any:
            if arguments.get("Marker") == old and refuse.calls == 0:  # type: ignore[attr-defined]
                refuse.calls += 1  # type: ignore[attr-defined]
                raise ClientError({"Error": {"Code": "ValidationError", "Message": "Invalid Marker"}}, "ListUsers")
            return listed(**arguments)

        refuse.calls = 0  # type: ignore[attr-defined]
        iam.list_users = refuse  # type: ignore[method-assign]

        redriven = running.redrive(execution.arn)

        assert redriven.status == "SUCCEEDED", redriven.cause
        assert refuse.calls == 1  # type: ignore[attr-defined]
        (manifest,) = running.manifests()
        assert (manifest["users_scanned"], manifest["records_written"]) == (45, 45)


def test_a_redrive_while_another_scan_runs_fails_and_can_be_redriven_again() -> None:
    saboteur = Saboteur("list_users", "error always")
    with engine(page_size=PAGE_SIZE, batch_size=BATCH_SIZE, invoke=saboteur) as running:
        running.create_users(USERS)
        execution = run(running, saboteur)
        saboteur.active = False
        table = boto3.resource("dynamodb", region_name=REGION).Table(TABLE)
        key = {"user_name": "__execution_lock__", "scan_timestamp": "lock"}
        far = int(time.time()) + 600
        table.put_item(Item=key | {"owner": "another", "acquired_at": 1, "expires_at": far, "ttl": far})

        blocked = running.redrive(execution.arn)
        assert blocked.status == "FAILED", "a skip would call an unfinished scan a success"
        assert "LockHeld" in str(blocked.cause)
        assert running.lock()["owner"] == "another"  # type: ignore[index]

        table.delete_item(Key=key)
        assert running.redrive(execution.arn).status == "SUCCEEDED"
        assert recorded(running, timestamp_of(running, execution)) == USERS
