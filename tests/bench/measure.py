"""Runs the workflow, the single process and the listing, and collects what each of them took."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.local_aws.aws import index_limit, meter, past
from tests.local_aws.run import changes, scan
from tests.local_aws.run.scan import history_events
from tests.support.waiting import next_second

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.local_aws.aws.emulator import Emulator

WORKFLOW, SINGLE, LISTING = "workflow", "single process", "listing alone"
PER_USER = "call per user and fact"
"""A single process that asks for every user's posture, too, as people write it."""
PUBLICATION = "publication"
"""The workflow's PublishChanges, when :data:`CHANGES` users have changed."""
ACCOUNT = "account of an organization"
"""The workflow, as it scans an account of :data:`ACCOUNT_USERS` users."""
ACCOUNT_USERS = 50
THROTTLED = "workflow, throttled"
"""The workflow where a key of the index takes :data:`INDEX_UNITS` a second. AWS lets it take 1,000, which is more than
the emulator can write: so less is let through here, and the same is asked of the workflow."""
INDEX_UNITS = 250
CHANGES = 50
PER_USER_USERS = 1000
"""Up to how many users that is measured: it takes minutes."""
_ARGUMENTS = {SINGLE: "scan", LISTING: "list", PER_USER: "posture"}


@dataclass
class Measurement:
    """One way to scan, at one number of users and one latency; times are medians of the runs."""

    way: str
    users: int
    latency_ms: float
    runs: int
    seconds: float
    cpu_seconds: float
    calls: dict[str, int]
    write_units: int
    invocations: dict[str, int] = field(default_factory=dict)
    function_seconds: float = 0.0
    transitions: int = 0
    history_events: int = 0
    largest_payload: int = 0
    record_bytes: float = 0.0
    """Mean size of a record."""
    kept_bytes: int = 0
    """What is kept of posture for the scan's WriteBatch."""
    picture_bytes: int = 0
    """What is kept of all users as they were announced."""
    memory_mb: dict[str, float] = field(default_factory=dict)
    """The most memory of each function's process."""
    publish_seconds: float | None = None
    """Of ``seconds``, those of PublishChanges, which a single process does not do; None where nobody noted them."""
    publish_cpu_seconds: float | None = None
    """The same of ``cpu_seconds``."""
    throttled: int = 0
    """Writes that the index did not take, and that were sent again."""

    @property
    def iam_calls(self) -> int:
        """All calls of IAM."""
        return sum(count for call, count in self.calls.items() if call.startswith("iam:"))


def workflow(aws: Emulator, outputs: Mapping[str, Any], users: int, latency_ms: float, runs: int) -> Measurement:
    """Run the state machine so many times, warm."""
    steps = {name: step for step, name in outputs["lambda_function_names"].items()}
    seconds, cpu, function_seconds, publish_seconds, publish_cpu = [], [], [], [], []
    for _ in range(runs):
        # A scan is named after its second; two of one second would be one.
        next_second()
        meter.begin(aws, latency_ms)
        execution = scan.follow(
            aws.client, scan.start(aws.client, outputs["state_machine_arn"]), lambda event: None, timeout_seconds=300
        )
        used = meter.read(aws)
        scanned = execution.output.get("outcome", {}).get("users_scanned")
        if execution.status != "SUCCEEDED" or scanned != users:
            raise RuntimeError(f"{execution.arn} ended as {execution.status} with {scanned} users: {execution.cause}")
        seconds.append((execution.stopped - execution.started).total_seconds())
        cpu.append(sum(function["cpu_seconds"] for function in used["functions"].values()))
        function_seconds.append(sum(function["seconds"] for function in used["functions"].values()))
        publish_seconds.append(sum(visit.seconds for visit in execution.visits if visit.state == "PublishChanges"))
        publish_cpu.append(used["functions"][outputs["lambda_function_names"]["publish_changes"]]["cpu_seconds"])
    invocations = {steps[name]: int(function["invocations"]) for name, function in used["functions"].items()}
    visits = Counter(visit.state for visit in execution.visits)
    batches = invocations.get("write_batch", 0)
    return Measurement(
        way=WORKFLOW,
        users=users,
        latency_ms=latency_ms,
        runs=runs,
        seconds=statistics.median(seconds),
        cpu_seconds=statistics.median(cpu),
        calls=used["calls"],
        write_units=used["write_units"],
        invocations=invocations,
        function_seconds=statistics.median(function_seconds),
        # Billed are the states that are executed, those of the iterations too (Step Functions pricing).
        transitions=sum(visits.values()) + batches,
        history_events=history_events(visits, batches),
        largest_payload=execution.largest_payload,
        record_bytes=used["record_bytes"],
        kept_bytes=used["posture_bytes"],
        picture_bytes=used["picture_bytes"],
        memory_mb={steps[name]: function["memory_mb"] for name, function in used["functions"].items()},
        publish_seconds=statistics.median(publish_seconds),
        publish_cpu_seconds=statistics.median(publish_cpu),
    )


def account(aws: Emulator, outputs: Mapping[str, Any], latency_ms: float, runs: int) -> Measurement:
    """Run the state machine as a run over an organization does for each account, warm."""
    return replace(workflow(aws, outputs, ACCOUNT_USERS, latency_ms, runs), way=ACCOUNT)


