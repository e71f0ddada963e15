"""When each alarm rings, and when it is quiet, over made-up metrics; whatever is not known of CloudWatch."""

from collections.abc import Sequence

import pytest

from tests.terraform.alarms import Alarm, CloudWatch, Series, name_of
from tests.terraform.plans import Planned

HOUR = 60
DAY = 24 * HOUR

SCANNED = "IAMUserMonitor AccountsScanned"
ERRORS = "IAMUserMonitor Errors"
DURATION = "IAMUserMonitor Duration"
THROTTLES = "AWS/DynamoDB WriteThrottleEvents scan-timestamp-index iam-user-records"
POSTURE = "AWS/Lambda Errors iam-user-monitor-read-posture"
PUBLICATION = "AWS/Lambda Errors iam-user-monitor-publish-changes"
LASTING = {"posture-failing": POSTURE, "changes-failing": PUBLICATION}
"""What the next scan makes good, and so is an alarm only when it lasts."""
QUEUE = "AWS/SQS ApproximateNumberOfMessagesVisible iam-user-monitor-{}-dead-letters"
# Metrics whose single point must ring, by the alarm that is to ring.
ONE_POINT_RINGS = {
    **{
        alarm: [
            f"AWS/States {name} arn:aws:states:eu-west-1:123456789012:stateMachine:{machine}"
            for name in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted")
        ]
        for alarm, machine in {
            "scan-failed": "iam-user-monitor",
            "organization-failed": "iam-user-monitor-organization",
        }.items()
    },
    "records-missing": [ERRORS],
    "scan-slow": [DURATION],
    "schedule-failing": ["AWS/Events FailedInvocations iam-user-monitor-schedule"],
    "clean-up-failing": [
        "AWS/Events FailedInvocations iam-user-monitor-clean-up",
        "AWS/Lambda Errors iam-user-monitor-clean-up",
    ],
    "dead-letters": [QUEUE.format("schedule"), QUEUE.format("clean-up"), QUEUE.format("changes")],
}


@pytest.fixture(scope="module")
def alarms(planned: list[Planned]) -> dict[str, Alarm]:
    return {
        one.values["alarm_name"].removeprefix("iam-user-monitor-"): Alarm(one.values)
        for one in planned
        if one.type == "aws_cloudwatch_metric_alarm"
    }


def hourly(value: float, begin: int, end: int, minute: int = 7) -> Series:
    """Return a value that is sent once an hour."""
    return {now: [value] for now in range(begin + minute, end, HOUR)}


def at(value: float, *minutes: int) -> Series:
    return {minute: [value] for minute in minutes}


def healthy(end: int) -> dict[str, Series]:
    """Return what scans send that succeed every hour; of services, only what they send when nothing is wrong."""
    return {
        SCANNED: hourly(3, 0, end),
        ERRORS: hourly(0, 0, end),
        DURATION: hourly(3000, 0, end),
        "AWS/Lambda Errors iam-user-monitor-clean-up": {},
    }


def rings(alarm: Alarm, cloudwatch: CloudWatch, sent: dict[str, Series], minutes: range) -> Sequence[int]:
    """Return the minutes in which an alarm rings."""
    return [minute for minute, ringing in alarm.states(cloudwatch, sent, minutes).items() if ringing]


# FILL in a sum of several metrics needs to fill from nothing; only alarms on one metric are right either way.
KNOWN = [cloudwatch for cloudwatch in CloudWatch.every() if cloudwatch.fills_from_nothing]
EVERY = list(CloudWatch.every())


def test_this_test_knows_every_alarm_and_every_metric(alarms: dict[str, Alarm]) -> None:
    watched = {name: sorted(map(name_of, alarm.metrics.values())) for name, alarm in alarms.items()}

    expected = {
        **ONE_POINT_RINGS,
        "no-success": [SCANNED],
        **{name: [metric] for name, metric in LASTING.items()},
        "table-throttled": [THROTTLES],
    }
    assert watched == {name: sorted(metrics) for name, metrics in expected.items()}
    assert sum(map(len, watched.values())) <= 18


@pytest.mark.parametrize("cloudwatch", KNOWN, ids=str)
def test_scans_that_succeed_ring_nothing(alarms: dict[str, Alarm], cloudwatch: CloudWatch) -> None:
    sent = healthy(3 * DAY)

    ringing = {name: rings(alarm, cloudwatch, sent, range(DAY, 2 * DAY)) for name, alarm in alarms.items()}

    assert {name for name, minutes in ringing.items() if minutes} == set()


@pytest.mark.parametrize("cloudwatch", EVERY, ids=str)
def test_what_has_never_sent_anything_rings_for_missing_success_only(
    alarms: dict[str, Alarm], cloudwatch: CloudWatch
) -> None:
    ringing = {name for name, alarm in alarms.items() if rings(alarm, cloudwatch, {}, range(DAY))}

    assert ringing == {"no-success"}


@pytest.mark.parametrize("cloudwatch", EVERY, ids=str)
def test_a_schedule_that_stops_rings_within_its_window(alarms: dict[str, Alarm], cloudwatch: CloudWatch) -> None:
    last = 2 * DAY - HOUR + 7
    alarm = alarms["no-success"]

    minutes = rings(alarm, cloudwatch, healthy(2 * DAY), range(DAY, 4 * DAY))

    # Five hours, and at most one more; and then for as long as nothing succeeds.
    assert last + 5 * HOUR <= minutes[0] <= last + 6 * HOUR
    assert minutes == list(range(minutes[0], 4 * DAY))


