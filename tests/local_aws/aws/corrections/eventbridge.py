"""Corrections of EventBridge."""

from __future__ import annotations

import importlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from tests.local_aws.aws.corrections._ministack import core, service, wrap

_PUT_EVENTS = "events:PutEvents"
_PRINCIPAL = "events.amazonaws.com"
_ACTIONS = {"sqs": "sqs:SendMessage", "sns": "sns:Publish"}


def entries() -> None:
    """Refuse an event whose detail is no JSON object, and it alone.

    AWS: each entry of PutEvents fails by itself, in the order of the request; one whose Detail is not valid JSON with
    the code MalformedDetail (EventBridge API reference, PutEventsResultEntry).

    MiniStack takes any text. To go when it refuses one that is no JSON object.
    """

    def judged(put: Any) -> Any:
        def put_events(data: dict[str, Any], **how: Any) -> Any:
            malformed = {
                number: ("MalformedDetail", "Detail is malformed.")
                for number, entry in enumerate(data.get("Entries", []))
                if not _is_object(entry.get("Detail"))
            }
            return answer_for_all(data, malformed, put(without(data, malformed), **how))

        return put_events

    wrap(service("eventbridge"), "_put_events", judged)


Refused = Mapping[int, tuple[str, str]]
"""The code and the message of each entry of a request that fails, by its place."""


def without(request: dict[str, Any], refused: Refused) -> dict[str, Any]:
    """Return a request of PutEvents without the entries that are refused."""
    entries = [entry for number, entry in enumerate(request.get("Entries", [])) if number not in refused]
    return {**request, "Entries": entries}


def answer_for_all(request: dict[str, Any], refused: Refused, response: Any) -> Any:
    """Return the answer to a whole request, given that to the entries which were not refused."""
    status, _, body = response
    if status != 200 or not refused:
        return response
    answered = json.loads(body)
    taken = iter(answered["Entries"])
    results = [
        dict(zip(("ErrorCode", "ErrorMessage"), refused[number], strict=True)) if number in refused else next(taken)
        for number in range(len(request["Entries"]))
    ]
    failed = answered["FailedEntryCount"] + len(refused)
    return core("responses").json_response({"FailedEntryCount": failed, "Entries": results})


def _is_object(detail: Any) -> bool:
    try:
        return isinstance(json.loads(detail), dict)
    except (TypeError, ValueError):
        return False


def condition_keys() -> None:
    """Tell IAM the source and the detail type of each event that is put.

    AWS: events:source and events:detail-type hold what an entry of PutEvents says (Service Authorization Reference,
    "Condition keys for Amazon EventBridge"); every entry must be allowed on its own bus, or the call is refused.

    MiniStack sets neither, so a statement that requires a source allows nothing. To go when a policy that allows one
    source allows that source only.
    """

    def with_first_entry(context_of: Any) -> Any:
        def context(service_name: str, action: str, body: bytes, params: Any) -> dict[str, Any]:
            found: dict[str, Any] = context_of(service_name, action, body, params)
            first = next(_entries(body), None) if action == _PUT_EVENTS else None
            return found if first is None else found | _keys_of(first)

        return context

    def every_entry(arns_of: Any) -> Any:
        def resource_arns(body: bytes, region: str, account_id: str) -> list[str]:
            return [
                _BusOfEntry(arn, _keys_of(entry))
                for entry in _entries(body)
                for arn in arns_of(json.dumps({"Entries": [entry]}).encode(), region, account_id)
            ]

        return resource_arns

    def with_keys_of_entry(enforce: Any) -> Any:
        def enforce_entry(*arguments: Any, service_context: Any = None, resource_arn: Any = "", **details: Any) -> Any:
            if isinstance(resource_arn, _BusOfEntry):
                service_context = {**(service_context or {}), **resource_arn.keys}
            return enforce(*arguments, service_context=service_context, resource_arn=resource_arn, **details)

        return enforce_entry

    wrap(core("iam_actions"), "request_tag_context", with_first_entry)
    wrap(core("iam_actions"), "eventbridge_resource_arns", every_entry)
    wrap(core("iam_evaluator"), "enforce", with_keys_of_entry)


class _BusOfEntry(str):
    """A bus' ARN that knows, on its way through MiniStack, what the entry says that is to be checked."""

    __slots__ = ("keys",)

    def __new__(cls, arn: str, keys: dict[str, str]) -> Self:
        """Add the condition keys to the ARN."""
        made = super().__new__(cls, arn)
        made.keys = keys
        return made

    keys: dict[str, str]


def _entries(body: bytes) -> Iterator[dict[str, Any]]:
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return
    found = request.get("Entries") if isinstance(request, dict) else None
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, dict):
            yield entry


def _keys_of(entry: Mapping[str, Any]) -> dict[str, str]:
    names = {"events:source": "Source", "events:detail-type": "DetailType"}
    return {key: entry[name] for key, name in names.items() if isinstance(entry.get(name), str)}


