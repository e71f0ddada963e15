"""The types of the values that people give: moments and scans."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click

from functions.shared.timestamps import parse
from functions.table.findings import BY_NAME, Control

ALL = "all"
AUTO = "auto"
LATEST = "latest"
PREVIOUS = "previous"

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_ACCOUNT = re.compile(r"[0-9]{12}")
_DURATION = re.compile(r"([1-9]\d{0,5})(min|h|d)")
_ROLE_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
_UNITS = {"min": "minutes", "h": "hours", "d": "days"}
_EXAMPLE = "an ISO 8601 time in UTC, such as 2026-01-31T00:00Z"


@dataclass(frozen=True)
class Moment:
    """A moment, as it was given."""

    text: str
    time: datetime
    is_date: bool


class MomentType(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """A moment, or a date, which means its beginning in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        """Return the moment that a text names."""
        if isinstance(value, Moment):
            return value
        is_date = _DATE.fullmatch(value) is not None
        return Moment(value, self.time_of(f"{value}T00:00Z" if is_date else value, value, param, ctx), is_date)

    def time_of(self, text: str, given: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time that a text names, or fail."""
        try:
            return parse(text)
        except (ValueError, OverflowError):
            self.fail(f"it must be {self.allowed}, got {given!r}", param, ctx)

    @property
    def allowed(self) -> str:
        """What may be given."""
        return f"{_EXAMPLE}, or a date"


class ScanType(MomentType):
    """The scan_timestamp of a scan, or a word for one."""

    name = "scan"

    def __init__(self, *words: str) -> None:
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the time of a scan, or the word."""
        if isinstance(value, datetime) or value in self._words:
            return value
        return self.time_of(value, value, param, ctx)

    @property
    def allowed(self) -> str:
        """What may be given."""
        return f"a scan_timestamp, such as 2026-01-31T10:00:00Z, or {' or '.join(self._words)}"


class DurationType(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """A duration, or the word that leaves it to the command."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | str:
        """Return the duration that a text names, or the word."""
        if isinstance(value, timedelta) or value == AUTO:
            return value  # type: ignore[no-any-return]
        match = _DURATION.fullmatch(value)
        if match is None:
            self.fail(f"it must be a duration, such as 90min, 2h or 1d, or {AUTO}, got {value!r}", param, ctx)
        return _duration_of(match)


class SinceType(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """A moment, the scan_timestamp of a scan, or how long ago."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Moment | timedelta:
        """Return the moment, or the duration, that a text names."""
        if isinstance(value, Moment | timedelta):
            return value
        match = _DURATION.fullmatch(value)
        if match is not None:
            return _duration_of(match)
        is_date = _DATE.fullmatch(value) is not None
        try:
            return Moment(value, parse(f"{value}T00:00Z" if is_date else value), is_date)
        except (ValueError, OverflowError):
            self.fail(
                f"it must be {_EXAMPLE}, a date, or a duration, such as 90min, 2h or 1d, got {value!r}", param, ctx
            )


class AccountType(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """The number of an account, or a word for several."""

    name = "account"

    def __init__(self, *words: str) -> None:
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the account, or the word."""
        if value not in self._words and not _ACCOUNT.fullmatch(value):
            allowed = ", or ".join(["the 12 digits of an account, such as 222222222222", *self._words])
            self.fail(f"it must be {allowed}, got {value!r}", param, ctx)
        return str(value)


class RoleNameType(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """The name of a role, without a path."""

    name = "role"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        if not _ROLE_NAME.fullmatch(value):
            self.fail(f"it must be 1 to 64 letters, digits and _+=,.@-, without a path, got {value!r}", param, ctx)
        return str(value)


class ControlsType(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """Names of controls, separated by commas."""

    name = "control"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Control, ...]:
        """Return the controls that a text names."""
        if not isinstance(value, str):
            return tuple(value)
        for name in value.split(","):
            if name not in BY_NAME:
                self.fail(f"there is no control {name!r}; there are {', '.join(BY_NAME)}", param, ctx)
        return tuple(BY_NAME[name] for name in value.split(","))


def _duration_of(match: re.Match[str]) -> timedelta:
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


ACCOUNT = AccountType()
ACCOUNT_OR_ALL = AccountType(ALL)
MOMENT = MomentType()
SINCE = SinceType()
DURATION = DurationType()
CONTROLS = ControlsType()
ROLE_NAME = RoleNameType()
SCAN = ScanType(LATEST)
SCAN_OR_PREVIOUS = ScanType(LATEST, PREVIOUS)
