"""Prints rows as a table for people, or as JSON or CSV for tools, while they come."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TextIO

from functions.operations.errors import OperationError

FORMATS = ("table", "json", "csv")
# So many rows decide how wide a column is; what is longer later stands out, but nothing waits for it.
_ROWS_LOOKED_AT = 200


def check_format(name: str) -> str:
    """Return the format, ``table`` for an empty text; an OperationError if there is none of this name."""
    if name and name not in FORMATS:
        raise OperationError(f"FORMAT must be one of {', '.join(FORMATS)}, got {name!r}")
    return name or FORMATS[0]


def write(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], form: str, out: TextIO | None = None) -> int:
    """Write the rows; return how many there were."""
    out = out or sys.stdout
    if form == "csv":
        return _write_csv(rows, columns, out)
    if form == "json":
        return _write_json(rows, columns, out)
    return _write_table(rows, columns, out)


def _write_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], out: TextIO) -> int:
    writer = csv.DictWriter(out, columns, extrasaction="ignore", restval="", lineterminator="\n")
    writer.writeheader()
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 - it is the result
        writer.writerow({name: _formula_free(_text(row.get(name))) for name in columns})
    return count


def _write_json(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], out: TextIO) -> int:
    count = 0
    out.write("[")
    for count, row in enumerate(rows, start=1):
        out.write(",\n " if count > 1 else "\n ")
        out.write(json.dumps({name: row[name] for name in columns if row.get(name) is not None}))
    out.write("\n]\n" if count else "]\n")
    return count


def _write_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], out: TextIO) -> int:
    iterator = iter(rows)
    first = list(islice(iterator, _ROWS_LOOKED_AT))
    widths = {name: max(len(name), *(len(_text(row.get(name))) for row in first), 0) for name in columns}

    def line(cells: Iterator[tuple[str, str, bool]]) -> str:
        return "  ".join(text.rjust(widths[name]) if right else text.ljust(widths[name]) for name, text, right in cells)

    numbers = {name for name in columns if first and isinstance(first[0].get(name), int | float)}
    out.write(line((name, name, name in numbers) for name in columns).rstrip() + "\n")
    count = 0
    for count, row in enumerate(chain(first, iterator), start=1):  # noqa: B007 - it is the result
        out.write(line((name, _text(row.get(name)), name in numbers) for name in columns).rstrip() + "\n")
    return count


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _formula_free(text: str) -> str:
    """Keep a spreadsheet from running a user's name as a formula: IAM allows names that begin with ``=``, ``+``, ``@``.

    See OWASP, "CSV Injection".
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
