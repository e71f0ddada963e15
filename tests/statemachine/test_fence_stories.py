"""What late callers once did to finished scans, story by story, with the real handlers and the real definition.

Each story was seen to go wrong before the fence was there (``functions/table/fence.py``), and does again without the
clause that it names.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from functions.shared import clients, timestamps
from functions.shared import metrics as metrics_module
from functions.shared.errors import Throttled
from tests.support.engine import TABLE, Engine, Execution, FunctionError, Invocation, engine
from tests.support.printed import Metrics

USERS = [f"user-{number}" for number in range(7)]
PAGE_SIZE, BATCH_SIZE = 3, 2  # three pages
LOCK = {"user_name": "__execution_lock__", "scan_timestamp": "lock"}
DAYS = timedelta(days=3)

Handler = Callable[[Any], Any]
Act = Callable[[Any, Handler], Any]


@dataclass
class Director:
    """Stands between the state machine and its steps, and lets a call of a step go as the story has it."""

    acts: dict[tuple[str, int], Act] = field(default_factory=dict)
    """What happens in place of a call, by its step and its number."""
    calls: Counter[str] = field(default_factory=Counter)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, step: str, event: Any, handler: Handler) -> Any:
        with self._guard:
            self.calls[step] += 1
            act = self.acts.get((step, self.calls[step]))
        return handler(event) if act is None else act(event, handler)


@pytest.fixture
def director() -> Director:
    return Director()


@pytest.fixture
def running(director: Director) -> Iterator[Engine]:
    with engine(page_size=PAGE_SIZE, batch_size=BATCH_SIZE, invoke=director) as running:
        running.create_users(USERS)
        yield running


@pytest.fixture
def metrics(capsys: pytest.CaptureFixture[str]) -> Metrics:
    return Metrics(capsys)


def fail(_event: Any, _handler: Handler) -> Any:
    raise FunctionError("InternalServerError", "the service is out of order")


def answer_lost(late: list[Any]) -> Act:
    """Return an act by which the caller hears of a lost connection, while the call is still on its way."""

    def act(event: Any, _handler: Handler) -> Any:
        late.append(event)
        raise FunctionError("Lambda.SdkClientException", "the connection broke")

    return act


def stopped_after(running: Engine, arn: list[str]) -> Act:
    """Return an act by which the run is stopped when the call has done its work."""

    def act(event: Any, handler: Handler) -> Any:
        result = handler(event)
        running.stop(arn[0])
        return result

    return act


def started(running: Engine, arn: list[str]) -> Execution:
    """Run a scan whose ARN the acts have to know."""
    arn.append(running.start({"trigger": "schedule"}, name="story"))
    return running.wait(arn[0])


def arn_of(running: Engine) -> list[str]:
    """Return the ARN that the next run will have."""
    return [running.state_machine_arn.replace("stateMachine", "execution") + ":story"]


def manifest_of(running: Engine, execution: Execution) -> dict[str, Any]:
    (manifest,) = [item for item in running.manifests() if item["execution_arn"] == execution.arn]
    return manifest


def recorded(running: Engine, manifest: dict[str, Any]) -> list[str]:
    """Return whom a scan has recorded in the span that it speaks for."""
    timestamp = manifest["scan_timestamp"].removeprefix("scan#")
    return [
        record["user_name"]
        for record in running.records()
        if record["scan_timestamp"] == timestamp
        and manifest["listed_from"] <= record["listed_at"] <= manifest["listed_until"]
    ]


def assert_complete(running: Engine, execution: Execution, users: list[str] = USERS) -> None:
    manifest = manifest_of(running, execution)
    assert (execution.status, manifest["status"]) == ("SUCCEEDED", "COMPLETE"), execution.cause
    totals = (manifest["users_scanned"], manifest["records_written"], manifest["errors"])
    assert totals == (len(users), len(users), 0)
    assert recorded(running, manifest) == sorted(users)
    assert running.lock() is None


def hold_lock(running: Engine, owner: str = "another") -> dict[str, Any]:
    """Let another run have the lock, and return it."""
    far = int(timestamps.now().timestamp()) + 600
    item = LOCK | {"owner": owner}
    numbers = {"attempt": 1, "acquired_at": far - 600, "expires_at": far, "ttl": far}
    running.client("dynamodb").put_item(
        TableName=TABLE,
        Item={name: {"S": text} for name, text in item.items()}
        | {name: {"N": str(number)} for name, number in numbers.items()},
    )
    return item | numbers


@contextmanager
def later(time: timedelta) -> Iterator[None]:
    """Let the functions' clock be ahead."""
    now = timestamps.now
    with mock.patch.object(timestamps, "now", side_effect=lambda: now() + time):
        yield


