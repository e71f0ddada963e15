"""One account in virtual time: the real handlers as coroutines, and everything that may happen between their calls.

Every invocation stops before each of its AWS calls. What happens next is one of the options of that moment: the first
is what happens when nothing goes wrong, the others are faults, events and people. A chooser picks; so a run of the
world is a list of the moments at which something else than the first option was picked, and nothing else.
"""

import importlib
import json
import marshal
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from greenlet import GreenletExit, getcurrent, greenlet

from tests.simulator.machine import TABLE, EndlessError, Interpreter, Run, TaskError, rendered
from tests.support.account import COLUMNS
from tests.support.table import Exceptions, Paginator, Table

LEASE_SECONDS = 600
EPOCH = 1_790_000_000.0
CALL_SECONDS = 0.05
FUNCTION_SECONDS = 300
MAX_MOMENTS = 1500
WORTH_KNOWING = 10
"""In how many moments nothing may be picked that it is worth to look whether the state is known."""

# How often each kind of event may happen in one run. "overtake" (another call goes first) is not limited.
BUDGET = {
    "overtake": 99, "kill": 2, "lose": 3, "fail": 3, "deny": 2, "throttle": 2, "repeat": 1, "ghost": 1, "skew": 2,
    "lag": 1, "marker": 1, "stop": 3, "time-out": 1, "start": 2, "redrive": 2, "stale": 1, "event-lost": 1,
    "event-twice": 1, "lease": 2, "second": 1, "days": 1, "user": 2, "retention": 1,
    "people": 2, "index": 2, "bus": 3, "switch": 2,
}  # fmt: skip
ANNOUNCED_KINDS = {"people", "index", "bus", "switch"}
"""Those that happen only where changes are announced."""


class Known(Exception):  # noqa: N818 - no error
    """From here on all goes well, as was seen before."""


class Violation(Exception):  # noqa: N818 - what a run of the world is searched for
    """An invariant does not hold."""

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant


@dataclass
class End:
    """The end of one attempt, and what became of the event that tells of it."""

    attempt: int
    status: str
    detail: dict[str, Any]
    told: bool = False
    """CleanUp heard of it and came to its end before the execution was redriven."""
    needs_metrics: bool = True


