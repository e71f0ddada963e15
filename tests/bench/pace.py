"""How fast WriteBatch writes when the index sets the pace: its own loop, in virtual time.

On a local AWS the emulator is slower than the limit of an index, and says nothing about who waits too long. Here
nothing takes time but what is told to: a call its latency, a page what lies between two of them.
"""

from __future__ import annotations

import heapq
import itertools
import random
from typing import Any

from botocore.exceptions import ClientError
from greenlet import getcurrent, greenlet

from functions.shared.step import logger
from functions.write_batch import handler
from tests.local_aws.aws.index_limit import ON_AWS, Bucket

PAGE_SIZE, BATCH_SIZE = 500, 100
KEPT_SECONDS = (1.0, 0.1)
"""DynamoDB promises none of what an index key keeps of what it was not asked for: a second of it, or almost nothing."""
SEEDS = range(4)
LATENCY_SECONDS = 0.02
BETWEEN_PAGES_SECONDS = 0.1


def measure(users: int) -> dict[str, float]:
    """Return the most seconds that writing so many users takes at AWS's limit, by the seconds that a key keeps."""
    level = logger.log_level
    logger.setLevel("ERROR")  # not a line for each of hundreds of waits
    try:
        return {str(kept): max(Pace(kept, seed=seed).scan(users) for seed in SEEDS) for kept in KEPT_SECONDS}
    finally:
        logger.setLevel(level)


class Pace:
    """Runs coroutines in virtual time, in front of an index that throttles.

    Parameters
    ----------
    kept_seconds
        For how long the index keeps what it was not asked for.
    sdk_waits
        How long the SDK waits before it tries a throttled call again, in seconds at the most; none where it does not.
    """

    def __init__(self, kept_seconds: float, sdk_waits: tuple[float, ...] = (), seed: int = 0) -> None:
        self.now = 0.0
        self.throttled = 0
        self._bucket = Bucket(ON_AWS, kept_seconds, lambda: self.now)
        self._sdk_waits = sdk_waits
        self._random = random.Random(seed)
        self._waiting: list[tuple[float, int, greenlet]] = []
        self._numbers = itertools.count()
        self._hub = greenlet(self._run)

    def scan(self, users: int) -> float:
        """List and write so many users, page by page, and return how many seconds that took."""

        def work() -> None:
            for _ in range(0, users, PAGE_SIZE):
                self.sleep(BETWEEN_PAGES_SECONDS)
                left = [greenlet(self._write, parent=self._hub) for _ in range(0, PAGE_SIZE, BATCH_SIZE)]
                for writer in left:
                    self._later(0, writer)
                while not all(writer.dead for writer in left):
                    self.sleep(0.005)

        self._later(0, greenlet(work, parent=self._hub))
        self._hub.switch()
        return self.now

    def batch_write_item(self, *, RequestItems: dict[str, list[Any]]) -> dict[str, Any]:  # noqa: N803 - as in the API
        """Answer as DynamoDB does, through an SDK."""
        ((table, requests),) = RequestItems.items()
        for wait in (*self._sdk_waits, None):
            self.sleep(LATENCY_SECONDS)
            rest = [request for request in requests if not self._bucket.take(1)]
            self.throttled += len(rest)
            if len(rest) < len(requests):
                return {"UnprocessedItems": {table: rest} if rest else {}}
            if wait is not None:
                self.sleep(self._random.uniform(0, wait))
        raise ClientError(
            {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": ""}}, "BatchWriteItem"
        )

    def sleep(self, seconds: float) -> None:
        """Let the others go on for so long."""
        self._later(seconds, getcurrent())
        self._hub.switch()

    def _write(self) -> None:
        records = [{"user_name": str(number)} for number in range(BATCH_SIZE)]
        client: Any = self
        result = handler.write_records(
            records,
            dynamodb=client,
            table_name="records",
            seconds=295,
            clock=lambda: self.now,
            sleep=self.sleep,
            jitter=self._random.uniform,
        )
        assert result["written"] == BATCH_SIZE, "no record is given up"

    def _later(self, seconds: float, which: greenlet) -> None:
        heapq.heappush(self._waiting, (self.now + seconds, next(self._numbers), which))

    def _run(self) -> None:
        while self._waiting:
            self.now, _, which = heapq.heappop(self._waiting)
            which.switch()
