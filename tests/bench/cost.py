"""What a deployment costs a month: the prices, all in this place, and what they are multiplied with.

List prices of us-east-1 in US dollars, November 2026. Of the free allowances only that of Step Functions is taken into
account, which belongs to its price and never expires; the others (10 alarms, 10 metrics, 25 GB of DynamoDB storage,
Lambda's million requests) make a small deployment cheaper still.
"""

import math
from dataclasses import asdict, dataclass

HOURS = 730
"""Of a month; a scan each."""

TRANSITION = 0.000025
FREE_TRANSITIONS = 4000
LAMBDA_REQUEST = 0.20 / 1e6
LAMBDA_GB_SECOND = 0.0000133334  # arm64
WRITE_UNIT = 0.625 / 1e6
READ_UNIT = 0.125 / 1e6
STORAGE_GB = 0.25
BACKUP_GB = 0.20  # point-in-time recovery, of the table without its index
LOG_GB = 0.50
METRIC = 0.30
ALARM_METRIC = 0.10
TRACE = 5.00 / 1e6
EVENT = 1.00 / 1e6

METRICS = 5
ALARM_METRICS = 14
"""Metrics that terraform/alarms.tf watches, where changes are told to no topic; its own tests count them."""
MEMORY_GB = 256 / 1024
RETENTION_DAYS = 90
KEPT_DAYS = 14
"""Of what ReadPosture keeps."""
PICTURE_KEPT_DAYS = 35
"""Of what PublishChanges keeps."""
EVENTS_PER_SCAN = 2
"""Besides the one that every scan ends with, one change: far more than most accounts have in an hour."""
# DynamoDB adds so much to an item for its administration; the index has every attribute, too.
ITEM_OVERHEAD_BYTES = 100
READS_PER_SCAN = 4
READ_UNIT_BYTES = 4096
# START, END, REPORT and the function's own lines; and one event of the state machine's log.
LOG_BYTES_PER_INVOCATION = 1500
LOG_BYTES_PER_EVENT = 700
GIGABYTE = 1e9


@dataclass(frozen=True)
class Usage:
    """What one scan uses."""

    users: int
    transitions: int
    invocations: int
    billed_seconds: float
    """Of all functions together, their initialisation included: at one scan an hour, every one starts cold."""
    write_units: int
    history_events: int
    record_bytes: float
    """Of a record, on average."""
    kept_bytes: int = 0
    """What is kept of posture for two weeks, and read by every WriteBatch that starts cold."""
    cold_writers: int = 0
    picture_bytes: int = 0
    """What PublishChanges reads of all users as they were announced, and writes anew."""


@dataclass(frozen=True)
class MonthlyCost:
    """In dollars, of an hourly scan."""

    transitions: float
    functions: float
    writes_and_reads: float
    storage: float
    logs_and_traces: float
    metrics: float
    alarms: float
    events: float

    @property
    def total(self) -> float:
        """All together."""
        return float(sum(asdict(self).values()))


def monthly(usage: Usage) -> MonthlyCost:
    """Return what an hourly scan costs a month."""
    record_bytes = usage.users * RETENTION_DAYS * (usage.record_bytes + ITEM_OVERHEAD_BYTES)
    kept_bytes = record_bytes + KEPT_DAYS * usage.kept_bytes + PICTURE_KEPT_DAYS * usage.picture_bytes
    kept_gigabytes = 24 * kept_bytes / GIGABYTE
    posture_units = math.ceil(usage.kept_bytes / READ_UNIT_BYTES)
    # PublishChanges reads the index, which takes half as much, and what is kept.
    index_units = math.ceil(usage.users * usage.record_bytes / READ_UNIT_BYTES) / 2
    picture_units = math.ceil(usage.picture_bytes / READ_UNIT_BYTES)
    read_units = READS_PER_SCAN + (usage.cold_writers + 1) * posture_units + index_units + picture_units
    log_bytes = usage.invocations * LOG_BYTES_PER_INVOCATION + usage.history_events * LOG_BYTES_PER_EVENT
    return MonthlyCost(
        transitions=max(0, HOURS * usage.transitions - FREE_TRANSITIONS) * TRANSITION,
        functions=HOURS * (usage.invocations * LAMBDA_REQUEST + usage.billed_seconds * MEMORY_GB * LAMBDA_GB_SECOND),
        writes_and_reads=HOURS * (usage.write_units * WRITE_UNIT + read_units * READ_UNIT),
        storage=kept_gigabytes * (2 * STORAGE_GB + BACKUP_GB),
        logs_and_traces=HOURS * (log_bytes / GIGABYTE * LOG_GB + TRACE),
        metrics=METRICS * METRIC,
        alarms=ALARM_METRICS * ALARM_METRIC,
        events=HOURS * EVENTS_PER_SCAN * EVENT,
    )
