"""What of the documents is written by ``make docs``, between cog's markers, from what they document: as text."""

import json
import re
from collections.abc import Iterable
from typing import Any, cast

import pytest

from functions.shared import events
from functions.shared.events import TYPES
from functions.table import walk
from functions.table.findings import CIS_VERSIONS, CONTROLS
from functions.table.reader import Reader
from functions.table.record import ATTRIBUTES, AUTHORIZATION, CREDENTIAL_REPORT, LISTING, Attribute
from functions.table.replay import Chain, Replay
from tests.bench.report import RESULT, Report
from tests.docs import diagram, schemas
from tests.support import definition
from tests.support.command import asks, run
from tests.support.paths import TERRAFORM
from tests.support.recorded import NOTHING, Table


def variables(module: str = ".") -> str:
    """Return the table of the variables of the configuration, or of a module in its folder."""
    rows = ((f"`{name}`", _default(body), _text(body)) for name, body in _blocks("variable", module).items())
    return _table(("Variable", "Default", "What it sets"), rows)


def outputs(module: str = ".") -> str:
    """Return the table of the outputs of the configuration, or of a module in its folder."""
    rows = ((f"`{name}`", _text(body)) for name, body in _blocks("output", module).items())
    return _table(("Output", "What it is"), rows)


def attributes() -> str:
    """Return the table of what a record holds."""
    return _table(
        ("Attribute", "What it is", "From"),
        ((f"`{one.name}`", one.meaning, _source(one)) for one in ATTRIBUTES),
    )


def _source(attribute: Attribute) -> str:
    names = {CREDENTIAL_REPORT: "the credential report", AUTHORIZATION: "the authorization details"}
    return f"`{attribute.source}`" if attribute.section == LISTING else names.get(attribute.section or "", "the scan")


def controls() -> str:
    """Return the table of what users are judged by, with the numbers in each version of the benchmark."""
    return _table(
        ("Control", "It is a finding when", *(f"v{version}" for version in CIS_VERSIONS)),
        (
            (f"`{control.name}`", control.asks, *(control.cis.get(version, "–") for version in CIS_VERSIONS))
            for control in CONTROLS
        ),
    )


def event_types() -> str:
    """Return the table of the change events."""
    return _table(
        ("detail-type", "`change`", "Schema"),
        ((f"`{kind}`", f"`{change}`", f"[{change}.json](schemas/{change}.json)") for change, kind in TYPES.items()),
    )


def event_fields() -> str:
    """Return the table of what the detail of an event holds."""
    rows = [("all", schemas.MEANINGS), *((TYPES[change], fields) for change, fields in schemas.MORE.items())]
    return _table(
        ("Field", "What it is", "In"),
        ((f"`{name}`", meaning, where) for where, fields in rows for name, meaning in fields.items()),
    )


def event(change: str, user_name: str) -> str:
    """Return an event of the example, as a rule's target gets it."""
    reader = Reader(cast("Any", _example()), "iam-user-records")
    scans = list(reader.scans())
    first = walk.first(scan for scan in scans if scan.trusted)
    assert first is not None
    (step,) = Replay(reader, scans, first, Chain.of(reader))
    told = events.of_detection(step.telling.detection, step.scan, step.previous.scan_timestamp)
    (found,) = (one for one in told if (one.detail["change"], one.detail["user_name"]) == (change, user_name))
    schemas.validator(change).validate(found.detail)
    shown = {
        "source": events.SOURCE,
        "detail-type": found.detail_type,
        "resources": found.resources,
        "detail": found.detail,
    }
    return _block("json", json.dumps(shown, indent=2, ensure_ascii=False).splitlines())


def organization_workflow() -> str:
    """Return the picture of the organization machine."""
    return _block("mermaid", diagram.lines(definition.ORGANIZATION))


def workflow() -> str:
    """Return the picture of the state machine."""
    return _block("mermaid", diagram.lines())


def benchmark() -> str:
    """Return what the benchmark last measured."""
    return "\n".join(_report().lines())


def benchmark_in_short() -> str:
    """Return the three figures of the benchmark that a first reader asks for."""
    return _report().in_short()


