"""The credential report: reads IAM's CSV, row by row, into the attributes of a record.

Columns are found by their names, and those that are not known are left alone
(https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html). A column that is missing could
not be told from one that says ``N/A``, which means that something does not exist: such a report is refused, like every
other that cannot be read for certain.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions.shared import timestamps
from functions.table.record import ATTRIBUTES, CREDENTIAL_REPORT, IN_SLOTS, ROOT, SLOTS, Attribute, Kind
from functions.table.wire import Item

ABSENT = frozenset({"", "n/a", "no_information", "not_supported"})
"""What the report says where there is no value, in small letters."""

_COLUMNS = tuple(attribute for attribute in ATTRIBUTES if attribute.section == CREDENTIAL_REPORT and attribute.source)
# ListUsers tells it of users, and tells it sooner; of root, only the report does.
_LAST_USED = next(attribute for attribute in ATTRIBUTES if attribute.name == "password_last_used")
_IDENTITY = ("user", "arn", "user_creation_time")
_REQUIRED = frozenset({*_IDENTITY, _LAST_USED.name, *(attribute.name for attribute in _COLUMNS)})


class MalformedReport(ValueError):  # noqa: N818 - the name that a manifest shows
    """The report is not what its documentation says."""


@dataclass(frozen=True)
class Report:
    """A credential report."""

    generated: str
    """When IAM made it, ISO 8601."""
    rows: dict[str, tuple[str, Item]]
    """By ARN: when the user was created, as a record has it, and the attributes."""
    root: Item | None
    """The root user, None where the report has no such row."""


def parse(content: bytes, generated: str) -> Report:
    """Return what a report tells.

    Parameters
    ----------
    content
        The CSV, UTF-8.
    generated
        When IAM made it, ISO 8601.

    Raises
    ------
    MalformedReport
        It lacks a column, or has a value that is not known.
    """
    rows: dict[str, tuple[str, Item]] = {}
    root = None
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
        missing = sorted(_REQUIRED - set(reader.fieldnames or ()))
        if missing:
            raise MalformedReport(f"the credential report lacks the columns {', '.join(missing)}")
        for line in reader:
            where = f"line {reader.line_num} of the credential report"  # and not whose it is: errors are logged
            if None in line or None in line.values():
                raise MalformedReport(f"{where} has not as many fields as there are columns")
            if line["user"] == ROOT:
                root = _root(line, where, generated)
            else:
                rows[line["arn"]] = (_time(line, "user_creation_time", where), _facts(line, where))
    except (csv.Error, UnicodeDecodeError) as error:
        raise MalformedReport(f"the credential report is no CSV in UTF-8: {error}") from error
    return Report(generated, rows, root)


def _facts(line: Mapping[str, str], where: str) -> Item:
    """Return the attributes of a row. What does not exist has none, not even one that says that it is not active."""
    facts: Item = {}
    for attribute in _COLUMNS:
        value = _value(line, attribute, where)
        if value is not None:
            facts[attribute.name] = value
    for thing in (f"{kind}_{slot}" for kind in IN_SLOTS for slot in SLOTS):
        if f"{thing}_last_rotated" not in facts and facts.get(f"{thing}_active") is False:
            del facts[f"{thing}_active"]
    return facts


def _root(line: Mapping[str, str], where: str, generated: str) -> Item:
    facts = {"arn": line["arn"], "credential_report_time": generated, **_facts(line, where)}
    # The account's age, where the report tells it.
    for name in ("user_creation_time", _LAST_USED.name):
        if line[name].lower() not in ABSENT:
            facts[name] = _time(line, name, where)
    return facts


def _value(line: Mapping[str, str], attribute: Attribute, where: str) -> Any:
    text = line[attribute.name]
    if text.lower() in ABSENT:
        return None
    if attribute.kind is Kind.FLAG:
        if text.lower() not in {"true", "false"}:
            raise MalformedReport(f"{attribute.name} in {where} is {text!r}, neither true nor false")
        return text.lower() == "true"
    return _time(line, attribute.name, where) if attribute.kind is Kind.TIME else text


def _time(line: Mapping[str, str], name: str, where: str) -> str:
    try:
        return timestamps.to_seconds(timestamps.parse(line[name]))
    except ValueError as error:
        raise MalformedReport(f"{name} in {where} is {line[name]!r}, no time") from error
