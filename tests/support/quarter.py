"""An account through a winter, scanned weekly: what a page about it has to show, in a table in memory.

Who matters to the tests:

- ``mallory`` is an administrator all the time, and has no MFA device from the scan of 9 February on.
- ``oscar`` was one without until the scan of 9 March, which knows his device.
- ``peggy`` is in a report that is stale, which says that she has a device, and no password.
- ``trent`` is one of whom nothing is known but that, for he was created after the report of the last scan.
- ``O'Brien & "sons"`` would be markup, if a page took names for it; IAM allows no such name, but a table may hold it.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.recorded import ACCOUNT, NOTHING, Table

FIRST = datetime(2026, 1, 5, 10, tzinfo=UTC)
WEEKS = 12
NO_REPORT = 4
"""The scan, by its number, that got no credential report: of 2 February."""
FAILED = "2026-02-20T10:00:00Z"
EVIL = 'O\'Brien & "sons"<!--<script>document.title="taken"'
"""A name. A "/" is in none: it would be another account's."""
EVIL_BOUNDARY = f'arn:aws:iam::{ACCOUNT}:policy/</script><script>document.title="taken"</script>'
WEIRD_PATH = '/a"b\\c/'

MALLORY_FROM, OSCAR_UNTIL = 5, 9

_GROUPS = ("developers", "operations", "finance", "readers", "admins")
_ADMIN = ["group admins: policy arn:aws:iam::aws:policy/AdministratorAccess"]


