"""The manifests: what became of a scan, and where it can be resumed."""

from typing import Any

import pytest

from functions.shared.manifest import ForeignManifest, Manifests
from functions.shared.model import Cursor

SCAN = "2026-01-31T10:00:00Z"
STARTED = "2026-01-31T10:00:00.250Z"
ME = "arn:aws:states:us-east-1:123456789012:execution:iam-user-monitor:me"
OTHER = ME.replace(":me", ":other")


def begin(manifests: Manifests, execution_arn: str = ME) -> None:
    manifests.begin(
        scan_timestamp=SCAN,
        execution_arn=execution_arn,
        attempt=1,
        started_at=STARTED,
        attempt_started_at=STARTED,
        trigger="schedule",
        retention_days=90,
    )


def cursor(marker: str | None, page: int, users: int, errors: int = 0) -> Cursor:
    return Cursor(
        marker=marker, page=page, users_scanned=users, records_written=users - errors, errors=errors, restarts=0
    )


def item(manifests: Manifests) -> dict[str, Any]:
    manifest = manifests.load(SCAN)
    assert manifest is not None
    return manifest.item


def finish(manifests: Manifests, attempt: int = 1, status: str = "COMPLETE") -> bool:
    return manifests.finish(
        scan_timestamp=SCAN,
        execution_arn=ME,
        attempt=attempt,
        finished_by="EmitMetrics",
        retention_days=90,
        started_at=STARTED,
        result={"status": status, "users_scanned": 3, "records_written": 3, "errors": 0, "duration_ms": 10},
    )


def note_failure(manifests: Manifests) -> int | None:
    return manifests.note_failure(scan_timestamp=SCAN, execution_arn=ME, started_at=STARTED, retention_days=90)


def test_a_new_scan_is_running_and_starts_at_the_first_page(manifests: Manifests) -> None:
    begin(manifests)

    manifest = manifests.load(SCAN)
    assert manifest is not None
    assert manifest.item["status"] == "RUNNING"
    assert manifest.item["trigger"] == "schedule"
    assert manifest.item["started_at"] == STARTED
    assert manifest.item["ttl"] == 1_769_853_600 + 90 * 86_400
    assert manifest.attempt == 1
    assert manifest.resume_at == cursor(None, 0, 0)


def test_beginning_twice_keeps_the_progress(manifests: Manifests) -> None:
    """AcquireLock is retried when its response is lost, and runs again after a redrive."""
    begin(manifests)
    manifests.save_progress(scan_timestamp=SCAN, execution_arn=ME, cursor=cursor("m1", 1, 500))

    begin(manifests)

    assert manifests.load(SCAN).resume_at == cursor("m1", 1, 500)  # type: ignore[union-attr]


def test_the_scan_of_another_execution_is_never_touched(manifests: Manifests) -> None:
    begin(manifests, OTHER)
    before = item(manifests)

    with pytest.raises(ForeignManifest):
        begin(manifests)
    with pytest.raises(ForeignManifest):
        finish(manifests)
    with pytest.raises(ForeignManifest):
        note_failure(manifests)

    assert item(manifests) == before


def test_the_checkpoint_does_not_pass_an_incomplete_page(manifests: Manifests) -> None:
    begin(manifests)
    manifests.save_progress(scan_timestamp=SCAN, execution_arn=ME, cursor=cursor("m1", 1, 500))

    manifests.save_progress(scan_timestamp=SCAN, execution_arn=ME, cursor=cursor("m2", 2, 1000, errors=25))
    manifests.save_progress(scan_timestamp=SCAN, execution_arn=ME, cursor=cursor("m3", 3, 1500, errors=25))

    assert manifests.load(SCAN).resume_at == cursor("m1", 1, 500)  # type: ignore[union-attr]
    assert item(manifests)["users_scanned"] == 1500
    assert item(manifests)["errors"] == 25


def test_the_checkpoint_stays_at_the_last_page(manifests: Manifests) -> None:
    """So that None means the first page, and never that there is nothing left to do."""
    begin(manifests)
    manifests.save_progress(scan_timestamp=SCAN, execution_arn=ME, cursor=cursor("m1", 1, 500))
    manifests.save_progress(scan_timestamp=SCAN, execution_arn=ME, cursor=cursor(None, 2, 700))

    assert manifests.load(SCAN).resume_at == cursor("m1", 1, 500)  # type: ignore[union-attr]
    assert item(manifests)["users_scanned"] == 700


def test_an_attempt_is_finished_once(manifests: Manifests) -> None:
    begin(manifests)

    assert finish(manifests) is True
    assert finish(manifests) is False
    assert finish(manifests, attempt=2) is True


def test_a_failure_is_noted_once_and_then_opens_the_next_attempt(manifests: Manifests) -> None:
    begin(manifests)

    assert note_failure(manifests) is None
    assert note_failure(manifests) == 2
    assert note_failure(manifests) is None, "the second attempt failed, too"
    assert note_failure(manifests) == 3


def test_a_failure_before_the_manifest_existed_is_noted(manifests: Manifests) -> None:
    assert note_failure(manifests) is None
    assert item(manifests)["status"] == "FAILED"
    assert note_failure(manifests) == 2


def test_beginning_again_forgets_the_former_result(manifests: Manifests) -> None:
    begin(manifests)
    finish(manifests, status="FAILED")

    begin(manifests)

    assert item(manifests)["status"] == "RUNNING"
    assert "duration_ms" not in item(manifests)
