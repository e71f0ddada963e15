"""What the benchmark says: the targets, the tables, the charts, and all of it in short."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from tests.bench import cost
from tests.bench.measure import (
    ACCOUNT,
    ACCOUNT_USERS,
    CHANGES,
    INDEX_UNITS,
    LISTING,
    PER_USER,
    PER_USER_USERS,
    PUBLICATION,
    SINGLE,
    THROTTLED,
    WORKFLOW,
    Measurement,
)
from tests.local_aws.aws.index_limit import ON_AWS
from tests.support.paths import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LATENCY_MS = 20
PAGE_SIZE, BATCH_SIZE, ITEMS_PER_CALL = 500, 100, 25
ACCOUNTS = 100
"""Of the organization whose cost is told."""
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
class Row:
    """What is counted, by the number of users: on paper, by a formula, and as it was found."""

    name: str
    formula: str
    paper: Mapping[int, int]
    measured: Mapping[int, int]


@dataclass(frozen=True)
class Report:
    """Everything that was measured."""

    measurements: Sequence[Measurement]
    imports: Mapping[str, Mapping[str, float]]
    package_bytes: int
    paces: Mapping[str, float] = field(default_factory=dict)
    """See ``pace.measure``."""

    def of(self, way: str, users: int, latency_ms: float) -> Measurement:
        """Return one measurement."""
        (found,) = [
            one for one in self.measurements if (one.way, one.users, one.latency_ms) == (way, users, latency_ms)
        ]
        return found

    def has(self, way: str, users: int, latency_ms: float) -> bool:
        """Tell whether it was measured."""
        return any((one.way, one.users, one.latency_ms) == (way, users, latency_ms) for one in self.measurements)

    @property
    def sizes(self) -> list[int]:
        """The numbers of users."""
        return sorted({one.users for one in self.measurements if one.way == WORKFLOW})

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
                record_bytes=measured.record_bytes,
                kept_bytes=measured.kept_bytes,
                cold_writers=cold["write_batch"],
                picture_bytes=measured.picture_bytes,
            )
        )

    def monthly_of_fleet(self, scans: float) -> cost.MonthlyCost:
        """Return what an organization costs, so many times a month: what starts cold for one account serves others."""
        measured = self.of(ACCOUNT, ACCOUNT_USERS, LATENCY_MS)
        initialisation = sum(self.imports[step]["seconds"] for step in measured.invocations)
        usage = cost.Usage(
            users=measured.users,
            transitions=measured.transitions,
            invocations=sum(measured.invocations.values()),
            billed_seconds=measured.function_seconds,
            write_units=measured.write_units,
            history_events=measured.history_events,
            record_bytes=measured.record_bytes,
            kept_bytes=measured.kept_bytes,
            cold_writers=1,
            picture_bytes=measured.picture_bytes,
        )
        return cost.monthly(usage, scans, cost.Fleet(ACCOUNTS, cost.FLEET_CONCURRENCY * initialisation))

    def without_publication(self, latency_ms: float) -> tuple[float, float] | None:
        """Return seconds and CPU seconds of the largest scan without PublishChanges, None where they were not noted.

        A single process tells no changes. What it is to be held against is what it does, too.
        """
        found = self.of(WORKFLOW, max(self.sizes), latency_ms)
        if found.publish_seconds is None or found.publish_cpu_seconds is None:
            return None
        return found.seconds - found.publish_seconds, found.cpu_seconds - found.publish_cpu_seconds

    def _fair(self) -> list[Target]:
        """Hold the workflow against the single process, as far as both do the same."""
        most, found = max(self.sizes), []
        quick, slow = self.without_publication(0), self.without_publication(LATENCY_MS)
        if quick is not None:
            theirs = self.of(SINGLE, most, 0).cpu_seconds
            found.append(
                Target(
                    f"the same without PublishChanges, CPU, {most:,} users",
                    "at most 2 × the single process, which tells no changes",
                    f"{quick[1] / theirs:.2f} ×",
                    quick[1] <= 2 * theirs,
                )
            )
        if slow is not None:
            theirs = self.of(SINGLE, most, LATENCY_MS).seconds
            found.append(
                Target(
                    f"the same without PublishChanges, time, {most:,} users",
                    "at most 1.0 × the single process, which tells no changes",
                    f"{slow[0] / theirs:.2f} ×",
                    slow[0] <= theirs,
                )
            )
        return found

    def _limited(self) -> list[Target]:
        """Hold the scan against the index, of which no key takes more than so much a second."""
        most, found = max(self.sizes), []
        if self.paces:
            limit, took = most / ON_AWS, max(self.paces.values())
            found.append(
                Target(
                    f"writing {most:,} users where the index takes {ON_AWS:,} a second, in virtual time",
                    f"at most 1.3 × the {limit:.1f} s that it needs",
                    f"{took / limit:.2f} × ({took:.1f} s)",
                    took <= 1.3 * limit,
                )
            )
        if self.has(THROTTLED, most, LATENCY_MS):
            throttled, limit = self.of(THROTTLED, most, LATENCY_MS), most / INDEX_UNITS
            found.append(
                Target(
                    f"a scan of {most:,} users where the index takes {INDEX_UNITS} a second, {LATENCY_MS} ms a call",
                    f"at most 1.3 × the {limit:.1f} s that it needs, and throttled",
                    f"{throttled.seconds / limit:.2f} × ({throttled.seconds:.1f} s, {throttled.throttled:,} again)",
                    throttled.seconds <= 1.3 * limit and throttled.throttled > 0,
                )
            )
        return found

    def _on_paper(self) -> Target:
        wrong = [
            f"{row.name} of {users:,} users: {row.measured[users]:,}, not {row.paper[users]:,}"
            for row in self.scale()
            for users in row.paper
            if row.measured[users] != row.paper[users]
        ]
        return Target(
            "calls, transitions, events and write units are what they are on paper",
            "the same",
            "; ".join(wrong) or "the same",
            not wrong,
        )

    def scale(self) -> list[Row]:
        """Return what grows how: what is counted, as it is on paper and as it was found."""
        ours = {users: self.of(WORKFLOW, users, LATENCY_MS) for users in self.sizes}
        pages = {users: math.ceil(users / PAGE_SIZE) for users in ours}
        batches = {users: math.ceil(users / BATCH_SIZE) for users in ours}
        kept = {
            users: math.ceil(one.kept_bytes / 1024) + math.ceil(one.picture_bytes / 1024) for users, one in ours.items()
        }

        def row(name: str, formula: str, paper: Callable[[int], int], measured: Callable[[Measurement], int]) -> Row:
            return Row(name, formula, {one: paper(one) for one in ours}, {key: measured(m) for key, m in ours.items()})

        def calls(name: str) -> Callable[[Measurement], int]:
            return lambda one: one.calls.get(name, 0)

        return [
            row("ListUsers", f"P = ⌈U / {PAGE_SIZE}⌉", lambda users: pages[users], calls("iam:ListUsers")),
            row(
                "BatchWriteItem",
                f"⌈U / {ITEMS_PER_CALL}⌉",
                lambda users: math.ceil(users / ITEMS_PER_CALL),
                calls("dynamodb:BatchWriteItem"),
            ),
            row("TransactWriteItems", "P + 2", lambda users: pages[users] + 2, calls("dynamodb:TransactWriteItems")),
            row(
                "invocations",
                f"4 + 2 P + B, B = ⌈U / {BATCH_SIZE}⌉",
                lambda users: 4 + 2 * pages[users] + batches[users],
                lambda one: sum(one.invocations.values()),
            ),
            row(
                "transitions",
                "9 + 4 P + B",
                lambda users: 9 + 4 * pages[users] + batches[users],
                lambda one: one.transitions,
            ),
            row(
                "history events",
                "35 + 16 P + 7 B",
                lambda users: 35 + 16 * pages[users] + 7 * batches[users],
                lambda one: one.history_events,
            ),
            row(
                "write units",
                "2 U + 26 + 6 P + 2 for each KB of posture, and of the picture where it changes",
                lambda users: 2 * users + 26 + 6 * pages[users] + 2 * kept[users],
                lambda one: one.write_units,
            ),
        ]

    def scale_table(self) -> list[str]:
        """Return the lines of the table of what grows how, in Markdown."""
        sizes = self.sizes
        seconds = {users: self.of(WORKFLOW, users, LATENCY_MS).seconds for users in sizes}
        costs = {users: self.monthly(users).total for users in sizes}
        rows = [(row.name, row.formula, *(f"{row.measured[users]:,}" for users in sizes)) for row in self.scale()]
        rows += [
            (
                f"seconds, {LATENCY_MS} ms a call",
                f"at least U / {ON_AWS:,} on AWS: the index",
                *(f"{seconds[users]:.2f}" for users in sizes),
            ),
            ("milliseconds a user", "", *(f"{1000 * seconds[users] / users:.1f}" for users in sizes)),
            ("$ a month, hourly", "", *(f"{costs[users]:.2f}" for users in sizes)),
            ("cents a user and month", "", *(f"{100 * costs[users] / users:.2f}" for users in sizes)),
        ]
        heads = ("What a scan takes", "On paper, of U users", *(f"{users:,} users" for users in sizes))
        return _lines_of_table(heads, rows)

    def fleet_table(self) -> list[str]:
        """Return the lines of the table of what an organization costs, in Markdown; none where it was not measured."""
        if not self.has(ACCOUNT, ACCOUNT_USERS, LATENCY_MS):
            return []
        costs = {often: asdict(self.monthly_of_fleet(scans)) for often, scans in cost.SCANS.items()}
        parts = [part.name for part in fields(cost.MonthlyCost)]
        rows = [(part.replace("_", " "), *(f"{found[part]:.2f}" for found in costs.values())) for part in parts]
        totals = {often: sum(found.values()) for often, found in costs.items()}
        rows.append(("all together", *(f"{total:.2f}" for total in totals.values())))
        free = min(cost.FREE_METRICS, cost.METRICS + cost.FLEET_METRICS) * cost.METRIC
        free += min(cost.FREE_ALARM_METRICS, cost.ALARM_METRICS + cost.FLEET_ALARM_METRICS) * cost.ALARM_METRIC
        rows.append(
            (
                f"where the {cost.FREE_METRICS} metrics and {cost.FREE_ALARM_METRICS} alarms that are free are left",
                *(f"{total - free:.2f}" for total in totals.values()),
            )
        )
        return _lines_of_table((f"$ a month, {ACCOUNTS} accounts of {ACCOUNT_USERS} users", *costs), rows)

    def targets(self) -> list[Target]:
        """Hold what was found against what was wanted."""
        most, sizes = max(self.sizes), self.sizes
        quick = {users: self.of(WORKFLOW, users, 0) for users in sizes}
        pages = {users: math.ceil(users / PAGE_SIZE) for users in sizes}
        listed = {users: one.calls.get("iam:ListUsers", 0) for users, one in quick.items()}
        details = {users: one.calls.get("iam:GetAccountAuthorizationDetails", 0) for users, one in quick.items()}
        others = {users: quick[users].iam_calls - listed[users] - details[users] for users in sizes}
        memory = {
            step: max(self.of(WORKFLOW, most, latency).memory_mb[step] for latency in (0, LATENCY_MS))
            for step in quick[most].memory_mb
        }
        largest = max(memory, key=lambda step: memory[step])
        ours, theirs = (self.of(way, PER_USER_USERS, LATENCY_MS) for way in (WORKFLOW, PER_USER))
        published = self.of(PUBLICATION, most, LATENCY_MS)
        cpu = self.of(WORKFLOW, most, 0).cpu_seconds / self.of(SINGLE, most, 0).cpu_seconds
        wall = self.of(WORKFLOW, most, LATENCY_MS).seconds / self.of(SINGLE, most, LATENCY_MS).seconds
        transitions = self.of(WORKFLOW, 1000, 0).transitions
        costs = {users: self.monthly(users).total for users in sizes}
        growth = [(costs[more] / costs[fewer]) / (more / fewer) for fewer, more in itertools.pairwise(sizes)]
        slowest = max(self.imports, key=lambda step: self.imports[step]["ratio"])
        ratio = self.imports[slowest]["ratio"]
        return [
            Target(
                "calls of ListUsers are its pages, none per user",
                ", ".join(map(str, pages.values())),
                ", ".join(map(str, listed.values())),
                listed == pages,
            ),
            Target(
                "other calls of IAM, besides the pages of the authorization details",
                "at most 12",
                ", ".join(f"{others[users]} (and {details[users]})" for users in sizes),
                max(others.values()) <= 12 and all(count <= users / 50 + 2 for users, count in details.items()),
            ),
            Target(
                f"calls of IAM beside one per user and fact, {PER_USER_USERS:,} users",
                "at most 0.05 ×",
                f"{ours.iam_calls / theirs.iam_calls:.4f} × ({ours.iam_calls:,} and {theirs.iam_calls:,})",
                ours.iam_calls <= 0.05 * theirs.iam_calls,
            ),
            Target(
                f"time with {LATENCY_MS} ms calls beside that, {PER_USER_USERS:,} users",
                "at most 0.05 ×",
                f"{ours.seconds / theirs.seconds:.3f} × ({ours.seconds:.1f} s and {theirs.seconds:.0f} s)",
                ours.seconds <= 0.05 * theirs.seconds,
            ),
            Target(
                f"memory of a function's process, {most:,} users",
                "below 200 MB of 256",
                f"{memory[largest]:.0f} MB ({largest})",
                memory[largest] < 200,
            ),
            Target(
                f"PublishChanges with {LATENCY_MS} ms calls, warm, {CHANGES} of {most:,} users changed",
                "at most 3 s, and below 200 MB",
                f"{published.seconds:.1f} s, {published.memory_mb['publish_changes']:.0f} MB",
                published.seconds <= 3 and published.memory_mb["publish_changes"] < 200,
            ),
            Target(
                f"CPU of the functions, {most:,} users",
                "at most 2 × the single process, which reads no posture",
                f"{cpu:.2f} ×",
                cpu <= 2,
            ),
            Target(
                f"time with {LATENCY_MS} ms calls, warm, {most:,} users",
                "at most 1.0 × the single process",
                f"{wall:.2f} ×",
                wall <= 1.0,
            ),
            *self._fair(),
            *self._limited(),
            self._on_paper(),
            Target("state transitions, 1,000 users", "at most 60", str(transitions), transitions <= 60),
            Target(
                f"monthly cost, {sizes[0]} users hourly",
                "at most $3.30",
                f"${costs[sizes[0]]:.2f}",
                costs[sizes[0]] <= 3.3,
            ),
            Target(f"monthly cost, {most:,} users hourly", "at most $15", f"${costs[most]:.2f}", costs[most] <= 15),
            *self._fleet(),
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

    def _fleet(self) -> list[Target]:
        if not self.has(ACCOUNT, ACCOUNT_USERS, LATENCY_MS):
            return []
        often = "every 4 hours"
        total = self.monthly_of_fleet(cost.SCANS[often]).total
        name = f"monthly cost, {ACCOUNTS} accounts of {ACCOUNT_USERS} users {often}"
        return [Target(name, "at most $13", f"${total:.2f}", total <= 13)]

    def as_json(self) -> dict[str, Any]:
        """Return all of it for tools, and for :meth:`from_json`."""
        return {
            "measurements": [asdict(one) for one in self.measurements],
            "imports": self.imports,
            "package_bytes": self.package_bytes,
            "paces": self.paces,
            "monthly_cost": {
                str(users): {**asdict(self.monthly(users)), "total": self.monthly(users).total} for users in self.sizes
            },
            "targets": [asdict(target) for target in self.targets()],
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Report:
        """Return the report that was written."""
        measurements = [Measurement(**one) for one in facts["measurements"]]
        return cls(measurements, facts["imports"], facts["package_bytes"], facts.get("paces", {}))

    def table(self) -> list[str]:
        """Return the lines of the tables, in Markdown."""
        lines = [
            "| Users | Way | Seconds | Seconds, 20 ms a call | CPU seconds | IAM calls | DynamoDB calls | Invocations "
            "| Transitions | History events | Largest payload | Write units | $ a month |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for users in self.sizes:
            for way in (WORKFLOW, SINGLE, LISTING, PER_USER):
                if not self.has(way, users, LATENCY_MS):
                    continue
                slow = self.of(way, users, LATENCY_MS)
                quick = self.of(way, users, 0) if self.has(way, users, 0) else slow
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
                    f"{users:,}", way, f"{quick.seconds:.2f}" if quick is not slow else "", f"{slow.seconds:.2f}",
                    f"{quick.cpu_seconds:.2f}", f"{quick.iam_calls:,}", str(tables), *only_workflow,
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
        fleet = self.fleet_table()
        return [*self.table(), "", *self.scale_table(), *(["", *fleet] if fleet else []), "", *self.charts()]

    def in_short(self) -> str:
        """Return the three figures that a first reader asks for: calls, time, cost."""
        fewest, most = min(self.sizes), max(self.sizes)
        workflow, single = (self.of(way, most, LATENCY_MS) for way in (WORKFLOW, SINGLE))
        alike = self.without_publication(LATENCY_MS)
        without = (
            f", and {alike[0] / single.seconds:.2f} × without telling what has changed, which that does not"
            if alike
            else ""
        )
        return (
            f"{most:,} users take {workflow.iam_calls} calls of IAM and {workflow.seconds:.1f} s, "
            f"{workflow.seconds / single.seconds:.2f} × what a single process takes ({LATENCY_MS} ms a call, "
            f"warm){without}; "
            f"{fewest:,} users, scanned hourly, cost ${self.monthly(fewest).total:.2f} a month, "
            f"alarms included, and {most:,} ${self.monthly(most).total:.2f}."
        )


def _lines_of_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


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
