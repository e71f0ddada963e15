"""What the benchmark says: the targets, the tables, the charts, and all of it in short."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tests.bench import cost
from tests.bench.measure import LISTING, SINGLE, WORKFLOW, Measurement
from tests.support.paths import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LATENCY_MS = 20
PAGE_SIZE = 500
PACKAGE_LIMIT_BYTES = 3_000_000
RESULT = REPOSITORY / "tests" / "bench" / "result.json"
"""What was last measured; `make docs` shows it."""


@dataclass(frozen=True)
class Target:
    """What was wanted, what was found, and whether that is good enough."""

    name: str
    wanted: str
    found: str
    met: bool


@dataclass(frozen=True)
class Report:
    """Everything that was measured."""

    measurements: Sequence[Measurement]
    imports: Mapping[str, Mapping[str, float]]
    package_bytes: int

    def of(self, way: str, users: int, latency_ms: float) -> Measurement:
        """Return one measurement."""
        (found,) = [
            one for one in self.measurements if (one.way, one.users, one.latency_ms) == (way, users, latency_ms)
        ]
        return found

    @property
    def sizes(self) -> list[int]:
        """The numbers of users."""
        return sorted({one.users for one in self.measurements})

    def monthly(self, users: int) -> cost.MonthlyCost:
        """Return the cost of an hourly scan: each function starts cold, and each call takes as long as on AWS."""
        measured = self.of(WORKFLOW, users, LATENCY_MS)
        # One environment of each function, and of WriteBatch one for every batch that is written side by side.
        cold = dict.fromkeys(measured.invocations, 1) | {"write_batch": min(5, measured.invocations["write_batch"])}
        initialisation = sum(self.imports[step]["seconds"] * count for step, count in cold.items())
        return cost.monthly(
            cost.Usage(
                users=users,
                transitions=measured.transitions,
                invocations=sum(measured.invocations.values()),
                billed_seconds=measured.function_seconds + initialisation,
                write_units=measured.write_units,
                history_events=measured.history_events,
            )
        )

    def targets(self) -> list[Target]:
        """Hold what was found against what was wanted."""
        most, sizes = max(self.sizes), self.sizes
        pages = {users: math.ceil(users / PAGE_SIZE) for users in sizes}
        calls = {users: self.of(WORKFLOW, users, 0).list_users_calls for users in sizes}
        cpu = self.of(WORKFLOW, most, 0).cpu_seconds / self.of(SINGLE, most, 0).cpu_seconds
        wall = self.of(WORKFLOW, most, LATENCY_MS).seconds / self.of(SINGLE, most, LATENCY_MS).seconds
        transitions = self.of(WORKFLOW, 1000, 0).transitions
        costs = {users: self.monthly(users).total for users in sizes}
        growth = [(costs[more] / costs[fewer]) / (more / fewer) for fewer, more in itertools.pairwise(sizes)]
        slowest = max(self.imports, key=lambda step: self.imports[step]["ratio"])
        ratio = self.imports[slowest]["ratio"]
        return [
            Target(
                "calls of IAM are the pages, none per user",
                ", ".join(map(str, pages.values())),
                ", ".join(map(str, calls.values())),
                calls == pages,
            ),
            Target(
                f"CPU of the functions, {most:,} users",
                "at most 1.5 × the single process",
                f"{cpu:.2f} ×",
                cpu <= 1.5,
            ),
            Target(
                f"time with {LATENCY_MS} ms calls, warm, {most:,} users",
                "at most 1.0 × the single process",
                f"{wall:.2f} ×",
                wall <= 1.0,
            ),
            Target("state transitions, 1,000 users", "at most 60", str(transitions), transitions <= 60),
            Target(
                f"monthly cost, {sizes[0]} users hourly",
                "at most $3.20",
                f"${costs[sizes[0]]:.2f}",
                costs[sizes[0]] <= 3.2,
            ),
            Target(
                "cost grows no faster than users",
                "at most 1.0 × the growth of users",
                f"{max(growth):.2f} ×",
                max(growth) <= 1,
            ),
            Target("import of a handler", "at most 1.3 × boto3 and Logger", f"{ratio:.2f} × ({slowest})", ratio <= 1.3),
            Target(
                "deployment package",
                "below 3 MB",
                f"{self.package_bytes / 1e6:.2f} MB",
                self.package_bytes < PACKAGE_LIMIT_BYTES,
            ),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return all of it for tools, and for :meth:`from_json`."""
        return {
            "measurements": [asdict(one) for one in self.measurements],
            "imports": self.imports,
            "package_bytes": self.package_bytes,
            "monthly_cost": {
                str(users): {**asdict(self.monthly(users)), "total": self.monthly(users).total} for users in self.sizes
            },
            "targets": [asdict(target) for target in self.targets()],
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Report:
        """Return the report that was written."""
        return cls([Measurement(**one) for one in facts["measurements"]], facts["imports"], facts["package_bytes"])

    def table(self) -> list[str]:
        """Return the lines of the tables, in Markdown."""
        lines = [
            "| Users | Way | Seconds | Seconds, 20 ms a call | CPU seconds | IAM calls | DynamoDB calls | Invocations "
            "| Transitions | History events | Largest payload | Write units | $ a month |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for users in self.sizes:
            for way in (WORKFLOW, SINGLE, LISTING):
                quick, slow = self.of(way, users, 0), self.of(way, users, LATENCY_MS)
                tables = sum(count for call, count in quick.calls.items() if call.startswith("dynamodb:"))
                only_workflow = (
                    [
                        str(sum(quick.invocations.values())),
                        str(quick.transitions),
                        str(quick.history_events),
                        f"{quick.largest_payload / 1024:.0f} KiB",
                        f"{quick.write_units:,}",
                        f"{self.monthly(users).total:.2f}",
                    ]
                    if way == WORKFLOW
                    else ["", "", "", "", f"{quick.write_units:,}" if quick.write_units else "", ""]
                )
                cells = [
                    f"{users:,}", way, f"{quick.seconds:.2f}", f"{slow.seconds:.2f}", f"{quick.cpu_seconds:.2f}",
                    str(quick.list_users_calls), str(tables), *only_workflow,
                ]  # fmt: skip
                lines.append("| " + " | ".join(cells) + " |")
        lines += ["", "| Target | Wanted | Found | |", "|---|---|---|---|"]
        lines += [
            f"| {target.name} | {target.wanted} | {target.found} | {'met' if target.met else '**missed**'} |"
            for target in self.targets()
        ]
        return lines

    def charts(self) -> list[str]:
        """Return the lines of two charts, of time and of cost against users, in Markdown."""
        seconds = {
            way: [self.of(way, users, LATENCY_MS).seconds for users in self.sizes]
            for way in (WORKFLOW, SINGLE, LISTING)
        }
        order = ", ".join(f"{way} {points[-1]:.2f} s" for way, points in seconds.items())
        title = f"Seconds of a scan, {LATENCY_MS} ms a call, warm ({order})"
        dollars = [self.monthly(users).total for users in self.sizes]
        return [
            *_chart(title, "seconds", self.sizes, list(seconds.values())),
            "",
            *_chart("Dollars a month, hourly", "$", self.sizes, [dollars]),
        ]

    def lines(self) -> list[str]:
        """Return the lines of all that tests/README.md shows, in Markdown."""
        return [*self.table(), "", *self.charts()]

    def in_short(self) -> str:
        """Return the three figures that a first reader asks for."""
        fewest, most = min(self.sizes), max(self.sizes)
        workflow, single = (self.of(way, most, LATENCY_MS) for way in (WORKFLOW, SINGLE))
        return (
            f"{most:,} users take {workflow.list_users_calls} calls of IAM and {workflow.seconds:.1f} s, "
            f"{workflow.seconds / single.seconds:.2f} × what a single process takes ({LATENCY_MS} ms a call, warm); "
            f"{fewest:,} users, scanned hourly, cost ${self.monthly(fewest).total:.2f} a month, "
            f"alarms included, and {most:,} ${self.monthly(most).total:.2f}."
        )


def _chart(title: str, unit: str, users: Sequence[int], lines: Sequence[Sequence[float]]) -> list[str]:
    most = math.ceil(max(value for points in lines for value in points))
    return [
        "```mermaid",
        "xychart-beta",
        f'    title "{title}"',
        f"    x-axis users [{', '.join(map(str, users))}]",
        f'    y-axis "{unit}" 0 --> {most}',
        *[f"    line [{', '.join(f'{value:.2f}' for value in points)}]" for points in lines],
        "```",
    ]
