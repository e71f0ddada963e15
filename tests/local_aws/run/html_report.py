"""A picture of one scan, as a web page of one file: the path through the states, the timeline, what was recorded."""

from __future__ import annotations

from collections import Counter
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.local_aws.run.report import longest_repetition
from tests.support import definition as state_machine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.local_aws.run.scan import Check, Execution, Facts, Visit

RECORDS_SHOWN = 10
FOLDED_FROM = 4
"""So many pages, one like the other, share one row of the timeline."""

_UNITS = {"Duration": "ms", "Success": "1 or 0"}

_ROW, _NODE_WIDTH, _NODE_HEIGHT, _NODE_LEFT = 52, 170, 30, 150
_BAR_ROW, _BAR_LEFT, _BAR_WIDTH = 22, 150, 560

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --pale: #59636e; --line: #d0d7de; --paper: #ffffff; --taken: #1a7f37;
  --bad: #cf222e; --fill: #dafbe1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --pale: #9198a1; --line: #3d444d; --paper: #0d1117;
  --taken: #3fb950; --bad: #f85149; --fill: #12261e; } }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.status { padding: .1rem .6rem; border-radius: 1rem; color: #ffffff; background: #1a7f37; }
.status.bad { background: #cf222e; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: 1rem; }
dt { color: var(--pale); } dd { margin: 0; font-size: 1.3rem; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .2rem .6rem .2rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.wide { overflow-x: auto; } .wide table { min-width: 48rem; } .wide td { min-width: 6rem; }
.wide svg { min-width: 38rem; max-width: 100%; height: auto; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.node { fill: var(--paper); stroke: var(--line); } .node.taken { fill: var(--fill); stroke: var(--taken); }
.edge { fill: none; stroke: var(--line); } .edge.taken { stroke: var(--taken); stroke-width: 2; }
.bar { fill: var(--taken); } .bar.odd { opacity: .6; } .bar.open { fill: var(--bad); }
 .pale, svg .pale { color: var(--pale); fill: var(--pale); }
.failed { color: var(--bad); } code { overflow-wrap: anywhere; }
"""


def page(execution: Execution, facts: Facts, checks: Sequence[Check]) -> str:
    """Return the page; it needs nothing from anywhere else."""
    good = execution.status == "SUCCEEDED" and all(check.passed for check in checks)
    manifest = facts.manifest
    totals = {
        "Users scanned": manifest.get("users_scanned", 0),
        "Records written": manifest.get("records_written", 0),
        "Errors": manifest.get("errors", 0),
        "Duration": f"{(execution.stopped - execution.started).total_seconds():,.2f} s",
        "Manifest": manifest.get("status", "none"),
        "Lock": "free" if facts.lock is None else "held",
    }
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>Scan {escape(facts.scan_timestamp)}: {escape(execution.status)}</title><style>{_STYLE}</style></head>",
        f'<body><h1>Scan {escape(facts.scan_timestamp)} <span class="status{"" if good else " bad"}">'
        f"{escape(execution.status)}</span></h1>",
        '<p class="pale">On the local AWS, an emulator on this machine: its times are not those of AWS.<br>'
        f"<code>{escape(execution.arn)}</code></p>",
        f'<p class="failed">{escape(execution.cause)}</p>' if execution.cause else "",
        "<dl>"
        + "".join(f"<div><dt>{escape(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in totals.items()),
        "</dl><h2>Path through the states</h2>",
        *_graph(execution.visits),
        "<h2>Timeline</h2>",
        *_timeline(execution.visits),
        "<h2>Metrics</h2>",
        *_table(("Metric", "Value", "Unit"), ((n, v, _UNITS.get(n, "count")) for n, v in facts.metrics.items())),
        "<h2>Checks</h2>",
        *_table(("", "Check", "Found"), (("ok" if one.passed else "FAILED", one.name, one.found) for one in checks)),
        f"<h2>Records, {min(len(facts.records), RECORDS_SHOWN)} of {len(facts.records):,}</h2>",
        *_records(facts.records[:RECORDS_SHOWN]),
        "</body></html>",
        "",
    ]
    return "\n".join(part for part in parts if part)


def transitions(definition: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the transitions between the states of the top level, each once."""
    found: dict[tuple[str, str], None] = {}
    for name, state in definition["States"].items():
        rules = (*state.get("Choices", []), *state.get("Catch", []))
        for target in (state.get("Next"), state.get("Default"), *(rule["Next"] for rule in rules)):
            if target:
                found[name, target] = None
    return list(found)


def _graph(visits: Sequence[Visit]) -> Iterator[str]:
    """Draw the states below each other, and the transitions that skip some beside them: down right, back left."""
    definition = state_machine.load()
    names = list(definition["States"])
    counts = Counter(visit.state for visit in visits)
    taken = set(pairwise(visit.state for visit in visits))
    row = {name: number for number, name in enumerate(names)}
    height = _ROW * len(names)
    yield (
        f'<div class="wide"><svg id="graph" viewBox="0 0 620 {height}" width="620" role="img" aria-label="State graph">'
    )
    for source, target in sorted(transitions(definition), key=lambda edge: edge in taken):
        yield _edge(source, target, row[source], row[target], (source, target) in taken)
    for name in names:
        y = _ROW * row[name] + 8
        label = f"{name} × {counts[name]}" if counts[name] > 1 else name
        yield (
            f'<g class="state" data-state="{escape(name)}" data-visits="{counts[name]}"><rect '
            f'class="node{" taken" if counts[name] else ""}" x="{_NODE_LEFT}" y="{y}" rx="6" width="{_NODE_WIDTH}" '
            f'height="{_NODE_HEIGHT}"/><text x="{_NODE_LEFT + _NODE_WIDTH / 2}" y="{y + 19}" text-anchor="middle">'
            f"{escape(label)}</text></g>"
        )
    yield "</svg></div>"


def _edge(source: str, target: str, above: int, below: int, is_taken: bool) -> str:
    middle = _NODE_LEFT + _NODE_WIDTH / 2
    start, end = _ROW * above + 8 + _NODE_HEIGHT, _ROW * below + 8
    if below == above + 1:
        path = f"M{middle},{start} L{middle},{end}"
    else:
        side = _NODE_LEFT + _NODE_WIDTH if below > above else _NODE_LEFT
        reach = (18 + 16 * abs(below - above)) * (1 if below > above else -1)
        y1, y2 = start - _NODE_HEIGHT / 2, end + _NODE_HEIGHT / 2
        path = f"M{side},{y1} C{side + reach},{y1} {side + reach},{y2} {side},{y2}"
    kind = " taken" if is_taken else ""
    return f'<path class="edge{kind}" data-from="{escape(source)}" data-to="{escape(target)}" d="{path}"/>'


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


def _timeline(visits: Sequence[Visit]) -> Iterator[str]:
    """Draw one bar for each visit of a state, as the console does."""
    if not visits:
        yield '<p class="pale">No state was entered.</p>'
        return
    began = visits[0].entered
    whole = max((visit.left or visit.entered) - began for visit in visits).total_seconds() or 0.001
    rows = rows_of(visits)
    yield (
        f'<div class="wide"><svg id="timeline" viewBox="0 0 {_BAR_LEFT + _BAR_WIDTH + 80} {_BAR_ROW * len(rows) + 4}" '
        'role="img" aria-label="Timeline">'
    )
    for number, (label, row) in enumerate(rows):
        y = _BAR_ROW * number
        yield f'<text x="{_BAR_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(label)}</text>'
        x = width = 0.0
        for order, visit in enumerate(row):
            x = _BAR_LEFT + _BAR_WIDTH * (visit.entered - began).total_seconds() / whole
            width = max(2.0, _BAR_WIDTH * visit.seconds / whole)
            kind = (" odd" if order % 2 else "") if visit.left else " open"
            yield (
                f'<rect class="bar{kind}" x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="14" rx="2">'
                f"<title>{escape(visit.state)}: {visit.seconds:.2f} s</title></rect>"
            )
        seconds = ((row[-1].left or row[-1].entered) - row[0].entered).total_seconds()
        yield f'<text class="pale" x="{x + width + 6:.1f}" y="{y + 15}">{seconds:.2f} s</text>'
    yield "</svg></div>"


def _records(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    columns = ("user_name", "user_id", "arn", "create_date", "password_last_used")
    yield '<div class="wide">'
    yield from _table(columns, ([record.get(name) for name in columns] for record in records))
    yield "</div>"


def _table(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    yield "<table><thead><tr>" + "".join(f"<th>{escape(name)}</th>" for name in columns) + "</tr></thead><tbody>"
    for row in rows:
        cells = list(row)
        kind = ' class="failed"' if cells[0] == "FAILED" else ""
        yield f"<tr{kind}>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>"
    yield "</tbody></table>"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return escape(f"{value:,g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value))
