"""How a command ends: its exit status, and the error that is one line."""

from enum import IntEnum

import click


class ExitStatus(IntEnum):
    """The exit statuses, as functions/cli/README.md lists them."""

    OK = 0
    FAILED = 1
    """The scan that was followed failed, timed out or was stopped."""
    BAD_INPUT = 2
    """An option or argument is wrong, or names what does not exist or may not be trusted. Nothing was printed."""
    FINDING = 3
    """There is a finding, and --fail-on-finding was given: the status that tools of this kind have for it."""
    SKIPPED = 4
    """The scan that was started found another one at work, and did nothing."""
    NO_ANSWER = 5
    """AWS cannot be reached, or refuses: credentials, permissions, a missing table, throttling, an event."""
    INCOMPLETE = 6
    """The answer lacks what the index of the table did not yield yet, or, with --fail-on-finding, what a section that
    the scan lacks would tell; or what was announced cannot all be told again; or, of all accounts, one cannot answer.
    The output says what."""
    INTERRUPTED = 130


class CommandError(click.ClickException):
    """What was asked for cannot be done.

    The message is one line for the operator: it names the value that is wrong, and what is allowed instead.
    """

    def __init__(self, message: str, status: ExitStatus = ExitStatus.BAD_INPUT) -> None:
        super().__init__(message)
        self.status = status
