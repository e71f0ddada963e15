"""Corrections of CloudWatch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from tests.local_aws.aws.corrections._ministack import service, wrap


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


def alarms() -> None:
    """Remember alarms as they were put, with metric math, and describe them in full.

    AWS: DescribeAlarms returns every member of PutMetricAlarm; one with ``Metrics`` has no MetricName, Namespace,
    Statistic, Period and Dimensions of its own (CloudWatch API reference, "PutMetricAlarm", "MetricAlarm").

    MiniStack drops ``Metrics`` and, in the query protocol, which Terraform's provider speaks, describes eight members
    only, so that a plan after an apply shows changes. Alarms with ``Metrics`` are remembered here, not evaluated. To go
    when such an alarm is described as it was put, in both protocols.
    """
    cloudwatch = service("cloudwatch")

    def remember(put: Any) -> Any:
        def put_metric_alarm(params: Any, data: Any, is_cbor: bool, is_json: bool = False) -> Any:
            answer = put(params, data, is_cbor, is_json)
            request = data if is_cbor or is_json else _unflatten(params)
            alarm = cloudwatch._alarms.get(request.get("AlarmName", ""))
            if alarm is not None and answer[0] == 200:
                alarm["InsufficientDataActions"] = request.get("InsufficientDataActions", [])
                if request.get("Metrics"):
                    alarm["Metrics"] = [_with_return_data(query) for query in request["Metrics"]]
                    for name in ("MetricName", "Namespace", "Statistic", "Period"):
                        alarm[name] = None
            return answer

        return put_metric_alarm

    def describe_in_full(describe: Any) -> Any:
        def describe_alarms(params: Any, data: Any, is_cbor: bool, is_json: bool = False) -> Any:
            if is_cbor or is_json:
                return describe(params, data, is_cbor, is_json)
            status, _, body = describe({}, _unflatten(params), False, True)
            if status != 200:
                return describe(params, data, is_cbor, is_json)
            result = {name: value for name, value in json.loads(body).items() if value}
            return cloudwatch._xml(200, "DescribeAlarmsResponse", _xml("DescribeAlarmsResult", result))

        return describe_alarms

    wrap(cloudwatch, "_put_metric_alarm", remember)
    wrap(cloudwatch, "_describe_alarms", describe_in_full)


def _with_return_data(query: dict[str, Any]) -> dict[str, Any]:
    """Return a metric query with ReturnData, which is true unless it says otherwise, as a boolean."""
    return {**query, "ReturnData": str(query.get("ReturnData", True)).lower() == "true"}


def _unflatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``{"A.member.1.B": ["x"]}``, as the query protocol sends it, into ``{"A": [{"B": "x"}]}``."""
    root: dict[str, Any] = {}
    for path, value in params.items():
        *parents, last = path.split(".")
        node = root
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value[0] if isinstance(value, list) else value
    return {name: _with_lists(value) for name, value in root.items()}


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if list(node) == ["member"]:
        return [_with_lists(node["member"][number]) for number in sorted(node["member"], key=int)]
    return {name: _with_lists(value) for name, value in node.items()}


def _xml(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        inner = "".join(_xml(*item) for item in value.items())
    elif isinstance(value, list):
        inner = "".join(_xml("member", item) for item in value)
    elif isinstance(value, bool):
        inner = str(value).lower()
    elif name.endswith("Timestamp"):
        inner = datetime.fromtimestamp(float(value), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    else:
        inner = escape(str(value))
    return f"<{name}>{inner}</{name}>"