@dataclass(eq=False)
class Execution:
    """An execution as Step Functions keeps it."""

    name: str
    arn: str
    started: float
    run: Run
    status: str = "RUNNING"
    redrives: int = 0
    stale_tasks: int = 0
    """How many more tasks get the redrive count from before the last redrive."""
    output: Any = None
    ends: list[End] = field(default_factory=list)
    descriptions: list[dict[str, Any]] = field(default_factory=list)
    threads: list[greenlet] = field(default_factory=list)
    redriven: float = 0.0
    listed: set[str] = field(default_factory=set)
    """The users of all pages that SaveProgress took into account."""
    complete_before: bool = False
    """The scan was COMPLETE when this attempt began."""

    @property
    def attempt(self) -> int:
        return self.redrives + 1

    @property
    def scan_timestamp(self) -> str:
        return datetime.fromtimestamp(self.started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Call = tuple[str, str, dict[str, Any]]
"""Service, operation and request."""
Outcome = tuple[Any, TaskError | None]


@dataclass(eq=False)
class Stop:
    """Where a handler stops: the call that it wants to make, or its outcome; and where it stops next, by the answer.

    Given the same, at the same time, a handler does the same: it need not run again for that.
    """

    call: Call | None
    outcome: Outcome | None
    following: dict[int, "Stop"] = field(default_factory=dict)


@dataclass
class Memory:
    """Where the handlers stop first, by what they are given; good for as long as the functions are the same."""

    first: dict[int, Stop] = field(default_factory=dict)
    most: int = 30_000
    """How many stops to keep in all: the frequent ones are among the first."""
    kept: int = 0

    def keep(self, stops: dict[int, Stop], key: int, stop: Stop) -> None:
        """Remember a stop, if there is room."""
        if self.kept < self.most:
            stops[key] = stop
            self.kept += 1

    def clear(self) -> None:
        """Forget all."""
        self.first.clear()
        self.kept = 0


MEMORY = Memory()


@dataclass(eq=False)
class Invocation:
    """One invocation of a function, or the state machine's own call; without a waiter, nobody hears its answer."""

    execution: Execution
    step: str
    attempt: int
    """The attempt it belongs to, as Step Functions knows it, whatever the invocation was told."""
    label: str
    payload: Any
    waiter: greenlet | None = None
    end: End | None = None
    tries: int = 1
    skew: float = 0.0
    began: float = 0.0
    answers: list[Any] = field(default_factory=list)
    """All the answers it got: with its payload, they make its state."""
    pending: Call | None = None
    outcome: Outcome | None = None
    stop: Stop | None = None
    worker: "Worker | None" = None
    """Its coroutine, which may be behind: it has heard so many entries of ``told`` only."""
    told: list[tuple[float, dict[str, str], Any]] = field(default_factory=list)
    """The time, the environment and the answer that every stretch of it began with."""
    heard: int = 0

    @property
    def next(self) -> str:
        """What it does when it is let go on."""
        if self.outcome is not None:
            return "answers"
        return self.pending[1] if self.pending is not None else "begins"


class Worker(greenlet):
    """The coroutine of an invocation."""

    invocation: Invocation


class Thread(greenlet):
    """The coroutine of an execution, or of one iteration of its Map."""

    execution: Execution


@dataclass(frozen=True)
class Option:
    """Something that may happen now."""

    kind: str
    label: str
    act: Callable[[], None]


class Chooser(Protocol):
    """Picks what happens."""

    quiet: float
    """For how many moments nothing will be picked, as far as it knows."""

    def __call__(self, world: "World", label: str, others: Callable[[], Iterator[Option]]) -> Option | None:
        """Return another option than what happens if nothing goes wrong, which has this label; or None."""


class Context:
    """What the handlers use of the Lambda context."""

    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return FUNCTION_SECONDS * 1000


CONTEXT = Context()


@dataclass(frozen=True)
class Setting:
    """What a world begins with."""

    users: int = 2
    page_size: int = 1
    batch_size: int = 1
    input: str = "{}"
    """The input of the first execution, JSON."""
    posture: bool = False
    """Whether the scans read posture, which makes every run longer, and may change nothing of what they promise."""
    changes: bool = False
    """Whether changes are announced, which makes every run much longer. A first scan was announced before."""


@dataclass(frozen=True)
class User:
    """A user of the account, as it is now."""

    user_id: str
    name: str
    created: float
    named: float
    """Since when it has its name."""
    path: str = "/"

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::123456789012:user{self.path}{self.name}"

    def listed(self) -> dict[str, Any]:
        """Return the user as IAM lists it."""
        moment = datetime.fromtimestamp(self.created, UTC)
        return {"UserName": self.name, "UserId": self.user_id, "Arn": self.arn, "CreateDate": moment}


class Iam:
    """The account's users. A marker is the last name of the page before; it stays valid, or is refused."""

    def __init__(self, users: list[str], now: float) -> None:
        self.users: dict[str, User] = {}
        self.first_listed: dict[str, float] = {}
        self.history: dict[str, list[User]] = {}
        """By user_id, what each user has been."""
        for name in users:
            self.create(name, now)

    def copy(self) -> "Iam":
        """Return another one that has the same users."""
        other = Iam([], 0)
        other.users = dict(self.users)
        other.history = {user_id: list(states) for user_id, states in self.history.items()}
        return other

    def create(self, name: str, now: float) -> None:
        """Create a user; its user_id is a new one."""
        self._put(User(f"AIDA{len(self.history)}", name, now, now))

    def delete(self) -> None:
        """Delete the first user."""
        del self.users[min(self.users)]

    def recreate(self, now: float) -> None:
        """Delete the first user, and create one of its name."""
        name = min(self.users)
        self.delete()
        self.create(name, now)

    def rename(self, name: str, now: float) -> None:
        """Give the last user another name."""
        self._put(replace(self.users.pop(max(self.users)), name=name, named=now))

    def move(self) -> None:
        """Give the first user another path, which it did not have before."""
        user = self.users[min(self.users)]
        self._put(replace(user, path=f"/{len(self.history[user.user_id])}/"))

    def _put(self, user: User) -> None:
        self.users[user.name] = user
        self.history.setdefault(user.user_id, []).append(user)

    def generate_credential_report(self) -> dict[str, Any]:
        return {"State": "STARTED"}

    def get_credential_report(self) -> dict[str, Any]:
        rows = [f"{user.name},{user.arn},{_iso(user.created)}{_NO_CREDENTIALS}" for user in self.users.values()]
        content = "\n".join([_REPORT_COLUMNS, *rows]).encode()
        return {"Content": content, "GeneratedTime": datetime.fromtimestamp(EPOCH, UTC), "ReportFormat": "text/csv"}

    def get_account_authorization_details(self, **_: Any) -> dict[str, Any]:
        return {"UserDetailList": [user.listed() for user in self.users.values()], "IsTruncated": False}

    def list_users(self, *, MaxItems: int, Marker: str | None = None) -> dict[str, Any]:  # noqa: N803
        rest = [name for name in sorted(self.users) if Marker is None or name > Marker]
        page = rest[:MaxItems]
        more = {"IsTruncated": True, "Marker": page[-1]} if len(rest) > MaxItems else {"IsTruncated": False}
        return {"Users": [self.users[name].listed() for name in page], **more}


_REPORT_COLUMNS = ",".join(COLUMNS)
_NO_CREDENTIALS = "".join(f",{'false' if name.endswith(('active', 'enabled')) else 'N/A'}" for name in COLUMNS[3:])


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class World:
    """See the module."""

    current: "World"

    def __init__(self, chooser: Chooser, setting: Setting, *, tell: bool = False) -> None:
        World.current = self
        self.chooser: Chooser | None = chooser
        self.clock = EPOCH
        self.table = Table()
        names = [f"user-{number}" for number in range(setting.users)]
        self.environment = {
            "TABLE_NAME": TABLE, "DYNAMODB_TABLE_NAME": TABLE, "LEASE_SECONDS": str(LEASE_SECONDS),
            "RETENTION_DAYS": "90",
            "SCAN_TIMEOUT_SECONDS": "600", "PAGE_SIZE": str(setting.page_size), "BATCH_SIZE": str(setting.batch_size),
            "CREDENTIAL_REPORT_ENABLED": str(setting.posture).lower(), "RECORDED_TAGS": "[]",
            "AUTHORIZATION_DETAILS_ENABLED": str(setting.posture).lower(),
            "CHANGE_EVENTS_ENABLED": str(setting.changes).lower(), "EVENT_BUS_NAME": "default",
            "ANNOUNCE_ACTIVITY": "false", "MASS_DELETION_GUARD_PERCENT": "20",
        }  # fmt: skip
        self.setting = setting
        self._former = 0
        """How many executions there were before this world began."""
        self.iam = Iam(names, self.clock - 1000)
        self.interpreter = Interpreter(rendered(REPLACED), self._invoke, self._gather)
        self.executions: list[Execution] = []
        self.invocations: list[Invocation] = []
        self.events: list[tuple[Execution, End]] = []
        self.ready: list[tuple[greenlet, Any]] = []
        self.metrics: list[tuple[str, dict[str, Any]]] = []
        self.heard: list[dict[str, Any]] = []
        """The details of the events that the bus took, in their order, each of them as often as it came."""
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        """Called with each of them."""
        self.complete: dict[str, int] = {}
        """The ttl of every scan that became COMPLETE."""
        self.notes: dict[Any, Any] = {}
        """The invariants' memory."""
        self.writer: Invocation | None = None
        self.happened: Counter[str] = Counter()
        self.moments = 0
        self.known: dict[int, int] | None = None
        """States from which nothing goes wrong and the moments from there to rest, where they are noted and used."""
        self.passed: dict[int, int] = {}
        """States since the last deviation, and at which moment."""
        self.rested = 0
        """The moment at which nothing was left to happen."""
        self._checked = False
        self.events_lost = False
        self.story: list[str] | None = [] if tell else None
        self._last: Invocation | None = None
        self._labels: Counter[str] = Counter()
        self._hub = getcurrent()
        self._tokens = 0
        for observe in OBSERVERS:
            observe(self)

    # What the handlers see -------------------------------------------------------------------------------------------

    def call(self, service: str, operation: str, request: dict[str, Any]) -> Any:
        """Stop before a call; return its answer when it was let through."""
        worker = getcurrent()
        assert isinstance(worker, Worker)
        worker.invocation.pending = service, operation, request
        return self._hub.switch()

    def now(self) -> float:
        """Return the time as the running invocation sees it."""
        worker = getcurrent()
        return self.clock + (worker.invocation.skew if isinstance(worker, Worker) else 0.0)

    def adopt(self, other: "World") -> None:
        """Begin a minute after another world, with what its runs have left."""
        self.clock = other.clock + 60
        self.table.items = dict(other.table.items)
        self.iam = other.iam.copy()
        self._former = len(other.executions)
        for detail in other.heard:
            self._hear(detail)

    # What happens ----------------------------------------------------------------------------------------------------

    def start(self, execution_input: list[Any] | None = None, *, same_second: bool = False) -> Execution:
        """Start an execution, in a second of its own unless told otherwise; the input comes in a list, or is {}."""
        if self.executions:
            self.clock = max(self.clock, self.clock // 1 + 1.2 if not same_second else self.clock)
            started = self.executions[-1].started + 0.1 if same_second else self.clock
        else:
            started = self.clock
        name, given = (
            f"X{len(self.executions) + self._former + 1}",
            {} if execution_input is None else execution_input[0],
        )
        arn = f"arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:{name}"
        iso = datetime.fromtimestamp(started, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        about = {"Id": arn, "Name": name, "StartTime": iso, "RedriveCount": 0, "Input": given}
        execution = Execution(name, arn, started, Run({"Execution": about}, self.interpreter.machine["StartAt"], given))
        self.executions.append(execution)
        self._describe(execution)
        self._spawn(execution, partial(self._work, execution))
        return execution

    def stop(self, execution: Execution, status: str) -> None:
        """End an execution from outside; its invocations work on, and nobody hears them."""
        for invocation in self.invocations:
            if invocation.execution is execution:
                invocation.waiter = None
        threads, execution.threads = execution.threads, []
        self.ready = [entry for entry in self.ready if entry[0] not in threads]
        for thread in threads:
            if not thread.dead:
                thread.throw(GreenletExit)
        self._ended(execution, status)

    def redrive(self, execution: Execution, stale_tasks: int = 0) -> None:
        """Redrive an execution at the state it ended in, with that state's input."""
        # Nobody stops and redrives a run within the second by which the fence lets clocks differ.
        self.clock += 2
        execution.complete_before = self.status_of(execution) == "COMPLETE"
        execution.status = "RUNNING"
        execution.redrives += 1
        execution.redriven = self.clock
        execution.stale_tasks = stale_tasks
        about = execution.run.context["Execution"]
        about["RedriveTime"] = "2026-01-01T00:00:00.000Z"
        if not stale_tasks:
            about["RedriveCount"] = execution.redrives
        execution.run.transitions = 1
        self._describe(execution, redriveDate=datetime.fromtimestamp(self.clock, UTC))
        self._spawn(execution, partial(self._work, execution))

    def go(self, invocation: Invocation) -> None:
        """Let an invocation go on to its next call, its end, or the delivery of its answer."""
        self._last = invocation
        if invocation.outcome is not None:
            self._deliver(invocation)
        elif invocation.pending is None:
            self._begin(invocation)
        else:
            self._resume(invocation, self._execute(invocation, invocation.pending))

    def _execute(self, invocation: Invocation, call: tuple[str, str, dict[str, Any]], note: str = "") -> Any:
        """Execute a call now and return its answer or its error."""
        service, operation, request = call
        self.clock += CALL_SECONDS
        self.writer = invocation
        answer: Any
        try:
            if service == "dynamodb":
                answer = getattr(self.table, operation)(**request)
            elif service == "iam":
                if operation == "list_users":
                    self.iam.first_listed.setdefault(invocation.execution.arn, self.clock)
                answer = getattr(self.iam, operation)(**request)
            elif service == "stepfunctions":
                answer = self._described(request["executionArn"])[-1]
            elif service == "events":
                answer = self._put_events(request)
            else:
                answer = None
                self._say_metrics(request)
        except ClientError as error:
            answer = error
        if self.story is not None:
            self._tell(f"{invocation.label}: {operation}{note}", answer)
        return answer

    def _resume(self, invocation: Invocation, answer: Any) -> None:
        assert invocation.stop is not None
        invocation.answers.append(answer)
        self._proceed(invocation, answer, invocation.stop.following)

    def _begin(self, invocation: Invocation) -> None:
        if invocation.execution.status == "RUNNING" and invocation.end is None:
            # One that began late, after a redrive, is as good as one of the attempt that runs.
            invocation.attempt = invocation.execution.attempt
        invocation.began = self.clock
        self._proceed(invocation, (invocation.step, invocation.payload), MEMORY.first)

    def _proceed(self, invocation: Invocation, given: Any, stops: dict[int, Stop]) -> None:
        """Go to the handler's next stop, as it is remembered, or by running it."""
        invocation.told.append((self.clock, self.environment, given))
        text = repr((given.response, given) if isinstance(given, ClientError) else given)
        key = hash((text, self.clock + invocation.skew, *self.environment.values()))
        stop = stops.get(key)
        if stop is None:
            stop = self._run_on(invocation)
            MEMORY.keep(stops, key, stop)
        invocation.stop, invocation.pending = stop, stop.call
        if stop.outcome is not None:
            self._returned(invocation, stop.outcome)
        elif stop.call is not None and stop.call[1] == "transact_write_items":
            # As botocore does: what it sends twice has the same token, and nothing else has.
            self._tokens += 1
            service, operation, request = stop.call
            invocation.pending = service, operation, {"ClientRequestToken": str(self._tokens), **request}

    def _run_on(self, invocation: Invocation) -> Stop:
        """Run the handler to its next stop; whatever it did not run for, it does first, at its time."""
        worker = invocation.worker
        if worker is None:
            worker = invocation.worker = Worker(_handle, parent=self._hub)
            worker.invocation = invocation
        result: Any = None
        now = self.clock, self.environment
        for clock, environment, given in invocation.told[invocation.heard :]:
            self.clock, self.environment = clock, environment
            if isinstance(given, Exception):
                result = worker.throw(given)
            else:
                result = worker.switch(given if worker else invocation)
        self.clock, self.environment = now
        invocation.heard = len(invocation.told)
        return Stop(None, result) if worker.dead else Stop(invocation.pending, None)

    def _returned(self, invocation: Invocation, result: Outcome) -> None:
        invocation.outcome = result
        if self.story is not None:
            self._tell(f"{invocation.label} ends: {result[1] or 'returns'}")
        if invocation.waiter is None and invocation.end is None:
            self.invocations.remove(invocation)
        if invocation.end is not None:
            self._deliver(invocation)

    def _deliver(self, invocation: Invocation) -> None:
        """Hand the answer to who waits for it."""
        self.invocations.remove(invocation)
        assert invocation.outcome is not None
        end = invocation.end
        if end is not None:
            if invocation.outcome[1] is None:
                end.told = end.told or invocation.execution.attempt == end.attempt
            elif invocation.tries < 3:
                self._clean_up(invocation.execution, end, invocation.tries + 1)
            else:
                self.events_lost = True
        elif invocation.waiter is not None:
            if invocation.step == "SaveProgress" and invocation.outcome[1] is None:
                batches = invocation.execution.run.data["page"]["batches"]
                invocation.execution.listed |= {user["user_name"] for batch in batches for user in batch["users"]}
            self._switch(invocation.waiter, invocation.outcome)

    def cut_off(self, invocation: Invocation) -> None:
        """End an invocation before its next call; whoever waits for it hears of an error."""
        if invocation.worker is not None:
            invocation.worker.throw(GreenletExit)
        invocation.pending, invocation.outcome = None, (None, TaskError("Runtime.ExitError", "killed"))
        self._deliver(invocation)

    def lose(self, invocation: Invocation, *, for_good: bool) -> None:
        """Let Step Functions give an invocation up; it works on."""
        waiter, invocation.waiter = invocation.waiter, None
        if invocation.outcome is not None:
            self.invocations.remove(invocation)
        assert waiter is not None
        error = TaskError("Lambda.SdkClientException", "the connection broke", for_good=for_good)
        self._switch(waiter, (None, error))

    def ghost(self, invocation: Invocation) -> None:
        """Execute a call, and leave a copy of it on its way: the SDK had sent it twice."""
        assert invocation.pending is not None
        call = invocation.pending
        copy = Invocation(
            invocation.execution, invocation.step, invocation.attempt, f"the copy of {invocation.label}", 0
        )
        copy.worker = Worker(partial(_alone, call), parent=self._hub)
        copy.worker.invocation = copy
        copy.worker.switch(None)
        copy.stop = Stop(copy.pending, None)
        self.invocations.append(copy)
        self.go(invocation)

    # Step Functions --------------------------------------------------------------------------------------------------

    def _work(self, execution: Execution) -> None:
        try:
            execution.output = self.interpreter.run(execution.run)
            status = "SUCCEEDED"
        except TaskError as error:
            execution.output = {"error": error.name, "cause": error.cause}
            status = "FAILED"
        except EndlessError as error:
            raise Violation("no run goes round in circles", f"{execution.name}: {error}") from error
        self._ended(execution, status)

    def _ended(self, execution: Execution, status: str) -> None:
        execution.status = status
        self.clock += 0.01
        detail = {
            "executionArn": execution.arn, "name": execution.name, "status": status, "redriveCount": execution.redrives,
            "startDate": int(execution.started * 1000), "stopDate": int(self.clock * 1000),
        }  # fmt: skip
        if execution.redrives:
            detail["redriveDate"] = int(execution.redriven * 1000)
        # Or a late call of the attempt before completed the scan when this one had begun, and AcquireLock found it so.
        found_complete = isinstance(execution.run.data, dict) and execution.run.data.get("complete") is True
        nothing_to_do = execution.complete_before or found_complete
        end = End(execution.attempt, status, detail, needs_metrics=not nothing_to_do)
        if status == "SUCCEEDED":
            end.told, end.needs_metrics = True, end.needs_metrics and execution.run.route[-1] != "ScanSkipped"
        else:
            self.events.append((execution, end))
        execution.ends.append(end)
        self._describe(execution, stopDate=datetime.fromtimestamp(self.clock, UTC))
        if self.story is not None:
            self._tell(f"{execution.name} (attempt {execution.attempt}) is {status}")

    def _describe(self, execution: Execution, **dates: datetime) -> None:
        redriven = {k: v for d in execution.descriptions[-1:] for k, v in d.items() if k == "redriveDate"}
        described = {
            "executionArn": execution.arn, "name": execution.name, "status": execution.status,
            "startDate": datetime.fromtimestamp(execution.started, UTC), "redriveCount": execution.redrives,
            "input": json.dumps(execution.run.context["Execution"]["Input"]),
        }  # fmt: skip
        execution.descriptions.append({**described, **redriven, **dates})

    def _described(self, arn: str) -> list[dict[str, Any]]:
        return next(execution.descriptions for execution in self.executions if execution.arn == arn)

    def _spawn(self, execution: Execution, work: Callable[[], None]) -> None:
        thread = Thread(lambda _: work(), parent=self._hub)
        execution.threads.append(thread)
        thread.execution = execution
        self.ready.append((thread, None))

    def _switch(self, thread: greenlet, value: Any) -> None:
        self.ready.append((thread, value))

    def _invoke(self, run: Run, state: str, kind: str, payload: Any) -> Any:
        thread = getcurrent()
        assert isinstance(thread, Thread)
        execution = thread.execution
        invocation = Invocation(
            execution, state, execution.attempt, self._label(f"{execution.name}.{execution.attempt} {state}"), payload
        )
        invocation.waiter = thread
        self.invocations.append(invocation)
        if execution.stale_tasks:
            execution.stale_tasks -= 1
            if not execution.stale_tasks:
                run.context["Execution"]["RedriveCount"] = execution.redrives
        result, error = self._hub.switch()
        if error is not None:
            raise TaskError(error.name, error.cause, for_good=error.for_good)
        return result

    def _gather(self, iterations: list[Callable[[], Any]]) -> list[Any]:
        """Run the iterations of a Map side by side; the first that fails ends them all."""
        if len(iterations) == 1:
            return [iterations[0]()]
        thread = getcurrent()
        assert isinstance(thread, Thread)
        execution = thread.execution
        left = len(iterations)

        def work(iteration: Callable[[], Any]) -> None:
            nonlocal left
            error = None
            try:
                iteration()
            except TaskError as failure:
                error = failure
            left -= 1
            if left == 0 or (error is not None and left > 0):
                left = left if error is None else -1
                self._switch(thread, error)

        for iteration in iterations:
            self._spawn(execution, partial(work, iteration))
        if left:
            error = self._hub.switch()
            if error is not None:
                raise error
        return []

    def _clean_up(self, execution: Execution, end: End, tries: int = 1) -> None:
        label = self._label(f"{execution.name} CleanUp({end.attempt} {end.status})")
        invocation = Invocation(execution, "CleanUp", end.attempt, label, {"detail": dict(end.detail)})
        invocation.end, invocation.tries = end, tries
        self.invocations.append(invocation)

    def _label(self, text: str) -> str:
        self._labels[text] += 1
        return text if self._labels[text] == 1 else f"{text} #{self._labels[text]}"

    def _say_metrics(self, request: dict[str, Any]) -> None:
        self.metrics.append((request["execution_arn"], request["outcome"]))
        for check in ON_METRICS:
            check(self, request["execution_arn"], request["outcome"])

    def _put_events(self, request: dict[str, Any], *codes: str | None) -> dict[str, Any]:
        """Take events, but those for which there is an ErrorCode."""
        results: list[dict[str, Any]] = []
        for number, entry in enumerate(request["Entries"]):
            code = codes[number] if number < len(codes) else None
            # What it will never take counts as told: the log and the alarm tell of it.
            if code in {None, "MalformedDetail"}:
                self._hear(json.loads(entry["Detail"]))
            results.append({"EventId": "e"} if code is None else {"ErrorCode": code, "ErrorMessage": "no"})
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}

    def _hear(self, detail: dict[str, Any]) -> None:
        self.heard.append(detail)
        for listener in self.listeners:
            listener(detail)

    # The scheduler ---------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let everything happen that is to happen, as the chooser has it, until nothing is left to do."""
        while True:
            while self.ready:
                thread, value = self.ready.pop(0)
                thread.switch(value)
            self.moments += 1
            if self.moments > MAX_MOMENTS:
                raise Violation("no run goes round in circles", f"more than {MAX_MOMENTS} moments")
            label, act, subject = self._normal()
            if self.chooser is not None:
                other = self.chooser(self, label, partial(self._others, subject))
                if other is not None:
                    self.happened[other.kind] += 1
                    if self.story is not None:
                        self._tell(f"*** {other.label}")
                    self._checked = False
                    self.passed.clear()
                    other.act()
                    continue
            if self.known is not None and (act is None or label.endswith(" begins")) and self._is_known(self.known):
                raise Known
            if act is None:
                return
            act()

    def _is_known(self, known: dict[int, int]) -> bool:
        """Tell whether all goes well from here, where nothing else deviates. Asked rarely: it costs."""
        quiet = math.inf if self.chooser is None else self.chooser.quiet
        if self._checked or quiet < WORTH_KNOWING:
            return False
        self._checked = True
        state = self.state()
        left = known.get(state)
        if left is not None and left <= quiet:
            self.rested = self.rested or self.moments + left
            return True
        self.passed[state] = self.moments
        return False

    def state(self) -> int:
        """Return a hash of everything that what follows depends on. Of instants only their order counts."""
        lock = self.lock()
        seconds = [x.scan_timestamp for x in self.executions]
        fields = (
            [v if k[0].startswith("__") else (*k, v["ttl"]) for k, v in sorted(self.table.items.items())],
            [
                (x.status, x.redrives, x.stale_tasks, x.run.state, x.run.data, x.run.iterations, x.complete_before,
                 [(end.attempt, end.status, end.told, end.needs_metrics) for end in x.ends],
                 (self.clock - x.started) // LEASE_SECONDS, seconds.index(x.scan_timestamp)) for x in self.executions
            ],
            [
                (one.step, one.attempt, one.waiter is None, one.payload, one.answers, one.skew, one.outcome, one.tries,
                 one.end, one is self._last, one.next, one.began > one.execution.redriven)
                for one in self.invocations
            ],
            [(x.name, end.attempt) for x, end in self.events],
            lock is not None and lock["expires_at"] < self.clock,
            (self.environment, sorted(self.iam.users), sorted(self.iam.first_listed), self.notes),
            (self.table.index_lags, self.heard, list(self.iam.users.values()) if self.setting.changes else ()),
            sorted({(arn, outcome.get("attempt"), outcome["status"]) for arn, outcome in self.metrics}, key=str),
            (self.events_lost, sorted(self.complete), self.chooser is None),
        )  # fmt: skip
        return hash(stable(fields))

    def _normal(self) -> tuple[str, Callable[[], None] | None, Invocation | None]:
        """Return what happens if nothing goes wrong: who went on last goes on; then events; what is late comes last."""
        subject = self._last
        if subject is None or subject not in self.invocations or (subject.waiter is None and subject.end is None):
            subject = next(
                (one for one in self.invocations if one.waiter is not None),
                next((one for one in self.invocations if one.end is not None), None),
            )
        if subject is None and self.events:
            execution, end = self.events[0]
            return f"the event of {execution.name}.{end.attempt}", partial(self._event, 0), None
        subject = subject or next(iter(self.invocations), None)
        if subject is None:
            return "rest", None, None
        return f"{subject.label} {subject.next}", partial(self.go, subject), subject

    def _event(self, number: int, *, again: bool = False, lost: bool = False) -> None:
        execution, end = self.events[number] if again else self.events.pop(number)
        if lost:
            self.events_lost = True
        else:
            self._clean_up(execution, end)

    def _others(self, subject: Invocation | None) -> Iterator[Option]:
        left = {kind for kind, most in BUDGET.items() if self.happened[kind] < most}
        yield from (option for option in self._all_others(subject) if option.kind in left)

    def _all_others(self, subject: Invocation | None) -> Iterator[Option]:
        if subject is not None:
            yield from self._faults(subject)
        for one in self.invocations:
            if one is not subject:
                yield Option("overtake", f"{one.label} {one.next}", partial(self.go, one))
                if one.waiter is None:
                    yield Option("kill", f"{one.label} is cut off", partial(self.cut_off, one))
        for n, (execution, end) in enumerate(self.events):
            name = f"the event of {execution.name}.{end.attempt}"
            if subject is not None or n > 0:
                yield Option("overtake", name, partial(self._event, n))
            yield Option("event-twice", f"{name} (one of two)", partial(self._event, n, again=True))
            yield Option("event-lost", f"{name} is lost", partial(self._event, n, lost=True))
        for x in self.executions:
            if x.status == "RUNNING":
                yield Option("stop", f"{x.name} is stopped", partial(self.stop, x, "ABORTED"))
                yield Option("time-out", f"{x.name} times out", partial(self.stop, x, "TIMED_OUT"))
            elif x.status != "SUCCEEDED":
                yield Option("redrive", f"{x.name} is redriven", partial(self.redrive, x))
                yield Option("stale", f"{x.name} is redriven, its context is stale", partial(self.redrive, x, 2))
        yield Option("start", "another execution starts", lambda: void(self.start()))
        if len(self.executions) == 1:
            yield Option("start", "another starts in the same second", lambda: void(self.start(same_second=True)))
        yield Option("lease", "the lease ends", partial(self.sleep, LEASE_SECONDS + 1))
        yield Option("second", "a second passes", partial(self.sleep, 1.5))
        yield Option("days", "two days pass", partial(self.sleep, 2 * 86_400))
        if "a-new-user" not in self.iam.users:
            yield Option("user", "a user is created", lambda: self.iam.create("a-new-user", self.clock))
        if len(self.iam.users) > 1:
            yield Option("user", "the first user is deleted", self.iam.delete)
        yield Option("retention", "retention_days is lowered", partial(self._set, RETENTION_DAYS="40"))
        if self.setting.changes:
            yield from self._concerning_changes()

    def _concerning_changes(self) -> Iterator[Option]:
        if self.iam.users:
            yield Option("people", "the first user is moved", self.iam.move)
            yield Option("people", "the first user is created anew", lambda: self.iam.recreate(self.clock))
            for name in sorted({"a-renamed", "z-renamed"} - self.iam.users.keys()):
                yield Option("people", f"the last user is renamed to {name}", partial(self._rename, name))
        if self.table.index_lags:
            yield Option("index", "the index catches up", self.end_lag)
        else:
            yield Option("index", "the index stands still", self._lag)
        enabled = self.environment["CHANGE_EVENTS_ENABLED"]
        other = {"true": "false", "false": "true"}[enabled]
        yield Option("switch", f"change_events_enabled is {other}", partial(self._set, CHANGE_EVENTS_ENABLED=other))

    def _rename(self, name: str) -> None:
        self.iam.rename(name, self.clock)

    def _lag(self) -> None:
        """Let the index stand still: what is written from now on, it does not show."""
        self.table.catch_up()
        self.table.index_lags = True

    def end_lag(self) -> None:
        """Let the index show what the table holds."""
        self.table.index_lags = False

    def _faults(self, one: Invocation) -> Iterator[Option]:
        if one.waiter is not None:
            yield Option(
                "lose", f"{one.label} is given up before it {one.next}", partial(self.lose, one, for_good=False)
            )
            yield Option("fail", f"{one.label} is given up for good", partial(self.lose, one, for_good=True))
        if one.pending is None:
            if one.outcome is None:
                for skew in (-0.4, 0.4):
                    yield Option(
                        "skew", f"{one.label} begins, its clock {skew:+} s off", partial(self._skewed, one, skew)
                    )
            return
        service, operation, request = one.pending
        yield Option("kill", f"{one.label} is cut off before {operation}", partial(self.cut_off, one))
        if service == "stdout":
            return
        yield Option("deny", f"{one.label} is refused {operation}", partial(self._resume, one, _denied(operation)))
        if operation == "batch_write_item":
            yield Option("throttle", f"{one.label} is throttled to the end", partial(self._throttled, one))
        if operation == "put_events":
            first, last = ("InternalFailure",), (*[None] * (len(request["Entries"]) - 1), "NotAuthorizedForSource")
            yield Option("throttle", f"{one.label} is throttled to the end", partial(self._throttled, one))
            yield Option("bus", f"{one.label}: the bus is busy", partial(self._resume, one, _throttling("PutEvents")))
            for what, codes in (
                ("takes all but the first event", first),
                ("refuses the last event", last),
                ("will never take the first event", ("MalformedDetail",)),
            ):
                yield Option("bus", f"{one.label}: the bus {what}", partial(self._partly, one, codes))
        writes = service == "dynamodb" and operation not in {"get_item", "query", "batch_get_item"}
        if writes or service == "events":
            yield Option("repeat", f"{one.label} sends {operation} twice", partial(self._twice, one))
            yield Option("ghost", f"{one.label} leaves a copy of {operation} behind", partial(self.ghost, one))
        if "Marker" in request:
            yield Option(
                "marker", f"{one.label}: IAM refuses the marker", partial(self._resume, one, _refused_marker())
            )
        if operation == "describe_execution":
            stale = self._described(request["executionArn"])[-2:][0]
            yield Option(
                "lag", f"{one.label} is told what was before ({stale['status']})", partial(self._resume, one, stale)
            )

    def _partly(self, one: Invocation, codes: tuple[str | None, ...]) -> None:
        assert one.pending is not None
        answer = self._put_events(one.pending[2], *codes)
        self.clock += CALL_SECONDS
        self._resume(one, answer)

    def _skewed(self, one: Invocation, skew: float) -> None:
        one.skew = skew
        self.go(one)

    def _throttled(self, one: Invocation) -> None:
        self.clock += FUNCTION_SECONDS
        assert one.pending is not None
        self._resume(one, _throttling({"put_events": "PutEvents"}.get(one.pending[1], "BatchWriteItem")))

    def _twice(self, one: Invocation) -> None:
        assert one.pending is not None
        self._execute(one, one.pending)
        self._resume(one, self._execute(one, one.pending, " again"))

    def end_faults(self) -> None:
        """Let nothing go wrong any more, and pages be large: what follows is short."""
        self.chooser, self._checked = None, False
        self._set(PAGE_SIZE="100", BATCH_SIZE="100", CHANGE_EVENTS_ENABLED=str(self.setting.changes).lower())
        self.end_lag()

    def _set(self, **variables: str) -> None:
        """Change the environment of the functions."""
        self.environment = {**self.environment, **variables}

    def sleep(self, seconds: float) -> None:
        """Let time pass. An index is behind for minutes at most."""
        self.clock += seconds
        if seconds >= LEASE_SECONDS:
            self.end_lag()

    # For stories and invariants --------------------------------------------------------------------------------------

    def manifest(self, execution: Execution) -> dict[str, Any] | None:
        """Return the manifest of the execution's scan, another execution's included, in plain values."""
        item = self.table.items.get(("__scan__", f"scan#{execution.scan_timestamp}"))
        return None if item is None else plain(item)

    def status_of(self, execution: Execution) -> str:
        """Return the status of the execution's own manifest, or an empty text."""
        item = self.table.items.get(("__scan__", f"scan#{execution.scan_timestamp}"))
        return item["status"]["S"] if item is not None and item["execution_arn"]["S"] == execution.arn else ""

    def lock(self) -> dict[str, Any] | None:
        """Return the lock in plain values."""
        item = self.table.items.get(("__execution_lock__", "lock"))
        return None if item is None else plain(item)

    def execution(self, arn: str) -> Execution:
        """Return an execution by its ARN."""
        return next(execution for execution in self.executions if execution.arn == arn)

    def _tell(self, text: str, answer: Any = None) -> None:
        assert self.story is not None
        manifests = [
            f"{x.name} {m['status']}({m.get('attempt')}) {m.get('users_scanned')}/{m.get('records_written')}"
            for x in self.executions
            if (m := self.manifest(x)) is not None and m.get("execution_arn") == x.arn
        ]
        lock = self.lock()
        held = f"lock {lock['owner'].rpartition(':')[2]}" if lock else "no lock"
        if isinstance(answer, ClientError):
            text += f" -> {answer.response['Error']['Code']}"
        self.story.append(f"{self.clock - EPOCH:9.2f}  {text:<66} | {'; '.join(manifests) or 'no manifest'}; {held}")


REPLACED: tuple[tuple[str, str], ...] = ()
"""Texts to replace in the definition, for mutants."""
OBSERVERS: list[Callable[[World], None]] = []
"""Called with every new world; the invariants that watch the table register here."""
ON_METRICS: list[Callable[[World, str, dict[str, Any]], None]] = []


# What differs from run to run and leads to nothing else: instants, durations, and the texts of errors.
_INCIDENTAL = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+Z|datetime\([^)]*\)|\b\d{10,13}(\.\d+)?\b|'duration_ms': ({'N': '\d+'}|\d+)"
    r"|'(Error|Cause|error_type|error_message)': ({'S': '[^']*'}|'[^']*')"
)


def stable(value: Any) -> str:
    """Return a text that two values have in common if they differ in what is incidental only."""
    return _INCIDENTAL.sub("T", repr(value))


def void(_: Any) -> None:
    """Forget a result."""


def _denied(operation: str) -> ClientError:
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": "refused by the simulator"}}, operation)


def _throttling(operation: str) -> ClientError:
    code = "ThrottlingException" if operation == "PutEvents" else "ProvisionedThroughputExceededException"
    return ClientError({"Error": {"Code": code, "Message": "throttled by the simulator"}}, operation)


def _refused_marker() -> ClientError:
    return ClientError({"Error": {"Code": "ValidationError", "Message": "invalid marker"}}, "ListUsers")


_HANDLERS: dict[str, Callable[[Any, Any], Any]] = {}


def handler_of(state: str) -> Callable[[Any, Any], Any]:
    """Return the real handler of a state."""
    if state not in _HANDLERS:
        folder = "".join(f"_{c.lower()}" if c.isupper() else c for c in state).lstrip("_")
        _HANDLERS[state] = importlib.import_module(f"functions.{folder}.handler").handler
    return _HANDLERS[state]


def _handle(invocation: Invocation) -> tuple[Any, TaskError | None]:
    """Run the handler as Lambda does, or the state machine's own call: JSON in, JSON out, errors by name."""
    try:
        if invocation.step == "ReleaseLock":
            return World.current.call("dynamodb", "delete_item", invocation.payload), None
        return copied(handler_of(invocation.step)(copied(invocation.payload), CONTEXT)), None
    except ClientError as error:
        prefix = "DynamoDB." if invocation.step == "ReleaseLock" else ""
        code = error.response["Error"]["Code"]
        if code == "ValidationException":
            raise Violation("handlers raise named errors only", f"{invocation.label}: {error}") from error
        return None, TaskError(prefix + (code if prefix else type(error).__name__), str(error))
    except Exception as error:
        if not isinstance(error, BotoCoreError) and not type(error).__module__.startswith("functions."):
            raise Violation("handlers raise named errors only", f"{invocation.label}: {error!r}") from error
        return None, TaskError(type(error).__name__, json.dumps({"errorMessage": str(error)}))


def _alone(call: tuple[str, str, dict[str, Any]], _: Any) -> tuple[Any, TaskError | None]:
    with suppress(ClientError):
        World.current.call(*call)
    return None, None


def copied(value: Any) -> Any:
    """Return a copy as JSON would make it, and several times faster where that can be."""
    try:
        return marshal.loads(marshal.dumps(value))
    except ValueError:
        return json.loads(json.dumps(value))


class Client:
    """A client as the functions get it: every call stops before it is executed."""

    exceptions = Exceptions

    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        if operation.startswith("_"):
            raise AttributeError(operation)
        service = self._service

        def call(**request: Any) -> Any:
            return World.current.call(service, operation, request)

        setattr(self, operation, call)
        return call

    def get_paginator(self, operation: str) -> Paginator:
        return Paginator(getattr(self, operation))


def plain(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item in plain values."""
    return {name: _plain(value) for name, value in item.items()}


def _plain(value: dict[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    if kind == "N":
        return int(inner) if inner.lstrip("-").isdigit() else float(inner)
    if kind == "NULL":
        return None
    if kind == "BOOL":
        return inner
    if kind == "M":
        return plain(inner)
    if kind == "L":
        return [_plain(element) for element in inner]
    if kind == "NS":
        return {int(element) for element in inner}
    return inner
