"""Every task's Retry and Catch, error by error, asked of the TestState API.

The local AWS answers; with ``RUN_ON_AWS=1`` (``make test-aws``) it is AWS itself. Nothing is executed: what the task
answers is given, so the role and the functions need not exist.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.local_aws.aws import emulator
from tests.support import definition
from tests.support.scenarios import MACHINE, mock_config

VALUES: dict[str, str | int] = {
    **{
        f"{step}_function_arn": f"arn:aws:lambda:us-east-1:123456789012:function:{step}"
        for step in (*definition.STEPS, *definition.ORGANIZATION_STEPS)
    },
    "partition": "aws",
    "table_name": "iam-user-records",
    "map_concurrency": 5,
    "task_timeout_seconds": 60,
    "scan_timeout_seconds": 600,
    "posture_timeout_seconds": 60,
    "publish_timeout_seconds": 60,
    "scan_state_machine_arn": f"arn:aws:states:us-east-1:123456789012:stateMachine:{MACHINE}",
    "scan_execution_arn_prefix": f"arn:aws:states:us-east-1:123456789012:execution:{MACHINE}",
    "account_concurrency": 10,
    "organization_timeout_seconds": 600,
}
RENDERED = definition.render(VALUES)
ORGANIZATION = definition.render(VALUES, definition.ORGANIZATION)
TASKS = {name: state for name, state in definition.states(RENDERED) if state["Type"] == "Task"}
# That machine's ReleaseLock is held to be the same elsewhere.
OF_ORGANIZATION = {
    name: state for name, state in definition.states(ORGANIZATION) if state["Type"] == "Task" and name not in TASKS
}
EVERY = {**TASKS, **OF_ORGANIZATION}

SCAN = {
    "scan_timestamp": "2026-01-31T10:00:00Z",
    "execution_arn": f"arn:aws:states:us-east-1:123456789012:execution:{MACHINE}:example",
    "started_at": "2026-01-31T10:00:00.000Z",
    "attempt": 1,
    "ttl": 1777629600,
}
LISTED = {"listed_from": "2026-01-31T10:00:01.000Z", "listed_until": "2026-01-31T10:00:01.200Z"}
CURSOR = {
    "marker": None,
    "page": 0,
    "sequence": 0,
    "users_scanned": 0,
    "records_written": 0,
    "errors": 0,
    "restarts": 0,
    "listed_from": None,
    "listed_until": None,
}
OUTCOME = {
    "status": "COMPLETE",
    "users_scanned": 0,
    "records_written": 0,
    "errors": 0,
    "duration_ms": 1,
    "attempt": 1,
    "publish": True,
}
USER = {"user_name": "alice", "user_id": "AIDA", "arn": "arn:aws:iam::123456789012:user/alice"}
POSTURE = {
    "sections": {"credential_report": {"state": "OFF"}, "authorization": {"state": "OFF"}},
    "root": None,
    "id": None,
    "chunks": 0,
}
ITEM = {"account_id": "222222222222", "children": "20260131T100000Z-0badcafe", "input": {"account_id": "222222222222"}}
# What each task is given, in the shapes of the state data.
INPUTS: dict[str, dict[str, Any]] = {
    "AcquireLock": {"trigger": "manual"},
    "ReadPosture": {"acquired": True, "complete": False, "lock": "lock", "scan": SCAN, "cursor": CURSOR},
    "ListUsers": {"lock": "lock", "scan": SCAN, "cursor": CURSOR, "posture": POSTURE},
    "WriteBatch": {"run": {}, "scan": SCAN, "batch": {"users": [USER]}, "listed_at": LISTED["listed_from"]},
    "SaveProgress": {
        "lock": "lock",
        "scan": SCAN,
        "cursor": CURSOR,
        "posture": POSTURE,
        "page": {"count": 1, "next_marker": None, "restarted": False, **LISTED},
        "writes": [{"written": 1, "failed": 0, "throttled": 0}],
    },
    "EmitMetrics": {"lock": "lock", "scan": SCAN, "cursor": CURSOR},
    "PublishChanges": {"lock": "lock", "scan": SCAN, "cursor": CURSOR, "outcome": OUTCOME},
    "ReleaseLock": {"lock": "lock", "scan": SCAN, "cursor": CURSOR, "outcome": OUTCOME},
    "FailScan": {"lock": "lock", "scan": SCAN, "cursor": CURSOR, "error": {"Error": "AccessDenied", "Cause": "{}"}},
    "ListAccounts": {"trigger": "schedule"},
    **dict.fromkeys(("ScanAccount", "RedriveAccount", "WaitForAccount"), ITEM),
    "SummarizeAccounts": {"lock": "lock#organization", "scan": SCAN, "accounts": [{"status": "SUCCEEDED"}]},
    "FailOrganization": {"lock": "lock#organization", "scan": SCAN, "accounts": []},
}


@dataclass(frozen=True)
class Case:
    """An error of a task after so many retries, and what must become of it."""

    state: str
    error: str
    retries: int
    status: str
    next_state: str | None = None

    def __str__(self) -> str:
        return f"{self.state}-{self.error}-{self.retries}-{self.status}"


def cases() -> Iterator[Case]:
    """Yield, for every error that a retrier or catcher names: each retry, and what follows when none is left."""
    for name, state in EVERY.items():
        rules = [*state.get("Retry", []), *state.get("Catch", [])]
        named = {error for rule in rules for error in rule["ErrorEquals"]} - {"States.ALL"}
        for error in sorted(named | {"AnythingElse"}):
            retrier = _first(state.get("Retry", []), error)
            attempts = retrier["MaxAttempts"] if retrier else 0
            for retries in range(attempts):
                yield Case(name, error, retries, "RETRIABLE")
            catcher = _first(state.get("Catch", []), error)
            if catcher:
                yield Case(name, error, attempts, "CAUGHT_ERROR", catcher["Next"])
            else:
                yield Case(name, error, attempts, "FAILED")


def _first(rules: list[dict[str, Any]], error: str) -> dict[str, Any] | None:
    # States.ALL does not match States.DataLimitExceeded (Step Functions developer guide, "Handling errors").
    general = {error} if error == "States.DataLimitExceeded" else {error, "States.ALL"}
    return next((rule for rule in rules if general & set(rule["ErrorEquals"])), None)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a Step Functions client: of the local AWS, or of AWS where that is asked for."""
    if os.environ.get("RUN_ON_AWS"):
        yield boto3.client("stepfunctions")
        return
    log_file = tmp_path_factory.mktemp("emulator") / "emulator.log"
    with emulator.running(log_file=log_file, auth=False) as aws:
        # The operation has a host of its own on AWS, sync-states…, which a local endpoint has not.
        yield aws.session().client("stepfunctions", config=Config(inject_host_prefix=False))