@pytest.mark.parametrize("cloudwatch", EVERY, ids=str)
def test_one_scan_that_fails_is_no_missing_success(alarms: dict[str, Alarm], cloudwatch: CloudWatch) -> None:
    sent = healthy(3 * DAY)
    failed = 2 * DAY + 7
    # The next one succeeds, and takes as long as it may: half an hour.
    sent[SCANNED] = {**sent[SCANNED], failed: [0], failed + HOUR: [], failed + HOUR + 30: [3]}

    assert rings(alarms["no-success"], cloudwatch, sent, range(DAY, 3 * DAY)) == []


@pytest.mark.parametrize("cloudwatch", EVERY, ids=str)
def test_an_account_that_is_broken_for_days_does_not_hide_that_the_schedule_has_stopped(
    alarms: dict[str, Alarm], cloudwatch: CloudWatch
) -> None:
    """Every run over the organization fails for it, and scans all others; then there are no runs any more."""
    failed = next(metric for metric in ONE_POINT_RINGS["organization-failed"] if "ExecutionsFailed" in metric)
    sent = {**healthy(2 * DAY), SCANNED: hourly(2, 0, 2 * DAY), failed: hourly(1, 0, 2 * DAY)}

    minutes = rings(alarms["no-success"], cloudwatch, sent, range(DAY, 3 * DAY))

    assert minutes == list(range(minutes[0], 3 * DAY))
    assert 2 * DAY - HOUR < minutes[0] <= 2 * DAY + 6 * HOUR


@pytest.mark.parametrize("cloudwatch", EVERY, ids=str)
def test_the_first_success_ends_the_alarm_at_once(alarms: dict[str, Alarm], cloudwatch: CloudWatch) -> None:
    minutes = rings(alarms["no-success"], cloudwatch, {SCANNED: hourly(1, DAY, 2 * DAY)}, range(2 * DAY))

    assert minutes == list(range(DAY + 7))


@pytest.mark.parametrize("cloudwatch", KNOWN, ids=str)
@pytest.mark.parametrize(("name", "metric"), [(name, one) for name, all_ in ONE_POINT_RINGS.items() for one in all_])
def test_one_failure_rings_its_alarm_at_once_and_for_a_moment(
    alarms: dict[str, Alarm], name: str, metric: str, cloudwatch: CloudWatch
) -> None:
    sent = healthy(2 * DAY)
    moment = DAY + 67
    value = 1_500_000 if metric == DURATION else 1
    sent[metric] = {**sent.get(metric, {}), **at(value, moment)}

    minutes = {other: rings(alarm, cloudwatch, sent, range(DAY, DAY + 3 * HOUR)) for other, alarm in alarms.items()}

    assert {other for other, when in minutes.items() if when} == {name}
    # And no longer than its period, so that the next failure rings anew.
    assert minutes[name][0] == moment
    assert minutes[name] == list(range(moment, minutes[name][-1] + 1))
    assert minutes[name][-1] < moment + 5


@pytest.mark.parametrize("cloudwatch", EVERY, ids=str)
@pytest.mark.parametrize(("length", "expected"), [(1, False), (5, False), (30, True)])
def test_only_throttling_that_lasts_rings_and_it_ends_with_it(
    alarms: dict[str, Alarm], length: int, expected: bool, cloudwatch: CloudWatch
) -> None:
    burst = range(DAY + 3, DAY + 3 + length)

    minutes = rings(alarms["table-throttled"], cloudwatch, {THROTTLES: at(200, *burst)}, range(DAY, 2 * DAY))

    assert bool(minutes) == expected
    if expected:
        # In each of three periods of five minutes.
        assert burst[0] + 6 <= minutes[0] <= burst[0] + 15
        assert burst[-1] <= minutes[-1] <= burst[-1] + 5


@pytest.mark.parametrize("cloudwatch", EVERY, ids=str)
def test_bursts_of_every_scan_do_not_add_up_to_lasting_throttling(
    alarms: dict[str, Alarm], cloudwatch: CloudWatch
) -> None:
    bursts = {minute: [50.0] for hour in range(0, DAY, HOUR) for minute in (hour + 7, hour + 8)}

    assert rings(alarms["table-throttled"], cloudwatch, {THROTTLES: bursts}, range(DAY)) == []


@pytest.mark.parametrize("cloudwatch", KNOWN, ids=str)
@pytest.mark.parametrize("name", LASTING)
def test_what_fails_in_every_scan_rings_after_some_hours_and_until_it_is_mended(
    alarms: dict[str, Alarm], name: str, cloudwatch: CloudWatch
) -> None:
    mended = 2 * DAY
    sent: dict[str, Series] = {LASTING[name]: {**hourly(2, DAY, mended), **hourly(0, mended, 3 * DAY)}}

    minutes = rings(alarms[name], cloudwatch, sent, range(3 * DAY))

    assert DAY + HOUR <= minutes[0] <= DAY + 4 * HOUR + 7
    assert minutes == list(range(minutes[0], minutes[-1] + 1))
    assert mended <= minutes[-1] <= mended + 4 * HOUR


@pytest.mark.parametrize("cloudwatch", EVERY, ids=str)
@pytest.mark.parametrize("name", LASTING)
def test_what_one_scan_could_not_do_is_no_alarm(alarms: dict[str, Alarm], name: str, cloudwatch: CloudWatch) -> None:
    """Nor are its retries."""
    sent: dict[str, Series] = {LASTING[name]: {**hourly(0, 0, 2 * DAY), DAY + 7: [1], DAY + 8: [1, 1]}}
    assert rings(alarms[name], cloudwatch, sent, range(2 * DAY)) == []