def answer(*arguments: str) -> str:
    """Return what the command answers from the records of an example."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_REGION", "us-east-1")
        asks(patch, _example())
        result = run(*arguments)
    assert result.exit_code == 0, result.output
    return _block("console", [f"$ iam-user-monitor {' '.join(arguments)}", *(result.stdout.splitlines())])


def _example() -> Table:
    """Return the table of an account in which, from one scan to the next, all kinds of changes happen."""
    table = Table()
    used, key_of_alice, key_of_eve = "2026-01-30T08:15:00Z", "2025-12-20T10:00:00Z", "2024-05-14T11:02:40Z"

    def user(scan: str, name: str, number: int, path: str = "/", **more: Any) -> dict[str, Any]:
        return {
            "user_id": f"AIDAEXAMPLE{number:05}",
            "arn": f"arn:aws:iam::123456789012:user{path}{name}",
            "create_date": f"2024-0{number}-11T09:26:53Z",
            **NOTHING,
            "credential_report_time": _shortly_before(scan),
            **more,
        }

    def alice(scan: str, **more: Any) -> dict[str, Any]:
        posture = {**_password(used), **_key(key_of_alice, used), "groups": ["admins"]}
        return user(scan, "alice", 1, **posture, admin_via=["group admins: inline policy full"], **more)

    january, failed, february = "2026-01-31T10:00:00Z", "2026-02-01T10:00:00Z", "2026-02-02T10:00:00Z"
    eve = {**_key(key_of_eve, used), "groups": ["developers"]}
    table.scan(
        january,
        {
            "alice": alice(january),
            "bob": user(january, "bob", 2, **_password(used), mfa_active=True),
            "carol": user(january, "carol", 3),
            "eve": user(january, "eve", 5, **eve),
        },
        **_sections(january),
    )
    table.scan(failed, {"alice": alice(failed)}, status="FAILED")
    table.scan(
        february,
        {
            "alice": alice(february, mfa_active=True),
            "carol": user(february, "carol", 7, create_date="2026-02-02T08:30:00Z"),
            "dave": user(february, "dave", 8, create_date="2026-02-01T17:05:41Z"),
            "eve.new": user(february, "eve.new", 5, **eve),
        },
        **_sections(february),
    )
    return table


def _password(used: str) -> dict[str, Any]:
    return {"password_enabled": True, "password_last_used": used, "password_last_changed": "2024-11-01T07:00:00Z"}


def _key(created: str, used: str) -> dict[str, Any]:
    return {
        "access_key_1_active": True,
        "access_key_1_last_rotated": created,
        "access_key_1_last_used_date": used,
    }


def _sections(scan: str) -> dict[str, Any]:
    made = _shortly_before(scan)
    section = {"state": "CURRENT", "generated_time": made}
    root = {"arn": "arn:aws:iam::123456789012:root", "credential_report_time": made, "password_enabled": True}
    return {"sections": {"credential_report": section, "authorization": section}, "root": {**root, "mfa_active": True}}


def _shortly_before(scan: str) -> str:
    return scan.replace("10:00:00", "09:59:58")


def _report() -> Report:
    return Report.from_json(json.loads(RESULT.read_text()))


def _blocks(kind: str, module: str) -> dict[str, str]:
    """Return the bodies of all blocks of a kind in a folder of the Terraform configuration, by name, sorted."""
    text = "\n".join(path.read_text() for path in sorted((TERRAFORM / module).glob("*.tf")))
    return dict(sorted(re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', text, re.MULTILINE | re.DOTALL)))


def _field(body: str, name: str) -> str:
    match = re.search(rf"^  {name}\s*=\s*(.*)$", body, re.MULTILINE)
    assert match is not None, f"it has no {name}: {body}"
    return match[1]


def _default(body: str) -> str:
    return f"`{_field(body, 'default')}`" if "\n  default " in body else "none"


def _text(body: str) -> str:
    return _field(body, "description").strip('"').replace('\\"', '"')


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))


def _block(language: str, lines: Iterable[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])