class TestRow1:
    """An answer is lost, the retry goes on, and the first call wakes up."""

    @pytest.mark.parametrize("step", ["acquire_lock", "save_progress", "emit_metrics"])
    def test_when_the_scan_is_complete(self, running: Engine, director: Director, metrics: Metrics, step: str) -> None:
        """Row 1: COMPLETE became RUNNING for ever, its totals went back, the lock was held for a finished execution."""
        # Given a step whose answer is lost, and a scan that its retry has completed
        late: list[Any] = []
        director.acts[step, 1] = answer_lost(late)
        execution = running.run()
        assert_complete(running, execution)
        before = running.items()
        # When the first call wakes up
        answer = running.repeat(Invocation(step, late[0]))
        # Then nothing has changed, and it is told so
        assert running.items() == before
        assert answer.get("errorType") == ("Superseded" if step == "save_progress" else None)
        assert metrics.success() == [1]

    @pytest.mark.parametrize(("step", "wakes_at"), [("acquire_lock", 2), ("save_progress", 3)])
    def test_while_the_scan_goes_on(self, running: Engine, director: Director, step: str, wakes_at: int) -> None:
        """Row 1: the checkpoint went back behind pages that were saved."""
        # Given a step whose answer is lost
        late: list[Any] = []
        director.acts[step, 1] = answer_lost(late)
        manifests: list[Any] = []

        # When the first call wakes up before a later page is saved
        def wake(event: Any, handler: Handler) -> Any:
            manifests.append(running.manifests())
            running.repeat(Invocation(step, late[0]))
            manifests.append(running.manifests())
            return handler(event)

        director.acts["save_progress", wakes_at + (step == "save_progress")] = wake
        execution = running.run()
        # Then the totals and the checkpoint stay where they are, and the scan comes to its end
        assert manifests[0] == manifests[1]
        assert_complete(running, execution)


def test_a_page_that_is_saved_after_the_run_was_stopped(running: Engine, director: Director, metrics: Metrics) -> None:
    """Row 2: ABORTED became RUNNING for ever, and the lock was held."""
    # Given a run that is stopped while it saves its second page, and cleaned up
    arn = arn_of(running)
    stopped, answers = threading.Event(), list[Any]()

    def saves_late(event: Any, handler: Handler) -> Any:
        running.stop(arn[0])
        assert stopped.wait(20)
        try:
            return handler(event)
        except Exception as error:
            answers.append(type(error).__name__)
            raise

    director.acts["save_progress", 2] = saves_late
    execution = started(running, arn)
    running.clean_up(execution)
    assert (manifest_of(running, execution)["status"], running.lock()) == ("ABORTED", None)
    before = running.items()
    # When the page is saved
    stopped.set()
    running.settle()
    # Then it is late: nothing has changed
    assert running.items() == before
    assert answers == ["Superseded"]
    assert metrics.success() == [0]
    # And the run can be redriven to its end
    assert_complete(running, running.redrive(execution.arn))
    assert metrics.success() == [0, 1]


