"""Corrections of the TestState API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.local_aws.aws.corrections._ministack import service, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator


def errors() -> None:
    """Let TestState try a state's Retry before its Catch, and find states inside a Map.

    AWS (API reference, TestState; developer guide, "Testing state machines with TestState"): ``stateName`` names any
    state of the definition, one inside a Map too. An error is retried as long as the retrier that matches it has
    attempts left after ``stateConfiguration.retrierRetryCount`` (RETRIABLE), else caught (CAUGHT_ERROR, ``nextState``),
    else it fails the state (FAILED); ``inspectionData.errorDetails`` tells which retrier or catcher it was, and the
    longest wait before the retry.

    MiniStack looks at Catch first, so that a state with both is never retriable, and at the top level only. To go when
    it looks at Retry first.
    """
    states = service("stepfunctions")

    def with_retry(test_state: Any) -> Any:
        def test(data: dict[str, Any]) -> Any:
            definition = json.loads(data["definition"])
            state = dict(_states(definition)).get(data.get("stateName", ""))
            if state is None:
                return test_state(data)
            error = _mocked_error(data)
            if error is None:
                alone = {name: value for name, value in data.items() if name != "stateName"}
                return test_state({**alone, "definition": json.dumps(state)})
            try:
                return states.json_response(_handled(state, error, data))
            except states._ExecutionError as failed:
                return states.json_response({"status": "FAILED", "error": failed.error, "cause": failed.cause})

        return test

    wrap(states, "_test_state", with_retry)


def _states(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in definition.get("States", {}).items():
        yield name, state
        for processor in (state.get("ItemProcessor"), state.get("Iterator"), *state.get("Branches", [])):
            if processor:
                yield from _states(processor)


def _mocked_error(data: dict[str, Any]) -> dict[str, str] | None:
    mock = data.get("mock") or {}
    return (json.loads(mock) if isinstance(mock, str) else mock).get("errorOutput")


def _handled(state: dict[str, Any], error: dict[str, str], data: dict[str, Any]) -> dict[str, Any]:
    """Return what becomes of an error: whether it is retried, caught, or neither."""
    states = service("stepfunctions")
    name, cause = error.get("error", ""), error.get("cause", "")
    tried = data.get("stateConfiguration", {}).get("retrierRetryCount", 0)
    result: dict[str, Any] = {"error": name, "cause": cause}
    details: dict[str, Any] = {}
    retrier, index = next(
        (
            (retrier, index)
            for index, retrier in enumerate(state.get("Retry", []))
            if states._error_matches(retrier["ErrorEquals"], name)
        ),
        (None, -1),
    )
    catcher = states._find_matching_catcher(state.get("Catch", []), name)
    if retrier is not None and tried < retrier.get("MaxAttempts", 3):
        wait = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** tried
        details = {
            "retryIndex": index,
            "retryBackoffIntervalSeconds": int(min(wait, retrier.get("MaxDelaySeconds", wait))),
        }
        result["status"] = "RETRIABLE"
    elif catcher is not None:
        output = states._apply_catcher(
            catcher, json.loads(data.get("input", "{}")), {}, "JSONPath", {"Error": name, "Cause": cause}
        )
        details = {"catchIndex": state["Catch"].index(catcher)}
        result |= {"status": "CAUGHT_ERROR", "nextState": catcher["Next"], "output": json.dumps(output)}
    else:
        result["status"] = "FAILED"
    if data.get("inspectionLevel") in {"DEBUG", "TRACE"}:
        result["inspectionData"] = {"errorDetails": details}
    return result
