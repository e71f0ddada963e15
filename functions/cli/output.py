"""Prints rows as a table for people, or as JSON or CSV for tools, while they come."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TextIO

FORMATS = ("table", "json", "jsonl", "csv")
# So many rows decide how wide a column is; what is longer later stands out, but nothing waits for it.
_ROWS_LOOKED_AT = 200

Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Columns:
    """What is shown: to people, who have 200 characters, and to tools, as evidence."""

    table: Sequence[str]
    data: Sequence[str]


@dataclass(frozen=True)
class Shown:
    """A value that tools get as it is, and people in other words."""

    value: Any
    words: str


def write(rows: Rows, columns: Columns, form: str, out: TextIO) -> int:
    """Write the rows; return how many there were."""
    writers: dict[str, Callable[[Rows, Columns, TextIO], int]] = {
        "csv": _write_csv,
        "json": _write_json,
        "jsonl": _write_jsonl,
    }
    return writers.get(form, _write_table)(rows, columns, out)


def printable(text: str) -> str:
    """Return the text with control characters escaped: names and causes come from outside."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _write_csv(rows: Rows, columns: Columns, out: TextIO) -> int:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")

    def line(cells: Iterable[str]) -> None:
        writer.writerow(cells)
        out.write(buffer.getvalue())
        buffer.seek(0)
        buffer.truncate()

    line(columns.data)
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 - it is the result
        line(_cell(_data(row.get(name))) for name in columns.data)
    return count


def _write_json(rows: Rows, columns: Columns, out: TextIO) -> int:
    count = 0
    # The bracket waits for the first row: an answer that there is none leaves no half document.
    for count, text in enumerate(_documents(rows, columns), start=1):
        out.write(("[\n " if count == 1 else ",\n ") + text)
    out.write("\n]\n" if count else "[]\n")
    return count


def _write_jsonl(rows: Rows, columns: Columns, out: TextIO) -> int:
    count = 0
    for count, text in enumerate(_documents(rows, columns), start=1):  # noqa: B007 - it is the result
        out.write(text + "\n")
    return count


def _documents(rows: Rows, columns: Columns) -> Iterator[str]:
    for row in rows:
        values = {name: _data(row.get(name)) for name in columns.data}
        yield json.dumps({name: value for name, value in values.items() if value is not None})


def _write_table(rows: Rows, columns: Columns, out: TextIO) -> int:
    iterator, names = iter(rows), columns.table
    first = list(islice(iterator, _ROWS_LOOKED_AT))
    widths = {name: max(len(name), *(len(_text(row.get(name))) for row in first), 0) for name in names}
    numbers = {name for name in names if first and isinstance(first[0].get(name), int | float)}

    def line(cells: Iterable[tuple[str, str]]) -> None:
        aligned = (text.rjust(widths[name]) if name in numbers else text.ljust(widths[name]) for name, text in cells)
        out.write("  ".join(aligned).rstrip() + "\n")

    line((name, name) for name in names)
    count = 0
    for count, row in enumerate(chain(first, iterator), start=1):  # noqa: B007 - it is the result
        line((name, _text(row.get(name))) for name in names)
    return count


def _data(value: Any) -> Any:
    return value.value if isinstance(value, Shown) else value


def _text(value: Any) -> str:
    return printable(_plain(value.words if isinstance(value, Shown) else value))


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _cell(value: Any) -> str:
    """Keep a spreadsheet from running a user's name as a formula: IAM allows names that begin with ``=``, ``+``, ``@``.

    See OWASP, "CSV Injection". A number is no text, and stays as it is.
    """
    text = _plain(value)
    if isinstance(value, int | float) or not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    return f"'{text}"
