"""The embedded AWS itself: the emulator as a child process, what it gets wrong corrected, and faults on demand."""

ACCOUNT_ID = "000000000000"
"""The account that a client works in unless told otherwise, and that everything is deployed to."""
