"""Runs one scan and looks at it from outside: its history, and everything it must have left behind.

Nothing of the functions is imported here. What a scan must look like is written down a second time, from the
documentation, so that a mistake in the functions cannot hide itself.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from boto3.dynamodb.types import TypeDeserializer

from tests.local_aws.errors import LocalAwsError

STATE_LIMIT_BYTES = 256 * 1024
METRICS = ("UsersScanned", "RecordsWritten", "Errors", "Duration", "Success")
REDRIVE_WINDOW_DAYS = 14
METRIC_NAMESPACE = "IAMUserMonitor"
POSTURE = (
    "credential_report_time", "password_enabled", "password_last_changed", "password_next_rotation", "mfa_active",
    "groups", "attached_policies", "inline_policies", "permissions_boundary", "tags", "admin_via",
)  # fmt: skip
"""What the credential report and the authorization details tell of a user, besides access_key_… and cert_…."""
LOCK_KEY = {"user_name": {"S": "__execution_lock__"}, "scan_timestamp": {"S": "lock"}}

# Events of a Standard workflow's history (Step Functions developer guide, "Standard workflow history"): a state is
# entered and left; a Lambda task is scheduled, starts and succeeds between; so does a Map, and each of its iterations.
_EVENTS = {"Task": 5, "Choice": 2, "Succeed": 2, "Pass": 2, "Map": 4}
_EVENTS_OF_ITERATION = 2
_EVENTS_OF_EXECUTION = 2

Clients = Callable[[str], Any]
"""Returns the boto3 client of a service."""

_POLL_SECONDS = 0.2
_deserializer = TypeDeserializer()


@dataclass(frozen=True)
class Visit:
    """One visit of a state on the top level: when it was entered and left."""

    state: str
    entered: datetime
    left: datetime | None

    @property
    def seconds(self) -> float:
        """How long the state took; 0 for one that was not left."""
        return (self.left - self.entered).total_seconds() if self.left else 0.0


@dataclass(frozen=True)
class Execution:
    """A finished execution."""

    arn: str
    status: str
    started: datetime
    stopped: datetime
    output: dict[str, Any]
    cause: str
    events: list[dict[str, Any]] = field(repr=False)

    @property
    def scan_timestamp(self) -> str:
        """The time of its start, by which all its records go."""
        return _iso(self.started)

    @property
    def visits(self) -> list[Visit]:
        """The states in the order in which they were entered."""
        return list(visits(self.events))

    @property
    def batches(self) -> int:
        """The iterations of WriteRecords, as ListUsers cut them."""
        left = (event.get("stateExitedEventDetails", {}) for event in self.events)
        pages = (json.loads(details["output"])["page"] for details in left if details.get("name") == "ListUsers")
        return sum(len(page["batches"]) for page in pages)

    @property
    def history_events(self) -> int:
        """How many events AWS would record, where nothing is retried; the emulator leaves some out."""
        return history_events(Counter(visit.state for visit in self.visits), self.batches)

    @property
    def largest_payload(self) -> int:
        """The largest input or output of any event, in bytes."""
        return max((len(text.encode()) for text in _payloads(self.events)), default=0)


def history_events(visits: Mapping[str, int], batches: int) -> int:
    """Return how many events AWS records, given the visits of the states and the iterations of WriteRecords."""
    kinds = {"WriteRecords": "Map", "ScanSucceeded": "Succeed", "ScanSkipped": "Succeed"}
    top = sum(
        count * _EVENTS[kinds.get(state, "Choice" if state.endswith("?") else "Task")]
        for state, count in visits.items()
    )
    return _EVENTS_OF_EXECUTION + top + batches * (_EVENTS_OF_ITERATION + _EVENTS["Task"])


@dataclass(frozen=True)
class Check:
    """One thing that must be so, whether it is, and what was found."""

    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Facts:
    """What a scan left behind."""

    scan_timestamp: str
    records: list[dict[str, Any]]
    indexed_names: list[str]
    metrics: dict[str, float | None]
    lock: dict[str, Any] | None
    manifest: dict[str, Any]


def users(clients: Clients) -> list[dict[str, Any]]:
    """Return the account's users as IAM has them, in the shape of ListUsers."""
    pages = clients("iam").get_paginator("list_users").paginate()
    return [user for page in pages for user in page["Users"]]


def start(clients: Clients, state_machine_arn: str) -> str:
    """Start an execution by hand, as an operator would, and return its ARN."""
    started = clients("stepfunctions").start_execution(
        stateMachineArn=state_machine_arn, input=json.dumps({"trigger": "manual"})
    )
    return str(started["executionArn"])


