"""Any set of users, page size, batch size and sequence of faults keeps the invariants of a scan."""

import contextlib
import io
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.definition import STEPS
from tests.support.engine import Engine, FunctionError, Invocation, engine

NAMES = st.text(st.sampled_from("abcXYZ019+=,.@_-"), min_size=1, max_size=64)

# A fault hits one call of a step: it fails before its work, or after it; it is given up, and does its work when the run
# has ended; or the run is stopped meanwhile.
KINDS = ["before", "after", "late", "stopped"]
FAULTS = st.dictionaries(st.tuples(st.sampled_from(STEPS), st.integers(1, 12)), st.sampled_from(KINDS), max_size=12)
# ReleaseLock is no function: nothing of it goes on when it is given up.
RELEASES = st.dictionaries(st.integers(1, 12), st.sampled_from(["before", "after"]), max_size=3)


class Faults:
    """Stands between the state machine and its steps."""

    def __init__(self, kinds: dict[tuple[str, int], str]) -> None:
        self.running: Engine | None = None
        self.late: list[Invocation] = []
        self._kinds = kinds
        self._calls: Counter[str] = Counter()
        self._guard = threading.Lock()

    def __call__(self, step: str, event: Any, handler: Callable[[Any], Any]) -> Any:
        with self._guard:
            self._calls[step] += 1
            kind = self._kinds.get((step, self._calls[step]))
        if kind == "before":
            raise FunctionError("InternalServerError", "before its work")
        if kind == "late":
            self.late.append(Invocation(step, event))
            raise FunctionError("Lambda.SdkClientException", "the connection broke")
        try:
            result = handler(event)
        finally:
            if kind == "stopped":
                self._stop(event["run"]["execution_arn"])
        if kind == "after":
            raise FunctionError("InternalServerError", "after its work")
        return result

    def _stop(self, arn: str) -> None:
        assert self.running is not None
        with self._guard:
            described = self.running.client("stepfunctions").describe_execution(executionArn=arn)
            if described["status"] == "RUNNING":
                self.running.stop(arn)


def said(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the records and the manifests say."""
    return [{**item, "reported": None} for item in items if "data" not in item]


def kept(items: list[dict[str, Any]]) -> dict[str, bytes]:
    """Return what is kept of posture, by its key."""
    return {item["scan_timestamp"]: item["data"] for item in items if "data" in item}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    names=st.lists(NAMES, max_size=40, unique_by=str.lower),
    page_size=st.integers(1, 30),
    batch_size=st.integers(1, 30),
    faults=FAULTS,
    releases=RELEASES,
    told_late=st.booleans(),
)
def test_property_a_scan_under_faults_ends_complete_after_redrives(
    names: list[str],
    page_size: int,
    batch_size: int,
    faults: dict[tuple[str, int], str],
    releases: dict[int, str],
    told_late: bool,
) -> None:
    invoke = Faults(faults | {("release_lock", call): kind for call, kind in releases.items()})
    ends: list[dict[str, Any]] = []
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        engine(page_size=page_size, batch_size=batch_size, invoke=invoke) as running,
    ):
        invoke.running = running
        running.create_users(names)
        execution = running.run()
        attempts = 1
        while execution.status != "SUCCEEDED":
            running.settle()
            ends.append(running.end_event(execution.arn))
            if not told_late:
                running.deliver(ends[-1])
                for call in invoke.late:
                    running.repeat(call)
                assert running.lock() is None, "a failed run holds no lock once it is cleaned up"
            assert attempts <= len(faults) + len(releases) + 1, "each fault may cost an attempt, and no more"
            execution = running.redrive(execution.arn)
            attempts += 1

        (manifest,) = running.manifests()
        assert running.lock() is None
        assert sorted(record["user_name"] for record in running.records()) == sorted(names)
        assert manifest["status"] == "COMPLETE"
        totals = (manifest["users_scanned"], manifest["records_written"], manifest["errors"])
        assert totals == (len(names), len(names), 0)

        # Whoever comes now is late. What is left to say is the metrics of attempts whose ends are told only now.
        before = running.items()
        for call in invoke.late:
            running.repeat(call)
        for end in reversed(ends * 2):
            running.deliver(end)
        after = running.items()
        assert said(after) == said(before)
        assert kept(before).items() <= kept(after).items(), "what WriteBatch reads stays what it is"

    lines = [json.loads(line) for line in printed.getvalue().splitlines() if line.startswith('{"_aws"')]
    assert [line["Success"][0] for line in lines].count(1) >= 1
    # The last one may have had nothing left to do but to release the lock.
    assert attempts - 1 <= len(lines) <= attempts, "the metrics of every attempt, and never twice"