@pytest.mark.parametrize("cleaned_up_first", [True, False])
def test_a_lock_that_is_taken_after_the_run_was_stopped(
    running: Engine, director: Director, metrics: Metrics, cleaned_up_first: bool
) -> None:
    """Row 3: CleanUp took its own event for a stale one: lock stuck for its lease, RUNNING, no metrics."""
    # Given a run that is stopped while AcquireLock, a cold start, has not come to its first call
    arn = arn_of(running)
    go_on = threading.Event()

    def begins_late(event: Any, handler: Handler) -> Any:
        running.stop(arn[0])
        assert go_on.wait(20)
        return handler(event)

    director.acts["acquire_lock", 1] = begins_late
    execution = started(running, arn)
    assert execution.status == "ABORTED"
    # When it does its work, and CleanUp hears of the end, the one before or after the other
    if cleaned_up_first:
        running.clean_up(execution)
        go_on.set()
        running.settle()
    else:
        go_on.set()
        running.settle()
        assert running.lock() is not None
        running.clean_up(execution)
    # Then the lock is free, the manifest says what happened, and so do the metrics
    assert running.lock() is None
    manifest = manifest_of(running, execution)
    assert (manifest["status"], manifest["error_type"]) == ("ABORTED", "ExecutionAborted")
    assert metrics.success() == [0]
    assert_complete(running, running.redrive(execution.arn))


@pytest.mark.parametrize("step", ["acquire_lock", "list_users", "save_progress"])
def test_a_redrive_between_the_checks_of_clean_up_and_its_writes(
    running: Engine, director: Director, metrics: Metrics, step: str
) -> None:
    """Row 5: the live attempt was marked ABORTED and its lock deleted; the run ended with LockLost."""
    # Given a run that was stopped
    arn = arn_of(running)
    director.acts[step, 1] = stopped_after(running, arn)
    execution = started(running, arn)
    running.settle()
    end = running.end_event(arn[0])
    # When it is redriven just after CleanUp has asked whether it runs
    begun, cleaned_up, redriven = threading.Event(), threading.Event(), list[Execution]()

    def goes_on(event: Any, handler: Handler) -> Any:
        result = handler(event)
        begun.set()
        assert cleaned_up.wait(20)
        return result

    again = "acquire_lock" if step == "acquire_lock" else "save_progress"
    director.acts[again, director.calls[again] + 1] = goes_on
    redrive = threading.Thread(target=lambda: redriven.append(running.redrive(arn[0])))
    stepfunctions = clients.stepfunctions()
    describe = stepfunctions.describe_execution

    def then_redrive(**arguments: Any) -> Any:
        answer = describe(**arguments)
        if not redrive.ident:
            redrive.start()
            assert begun.wait(20)
        return answer

    with mock.patch.object(stepfunctions, "describe_execution", then_redrive):
        running.deliver(end)
    # Then the live attempt has its lock and its manifest, as it took them
    lock, manifest = running.lock(), manifest_of(running, execution)
    cleaned_up.set()
    redrive.join(60)
    assert lock is not None
    assert (lock["owner"], lock["attempt"]) == (arn[0], 2)
    assert (manifest["status"], manifest["attempt"]) == ("RUNNING", 2)
    # And it comes to its end
    assert_complete(running, redriven[0])
    assert sorted(metrics.success()) == [0, 1]


@pytest.mark.parametrize("lock_is_free", [True, False])
def test_a_complete_scan_that_is_redriven_for_its_lock_while_another_runs(
    running: Engine, director: Director, metrics: Metrics, lock_is_free: bool
) -> None:
    """Row 6: COMPLETE with 25 users became FAILED with 0."""
    # Given a complete scan whose run failed, for it could not release its lock
    director.acts |= {("release_lock", call): fail for call in range(1, 8)}
    execution = running.run()
    assert (execution.status, "ReleaseLock failed" in str(execution.cause)) == ("FAILED", True)
    running.clean_up(execution)
    manifest = manifest_of(running, execution)
    assert manifest["status"] == "COMPLETE"
    # When it is redriven, while another scan has the lock or none has
    other = None if lock_is_free else hold_lock(running)
    redriven = running.redrive(execution.arn)
    # Then the run succeeds, and has listed nothing: what its scan says stays as it was
    assert redriven.status == "SUCCEEDED", redriven.cause
    assert redriven.route[-6:-3] == ["LockAcquired?", "ChangesToPublish?", "PublishChanges"]
    assert redriven.route[-3:] == ["ReleaseLock", "ScanOutcome?", "ScanSucceeded"]
    assert director.calls["list_users"] == 3
    assert {**manifest_of(running, execution), "reported": None} == {**manifest, "reported": None}
    assert running.lock() == other
    assert set(metrics.success()) == {1}


