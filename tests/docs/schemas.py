"""The JSON schemas of the change events, which ``make docs`` writes from the code: ``python -m tests.docs.schemas``.

They describe the ``detail`` of an event of version 1, and leave room for what may come within that version: new
properties, new attributes of a user, new controls. The tests hold the events to the same schemas without that room.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from functions.shared.events import ACCOUNT_FAILED, MASS_DELETION_SUSPECTED, NAMES_TOLD, SCAN_COMPLETED, TYPES, VERSION
from functions.table.diff import CHANGED, CREATED, DELETED, RECREATED, RENAMED
from functions.table.findings import BY_NAME
from functions.table.record import ATTRIBUTES, LISTING, Attribute, Kind
from tests.support.paths import FUNCTIONS

FOLDER = FUNCTIONS / "publish_changes" / "schemas"

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_KINDS: dict[Kind, Schema] = {
    Kind.TEXT: _TEXT,
    Kind.TIME: {"type": "string", "format": "date-time"},
    Kind.FLAG: {"type": "boolean"},
    Kind.TEXTS: {"type": "array", "items": _TEXT},
    Kind.TAGS: {"type": "object", "additionalProperties": _TEXT},
}
_SCAN: Schema = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_KNOWN = [attribute for attribute in ATTRIBUTES if attribute.kind in _KINDS]
"""What of a record is in an event: all but its expiry."""
_ALWAYS = [attribute.name for attribute in ATTRIBUTES if attribute.section == LISTING and not attribute.optional]

NAMED = (CREATED, DELETED, RECREATED, RENAMED, CHANGED)
"""The changes that are about one user."""

MEANINGS = {
    "version": "the version of this shape",
    "id": "the identity of the event: drop what you have seen, it may come more than once",
    "account_id": "the account of the user",
    "account_name": "what people call the account, where whoever started the scan told; else null",
    "summary": "one sentence for people, in one line, without quotes or backslashes",
    "change": "what has happened; it follows from the detail-type",
    "user_name": "the last name of the user; `<root_account>` is the root user; null where it is about no single one",
    "user_id": "the last identity of the user; null for the root user, and where it is about no single one",
    "attributes": "the names of the attributes that differ",
    "before": "the user as it was last known: whole where it is gone, else what differs; null where there was none",
    "after": "the user as it is: whole where it is new, else what differs; null where there is none",
    "findings_opened": "the controls that are a finding now, and were none when last known",
    "findings_closed": "the controls that were a finding, and are none any more",
    "previous_scan_timestamp": "the scan that was announced before; null for the first one, and for one that failed",
    "scan_timestamp": "the scan that tells it, or failed",
    "execution_arn": "the execution that made the scan; of one that failed, that of the organization machine",
}  # fmt: skip
MORE = {
    MASS_DELETION_SUSPECTED: {
        "users": "how many users there were",
        "missing": "how many of them are missing",
        "guard": "how many deletions at once are believed",
        "user_names": f"who is missing: the first {NAMES_TOLD} names",
    },
    SCAN_COMPLETED: {
        "baseline": "whether there was nothing to compare with: nothing but this event is sent of such a scan",
        "users": "how many users the scan recorded",
        "events": "how many events of the scan came before this one",
        "counts": "how many changes of each kind there were, and deletions that are not announced (yet)",
        "sections": "what became of the sources of the users' posture: CURRENT, STALE, MISSING or OFF",
    },
    ACCOUNT_FAILED: {
        "error_type": "the name of the error for which the account has no complete scan",
        "error_message": "its message, shortened: the account's own manifest has it all",
    },
}
"""What the events have besides that are about a scan."""


def schema(change: str, *, strict: bool = False) -> Schema:
    """Return the schema of the detail of an event.

    Parameters
    ----------
    strict
        Without room for what may come.
    """
    return _Writer(change, strict).schema()


@cache
def validator(change: str) -> Draft202012Validator:
    """Return what holds an event to its schema, without room for what may come."""
    return Draft202012Validator(schema(change, strict=True))


def write(folder: Path = FOLDER) -> None:
    """Write the schemas."""
    folder.mkdir(exist_ok=True)
    for change in TYPES:
        path_of(change, folder).write_text(text_of(change))


def text_of(change: str) -> str:
    """Return what the file of a schema holds."""
    return json.dumps(schema(change), indent=2, ensure_ascii=False) + "\n"


def path_of(change: str, folder: Path = FOLDER) -> Path:
    """Return the file of a schema."""
    return folder / f"{change}.json"


class _Writer:
    def __init__(self, change: str, strict: bool) -> None:
        self._change, self._strict = change, strict

    def schema(self) -> Schema:
        meanings = {**MEANINGS, **MORE.get(self._change, {})}
        types = {**dict(self._common()), **dict(self._of_this())}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:iam-user-monitor:event:{VERSION}:{self._change}",
            "title": TYPES[self._change],
            "description": f"The detail of an event of the detail-type {TYPES[self._change]}.",
            **self._object({name: {**types[name], "description": meaning} for name, meaning in meanings.items()}),
            "required": list(meanings),
        }

    def _common(self) -> Iterator[tuple[str, Schema]]:
        null: Schema = {"type": "null"}
        yield "version", {"const": VERSION}
        yield "id", {"type": "string", "format": "uuid"}
        yield "account_id", {"type": "string", "pattern": "^[0-9]{12}$"}
        yield "account_name", {"type": ["string", "null"], "maxLength": 64}
        yield "summary", {"type": "string", "pattern": '^[^"\\\\\\n]+$'}
        yield "change", {"const": self._change}
        yield "user_name", null
        yield "user_id", null
        yield "attributes", {"type": "array", "maxItems": 0}
        yield "before", null
        yield "after", null
        yield "findings_opened", {"type": "array", "maxItems": 0}
        yield "findings_closed", {"type": "array", "maxItems": 0}
        yield "previous_scan_timestamp", _SCAN
        yield "scan_timestamp", _SCAN
        yield "execution_arn", {"type": "string", "pattern": "^arn:[^:]+:states:[^:]*:[0-9]{12}:execution:.+$"}

    def _of_this(self) -> Iterator[tuple[str, Schema]]:
        change = self._change
        if change in NAMED:
            yield "user_name", _TEXT
            yield "user_id", {"type": ["string", "null"]} if change == CHANGED else _TEXT
        if change in {DELETED, RECREATED}:
            yield "before", self._user()
        if change in {CREATED, RECREATED}:
            yield "after", self._user()
        if change in {RENAMED, CHANGED}:
            yield "before", self._difference()
            yield "after", self._difference()
        if change in {RECREATED, RENAMED, CHANGED}:
            yield "attributes", self._attributes()
        if change in {CREATED, RECREATED, RENAMED, CHANGED}:
            yield "findings_opened", self._controls()
        if change in {DELETED, RECREATED, RENAMED, CHANGED}:
            yield "findings_closed", self._controls()
        if change == MASS_DELETION_SUSPECTED:
            yield "user_names", {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": NAMES_TOLD}
            for name in ("users", "missing", "guard"):
                yield name, {"type": "integer", "minimum": 1}
        if change == ACCOUNT_FAILED:
            yield "previous_scan_timestamp", {"type": "null"}
            yield "error_type", _TEXT
            yield "error_message", _TEXT
        if change == SCAN_COMPLETED:
            kinds = (*NAMED, "unconfirmed_deletions", "suspected_deletions")
            states: Schema = {"enum": ["CURRENT", "STALE", "MISSING", "OFF"]}
            yield "previous_scan_timestamp", {**_SCAN, "type": ["string", "null"]}
            yield "baseline", {"type": "boolean"}
            yield "users", _COUNT
            yield "events", _COUNT
            yield "counts", {**self._object(dict.fromkeys(kinds, _COUNT)), "required": list(kinds)}
            yield "sections", self._object(dict.fromkeys(("credential_report", "authorization"), states))

    def _user(self) -> Schema:
        """Return what a user is like as a whole: what is absent is unknown, or IAM gives none."""
        return {**self._object({one.name: _described(one, _KINDS[one.kind]) for one in _KNOWN}), "required": _ALWAYS}

    def _difference(self) -> Schema:
        """Return what differs of a user; null is what the other side has and this one has not."""
        nullable = {one.name: {**_KINDS[one.kind], "type": [_KINDS[one.kind]["type"], "null"]} for one in _KNOWN}
        required = {"required": ["user_name"]} if self._change == RENAMED else {}
        return {**self._object({one.name: _described(one, nullable[one.name]) for one in _KNOWN}), **required}

    def _attributes(self) -> Schema:
        contains = {RECREATED: {"contains": {"const": "user_id"}}, RENAMED: {"contains": {"const": "user_name"}}}
        return {**self._names([one.name for one in _KNOWN]), **contains.get(self._change, {})}

    def _controls(self) -> Schema:
        return self._names(list(BY_NAME))

    def _names(self, known: list[str]) -> Schema:
        return {"type": "array", "items": {"enum": known} if self._strict else _TEXT, "uniqueItems": True}

    def _object(self, properties: dict[str, Schema]) -> Schema:
        room: Schema = {"additionalProperties": False} if self._strict else {}
        return {"type": "object", "properties": properties, **room}


def _described(attribute: Attribute, kind: Schema) -> Schema:
    return {**kind, "description": attribute.meaning}


if __name__ == "__main__":
    write()
