"""The engine does what the other tests here rely on: it stops, redrives, records and repeats as AWS would."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import definition
from tests.support.engine import ACCOUNT, Engine, FunctionError, engine
from tests.support.waiting import eventually


class Held:
    """Stands between the state machine and its steps, and holds one of them before its handler runs."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.waits = threading.Event()
        self.go = threading.Event()

    def __call__(self, step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        if step == self.step and not self.go.is_set():
            self.waits.set()
            assert self.go.wait(60)
        return handler(event)


def describe(running: Engine, arn: str) -> dict[str, Any]:
    described: dict[str, Any] = running.client("stepfunctions").describe_execution(executionArn=arn)
    del described["ResponseMetadata"]
    return described


@pytest.mark.parametrize("step", definition.SCAN_STEPS)
def test_an_execution_is_stopped_before_a_handler_begins(step: str) -> None:
    held = Held(step)
    with engine(page_size=2, batch_size=2, invoke=held) as running:
        running.create_users(["a", "b", "c"])
        arn = running.start()
        assert held.waits.wait(60)
        before = running.items()
        # When it is stopped while the function has not begun yet
        running.stop(arn)
        # Then it has ended at once
        stopped = describe(running, arn)
        assert stopped["status"] == "ABORTED"
        assert running.wait(arn).status == "ABORTED"
        assert running.items() == before
        # And when the function runs, nothing follows it
        called = running.invocations.count(step)
        held.go.set()
        running.settle()
        assert describe(running, arn) == stopped
        assert running.invocations.count(step) == called
        assert running.invocations[-1] == step


def test_an_execution_is_stopped_before_its_own_call() -> None:
    held = Held("release_lock")
    with engine(invoke=held) as running:
        arn = running.start()
        assert held.waits.wait(60)
        running.stop(arn)
        assert running.wait(arn).status == "ABORTED"
        assert running.lock() is not None
        held.go.set()
        running.settle()
        assert running.lock() is None
        assert describe(running, arn)["status"] == "ABORTED"


def test_a_call_left_behind_by_a_stop_does_not_reach_the_redriven_run() -> None:
    held = Held("list_users")
    with engine(page_size=2, invoke=held) as running:
        running.create_users(["a", "b", "c"])
        arn = running.start()
        assert held.waits.wait(60)
        running.stop(arn)
        running.wait(arn)
        finished: list[str] = []
        redriving = threading.Thread(target=lambda: finished.append(running.redrive(arn).status))
        # While the first call still waits, a second one is made, and waits, too.
        redriving.start()
        eventually(lambda: running.invocations.count("list_users") == 2, "no second call is made")
        assert describe(running, arn)["status"] == "RUNNING"
        held.go.set()
        redriving.join(60)
        running.settle()
        assert finished == ["SUCCEEDED"]
        assert running.invocations.count("list_users") == 3, "two pages, and the call left behind"
        assert describe(running, arn)["status"] == "SUCCEEDED"


def test_the_end_of_the_account_waits_for_what_is_left_behind() -> None:
    held = Held("list_users")
    with engine(invoke=held) as running:
        arn = running.start()
        assert held.waits.wait(60)
        running.stop(arn)
        with pytest.raises(TimeoutError, match="1 calls are still under way"):
            running.settle(0.05)
        threading.Timer(0.1, held.go.set).start()
    assert [step for step, _ in running.invoked] == ["acquire_lock", "read_posture", "list_users"]


def fail_list_users(step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
    if step == "list_users":
        raise FunctionError("AccessDenied", "no")
    return handler(event)


def test_an_execution_tells_of_its_redrives() -> None:
    with engine(invoke=fail_list_users) as running:
        arn = running.start()
        for count in range(3):
            execution = running.wait(arn) if count == 0 else running.redrive(arn)
            assert execution.status == "FAILED"
            described = describe(running, arn)
            assert (described["redriveCount"], described["redriveStatus"]) == (count, "REDRIVABLE")
            assert ("redriveDate" in described) == (count > 0)
            detail = running.end_event(arn)["detail"]
            assert (detail["redriveCount"], detail["status"]) == (count, "FAILED")
            assert isinstance(detail["redriveDate"], int) == (count > 0)
            assert detail["startDate"] <= detail["stopDate"]
            if count:
                assert detail["startDate"] <= detail["redriveDate"] <= detail["stopDate"]
        running.invoke = lambda _step, event, handler: handler(event)
        assert running.redrive(arn).status == "SUCCEEDED"
        assert describe(running, arn)["redriveStatus"] == "NOT_REDRIVABLE"


def test_an_event_may_come_late_twice_and_with_the_count_of_a_former_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[Any] = []
    monkeypatch.setattr("functions.clean_up.handler.handler", lambda event, _context: heard.append(event["detail"]))
    with engine(invoke=fail_list_users) as running:
        first = running.run()
        late = running.end_event(first.arn)
        second = running.redrive(first.arn)
        running.clean_up(second)
        running.deliver(late)
        running.deliver(late)
        running.clean_up(second, redrive_count=0)
        assert [detail["redriveCount"] for detail in heard] == [1, 0, 0, 0]
        assert heard[1] == heard[2] == late["detail"]
        assert heard[3] == heard[0] | {"redriveCount": 0}
        assert [event["detail"] for step, event in running.invoked if step == "clean_up"] == heard


def test_every_invocation_can_be_made_again() -> None:
    with engine(page_size=2, batch_size=1) as running:
        running.create_users(["a", "b", "c"])
        arn = running.start({"trigger": "schedule"})
        assert running.wait(arn).status == "SUCCEEDED"
        records = running.records()
        invoked = list(running.invoked)
        assert [step for step, _ in invoked] == running.invocations
        assert [step for step, _ in invoked if step != "write_batch"] == [
            "acquire_lock", "read_posture", *("list_users", "save_progress") * 2, "emit_metrics", "publish_changes",
        ]  # fmt: skip
        # What a function was given is what the definition gave it.
        given = [
            json.loads(details["parameters"])["Payload"]
            for event in running.wait(arn).history
            if (details := event.get("taskScheduledEventDetails", {})).get("resource") == "invoke"
        ]
        assert sorted(map(str, given)) == sorted(str(event) for _, event in invoked)
        listed = [running.repeat(invocation) for invocation in invoked if invocation.step == "list_users"]
        assert [page["count"] for page in listed] == [2, 1]
        for invocation in invoked:
            if invocation.step == "write_batch":
                running.repeat(invocation)
        assert running.records() == records
        assert len(running.invoked) == len(invoked), "a repetition is not recorded"
        # What fails answers as Lambda does.
        answer = running.repeat(invoked[0]._replace(event={}))
        assert {"errorType", "errorMessage"} <= answer.keys()


# What moto does otherwise where one execution starts another: each of these is a correction of the engine


def nested(running: Engine) -> tuple[Any, str]:
    """Return a run of two accounts of which one has failed, and the execution of that one."""
    running.create_accounts({ACCOUNT: "Root", "222222222222": "Shop"}, ["alice"])
    failed = running.run(organization=True)
    (child,) = [arn for arn in running.children(failed.arn) if running.wait(arn).status == "FAILED"]
    return failed, child


def fail_shop(step: str, event: Any, handler: Any) -> Any:
    if step == "list_users" and event["scan"].get("account_id") == "222222222222":
        raise FunctionError("AccessDenied", "no")
    return handler(event)


def test_an_execution_waits_for_another_and_hears_what_became_of_it() -> None:
    with engine(organization={}, posture=False, invoke=fail_shop) as running:
        failed, child = nested(running)
        (error,) = [
            event["taskFailedEventDetails"]
            for event in failed.history
            if event.get("taskFailedEventDetails", {}).get("error") == "States.TaskFailed"
        ]
        told = json.loads(error["cause"])
        assert (told["ExecutionArn"], told["Status"], told["Error"]) == (child, "FAILED", "ScanFailed")
        assert told["Input"]["account_id"] == "222222222222"  # .sync:2 has JSON where .sync has text
        submitted = [event for event in failed.history if event["type"] == "TaskSubmitted"]
        assert len(submitted) == 2


def test_an_execution_that_runs_or_has_succeeded_is_not_redriven_and_others_are() -> None:
    with engine(organization={}, posture=False, invoke=fail_shop) as running:
        failed, child = nested(running)
        client = running.client("stepfunctions")
        (other,) = [arn for arn in running.children(failed.arn) if arn != child]
        with pytest.raises(client.exceptions.ExecutionNotRedrivable):
            client.redrive_execution(executionArn=other)
        running.invoke = lambda _step, event, handler: handler(event)
        client.redrive_execution(executionArn=child)
        assert running.wait(child).status == "SUCCEEDED"


def test_the_newest_event_of_a_history_has_its_number_redrives_included() -> None:
    with engine(organization={}, posture=False, invoke=fail_shop) as running:
        failed, _ = nested(running)
        client = running.client("stepfunctions")

        def newest() -> int:
            (event,) = client.get_execution_history(executionArn=failed.arn, reverseOrder=True, maxResults=1)["events"]
            return int(event["id"])

        assert newest() == len(failed.history)
        again = running.redrive(failed.arn)
        assert newest() >= len(again.history)
