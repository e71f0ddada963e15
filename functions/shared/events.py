"""The events that tell of changes: their types, what is in them, and the sentence for people.

Consumers drop duplicates by ``detail.id``: EventBridge delivers at least once, gives every put an id of its own, and a
publication that was interrupted is repeated. ``functions/publish_changes/schemas`` has a JSON schema for each type.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.table.diff import CHANGED, CREATED, DELETED, RECREATED, RENAMED
from functions.table.record import ROOT

if TYPE_CHECKING:
    # What a step does not work with, it does not load when it starts cold.
    from functions.table.detection import Change, Detection
    from functions.table.fleet import FailedAccount, Fleet
    from functions.table.scans import RecordedScan

SOURCE = "iam-user-monitor"
VERSION = "1"

MASS_DELETION_SUSPECTED = "mass_deletion_suspected"
SCAN_COMPLETED = "scan_completed"
ACCOUNT_FAILED = "account_failed"

TYPES = {
    CREATED: "IAM User Created",
    DELETED: "IAM User Deleted",
    RECREATED: "IAM User Recreated",
    RENAMED: "IAM User Renamed",
    CHANGED: "IAM User Changed",
    MASS_DELETION_SUSPECTED: "IAM User Mass Deletion Suspected",
    SCAN_COMPLETED: "IAM User Scan Completed",
    ACCOUNT_FAILED: "IAM User Scan Failed",
}
"""The detail-type of each ``change``."""

NAMES_TOLD = 100
"""Of a suspected mass deletion, so many names are in the event; ``missing`` counts them all."""

_NAMESPACE = uuid.UUID("0b2c8f0e-7c55-5b0c-9c1b-6f1f1a1f6d3e")

_VALUE_LENGTH = 200
"""So much of a value is in a sentence; ``before`` and ``after`` have it all."""


@dataclass(frozen=True)
class Event:
    """One event."""

    detail: dict[str, Any]
    resources: tuple[str, ...] = ()
    """The user's ARN, where there is one."""

    @property
    def detail_type(self) -> str:
        """What EventBridge calls ``detail-type``."""
        return TYPES[self.detail["change"]]

    def entry(self, bus: str) -> dict[str, Any]:
        """Return the event as PutEvents takes it.

        Parameters
        ----------
        bus
            Name or ARN of the event bus.
        """
        return {
            "Source": SOURCE,
            "DetailType": self.detail_type,
            "Detail": json.dumps(self.detail, ensure_ascii=False),
            "Resources": list(self.resources),
            "EventBusName": bus,
        }


def of_detection(detection: "Detection", scan: "RecordedScan", previous: str | None) -> Iterator[Event]:
    """Yield what a scan has to say: its changes, the suspicion if there is one, and last, that it is all said.

    Parameters
    ----------
    previous
        The scan_timestamp that was announced before, None for the first.
    """
    story = _Story(scan, previous)
    number = 0
    for change in detection.changes:
        number += 1
        yield story.of_change(change)
    if detection.suspicion is not None:
        number += 1
        yield story.of_suspicion(detection)
    yield story.of_end(detection, number)


def of_failed_account(failed: "FailedAccount", fleet: "Fleet") -> Event:
    """Return what tells that an account of a fleet has no complete scan, once for each attempt of the fleet."""
    identity = (failed.account_id, fleet.scan_timestamp, str(fleet.manifest.attempt), TYPES[ACCOUNT_FAILED])
    named = f" ({failed.account_name})" if failed.account_name else ""
    return Event(
        {
            "version": VERSION,
            "id": str(uuid.uuid5(_NAMESPACE, "/".join(identity))),
            "account_id": failed.account_id,
            "account_name": failed.account_name,
            "summary": _plain(
                f"The scan {fleet.scan_timestamp} of account {failed.account_id}{named} failed: {failed.error_type}: "
                f"{failed.error_message[:_VALUE_LENGTH]}"
            ),
            "change": ACCOUNT_FAILED,
            "user_id": None,
            "attributes": [],
            "before": None,
            "after": None,
            "findings_opened": [],
            "findings_closed": [],
            "user_name": None,
            "error_type": failed.error_type,
            "error_message": failed.error_message,
            "previous_scan_timestamp": None,
            "scan_timestamp": fleet.scan_timestamp,
            "execution_arn": fleet.manifest.execution_arn,
        }
    )