def ask(client: Any, state: str, mock: dict[str, Any], given: Any = None, **configuration: Any) -> Any:
    return client.test_state(
        definition=json.dumps(ORGANIZATION if state in OF_ORGANIZATION else RENDERED),
        stateName=state,
        input=json.dumps(INPUTS[state] if given is None else given),
        inspectionLevel="DEBUG",
        mock={**mock, "fieldValidationMode": "NONE"},
        context=json.dumps(
            {
                "Execution": {
                    "Id": SCAN["execution_arn"],
                    "Input": {},
                    "StartTime": SCAN["started_at"],
                    "RedriveCount": 0,
                },
                "StateMachine": {"Id": "arn:aws:states:us-east-1:123456789012:stateMachine:test", "Name": "test"},
            }
        ),
        **configuration,
    )


@pytest.mark.parametrize("case", list(cases()), ids=str)
def test_an_error_is_retried_so_often_and_then_goes_there(client: Any, case: Case) -> None:
    answer = ask(
        client,
        case.state,
        {"errorOutput": {"error": case.error, "cause": "mocked"}},
        stateConfiguration={"retrierRetryCount": case.retries},
    )

    assert (answer["status"], answer.get("nextState")) == (case.status, case.next_state)
    if case.status == "CAUGHT_ERROR":
        output = json.loads(answer["output"])
        if case.state in {"AcquireLock", "ListAccounts"}:
            # The state data are the execution's input: they go.
            assert output == {"Error": case.error, "Cause": "mocked"}
        else:
            # They are kept, beside the error where it is kept.
            assert INPUTS[case.state].items() <= output.items()


