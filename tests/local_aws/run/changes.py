"""Changes the account between two scans, and holds what the second one announces against what was done.

Nothing of the functions is imported here. What an event must say follows from what was done to the account, not from
the records of the two scans, so that a mistake in the functions cannot hide itself.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.local_aws.aws import past
from tests.local_aws.aws.emulator import Emulator
from tests.local_aws.aws.past import Call
from tests.local_aws.run import scan
from tests.local_aws.run.scan import Check, Clients, Execution

SOURCE = "iam-user-monitor"
SCAN_COMPLETED = "IAM User Scan Completed"
ROOT = "<root_account>"
NEWCOMER = "nina.newcomer"
ADMINISTRATORS = "administrators"
REPORT_KEPT = timedelta(hours=4)
"""For so long IAM makes no new credential report."""

BY_AGE = frozenset({"unused-45-days", "key-older-90-days"})
"""Findings that open, and close, by time alone or by use: they may be in any event, and in one of their own."""

_QUEUE = "changes-as-a-rule-sends-them"
_TOPIC_QUEUE = "changes-as-the-topic-tells-them"
_SIGNED_IN_LATELY = timedelta(days=30)
_SHOWN = 3

Detail = Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """An event as a queue received it."""

    detail_type: str
    detail: Detail

    @property
    def says(self) -> str:
        """The type and the sentence."""
        return f"{self.detail_type}: {self.detail.get('summary')}"

    def as_json(self) -> dict[str, Any]:
        """Return it as it is called on the bus."""
        return {"detail-type": self.detail_type, "detail": self.detail}


@dataclass(frozen=True)
class Done:
    """Something that was done to the account, and what an event must say of it.

    Attributes
    ----------
    words
        What was done, for people.
    before, after
        What the event must say was and is so, among other things.
    attributes
        Exactly what has changed; None where everything has, or nothing has been there before.
    opened
        Exactly the findings that open, but for :data:`BY_AGE`.
    closed
        The same of those that close; None where that depends on what the user was.
    """

    words: str
    detail_type: str
    user_name: str
    user_id: str | None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    attributes: frozenset[str] | None = None
    opened: frozenset[str] = frozenset()
    closed: frozenset[str] | None = frozenset()


class Listener:
    """The queue of a rule on the bus that the deployment announces on, and one of its topic if it has any.

    Neither is of the product, which deploys a topic at the most: whoever wants the events has a rule like this one.
    """

    def __init__(self, clients: Clients, outputs: Mapping[str, Any]) -> None:
        self._sqs = clients("sqs")
        bus = outputs["event_bus_arn"].partition(":event-bus/")[2]
        machines = filter(None, (outputs["state_machine_arn"], outputs.get("organization_state_machine_arn")))
        executions = [machine.replace(":stateMachine:", ":execution:") for machine in machines]
        # Of this deployment only: others may announce on the same bus.
        pattern = {"source": [SOURCE], "detail": {"execution_arn": [{"prefix": f"{one}:"} for one in executions]}}
        events = clients("events")
        rule = events.put_rule(Name=_QUEUE, EventBusName=bus, EventPattern=json.dumps(pattern))["RuleArn"]
        self._queue = self._make(_QUEUE, "events.amazonaws.com", rule)
        target = {"Id": "queue", "Arn": self._arn_of(self._queue)}
        events.put_targets(Rule=_QUEUE, EventBusName=bus, Targets=[target])
        topic = outputs.get("change_topic_arn")
        self._topic_queue = None
        if topic:
            self._topic_queue = self._make(_TOPIC_QUEUE, "sns.amazonaws.com", topic)
            clients("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=self._arn_of(self._topic_queue))

    def events(self) -> list[Event]:
        """Return the events since the last call."""
        bodies = [json.loads(body) for body in self._take(self._queue)]
        return [Event(body["detail-type"], body["detail"]) for body in bodies]

    def sentences(self) -> list[str] | None:
        """Return what the topic told since the last call; None without a topic."""
        if self._topic_queue is None:
            return None
        return [json.loads(json.loads(body)["Message"]) for body in self._take(self._topic_queue)]

    def _make(self, name: str, principal: str, source: str) -> str:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": principal},
            "Action": "sqs:SendMessage",
            "Resource": "*",
            "Condition": {"ArnEquals": {"aws:SourceArn": source}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        url: str = self._sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
        return url

    def _arn_of(self, url: str) -> str:
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn: str = found["Attributes"]["QueueArn"]
        return arn

    def _take(self, url: str) -> Iterator[str]:
        while messages := self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                yield message["Body"]


def change(aws: Emulator, *, sign_in: bool = True) -> list[Done]:
    """Do to the account what a day does to it, as far as it has the users for it, and let four hours pass.

    Somebody comes, goes, gets another name, and goes to come back under the old one; somebody loses the MFA device,
    somebody becomes an administrator, and root loses its MFA.

    Parameters
    ----------
    sign_in
        Whether somebody also signs in, which is no change where activity is not announced.
    """
    account = _Account(aws)
    done = [
        _create(account),
        *_each(account, account.anybody, _delete, _rename, _recreate),
        *_each(account, account.guarded_by_mfa, _take_mfa_away),
        *_each(account, account.no_administrator, _make_administrator),
        _take_mfa_from_root(account),
    ]
    who = account.find(account.signed_in_lately)
    if sign_in and who:
        past.happened(aws, [Call(datetime.now(UTC), "SignIn", {"UserName": who})])
    # IAM has a report of before all this, and would show it for so long.
    past.pass_time(aws, REPORT_KEPT.total_seconds())
    return done


class _Account:
    """The users, each of whom something is done to once at the most."""

    def __init__(self, aws: Emulator) -> None:
        self.aws, self.iam = aws, aws.client("iam")
        self.users = {user["UserName"]: user for user in scan.users(aws.client)}
        self._left = sorted(self.users)

    def find(self, fits: Callable[[str], bool]) -> str | None:
        """Return a user to whom nothing was done yet and who fits."""
        found = next((name for name in self._left if fits(name)), None)
        if found is not None:
            self._left.remove(found)
        return found

    def anybody(self, _name: str) -> bool:
        return True

    def guarded_by_mfa(self, name: str) -> bool:
        return self.has_password(name) and len(self.iam.list_mfa_devices(UserName=name)["MFADevices"]) == 1

    def no_administrator(self, name: str) -> bool:
        """Tell whether a user has nothing but groups, and not that of the administrators."""
        iam = self.iam
        return (
            ADMINISTRATORS not in self.groups(name)
            and not iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]
            and not iam.list_user_policies(UserName=name)["PolicyNames"]
        )

    def signed_in_lately(self, name: str) -> bool:
        used = self.users[name].get("PasswordLastUsed")
        return used is not None and datetime.now(UTC) - used < _SIGNED_IN_LATELY

    def groups(self, name: str) -> list[str]:
        return sorted(group["GroupName"] for group in self.iam.list_groups_for_user(UserName=name)["Groups"])

    def has_password(self, name: str) -> bool:
        try:
            self.iam.get_login_profile(UserName=name)
        except self.iam.exceptions.NoSuchEntityException:
            return False
        return True


def remove(iam: Any, name: str) -> None:
    """Delete a user, and first, as IAM asks for, everything that it has."""
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    for device in iam.list_mfa_devices(UserName=name)["MFADevices"]:
        iam.deactivate_mfa_device(UserName=name, SerialNumber=device["SerialNumber"])
        iam.delete_virtual_mfa_device(SerialNumber=device["SerialNumber"])
    for policy in iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
        iam.detach_user_policy(UserName=name, PolicyArn=policy["PolicyArn"])
    for policy in iam.list_user_policies(UserName=name)["PolicyNames"]:
        iam.delete_user_policy(UserName=name, PolicyName=policy)
    for group in iam.list_groups_for_user(UserName=name)["Groups"]:
        iam.remove_user_from_group(UserName=name, GroupName=group["GroupName"])
    with contextlib.suppress(iam.exceptions.NoSuchEntityException):
        iam.delete_login_profile(UserName=name)
    iam.delete_user(UserName=name)


def _each(
    account: _Account, fits: Callable[[str], bool], *deeds: Callable[[_Account, Mapping[str, Any]], Done]
) -> Iterator[Done]:
    """Do these, each to another user that fits, as far as there are any."""
    for deed in deeds:
        name = account.find(fits)
        if name is not None:
            yield deed(account, account.users[name])


def _create(account: _Account) -> Done:
    iam = account.iam
    user = iam.create_user(UserName=NEWCOMER, Path="/contractors/2026/")["User"]
    iam.create_login_profile(UserName=NEWCOMER, Password="the local AWS keeps none")
    iam.create_access_key(UserName=NEWCOMER)
    return Done(
        f"{NEWCOMER} came, with a password and an access key at once",
        "IAM User Created",
        NEWCOMER,
        user["UserId"],
        after={"arn": user["Arn"], "password_enabled": True, "mfa_active": False, "access_key_1_active": True},
        opened=frozenset({"console-no-mfa", "key-at-creation"}),
    )


def _delete(account: _Account, user: Mapping[str, Any]) -> Done:
    name = user["UserName"]
    remove(account.iam, name)
    words = f"{name} went"
    before = {"arn": user["Arn"], "user_id": user["UserId"]}
    return Done(words, "IAM User Deleted", name, user["UserId"], before=before, closed=None)


def _rename(account: _Account, user: Mapping[str, Any]) -> Done:
    old, new = user["UserName"], f"{user['UserName']}.renamed"
    account.iam.update_user(UserName=old, NewUserName=new)
    renamed = account.iam.get_user(UserName=new)["User"]
    return Done(
        f"{old} got another name",
        "IAM User Renamed",
        new,
        user["UserId"],
        before={"user_name": old, "arn": user["Arn"]},
        after={"user_name": new, "arn": renamed["Arn"]},
        attributes=frozenset({"user_name", "arn"}),
    )


def _recreate(account: _Account, user: Mapping[str, Any]) -> Done:
    name = user["UserName"]
    remove(account.iam, name)
    again = account.iam.create_user(UserName=name, Path=user["Path"])["User"]
    return Done(
        f"{name} went, and somebody of the same name came",
        "IAM User Recreated",
        name,
        again["UserId"],
        before={"user_id": user["UserId"]},
        after={"user_id": again["UserId"], "password_enabled": False, "mfa_active": False, "groups": []},
        closed=None,
    )


def _take_mfa_away(account: _Account, user: Mapping[str, Any]) -> Done:
    name = user["UserName"]
    (device,) = account.iam.list_mfa_devices(UserName=name)["MFADevices"]
    account.iam.deactivate_mfa_device(UserName=name, SerialNumber=device["SerialNumber"])
    return Done(
        f"{name} lost the MFA device",
        "IAM User Changed",
        name,
        user["UserId"],
        before={"mfa_active": True},
        after={"mfa_active": False},
        attributes=frozenset({"mfa_active"}),
        opened=frozenset({"console-no-mfa"}),
    )


def _make_administrator(account: _Account, user: Mapping[str, Any]) -> Done:
    name = user["UserName"]
    groups = account.groups(name)
    account.iam.add_user_to_group(UserName=name, GroupName=ADMINISTRATORS)
    reason = f"group {ADMINISTRATORS}: policy arn:aws:iam::aws:policy/AdministratorAccess"
    return Done(
        f"{name} became an administrator, by a group",
        "IAM User Changed",
        name,
        user["UserId"],
        before={"groups": groups, "admin_via": []},
        after={"groups": sorted([*groups, ADMINISTRATORS]), "admin_via": [reason]},
        attributes=frozenset({"groups", "admin_via"}),
        opened=frozenset({"admin-policy"}),
    )


def _take_mfa_from_root(account: _Account) -> Done:
    past.set_root(account.aws, mfa_active="false")
    return Done(
        "root lost its MFA",
        "IAM User Changed",
        ROOT,
        None,
        before={"mfa_active": True},
        after={"mfa_active": False},
        attributes=frozenset({"mfa_active"}),
        opened=frozenset({"root-no-mfa"}),
    )


@dataclass(frozen=True)
class Scans:
    """The two scans, by their timestamps, and the execution of the second one."""

    first: str
    second: str
    execution_arn: str
    users: int
    """How many users the second one found."""

    @property
    def account_id(self) -> str:
        """Of both."""
        return self.execution_arn.split(":")[4]


@dataclass
class Told:
    """What was done, each beside what was announced of it."""

    pairs: list[tuple[Done, Event | None]]
    end: Event | None
    checks: list[Check] = field(default_factory=list)


def verify_baseline(events: Sequence[Event], users: int) -> Check:
    """Hold what the first scan announced against what it should: nothing but that it was the first."""
    (end,) = events if len(events) == 1 else (None,)
    return Check(
        "the first scan announces a baseline only",
        end is not None
        and end.detail_type == SCAN_COMPLETED
        and end.detail.get("baseline") is True
        and (end.detail.get("users"), end.detail.get("events")) == (users, 0),
        _in_short(event.says for event in events),
    )


def verify_publication(execution: Execution) -> Check:
    """Look at what PublishChanges says of itself: no error of it fails a scan."""
    published, error = execution.output.get("changes", {}), execution.output.get("publish_changes_error", {})
    return Check(
        "the second scan succeeded, and published",
        (execution.status, published.get("status"), published.get("refused")) == ("SUCCEEDED", "ANNOUNCED", 0),
        f"{execution.status}, {published.get('status') or error.get('Cause', 'no changes')}",
    )


def verify(done: Sequence[Done], events: Sequence[Event], scans: Scans, sentences: Sequence[str] | None = None) -> Told:
    """Hold what the second scan announced against what was done: these events, none twice, none else, then its end.

    Parameters
    ----------
    events, sentences
        As the queue of the rule, and that of the topic, received them; None without a topic.
    """
    left = list(events)
    end = left.pop() if left and left[-1].detail_type == SCAN_COMPLETED else None
    told = Told([], end)
    for deed in done:
        mine = [event for event in left if _is_of(event, deed)]
        left = [event for event in left if event not in mine]
        wrong = _mistakes(mine[0], deed, scans) if len(mine) == 1 else [f"{len(mine)} events"]
        found = "; ".join(wrong) or mine[0].detail_type
        told.pairs.append((deed, mine[0] if mine else None))
        told.checks.append(Check(f"told: {deed.words}", not wrong, found))
    others = [event for event in left if not _is_of_age_only(event)]
    ids = Counter(event.detail.get("id") for event in events)
    repeated = [str(one) for one, count in ids.items() if count > 1 or one is None]
    told.checks += [
        Check("nothing else is told", not others, _in_short(event.says for event in others) or "nothing"),
        Check("nothing is told twice", not repeated, _in_short(repeated) or f"{len(ids)} events, each with its own id"),
        _check_end(end, len(events) - 1, done, left, scans),
    ]
    if sentences is not None:
        expected = sorted(event.detail["summary"] for event in events if event.detail_type != SCAN_COMPLETED)
        told.checks.append(
            Check("the topic tells the same sentences", sorted(sentences) == expected, f"{len(sentences)} sentences")
        )
    return told


def _is_of(event: Event, deed: Done) -> bool:
    detail = event.detail
    return (event.detail_type, detail.get("user_name"), detail.get("user_id")) == (
        deed.detail_type,
        deed.user_name,
        deed.user_id,
    )


def _mistakes(event: Event, deed: Done, scans: Scans) -> list[str]:
    """Return what is wrong with the event of something that was done."""
    detail, wrong = event.detail, []
    summary = detail.get("summary", "")
    names = ["root" if deed.user_name == ROOT else deed.user_name]
    if deed.before and "user_name" in deed.before:
        names.append(deed.before["user_name"])
    if not summary or "\n" in summary or not all(name in summary for name in names):
        wrong.append(f"summary {summary!r}")
    expected: dict[str, Any] = {
        "version": "1",
        "account_id": scans.account_id,
        "change": deed.detail_type.rpartition(" ")[2].lower(),
        "previous_scan_timestamp": scans.first,
        "scan_timestamp": scans.second,
        "execution_arn": scans.execution_arn,
    }
    wrong += [f"{name} is {detail.get(name)}" for name, value in expected.items() if detail.get(name) != value]
    for side, facts in (("before", deed.before), ("after", deed.after)):
        found = detail.get(side)
        if facts is None or found is None:
            wrong += [f"{side} is {found}"] if facts is not found else []
        else:
            wrong += [f"{name} {side} is {found.get(name)}" for name in facts if found.get(name) != facts[name]]
    if deed.attributes is not None and set(detail.get("attributes", ())) != deed.attributes:
        wrong.append(f"attributes are {detail.get('attributes')}")
    for name, findings in (("findings_opened", deed.opened), ("findings_closed", deed.closed)):
        if findings is not None and set(detail.get(name, ())) - BY_AGE != findings:
            wrong.append(f"{name} are {detail.get(name)}")
    return wrong


def _is_of_age_only(event: Event) -> bool:
    """Tell whether a user has changed in nothing but findings that time alone opens: nobody did that."""
    detail = event.detail
    findings = {*detail.get("findings_opened", ()), *detail.get("findings_closed", ())}
    return event.detail_type == "IAM User Changed" and not detail.get("attributes") and findings <= BY_AGE


def _check_end(end: Event | None, sent: int, done: Sequence[Done], aged: Sequence[Event], scans: Scans) -> Check:
    """Hold what the second scan says of itself against what was done."""
    kinds = Counter(deed.detail_type.rpartition(" ")[2].lower() for deed in done)
    kinds["changed"] += len(aged)
    names = ("created", "deleted", "recreated", "renamed", "changed")
    counts = {**{name: kinds[name] for name in names}, "unconfirmed_deletions": 0, "suspected_deletions": 0}
    expected = {
        "baseline": False,
        "users": scans.users,
        "events": sent,
        "counts": counts,
        "sections": {"credential_report": "CURRENT", "authorization": "CURRENT"},
        "previous_scan_timestamp": scans.first,
        "scan_timestamp": scans.second,
        "execution_arn": scans.execution_arn,
    }
    if end is None:
        return Check("last, the scan says that all is told", False, "it does not")
    wrong = [f"{name} is {end.detail.get(name)}" for name, value in expected.items() if end.detail.get(name) != value]
    return Check("last, the scan says that all is told", not wrong, _in_short(wrong) or f"{sent} events before it")


def summary(told: Told) -> list[str]:
    """Return the lines that a person reads: what was done, and below it what was announced."""
    lines = ["Changes, and the events that a queue received of them"]
    for deed, event in told.pairs:
        lines += [f"  {deed.words}", f"    {event.says if event else 'NOTHING'}"]
    lines += ["  the scan ended", f"    {told.end.says if told.end else 'NOTHING'}", "", "Checks of the changes"]
    lines += [f"  {'ok    ' if check.passed else 'FAILED'}  {check.name}: {check.found}" for check in told.checks]
    return lines


def _in_short(texts: Iterable[str]) -> str:
    found = list(texts)
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more
