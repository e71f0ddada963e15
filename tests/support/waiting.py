"""Waiting for what happens elsewhere: in another thread, process or service."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


def eventually(
    find: Callable[[], T], complaint: Callable[[], str] | str = "", *, seconds: float = 90, every: float = 0.05
) -> T:
    """Return what ``find`` finds, as soon as that is something true; fail the test if it is not in time.

    Parameters
    ----------
    complaint
        What the failure says, or what is to be asked for it then.
    seconds
        How long to wait at most.
    every
        Seconds between two tries.
    """
    found = awaited(find, seconds=seconds, every=every)
    if not found:
        said = complaint() if callable(complaint) else complaint
        pytest.fail(f"{said or 'it did not happen'} (waited for {seconds:g} s)")
    return found


def awaited(find: Callable[[], T], *, seconds: float, every: float = 0.05) -> T:
    """Return what ``find`` finds, as soon as that is something true, or whatever it finds at last."""
    deadline = time.monotonic() + seconds
    while not (found := find()) and time.monotonic() < deadline:
        time.sleep(every)
    return found


def next_second() -> None:
    """Wait for the next second: it names another scan."""
    time.sleep(1.01 - time.time() % 1)
