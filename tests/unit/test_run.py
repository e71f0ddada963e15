"""The run: which attempt a step works for, and whom it believes about that."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from functions.shared.errors import Superseded
from functions.shared.run import Run
from tests.support.scene import ME, STARTED_AT, TIMESTAMP, Clock, FakeStepFunctions, run_event, scan


@pytest.fixture
def stepfunctions() -> Any:
    return FakeStepFunctions()


def run(clock: Clock, attempt: int = 1) -> Run:
    return Run(ME, STARTED_AT, attempt, clock.now)


def test_a_run_is_named_by_its_start_to_the_second(clock: Clock) -> None:
    told = Run.of({"run": run_event()})

    assert told == Run(ME, STARTED_AT, 1, clock.now)
    assert told.scan_timestamp == TIMESTAMP


@pytest.mark.parametrize(
    ("redrive_count", "more", "attempt"),
    [
        pytest.param(0, {}, 1, id="never redriven"),
        pytest.param(2, {}, 3, id="redriven twice"),
        pytest.param(2, {"scan": scan(1)}, 3, id="redriven past AcquireLock"),
        pytest.param(0, {"scan": scan(2)}, 2, id="a step before knew of a redrive that the context does not"),
        pytest.param(0, {"state": {"scan": scan(2)}}, 2, id="so it did in the finally path"),
        pytest.param(1, {"state": {}}, 2, id="failed before there was a scan"),
    ],
)
def test_the_attempt_is_the_newest_that_the_run_has_told_of(
    clock: Clock, redrive_count: int, more: dict[str, Any], attempt: int
) -> None:
    assert Run.of({"run": run_event(redrive_count), **more}).attempt == attempt


@pytest.mark.parametrize("seconds", [-3600, 0, 1])
def test_a_step_that_began_after_the_redrive_belongs_to_the_new_attempt(
    clock: Clock, stepfunctions: Any, seconds: float
) -> None:
    """The clocks of Lambda and Step Functions may be a second apart."""
    stepfunctions.redriven(1, clock.now + timedelta(seconds=seconds))

    assert run(clock).newest(stepfunctions) == run(clock, 2)


@pytest.mark.parametrize(
    ("status", "count", "seconds"),
    [
        pytest.param("RUNNING", 1, 1.001, id="it began before the redrive: a late call of a former attempt"),
        pytest.param("ABORTED", 1, -60, id="the newer attempt has ended, too"),
        pytest.param("RUNNING", 0, -60, id="no newer attempt"),
        pytest.param("RUNNING", 1, None, id="nobody says when it was redriven"),
    ],
)
def test_a_larger_count_alone_is_not_believed(
    clock: Clock, stepfunctions: Any, status: str, count: int, seconds: float | None
) -> None:
    stepfunctions.redriven(count, clock.now)
    stepfunctions.status = status
    stepfunctions.redrive_date = None if seconds is None else clock.now + timedelta(seconds=seconds)
    told = run(clock)

    assert told.newest(stepfunctions) is told


def test_a_smaller_count_is_not_believed(clock: Clock, stepfunctions: Any) -> None:
    """DescribeExecution is eventually consistent."""
    stepfunctions.redriven(1, clock.now)
    told = run(clock, 3)

    assert told.newest(stepfunctions) is told


def test_the_first_attempt_began_with_the_execution(clock: Clock, stepfunctions: Any) -> None:
    assert run(clock).began_at(stepfunctions) == STARTED_AT
    assert stepfunctions.asked == 0


@pytest.mark.parametrize(
    ("redriven_at", "began_at"),
    [
        (STARTED_AT + timedelta(days=3), STARTED_AT + timedelta(days=3)),
        pytest.param(None, STARTED_AT + timedelta(days=4), id="not told: this invocation is the best guess"),
    ],
)
def test_a_later_attempt_began_with_its_redrive(
    clock: Clock, stepfunctions: Any, redriven_at: datetime | None, began_at: datetime
) -> None:
    clock.wait(4 * 86_400)
    stepfunctions.redrive_date = redriven_at

    assert run(clock, 2).began_at(stepfunctions) == began_at


def refusing(attempt: int) -> Any:
    """Return an action that is refused to all attempts before this one."""

    def act(run: Run) -> int:
        if run.attempt < attempt:
            raise Superseded(f"attempt {run.attempt} is late")
        return run.attempt

    return act


def test_a_step_that_is_not_refused_asks_nobody(clock: Clock, stepfunctions: Any) -> None:
    assert run(clock).fenced(stepfunctions, refusing(1)) == 1
    assert stepfunctions.asked == 0


def test_a_step_that_was_told_an_old_attempt_acts_for_the_new_one(clock: Clock, stepfunctions: Any) -> None:
    stepfunctions.redriven(1, clock.now)

    assert run(clock).fenced(stepfunctions, refusing(2)) == 2


def test_a_late_step_stays_refused(clock: Clock, stepfunctions: Any) -> None:
    with pytest.raises(Superseded, match="attempt 1 is late"):
        run(clock).fenced(stepfunctions, refusing(2))
    assert stepfunctions.asked == 1
