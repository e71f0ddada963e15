"""Reads what Step Functions writes into ``$.error``, for log lines, manifests and the cause of a failed run."""

import json

from functions.shared.model import ErrorInfo

# A cause may be 32 KiB of stack trace; this much of it fits a log line and a manifest.
MAX_MESSAGE_LENGTH = 1000


def describe(error: ErrorInfo) -> tuple[str, str]:
    """Return the error's name and its message.

    The cause of a failed Lambda task is a JSON text with errorMessage; that of any other failure is plain text.
    """
    name = error.get("Error") or "UnknownError"
    cause = error.get("Cause") or ""
    try:
        parsed = json.loads(cause)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict) and isinstance(parsed.get("errorMessage"), str):
        cause = parsed["errorMessage"]
    return name, cause[:MAX_MESSAGE_LENGTH]
