"""Permissions of the deployed roles: read, taken away one by one, and what is then missed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.e2e.conftest import Deployment
from tests.local_aws.aws import faults
from tests.local_aws.run import scan
from tests.local_aws.run.scan import LOCK_KEY, Execution
from tests.support.waiting import awaited, next_second

NOTHING = {"Effect": "Deny", "Action": "iam:CreateUser", "Resource": "*"}
LEADING_KEYS = "dynamodb:LeadingKeys"
EVIDENCE_SECONDS = 4

WRITES_LOGS = "the emulator writes the logs of functions itself, whatever their roles allow"
NO_TRACING = "the emulator has no X-Ray"
NO_DELIVERY = "the emulator delivers no log of executions"


def unprovable(functions: Iterable[str], state_machine: str) -> dict[tuple[str, str], str]:
    """Return what the emulator cannot show of the roles of functions and of a state machine, and why."""
    functions = list(functions)
    return {
        **{(role, f"logs:{action}"): WRITES_LOGS for role in functions
           for action in ("CreateLogStream", "PutLogEvents")},
        **{(role, f"xray:{action}"): NO_TRACING for role in (*functions, state_machine)
           for action in ("PutTraceSegments", "PutTelemetryRecords")},
        **{(state_machine, f"xray:{action}"): NO_TRACING for action in ("GetSamplingRules", "GetSamplingTargets")},
        **{(state_machine, f"logs:{action}"): NO_DELIVERY
           for action in ("CreateLogDelivery", "DeleteLogDelivery", "DescribeLogGroups", "DescribeResourcePolicies",
                          "GetLogDelivery", "ListLogDeliveries", "PutResourcePolicy", "UpdateLogDelivery")},
    }  # fmt: skip


def item_by_item(roles: Iterable[str]) -> set[tuple[str, str, str]]:
    """Return the permissions of those who write lock and manifest in one transaction that the emulator needs not.

    It judges each item by its own key. Whether AWS does is not documented, so they may touch both by either action.
    """
    return {
        (role, action, key)
        for role in roles
        for action, key in (("dynamodb:UpdateItem", "__execution_lock__"), ("dynamodb:PutItem", "__scan__"))
    }


@dataclass(frozen=True)
class Permission:
    """One action on one resource, and on the items of one key where the statement names keys."""

    role: str
    statement: int
    action: str
    resource: str
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}" + (f" for {self.key}" if self.key else "")

    def taken_from(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the policy without it."""
        without = deepcopy(document)
        statements = without["Statement"]
        statement = statements.pop(self.statement)
        # What is left of the statement: its other actions, resources and keys, each as it was.
        for actions, resources, keys in (
            ([action for action in _list(statement["Action"]) if action != self.action], _list(statement["Resource"]),
             _keys(statement)),
            ([self.action], [one for one in _list(statement["Resource"]) if one != self.resource], _keys(statement)),
            ([self.action], [self.resource], [key for key in _keys(statement) if key != self.key]),
        ):  # fmt: skip
            if actions and resources and keys:
                left = {**deepcopy(statement), "Action": actions, "Resource": resources}
                left.pop("Sid", None)
                if keys != [None]:
                    _leading_keys(left)[LEADING_KEYS] = keys
                statements.append(left)
        # A policy has at least one statement.
        return without if statements else {**without, "Statement": [NOTHING]}


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _leading_keys(statement: dict[str, Any]) -> dict[str, Any]:
    for operator, conditions in statement.get("Condition", {}).items():
        if operator.startswith("ForAllValues") and LEADING_KEYS in conditions:
            found: dict[str, Any] = conditions
            return found
    return {}


def _keys(statement: dict[str, Any]) -> list[Any]:
    found = _leading_keys(statement).get(LEADING_KEYS)
    return [None] if found is None else _list(found)


