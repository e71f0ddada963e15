"""Any set of users, page size, batch size and sequence of faults keeps the invariants of a scan."""

import contextlib
import io
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.statemachine.engine import FunctionError, engine

STEPS = ["acquire_lock", "list_users", "write_batch", "save_progress", "emit_metrics", "release_lock", "fail_scan"]
NAMES = st.text(st.sampled_from("abcXYZ019+=,.@_-"), min_size=1, max_size=64)

# A fault hits one call of a step, before or after its work is done.
FAULTS = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 12), st.booleans()), max_size=12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    names=st.lists(NAMES, max_size=40, unique_by=str.lower),
    page_size=st.integers(1, 30),
    batch_size=st.integers(1, 30),
    faults=FAULTS,
)
def test_property_a_scan_under_faults_ends_complete_after_redrives(
    names: list[str], page_size: int, batch_size: int, faults: list[tuple[str, int, bool]]
) -> None:
    calls: Counter[str] = Counter()

    def invoke(step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        calls[step] += 1
        call = calls[step]
        if (step, call, False) in faults:
            raise FunctionError("InternalServerError", "before its work")
        result = handler(event)
        if (step, call, True) in faults:
            raise FunctionError("InternalServerError", "after its work")
        return result

    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        engine(page_size=page_size, batch_size=batch_size, invoke=invoke) as running,
    ):
        running.create_users(names)
        execution = running.run()
        attempts = 1
        while execution.status != "SUCCEEDED":
            running.clean_up(execution)
            assert running.lock() is None, "a failed run holds no lock once it is cleaned up"
            assert attempts <= len(faults) + 1, "each fault may cost an attempt, and no more"
            execution = running.redrive(execution.arn)
            attempts += 1

        (manifest,) = running.manifests()
        assert running.lock() is None
        assert sorted(record["user_name"] for record in running.records()) == sorted(names)
        assert manifest["status"] == "COMPLETE"
        totals = (manifest["users_scanned"], manifest["records_written"], manifest["errors"])
        assert totals == (len(names), len(names), 0)

    lines = [json.loads(line) for line in printed.getvalue().splitlines() if line.startswith('{"_aws"')]
    assert [line["Success"][0] for line in lines].count(1) >= 1
    assert len(lines) <= attempts, "never twice for one attempt"
