"""The one error of the local AWS."""


class LocalAwsError(Exception):
    """The local AWS cannot do what was asked.

    The message is one line for the user: it names the value that is wrong and what is allowed instead.
    """
