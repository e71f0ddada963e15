"""PublishChanges: tell, as events, what has changed since what was last told.

It does not look at the scan of its own run only, but announces every complete scan that was not announced yet, one
after the other: what a former call could not say, this one says. So its failure costs nothing but time.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile
from typing import NotRequired, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.shared import clients, configuration, events, timestamps
from functions.shared.ahead import ahead
from functions.shared.bus import Bus
from functions.shared.errors import EventsRefused
from functions.shared.model import Published, Scan
from functions.shared.refusals import log_refusal
from functions.shared.run import Run, RunEvent
from functions.shared.step import logger, step, working_seconds
from functions.table import walk
from functions.table.announcement import Announcements, Cursor
from functions.table.chunks import Unreadable
from functions.table.detection import Detection, Options, Picture
from functions.table.keys import Keys
from functions.table.reader import Reader
from functions.table.scans import RecordedScan

_LATEST_COMPLETION = timedelta(days=15)
"""A run can be redriven, and its scan become complete, 14 days after it ended."""


class Event(TypedDict):
    """What the state PublishChanges sends."""

    run: RunEvent
    scan: NotRequired[Scan]
    """Absent in a run that was started before it was sent."""


@step("PublishChanges")
def handler(event: Event, context: LambdaContext) -> Published:
    """Handle one invocation by the state machine."""
    dynamodb, table_name, seconds = clients.dynamodb(), configuration.table_name(), working_seconds(context)
    run = Run.of(event)
    keys = Keys(run.member)
    publisher = Publisher(
        reader=Reader(dynamodb, table_name, keys=keys, pages=ahead),
        announcements=Announcements(dynamodb, table_name, keys),
        bus=Bus(clients.events(), configuration.event_bus_name(), seconds, log_refusal),
        options=Options(configuration.mass_deletion_guard_percent(), configuration.announce_activity()),
    )
    return publisher.publish(run, seconds=seconds)


@dataclass(frozen=True)
class Publisher:
    """Announces what has not been announced.

    Parameters
    ----------
    options
        How scans are announced whose announcement has not begun yet.
    """

    reader: Reader
    announcements: Announcements
    bus: Bus
    options: Options
    clock: Callable[[], float] = time.monotonic

    def publish(self, run: Run, *, seconds: float) -> Published:
        """Announce all that is due of an account. Safe to run twice, late, and beside another one.

        Parameters
        ----------
        run
            The run that asks for it; what is due does not depend on it.
        seconds
            When this much time has passed, no other scan is begun.

        Raises
        ------
        IndexBehind
            The index does not yield all records of a scan yet.
        EventsRefused
            EventBridge refused events for good: before anything was noted, if it takes none at all; else after all was
            said that could be, so that the alarm tells of those that were lost.
        Throttled, AccessDenied
            As they say. What was not noted as announced is announced again by the next call, under the same ids.
        """
        deadline = self.clock() + seconds
        done = Published(status="NOTHING_NEW", scans=0, events=0, refused=0)
        while (due := self._due()) is not None:
            if self.clock() >= deadline:
                done["status"] = "BEHIND"
                logger.warning(
                    "The time is over; the next publication announces what is left",
                    next_scan=due[1].scan_timestamp,
                    **done,
                )
                break
            self._announce(*due, done)
        logger.info("Changes published", asked_by=run.scan_timestamp, **done)
        if done["refused"]:
            raise EventsRefused(
                f"EventBridge will never take {done['refused']} events, and they are not sent again; the log lines "
                "before say which and why, and the command `iam-user-monitor changes` tells what was in them"
            )
        return done

    def _due(self) -> tuple[Cursor, RecordedScan] | None:
        """Return the next scan to announce, fixed in the cursor; None where there is none."""
        while True:
            cursor = self.announcements.cursor()
            if cursor.plan is not None:
                name = cursor.plan.scan_timestamp
                scan = next((one for one in self._scans(cursor) if one.scan_timestamp == name), None)
                if scan is not None:
                    return cursor, scan
                logger.warning(
                    "A scan has expired before it was announced; the next one announces what it found", scan=name
                )
                self.announcements.give_up(cursor)
                continue
            scan = walk.first(one for one in self._scans(cursor) if one.manifest.outcome["publish"])
            if scan is None:
                return None
            planned = self.announcements.plan(cursor, scan, self.options)
            if planned is not None:
                return planned, scan

    def _scans(self, cursor: Cursor) -> Iterator[RecordedScan]:
        """Yield the scans that may speak after what is announced."""
        oldest = timestamps.parse(cursor.scan_timestamp) - _LATEST_COMPLETION if cursor.scan_timestamp else None
        recent = takewhile(
            lambda scan: oldest is None or timestamps.parse(scan.scan_timestamp) >= oldest, self.reader.scans()
        )
        return walk.following(recent, cursor.listed_until)

    def _announce(self, cursor: Cursor, scan: RecordedScan, done: Published) -> None:
        """Say what a scan has to say, and note that it is said."""
        detection = self._detect(cursor, scan)
        sent, refused = self.bus.send(events.of_detection(detection, scan, cursor.scan_timestamp))
        done["events"], done["refused"] = done["events"] + sent, done["refused"] + refused
        if self.announcements.settle(cursor, scan, detection, events=sent, now=timestamps.now()):
            done["status"], done["scans"] = "ANNOUNCED", done["scans"] + 1
            logger.info(
                "Scan announced",
                scan=scan.scan_timestamp,
                previous_scan=cursor.scan_timestamp,
                baseline=detection.baseline,
                events=sent,
                refused=refused,
                counts=detection.counts,
                # Without hyphens: a query must quote a name that has some.
                findings={name.replace("-", "_"): users for name, users in detection.picture.findings.items()},
            )
        else:
            logger.info("Another call has announced the scan", scan=scan.scan_timestamp)

    def _detect(self, cursor: Cursor, scan: RecordedScan) -> Detection:
        assert cursor.plan is not None  # noqa: S101 - a mistake in the code
        detailed = walk.details_of(
            self.reader,
            scan,
            lambda why: logger.warning(
                "The scan's authorization details are gone; its deletions wait for the next scan", error_message=why
            ),
        )
        options = cursor.plan.options
        return walk.tell(self.reader, scan, self._picture(cursor), detailed=detailed, options=options).detection

    def _picture(self, cursor: Cursor) -> Picture | None:
        """Return what was announced up to the cursor, None where nothing was."""
        if cursor.scan_timestamp is None or cursor.picture is None:
            return None
        try:
            return self.announcements.picture(cursor.picture)
        except Unreadable as error:
            logger.warning(
                "What was announced so far cannot be read; the records of the last announced scan take its place",
                scan=cursor.scan_timestamp,
                error_message=str(error),
            )
        last = next((one for one in self.reader.scans() if one.scan_timestamp == cursor.scan_timestamp), None)
        if last is None or not last.trusted:
            return None
        return walk.tell(self.reader, last, None, detailed=None, options=self.options).detection.picture