def test_a_listing_that_began_again_and_lost_a_record(running: Engine, director: Director) -> None:
    """Row 7: it resumed at the checkpoint of the former listing: COMPLETE with 6 of 7 users."""
    # Given a run that failed on its second page
    director.acts |= {("list_users", call): fail for call in range(2, 5)}
    execution = running.run()
    assert (execution.status, manifest_of(running, execution)["marker"] is None) == ("FAILED", False)
    # And was redriven, when IAM refused its marker, and a record of the first page was lost
    iam = clients.iam()
    listed = iam.list_users
    refused = list[str]()

    def refuse(**arguments: Any) -> Any:
        if "Marker" in arguments and not refused:
            refused.append(arguments["Marker"])
            raise ClientError({"Error": {"Code": "ValidationError", "Message": "Invalid Marker"}}, "ListUsers")
        return listed(**arguments)

    first = director.calls["write_batch"] + 1
    # The batch with the third user, in whichever order the two of the page are written.
    losing = {"on": True}

    def lose(event: Any, handler: Handler) -> Any:
        if losing["on"] and event["batch"]["users"][0]["user_name"] == "user-2":
            raise FunctionError("AccessDenied", "no")
        return handler(event)

    director.acts |= {("write_batch", call): lose for call in range(first, first + 20)}
    with mock.patch.object(iam, "list_users", refuse):
        again = running.redrive(execution.arn)
    assert (again.status, len(refused)) == ("FAILED", 1)
    manifest = manifest_of(running, execution)
    assert (manifest["status"], manifest["errors"]) == ("INCOMPLETE", 1)
    # When it is redriven once more
    losing["on"] = False
    director.calls["list_users"] = 100
    last = running.redrive(execution.arn)
    # Then it begins where the record is missing, and is complete when everybody is there
    assert_complete(running, last)
    assert director.calls["list_users"] == 103


def test_a_publication_that_wakes_up_after_the_next_one(running: Engine, director: Director) -> None:
    """The cursor went back, and everything since was told again, under other ids."""
    # Given a publication that was given up, and is made good by that of the next scan, when somebody was deleted
    late: list[Any] = []
    director.acts |= {("publish_changes", call): answer_lost(late) for call in range(1, 4)}
    first = running.run()
    assert_complete(running, first)
    assert running.announced() == []
    running.client("iam").delete_user(UserName="user-0")
    time.sleep(1.01)  # a scan is named after its second
    second = running.run()
    assert_complete(running, second, USERS[1:])
    told = running.announced()
    assert [detail["change"] for detail in told] == ["scan_completed", "deleted", "scan_completed"]
    before = running.items()
    # When it wakes up
    answer = running.repeat(Invocation("publish_changes", late[0]))
    # Then it says nothing, and nothing has changed
    assert answer["status"] == "NOTHING_NEW"
    assert running.announced() == []
    assert running.items() == before


def test_a_publication_that_dies_before_it_notes_what_it_has_told(running: Engine, director: Director) -> None:
    """What is told again has the same id, and says the same."""
    # Given a publication that dies when its events are sent
    dynamodb = clients.dynamodb()
    write, deaths = dynamodb.transact_write_items, [MemoryError("died")]

    def dying(**arguments: Any) -> Any:
        key = next(iter(arguments["TransactItems"][0].values())).get("Key", {})
        if key.get("scan_timestamp") == {"S": "changes"} and deaths:
            raise deaths.pop()
        return write(**arguments)

    # When it is retried
    with mock.patch.object(dynamodb, "transact_write_items", dying):
        execution = running.run()
    # Then it tells the same again
    assert deaths == []
    assert_complete(running, execution)
    first, again = running.announced()
    assert first == again
    assert execution.output["changes"]["status"] == "ANNOUNCED"


