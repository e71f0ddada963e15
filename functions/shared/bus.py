"""Puts events on an EventBridge bus: ten a call, and only what was not taken again.

Limits: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html
"""

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.shared.errors import AccessDenied, EventsRefused, Throttled, is_throttling
from functions.shared.events import Event

if TYPE_CHECKING:
    from types_boto3_events import EventBridgeClient

ENTRIES_PER_CALL = 10
BYTES_PER_CALL = 256_000
"""All entries of a call together: 1 MB today; older pages say 256 KB, which holds under either."""

BACKOFF_BASE_SECONDS = 0.1
BACKOFF_CAP_SECONDS = 5.0

_PASSING = frozenset({"InternalFailure", "InternalException", "ServiceUnavailable", "ThrottlingException"})
"""Why EventBridge does not take an entry now; the documentation asks for another try."""

_OF_THE_EVENT = frozenset({"MalformedDetail", "InvalidArgument"})
"""Why EventBridge will never take this entry, whoever sends it, and to whatever bus."""


@dataclass(frozen=True)
class Refusal:
    """An event that the bus will never take. It names no user: a log may have it."""

    code: str
    message: str
    detail_type: str
    event_id: str


@dataclass
class Bus:
    """An event bus.

    Parameters
    ----------
    name
        Its name or its ARN.
    seconds
        For how long events that are not taken are sent again.
    refused
        Hears of every event that will never be taken, at once.
    """

    client: "EventBridgeClient"
    name: str
    seconds: float
    refused: Callable[[Refusal], None]
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self._deadline = self.clock() + self.seconds

    def send(self, events: Iterable[Event]) -> tuple[int, int]:
        """Put events on the bus, in their order.

        Returns
        -------
        How many events it took, and how many it will never take.

        Raises
        ------
        Throttled
            It did not take some for as long as there was time.
        AccessDenied
            The caller may not put events on it.
        EventsRefused
            It takes none of this kind: it does not admit the source, or the account. (Events for a bus that does not
            exist are taken without a word.)
        """
        sent = refused = 0
        for batch in _batches(event.entry(self.name) for event in events):
            refused_here = self._send(batch)
            sent, refused = sent + len(batch) - refused_here, refused + refused_here
        return sent, refused

    def _send(self, entries: list[dict[str, Any]]) -> int:
        """Put entries of one call; return how many will never be taken."""
        refused, tries = 0, 0
        while True:
            results = self._put(entries)
            again = []
            for entry, result in zip(entries, results, strict=True):
                code, message = result.get("ErrorCode"), result.get("ErrorMessage", "")
                if code is None:
                    continue
                if code in _PASSING:
                    again.append(entry)
                elif code in _OF_THE_EVENT:
                    refused += 1
                    self.refused(Refusal(code, message, entry["DetailType"], json.loads(entry["Detail"])["id"]))
                else:
                    raise _refusal(code, f"the bus {self.name} refuses events: {code}: {message}")
            if not again:
                return refused
            wait = random.uniform(0, min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2**tries))  # noqa: S311
            tries += 1
            if self.clock() + wait >= self._deadline:
                raise Throttled(f"the bus {self.name} did not take {len(again)} events within {self.seconds:.0f} s")
            self.sleep(wait)
            entries = again

    def _put(self, entries: list[dict[str, Any]]) -> list[Any]:
        """Return what became of each entry. A call that is throttled as a whole has taken none of them."""
        try:
            return list(self.client.put_events(Entries=entries)["Entries"])  # type: ignore[arg-type]
        except ClientError as error:
            if is_throttling(error):
                return [{"ErrorCode": "ThrottlingException", "ErrorMessage": str(error)}] * len(entries)
            raise


def _refusal(code: str, message: str) -> Exception:
    if code.startswith(("NotAuthorized", "AccessDenied")):
        return AccessDenied(message)
    return EventsRefused(message)


def _batches(entries: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for entry in entries:
        bytes_ = _size(entry)
        if batch and (len(batch) == ENTRIES_PER_CALL or size + bytes_ > BYTES_PER_CALL):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += bytes_
    if batch:
        yield batch


def _size(entry: dict[str, Any]) -> int:
    """Return what an entry counts: its texts in UTF-8."""
    texts = (entry["Source"], entry["DetailType"], entry["Detail"], *entry["Resources"])
    return sum(len(text.encode()) for text in texts)
