"""DynamoDB's expressions, compiled once into functions: conditions, updates, and key conditions.

An operand is a function of the item, the names and the values; None stands for an attribute that is not there.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

Item = dict[str, Any]
Names = Mapping[str, str]
Values = Mapping[str, Any]
Operand = Callable[[Item, Names, Values], Any]
Condition = Callable[[Item, Names, Values], bool]

_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),+.-]|[#:]?[A-Za-z_][A-Za-z0-9_]*|\[\d+\])")
_COMPARATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: bool(one == other),
    "<>": lambda one, other: bool(one != other),
    "<": lambda one, other: bool(one < other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    ">=": lambda one, other: bool(one >= other),
}


class ExpressionError(ValueError):
    """The expression is not DynamoDB's, or uses what is not simulated."""


def number(value: Mapping[str, Any]) -> int | Decimal:
    """Return the number that ``{"N": …}`` holds."""
    text = value["N"]
    try:
        return int(text)
    except ValueError:
        return Decimal(text)


def comparable(value: Mapping[str, Any]) -> Any:
    """Return a typed value as something that ``==`` and ``<`` compare as DynamoDB does."""
    ((kind, inner),) = value.items()
    if kind == "N":
        return number(value)
    if kind == "NS":
        return {Decimal(text) for text in inner}
    if kind == "SS":
        return set(inner)
    if kind == "L":
        return [(next(iter(element)), comparable(element)) for element in inner]
    if kind == "M":
        return {name: (next(iter(element)), comparable(element)) for name, element in inner.items()}
    return inner


def _compare(sign: str, one: Any, other: Any) -> bool:
    if one is None or other is None:
        # What is not there differs from everything.
        return sign == "<>" and one is not other
    (kind,), (other_kind,) = one, other
    if kind != other_kind:
        return sign == "<>"
    if sign not in {"=", "<>"} and kind not in {"S", "N", "B"}:
        raise ExpressionError(f"{sign} does not compare {kind}")
    return _COMPARATORS[sign](comparable(one), comparable(other))


