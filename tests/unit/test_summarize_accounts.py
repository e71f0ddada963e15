"""SummarizeAccounts: what became of each account, by its own manifest, and how it is told."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.shared.bus import Bus, Refusal
from functions.shared.errors import Superseded
from functions.shared.model import FleetState
from functions.summarize_accounts import handler as summarize_accounts
from functions.table import wire
from functions.table.fleet import Fleet, FleetAccount, children_of, fleets, plan_of
from functions.table.keys import Keys
from tests.docs.schemas import validator
from tests.support.engine import TABLE, Context
from tests.support.logs import captured_logs
from tests.support.scene import (
    EPOCH,
    LEASE,
    ME,
    OTHER,
    RETENTION_DAYS,
    STARTED_AT,
    TIMESTAMP,
    TTL,
    FakeStepFunctions,
    Scene,
    run_event,
    scan,
)

OWN, SHOP, BANK = "123456789012", "222222222222", "333333333333"
ACCOUNTS = [FleetAccount(OWN, "Root"), FleetAccount(SHOP, "Shop"), FleetAccount(BANK)]
EXECUTIONS = ME.rpartition(":")[0]
NOT_THERE = ClientError({"Error": {"Code": "ExecutionDoesNotExist", "Message": "no"}}, "DescribeExecution")

Emitted = Callable[[], list[dict[str, float]]]


class StepFunctions(FakeStepFunctions):
    """Knows the accounts' executions, too."""

    def __init__(self) -> None:
        super().__init__()
        self.children: dict[str, dict[str, Any]] = {}
        self.described: list[str] = []

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803 - the API's name
        if executionArn == ME:
            return super().describe_execution(executionArn=executionArn)
        self.described.append(executionArn)
        name = executionArn.rpartition(":")[2]
        if name not in self.children:
            raise NOT_THERE
        return self.children[name]


class Events:
    """PutEvents, which may refuse."""

    def __init__(self) -> None:
        self.details: list[dict[str, Any]] = []
        self.code: str | None = None

    def put_events(self, *, Entries: list[dict[str, Any]]) -> Any:  # noqa: N803 - the API's name
        if self.code is not None:
            return {"Entries": [{"ErrorCode": self.code, "ErrorMessage": "no"}] * len(Entries)}
        self.details += [json.loads(entry["Detail"]) for entry in Entries]
        return {"Entries": [{"EventId": "1"}] * len(Entries)}


@pytest.fixture(autouse=True)
def unexpired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.table.fleet.time.time", lambda: EPOCH)


@pytest.fixture
def scene(scene: Scene) -> Scene:
    """Return a run that has begun, with three accounts."""
    scene.stepfunctions = StepFunctions()
    begin(scene)
    scene.clock.wait(90)
    return scene


def begin(scene: Scene, attempt: int = 1) -> None:
    scene.fence.begin(
        scene.run(attempt).of_fleet(),
        retention_days=RETENTION_DAYS,
        lease_seconds=LEASE,
        plan=plan_of(ACCOUNTS, [], "monitor"),
    )


def scanned(scene: Scene, number: str, status: str = "COMPLETE", **more: Any) -> None:
    """Store the manifest of an account's scan."""
    key = Keys(None if number == OWN else number).manifest(TIMESTAMP)
    item = {**key, "status": status, "execution_arn": "arn", "ttl": TTL, "account_id": number, **more}
    scene.dynamodb.put_item(TableName=TABLE, Item=wire.to_wire(item))


def state_of(attempt: int = 1, **more: Any) -> FleetState:
    return {"lock": "lock#organization", "scan": scan(attempt), "children": children(), "accounts": [], **more}  # type: ignore[typeddict-item]


def children() -> str:
    from functions.shared.run import Run

    return children_of(Run(ME, STARTED_AT, 1, STARTED_AT, fleet=True))


def summarize(scene: Scene, state: FleetState | None = None, attempt: int = 1, events: Events | None = None) -> Any:
    bus = None
    if events is not None:
        ticks = iter(range(1000))
        bus = Bus(events, "default", 3, ignore, sleep=lambda _: None, clock=lambda: float(next(ticks)))  # type: ignore[arg-type]
    return summarize_accounts.summarize_accounts(
        state_of(attempt) if state is None else state,
        scene.run(attempt).of_fleet(),
        fence=scene.fence,
        stepfunctions=scene.stepfunctions,
        bus=bus,
        scan_executions=EXECUTIONS,
        retention_days=RETENTION_DAYS,
    )


def ignore(_refusal: Refusal) -> None: ...


def fleet_of(scene: Scene) -> Fleet:
    (fleet,) = fleets(scene.dynamodb, TABLE)
    return fleet


