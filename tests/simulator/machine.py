"""A small interpreter of the state machine's definition, as far as the definition uses the language.

It knows nothing of time: a task is handed to ``invoke``, and the iterations of a Map to ``gather``.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from operator import add, eq, gt, lt
from typing import Any

from tests.support import definition

TABLE = "iam-user-records"
MAX_TRANSITIONS = 400
"""More than any attempt of a simulated scan takes: beyond it, the run goes round in circles."""


class TaskError(Exception):
    """A task or state failed, under the name that Retry and Catch see; with ``for_good``, so did every retry."""

    def __init__(self, name: str, cause: str = "", *, for_good: bool = False) -> None:
        super().__init__(name, cause)
        self.name = name
        self.cause = cause
        self.for_good = for_good


class EndlessError(Exception):
    """The run makes too many transitions."""


class UnknownLanguageError(Exception):
    """The definition uses something of the language that this interpreter would pass over; teach it, or do without."""

    def __init__(self, what: str, value: object, known: Iterable[str]) -> None:
        super().__init__(f"the simulator knows no {what} {value!r}; it knows {', '.join(sorted(known))}")


@dataclass
class Run:
    """What the interpreter knows of one execution; it outlives a stop, for the redrive.

    Attributes
    ----------
    context
        The context object, ``$$``.
    state, data
        The top-level state entered last, and its input: a redrive begins there.
    iterations
        The results of the Map that was entered last; a redrive repeats only what has none.
    """

    context: dict[str, Any]
    state: str
    data: Any
    route: list[str] = field(default_factory=list)
    iterations: dict[int, Any] = field(default_factory=dict)
    transitions: int = 0


Invoke = Callable[[Run, str, str, Any], Any]
"""Gets the run, the state, ``lambda`` or ``deleteItem``, and the payload; returns the result or raises TaskError."""
Gather = Callable[[list[Callable[[], Any]]], list[Any]]


@cache
def rendered(replace: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    """Return the states of the rendered definition, after replacing texts in it (for mutants)."""
    values: dict[str, str | int] = dict.fromkeys(definition.placeholders(), "unused")
    values |= {f"{step}_function_arn": step for step in definition.STEPS}
    values |= {"map_concurrency": 2, "task_timeout_seconds": 60, "posture_timeout_seconds": 60}
    values |= {"publish_timeout_seconds": 60, "scan_timeout_seconds": 600, "table_name": TABLE}
    text = json.dumps(definition.render(values))
    for old, new in replace:
        if old not in text:
            raise ValueError(f"the definition has no {old!r}")
        text = text.replace(old, new)
    machine: dict[str, Any] = json.loads(text)
    check(machine)
    return machine


def check(machine: dict[str, Any]) -> None:
    """See that the interpreter knows everything that a definition uses.

    Raises
    ------
    UnknownLanguageError
        It does not; the message names it, and what is known.
    """
    for name, state in definition.states(machine):
        kind = state["Type"]
        _check_known(f"state type, of {name},", [kind], _FIELDS)
        _check_known(f"field of {kind} state {name}", state, _FIELDS[kind] | _FIELDS_OF_ALL)
        for field_name, known in _RULES.items():
            for rule in state.get(field_name, ()):
                _check_known(f"field of {field_name} in {name}", rule, known)
        if kind == "Task":
            _check_known(f"resource, of {name},", [state["Resource"].rpartition(":")[2]], _RESOURCES)
        for rule in state.get("Choices", ()):
            _check_rule(rule)
        for path in (state.get(field_name) for field_name in ("InputPath", "OutputPath", "ResultPath", "ItemsPath")):
            if path is not None:
                _parts(path)
        for template in (state.get(field_name) for field_name in ("Parameters", "ResultSelector", "ItemSelector")):
            _check_template(template)


def _check_known(what: str, used: Iterable[str], known: Iterable[str]) -> None:
    for value in used:
        if value not in known:
            raise UnknownLanguageError(what, value, known)


def _check_rule(rule: dict[str, Any]) -> None:
    _check_known("part of a choice", rule, {"Next", "Comment", "Variable", "And", "Or", "Not", *_TESTS})
    for inner in (*rule.get("And", ()), *rule.get("Or", ()), *([rule["Not"]] if "Not" in rule else [])):
        _check_rule(inner)
    if "Variable" in rule:
        _parts(rule["Variable"])


def _check_template(template: Any) -> None:
    if isinstance(template, list):
        for element in template:
            _check_template(element)
    elif isinstance(template, dict):
        for name, value in template.items():
            if name.endswith(".$"):
                _check_expression(value)
            else:
                _check_template(value)


def _check_expression(text: str) -> None:
    if text.startswith("$"):
        _parts(text.removeprefix("$") if text.startswith("$$") else text)
        return
    name, arguments = _intrinsic(text)
    _check_known("intrinsic function", [name], _INTRINSICS)
    for argument in arguments:
        if not isinstance(argument, tuple):
            _check_expression(argument)


class Interpreter:
    """Runs a definition. ``gather`` runs the iterations one after the other, unless told otherwise."""

    def __init__(self, machine: dict[str, Any], invoke: Invoke, gather: Gather | None = None) -> None:
        self.machine = machine
        self._invoke = invoke
        self._gather = gather or (lambda iterations: [iteration() for iteration in iterations])

    def run(self, run: Run) -> Any:
        """Run on from the run's state to the end and return the output.

        Raises
        ------
        TaskError
            The execution failed.
        """
        return self._states(run, self.machine["States"], run.state, run.data, run.context, top=True)

    def _states(self, run: Run, states: dict[str, Any], name: str, data: Any, context: Any, *, top: bool) -> Any:
        redriven = top and run.transitions > 0
        while True:
            state = states[name]
            run.transitions += 1
            if run.transitions > MAX_TRANSITIONS:
                raise EndlessError(f"more than {MAX_TRANSITIONS} transitions: {run.route[-20:]}")
            if not redriven:
                run.route.append(name)
                if top:
                    run.state, run.data, run.iterations = name, data, {}
            redriven = False
            following, data = self._state(run, name, state, data, context)
            if following is None:
                return data
            name = following

    def _state(self, run: Run, name: str, state: dict[str, Any], data: Any, context: Any) -> tuple[str | None, Any]:
        kind = state["Type"]
        if kind == "Choice":
            return next(
                (rule["Next"] for rule in state["Choices"] if _holds(rule, data, context)), state.get("Default")
            ), data
        if kind == "Fail":
            raise TaskError(state.get("Error", ""), state.get("Cause", ""))
        raw = data
        data = _path(state.get("InputPath", "$"), data, context)
        if kind == "Succeed":
            return None, data
        following = None if state.get("End") else state.get("Next")
        try:
            if kind == "Map":
                result: Any = self._map(run, state, data, context)
            else:
                arguments = _fill(state["Parameters"], data, context) if "Parameters" in state else data
                if kind == "Pass":
                    result = state.get("Result", arguments)
                else:
                    result = self._task(run, name, state, arguments)
                    if "ResultSelector" in state:
                        result = _fill(state["ResultSelector"], result, context)
            return following, _path(state.get("OutputPath", "$"), _merge(state, raw, result), context)
        except TaskError as error:
            for catcher in state.get("Catch", ()):
                if _matches(catcher["ErrorEquals"], error.name):
                    return catcher["Next"], _merge(catcher, raw, {"Error": error.name, "Cause": error.cause})
            raise

    def _task(self, run: Run, name: str, state: dict[str, Any], arguments: Any) -> Any:
        retried: dict[int, int] = {}
        resource = state["Resource"].rpartition(":")[2]
        while True:
            try:
                if resource == "invoke":
                    return {"Payload": self._invoke(run, name, "lambda", arguments["Payload"])}
                return self._invoke(run, name, resource, arguments)
            except TaskError as error:
                rules = enumerate(state.get("Retry", ()))
                number = next((n for n, rule in rules if _matches(rule["ErrorEquals"], error.name)), None)
                if (
                    error.for_good
                    or number is None
                    or retried.get(number, 0) >= state["Retry"][number].get("MaxAttempts", 3)
                ):
                    raise
                retried[number] = retried.get(number, 0) + 1

    def _map(self, run: Run, state: dict[str, Any], data: Any, context: Any) -> list[Any]:
        processor = state["ItemProcessor"]

        def iteration(number: int, item: Any) -> Callable[[], Any]:
            def work() -> Any:
                inner = {**context, "Map": {"Item": {"Index": number, "Value": item}}}
                given = _fill(state["ItemSelector"], data, inner) if "ItemSelector" in state else item
                result = self._states(run, processor["States"], processor["StartAt"], given, inner, top=False)
                run.iterations[number] = result
                return result

            return work

        entries = list(enumerate(_path(state.get("ItemsPath", "$"), data, context)))
        self._gather([iteration(number, item) for number, item in entries if number not in run.iterations])
        return [run.iterations[number] for number, _ in entries]


def _matches(names: list[str], error: str) -> bool:
    if error == "States.Runtime":
        return False
    return error in names or "States.ALL" in names or ("States.TaskFailed" in names and error != "States.Timeout")


def _merge(rule: dict[str, Any], data: Any, result: Any) -> Any:
    """Apply ResultPath: null drops the result, ``$`` replaces the data, ``$.a.b`` sets a field."""
    path = rule.get("ResultPath", "$")
    if path is None:
        return data
    if path == "$":
        return result
    if not isinstance(data, dict):
        raise TaskError("States.ResultPathMatchFailure", path)
    new = inner = dict(data)
    *parents, last = path[2:].split(".")
    for parent in parents:
        inner[parent] = inner = dict(inner.get(parent) or {})
    inner[last] = result
    return new


_ABSENT = object()


@lru_cache(maxsize=1024)
def _parts(path: str) -> tuple[str, ...]:
    if not re.fullmatch(r"\$(\.[A-Za-z_]\w*)*", path):
        raise UnknownLanguageError("path such as", path, ["$", "$.name", "$.name.name"])
    return tuple(path.split(".")[1:])


def _find(path: str, data: Any, context: Any) -> Any:
    value = data
    if path.startswith("$$"):
        value, path = context, path[1:]
    for part in _parts(path):
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def _path(path: str | None, data: Any, context: Any) -> Any:
    if path == "$":
        return data
    if path is None:
        return {}
    found = _find(path, data, context)
    if found is _ABSENT:
        raise TaskError("States.Runtime", f"the JSONPath {path} finds nothing")
    return found


def _fill(template: Any, data: Any, context: Any) -> Any:
    """Fill a payload template: what a key that ends in ``.$`` names is looked up."""
    if isinstance(template, list):
        return [_fill(element, data, context) for element in template]
    if not isinstance(template, dict):
        return template
    return {
        (name[:-2] if name.endswith(".$") else name): (
            _value(value, data, context) if name.endswith(".$") else _fill(value, data, context)
        )
        for name, value in template.items()
    }


def _value(text: str, data: Any, context: Any) -> Any:
    if text.startswith("$"):
        return _path(text, data, context)
    name, arguments = _intrinsic(text)
    given = [argument[1] if isinstance(argument, tuple) else _value(argument, data, context) for argument in arguments]
    return _INTRINSICS[name](*given)


def _format(template: str, *values: Any) -> str:
    rest = iter(values)
    return re.sub(r"\{\}", lambda _: _text(next(rest)), template)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@lru_cache(maxsize=1024)
def _intrinsic(text: str) -> tuple[str, tuple[Any, ...]]:
    """Return the function's name and its arguments: a literal as ``("literal", value)``, else a text to evaluate."""
    name, _, rest = text.partition("(")
    arguments, depth, quoted, current = [], 0, False, ""
    for character in rest.strip()[:-1] + ",":
        if character == "'":
            quoted = not quoted
        if not quoted:
            depth += {"(": 1, ")": -1}.get(character, 0)
            if character == "," and depth == 0:
                arguments.append(current.strip())
                current = ""
                continue
        current += character
    return name.strip(), tuple(
        ("literal", argument[1:-1])
        if argument.startswith("'")
        else ("literal", json.loads(argument))
        if re.fullmatch(r"-?[0-9.]+|true|false|null", argument)
        else argument
        for argument in arguments
        if argument
    )


