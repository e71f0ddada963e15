"""Reads the structured log lines of the functions."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from functions.shared.step import logger


@contextmanager
def captured_logs() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Yield a function that returns the log lines written since, parsed."""
    stream = io.StringIO()
    with mock.patch.object(logger.registered_handler, "stream", stream):
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
