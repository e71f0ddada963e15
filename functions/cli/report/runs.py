"""Values of many scans in few bytes: only where one differs from that of the scan before is it said again.

A report says for each user how old a key is, and a day later it is a day older. Such a text is the same for all scans
but for its number, and is kept as the moment from which the days are counted. What is read back is always exactly what
was put in.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

AGE = "\ue000"
"""Stands in a text for an age in days."""
REPORT_TIMES = ("\ue001", "\ue002")
"""Stand in a text for what differs from scan to scan, and is the same for all users of one."""

_DAY = 86_400
_DAYS = re.compile(r"(?<![\d,.:-])(\d{1,3}(?:,\d{3})*|\d+)(?= d\b)")
_RESERVED = re.compile("[\ue000-\ue00f]")


@dataclass
class Values:
    """Values that stand once, however many users have them; they are referred to by their place.

    Attributes
    ----------
    all
        Anything that JSON has.
    """

    all: list[Any] = field(default_factory=list)
    _places: dict[Any, int] = field(default_factory=dict)

    def place_of(self, value: Any) -> int:
        """Return the place of a value."""
        key = repr(value)
        if key not in self._places:
            self._places[key] = len(self.all)
            self.all.append(value)
        return self._places[key]


@dataclass
class Run:
    """A value through the scans: from which scan on it is what."""

    steps: list[Any] = field(default_factory=list)
    """Scan, value, scan, value …"""

    def put(self, scan: int, value: Any) -> None:
        """Say what the value is from a scan on."""
        if not self.steps or self.steps[-1] != value:
            self.steps += [scan, value]

    @property
    def compact(self) -> Any:
        """The value alone where it never changes, else the steps."""
        return self.steps[1] if len(self.steps) == 2 and not isinstance(self.steps[1], list) else self.steps


@dataclass
class Presence:
    """In which scans there is somebody: the first and the last of each row of scans."""

    ranges: list[int] = field(default_factory=list)

    def put(self, scan: int) -> None:
        """Say that a scan, no earlier than those before, has them."""
        if self.ranges and self.ranges[-1] >= scan - 1:
            self.ranges[-1] = scan
        else:
            self.ranges += [scan, scan]


@dataclass
class _Number:
    """A number of days in a text: the same in all scans, or an age, as long as one of both can be."""

    constant: int | None
    low: int
    high: float
    """The earliest and the latest moment from which the days may count."""

    @classmethod
    def of(cls, days: int, at: int) -> "_Number":
        # What is later than the scan is 0 days old, too.
        return cls(days, at - (days + 1) * _DAY + 1, at - days * _DAY if days else float("inf"))

    def meets(self, other: "_Number") -> "_Number | None":
        constant = self.constant if self.constant == other.constant else None
        low, high = max(self.low, other.low), min(self.high, other.high)
        # Where there is none in common, the bounds say nothing any more.
        return _Number(constant, low, high) if constant is not None or low <= high else None


@dataclass
class Texts:
    """A status and a text through the scans, with ages as moments.

    Each step is [scan, status], [scan, status, place of the text] or [scan, status, place, moment, …]: one moment, in
    epoch seconds, for each :data:`AGE` in the text.
    """

    values: Values
    _steps: list[tuple[int, int, str | None, list[_Number]]] = field(default_factory=list)

    def put(self, scan: int, at: int, status: int, text: str | None, changing: Sequence[str | None] = ()) -> None:
        """Say what the status and the text are from a scan on.

        Parameters
        ----------
        at
            The scan's time, from which ages count back, epoch seconds.
        changing
            What differs from scan to scan, and may stand in the text.
        """
        template, numbers = _taken_apart(text, at, changing)
        if self._steps:
            first, former, known, ages = self._steps[-1]
            if (former, known) == (status, template):
                both = [one.meets(other) for one, other in zip(ages, numbers, strict=True)]
                met = [one for one in both if one is not None]
                if len(met) == len(both):
                    self._steps[-1] = (first, former, known, met)
                    return
        self._steps.append((scan, status, template, numbers))

    @property
    def compact(self) -> Any:
        """The status alone where it never changes and has no text, else the steps."""
        if len(self._steps) == 1 and self._steps[0][2] is None:
            return self._steps[0][1]
        return [self._step(*step) for step in self._steps]

    def _step(self, scan: int, status: int, template: str | None, numbers: list[_Number]) -> list[int]:
        if template is None:
            return [scan, status]
        parts = template.split(AGE)
        text, moments = parts[0], []
        for number, part in zip(numbers, parts[1:], strict=True):
            if number.constant is None:
                moments.append(int(number.high))
                text += AGE + part
            else:
                text += f"{number.constant:,}{part}"
        return [scan, status, self.values.place_of(text), *moments]


def _taken_apart(text: str | None, at: int, changing: Sequence[str | None]) -> tuple[str | None, list[_Number]]:
    if text is None:
        return None, []
    text = _RESERVED.sub("\ufffd", text)
    for mark, what in zip(REPORT_TIMES, changing, strict=False):
        if what:
            text = text.replace(what, mark)
    numbers: list[_Number] = []

    def take(match: re.Match[str]) -> str:
        days = int(match[0].replace(",", ""))
        if f"{days:,}" != match[0]:
            return match[0]
        numbers.append(_Number.of(days, at))
        return AGE

    return _DAYS.sub(take, text), numbers