def failures(scene: Scene) -> dict[str, tuple[str, str]]:
    return {one.account_id: (one.error_type, one.error_message) for one in fleet_of(scene).failed}


def test_a_fleet_is_complete_when_each_account_is(scene: Scene, emitted: Emitted) -> None:
    for one in ACCOUNTS:
        scanned(scene, one.account_id)

    summary = summarize(scene)

    assert summary == {
        "status": "COMPLETE", "attempt": 1, "accounts": 3, "accounts_scanned": 3, "accounts_failed": 0,
        "duration_ms": 90_000, "failed": [], "unannounced": None,
    }  # fmt: skip
    fleet = fleet_of(scene)
    assert (fleet.status, fleet.failed) == ("COMPLETE", ())
    assert (fleet.manifest.item["accounts_scanned"], fleet.manifest.reported) == (3, frozenset({1}))
    assert emitted() == [{"AccountsScanned": 3, "AccountsFailed": 0}]


@pytest.mark.parametrize(
    ("manifest", "error"),
    [
        (
            {"status": "FAILED", "error_type": "AccessDenied", "error_message": "no role"},
            ("AccessDenied", "no role"),
        ),
        ({"status": "INCOMPLETE", "errors": 3}, ("Incomplete", "3 of its users have no record")),
        ({"status": "RUNNING"}, ("StillRunning", "its scan has not ended, or nobody has recorded that")),
        ({"status": "SKIPPED"}, ("Skipped", "its scan arn is SKIPPED")),
        (
            {"status": "ABORTED", "error_type": "ExecutionAborted", "error_message": "stopped"},
            ("ExecutionAborted", "stopped"),
        ),
    ],
)
def test_an_account_that_is_not_complete_has_failed_whatever_the_map_says(
    scene: Scene, emitted: Emitted, manifest: dict[str, Any], error: tuple[str, str]
) -> None:
    scanned(scene, OWN)
    scanned(scene, SHOP, **manifest)
    scanned(scene, BANK)

    summary = summarize(scene, state_of(accounts=[{"status": "SUCCEEDED"}] * 3))

    assert failures(scene) == {SHOP: error}
    assert (summary["status"], summary["accounts_scanned"], summary["accounts_failed"]) == ("INCOMPLETE", 2, 1)
    assert summary["failed"] == [
        {"account_id": SHOP, "account_name": "Shop", "error_type": error[0], "error_message": error[1]}
    ]
    assert emitted() == [{"AccountsScanned": 2, "AccountsFailed": 1}]


def test_an_account_is_complete_although_the_map_says_that_it_failed(scene: Scene) -> None:
    """Redriven by hand, say, and then found there."""
    for one in ACCOUNTS:
        scanned(scene, one.account_id)
    hints = [{"account_id": SHOP, "error": "States.Timeout"}]
    assert summarize(scene, state_of(accounts=hints, error={"Error": "Boom", "Cause": ""}))["status"] == "COMPLETE"


@pytest.mark.parametrize(
    ("child", "hint", "error_type", "message"),
    [
        (None, "StepFunctions.AccessDeniedException", "StepFunctions.AccessDeniedException", "was not started"),
        (None, None, "NotStarted", "was not started"),
        (
            {"status": "FAILED", "error": "ScanFailed", "cause": json.dumps({"errorMessage": "no manifest, no scan"})},
            "States.TaskFailed",
            "ScanFailed",
            "no manifest, no scan",
        ),
        ({"status": "RUNNING"}, None, "StillRunning", "has recorded nothing yet"),
        ({"status": "ABORTED"}, None, "NotRecorded", "ended as ABORTED"),
    ],
)
def test_an_account_without_a_manifest_has_failed_with_what_is_known_of_its_execution(
    scene: Scene, child: dict[str, Any] | None, hint: str | None, error_type: str, message: str
) -> None:
    scanned(scene, OWN)
    scanned(scene, BANK)
    if child is not None:
        scene.stepfunctions.children[f"{SHOP}-{children()}"] = child
    hints = [] if hint is None else [{"account_id": SHOP, "error": hint}]

    assert summarize(scene, state_of(accounts=hints))["status"] == "INCOMPLETE"

    ((found, text),) = failures(scene).values()
    assert found == error_type
    assert message in text


