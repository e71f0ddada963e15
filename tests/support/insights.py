"""Reads queries of CloudWatch Logs Insights, as far as this project uses their language, and runs them on log lines.

Written from the CloudWatch Logs user guide, "CloudWatch Logs Insights language query syntax" and "Supported logs and
discovered fields". The fields of a JSON line go by their path, with dots; a name with other signs than letters, digits,
``_``, ``@`` and dots is put between backticks. What is not known here is refused, and so a mistake in a query is found
without AWS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Predicate = Callable[[Row], bool]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<regex>/(?:\\.|[^/\\])+/) | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
        | (?P<number>\d+(?:\.\d+)?(?![\w.])) | (?P<span>\d+[smhdw]\b)
        | (?P<name>[A-Za-z_@][\w@]*(?:\.\w+)*|`[^`]+`) | (?P<sign><=|>=|!=|[=<>(),|\[\]])
    )""",
    re.VERBOSE,
)
_STATISTICS: dict[str, Callable[[Sequence[Any]], Any]] = {"max": max, "min": min, "sum": sum}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Malformed(ValueError):  # noqa: N818 - it is what Logs Insights answers: MalformedQueryException
    """The query is not of the language, or of what is known of it here."""


@dataclass
class Query:
    """A query that was read.

    Attributes
    ----------
    source
        The log groups that it names itself, as the query of a widget does.
    """

    source: list[str] = field(default_factory=list)
    _steps: list[Callable[[list[Row]], list[Row]]] = field(default_factory=list)
    _columns: list[tuple[str, str]] = field(default_factory=list)
    """What is shown: the field and its heading."""

    def run(self, lines: Iterable[Row]) -> list[Row]:
        """Return the rows of an answer, by heading; None where a line lacks the field."""
        rows = list(lines)
        for step in self._steps:
            rows = step(rows)
        return [{heading: row.get(name) for name, heading in self._columns} for row in rows]

    @property
    def headings(self) -> list[str]:
        """The columns of the answer."""
        return [heading for _, heading in self._columns]


def line_of(message: str, group: str, timestamp: float) -> Row:
    """Return a log line with the fields that Logs Insights discovers in it."""
    row: Row = {"@message": message, "@log": group, "@timestamp": timestamp}
    if message.startswith("{"):
        row.update(_flat(json.loads(message)))
    return row