@pytest.mark.parametrize("resumes_at", ["acquire_lock", "list_users"])
def test_a_scan_that_is_redriven_days_later(
    running: Engine, director: Director, metrics: Metrics, resumes_at: str
) -> None:
    """Row 8: COMPLETE under its old time with today's users: history and diff invented deletions."""
    # Given a scan that got no further than its first page
    arn = arn_of(running)
    if resumes_at == "acquire_lock":
        director.acts |= {("list_users", call): fail for call in range(2, 5)}
    else:
        director.acts["list_users", 2] = stopped_after(running, arn)
    execution = started(running, arn)
    running.clean_up(execution)
    former = manifest_of(running, execution)
    assert (former["users_scanned"], former["status"] in {"FAILED", "ABORTED"}) == (3, True)
    # When users come and go, days pass, and it is redriven
    iam = running.client("iam")
    iam.delete_user(UserName="user-0")
    running.create_users(["user-a", "user-b"])
    now = [*USERS[1:], "user-a", "user-b"]
    director.calls["list_users"] = 100
    with later(DAYS):
        redriven = running.redrive(execution.arn)
    # Then it lists everybody again, and says when it did
    assert_complete(running, redriven, now)
    assert director.calls["list_users"] >= 103
    manifest = manifest_of(running, execution)
    listed_from, listed_until = (datetime.fromisoformat(manifest[name]) for name in ("listed_from", "listed_until"))
    assert listed_from - datetime.fromisoformat(former["listed_from"]) > DAYS / 2
    assert listed_until - listed_from < timedelta(seconds=manifest["span_limit_seconds"])
    # What was recorded of the former listing can be told from it, and expires with the rest
    gone = [record for record in running.records() if record["user_name"] == "user-0"]
    assert [record["listed_at"] < manifest["listed_from"] for record in gone] == [True]
    assert {record["ttl"] for record in running.records()} == {manifest["ttl"]} == {former["ttl"]}
    assert metrics.success() == [0, 1]


def test_a_batch_of_a_former_listing_that_is_written_late(running: Engine, director: Director) -> None:
    """What is left, as statemachine/README.md says: BatchWriteItem takes no condition. Nobody is lost by it."""
    # Given a batch whose answer is lost, in an attempt that saves no page
    late: list[Any] = []
    director.acts["write_batch", 1] = answer_lost(late)
    director.acts |= {("save_progress", call): fail for call in range(1, 4)}
    execution = running.run()
    assert execution.status == "FAILED"
    # And a redrive, which lists everybody again and completes the scan
    assert_complete(running, running.redrive(execution.arn))
    before = running.items()
    # When the first call wakes up
    running.repeat(Invocation("write_batch", late[0]))
    # Then its records say what the same scan saw moments before, and nothing else is different
    after = running.items()
    assert sorted(map(_without_listed_at, after)) == sorted(map(_without_listed_at, before))
    overtaken = [item for item in after if item not in before]
    assert [item["listed_at"] for item in overtaken] == [late[0]["listed_at"]] * len(late[0]["batch"]["users"])


def _without_listed_at(item: dict[str, Any]) -> str:
    """Return what an item says, without what every listing, and every reading of posture, says anew."""
    anew = {"listed_at", "credential_report_time"}
    return repr(sorted((name, str(value)) for name, value in item.items() if name not in anew))


