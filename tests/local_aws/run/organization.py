"""``make run ACCOUNTS=5``: a run over every account of an organization, and what it must have left behind in each.

Nothing of the functions is imported here: what is expected follows from the organization that was made. One of its
accounts has no role at first, so that there is an account to fail, to be told of, and to be redriven by itself; another
one is suspended.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.local_aws.aws import ACCOUNT_ID, fleet, member_role
from tests.local_aws.aws.emulator import Emulator
from tests.local_aws.aws.fleet import Fleet
from tests.local_aws.run import changes, posture, scan
from tests.local_aws.run.changes import Event
from tests.local_aws.run.scan import Check, Clients, Execution
from tests.local_aws.run.steps import say

VARIABLES = {"organization_enabled": "true", "member_external_id": "this-deployment-and-no-other"}
"""The variables of the Terraform configuration by which a deployment scans an organization."""
METRICS = ("AccountsScanned", "AccountsFailed")
SCAN_FAILED = "IAM User Scan Failed"

_STATE_MACHINE = "organization_state_machine_arn"
_SHOWN_ACCOUNTS = 12
_SHOWN_NAMES = 3
_SECONDS_BETWEEN_LINES = 2.0


@dataclass(frozen=True)
class Account:
    """An account as IAM has it: what its scan has to record."""

    account_id: str
    name: str
    users: list[dict[str, Any]]
    clients: Clients

    @property
    def is_own(self) -> bool:
        """Whether it is the deployment's own."""
        return self.account_id == ACCOUNT_ID

    @property
    def user_prefix(self) -> str:
        """What the user_name of its records begins with."""
        return "" if self.is_own else f"{self.account_id}/"

    @property
    def manifest_key(self) -> str:
        """What stands before the scan_timestamp in the sort key of its manifest."""
        return "scan#" if self.is_own else f"account#{self.account_id}#scan#"


@dataclass(frozen=True)
class Facts:
    """What a run over all accounts left behind."""

    scan_timestamp: str
    records: dict[str, list[dict[str, Any]]]
    """Of each account, as the table has them."""
    indexed: Counter[str]
    """How many records of each account one query of the index returns."""
    manifests: dict[str, dict[str, Any]]
    fleet: dict[str, Any]
    locks: list[str]
    metrics: dict[str, float | None]
    executions: dict[str, dict[str, Any]]
    """What DescribeExecution says of the scan of each account."""


def make(aws: Emulator, outputs: Mapping[str, Any], accounts: int, users: int) -> Fleet:
    """Make an organization around the deployment's account: accounts with users, and the role in all but one."""
    say(f"Creating an organization: {accounts:,} accounts of {users:,} IAM users, one without the role, one suspended")
    return fleet.make(aws, accounts, users, outputs["member_role_trust"])


def run(
    aws: Emulator, outputs: Mapping[str, Any], made: Fleet, retention_days: int, recorded_tags: Sequence[str]
) -> tuple[dict[str, Any], list[Check]]:
    """Scan all accounts, give the one without a role its role, redrive, verify; return facts, and checks.

    Parameters
    ----------
    retention_days, recorded_tags
        As the deployment has them.
    """
    accounts = list(_accounts(aws, made))
    (forgotten,) = [member for member in made.members if not member.has_role]
    listener = changes.Listener(aws.client, outputs)
    say("Starting the scan of the organization")
    arn = scan.start(aws.client, outputs[_STATE_MACHINE])
    first = scan.follow(aws.client, arn, lambda event: None, waiting=_Progress(aws.client, outputs, len(accounts)))
    before = collect(aws.client, outputs, first, accounts)
    checks = verify_first(first, before, listener.events(), accounts, forgotten.account_id)
    say(f"{first.status}: {first.cause or 'every account'}")

    say(f"Giving account {forgotten.account_id} the role, and redriving")
    fleet.make_role(aws, forgotten.account_id, member_role.properties(outputs["member_role_trust"]))
    aws.client("stepfunctions").redrive_execution(executionArn=arn)
    second = scan.follow(aws.client, arn, lambda event: None)
    facts = collect(aws.client, outputs, second, accounts)
    checks += verify(second, facts, accounts, made, retention_days)
    checks.append(verify_redrive(before, facts, forgotten.account_id))
    checks.append(verify_events(listener.events(), {forgotten.account_id}))
    checks += verify_posture(facts, accounts, recorded_tags)
    for line in summary(second, facts, accounts, checks):
        print(line)
    return facts_as_json(second, facts, checks), checks


