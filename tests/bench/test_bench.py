"""The benchmark counts right, says when a target is missed, and shows what was measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench import cold_start, cost
from tests.bench.measure import LISTING, PUBLICATION, SINGLE, WORKFLOW, Measurement
from tests.bench.report import RESULT as RESULT_FILE
from tests.bench.report import Report
from tests.local_aws.run.scan import history_events
from tests.support.engine import engine
from tests.support.paths import REPOSITORY

RESULT = Report.from_json(json.loads(RESULT_FILE.read_text()))


def test_the_cost_of_a_scan_is_what_the_price_list_says() -> None:
    """Worked out by hand: 730 scans of 100 users a month, 90 days kept."""
    usage = cost.Usage(
        users=100, transitions=11, invocations=5, billed_seconds=2.0, write_units=212, history_events=46,
        record_bytes=260, kept_bytes=8000, cold_writers=5, picture_bytes=9000,
    )  # fmt: skip

    found = cost.monthly(usage)

    assert found.transitions == pytest.approx((8030 - 4000) * 0.000025)
    assert found.functions == pytest.approx(3650 * 0.20 / 1e6 + 1460 * 0.25 * 0.0000133334)
    assert found.writes_and_reads == pytest.approx(154_760 * 0.625e-6 + 730 * (4 + 6 * 2 + 7 / 2 + 3) * 0.125e-6)
    assert found.storage == pytest.approx((0.07776 + 0.002688 + 0.00756) * (2 * 0.25 + 0.20))
    assert found.logs_and_traces == pytest.approx((730 * (5 * 1500 + 46 * 700)) / 1e9 * 0.50 + 730 * 5e-6)
    assert (found.metrics, found.alarms) == pytest.approx((1.50, 1.40))
    assert found.events == pytest.approx(1460 / 1e6)
    assert found.total == pytest.approx(3.19, abs=0.02)


def test_a_free_allowance_is_never_paid_out() -> None:
    nothing = cost.Usage(
        users=0, transitions=1, invocations=0, billed_seconds=0, write_units=0, history_events=0, record_bytes=0
    )
    assert cost.monthly(nothing).transitions == 0


def test_the_alarms_are_counted_as_the_configuration_has_them() -> None:
    # Whose tests hold this text against the alarms.
    variables = (REPOSITORY / "terraform" / "variables.tf").read_text()
    assert f"their {cost.ALARM_METRICS} metrics" in variables


@pytest.mark.parametrize(("users", "batches"), [(0, 0), (7, 3)])
def test_history_events_are_counted_as_the_interpreter_records_them(users: int, batches: int) -> None:
    with engine(page_size=5, batch_size=3) as running:
        running.create_users([f"user-{number}" for number in range(users)])
        execution = running.run()
    visits = {state: execution.entered(state) for state in execution.route if state != "WriteBatch"}

    assert execution.entered("WriteBatch") == batches
    assert history_events(visits, batches) == len(execution.history)


MISSED = {
    "PublishChanges with 20 ms calls, warm, 50 of 5,000 users changed",
    "CPU of the functions, 5,000 users",
    "time with 20 ms calls, warm, 5,000 users",
}
"""Since scans tell what has changed. tests/README.md says why; whoever mends it takes it out here."""


def test_the_last_result_meets_every_target_but_those_that_are_known() -> None:
    assert {target.name for target in RESULT.targets() if not target.met} == MISSED


@pytest.mark.parametrize(
    ("way", "users", "latency_ms", "worse", "target"),
    [
        (WORKFLOW, 1000, 0, {"calls": {"iam:ListUsers": 1000}}, "calls of ListUsers"),
        (WORKFLOW, 5000, 0, {"calls": {"iam:GetCredentialReport": 13}}, "other calls of IAM"),
        (WORKFLOW, 5000, 0, {"calls": {"iam:GetAccountAuthorizationDetails": 5000}}, "other calls of IAM"),
        (WORKFLOW, 1000, 20, {"calls": {"iam:ListUsers": 1000}}, "calls of IAM beside one per user"),
        (WORKFLOW, 1000, 20, {"seconds": 1000.0}, "time with 20 ms calls beside that"),
        (WORKFLOW, 5000, 0, {"memory_mb": {"write_batch": 201.0}}, "memory of a function"),
        (WORKFLOW, 5000, 20, {"transitions": 300}, "monthly cost, 5,000"),
        (PUBLICATION, 5000, 20, {"seconds": 3.1}, "PublishChanges"),
        (PUBLICATION, 5000, 20, {"memory_mb": {"publish_changes": 200.0}}, "PublishChanges"),
        (WORKFLOW, 5000, 0, {"cpu_seconds": 1000.0}, "CPU of the functions"),
        (WORKFLOW, 5000, 20, {"seconds": 1000.0}, "time with 20 ms calls"),
        (WORKFLOW, 1000, 0, {"transitions": 61}, "state transitions"),
        (WORKFLOW, 100, 20, {"transitions": 40}, "monthly cost"),
        (WORKFLOW, 1000, 20, {"write_units": 10_000_000}, "cost grows"),
    ],
)
def test_a_missed_target_is_named_and_fails_the_benchmark(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    way: str,
    users: int,
    latency_ms: float,
    worse: dict[str, object],
    target: str,
) -> None:
    measurements = [
        replace(one, **worse) if (one.way, one.users, one.latency_ms) == (way, users, latency_ms) else one  # type: ignore[arg-type]
        for one in RESULT.measurements
    ]
    monkeypatch.setattr(bench, "run", lambda: replace(RESULT, measurements=measurements))
    (tmp_path / "build").mkdir()
    monkeypatch.setattr(bench, "REPOSITORY", tmp_path)
    monkeypatch.setattr(bench, "RESULT", tmp_path / "RESULT")

    assert bench.main() == 1

    assert f"MISSED: {target}" in capsys.readouterr().err
    written = Report.from_json(json.loads((tmp_path / "RESULT").read_text()))
    assert "**missed**" in "\n".join(written.lines())
    assert json.loads((tmp_path / "build" / "bench.json").read_text())["targets"]


def test_the_charts_have_a_line_for_each_way() -> None:
    seconds, dollars = "\n".join(RESULT.charts()).split("\n\n")
    assert seconds.count("    line [") == 3
    assert all(f"{way} " in seconds for way in (WORKFLOW, SINGLE, LISTING))
    assert dollars.count("    line [") == 1
    assert f"line [{', '.join(f'{RESULT.monthly(users).total:.2f}' for users in RESULT.sizes)}]" in dollars


def test_a_step_imports_nothing_that_it_does_not_use() -> None:
    emitting = {step for step in cold_start.steps() if "functions.shared.metrics" in cold_start.modules(step)}
    # AcquireLock, where a former attempt completed the scan and died before it said so.
    assert emitting == {"acquire_lock", "emit_metrics", "clean_up"}
    for step in cold_start.steps():
        handlers = {module for module in cold_start.modules(step) if module.endswith(".handler")}
        assert handlers == {f"functions.{step}.handler"}, "no step imports another"


def test_measurements_survive_being_written() -> None:
    assert [type(one) for one in RESULT.measurements] == [Measurement] * 21
    assert Report.from_json(json.loads(json.dumps(RESULT.as_json()))).table() == RESULT.table()