class Account:
    """The deployment, its roles, and what the scenarios do with it."""

    scheduled_machine = "state_machine_arn"
    """The output that names what the schedule starts."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._passing = 0
        self.iam = deployment.aws.client("iam")
        self._names = {
            role["RoleName"].removeprefix("iam-user-monitor-"): role["RoleName"]
            for page in self.iam.get_paginator("list_roles").paginate()
            for role in page["Roles"]
        }

    @property
    def roles(self) -> set[str]:
        return set(self._names)

    def policy(self, role: str) -> tuple[str, dict[str, Any]]:
        """Return the name and the document of a role's one policy."""
        (name,) = self.iam.list_role_policies(RoleName=self._names[role])["PolicyNames"]
        document = self.iam.get_role_policy(RoleName=self._names[role], PolicyName=name)["PolicyDocument"]
        return name, document

    def permissions(self, role: str) -> Iterator[Permission]:
        _, document = self.policy(role)
        for number, statement in enumerate(document["Statement"]):
            assert statement["Effect"] == "Allow"
            for action in _list(statement["Action"]):
                for resource in _list(statement["Resource"]):
                    for key in _keys(statement):
                        yield Permission(role, number, action, resource, key)

    @contextmanager
    def changed(self, role: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[None]:
        """Change the policy of a role for a while."""
        name, document = self.policy(role)
        self._put(role, name, change(document))
        try:
            yield
        finally:
            self._put(role, name, document)

    def _put(self, role: str, name: str, document: dict[str, Any]) -> None:
        self.iam.put_role_policy(RoleName=self._names[role], PolicyName=name, PolicyDocument=json.dumps(document))

    # What the workflow does

    def scan(self) -> str:
        """Run a scan."""
        return self.told(self.deployment.run())

    def scan_of_changes(self) -> str:
        """Run a scan that has something to announce: a user who came, and one who went."""
        names = [f"passing-{number}" for number in (time.time_ns(), self._passing)]
        self._passing = int(names[0].partition("-")[2])
        self.iam.create_user(UserName=names[0])
        with suppress(self.iam.exceptions.NoSuchEntityException):
            self.iam.delete_user(UserName=names[1])
        return self.scan()

    def failed_and_redriven_scan(self) -> str:
        """Run a scan that fails, mend the cause, and redrive it."""
        faults.inject(self.deployment.aws, faults.fault("lambda:list_users", "error"))
        execution = self.deployment.run()
        faults.mend(self.deployment.aws)
        return self.told(execution) + self.told(self.deployment.redrive(execution.arn))

    def stopped_and_redriven_scan(self) -> str:
        """Stop a scan where it writes, wait for CleanUp, and redrive it past AcquireLock."""
        faults.inject(self.deployment.aws, faults.fault("dynamodb:BatchWriteItem", "timeout"))
        arn = self.deployment.start()
        awaited(lambda: faults.injected(self.deployment.aws)[0]["hit"], seconds=EVIDENCE_SECONDS)
        self.deployment.aws.client("stepfunctions").stop_execution(executionArn=arn)
        awaited(lambda: self.deployment.lock() is None, seconds=EVIDENCE_SECONDS)
        faults.mend(self.deployment.aws)
        return self.told(self.deployment.redrive(arn))

    def late_calls(self) -> str:
        """Run a scan whose EmitMetrics fails, wait for CleanUp, and make every call of it again: all are late."""
        faults.inject(self.deployment.aws, faults.fault("lambda:emit_metrics", "error"))
        execution = self.deployment.run()
        faults.mend(self.deployment.aws)
        awaited(lambda: self._manifest(execution).get("status") != "RUNNING", seconds=EVIDENCE_SECONDS)
        functions = self.deployment.aws.client("lambda")
        return self.told(execution) + "".join(
            functions.invoke(FunctionName=function, Payload=json.dumps(payload))["Payload"].read().decode()
            for function, payload in scan.invocations_of(self.deployment.aws.client, execution.arn)
        )

    def _manifest(self, execution: Execution) -> dict[str, Any]:
        return scan.manifest_of(self.deployment.aws.client, self.deployment.outputs, execution)

    def tick(self) -> str:
        """Let the schedule's rule hear an event, which it answers as it does its schedule."""
        events, states = self.deployment.aws.client("events"), self.deployment.aws.client("stepfunctions")
        rule = events.describe_rule(Name=self.deployment.outputs["event_rule_name"])
        machine = self.deployment.outputs[self.scheduled_machine]

        def executions() -> set[str]:
            return {one["executionArn"] for one in states.list_executions(stateMachineArn=machine)["executions"]}

        before = executions()
        kept = {"Name": rule["Name"], "ScheduleExpression": rule["ScheduleExpression"]}
        events.put_rule(**kept, State="ENABLED", EventPattern=json.dumps({"source": ["test.tick"]}))
        try:
            events.put_events(Entries=[{"Source": "test.tick", "DetailType": "tick", "Detail": "{}"}])
            if started := awaited(lambda: executions() - before, seconds=EVIDENCE_SECONDS / 2):
                return self.told(self.deployment.finish(started.pop()))
            return "is not authorized to perform: states:StartExecution, or nothing was started for another reason"
        finally:
            events.put_rule(**kept, State=rule["State"])

    @staticmethod
    def told(execution: Execution) -> str:
        """Return all that an execution tells."""
        return execution.cause + json.dumps(execution.events, default=str)

    def logged_since(self, moment: float) -> str:
        """Return what the functions have logged."""
        logs = self.deployment.aws.client("logs")
        names = self.deployment.outputs["log_group_names"]
        groups = [name for step, name in names.items() if not step.endswith("state_machine")]
        return "".join(
            event["message"]
            for group in groups
            for event in logs.filter_log_events(logGroupName=group, startTime=int(moment * 1000))["events"]
        )

    def free_lock(self) -> None:
        self.deployment.aws.client("dynamodb").delete_item(
            TableName=self.deployment.outputs["dynamodb_table_name"], Key=LOCK_KEY
        )


def denials(account: Account, scenario: str) -> str:
    """Return all that a scenario, the executions and the functions told."""
    # A scan is named after its second, and the lock may be left over from one that could not free it.
    next_second()
    account.free_lock()
    began = time.time()
    try:
        told: str = getattr(account, scenario)()
        # CleanUp and the finally path tell in their logs only.
        return told + account.logged_since(began)
    finally:
        faults.mend(account.deployment.aws)


@contextmanager
def without_all(account: Account, unneeded: Collection[tuple[str, str]]) -> Iterator[None]:
    """Take actions from roles for a while."""
    roles = sorted({role for role, _ in unneeded})
    with _without_all(account, roles, unneeded):
        yield


@contextmanager
def _without_all(account: Account, roles: list[str], unneeded: Collection[tuple[str, str]]) -> Iterator[None]:
    if not roles:
        yield
        return
    role, *others = roles

    def change(document: dict[str, Any]) -> dict[str, Any]:
        statements = [
            {**statement, "Action": actions}
            for statement in document["Statement"]
            if (actions := [one for one in _list(statement["Action"]) if (role, one) not in unneeded])
        ]
        return {**document, "Statement": statements}

    with account.changed(role, change), _without_all(account, others, unneeded):
        yield


def needed(account: Account, permission: Permission, scenarios: Iterable[str]) -> bool:
    """Return whether one of the scenarios misses a permission that is taken away."""
    with account.changed(permission.role, permission.taken_from):
        return any(
            f"not authorized to perform: {permission.action}" in denials(account, scenario) for scenario in scenarios
        )