def follow(
    clients: Clients,
    arn: str,
    progress: Callable[[dict[str, Any]], None],
    timeout_seconds: float = 600,
    waiting: Callable[[], None] = lambda: None,
) -> Execution:
    """Wait for an execution to end, passing on every event of its history as it happens.

    Parameters
    ----------
    waiting
        Called again and again between the events.

    Raises
    ------
    LocalAwsError
        It did not end in time.
    """
    client = clients("stepfunctions")
    deadline = time.monotonic() + timeout_seconds
    seen = 0
    while True:
        described = client.describe_execution(executionArn=arn)
        events = history(client, arn)
        for event in events[seen:]:
            progress(event)
        seen = len(events)
        if described["status"] != "RUNNING":
            return Execution(
                arn=arn,
                status=described["status"],
                started=described["startDate"],
                stopped=described["stopDate"],
                output=json.loads(described.get("output") or "{}"),
                cause=described.get("cause", ""),
                events=events,
            )
        waiting()
        if time.monotonic() > deadline:
            raise LocalAwsError(f"the execution {arn} did not end within {timeout_seconds:.0f} seconds")
        time.sleep(_POLL_SECONDS)


def history(client: Any, arn: str) -> list[dict[str, Any]]:
    """Return all events of an execution, oldest first."""
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=arn, PaginationConfig={"PageSize": 1000}
    )
    return [event for page in pages for event in page["events"]]


class Invocation(NamedTuple):
    """A function that was invoked, by its name, and what it was given."""

    function: str
    payload: Any


def invocations_of(clients: Clients, arn: str) -> list[Invocation]:
    """Return every invocation of an execution, those of retries and of redrives too, in the order of its history."""
    found = []
    for event in history(clients("stepfunctions"), arn):
        task = event.get("taskScheduledEventDetails", {})
        if (task.get("resourceType"), task.get("resource")) == ("lambda", "invoke"):
            parameters = json.loads(task["parameters"])
            # An ARN, with a version or without, or just the name.
            name = parameters["FunctionName"].partition(":function:")[2] or parameters["FunctionName"]
            found.append(Invocation(name.partition(":")[0], parameters.get("Payload", {})))
    return found


def visits(events: list[dict[str, Any]]) -> Iterator[Visit]:
    """Yield the visits of the states on the top level; the history has them in order."""
    open_name, entered = None, None
    for event in events:
        if "stateEnteredEventDetails" in event:
            if open_name is not None and entered is not None:
                yield Visit(open_name, entered, None)
            open_name, entered = event["stateEnteredEventDetails"]["name"], event["timestamp"]
        elif "stateExitedEventDetails" in event and open_name == event["stateExitedEventDetails"]["name"]:
            assert entered is not None
            yield Visit(open_name, entered, event["timestamp"])
            open_name = None
    if open_name is not None and entered is not None:
        yield Visit(open_name, entered, None)


def collect(clients: Clients, outputs: Mapping[str, Any], execution: Execution) -> Facts:
    """Read what the scan of an execution left behind, by the ways that the documentation names."""
    table, index = outputs["dynamodb_table_name"], outputs["scan_index_name"]
    timestamp = execution.scan_timestamp
    dynamodb = clients("dynamodb")
    # All of the table, for the index is what is judged by it.
    recorded = dynamodb.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression="scan_timestamp = :scan",
        ExpressionAttributeValues={":scan": {"S": timestamp}},
    )
    indexed = dynamodb.get_paginator("query").paginate(
        TableName=table,
        IndexName=index,
        KeyConditionExpression="scan_timestamp = :scan",
        ExpressionAttributeValues={":scan": {"S": timestamp}},
    )
    lock = dynamodb.get_item(TableName=table, Key=LOCK_KEY, ConsistentRead=True).get("Item")
    return Facts(
        scan_timestamp=timestamp,
        records=[plain(item) for page in recorded for item in page["Items"]],
        indexed_names=[item["user_name"]["S"] for page in indexed for item in page["Items"]],
        metrics={name: metric(clients("cloudwatch"), name, execution) for name in METRICS},
        lock=plain(lock) if lock else None,
        manifest=manifest_of(clients, outputs, execution),
    )


def manifest_of(clients: Clients, outputs: Mapping[str, Any], execution: Execution) -> dict[str, Any]:
    """Return the manifest of an execution's scan; empty where there is none."""
    key = {"user_name": {"S": "__scan__"}, "scan_timestamp": {"S": f"scan#{execution.scan_timestamp}"}}
    return plain(clients("dynamodb").get_item(TableName=outputs["dynamodb_table_name"], Key=key).get("Item", {}))


