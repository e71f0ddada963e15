"""What runs on this machine, as far as the local AWS has to know it. One that only waits to be reaped does not run."""

import contextlib
import os
import time
from collections.abc import Iterator

import psutil

_ENDED = {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}


def is_alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        return psutil.Process(pid).status() not in _ENDED
    except psutil.NoSuchProcess:
        return False


def command_line(pid: int) -> str | None:
    """Return the command line of a process that runs, or None when there is none."""
    try:
        process = psutil.Process(pid)
        for _ in range(10):
            arguments = process.cmdline()
            if arguments or process.status() in _ENDED:
                return " ".join(arguments) or None
            # It is just being replaced by the program that it is to run.
            time.sleep(0.02)
    except psutil.NoSuchProcess:
        return None
    return ""


def naming(text: str) -> dict[int, str]:
    """Return the command lines that hold a text, by process."""
    return {pid: command for pid, command in _command_lines() if text in command}


def members(group: int) -> dict[int, str]:
    """Return the command lines of the processes of a group."""
    found = {}
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == group and is_alive(pid):
                found[pid] = command_line(pid) or ""
    return found


def _command_lines() -> Iterator[tuple[int, str]]:
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["status"] not in _ENDED:
            yield process.pid, " ".join(process.info["cmdline"] or ())
