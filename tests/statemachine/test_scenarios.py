"""The same scenarios on independent engines: each must take the same route to the same end.

- ``InProcess``: moto's interpreter, with the real handlers behind the tasks.
- ``MiniStack``: the local AWS's interpreter, with the mocked answers.
- ``StepFunctionsLocal``: AWS's own image in Docker, with the same mocked answers (``make test-sfn-local``).
"""

import json
import os
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from tests.local_aws.aws import emulator
from tests.statemachine import sfn_local
from tests.support import definition
from tests.support.engine import TABLE, Execution, FunctionError, engine, throttled
from tests.support.scenarios import MACHINE, MOCK_CONFIG, SCENARIOS, Scenario, mock_config, responses
from tests.support.waiting import eventually

STATES = {folder: "".join(part.capitalize() for part in folder.split("_")) for folder in definition.STEPS}
STATES["release_lock"] = "ReleaseLock"
# Where the mocked answers stand for the real ones: the time and the identity of a run.
VOLATILE = {"scan_timestamp", "execution_arn", "started_at", "user_id", "create_date", "duration_ms", "next_marker",
            "marker", "holder", "expires_at", "arn", "ttl", "listed_from", "listed_until", "generated_time", "id",
            "Cause", "credential_report_time", "user_creation_time", "password_last_changed"}  # fmt: skip
# What a handler raises by itself in a scenario; all other errors are injected.
OWN_ERRORS = {"ScanFailed", "InvalidInput", "TableThrottled"}


@dataclass(frozen=True)
class Result:
    """How an execution went."""

    route: tuple[str, ...]
    status: str
    output: Any
    error: str | None
    cause: str


class EngineUnderTest(ABC):
    """Runs a scenario."""

    shows_iterations = True
    """Whether the history has the states inside a Map."""

    @abstractmethod
    def run(self, scenario: Scenario) -> Result:
        """Run the scenario from its start to its end, its redrive included."""


class InProcess(EngineUnderTest):
    """The real handlers; errors of the mock configuration are injected, its results are held against the handlers'."""

    def run(self, scenario: Scenario) -> Result:
        calls: dict[str, int] = defaultdict(int)
        mocked = {state: list(responses(scenario.case, state)) for state in STATES.values()}

        def invoke(step: str, event: Any, handler: Any) -> Any:
            state = STATES[step]
            assert calls[state] < len(mocked[state]), f"{state} is called more often than it is mocked"
            response = mocked[state][calls[state]]
            calls[state] += 1
            error = response.get("Throw", {}).get("Error")
            if error is not None and error not in OWN_ERRORS:
                raise FunctionError(error.removeprefix("DynamoDB."), _message(response["Throw"]["Cause"]))
            result = handler(event)
            assert error is None, f"{state} has to raise {error}"
            if state != "ReleaseLock":
                assert comparable(result) == comparable(response["Return"]["Payload"]), state
            return result

        with engine(
            page_size=scenario.page_size,
            batch_size=2,
            map_concurrency=1,
            invoke=invoke,
            posture=scenario.posture,
            changes=scenario.changes,
        ) as running:
            running.create_users([f"user-{number}" for number in range(scenario.users)])
            if scenario.lock_held:
                _hold_lock()
            with throttled() if scenario.throttled else nullcontext():
                execution = running.run(scenario.execution_input)
            if scenario.redriven:
                execution = running.redrive(execution.arn)
        assert calls == {state: len(answers) for state, answers in mocked.items() if answers}, "mocked, but not called"
        return _result(execution)


class Mocked(EngineUnderTest):
    """An engine behind an endpoint that reads the mock configuration."""

    def __init__(self, client: Any, role_arn: str) -> None:
        self._client = client
        function = "arn:aws:lambda:us-east-1:123456789012:function"
        rendered = definition.render(
            {
                **{f"{step}_function_arn": f"{function}:{step}" for step in definition.STEPS},
                "partition": "aws",
                "table_name": TABLE,
                # The mocked answers of a state are numbered in the order of its calls.
                "map_concurrency": 1,
                "task_timeout_seconds": 60,
                "scan_timeout_seconds": 600,
                "posture_timeout_seconds": 60,
                "publish_timeout_seconds": 60,
            }
        )
        self._machine = client.create_state_machine(name=MACHINE, definition=json.dumps(rendered), roleArn=role_arn)[
            "stateMachineArn"
        ]

    def run(self, scenario: Scenario) -> Result:
        arn = self._client.start_execution(
            stateMachineArn=f"{self._machine}#{scenario.case}", input=json.dumps(scenario.execution_input)
        )["executionArn"]
        described = self._wait(arn)
        if scenario.redriven:
            assert described["status"] == "FAILED", described
            self._client.redrive_execution(executionArn=arn)
            described = self._wait(arn)
        events = self._client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        failure = events[-1].get("executionFailedEventDetails", {})
        return Result(
            route=tuple(
                event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event
            ),
            status=described["status"],
            output=json.loads(described.get("output") or "null"),
            error=failure.get("error"),
            cause=failure.get("cause", ""),
        )

    def _wait(self, arn: str) -> Any:
        def status() -> str:
            described: str = self._client.describe_execution(executionArn=arn)["status"]
            return described

        eventually(lambda: status() != "RUNNING", f"{arn} does not end", seconds=60)
        return self._client.describe_execution(executionArn=arn)


