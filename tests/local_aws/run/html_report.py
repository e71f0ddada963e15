"""A picture of one scan, as a web page of one file: the path through the states, the timeline, what was recorded."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions.cli.report import page as pages
from tests.local_aws.run.report import longest_repetition, path_of
from tests.local_aws.run.scan import STATE_LIMIT_BYTES
from tests.support import definition as state_machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.local_aws.run.scan import Check, Execution, Facts, Visit

RECORDS_SHOWN = 10
FOLDED_FROM = 4
"""So many pages, one like the other, share one row of the timeline."""

_TEMPLATES = Path(__file__).with_name("templates")
_COLUMNS = ("user_name", "user_id", "arn", "create_date", "password_last_used")
_UNITS = {"Duration": "ms", "Success": "1 or 0"}

_ROW, _NODE_WIDTH, _NODE_HEIGHT, _NODE_LEFT = 52, 170, 30, 150
_FURTHEST = 190
"""So far beside the states may the ends of a curve pull it: it bends out by three quarters of that."""
_BAR_ROW, _BAR_LEFT, _BAR_WIDTH = 22, 150, 560


def page(execution: Execution, facts: Facts, checks: Sequence[Check], calls: Mapping[str, int] | None = None) -> str:
    """Return the page; it needs nothing from anywhere else.

    Parameters
    ----------
    calls
        How often what was called; None where nobody counted.
    """
    manifest, visits = facts.manifest, execution.visits
    return pages.render(
        "run.html",
        {
            "scan": facts.scan_timestamp,
            "status": execution.status,
            "good": execution.status == "SUCCEEDED" and all(check.passed for check in checks),
            "arn": execution.arn,
            "cause": execution.cause,
            "told": path_of(visits) or "nothing",
            "totals": [
                ("Users scanned", _text(manifest.get("users_scanned", 0))),
                ("Records written", _text(manifest.get("records_written", 0))),
                ("Errors", _text(manifest.get("errors", 0))),
                ("Duration", f"{(execution.stopped - execution.started).total_seconds():,.2f} s"),
                ("Manifest", manifest.get("status", "none")),
                ("Lock", "free" if facts.lock is None else "held"),
            ],
            "graph": _graph(visits),
            "bars": _timeline(visits) if visits else None,
            "payloads": [
                (state, f"{size / 1024:,.1f} KiB", round(100 * size / STATE_LIMIT_BYTES, 1))
                for state, size in payloads(execution.events).items()
            ],
            "calls": [(name, _text(number)) for name, number in sorted((calls or {}).items())],
            "metrics": [(name, _text(value), _UNITS.get(name, "count")) for name, value in facts.metrics.items()],
            "checks": [("ok" if one.passed else "FAILED", one.name, one.found) for one in checks],
            "columns": _COLUMNS,
            "records": [[_text(record.get(name)) for name in _COLUMNS] for record in facts.records[:RECORDS_SHOWN]],
            "recorded": len(facts.records),
        },
        _TEMPLATES,
    )


def transitions(definition: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the transitions between the states of the top level, each once."""
    found: dict[tuple[str, str], None] = {}
    for name, state in definition["States"].items():
        rules = (*state.get("Choices", []), *state.get("Catch", []))
        for target in (state.get("Next"), state.get("Default"), *(rule["Next"] for rule in rules)):
            if target:
                found[name, target] = None
    return list(found)


def payloads(events: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the largest input or output of each state of the top level, in bytes, in the order of the history."""
    names = set(state_machine.load()["States"])
    largest: dict[str, int] = {}
    for event in events:
        for details, part in (("stateEnteredEventDetails", "input"), ("stateExitedEventDetails", "output")):
            state = event.get(details, {}).get("name")
            if state in names:
                size = len(event[details].get(part, "").encode())
                largest[state] = max(size, largest.get(state, 0))
    return largest


def _graph(visits: Sequence[Visit]) -> dict[str, Any]:
    """Place the states below each other, and the transitions that skip some beside them: down right, back left."""
    definition = state_machine.load()
    names = list(definition["States"])
    counts = Counter(visit.state for visit in visits)
    taken = set(pairwise(visit.state for visit in visits))
    row = {name: number for number, name in enumerate(names)}
    return {
        "width": 620,
        "height": _ROW * len(names),
        "left": _NODE_LEFT,
        "wide": _NODE_WIDTH,
        "high": _NODE_HEIGHT,
        "edges": [
            {
                "source": source,
                "target": target,
                "path": _edge(row[source], row[target]),
                "taken": (source, target) in taken,
            }
            for source, target in sorted(transitions(definition), key=lambda edge: edge in taken)
        ],
        "nodes": [{"name": name, "y": _ROW * row[name] + 8, "visits": counts[name]} for name in names],
    }


def _edge(above: int, below: int) -> str:
    middle = _NODE_LEFT + _NODE_WIDTH / 2
    start, end = _ROW * above + 8 + _NODE_HEIGHT, _ROW * below + 8
    if below == above + 1:
        return f"M{middle},{start} L{middle},{end}"
    side = _NODE_LEFT + _NODE_WIDTH if below > above else _NODE_LEFT
    reach = min(18 + 16 * abs(below - above), _FURTHEST) * (1 if below > above else -1)
    y1, y2 = start - _NODE_HEIGHT / 2, end + _NODE_HEIGHT / 2
    return f"M{side},{y1} C{side + reach},{y1} {side + reach},{y2} {side},{y2}"


def rows_of(visits: Sequence[Visit]) -> list[tuple[str, Sequence[Visit]]]:
    """Return the rows of the timeline, with their labels: one a visit, but one for many pages that are alike."""
    names = [visit.state for visit in visits]
    rows: list[tuple[str, Sequence[Visit]]] = []
    position = 0
    while position < len(names):
        length, times = longest_repetition(names, position)
        taken = length * times if times >= FOLDED_FROM else 1
        label = names[position] if taken == 1 else f"{times} pages"
        rows.append((label, visits[position : position + taken]))
        position += taken
    return rows


def _timeline(visits: Sequence[Visit]) -> dict[str, Any]:
    """Place one bar for each visit of a state, as the console does."""
    began = visits[0].entered
    whole = max((visit.left or visit.entered) - began for visit in visits).total_seconds() or 0.001
    rows = []
    for number, (label, row) in enumerate(rows_of(visits)):
        bars = []
        x = width = 0.0
        for order, visit in enumerate(row):
            x = _BAR_LEFT + _BAR_WIDTH * (visit.entered - began).total_seconds() / whole
            width = max(2.0, _BAR_WIDTH * visit.seconds / whole)
            kind = (" odd" if order % 2 else "") if visit.left else " open"
            told = f"{visit.state}: {visit.seconds:.2f} s"
            bars.append({"kind": kind, "x": round(x, 1), "wide": round(width, 1), "told": told})
        seconds = ((row[-1].left or row[-1].entered) - row[0].entered).total_seconds()
        end = {"end": round(x + width + 6, 1), "seconds": f"{seconds:.2f} s"}
        rows.append({"y": _BAR_ROW * number, "label": label, "bars": bars, **end})
    size = {"width": _BAR_LEFT + _BAR_WIDTH + 80, "height": _BAR_ROW * len(rows) + 4, "left": _BAR_LEFT}
    return {**size, "rows": rows}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