def _flat(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{path}{name}.")
        elif inner is not None:
            yield path + name, inner


def parse(text: str) -> Query:
    """Read a query.

    Raises
    ------
    Malformed
        As it says.
    """
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        position, text = 0, text.strip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise Malformed(f"not understood: {text[position : position + 30]!r}")
            self._tokens.append((str(found.lastgroup), str(found[str(found.lastgroup)])))
            position = found.end()

    def query(self) -> Query:
        query = Query()
        while True:
            command = self._take("name").lower()
            if command == "source" and not query._steps and not query._columns:
                query.source.append(self._take("text")[1:-1])
            elif command in {"fields", "display"}:
                query._columns = list(self._list(self._column))
            elif command == "filter":
                query._steps.append(_keeping(self._any_of()))
            elif command == "stats":
                self._stats(query)
            elif command == "sort":
                name, descending = self._name(), self._word("desc") or (self._word("asc") and False)
                query._steps.append(_sorting(name, descending))
            elif command == "limit":
                query._steps.append(_limiting(int(self._take("number"))))
            else:
                raise Malformed(f"there is no command {command}")
            if self._at == len(self._tokens):
                break
            self._take("sign", "|")
        if not query._columns:
            raise Malformed("nothing is shown")
        return query

    def _stats(self, query: Query) -> None:
        statistics = list(self._list(self._statistic))
        groups = list(self._list(self._group)) if self._word("by") else []
        query._steps.append(_grouping(statistics, groups))
        query._columns = [(heading, heading) for *_, heading in (*groups, *statistics)]

    def _statistic(self) -> tuple[str, str, str]:
        function = self._take("name").lower()
        if function not in _STATISTICS:
            raise Malformed(f"no statistic is known as {function}")
        self._take("sign", "(")
        name = self._name()
        self._take("sign", ")")
        return function, name, self._alias(f"{function}({name})")

    def _group(self) -> tuple[str, int, str]:
        name = self._name()
        if name != "bin":
            return name, 0, self._alias(name)
        self._take("sign", "(")
        span = self._take("span")
        self._take("sign", ")")
        return "@timestamp", int(span[:-1]) * _SECONDS[span[-1]], self._alias(f"bin({span})")

    def _column(self) -> tuple[str, str]:
        name = self._name()
        return name, self._alias(name)

    def _alias(self, default: str) -> str:
        return self._name() if self._word("as") else default

    def _any_of(self) -> Predicate:
        found = [self._all_of()]
        while self._word("or"):
            found.append(self._all_of())
        return lambda row: any(one(row) for one in found)

    def _all_of(self) -> Predicate:
        found = [self._condition()]
        while self._word("and"):
            found.append(self._condition())
        return lambda row: all(one(row) for one in found)

    def _condition(self) -> Predicate:
        if self._sign("("):
            inner = self._any_of()
            self._take("sign", ")")
            return inner
        name = self._name()
        if name == "ispresent":
            self._take("sign", "(")
            present = self._name()
            self._take("sign", ")")
            return lambda row: row.get(present) is not None
        if self._word("in"):
            self._take("sign", "[")
            values = list(self._list(self._value))
            self._take("sign", "]")
            return lambda row: row.get(name) in values
        if self._word("like"):
            pattern = re.compile(self._take("regex")[1:-1])
            return lambda row: pattern.search(str(row.get(name, ""))) is not None
        compare, value = _COMPARISONS.get(self._take("sign")), self._value()
        if compare is None:
            raise Malformed(f"{name} is not compared")
        return lambda row: row.get(name) is not None and compare(row[name], value)

    def _value(self) -> Any:
        if self._peek()[0] == "number":
            return float(self._take("number"))
        return self._take("text")[1:-1]

    def _list(self, one: Callable[[], Any]) -> Iterator[Any]:
        yield one()
        while self._sign(","):
            yield one()

    def _name(self) -> str:
        return self._take("name").strip("`")

    def _word(self, word: str) -> bool:
        return self._next(("name", word), lower=True)

    def _sign(self, sign: str) -> bool:
        return self._next(("sign", sign))

    def _next(self, token: tuple[str, str], *, lower: bool = False) -> bool:
        kind, text = self._peek()
        if (kind, text.lower() if lower else text) != token:
            return False
        self._at += 1
        return True

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self, kind: str, text: str | None = None) -> str:
        found = self._peek()
        if found[0] != kind or text not in {None, found[1]}:
            raise Malformed(f"expected {text or kind}, found {found[1] or 'the end'!r}")
        self._at += 1
        return found[1]


def _keeping(predicate: Predicate) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [row for row in rows if predicate(row)]


def _sorting(name: str, descending: bool) -> Callable[[list[Row]], list[Row]]:
    def sort(rows: list[Row]) -> list[Row]:
        known = [row for row in rows if row.get(name) is not None]
        return sorted(known, key=lambda row: row[name], reverse=descending) + [row for row in rows if row not in known]

    return sort


def _limiting(limit: int) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: rows[:limit]


def _grouping(
    statistics: Sequence[tuple[str, str, str]], groups: Sequence[tuple[str, int, str]]
) -> Callable[[list[Row]], list[Row]]:
    def group(rows: list[Row]) -> list[Row]:
        found: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows:
            key = tuple(row[name] // span * span if span else row.get(name) for name, span, _ in groups)
            found.setdefault(key, []).append(row)
        answer = []
        for key, members in found.items():
            result: Row = dict(zip((heading for *_, heading in groups), key, strict=True))
            for function, name, heading in statistics:
                values = [row[name] for row in members if row.get(name) is not None]
                result[heading] = _STATISTICS[function](values) if values else None
            answer.append(result)
        return answer

    return group