@dataclass(frozen=True)
class _Story:
    scan: "RecordedScan"
    previous: str | None

    @property
    def account_id(self) -> str:
        return self.scan.manifest.account_id

    def of_change(self, change: "Change") -> Event:
        arn = (change.after or {}).get("arn") or (change.before or {}).get("arn")
        return Event(
            self._detail(
                change.change,
                summary=self._sentence(change),
                user_name=change.user_name,
                user_id=change.user_id,
                attributes=list(change.attributes),
                before=change.before,
                after=change.after,
                findings_opened=list(change.opened),
                findings_closed=list(change.closed),
            ),
            (str(arn),) if arn else (),
        )

    def of_suspicion(self, detection: "Detection") -> Event:
        suspicion = detection.suspicion
        assert suspicion is not None  # noqa: S101 - a mistake in the code
        missing = len(suspicion.user_names)
        return Event(
            self._detail(
                MASS_DELETION_SUSPECTED,
                summary=_plain(
                    f"{missing:,} of the {suspicion.users:,} IAM users of account {self.account_id} are missing from "
                    f"the scan {self.scan.scan_timestamp}. More than {suspicion.guard:,} at once are not believed: a "
                    "mass deletion is suspected, and announced user by user when the next scan agrees."
                ),
                users=suspicion.users,
                missing=missing,
                guard=suspicion.guard,
                user_names=list(suspicion.user_names[:NAMES_TOLD]),
            )
        )

    def of_end(self, detection: "Detection", events: int) -> Event:
        what = (
            "the first one: what comes after is compared with it" if detection.baseline else f"{events:,} events of it"
        )
        sections = self.scan.manifest.sections or {}
        return Event(
            self._detail(
                SCAN_COMPLETED,
                summary=_plain(
                    f"The scan {self.scan.scan_timestamp} of account {self.account_id} recorded "
                    f"{detection.users:,} IAM users; {what}."
                ),
                baseline=detection.baseline,
                users=detection.users,
                events=events,
                counts=detection.counts,
                sections={name: section["state"] for name, section in sections.items()},
            )
        )

    def _detail(self, change: str, *, summary: str, user_id: str | None = None, **facts: Any) -> dict[str, Any]:
        facts.setdefault("user_name", None)
        identity = (self.account_id, self.previous or "", self.scan.scan_timestamp, TYPES[change])
        return {
            "version": VERSION,
            "id": str(uuid.uuid5(_NAMESPACE, "/".join((*identity, user_id or facts["user_name"] or "")))),
            "account_id": self.account_id,
            "account_name": self.scan.manifest.account_name,
            "summary": summary,
            "change": change,
            "user_id": user_id,
            **{"attributes": [], "before": None, "after": None, "findings_opened": [], "findings_closed": [], **facts},
            "previous_scan_timestamp": self.previous,
            "scan_timestamp": self.scan.scan_timestamp,
            "execution_arn": self.scan.manifest.execution_arn,
        }

    def _sentence(self, change: "Change") -> str:
        before, after = change.before or {}, change.after or {}
        name = before["user_name"] if change.change == RENAMED else change.user_name
        who = f"{'The root user' if name == ROOT else f'IAM user {name}'} of account {self.account_id}"
        created = f"at {after.get('create_date', 'an unknown time')}"
        differing = (attribute for attribute in change.attributes if attribute != "user_name")
        parts = [f"{one} {_words(before.get(one))} is now {_words(after.get(one))}" for one in differing]
        if change.change == CREATED:
            what = f"was created {created}"
        elif change.change == DELETED:
            what = f"was deleted between the scans {self.previous} and {self.scan.scan_timestamp}"
        elif change.change == RECREATED:
            what = f"was deleted, and created again {created}: {before['user_id']} is now {change.user_id}"
        elif change.change == RENAMED:
            what = "; ".join([f"was renamed to {change.user_name}", *parts])
        else:
            what = f"has changed: {'; '.join(parts)}" if parts else "has other findings than before"
        findings = "".join(
            f" {label}: {', '.join(names)}."
            for label, names in (("New findings", change.opened), ("No longer found", change.closed))
            if names
        )
        return _plain(f"{who} {what}.{findings}")


def _words(value: Any) -> str:
    match value:
        case None | [] | {}:
            text = "none"
        case bool():
            text = "yes" if value else "no"
        case list():
            text = " + ".join(map(str, value))
        case Mapping():
            text = ", ".join(f"{key}={inner}" for key, inner in value.items())
        case _:
            text = str(value)
    return text if len(text) <= _VALUE_LENGTH else f"{text[:_VALUE_LENGTH]}…"


def _plain(text: str) -> str:
    r"""Return a sentence in one line that an input transformer can put into a text or into JSON.

    What it does with ``"`` and ``\`` in a value is not documented for every template, so a sentence has none: paths and
    tags may hold them, and ``before`` and ``after`` have them as they are.
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable.replace('"', "'").replace("\\", "/")
