"""The promise of the product, cell by cell: whatever fails, wherever.

Every state × every kind of fault. After each: the lock is free, or its lease ends; every attempt that began has its
metrics, true and once; the manifest says whether the scan may be trusted; the next scheduled run succeeds; and a
redrive of the failed run ends SUCCEEDED with every user recorded. What PublishChanges could not announce the next run
does, and no scan or run fails for it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from tests.support import definition
from tests.support.engine import REGION, TABLE, Engine, Execution, FunctionError, Invoke, engine, throttled
from tests.support.printed import Metrics

USERS = [f"user-{number:04}" for number in range(30)]  # two pages
MORE_USERS = [f"user-{number:04}" for number in range(45)]  # three
PAGE_SIZE, BATCH_SIZE = 20, 10

# ReleaseLock is no function, but goes through the same hands here.
STATES = {definition.state_of(step): step for step in (*definition.SCAN_STEPS, "release_lock", "fail_scan")}
FAULTS = {
    "error once": "the first call fails before its work",
    "error always": "every call does",
    "timeout": "every call times out",
    "throttled": "AWS throttles every call for as long as it goes on trying",
    "crash": "the first call dies after its work, before its answer",
    "stopped": "the run is stopped when the call has done its work",
    "stopped before": "the run is stopped and cleaned up while the call is on its way: it does its work after all that",
    "stopped twice": "the run is stopped, redriven and stopped again, and the events of both ends come again and late",
    "told late": "the run is stopped and redriven, and only then, again and again, CleanUp is told of the first end",
}

# What the manifest of the scan says after the fault, where it is not COMPLETE.
EXPECTED_STATUS = {
    **dict.fromkeys([(state, "error always") for state in ("AcquireLock", "ListUsers", "SaveProgress")], "FAILED"),
    **dict.fromkeys([(state, "timeout") for state in ("AcquireLock", "ListUsers", "SaveProgress")], "FAILED"),
    **dict.fromkeys([(s, "throttled") for s in ("AcquireLock", "ListUsers", "WriteBatch", "SaveProgress")], "FAILED"),
    # Not a user is recorded, but all were listed: the scan came to its end.
    ("WriteBatch", "error always"): "INCOMPLETE",
    ("WriteBatch", "timeout"): "INCOMPLETE",
    **{
        (state, fault): "ABORTED"
        for state in ("AcquireLock", "ReadPosture", "ListUsers", "WriteBatch", "SaveProgress")
        for fault in ("stopped", "stopped before", "stopped twice")
    },
    # CleanUp records what EmitMetrics could not, or not yet: the first to say how an attempt ended is right.
    ("EmitMetrics", "error always"): "FAILED",
    ("EmitMetrics", "timeout"): "FAILED",
    ("EmitMetrics", "throttled"): "FAILED",
    ("EmitMetrics", "stopped before"): "ABORTED",
    # FailScan is reached by a failure only: here, of ListUsers.
    **{("FailScan", fault): "FAILED" for fault in FAULTS},
    ("FailScan", "stopped twice"): "ABORTED",
    ("FailScan", "told late"): "COMPLETE",
}

# The Success of every attempt, in order, where it is not that of one attempt with the status above.
EXPECTED_SUCCESS = {
    **{(state, "stopped twice"): [0, 0] for state in STATES},
    ("EmitMetrics", "stopped twice"): [1, 1],
    # The second attempt came no further than to be stopped. Its scan stays complete.
    ("PublishChanges", "stopped twice"): [1, 0],
    ("ReleaseLock", "stopped twice"): [1, 0],
    **{(state, "told late"): [0, 1] for state in STATES},
    ("EmitMetrics", "told late"): [1, 1],
    # The second attempt had nothing left to do but to publish, and to release the lock.
    ("PublishChanges", "told late"): [1],
    ("ReleaseLock", "told late"): [1],
}


@dataclass
class Saboteur:
    """Stands between the state machine and its steps and breaks one of them, until told to stop."""

    step: str
    fault: str
    active: bool = True
    calls: int = 0
    stop: Callable[[], None] = lambda: None
    tell: Callable[[], None] | None = None
    """Called before and after the next call of any step, once."""
    cleaned_up: threading.Event = field(default_factory=threading.Event)
    worked: threading.Event = field(default_factory=threading.Event)
    first: bool = True
    """Whether the next call of the step is the first of its attempt."""
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        with self._guard:
            tell, self.tell = self.tell, None
            first = False
            if self.active and step == self.step:
                self.calls += 1
                first, self.first = self.first, False
        if tell is not None:
            tell()
            try:
                return handler(event)
            finally:
                tell()
        if self.active and self.step == "fail_scan" and step == "list_users":
            raise FunctionError("ServiceFailure", "IAM is down")
        if not self.active or step != self.step:
            return handler(event)
        return self._break(event, handler, first)

    def _break(self, event: Any, handler: Callable[[Any], Any], first: bool) -> Any:
        if self.fault == "error always" or (self.fault == "error once" and first):
            raise FunctionError("InternalServerError", "the service is out of order")
        if self.fault == "throttled" and self.step == "write_batch":
            with throttled():
                return handler(event)
        if self.fault == "throttled":
            raise FunctionError("Throttled", "Rate exceeded")
        if self.fault == "timeout":
            raise FunctionError("Sandbox.Timedout", "Task timed out after 300.00 seconds")
        if self.fault == "stopped before" and first:
            self.stop()
            assert self.cleaned_up.wait(20)
        try:
            result = handler(event)
        finally:
            if self.fault in {"stopped", "stopped twice", "told late"} and first:
                self.stop()
            if first:
                self.worked.set()
        if self.fault == "crash" and first:
            raise FunctionError("Runtime.ExitError", "Runtime exited with error: signal: killed")
        return result


def run(running: Engine, saboteur: Saboteur) -> Execution:
    """Run a scan under the fault, and let CleanUp hear of its end, as the fault will have it."""
    arn = ""
    started = threading.Event()

    def stop() -> None:
        started.wait(10)
        running.stop(arn)

    saboteur.stop = stop
    arn = running.start({"trigger": "schedule"})
    started.set()
    execution = running.wait(arn)
    if saboteur.fault == "stopped before":
        assert execution.status == "ABORTED"
        running.clean_up(execution)
        saboteur.cleaned_up.set()
        assert saboteur.worked.wait(20)
    elif saboteur.fault == "stopped twice":
        assert saboteur.worked.wait(20)
        first_end = running.end_event(arn)
        running.deliver(first_end)
        assert running.lock() is None
        saboteur.first = True
        saboteur.worked.clear()
        execution = running.redrive(arn)
        assert execution.status == "ABORTED"
        assert saboteur.worked.wait(20)
        running.settle()
        second_end, before = running.end_event(arn), running.items()
        running.deliver(first_end)
        assert running.items() == before, "an end that was told of already"
        running.deliver(second_end)
        running.deliver(second_end)
    elif saboteur.fault == "told late":
        assert saboteur.worked.wait(20)
        running.settle()
        end = running.end_event(arn)
        saboteur.active = False
        saboteur.tell = lambda: running.deliver(end)
        execution = running.redrive(arn)
        assert saboteur.tell is None
        before = running.items()
        running.deliver(end)
        assert running.items() == before
    else:
        running.clean_up(execution)
    running.settle()
    return execution


def after_the_second_of(timestamp: str) -> None:
    """Wait until the second of a scan is over: a scan is named after it."""
    passed = (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds()
    time.sleep(max(0, 1.01 - passed))


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
        success = EXPECTED_SUCCESS.get((state, fault), [int(status == "COMPLETE")])
        assert sorted(metrics.success()) == sorted(success), "every attempt has its metrics, once, and they are true"
        written = recorded(running, timestamp)
        assert set(written) <= set(USERS)
        assert len(written) >= manifest["records_written"], "what is counted as written is there"
        if status == "COMPLETE":
            assert written == USERS
        if state == "PublishChanges":
            assert execution.status == ("ABORTED" if fault.startswith("stopped") else "SUCCEEDED")
        lock = running.lock()
        if (state, fault) in {("ReleaseLock", fault) for fault in ("error always", "timeout", "throttled")}:
            assert lock is not None
            assert lock["expires_at"] <= time.time() + 600, "nothing can free it but its lease"
            let_the_lease_end(running)
        else:
            assert lock is None

        # The next scheduled run, when the fault is mended.
        saboteur.active = False
        after_the_second_of(timestamp)
        following = running.run({"trigger": "schedule"})
        assert following.status == "SUCCEEDED"
        assert recorded(running, timestamp_of(running, following)) == USERS
        assert metrics.success()[len(success) :] == [1]
        due = {timestamp_of(running, following), *([timestamp] if status == "COMPLETE" else [])}
        announced = {detail["id"]: detail for detail in running.announced()}.values()
        assert sorted(detail["scan_timestamp"] for detail in announced) == sorted(due), "each once, and nothing else"
        assert {detail["change"] for detail in announced} == {"scan_completed"}

        # The redrive of the run that failed, although another one came between.
        if execution.status != "SUCCEEDED":
            redriven = running.redrive(execution.arn)
            assert redriven.status == "SUCCEEDED", redriven.cause
            assert recorded(running, timestamp) == USERS
            manifest = manifest_of(running, timestamp)
            assert manifest["status"] == "COMPLETE"
            totals = (manifest["users_scanned"], manifest["records_written"], manifest["errors"])
            assert totals == (len(USERS), len(USERS), 0)
            assert metrics.success()[len(success) + 1 :] in ([], [1]), "at most one more attempt, and a successful one"
            assert running.lock() is None
            redrive = redriven.status
        else:
            redrive = "-"
        record_property("fault_matrix", (state, fault, execution.status, status, redrive))


def test_the_redriven_attempt_has_its_own_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    saboteur = Saboteur("list_users", "error always")
    metrics = Metrics(capsys)
    with engine(page_size=PAGE_SIZE, batch_size=BATCH_SIZE, invoke=saboteur) as running:
        running.create_users(MORE_USERS)
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
        running.create_users(MORE_USERS)
        execution = running.run()
        assert execution.status == "FAILED"
        broken = False
        running.invocations.clear()

        redriven = running.redrive(execution.arn)

        assert redriven.status == "SUCCEEDED"
        assert running.invocations.count("list_users") == 2, "the first page is not listed again"
        (manifest,) = running.manifests()
        assert (manifest["users_scanned"], manifest["records_written"]) == (45, 45)
        assert recorded(running, timestamp_of(running, redriven)) == MORE_USERS


def throttling(affects: Callable[[str], bool]) -> Invoke:
    """Let DynamoDB throttle every write of the batches that begin with such a user."""

    def invoke(step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        if step == "write_batch" and affects(event["batch"]["users"][0]["user_name"]):
            with throttled():
                return handler(event)
        return handler(event)

    return invoke


def test_a_table_that_throttles_for_good_ends_the_scan_with_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    throttles = True
    metrics = Metrics(capsys)
    invoke = throttling(lambda user: throttles and user >= "user-0020")
    with engine(page_size=PAGE_SIZE, batch_size=BATCH_SIZE, map_concurrency=1, invoke=invoke) as running:
        running.create_users(MORE_USERS)

        execution = running.run()

        # It waits for one page, not for every one, and says why, how far it came, and what is next
        assert running.invocations.count("list_users") == 2
        for told in (
            "TableThrottled: DynamoDB throttled 20 of the 20 writes of page 2",
            "20 users scanned, 20 records written in 1 page.",
            "resume the scan with this page when the table takes writes again",
        ):
            assert told in str(execution.cause)
        (manifest,) = running.manifests()
        assert (manifest["status"], manifest["error_type"]) == ("FAILED", "TableThrottled")
        assert (manifest["users_scanned"], manifest["records_written"]) == (20, 20)
        assert metrics.success() == [0]
        assert running.lock() is None

        # As long as it throttles, a redrive ends in the same way, and no other page is tried
        running.invocations.clear()
        assert running.redrive(execution.arn).status == "FAILED"
        assert running.invocations.count("list_users") == 1

        throttles = False
        running.invocations.clear()
        assert running.redrive(execution.arn).status == "SUCCEEDED"
        assert running.invocations.count("list_users") == 2, "the first page is not listed again"
        assert recorded(running, timestamp_of(running, execution)) == MORE_USERS


def test_a_page_of_which_something_was_written_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    invoke = throttling(lambda user: user == "user-0020")
    with engine(page_size=PAGE_SIZE, batch_size=BATCH_SIZE, map_concurrency=1, invoke=invoke) as running:
        running.create_users(MORE_USERS)

        execution = running.run()

        assert "10 users have no record" in str(execution.cause)
        (manifest,) = running.manifests()
        assert (manifest["status"], manifest["users_scanned"], manifest["errors"]) == ("INCOMPLETE", 45, 10)


def test_a_marker_that_iam_refuses_restarts_the_listing_on_redrive() -> None:
    from botocore.exceptions import ClientError

    broken = True

    def invoke(step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        if broken and step == "save_progress" and event["cursor"]["page"] == 1:
            raise FunctionError("ValidationException", "no")
        return handler(event)

    with engine(page_size=PAGE_SIZE, batch_size=BATCH_SIZE, invoke=invoke) as running:
        running.create_users(MORE_USERS)
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
        running.create_users(MORE_USERS)
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
        assert recorded(running, timestamp_of(running, execution)) == MORE_USERS