def test_step_functions_is_asked_of_some_accounts_only(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands, the time of a function would not be enough."""
    monkeypatch.setattr(summarize_accounts, "MAX_DESCRIBED", 1)
    assert summarize(scene)["accounts_failed"] == 3
    assert len(scene.stepfunctions.described) == 1
    assert {name for name, _ in failures(scene).values()} == {"NotStarted"}


def test_that_step_functions_does_not_answer_hides_nothing(scene: Scene) -> None:
    def busy(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "DescribeExecution")

    scene.stepfunctions.describe_execution = busy
    assert summarize(scene)["accounts_failed"] == 3


@pytest.mark.parametrize("redrive_count", [0, 2])
def test_where_the_accounts_were_not_listed_the_fleet_has_failed_with_that_error(
    scene: Scene, emitted: Emitted, redrive_count: int
) -> None:
    for item in scene.everything():
        key = {name: {"S": item[name]} for name in ("user_name", "scan_timestamp")}
        scene.dynamodb.delete_item(TableName=TABLE, Key=key)
    error = {"Error": "AccessDenied", "Cause": json.dumps({"errorMessage": "not the management account"})}
    state: Any = {"lock": "lock#organization", "error": error, "redrive_count": redrive_count}

    summary = summarize(scene, state, redrive_count + 1, Events())

    assert (summary["status"], summary["accounts"], summary["attempt"]) == ("FAILED", 0, redrive_count + 1)
    fleet = fleet_of(scene)
    assert (fleet.status, fleet.accounts, fleet.manifest.error) == (
        "FAILED", (), ("AccessDenied", "not the management account"),
    )  # fmt: skip
    assert emitted() == [{"AccountsScanned": 0, "AccountsFailed": 0}]


def test_a_redrive_that_could_not_begin_keeps_what_is_known_and_announces_nothing(scene: Scene) -> None:
    """Nothing was scanned again: its accounts were told when they failed."""
    scanned(scene, OWN)
    events = Events()
    summarize(scene, events=events)
    told = len(events.details)
    scene.stepfunctions.redriven(1, STARTED_AT)
    state: Any = {"lock": "lock#organization", "error": {"Error": "LockHeld", "Cause": "x"}, "redrive_count": 1}

    summary = summarize(scene, state, 2, events)

    assert (summary["status"], summary["accounts_scanned"], summary["accounts_failed"]) == ("FAILED", 1, 2)
    assert fleet_of(scene).manifest.error == ("LockHeld", "x")
    assert len(events.details) == told == 2


def test_a_skipped_run_of_which_a_retry_failed_has_failed_and_its_manifest_stays(scene: Scene) -> None:
    scene.dynamodb.update_item(
        TableName=TABLE,
        Key=wire.to_wire({"user_name": "__scan__", "scan_timestamp": f"organization#{TIMESTAMP}"}),
        UpdateExpression="SET #s = :s",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={":s": {"S": "SKIPPED"}},
    )
    state: Any = {"lock": "lock#organization", "error": {"Error": "AccessDenied", "Cause": ""}, "redrive_count": 0}
    with scene.untouched():
        assert summarize(scene, state)["status"] == "FAILED"


def test_another_runs_fleet_stays_as_it_is(scene: Scene, emitted: Emitted) -> None:
    state: Any = {"lock": "lock#organization", "error": {"Error": "Boom", "Cause": ""}, "redrive_count": 0}
    with scene.untouched():
        summary = summarize_accounts.summarize_accounts(
            state,
            scene.run(1, OTHER).of_fleet(),
            fence=scene.fence,
            stepfunctions=scene.stepfunctions,
            bus=None,
            scan_executions=EXECUTIONS,
            retention_days=RETENTION_DAYS,
        )
    assert summary["status"] == "FAILED"


# Telling it


def test_each_account_that_failed_is_an_event(scene: Scene) -> None:
    scanned(scene, OWN)
    scanned(scene, SHOP, "FAILED", error_type="AccessDenied", error_message='its role "x" is missing')
    events = Events()

    summarize(scene, events=events)

    assert [(one["account_id"], one["account_name"]) for one in events.details] == [(SHOP, "Shop"), (BANK, None)]
    for detail in events.details:
        validator("account_failed").validate(detail)
    assert events.details[0]["summary"] == (
        f"The scan {TIMESTAMP} of account {SHOP} (Shop) failed: AccessDenied: its role 'x' is missing"
    )
    assert (events.details[0]["error_message"], events.details[0]["execution_arn"]) == ('its role "x" is missing', ME)


def test_a_retry_tells_it_under_the_same_id_and_another_attempt_under_a_new_one(scene: Scene) -> None:
    scanned(scene, OWN)
    scanned(scene, BANK)
    events = Events()
    events.code = "ThrottlingException"
    summarize(scene, events=events)
    events.code = None
    summarize(scene, events=events)
    summarize(scene, events=events)  # said, and noted
    scene.stepfunctions.redriven(1, STARTED_AT)
    begin(scene, 2)
    summarize(scene, attempt=2, events=events)

    assert [one["account_id"] for one in events.details] == [SHOP, SHOP]
    assert len({one["id"] for one in events.details}) == 2


@pytest.mark.parametrize("code", ["ThrottlingException", "NotAuthorizedForSourceException", "MalformedDetail"])
def test_a_bus_that_refuses_hides_no_account(scene: Scene, emitted: Emitted, code: str) -> None:
    scanned(scene, OWN)
    events = Events()
    events.code = code

    summary = summarize(scene, events=events)

    assert summary["accounts_failed"] == 2
    assert {"ThrottlingException": "Throttled", "NotAuthorizedForSourceException": "AccessDenied"}.get(
        code, "EventBridge will never take 2"
    ) in summary["unannounced"]
    assert fleet_of(scene).manifest.reported == frozenset()
    assert emitted() == [{"AccountsScanned": 1, "AccountsFailed": 2}]


def test_the_log_names_the_accounts_and_no_user(scene: Scene) -> None:
    scanned(scene, OWN)
    scanned(scene, BANK)
    with captured_logs() as logs:
        summarize(scene)
    lines = {line["message"]: line for line in logs()}
    assert lines["Account failed"]["failed_account"] == SHOP
    ended = lines["Organization scan completed with errors"]
    assert (ended["accounts"], ended["accounts_scanned"], ended["accounts_failed"]) == (3, 2, 1)


# Late, twice, and after a redrive


def test_a_retry_says_the_same_and_counts_once(scene: Scene, emitted: Emitted) -> None:
    scanned(scene, OWN)
    first = summarize(scene)
    scene.clock.wait(5)
    assert summarize(scene) == first
    assert len(emitted()) == 1


def test_what_a_complete_fleet_says_stays(scene: Scene) -> None:
    for one in ACCOUNTS:
        scanned(scene, one.account_id)
    summarize(scene)
    scanned(scene, SHOP, "FAILED", error_type="x", error_message="y")
    with scene.untouched():
        assert summarize(scene)["status"] == "COMPLETE"


def test_a_run_that_was_stopped_in_its_map_and_redriven_there_ends_as_its_second_attempt(scene: Scene) -> None:
    """It does not go through ListAccounts again: $.scan still tells of the first."""
    scene.fence.finish(
        scene.run(1).of_fleet(),
        {"status": "ABORTED", "duration_ms": 1, "attempt": 1},
        ended_at=scene.clock.now,
        error=("ExecutionAborted", "stopped"),
        retention_days=RETENTION_DAYS,
    )
    for one in ACCOUNTS:
        scanned(scene, one.account_id)
    scene.stepfunctions.redriven(1, scene.clock.now)

    summary = summarize(scene, state_of(1), 2)

    assert (summary["status"], summary["attempt"]) == ("COMPLETE", 2)
    assert fleet_of(scene).manifest.attempt == 2
    assert fleet_of(scene).manifest.error is None


def test_a_late_call_of_a_former_attempt_changes_nothing(scene: Scene) -> None:
    late = scene.run(1)
    scene.stepfunctions.redriven(1, scene.clock.now + timedelta(minutes=5))
    begin(scene, 2)
    with scene.untouched(), pytest.raises(Superseded):
        summarize_accounts.summarize_accounts(
            state_of(1),
            late.of_fleet(),
            fence=scene.fence,
            stepfunctions=scene.stepfunctions,
            bus=None,
            scan_executions=EXECUTIONS,
            retention_days=RETENTION_DAYS,
        )


def test_thousands_that_failed_with_long_messages_fit_into_an_item(scene: Scene) -> None:
    many = [FleetAccount(f"{number:012}", "n" * 50) for number in range(2450)]
    scene.dynamodb.update_item(
        TableName=TABLE,
        Key=wire.to_wire({"user_name": "__scan__", "scan_timestamp": f"organization#{TIMESTAMP}"}),
        UpdateExpression="SET accounts = :a",
        ExpressionAttributeValues=wire.to_wire({":a": plan_of(many, [], "monitor")["accounts"]}),
    )
    hints = [{"account_id": one.account_id, "error": "StepFunctions.ExecutionLimitExceededException"} for one in many]

    summary = summarize(scene, state_of(accounts=hints))

    fleet = fleet_of(scene)
    assert (summary["accounts_failed"], len(fleet.failed), len(summary["failed"])) == (2450, 2450, 10)
    # So much of the name as fits for all.
    assert {one.error_type for one in fleet.failed} == {"StepFunctions.ExecutionLi"}
    assert len(json.dumps(summary)) < 8_000


def test_the_handler_reads_its_settings(scene: Scene, configured: None) -> None:
    for one in ACCOUNTS:
        scanned(scene, one.account_id)
    event = {"run": run_event(), "state": state_of(), "scan_executions": EXECUTIONS}
    assert summarize_accounts.handler(event, Context())["status"] == "COMPLETE"  # type: ignore[arg-type]