class Fast(Table):
    """The same, for many records: a query of the index looks at those of its scan only."""

    def paginate(self, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield page after page."""
        scan = query["ExpressionAttributeValues"].get(":scan", {}).get("S")
        whole = self.items
        if scan is not None:
            self.items = {key: item for key, item in whole.items() if key[1] == scan}
        try:
            yield from super().paginate(**query)
        finally:
            self.items = whole


def text(moment: datetime) -> str:
    """Return a time as the table has it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def scan_of(number: int) -> str:
    """Return the scan_timestamp of a scan by its number."""
    return text(FIRST + timedelta(weeks=number))


def quarter(users: int = 60, weeks: int = WEEKS) -> Table:
    """Return the table of an account of so many users, most of them ordinary."""
    table = Fast()
    for number in range(weeks):
        moment = FIRST + timedelta(weeks=number)
        report = None if number == NO_REPORT else moment - timedelta(minutes=50)
        people = dict(_people(users, number, moment, report))
        table.scan(text(moment), people, **_manifest(moment, report))
    table.scan(FAILED, {"mallory": {}}, status="FAILED")
    return table


def _people(users: int, number: int, moment: datetime, report: datetime | None) -> Iterator[tuple[str, dict[str, Any]]]:
    # Drawn for each user anew in each scan, and so the same in all.
    for one in range(users - 6):
        draw = random.Random(one)
        comes, goes = draw.choice([0] * 40 + list(range(1, WEEKS))), draw.choice([99] * 30 + [3, 7, 10])
        if comes <= number < goes:
            name, facts = _ordinary(draw, one, moment, report)
            if comes:
                facts["create_date"] = text(FIRST + timedelta(weeks=comes, hours=-3))
            yield name, facts
    admin = {"groups": ["admins"], "admin_via": _ADMIN, **_password(moment)}
    yield "mallory", _known("AIDAMALLORY", report, **admin, mfa_active=number < MALLORY_FROM)
    yield "oscar", _known("AIDAOSCAR", report, **admin, mfa_active=number >= OSCAR_UNTIL)
    stale = None if report is None else moment - timedelta(hours=6)
    yield "peggy", _known("AIDAPEGGY", stale, mfa_active=True)
    hostile = {"arn": f"arn:aws:iam::{ACCOUNT}:user{WEIRD_PATH}evil", "permissions_boundary": EVIL_BOUNDARY}
    yield EVIL, _known("AIDAEVIL", report, **hostile, groups=["a<b>&'c'"])
    # Recreated in the third scan, and renamed in the sixth.
    carol = "carol" if number < 6 else "carol.jones"
    born = "2024-05-06T08:00:00Z" if number < 3 else text(FIRST + timedelta(weeks=3, hours=-5))
    identity = {"user_id": "AIDACAROL1" if number < 3 else "AIDACAROL2", "create_date": born}
    yield carol, _known(report=report, **identity, **_password(moment), mfa_active=True)
    if number == WEEKS - 1:
        created = text(moment - timedelta(minutes=5))
        young = {"user_id": "AIDATRENT", "create_date": created, "groups": ["admins"], "admin_via": _ADMIN}
        yield "trent", {**young, "attached_policies": [], "inline_policies": []}


def _ordinary(draw: random.Random, one: int, moment: datetime, report: datetime | None) -> tuple[str, dict[str, Any]]:
    first = draw.choice(["alba", "bruno", "chen", "dara", "elif", "femi", "greta", "hugo", "ines", "jonas", "kira"])
    name = f"{first}.{draw.choice(['ito', 'ozturk', 'smith', 'garcia', 'novak', 'okafor'])}{one}"
    facts: dict[str, Any] = {"mfa_active": draw.random() < 0.8}
    if draw.random() < 0.6:
        facts |= _password(moment - timedelta(days=draw.choice([0, 1, 5, 60])))
    for slot in (1, 2):
        if draw.random() < 0.5 / slot:
            created = FIRST - timedelta(days=draw.randrange(400), seconds=draw.randrange(80_000))
            used = text(moment - timedelta(hours=draw.choice([1, 20, 24 * 70])))
            key = {"active": draw.random() < 0.9, "last_rotated": text(created), "last_used_date": used}
            facts |= {f"access_key_{slot}_{what}": value for what, value in key.items()}
    facts["groups"] = sorted(draw.sample(_GROUPS[:4], draw.choice([0, 1, 1, 2])))
    if draw.random() < 0.08:
        facts |= {"groups": ["admins"], "admin_via": _ADMIN, "mfa_active": True}
    if draw.random() < 0.1:
        facts["attached_policies"] = ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
    path = draw.choice(["/", "/", "/people/", "/service/"])
    facts["arn"] = f"arn:aws:iam::{ACCOUNT}:user{path}{name}"
    facts["create_date"] = text(FIRST - timedelta(days=draw.randrange(30, 900)))
    return name, _known(f"AIDA{one:016}", report, **facts)


def _known(user_id: str, report: datetime | None, **facts: Any) -> dict[str, Any]:
    record = {**NOTHING, "user_id": user_id, **facts}
    if report is None:
        listed = ("user_id", "arn", "create_date", "groups", "attached_policies", "inline_policies", "admin_via")
        return {name: value for name, value in record.items() if name in listed}
    return {**record, "credential_report_time": text(report)}


def _password(used: datetime) -> dict[str, Any]:
    return {
        "password_enabled": True,
        "password_last_changed": "2025-11-01T07:00:00Z",
        "password_last_used": text(used - timedelta(hours=3)),
    }


def _manifest(moment: datetime, report: datetime | None) -> dict[str, Any]:
    details = {"state": "CURRENT", "generated_time": text(moment)}
    if report is None:
        missing = {"state": "MISSING", "error_type": "LimitExceeded", "error_message": "No more capacity"}
        return {"sections": {"credential_report": missing, "authorization": details}}
    root = {
        "arn": f"arn:aws:iam::{ACCOUNT}:root",
        "credential_report_time": text(report),
        "password_enabled": True,
        "mfa_active": True,
        "password_last_used": "2025-12-24T18:00:00Z",
    }
    section = {"state": "CURRENT", "generated_time": text(report)}
    return {"sections": {"credential_report": section, "authorization": details}, "root": root}