def collect(clients: Clients, outputs: Mapping[str, Any], execution: Execution, accounts: Sequence[Account]) -> Facts:
    """Read what a run left behind, by the ways that the documentation names."""
    table, timestamp = outputs["dynamodb_table_name"], execution.scan_timestamp
    dynamodb = clients("dynamodb")
    items = [
        scan.plain(item)
        for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        for item in page["Items"]
    ]
    records = defaultdict(list)
    for item in items:
        if item["scan_timestamp"] == timestamp:
            records[_account_of(item["user_name"])].append(item)
    about = {item["scan_timestamp"]: item for item in items if item["user_name"] == "__scan__"}
    indexed = dynamodb.get_paginator("query").paginate(
        TableName=table,
        IndexName=outputs["scan_index_name"],
        KeyConditionExpression="scan_timestamp = :scan",
        ExpressionAttributeValues={":scan": {"S": timestamp}},
    )
    states = clients("stepfunctions")
    manifests = {one.account_id: about.get(one.manifest_key + timestamp, {}) for one in accounts}
    return Facts(
        scan_timestamp=timestamp,
        records=dict(records),
        indexed=Counter(_account_of(item["user_name"]["S"]) for page in indexed for item in page["Items"]),
        manifests=manifests,
        fleet=about.get(f"organization#{timestamp}", {}),
        locks=[item["scan_timestamp"] for item in items if item["user_name"] == "__execution_lock__"],
        metrics={name: scan.metric(clients("cloudwatch"), name, execution) for name in METRICS},
        executions={
            account: states.describe_execution(executionArn=manifest["execution_arn"])
            for account, manifest in manifests.items()
            if manifest
        },
    )


def verify_first(
    execution: Execution, facts: Facts, events: Sequence[Event], accounts: Sequence[Account], forgotten: str
) -> list[Check]:
    """Hold a run in which one account could not be looked into against that: it is named, and the others are there."""
    others = {one.account_id for one in accounts} - {forgotten}
    complete = {account for account, manifest in facts.manifests.items() if manifest.get("status") == "COMPLETE"}
    failed = {entry["account_id"]: entry["error_type"] for entry in facts.fleet.get("failed", [])}
    return [
        Check(
            "an account that does not let in fails the run, by name",
            execution.status == "FAILED" and forgotten in execution.cause and "AccessDenied" in execution.cause,
            execution.cause or execution.status,
        ),
        Check(
            "and no other account",
            complete == others and failed == {forgotten: "AccessDenied"},
            f"{len(complete)} of {len(others)} others COMPLETE, failed: {', '.join(sorted(failed)) or 'none'}",
        ),
        verify_events(events, others, {forgotten}),
    ]