class _Parser:
    """Recursive descent over one expression; notes the placeholders it meets."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        self.placeholders: set[str] = set()
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise ExpressionError(f"cannot read {text[at:]!r}")
            self.tokens.append(match[1])
            at = match.end()
        self.at = 0
        self.closed_at: dict[int, int] = {}

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if not token or (expected is not None and token.upper() != expected):
            raise ExpressionError(f"expected {expected or 'more'}, found {token!r} in {' '.join(self.tokens)}")
        self.at += 1
        if token[0] in "#:":
            self.placeholders.add(token)
        return token

    def is_next(self, word: str) -> bool:
        if self.peek().upper() != word:
            return False
        self.at += 1
        return True

    def disjunction(self) -> Condition:
        parts = [self.conjunction()]
        while self.is_next("OR"):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else lambda i, n, v: any(part(i, n, v) for part in parts)

    def conjunction(self) -> Condition:
        parts = [self.negation()]
        while self.is_next("AND"):
            parts.append(self.negation())
        return parts[0] if len(parts) == 1 else lambda i, n, v: all(part(i, n, v) for part in parts)

    def negation(self) -> Condition:
        if self.is_next("NOT"):
            inner = self.negation()
            return lambda i, n, v: not inner(i, n, v)
        if self.is_next("("):
            start = self.at
            inner = self.disjunction()
            if self.tokens[start] == "(" and self.closed_at.get(start) == self.at - 1:
                raise ExpressionError("the expression has redundant parentheses")
            self.closed_at[start - 1] = self.at
            self.take(")")
            return inner
        return self.predicate()

    def predicate(self) -> Condition:
        name = self.peek().lower()
        if name in _FUNCTIONS and self.tokens[self.at + 1 : self.at + 2] == ["("]:
            self.at += 2
            arguments = [self.operand()]
            while self.is_next(","):
                arguments.append(self.operand())
            self.take(")")
            function = _FUNCTIONS[name]
            return lambda i, n, v: function(*[argument(i, n, v) for argument in arguments])
        left = self.operand()
        sign = self.take().upper()
        if sign in _COMPARATORS:
            right = self.operand()
            return lambda i, n, v: _compare(sign, left(i, n, v), right(i, n, v))
        if sign == "BETWEEN":
            low = self.operand()
            self.take("AND")
            high = self.operand()
            return lambda i, n, v: (
                _compare(">=", left(i, n, v), low(i, n, v)) and _compare("<=", left(i, n, v), high(i, n, v))
            )
        if sign == "IN":
            self.take("(")
            options = [self.operand()]
            while self.is_next(","):
                options.append(self.operand())
            self.take(")")
            return lambda i, n, v: any(_compare("=", left(i, n, v), option(i, n, v)) for option in options)
        raise ExpressionError(f"{sign} is no comparator")

    def path(self) -> tuple[str, ...]:
        parts = [self.take()]
        while self.is_next("."):
            parts.append(self.take())
        return tuple(parts)

    def operand(self) -> Operand:
        token = self.peek()
        if token.startswith(":"):
            self.take()
            return lambda i, n, v: v[token]
        parts = self.path()
        if len(parts) == 1:
            name = parts[0]
            if name[0] == "#":
                return lambda i, n, v: i.get(n[name])
            return lambda i, n, v: i.get(name)
        return lambda i, n, v: _at(i, [n.get(part, part) for part in parts])

    def update_value(self) -> Operand:
        """One right-hand side of SET: an operand, if_not_exists, or a sum or difference of two of these."""
        left = self.update_operand()
        if self.peek() in {"+", "-"}:
            sign, right = self.take(), self.update_operand()

            def total(item: Item, names: Names, values: Values) -> Any:
                one, other = number(left(item, names, values)), number(right(item, names, values))
                return {"N": str(one + other if sign == "+" else one - other)}

            return total
        return left

    def update_operand(self) -> Operand:
        if self.peek() == "if_not_exists":
            self.take()
            self.take("(")
            current = self.operand()
            self.take(",")
            otherwise = self.operand()
            self.take(")")
            return lambda i, n, v: current(i, n, v) or otherwise(i, n, v)
        return self.operand()


def _at(item: Item, parts: list[str]) -> Any:
    value: Any = {"M": item}
    for part in parts:
        value = value.get("M", {}).get(part) if value is not None else None
    return value


def _contains(whole: Any, part: Any) -> bool:
    if whole is None:
        return False
    ((kind, inner),) = whole.items()
    if kind == "NS":
        return "N" in part and Decimal(part["N"]) in comparable(whole)
    if kind == "L":
        return any(_compare("=", element, part) for element in inner)
    return kind in {"S", "SS"} and "S" in part and part["S"] in inner


_FUNCTIONS: dict[str, Callable[..., bool]] = {
    "attribute_exists": lambda value: value is not None,
    "attribute_not_exists": lambda value: value is None,
    "begins_with": lambda value, start: value is not None and "S" in value and value["S"].startswith(start["S"]),
    "contains": _contains,
}


@dataclass(frozen=True)
class Compiled:
    """A condition and the placeholders it uses."""

    test: Condition
    placeholders: frozenset[str]


@lru_cache(maxsize=1024)
def condition(text: str) -> Compiled:
    """Compile a condition, filter or key condition expression."""
    parser = _Parser(text)
    test = parser.disjunction()
    if parser.peek():
        raise ExpressionError(f"{parser.peek()!r} is left over in {text!r}")
    return Compiled(test, frozenset(parser.placeholders))


@dataclass(frozen=True)
class Update:
    """The clauses of an update expression; a target is a path of names or placeholders."""

    assign: tuple[tuple[tuple[str, ...], Operand], ...]
    remove: tuple[tuple[str, ...], ...]
    add: tuple[tuple[str, str], ...]
    placeholders: frozenset[str]

    def apply(self, item: Item, names: Names, values: Values) -> Item:
        """Return the item after the update; every right-hand side sees the item as it was."""
        new = dict(item)
        for target, value in self.assign:
            result = value(item, names, values)
            if result is None:
                raise ExpressionError(f"{target} is set to an attribute that does not exist")
            _put(new, [names.get(part, part) for part in target], result)
        for target in self.remove:
            _put(new, [names.get(part, part) for part in target], None)
        for target_name, placeholder in self.add:
            name, added = names.get(target_name, target_name), values[placeholder]
            new[name] = _added(new.get(name), added)
        return new


def _put(item: Item, parts: list[str], value: Any) -> None:
    for part in parts[:-1]:
        if "M" not in item.get(part, ()):
            raise ExpressionError(f"there is no map {part}")
        item[part] = {"M": dict(item[part]["M"])}
        item = item[part]["M"]
    if value is None:
        item.pop(parts[-1], None)
    else:
        item[parts[-1]] = value


def _added(current: Any, added: Mapping[str, Any]) -> Any:
    if current is None:
        return added
    ((kind, inner),) = added.items()
    if kind == "N":
        return {"N": str(number(current) + number(added))}
    if kind not in {"NS", "SS"} or kind not in current:
        raise ExpressionError(f"ADD of {kind} to {next(iter(current))}")
    return {kind: sorted({*current[kind], *inner})}


@lru_cache(maxsize=1024)
def update(text: str) -> Update:
    """Compile an update expression."""
    parser = _Parser(text)
    assign: list[tuple[tuple[str, ...], Operand]] = []
    remove: list[tuple[str, ...]] = []
    add: list[tuple[str, str]] = []
    while parser.peek():
        clause = parser.take().upper()
        while True:
            if clause == "SET":
                target = parser.path()
                parser.take("=")
                assign.append((target, parser.update_value()))
            elif clause == "REMOVE":
                remove.append(parser.path())
            elif clause == "ADD":
                add.append((parser.take(), parser.take()))
            else:
                raise ExpressionError(f"{clause} is not simulated")
            if not parser.is_next(","):
                break
    return Update(tuple(assign), tuple(remove), tuple(add), frozenset(parser.placeholders))