def throttled(aws: Emulator, outputs: Mapping[str, Any], users: int, latency_ms: float, runs: int) -> Measurement:
    """Run the state machine where the index throttles."""
    index_limit.begin(aws, INDEX_UNITS)
    try:
        found = workflow(aws, outputs, users, latency_ms, runs)
        return replace(found, way=THROTTLED, throttled=index_limit.read(aws)["throttled"] // runs)
    finally:
        index_limit.begin(aws, 0)


def publication(aws: Emulator, outputs: Mapping[str, Any], users: int, latency_ms: float, runs: int) -> Measurement:
    """Change the account and scan it, so many times, warm; only PublishChanges is measured.

    Of :data:`CHANGES` users a fifth is deleted and created again, a fifth gets another name, and the others another
    group. That costs most: of everybody who is missing the table is asked.
    """
    function = outputs["lambda_function_names"]["publish_changes"]
    seconds, function_seconds, memory = [], [], []
    for run in range(runs):
        meter.begin(aws)
        _change(aws, run)
        next_second()
        meter.begin(aws, latency_ms)
        arn = scan.start(aws.client, outputs["state_machine_arn"])
        execution = scan.follow(aws.client, arn, lambda event: None, timeout_seconds=300)
        used = meter.read(aws)
        told = execution.output.get("changes", {}).get("events")
        # Findings may have opened by time alone, and the end of the scan is told, too.
        if told is None or not CHANGES < told <= 2 * CHANGES:
            raise RuntimeError(f"{arn} announced {told} events: {execution.output.get('publish_changes_error')}")
        seconds += [visit.seconds for visit in execution.visits if visit.state == "PublishChanges"]
        function_seconds.append(used["functions"][function]["seconds"])
        memory.append(used["functions"][function]["memory_mb"])
    return Measurement(
        way=PUBLICATION,
        users=users,
        latency_ms=latency_ms,
        runs=runs,
        seconds=statistics.median(seconds),
        cpu_seconds=used["functions"][function]["cpu_seconds"],
        calls={"events:PutEvents": used["calls"].get("events:PutEvents", 0)},
        write_units=0,
        invocations={"publish_changes": int(used["functions"][function]["invocations"])},
        function_seconds=statistics.median(function_seconds),
        picture_bytes=used["picture_bytes"],
        memory_mb={"publish_changes": max(memory)},
    )


def _change(aws: Emulator, run: int) -> None:
    """Do to some users, others each time, what is announced."""
    iam = aws.client("iam")
    some = sorted(scan.users(aws.client), key=lambda user: str(user["UserName"]))[run * CHANGES : (run + 1) * CHANGES]
    for number, user in enumerate(some):
        name = user["UserName"]
        if number % 5 == 0:
            changes.remove(iam, name)
            iam.create_user(UserName=name, Path=user["Path"])
        elif number % 5 == 1:
            iam.update_user(UserName=name, NewUserName=f"{name}.renamed")
        else:
            group = f"bench-{run}"
            with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
                iam.create_group(GroupName=group)
            iam.add_user_to_group(UserName=name, GroupName=group)
    past.pass_time(aws, changes.REPORT_KEPT.total_seconds())


def single(aws: Emulator, table: str, way: str, users: int, latency_ms: float, runs: int) -> Measurement:
    """Run the single process, in one of its ways, so many times."""
    arguments = [_ARGUMENTS[way], table]
    results = []
    for _ in range(runs):
        meter.begin(aws, latency_ms)
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.single_process", *arguments],
            env={**os.environ, **aws.client_env()},
            capture_output=True,
            text=True,
            check=True,
        )
        result = json.loads(done.stdout)
        if result["users"] != users:
            raise RuntimeError(f"the single process saw {result['users']} of {users} users")
        results.append(result)
    used = meter.read(aws)
    return Measurement(
        way=way,
        users=users,
        latency_ms=latency_ms,
        runs=runs,
        seconds=statistics.median(result["seconds"] for result in results),
        cpu_seconds=statistics.median(result["cpu_seconds"] for result in results),
        calls=used["calls"],
        write_units=used["write_units"],
    )


def all_ways(
    aws: Emulator, outputs: Mapping[str, Any], users: int, latency_ms: float, runs: int, say: Callable[[str], None]
) -> list[Measurement]:
    """Measure the ways one after another; that of a call per user and fact once only, where it ends in minutes."""
    table = outputs["dynamodb_table_name"]
    found = []
    for way in (WORKFLOW, SINGLE, LISTING, PER_USER):
        if way == WORKFLOW:
            measured = workflow(aws, outputs, users, latency_ms, runs)
        elif way != PER_USER:
            measured = single(aws, table, way, users, latency_ms, runs)
        elif latency_ms and users <= PER_USER_USERS:
            measured = single(aws, table, way, users, latency_ms, runs=1)
        else:
            continue
        say(f"  {users:>5,} users, {latency_ms:g} ms a call, {way}: {measured.seconds:.2f} s")
        found.append(measured)
    return found
