"""Pages are fetched one ahead of whoever works on them, and come out as they went in."""

import threading
import time
from collections.abc import Iterator

import pytest

from functions.publish_changes import handler
from functions.shared import clients, timestamps
from functions.shared.ahead import ahead
from tests.support.engine import Context
from tests.support.publishing import World, everybody
from tests.support.recorded import ACCOUNT, TABLE

WAIT = 5


class Pages:
    """Pages that are noted when they are asked for."""

    def __init__(self, many: int) -> None:
        self._many = many
        self.asked = 0
        self.second = threading.Event()

    def __iter__(self) -> Iterator[int]:
        for number in range(self._many):
            self.asked += 1
            if self.asked == 2:
                self.second.set()
            yield number


@pytest.mark.parametrize("many", [0, 1, 2, 7])
def test_the_pages_are_the_same_in_the_same_order(many: int) -> None:
    assert list(ahead(Pages(many))) == list(range(many))


def test_one_page_more_is_asked_for_and_no_other() -> None:
    pages = Pages(7)
    listing = ahead(pages)
    assert next(listing) == 0
    assert pages.second.wait(WAIT), "while the first one is worked on"
    time.sleep(0.05)
    assert pages.asked == 2
    assert list(listing) == [1, 2, 3, 4, 5, 6]


def test_what_fetching_raises_comes_where_the_page_would_have_come() -> None:
    def failing() -> Iterator[int]:
        yield 0
        raise KeyError("the second one")

    listing = ahead(failing())
    assert next(listing) == 0
    with pytest.raises(KeyError, match="the second one"):
        next(listing)


def test_nothing_goes_on_when_the_work_has_stopped() -> None:
    listing = ahead(Pages(7))
    next(listing)
    listing.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_publish_changes_reads_the_index_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.scan(everybody())
    asking = []
    query = world.table.query

    def noted(**request: object) -> object:
        if "IndexName" in request:
            asking.append(threading.current_thread().name)
        return query(**request)

    monkeypatch.setattr(world.table, "query", noted)
    monkeypatch.setattr(clients, "dynamodb", lambda: world.table)
    monkeypatch.setattr(clients, "events", lambda: world.bus)
    settings = {
        "DYNAMODB_TABLE_NAME": TABLE,
        "EVENT_BUS_NAME": "default",
        "MASS_DELETION_GUARD_PERCENT": "20",
        "ANNOUNCE_ACTIVITY": "false",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    run = {
        "execution_arn": f"arn:aws:states:us-east-1:{ACCOUNT}:execution:iam-user-monitor:run",
        "started_at": timestamps.to_seconds(world.now),
        "redrive_count": 0,
    }
    assert handler.handler({"run": run}, Context())["status"] == "ANNOUNCED"  # type: ignore[arg-type]
    assert asking
    assert all(name.startswith("ahead") for name in asking)