def verify(
    execution: Execution, facts: Facts, accounts: Sequence[Account], made: Fleet, retention_days: int
) -> list[Check]:
    """Hold a complete run against the accounts as IAM has them."""
    timestamp = facts.scan_timestamp
    expected = {one.account_id: _expected(one, facts, retention_days) for one in accounts}
    recorded = {
        account: {record["user_name"]: scan.as_listed(record) for record in facts.records.get(account, [])}
        for account in expected
    }
    missing = [name for account, users in expected.items() for name in users.keys() - recorded[account].keys()]
    wrong = [
        name
        for account, users in expected.items()
        for name, record in recorded[account].items()
        if record != users.get(name)
    ]
    total = sum(len(one.users) for one in accounts)
    count = sum(len(records) for records in facts.records.values())
    incomplete = [
        account
        for account, manifest in facts.manifests.items()
        if (manifest.get("status"), manifest.get("users_scanned")) != ("COMPLETE", len(expected[account]))
    ]
    skipped = {entry["account_id"]: entry["reason"] for entry in facts.fleet.get("skipped", [])}
    suspended = {member.account_id for member in made.members if member.account.state != "ACTIVE"}
    return [
        Check("the redriven run succeeded", execution.status == "SUCCEEDED", execution.cause or execution.status),
        Check(
            "every user of every account has exactly one record",
            not missing and count == total and facts.records.keys() == expected.keys(),
            f"{count:,} records, {total:,} users in {len(accounts)} accounts{_some('missing', missing)}",
        ),
        Check(
            "every record has the right attributes", not wrong, f"{count - len(wrong):,} right{_some('wrong', wrong)}"
        ),
        Check(
            "one query of the index returns the fleet",
            facts.indexed == Counter({account: len(users) for account, users in expected.items()}),
            f"{facts.indexed.total():,} users by scan-timestamp-index under {timestamp}",
        ),
        Check(
            "the manifest of every account says COMPLETE",
            not incomplete,
            f"{len(accounts) - len(incomplete)} of {len(accounts)}{_some('not', incomplete)}",
        ),
        Check(
            "the manifest of the organization names them",
            facts.fleet.get("status") == "COMPLETE"
            and not facts.fleet.get("failed")
            and {entry["account_id"] for entry in facts.fleet.get("accounts", [])} == expected.keys(),
            f"{facts.fleet.get('status')}, {len(facts.fleet.get('accounts', []))} accounts",
        ),
        Check(
            "an account that is suspended is skipped, with the reason",
            skipped.keys() == suspended and all("SUSPENDED" in reason for reason in skipped.values()),
            "; ".join(f"{account}: {reason}" for account, reason in skipped.items()) or "none",
        ),
        Check("no lock is held", not facts.locks, ", ".join(facts.locks) or "free"),
        Check(
            "the metrics tell of the accounts",
            # Both attempts: the first without one of them.
            facts.metrics == {"AccountsScanned": 2 * len(accounts) - 1, "AccountsFailed": 1},
            ", ".join(f"{name} {scan.number(value)}" for name, value in facts.metrics.items()),
        ),
        Check(
            "no state carried more than 256 KiB",
            execution.largest_payload <= scan.STATE_LIMIT_BYTES,
            f"largest {execution.largest_payload / 1024:.0f} KiB",
        ),
    ]


def verify_redrive(before: Facts, after: Facts, forgotten: str) -> Check:
    """Check that the redrive scanned the account that had failed, and no other."""
    redriven = {account for account, execution in after.executions.items() if execution.get("redriveCount")}
    changed = [account for account in before.manifests if before.manifests[account] != after.manifests[account]]
    same = [account for account in before.executions if _arn(before, account) != _arn(after, account)]
    return Check(
        "the redrive scanned that account only",
        redriven == set(changed) == {forgotten} and not same,
        f"redriven: {', '.join(sorted(redriven)) or 'none'}",
    )


def verify_events(
    events: Sequence[Event], completed: set[str], failed: frozenset[str] | set[str] = frozenset()
) -> Check:
    """Check that each account is told of once, and with its name: that its scan is complete, or that it failed."""
    told = Counter((event.detail_type, event.detail["account_id"]) for event in events)
    due = Counter([(changes.SCAN_COMPLETED, one) for one in completed] + [(SCAN_FAILED, one) for one in failed])
    unnamed = [
        event.says
        for event in events
        if event.detail["account_id"] != ACCOUNT_ID and not event.detail.get("account_name")
    ]
    return Check(
        "each account is told of once" if not failed else "the failed account is told of, and each other one",
        told == due and not unnamed,
        ", ".join(f"{count} × {kind}" for kind, count in Counter(kind for kind, _ in told.elements()).items())
        + _some("unexpected", [f"{kind} {account}" for kind, account in (told - due)]),
    )


def verify_posture(facts: Facts, accounts: Sequence[Account], recorded_tags: Sequence[str]) -> list[Check]:
    """Compare the posture of every account's users with what its IAM says; return one check for each comparison."""
    found: dict[str, list[tuple[str, Check]]] = defaultdict(list)
    for one in accounts:
        records = [
            {**record, "user_name": record["user_name"].removeprefix(one.user_prefix)}
            for record in facts.records.get(one.account_id, [])
        ]
        for check in posture.verify(one.clients, records, facts.manifests[one.account_id], recorded_tags):
            found[check.name].append((one.account_id, check))
    return [
        Check(
            f"{name}, in every account",
            all(check.passed for _, check in checks),
            "; ".join(f"{account}: {check.found}" for account, check in checks if not check.passed)
            or f"{len(checks)} of {len(accounts)} accounts",
        )
        for name, checks in found.items()
    ]


