"""What a person sees of a scan while it runs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.local_aws.run.report import Progress

STARTED = datetime(2026, 1, 31, 10, tzinfo=UTC)


def entered(name: str, second: float) -> dict[str, Any]:
    return {"timestamp": STARTED + timedelta(seconds=second), "stateEnteredEventDetails": {"name": name}}


def test_a_state_that_lasts_is_told_now_and_then() -> None:
    lines: list[str] = []
    passed = [0.0]
    progress = Progress(lines.append, clock=lambda: passed[0])

    for second in range(90):
        passed[0] = second
        if second in {0, 45}:
            progress(entered("WriteRecords" if second == 0 else "EmitMetrics", second))
        progress.waiting()

    told = [line.rpartition(" s  ")[2].strip().removesuffix(" page 0").strip() for line in lines]
    assert told == [
        "WriteRecords",
        "WriteRecords: 10 s so far",
        "WriteRecords: 20 s so far",
        "WriteRecords: 40 s so far",
        "EmitMetrics",
        "EmitMetrics: 10 s so far",
        "EmitMetrics: 20 s so far",
        "EmitMetrics: 40 s so far",
    ]
