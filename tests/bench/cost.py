"""What a deployment costs a month: the prices, all in this place, and what they are multiplied with.

List prices of us-east-1 in US dollars, November 2026. Of the free allowances only that of Step Functions is taken into
account, which belongs to its price and never expires; the others (10 alarms, 10 metrics, 25 GB of DynamoDB storage,
Lambda's million requests) make a small deployment cheaper still.
"""

import math
from dataclasses import asdict, dataclass

HOURS = 730
"""Of a month."""
SCANS = {"hourly": HOURS, "every 4 hours": HOURS / 4, "daily": HOURS / 24}
"""How many there are a month."""

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

FREE_METRICS, FREE_ALARM_METRICS = 10, 10
"""Of an account, always, for all that is in it (Amazon CloudWatch pricing); taken into account where that is said."""
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


# The path of a run over an organization in which nothing fails, state by state.
FLEET_STATES = (
    "ListAccounts", "LockAcquired?", "ScanAccounts", "SummarizeAccounts", "ReleaseLock", "OrganizationOutcome?",
    "OrganizationScanned",
)  # fmt: skip
STATES_PER_ACCOUNT = ("ScanAccount",)
FLEET_INVOCATIONS = 2
FLEET_METRICS, FLEET_ALARM_METRICS = 2, 3
"""Those that a deployment has besides."""
FLEET_CONCURRENCY = 10
"""Accounts side by side, by default: so many environments of a function start cold, and serve the others."""
# On paper: the two functions read and write a manifest of some KB, in calls of 20 ms, and read those of the accounts.
_FLEET_SECONDS = 1.0
_FLEET_SECONDS_PER_ACCOUNT = 0.02
_FLEET_BYTES_PER_ACCOUNT = 100
_UNITS_PER_KILOBYTE = 6  # written twice, once of it in a transaction, and in the index
_EVENTS_OF_FLEET, _EVENTS_PER_ACCOUNT = 27, 8


@dataclass(frozen=True)
class Fleet:
    """Accounts that are scanned side by side, by an execution each, and what the run over them uses besides."""

    accounts: int
    initialisation_seconds: float = 0.0
    """Of all functions that start cold in a run."""

    @property
    def transitions(self) -> int:
        """Those of the run itself."""
        return len(FLEET_STATES) + self.accounts * len(STATES_PER_ACCOUNT)

    @property
    def history_events(self) -> int:
        """Those of the run itself."""
        return _EVENTS_OF_FLEET + self.accounts * _EVENTS_PER_ACCOUNT

    @property
    def billed_seconds(self) -> float:
        """Of the functions that list the accounts and sum up, and of what starts cold."""
        return _FLEET_SECONDS + self.accounts * _FLEET_SECONDS_PER_ACCOUNT + self.initialisation_seconds

    @property
    def write_units(self) -> int:
        """Of the lock and the manifest of the whole."""
        return _UNITS_PER_KILOBYTE * math.ceil(1 + self.accounts * _FLEET_BYTES_PER_ACCOUNT / 1024)

    @property
    def read_units(self) -> int:
        """Of the manifests of the accounts, each smaller than 4 KB, and of that of the whole."""
        return self.accounts + math.ceil(self.accounts * _FLEET_BYTES_PER_ACCOUNT / READ_UNIT_BYTES)


@dataclass(frozen=True)
class MonthlyCost:
    """In dollars."""

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


def monthly(usage: Usage, scans: float = HOURS, fleet: Fleet | None = None) -> MonthlyCost:
    """Return what so many scans cost a month.

    Parameters
    ----------
    usage
        Of one account; with a fleet, of each of its accounts, and without initialisation: the fleet has that.
    """
    accounts = fleet.accounts if fleet is not None else 1
    scans_a_day = scans * 24 / HOURS
    record_bytes = usage.users * RETENTION_DAYS * (usage.record_bytes + ITEM_OVERHEAD_BYTES)
    kept_bytes = record_bytes + KEPT_DAYS * usage.kept_bytes + PICTURE_KEPT_DAYS * usage.picture_bytes
    kept_gigabytes = accounts * scans_a_day * kept_bytes / GIGABYTE
    transitions = accounts * usage.transitions + (fleet.transitions if fleet else 0)
    invocations = accounts * usage.invocations + (FLEET_INVOCATIONS if fleet else 0)
    billed_seconds = accounts * usage.billed_seconds + (fleet.billed_seconds if fleet else 0)
    write_units = accounts * usage.write_units + (fleet.write_units if fleet else 0)
    read_units = accounts * _read_units(usage) + (fleet.read_units if fleet else 0)
    events = accounts * usage.history_events + (fleet.history_events if fleet else 0)
    log_bytes = invocations * LOG_BYTES_PER_INVOCATION + events * LOG_BYTES_PER_EVENT
    return MonthlyCost(
        transitions=max(0, scans * transitions - FREE_TRANSITIONS) * TRANSITION,
        functions=scans * (invocations * LAMBDA_REQUEST + billed_seconds * MEMORY_GB * LAMBDA_GB_SECOND),
        writes_and_reads=scans * (write_units * WRITE_UNIT + read_units * READ_UNIT),
        storage=kept_gigabytes * (2 * STORAGE_GB + BACKUP_GB),
        logs_and_traces=scans * (log_bytes / GIGABYTE * LOG_GB + (accounts + bool(fleet)) * TRACE),
        metrics=(METRICS + (FLEET_METRICS if fleet else 0)) * METRIC,
        alarms=(ALARM_METRICS + (FLEET_ALARM_METRICS if fleet else 0)) * ALARM_METRIC,
        events=scans * accounts * EVENTS_PER_SCAN * EVENT,
    )


def _read_units(usage: Usage) -> float:
    posture_units = math.ceil(usage.kept_bytes / READ_UNIT_BYTES)
    # PublishChanges reads the index, which takes half as much, and what is kept.
    index_units = math.ceil(usage.users * usage.record_bytes / READ_UNIT_BYTES) / 2
    picture_units = math.ceil(usage.picture_bytes / READ_UNIT_BYTES)
    return READS_PER_SCAN + (usage.cold_writers + 1) * posture_units + index_units + picture_units
