"""The scenarios that every engine runs, and what each of them has to do with the state machine.

What the tasks answer is in ``statemachine/mock_config.json``, in the format of Step Functions Local: one test case a
scenario. Engines that run no functions read it; the one that runs the real handlers takes the errors from it, and holds
the handlers' results against the mocked ones.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.support.paths import STATE_MACHINE

MOCK_CONFIG = STATE_MACHINE / "mock_config.json"
MACHINE = "iam-user-monitor"

BEGIN = ("AcquireLock", "LockAcquired?")
READ = (*BEGIN, "ReadPosture")
METRICS = ("EmitMetrics", "ChangesToPublish?")
RELEASE = ("ReleaseLock", "ScanOutcome?")
SUCCESS = (*METRICS, "PublishChanges", *RELEASE, "ScanSucceeded")
FAILURE = (*METRICS, *RELEASE, "FailScan")


def page(*iterations: str) -> tuple[str, ...]:
    """Return the route through one page, given the states of its batches."""
    return ("ListUsers", "WriteRecords", *iterations, "SaveProgress", "MorePages?")


@dataclass(frozen=True)
class Scenario:
    """An account, what goes wrong, and how the execution has to go.

    Attributes
    ----------
    case
        The name of its test case in the mock configuration.
    users, page_size
        The account that the mocked answers describe; two users make a batch.
    execution_input
        What the execution is started with.
    route
        The states entered, those of the Map's iterations included, before and after a redrive.
    output
        What the execution's output has to contain: ``outcome`` without the duration, or ``acquired``.
    error, cause
        The execution's error, and what its cause has to contain.
    redriven
        Whether the execution is redriven once it has failed; status, output and error are those after that.
    throttled
        Whether DynamoDB throttles every write of a record, for good.
    lock_held
        Whether another execution has the lock.
    posture
        Whether posture is to be read.
    changes
        Whether changes are to be announced.
    """

    case: str
    route: tuple[str, ...]
    status: str = "SUCCEEDED"
    users: int = 3
    page_size: int = 100
    output: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    cause: str = ""
    redriven: bool = False
    lock_held: bool = False
    throttled: bool = False
    posture: bool = True
    changes: bool = True
    execution_input: Any = field(default_factory=lambda: {"trigger": "manual"})


def complete(users: int) -> dict[str, Any]:
    return {"status": "COMPLETE", "users_scanned": users, "records_written": users, "errors": 0}


ONE_PAGE = (*READ, *page("WriteBatch", "WriteBatch"), *SUCCESS)

SCENARIOS = [
    Scenario("OnePage", ONE_PAGE, output=complete(3)),
    Scenario("ManyPages", (*READ, *page("WriteBatch") * 3, *SUCCESS), users=5, page_size=2, output=complete(5)),
    Scenario("EmptyAccount", (*READ, *page(), *SUCCESS), users=0, output=complete(0)),
    # What the users could get in with is not known; that they are there is.
    Scenario(
        "PostureMissing",
        (*READ, "PostureMissing", *page("WriteBatch", "WriteBatch"), *SUCCESS),
        output=complete(3),
    ),
    Scenario("PostureOff", (*BEGIN, *page("WriteBatch", "WriteBatch"), *SUCCESS), output=complete(3), posture=False),
    Scenario("LockHeld", (*BEGIN, "ScanSkipped"), output={"acquired": False}, lock_held=True),
    Scenario("RetriesThenSuccess", ONE_PAGE, output=complete(3)),
    Scenario(
        "BatchFails",
        (*READ, *page("WriteBatch", "WriteBatch", "BatchFailed"), *FAILURE),
        "FAILED",
        error="ScanFailed",
        cause="1 user has no record",
    ),
    Scenario(
        "TableThrottled",
        (*READ, *page("WriteBatch", "WriteBatch")[:-1], *FAILURE),
        "FAILED",
        error="ScanFailed",
        cause="TableThrottled: DynamoDB throttled 3 of the 3 writes of page 1",
        throttled=True,
    ),
    Scenario(
        "AcquireLockFails",
        ("AcquireLock", "ScanNotBegun", *FAILURE),
        "FAILED",
        error="ScanFailed",
        cause="AccessDenied: no PutItem",
    ),
    Scenario(
        "InvalidInput",
        ("AcquireLock", "ScanNotBegun", *FAILURE),
        "FAILED",
        error="ScanFailed",
        cause="InvalidInput: the execution input must be a JSON object",
        execution_input="a text",
    ),
    Scenario(
        "ListUsersFails",
        (*READ, "ListUsers", *FAILURE),
        "FAILED",
        error="ScanFailed",
        cause="AccessDenied: no ListUsers",
    ),
    Scenario(
        "SaveProgressFails",
        (*READ, *page("WriteBatch", "WriteBatch")[:-1], *FAILURE),
        "FAILED",
        error="ScanFailed",
        cause="LockLost: another scan owns the lock",
    ),
    Scenario(
        "EmitMetricsFails",
        (*READ, *page("WriteBatch", "WriteBatch"), "EmitMetrics", *RELEASE, "FailScan"),
        "FAILED",
        error="ScanFailed",
        cause="EmitMetrics failed",
    ),
    Scenario("PublicationFails", ONE_PAGE, output=complete(3)),
    Scenario(
        "ChangesOff",
        (*READ, *page("WriteBatch", "WriteBatch"), *METRICS, *RELEASE, "ScanSucceeded"),
        output=complete(3),
        changes=False,
    ),
    Scenario(
        "ReleaseLockFails", (*ONE_PAGE[:-1], "FailScan"), "FAILED", error="ScanFailed", cause="ReleaseLock failed"
    ),
    Scenario("LockPassedOn", ONE_PAGE, output=complete(3)),
    Scenario(
        "FailScanFails", (*READ, "ListUsers", *FAILURE), "FAILED", error="Sandbox.Timedout", cause="Task timed out"
    ),
    Scenario(
        "Redriven",
        (*READ, "ListUsers", *FAILURE, *ONE_PAGE),
        output=complete(3),
        redriven=True,
    ),
    # Complete, but for its lock: what is left to do is to publish what is not published yet, and to release it.
    Scenario(
        "RedrivenThoughComplete",
        (*ONE_PAGE[:-1], "FailScan", *BEGIN, *SUCCESS[1:]),
        output=complete(3),
        redriven=True,
    ),
]


@cache
def mock_config() -> dict[str, Any]:
    """Return the mock configuration."""
    config: dict[str, Any] = json.loads(MOCK_CONFIG.read_text())
    return config


def responses(case: str, state: str) -> Iterator[dict[str, Any]]:
    """Yield what a state of a test case answers, call by call: ``{"Return": …}`` or ``{"Throw": …}``."""
    name = mock_config()["StateMachines"][MACHINE]["TestCases"][case].get(state)
    for numbers, response in mock_config()["MockedResponses"].get(name, {}).items():
        first, _, last = numbers.partition("-")
        for _ in range(int(first), int(last or first) + 1):
            yield response
