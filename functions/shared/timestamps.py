"""Times as the workflow writes them: ISO 8601 in UTC with a ``Z``, and epoch seconds for DynamoDB's TTL."""

from datetime import UTC, datetime
from functools import lru_cache

SECONDS_PER_DAY = 86_400


# The times of one user are read by every control that judges it, and those of a report are the same for all.
@lru_cache(maxsize=1024)
def parse(text: str) -> datetime:
    """Return the instant that an ISO 8601 text with an offset or ``Z`` names.

    Raises
    ------
    ValueError
        The text is not ISO 8601, or names no offset.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no UTC offset; expected ISO 8601 such as 2026-01-31T10:00:00Z")
    return instant.astimezone(UTC)


def to_seconds(instant: datetime) -> str:
    """Return the instant cut to the second, ``2026-01-31T10:00:00Z``."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_milliseconds(instant: datetime) -> str:
    """Return the instant cut to the millisecond, ``2026-01-31T10:00:00.123Z``."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> datetime:
    """Return the present instant in UTC."""
    return datetime.now(UTC)