def target_policies() -> None:
    """Let a rule deliver to the queues and topics only whose policies allow it.

    AWS: EventBridge calls SQS and SNS as events.amazonaws.com, with the rule's ARN as aws:SourceArn, and the policy of
    the queue or the topic has to allow it (EventBridge user guide, "Using resource-based policies for Amazon
    EventBridge"). The policy that a topic has from the beginning does not.

    MiniStack delivers whatever the policy. To go when a queue without a policy receives nothing.
    """

    def checked(invoke: Any) -> Any:
        def invoke_target(target: Any, event: Any, rule: Any, *rest: Any) -> None:
            arn = target.get("Arn", "")
            if not _allows(_policy_of(arn), arn, rule):
                action = _ACTIONS[arn.split(":")[2]]
                failed(target, event, rule, Failure("NO_PERMISSIONS", f"{_PRINCIPAL} may not {action} on {arn}"))
                return
            invoke(target, event, rule, *rest)

        return invoke_target

    wrap(service("eventbridge"), "_invoke_target", checked)


def dead_letters() -> None:
    """Send what cannot be delivered to the dead-letter queue of its target.

    AWS: where the target is gone, or EventBridge may not use it, the event goes to the target's dead-letter queue at
    once; other failures are first tried again, as the target's RetryPolicy says. The message is the event, and its
    attributes tell the rule, the target and the error. The queue's policy has to allow it. (EventBridge user guide,
    "Using dead-letter queues to process undelivered events".)

    MiniStack drops the event. Nothing fails here in a way that EventBridge would try again, so there are no retries. To
    go when the event of a target that is gone arrives in the dead-letter queue.
    """

    def sent(invoke: Any) -> Any:
        def invoke_target(target: Any, event: Any, rule: Any, *rest: Any) -> None:
            arn = target.get("Arn", "")
            if _is_gone(arn):
                failed(target, event, rule, Failure("NO_RESOURCE", f"There is no {arn}"))
                return
            invoke(target, event, rule, *rest)

        return invoke_target

    wrap(service("eventbridge"), "_invoke_target", sent)
    _dead_letters.append(_send_to_dead_letter_queue)


class Failure(NamedTuple):
    """Why an event cannot be delivered: a code as a dead letter has it, and a message."""

    code: str
    message: str


def failed(target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, Any], failure: Failure) -> None:
    """Do with an event what becomes of one that cannot be delivered."""
    log = service("eventbridge").logger
    log.error("EventBridge: failed invocation of %s: %s", target.get("Arn"), failure.message)
    for send in _dead_letters:
        send(target, event, rule, failure)


_dead_letters: list[Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any], Failure], None]] = []


def _send_to_dead_letter_queue(
    target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, Any], failure: Failure
) -> None:
    sqs, arn = service("sqs"), (target.get("DeadLetterConfig") or {}).get("Arn", "")
    queue = sqs._queue_by_arn(arn) if arn else None
    if queue is None or not _allows(_policy_of(arn), arn, rule):
        return
    told = {
        "RULE_ARN": rule["Arn"],
        "TARGET_ARN": target["Arn"],
        "ERROR_CODE": failure.code,
        "ERROR_MESSAGE": failure.message,
    }
    attributes = {name: {"DataType": "String", "StringValue": text} for name, text in told.items()}
    message = {
        "id": str(uuid.uuid4()),
        "body": json.dumps(service("eventbridge")._pattern_event_view(event).event_with_detail()),
        "message_attributes": attributes,
        "md5_attrs": sqs._md5_msg_attrs(attributes),
    }
    sqs._ensure_msg_fields(message)
    queue["messages"].append(message)


def _is_gone(arn: str) -> bool:
    """Tell whether the queue, topic, function or state machine of an ARN is not there."""
    match arn.split(":")[2:3]:
        case ["sqs"]:
            return service("sqs")._queue_by_arn(arn) is None
        case ["sns"]:
            return service("sns")._topic_by_arn_any_scope(arn) is None
        case ["lambda"]:
            function, config, _ = service("lambda_svc")._get_func_record_for_ref(arn)
            return not function or not config
        case ["states"]:
            return service("stepfunctions")._resolve_state_machine_arn(arn) is None
        case _:
            return False


def _policy_of(arn: str) -> str | None:
    """Return the policy of a queue or a topic, empty where it has none; None for anything else."""
    match arn.split(":")[2:3]:
        case ["sqs"]:
            found = service("sqs")._queue_by_arn(arn)
        case ["sns"]:
            found = service("sns")._topic_by_arn_any_scope(arn)
        case _:
            found = None
    return None if found is None else str(found["attributes"].get("Policy") or "")


def _allows(policy: str | None, arn: str, rule: Mapping[str, Any]) -> bool:
    """Tell whether a policy lets EventBridge deliver what matched a rule; all is allowed where none are enforced."""
    app: Any = importlib.import_module("ministack.app")
    if policy is None or not app.AUTH:
        return True
    evaluator, scope = core("iam_evaluator"), rule["Arn"].split(":")
    context = evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=_ACTIONS[arn.split(":")[2]],
        resource_arn=arn,
        region=scope[3],
        # Not aws:SourceOwner, by which a topic's own first policy would allow everything of the account.
        service_context={"aws:sourcearn": rule["Arn"], "aws:sourceaccount": scope[4]},
    )
    allowed: bool = evaluator.evaluate_resource_policy(policy, context, service=_PRINCIPAL).decision == "Allow"
    return allowed
