"""What one test learns of handlers and states spares the next of its file a quarter of its time."""

from collections.abc import Iterator

import pytest

from tests.simulator import explore


@pytest.fixture(scope="module", autouse=True)
def learning() -> Iterator[None]:
    """Keep nothing that was learnt beyond its file."""
    yield
    explore.forget()
