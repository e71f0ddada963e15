"""The page for auditors, made of what was gathered."""

from collections.abc import Callable
from datetime import datetime

from functions.cli.report import page
from functions.cli.report.gather import Counts, Gathered
from functions.cli.report.plots import Numbers, Plot, plot
from functions.shared import timestamps

_WITHOUT_MFA = "without an MFA device"


def render(gathered: Gathered) -> str:
    """Return the page."""
    data, counts = gathered.data, gathered.counts
    moments = [one.moment for one in counts]
    gaps = [_within(moments, *map(timestamps.parse, gap)) for gap in data["period"]["gaps"]]

    def numbers(of: Callable[[Counts], int | None]) -> Numbers:
        return [of(one) for one in counts]

    administrators = numbers(lambda one: one.administrators if one.authorization else None)
    unprotected = numbers(lambda one: one.administrators_without_mfa if one.report and one.authorization else None)
    findings, unknown = numbers(lambda one: one.findings), numbers(lambda one: one.unknown)
    users = numbers(lambda one: one.users)
    plots = [
        plot("Users", [("users", users)], moments, gaps),
        plot("Administrators", [("administrators", administrators), (_WITHOUT_MFA, unprotected)], moments, gaps),
        plot("Findings", [("findings", findings)], moments, gaps),
        plot("Could not be judged", [("unknown", unknown)], moments, gaps),
    ]
    sparks: list[Plot] = [
        plot(control["title"], [("findings", [one.of_control(place) for one in counts])], moments, small=True)
        for place, control in enumerate(data["controls"])
    ]
    scans = [one["scan"] for one in data["scans"]]
    table = list(zip(scans, users, administrators, unprotected, findings, unknown, strict=True))
    return page.render(
        "report.html",
        {
            "data": data,
            "first": scans[0],
            "last": scans[-1],
            "plots": plots,
            "sparks": sparks,
            "numbers": table,
        },
    )


def _within(moments: list[datetime], since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Return the part of a period that lies between the first moment and the last."""
    return min(max(since, moments[0]), moments[-1]), min(max(until, moments[0]), moments[-1])