def _holds(rule: dict[str, Any], data: Any, context: Any) -> bool:
    if "And" in rule:
        return all(_holds(inner, data, context) for inner in rule["And"])
    if "Or" in rule:
        return any(_holds(inner, data, context) for inner in rule["Or"])
    if "Not" in rule:
        return not _holds(rule["Not"], data, context)
    found = _find(rule["Variable"], data, context)
    name = next(name for name in rule if name in _TESTS)
    if found is _ABSENT and name != "IsPresent":
        raise TaskError("States.Runtime", f"the choice's path {rule['Variable']} finds nothing")
    return _TESTS[name](found, rule[name])


def _compares(kind: type, compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Compare values of a kind; another value is neither equal nor more nor less. To Python, true is a number."""
    return lambda found, wanted: type(found) is kind and compare(found, wanted)


def _is(kind: type) -> Callable[[Any, Any], bool]:
    return lambda found, wanted: isinstance(found, kind) == wanted


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "IsPresent": lambda found, wanted: (found is not _ABSENT) == wanted,
    "BooleanEquals": _compares(bool, eq),
    "StringEquals": _compares(str, eq),
    "NumericEquals": _compares(int, eq),
    "NumericGreaterThan": _compares(int, gt),
    "NumericLessThan": _compares(int, lt),
    "IsString": _is(str),
    "IsBoolean": _is(bool),
    "IsNull": _is(type(None)),
}
"""What a choice may ask of a value; only whether it is present of one that is not."""

_INTRINSICS: dict[str, Callable[..., Any]] = {
    "States.ArrayLength": len,
    "States.MathAdd": add,
    "States.Format": _format,
}

_RESOURCES = ("invoke", "deleteItem")

# Those of time and of how many run side by side make no difference here: every order is tried.
_FIELDS_OF_ALL = {"Type", "Comment", "Next", "End", "InputPath", "OutputPath"}
_FIELDS: dict[str, set[str]] = {
    "Task": {"Resource", "Parameters", "ResultSelector", "ResultPath", "TimeoutSeconds", "Retry", "Catch"},
    "Map": {"ItemsPath", "ItemSelector", "ItemProcessor", "MaxConcurrency", "ResultPath", "Catch"},
    "Pass": {"Parameters", "Result", "ResultPath"},
    "Choice": {"Choices", "Default"},
    "Succeed": set(),
    "Fail": {"Error", "Cause"},
}
_RULES = {
    "Retry": {"ErrorEquals", "MaxAttempts", "IntervalSeconds", "BackoffRate", "MaxDelaySeconds", "JitterStrategy"},
    "Catch": {"ErrorEquals", "ResultPath", "Next"},
}