class MiniStack(Mocked):
    """The local AWS."""

    shows_iterations = False


@pytest.fixture(scope="module", params=["InProcess", "MiniStack", "StepFunctionsLocal"])
def engine_under_test(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start each engine once."""
    with ExitStack() as stack:
        if request.param == "InProcess":
            yield InProcess()
        elif request.param == "MiniStack":
            log_file = tmp_path_factory.mktemp("emulator") / "emulator.log"
            settings = {"SFN_MOCK_CONFIG": str(MOCK_CONFIG), "SFN_WAIT_SCALE": "0"}
            aws = stack.enter_context(emulator.running(log_file=log_file, environment=settings, auth=False))
            yield MiniStack(aws.client("stepfunctions"), "arn:aws:iam::123456789012:role/mocked")
        else:
            reason, asked_for = sfn_local.unavailable(), bool(os.environ.get("REQUIRE_DOCKER"))
            if reason is not None and asked_for:
                pytest.fail(reason, pytrace=False)
            if reason is not None or not asked_for:
                pytest.skip(reason or "its image is a large download: `make test-sfn-local` runs it")
            client = stack.enter_context(sfn_local.running(MOCK_CONFIG))
            yield Mocked(client, "arn:aws:iam::123456789012:role/mocked")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.case)
def test_a_scenario_goes_the_same_way_on_every_engine(engine_under_test: EngineUnderTest, scenario: Scenario) -> None:
    if scenario.redriven and type(engine_under_test) is Mocked:
        pytest.skip("Step Functions Local has no RedriveExecution")

    result = engine_under_test.run(scenario)

    assert (result.status, result.error) == (scenario.status, scenario.error), result.cause
    assert scenario.cause in result.cause
    top_level = definition.load()["States"]
    if engine_under_test.shows_iterations:
        assert result.route == scenario.route
    else:
        assert result.route == tuple(state for state in scenario.route if state in top_level)
    if scenario.status == "SUCCEEDED":
        found = result.output.get("outcome", result.output)
        assert {name: found[name] for name in scenario.output} == scenario.output


def test_every_scenario_is_mocked_and_every_mock_is_used() -> None:
    cases = mock_config()["StateMachines"][MACHINE]["TestCases"]
    assert sorted(cases) == sorted(scenario.case for scenario in SCENARIOS)
    used = {response for states in cases.values() for response in states.values()}
    assert used == set(mock_config()["MockedResponses"])


def test_every_state_is_on_the_route_of_a_scenario() -> None:
    on_routes = {state for scenario in SCENARIOS for state in scenario.route}
    assert on_routes == {name for name, _ in definition.states(definition.load())}


def comparable(value: Any) -> Any:
    """Return a result with a placeholder for everything that no two runs have in common."""
    if isinstance(value, dict):
        return {name: type(inner).__name__ if name in VOLATILE else comparable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    return value


def _message(cause: str) -> str:
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError):
        return cause


def _result(execution: Execution) -> Result:
    return Result(tuple(execution.route), execution.status, execution.output, execution.error, execution.cause or "")


def _hold_lock() -> None:
    """Let another execution hold the lock."""
    now = int(time.time())
    boto3.client("dynamodb", region_name="us-east-1").put_item(
        TableName=TABLE,
        Item={
            "user_name": {"S": "__execution_lock__"},
            "scan_timestamp": {"S": "lock"},
            "owner": {"S": "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:other"},
            "acquired_at": {"N": str(now)},
            "expires_at": {"N": str(now + 600)},
            "ttl": {"N": str(now + 600)},
        },
    )