class TestRow10:
    """The metrics of an attempt are emitted at least once, and once where nothing died in between."""

    def test_a_retry_while_the_first_call_is_on_its_way(
        self, running: Engine, director: Director, metrics: Metrics
    ) -> None:
        """Row 10: the metrics were emitted twice."""
        late: list[Any] = []
        director.acts["emit_metrics", 1] = answer_lost(late)
        director.acts["release_lock", 1] = lambda event, handler: (
            running.repeat(Invocation("emit_metrics", late[0])),
            handler(event),
        )[1]
        assert_complete(running, running.run())
        assert metrics.success() == [1]

    def test_a_first_call_that_dies_before_it_has_said_them(self, running: Engine, metrics: Metrics) -> None:
        """Row 10: the metrics were never emitted."""
        emit, deaths = metrics_module.emit, [MemoryError("died")]

        def dying(*arguments: Any, **named: Any) -> None:
            if deaths:
                raise deaths.pop()
            emit(*arguments, **named)

        with mock.patch.object(metrics_module, "emit", dying):
            execution = running.run()
        assert deaths == []
        assert_complete(running, execution)
        assert metrics.success() == [1]

    @pytest.mark.parametrize("call", [1, 2])
    def test_clean_up_is_throttled(self, running: Engine, director: Director, metrics: Metrics, call: int) -> None:
        """Row 10: the metrics were never emitted."""
        # Given a run that was stopped
        arn = arn_of(running)
        director.acts["list_users", 1] = stopped_after(running, arn)
        execution = started(running, arn)
        running.settle()
        end = running.end_event(arn[0])
        # When CleanUp is throttled where it records the end, or where it notes that it has said the metrics
        dynamodb = clients.dynamodb()
        update, calls = dynamodb.update_item, Counter[str]()

        def throttled(**arguments: Any) -> Any:
            calls["update_item"] += 1
            if calls["update_item"] == call:
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "UpdateItem")
            return update(**arguments)

        with mock.patch.object(dynamodb, "update_item", throttled):
            with pytest.raises(Throttled):
                running.deliver(end)
            # And Lambda invokes it again
            running.deliver(end)
        # Then the attempt has its metrics, and its lock is free
        assert metrics.success() == [0] * call
        assert running.lock() is None
        assert manifest_of(running, execution)["reported"] == {1}
        running.deliver(end)
        assert metrics.success() == [0] * call


INPUTS = ['"x"', "[1]", "null", '{"scan": "x"}', '{"outcome": {"status": "COMPLETE"}}', '{"trigger": "a", "cursor": 1}']


@pytest.mark.parametrize(
    "failing", [("acquire_lock",), ("acquire_lock", "emit_metrics"), ("list_users", "emit_metrics")], ids="+".join
)
@pytest.mark.parametrize("text", INPUTS)
def test_any_input_with_failing_steps(
    running: Engine, director: Director, metrics: Metrics, text: str, failing: tuple[str, ...]
) -> None:
    """Row 12: States.Runtime without a finally path; EmitMetrics and FailScan crashed; it passed for ScanSucceeded."""
    # Given steps that fail for good, and any input
    director.acts |= {(step, call): fail for step in failing for call in range(1, 4)}
    # When it is run
    execution = running.run(text=text)
    running.clean_up(execution)
    # Then it went the finally path and fails by the name of what failed
    assert (execution.status, execution.error) == ("FAILED", "ScanFailed")
    judged = [] if "emit_metrics" in failing else ["ChangesToPublish?"]
    route = ["EmitMetrics", *judged, "ReleaseLock", "ScanOutcome?", "FailScan"]
    assert execution.route[-len(route) :] == route
    refused = not isinstance(json.loads(text), dict)
    by_step = "acquire_lock" in failing or not refused
    assert ("InternalServerError: the service is out of order" if by_step else "InvalidInput: ") in str(execution.cause)
    assert ("EmitMetrics failed with" in str(execution.cause)) is ("emit_metrics" in failing)
    assert running.lock() is None
    assert manifest_of(running, execution)["status"] == "FAILED"
    assert metrics.success() == [0]
    # And a redrive, when they are mended, does what the input asks for
    redriven = running.redrive(execution.arn)
    if refused:
        assert (redriven.status, "InvalidInput: " in str(redriven.cause)) == ("FAILED", True)
        assert running.lock() is None
    else:
        assert_complete(running, redriven)