@pytest.mark.parametrize("given", ["a text", [1], 3, {"scan": "x"}, {"outcome": {"status": "COMPLETE"}}], ids=str)
@pytest.mark.parametrize(
    ("first", "following"), [("AcquireLock", "ScanNotBegun"), ("ListAccounts", "AccountsNotListed")]
)
def test_whatever_the_input_is_an_error_of_the_first_task_is_caught(
    client: Any, given: Any, first: str, following: str
) -> None:
    answer = ask(client, first, {"errorOutput": {"error": "InvalidInput", "cause": "mocked"}}, given)

    assert (answer["status"], answer["nextState"]) == ("CAUGHT_ERROR", following)
    assert json.loads(answer["output"]) == {"Error": "InvalidInput", "Cause": "mocked"}


@pytest.mark.parametrize("state", TASKS)
def test_a_result_leads_to_the_next_state(client: Any, state: str) -> None:
    result = mock_config()["MockedResponses"]
    returned = {
        "AcquireLock": result["AcquireLockNew"]["0"],
        "ReadPosture": result["ReadPostureThreeUsers"]["0"],
        "ListUsers": result["ListUsersOnePage"]["0"],
        "WriteBatch": result["WriteBatchOnePage"]["0"],
        "SaveProgress": result["SaveProgressOnePage"]["0"],
        "EmitMetrics": result["EmitMetricsOnePage"]["0"],
        "PublishChanges": result["PublishChangesBaseline"]["0"],
        "ReleaseLock": result["ReleaseLockDone"]["0"],
        "FailScan": result["FailScanThenGoesOn"]["1"],
    }[state]["Return"]

    answer = ask(client, state, {"result": json.dumps(returned)})

    assert (answer["status"], answer.get("nextState")) == ("SUCCEEDED", TASKS[state].get("Next")), answer
    output = json.loads(answer["output"])
    expected = {
        "AcquireLock": {"acquired", "complete", "lock", "scan", "cursor"},
        "ReadPosture": {"acquired", "complete", "lock", "scan", "cursor", "posture"},
        "ListUsers": {"lock", "scan", "cursor", "posture", "page"},
        "WriteBatch": {"written", "failed", "throttled"},
        "SaveProgress": {"lock", "scan", "cursor", "posture"},
        "EmitMetrics": {"lock", "scan", "cursor", "outcome"},
        "PublishChanges": {"lock", "scan", "cursor", "outcome", "changes"},
        "ReleaseLock": {"lock", "scan", "cursor", "outcome"},
    }.get(state)
    assert expected is None or set(output) == expected


@pytest.mark.parametrize(
    ("state", "returned", "expected"),
    [
        ("ScanAccount", {"Status": "SUCCEEDED", "Output": {"much": "x" * 1000}}, {"status": "SUCCEEDED"}),
        ("WaitForAccount", {"Status": "SUCCEEDED", "Output": {}}, {"status": "SUCCEEDED"}),
        ("RedriveAccount", {"RedriveDate": 1769853600}, ITEM),
    ],
)
def test_of_what_an_execution_answers_only_its_status_is_kept(
    client: Any, state: str, returned: dict[str, Any], expected: dict[str, Any]
) -> None:
    answer = ask(client, state, {"result": json.dumps(returned)})

    assert (answer["status"], answer.get("nextState")) == ("SUCCEEDED", EVERY[state].get("Next")), answer
    assert json.loads(answer["output"]) == expected


@pytest.mark.parametrize("state", sorted(TASKS.keys() - {"FailScan"}))
def test_the_waits_between_retries_grow_up_to_half_a_minute(client: Any, state: str) -> None:
    waits = [
        ask(
            client,
            state,
            {"errorOutput": {"error": "Lambda.TooManyRequestsException", "cause": "mocked"}},
            stateConfiguration={"retrierRetryCount": retries},
        )["inspectionData"]["errorDetails"]["retryBackoffIntervalSeconds"]
        for retries in range(_first(TASKS[state]["Retry"], "Lambda.TooManyRequestsException")["MaxAttempts"])  # type: ignore[index]
    ]
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] <= 30
