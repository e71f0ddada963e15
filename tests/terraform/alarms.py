"""Evaluates CloudWatch alarms over made-up metrics, by the rules of the CloudWatch user guide.

Written from "Using metric math" (FILL) and "Configuring how CloudWatch alarms treat missing data". Where the documents
leave something open, or contradict each other, it is an option of :class:`CloudWatch`, and the alarms must be right
under every one of them.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Series = Mapping[int, Sequence[float]]
"""Values by the minute that they were sent in."""

_TERM = re.compile(r"FILL\((\w+), (\d+)\)|(\w+)")
_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {"Sum": sum, "Maximum": max}
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
}


@dataclass(frozen=True)
class _Timeline:
    """The values of a metric in the order of the minutes that they were sent in: most minutes have none."""

    minutes: Sequence[int]
    values: Sequence[Sequence[float]]

    @classmethod
    def of(cls, series: Series) -> _Timeline:
        minutes = sorted(series)
        return cls(minutes, [series[minute] for minute in minutes])

    def between(self, begin: int, end: int) -> list[float]:
        """Return the values that were sent from one minute on, and before another one."""
        first, last = bisect_left(self.minutes, begin), bisect_left(self.minutes, end)
        return [value for sent in self.values[first:last] for value in sent]


@dataclass(frozen=True)
class CloudWatch:
    """What is not known of CloudWatch."""

    on_the_clock: bool
    """Whether periods begin at full multiples of their length, the newest of them incomplete, or end now."""
    looks_back_further: int
    """How many periods beyond its own an alarm retrieves."""
    fills_from_nothing: bool
    """Whether FILL makes a value where the metric has no point at all."""
    dynamodb_ignores_missing_data: bool
    """Whether an alarm on a metric of AWS/DynamoDB stays as it is when data are missing, whatever it says."""

    @classmethod
    def every(cls) -> Iterator[CloudWatch]:
        """Yield every combination."""
        for clock, further, fills, ignores in itertools.product((False, True), (0, 3), (False, True), (False, True)):
            yield cls(clock, further, fills, ignores)


@dataclass(frozen=True)
class Alarm:
    """An alarm as Terraform plans it."""

    planned: Mapping[str, Any]

    @cached_property
    def metrics(self) -> dict[str, Mapping[str, Any]]:
        """The metrics that it watches, by their id in the expression; "" is a metric that is named directly."""
        if self.planned.get("metric_name"):
            return {"": self.planned}
        return {query["id"]: query["metric"][0] for query in self.planned["metric_query"] if query["metric"]}

    @cached_property
    def expression(self) -> str:
        """The metric math, empty where a metric is named directly."""
        return next(
            (query["expression"] for query in self.planned.get("metric_query") or () if query["expression"]), ""
        )

    @property
    def window_minutes(self) -> int:
        """How far it looks back, by its own word."""
        period = next(iter(self.metrics.values()))["period"]
        return int(self.planned["evaluation_periods"] * period / 60)

    def states(self, cloudwatch: CloudWatch, sent: Mapping[str, Series], minutes: range) -> dict[int, bool]:
        """Return for every minute whether it rings. ``sent`` has the values of the metrics, by :func:`name_of`."""
        ringing = False
        states = {}
        timelines = {
            identifier: _Timeline.of(sent.get(name_of(metric), {})) for identifier, metric in self.metrics.items()
        }
        for now in minutes:
            ringing = self._rings(cloudwatch, timelines, now, ringing)
            states[now] = ringing
        return states

    def _rings(self, cloudwatch: CloudWatch, sent: Mapping[str, _Timeline], now: int, rang: bool) -> bool:
        wanted = self.planned["evaluation_periods"]
        needed = self.planned.get("datapoints_to_alarm") or wanted
        points = self._points(cloudwatch, sent, now, wanted + cloudwatch.looks_back_further)
        missing = self.planned["treat_missing_data"]
        if cloudwatch.dynamodb_ignores_missing_data and self.planned.get("namespace") == "AWS/DynamoDB":
            missing = "ignore"
        real = [point for point in points if point is not None]
        if not real and missing == "ignore":
            return rang
        # Real points are preferred to missing ones, even older ones; what is then still missing is treated.
        newest = real[-wanted:]
        compare, threshold = _COMPARISONS[self.planned["comparison_operator"]], self.planned["threshold"]
        breaching = [compare(point, threshold) for point in newest]
        if missing == "ignore":
            return bool(sum(breaching) >= needed) if len(newest) == wanted else rang
        return bool(sum([*breaching, *[missing == "breaching"] * (wanted - len(newest))]) >= needed)

    def _points(
        self, cloudwatch: CloudWatch, sent: Mapping[str, _Timeline], now: int, number: int
    ) -> list[float | None]:
        """Return the points that are compared to the threshold, the oldest first, None where there is none."""
        values: dict[str, list[float | None]] = {}
        for identifier, metric in self.metrics.items():
            length = int(metric["period"] / 60)
            end = now - now % length + length if cloudwatch.on_the_clock else now + 1
            timeline = sent[identifier]
            statistic = _STATISTICS[metric.get("stat") or metric["statistic"]]
            values[identifier] = [
                statistic(found) if (found := timeline.between(begin, min(begin + length, now + 1))) else None
                for begin in range(end - number * length, end, length)
            ]
        if not self.expression:
            return values[""]
        total: list[float | None] = [0.0] * number
        for term in self.expression.split(" + "):
            match = _TERM.fullmatch(term)
            assert match, f"this test does not know the expression {term}"
            filled, default, plain = match.groups()
            operand = values[filled or plain]
            if filled and (cloudwatch.fills_from_nothing or any(point is not None for point in operand)):
                operand = [float(default) if point is None else point for point in operand]
            # A sum has no value where one of its operands has none.
            pairs = zip(total, operand, strict=True)
            total = [None if one is None or other is None else one + other for one, other in pairs]
        return total


def name_of(metric: Mapping[str, Any]) -> str:
    """Return the name of a metric: its namespace, its own name, and the values of its dimensions."""
    dimensions = metric.get("dimensions") or {}
    return " ".join([metric["namespace"], metric["metric_name"], *(dimensions[name] for name in sorted(dimensions))])
