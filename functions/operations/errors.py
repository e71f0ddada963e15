"""The one error of the operator commands."""


class OperationError(Exception):
    """What was asked for cannot be done.

    The message is one line for the operator: it names the value that is wrong, and what is allowed instead.
    """
