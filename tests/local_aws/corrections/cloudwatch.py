"""Corrections of CloudWatch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.local_aws.corrections._ministack import service, wrap


class Datum(NamedTuple):
    """One metric value that an embedded-metric log line publishes."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    timestamp: float
    unit: str
    values: list[float]


def embedded_metrics() -> None:
    """Turn embedded-metric log lines of Lambda functions into metrics.

    AWS extracts metrics from every log event that follows the embedded metric format: each directive publishes each of
    its metrics once per dimension set, which may be empty, at the line's own timestamp (CloudWatch user guide,
    "Specification: Embedded metric format").

    MiniStack stores the line and does nothing with it. To go when it extracts the metrics.
    """
    cloudwatch = service("cloudwatch")
    store, evaluate_alarms = cloudwatch._store_datum, cloudwatch._evaluate_all_alarms

    def publish_too(emit: Any) -> Any:
        def emit_logs(func: Any, request_id: str, log_text: str, *args: Any, **kwargs: Any) -> None:
            emit(func, request_id, log_text, *args, **kwargs)
            data = [datum for line in (log_text or "").splitlines() for datum in parse_embedded_metrics(line)]
            for datum in data:
                *identity, values = datum
                store(*identity, None, values, None, None)
            if data:
                evaluate_alarms()

        return emit_logs

    wrap(service("lambda_svc"), "_emit_lambda_logs", publish_too)


def no_dimensions() -> None:
    """Make a query without dimensions find the metric without dimensions only.

    AWS: "CloudWatch treats each unique combination of dimensions as a separate metric", and a query must name exactly
    the dimensions that were published (CloudWatch user guide, "Dimensions"; GetMetricStatistics). An alarm on a metric
    without dimensions is blind once a dimension slips in, and only such a query shows it.

    MiniStack lets a query without dimensions match every combination. To go when it finds none of them. (Its alarms
    ignore dimensions too; that is not corrected.)
    """

    def keep_empty(parse: Any) -> Any:
        return lambda dimensions: _QueriedDimensions(parse(dimensions))

    wrap(service("cloudwatch"), "_dims_from_list", keep_empty)


class _QueriedDimensions(dict[str, str]):
    """Dimensions that count as given even when there are none."""

    def __bool__(self) -> bool:
        return True


def parse_embedded_metrics(line: str) -> Iterator[Datum]:
    """Yield what a log line publishes: nothing unless it is a valid embedded-metric line."""
    if not line.startswith("{") or '"_aws"' not in line:
        return
    try:
        document = json.loads(line)
    except ValueError:
        return
    metadata = document.get("_aws")
    if not isinstance(metadata, Mapping):
        return
    timestamp = metadata.get("Timestamp", time.time() * 1000) / 1000
    for directive in metadata.get("CloudWatchMetrics", []):
        for names in directive.get("Dimensions", []):
            if not all(name in document for name in names):
                continue
            dimensions = {name: str(document[name]) for name in names}
            for metric in directive.get("Metrics", []):
                value = document.get(metric["Name"])
                values = value if isinstance(value, list) else [value]
                if values and all(isinstance(number, int | float) for number in values):
                    unit = metric.get("Unit", "None")
                    yield Datum(directive["Namespace"], metric["Name"], dimensions, timestamp, unit, values)
