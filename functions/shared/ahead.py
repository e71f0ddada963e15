"""Fetches the next page while somebody is at work on this one: the wait for an answer costs no time then."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

_END: Final = object()


def ahead(pages: Iterable[T]) -> Iterator[T]:
    """Yield the same, of which one more is being fetched, and never more than one: what is held stays small.

    Whatever fetching raises is raised where the page would have come. Who stops early waits for the one call.
    """
    rest = iter(pages)
    # A thread of its own for every listing: what an invocation leaves behind would be frozen, and thaw in the next.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as fetching:
        fetched = fetching.submit(next, rest, _END)
        while (page := fetched.result()) is not _END:
            fetched = fetching.submit(next, rest, _END)
            yield page  # type: ignore[misc]
