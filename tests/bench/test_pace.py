"""WriteBatch keeps up with an index key that takes what AWS lets it take."""

import pytest

from tests.bench.pace import KEPT_SECONDS, SEEDS, Pace
from tests.local_aws.aws.index_limit import ON_AWS, Bucket

USERS = 5000


@pytest.mark.parametrize("kept_seconds", KEPT_SECONDS, ids=["a second is kept", "almost nothing is kept"])
def test_a_scan_takes_little_longer_than_the_index_needs(kept_seconds: float) -> None:
    paces = [Pace(kept_seconds, seed=seed) for seed in SEEDS]
    took = max(pace.scan(USERS) for pace in paces)

    assert all(pace.throttled for pace in paces), "else nothing is tried here"
    assert took <= 1.3 * USERS / ON_AWS


def test_the_waits_of_the_sdk_on_top_would_leave_the_index_idle() -> None:
    """Why a throttled BatchWriteItem is raised at once: these are the waits of botocore's standard mode."""
    assert Pace(0.1, sdk_waits=(1.0, 2.0)).scan(USERS) > 1.6 * USERS / ON_AWS


def test_a_bucket_gives_what_came_in_and_was_kept() -> None:
    now = [0.0]
    bucket = Bucket(100, 1, lambda: now[0])
    assert [bucket.take(60), bucket.take(60), bucket.take(40)] == [True, False, True]
    now[0] = 0.5
    assert [bucket.take(50), bucket.take(1)] == [True, False]
    now[0] = 100.0
    assert [bucket.take(100), bucket.take(1)] == [True, False]
