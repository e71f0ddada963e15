"""Curves of few numbers over time, as coordinates for a small drawing; what is not known is a gap, and never zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

WIDTH, HEIGHT = 290.0, 140.0
"""Of a plot; about as it is shown, so that its letters are of the size of the others."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 8.0, 10.0, 24.0

Numbers = Sequence[int | None]


@dataclass(frozen=True)
class Point:
    """A number at its place, and in words."""

    x: float
    y: float
    told: str


@dataclass(frozen=True)
class Curve:
    """A series: the points, and the lines between those that have none unknown in between."""

    name: str
    points: Sequence[Point]
    lines: Sequence[str]
    """Each as the ``points`` of a polyline."""
    last: int | None


@dataclass(frozen=True)
class Plot:
    """Curves that share their axes."""

    title: str
    summary: str
    """The same in words, for those who do not see it."""
    curves: Sequence[Curve]
    grid: Sequence[tuple[float, str]]
    """Lines across, and what they stand for."""
    xs: Sequence[float]
    """Where each moment is."""
    gaps: Sequence[tuple[float, float]]
    """Periods of which nothing is known: beginning and width."""
    width: float
    height: float
    left: float
    right: float
    bottom: float


def plot(
    title: str,
    series: Sequence[tuple[str, Numbers]],
    moments: Sequence[datetime],
    gaps: Sequence[tuple[datetime, datetime]] = (),
    *,
    small: bool = False,
) -> Plot:
    """Return the drawing of one or more series, each with a number for each moment.

    Parameters
    ----------
    small
        Without axes, to stand in a line of text.
    """
    width, height = (120.0, 28.0) if small else (WIDTH, HEIGHT)
    left, right, top, bottom = (3.0, 3.0, 4.0, 4.0) if small else (_LEFT, _RIGHT, _TOP, _BOTTOM)
    begin, whole = moments[0], (moments[-1] - moments[0]).total_seconds()

    def across(moment: datetime) -> float:
        part = (moment - begin).total_seconds() / whole if whole else 0.5
        return round(left + (width - left - right) * part, 1)

    most = max((one for _, numbers in series for one in numbers if one is not None), default=0)
    ceiling = _ceiling(most)

    def up(number: int) -> float:
        return round(height - bottom - (height - top - bottom) * number / ceiling, 1)

    xs = [across(moment) for moment in moments]
    curves = []
    for name, numbers in series:
        placed = [
            None if number is None else Point(x, up(number), f"{name} {number:,}, {moment:%Y-%m-%d %H:%M}")
            for x, number, moment in zip(xs, numbers, moments, strict=True)
        ]
        lines = [
            " ".join(f"{point.x:g},{point.y:g}" for point in part if point is not None)
            for is_known, part in groupby(placed, key=lambda point: point is not None)
            if is_known
        ]
        last = next((number for number in reversed(numbers) if number is not None), None)
        curves.append(Curve(name, [point for point in placed if point is not None], lines, last))
    return Plot(
        title=title,
        summary="; ".join(_in_words(name, numbers) for name, numbers in series),
        curves=curves,
        grid=[(up(number), f"{number:,}") for number in (0, ceiling // 2, ceiling) if number or not small],
        xs=xs,
        gaps=[(across(since), max(across(until) - across(since), 1.0)) for since, until in gaps],
        width=width,
        height=height,
        left=left,
        right=width - right,
        bottom=height - bottom,
    )


def _ceiling(most: int) -> int:
    """Return a round and even number that is not less."""
    step = 1
    while step * 10 < most:
        step *= 10
    return next(step * factor for factor in (2, 4, 6, 8, 10) if step * factor >= most)


def _in_words(name: str, numbers: Numbers) -> str:
    there = [number for number in numbers if number is not None]
    if not there:
        return f"{name}: unknown in all scans"
    unknown = len(numbers) - len(there)
    more = f", unknown in {unknown:,}" if unknown else ""
    return f"{name}: {there[0]:,} at first, {there[-1]:,} at last, from {min(there):,} to {max(there):,}{more}"