def summary(execution: Execution, facts: Facts, accounts: Sequence[Account], checks: Sequence[Check]) -> Iterator[str]:
    """Yield the lines that a person reads at the end."""
    yield from ("", f"Status          {execution.status}", f"Execution       {execution.arn}")
    yield f"Fleet           {facts.scan_timestamp}, {len(accounts):,} accounts, {facts.indexed.total():,} users"
    yield from ("", f"{'Account':<14}{'Name':<26}{'Status':<12}{'Users':>6}{'Attempt':>9}{'Seconds':>9}")
    for one in accounts[:_SHOWN_ACCOUNTS]:
        manifest = facts.manifests[one.account_id]
        seconds = int(manifest.get("duration_ms", 0)) / 1000
        yield (
            f"{one.account_id:<14}{one.name:<26}{manifest.get('status', 'none'):<12}"
            f"{manifest.get('users_scanned', 0):>6}{manifest.get('attempt', 0):>9}{seconds:>9.1f}"
        )
    if len(accounts) > _SHOWN_ACCOUNTS:
        yield f"... and {len(accounts) - _SHOWN_ACCOUNTS:,} more"
    for entry in facts.fleet.get("skipped", []):
        yield f"{entry['account_id']:<14}{entry.get('account_name', ''):<26}skipped: {entry['reason']}"
    yield from ("", "Checks")
    yield from (f"  {'ok    ' if check.passed else 'FAILED'}  {check.name}: {check.found}" for check in checks)


def facts_as_json(execution: Execution, facts: Facts, checks: Sequence[Check]) -> dict[str, Any]:
    """Return the facts of a run for tools."""
    return {
        "status": execution.status,
        "execution_arn": execution.arn,
        "scan_timestamp": facts.scan_timestamp,
        "seconds": (execution.stopped - execution.started).total_seconds(),
        "accounts": {account: len(facts.records.get(account, [])) for account in facts.manifests},
        "skipped": facts.fleet.get("skipped", []),
        "metrics": facts.metrics,
        "largest_payload_bytes": execution.largest_payload,
        "checks": [{"name": check.name, "passed": check.passed, "found": check.found} for check in checks],
    }


class _Progress:
    """Says now and then how many accounts' scans have ended."""

    def __init__(self, clients: Clients, outputs: Mapping[str, Any], accounts: int) -> None:
        self._states, self._machine, self._accounts = clients("stepfunctions"), outputs["state_machine_arn"], accounts
        self._next, self._told = 0.0, 0

    def __call__(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _SECONDS_BETWEEN_LINES
        pages = self._states.get_paginator("list_executions").paginate(stateMachineArn=self._machine)
        ended = sum(execution["status"] != "RUNNING" for page in pages for execution in page["executions"])
        if ended > self._told:
            self._told = ended
            say(f"  {ended:,} of {self._accounts:,} accounts")


def _accounts(aws: Emulator, made: Fleet) -> Iterator[Account]:
    """Yield the accounts that are to be scanned, the deployment's own first."""

    def account(account_id: str, name: str) -> Account:
        clients: Callable[[str], Any] = lambda service: aws.client(service, account_id)  # noqa: E731 - typed so
        return Account(account_id, name, scan.users(clients), clients)

    yield account(ACCOUNT_ID, "this deployment's own")
    for member in made.members:
        if member.account.state == "ACTIVE":
            yield account(member.account_id, member.account.name)


def _expected(account: Account, facts: Facts, retention_days: int) -> dict[str, dict[str, Any]]:
    """Return the records that the users of an account are to have, by their user_name."""
    # From the start of the account's own execution, which is up to hours after the run's.
    ttl = scan.expiry(facts.manifests[account.account_id]["started_at"], retention_days)
    records = (scan.record_of(user, facts.scan_timestamp, account.account_id, ttl) for user in account.users)
    keyed = ({**record, "user_name": account.user_prefix + record["user_name"]} for record in records)
    return {record["user_name"]: record for record in keyed}


def _account_of(user_name: str) -> str:
    """Return the account of a record."""
    account, slash, _ = user_name.partition("/")
    return account if slash else ACCOUNT_ID


def _arn(facts: Facts, account: str) -> str:
    return str(facts.executions[account]["executionArn"])


def _some(word: str, names: Sequence[str]) -> str:
    return f", {word}: {', '.join(sorted(names)[:_SHOWN_NAMES])}" if names else ""