def verify(execution: Execution, facts: Facts, users: list[dict[str, Any]], retention_days: int) -> list[Check]:
    """Hold what the scan left behind against the account's users.

    Parameters
    ----------
    users
        The users as IAM has them, in the shape of ListUsers.
    retention_days
        As the deployment has it.
    """
    manifest = facts.manifest
    ttl = expiry(facts.scan_timestamp, retention_days)
    account_id = execution.arn.split(":")[4]
    expected = {user["UserName"]: record_of(user, facts.scan_timestamp, account_id, ttl) for user in users}
    names = [record["user_name"] for record in facts.records]
    span = manifest.get("listed_from", ""), manifest.get("listed_until", "")
    wrong = sorted(
        record["user_name"]
        for record in facts.records
        if as_listed(record) != expected.get(record["user_name"])
        or not span[0] <= record.get("listed_at", "") <= span[1]
    )
    missing = sorted(expected.keys() - set(names))
    count = len(users)
    values = {name: value for name, value in facts.metrics.items() if name != "Duration"}
    duration = facts.metrics["Duration"]
    return [
        Check(
            "the execution succeeded", execution.status == "SUCCEEDED", f"{execution.status} {execution.cause}".strip()
        ),
        Check(
            "every user has exactly one record",
            not missing and len(names) == len(set(names)) == count,
            f"{len(names)} records, {count} users" + (f", missing: {', '.join(missing[:5])}" if missing else ""),
        ),
        Check(
            "every record has the right attributes",
            not wrong,
            f"{len(names) - len(wrong)} right" + (f", wrong: {', '.join(wrong[:5])}" if wrong else ""),
        ),
        Check(
            "the index returns the same users",
            sorted(facts.indexed_names) == sorted(expected),
            f"{len(facts.indexed_names)} users by scan-timestamp-index",
        ),
        Check(
            "the five metrics were emitted",
            values == {"UsersScanned": count, "RecordsWritten": count, "Errors": 0, "Success": 1}
            and duration is not None
            and duration > 0,
            ", ".join(f"{name} {number(value)}" for name, value in facts.metrics.items()),
        ),
        Check("the lock is gone", facts.lock is None, f"held by {facts.lock['owner']}" if facts.lock else "free"),
        Check(
            "the manifest says COMPLETE",
            manifest.get("status") == "COMPLETE" and manifest.get("users_scanned") == count,
            f"{manifest.get('status')}, {manifest.get('users_scanned')} users",
        ),
        Check(
            "the manifest says for which time the scan speaks",
            manifest.get("ttl") == ttl and _speaks_for_its_time(execution, manifest),
            f"listed from {span[0]} until {span[1]}, kept until {_iso_of(manifest.get('ttl'))}",
        ),
        Check(
            "no state carried more than 256 KiB",
            execution.largest_payload <= STATE_LIMIT_BYTES,
            f"largest {execution.largest_payload / 1024:.0f} KiB",
        ),
    ]


def expiry(scan_timestamp: str, retention_days: int) -> int:
    """Return when all items of a scan expire: never before its run cannot be redriven any more, whatever is set."""
    days = max(retention_days, 2 * REDRIVE_WINDOW_DAYS + 1)
    return int((datetime.fromisoformat(scan_timestamp) + timedelta(days=days)).timestamp())


def _speaks_for_its_time(execution: Execution, manifest: Mapping[str, Any]) -> bool:
    """Tell whether the times of a manifest fit the execution, and the span of the listing its limit."""
    names = ("started_at", "listed_from", "listed_until", "finished_at")
    if not {*names, "span_limit_seconds", "attempt", "sequence", "reported"} <= manifest.keys():
        return False
    started, listed_from, listed_until, finished = (datetime.fromisoformat(manifest[name]) for name in names)
    return (
        execution.started - timedelta(seconds=1) <= started <= listed_from <= listed_until <= finished
        and finished <= execution.stopped + timedelta(seconds=1)
        and listed_until - listed_from <= timedelta(seconds=int(manifest["span_limit_seconds"]))
        and manifest["attempt"] in manifest["reported"]
        and manifest["sequence"] >= 1
    )


def as_listed(record: dict[str, Any]) -> dict[str, Any]:
    """Return what a record says besides the time of its page and the user's posture."""
    return {
        name: value
        for name, value in record.items()
        if name not in {"listed_at", *POSTURE} and not name.startswith(("access_key_", "cert_"))
    }


def record_of(user: dict[str, Any], scan_timestamp: str, account_id: str, ttl: int) -> dict[str, Any]:
    record = {
        "account_id": account_id,
        "user_name": user["UserName"],
        "scan_timestamp": scan_timestamp,
        "user_id": user["UserId"],
        "arn": user["Arn"],
        "create_date": _iso(user["CreateDate"]),
        "ttl": ttl,
    }
    if "PasswordLastUsed" in user:
        record["password_last_used"] = _iso(user["PasswordLastUsed"])
    return record


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _iso_of(epoch_seconds: Any) -> str:
    return "ever" if epoch_seconds is None else _iso(datetime.fromtimestamp(int(epoch_seconds), UTC))


def metric(cloudwatch: Any, name: str, execution: Execution) -> float | None:
    """Return the sum of a metric over the time of the execution, None where it was not emitted."""
    answer = cloudwatch.get_metric_statistics(
        Namespace=METRIC_NAMESPACE,
        MetricName=name,
        Dimensions=[],
        StartTime=execution.started.replace(second=0, microsecond=0),
        EndTime=execution.stopped + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    points = answer["Datapoints"]
    return sum(point["Sum"] for point in points) if points else None


def _payloads(events: list[dict[str, Any]]) -> Iterator[str]:
    for event in events:
        for details in event.values():
            if isinstance(details, dict):
                for name in ("input", "output", "parameters"):
                    if isinstance(details.get(name), str):
                        yield details[name]


def plain(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _deserializer.deserialize(value) for name, value in item.items()}


def number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
