"""The fence: who may change a manifest or the lock. Row by row the table of ``functions.table.fence``."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.shared.errors import LockHeld, LockLost, Superseded, Throttled
from functions.table.fence import Begun, Fence, ForeignManifest
from functions.table.lock import Holder
from functions.table.manifest import Manifest
from tests.support.engine import TABLE
from tests.support.scene import (
    EPOCH,
    LEASE,
    ME,
    OTHER,
    SPAN_LIMIT,
    STARTED,
    TIMESTAMP,
    TTL,
    Scene,
    cursor,
    outcome,
    scan,
)

NOT_COMPLETE = ["RUNNING", "INCOMPLETE", "FAILED", "ABORTED", "SKIPPED"]
ENDED = ["COMPLETE", "INCOMPLETE", "FAILED", "ABORTED"]
RESULT: dict[str, Any] = {
    "finished_at": STARTED,
    "duration_ms": 1,
    "error_type": "ExecutionAborted",
    "error_message": "stopped",
}


# Begin


def test_a_new_scan_begins_at_the_first_page(scene: Scene) -> None:
    begun = scene.begin()

    assert begun == Begun(scan(), cursor(sequence=0, marker=None, page=0, users=0, listed_from=None))
    assert scene.manifest == {
        "user_name": "__scan__",
        "scan_timestamp": f"scan#{TIMESTAMP}",
        "execution_arn": ME,
        "status": "RUNNING",
        "attempt": 1,
        "sequence": 0,
        "trigger": "schedule",
        "account_id": "123456789012",
        "started_at": STARTED,
        "attempt_started_at": STARTED,
        "span_limit_seconds": SPAN_LIMIT,
        "users_scanned": 0,
        "records_written": 0,
        "errors": 0,
        "restarts": 0,
        "listed_from": None,
        "listed_until": None,
        "marker": None,
        "checkpoint": {
            "page": 0, "users_scanned": 0, "records_written": 0, "listed_from": None, "listed_until": None,
        },
        "ttl": TTL,
    }  # fmt: skip


def test_a_new_scan_has_the_lock_for_its_lease(scene: Scene) -> None:
    scene.begin()

    assert scene.lock == {
        "user_name": "__execution_lock__",
        "scan_timestamp": "lock",
        "owner": ME,
        "attempt": 1,
        "acquired_at": EPOCH,
        "expires_at": EPOCH + LEASE,
        "ttl": EPOCH + LEASE + 86_400,
    }


def test_a_redriven_run_whose_scan_never_began_begins_it(scene: Scene) -> None:
    begun = scene.begin(2)

    assert begun.scan["attempt"] == 2
    assert scene.stands == ("RUNNING", 2, 0)


@pytest.mark.parametrize("status", NOT_COMPLETE)
def test_a_newer_attempt_begins_whatever_became_of_the_one_before(scene: Scene, status: str) -> None:
    """RUNNING, too: its CleanUp is late, or lost."""
    scene.given(status, attempt=1, sequence=3)

    scene.begin(3)

    assert scene.stands == ("RUNNING", 3, 4), "a page that attempt 1 or 2 saves late is never the next one"


def test_a_newer_attempt_counts_from_the_checkpoint(scene: Scene) -> None:
    scene.begin()
    scene.save(1, 1, marker="m1", page=1, users=500)
    scene.save(1, 2, marker="m2", page=2, users=1000, errors=25)
    scene.finish(1, "INCOMPLETE")

    begun = scene.begin(2)

    assert begun.cursor == cursor(sequence=3, marker="m1", page=1, users=500)
    totals = {name: scene.manifest[name] for name in ("users_scanned", "records_written", "errors", "restarts")}
    assert totals == {"users_scanned": 500, "records_written": 500, "errors": 0, "restarts": 0}


def test_a_newer_attempt_forgets_how_the_one_before_ended(scene: Scene) -> None:
    scene.given("ABORTED", **RESULT, holder={"owner": OTHER})

    scene.begin(2)

    assert not scene.manifest.keys() & {*RESULT, "holder"}


def test_a_newer_attempt_keeps_when_the_scan_started_and_expires(scene: Scene) -> None:
    scene.begin()
    scene.finish(1, "FAILED")
    redriven = scene.clock.wait(3600)

    begun = scene.begin(2, retention_days=30)

    assert (scene.manifest["started_at"], scene.manifest["ttl"]) == (STARTED, TTL)
    assert scene.manifest["attempt_started_at"] == redriven
    assert (begun.scan["started_at"], begun.scan["ttl"]) == (redriven, TTL)


def test_beginning_again_after_a_lost_answer_gives_the_same_scan(scene: Scene) -> None:
    first = scene.begin()
    manifest = scene.manifest
    scene.clock.wait(60)

    assert scene.begin() == first

    assert scene.manifest == manifest
    assert scene.lock["expires_at"] == EPOCH + 60 + LEASE, "the lock is taken once more"
    assert scene.lock["acquired_at"] == EPOCH


def test_beginning_again_takes_up_the_pages_that_are_saved(scene: Scene) -> None:
    scene.begin()
    scene.save(1, 1, marker="m1", page=1, users=500)

    assert scene.begin().cursor == cursor(sequence=1, marker="m1", page=1, users=500)
    assert scene.stands == ("RUNNING", 1, 1)


@pytest.mark.parametrize(
    ("status", "attempt"),
    [
        pytest.param("FAILED", 2, id="it has ended"),
        pytest.param("ABORTED", 2, id="it was stopped"),
        pytest.param("RUNNING", 3, id="a newer one runs"),
        pytest.param("FAILED", 3, id="a newer one has ended"),
    ],
)
def test_an_attempt_that_has_ended_does_not_begin_again(scene: Scene, status: str, attempt: int) -> None:
    scene.given(status, attempt=attempt)

    with scene.untouched(), pytest.raises(Superseded, match=f"late and wrote nothing: attempt {attempt} is {status}"):
        scene.begin(2)


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_a_complete_scan_is_not_begun_again(scene: Scene, attempt: int) -> None:
    scene.given("COMPLETE", attempt=2, sequence=3)

    with scene.untouched():
        known = scene.begin(attempt)

    assert isinstance(known, Manifest)
    assert known.attempt == 2


def test_the_scan_of_another_execution_is_not_begun(scene: Scene) -> None:
    scene.given("FAILED", arn=OTHER)

    with scene.untouched(), pytest.raises(ForeignManifest, match=OTHER):
        scene.begin(2)


# Begin, while another one has the lock


def test_a_new_scan_that_finds_the_lock_held_is_skipped(scene: Scene) -> None:
    held = scene.given_lock(OTHER)

    assert scene.begin() == Holder(OTHER, held["acquired_at"], held["expires_at"])

    assert scene.stands == ("SKIPPED", 1, 0)
    assert scene.manifest["holder"]["owner"] == OTHER
    assert (scene.manifest["started_at"], scene.manifest["ttl"]) == (STARTED, TTL)
    assert scene.lock == held


def test_a_skipped_run_stays_skipped_when_its_call_is_repeated(scene: Scene) -> None:
    """The first answer may have reached Step Functions: the run has ended, and nobody would free its lock."""
    scene.given_lock(OTHER)
    first = scene.begin()
    scene.fence.release(scene.run(1, OTHER))

    with scene.untouched():
        assert scene.begin() == first


def test_a_call_that_finds_the_lock_held_after_a_faster_one_had_begun_is_no_skip(scene: Scene) -> None:
    """Between its two writes the other scan ended, and a retry of this call took the lock and began."""
    scene.given_lock(OTHER)

    def other_ends_and_the_retry_begins() -> None:
        scene.fence.release(scene.run(1, OTHER))
        scene.begin()

    late = scene.overtaken(lambda: None, other_ends_and_the_retry_begins)

    assert isinstance(late.begin(), Begun)
    assert scene.stands == ("RUNNING", 1, 0)


@pytest.mark.parametrize(
    ("status", "attempt"),
    [
        pytest.param("RUNNING", 1, id="retried"),
        pytest.param("FAILED", 2, id="redriven"),
        pytest.param(None, 2, id="redriven, and had not begun"),
    ],
)
def test_a_scan_that_must_go_on_is_not_skipped(scene: Scene, status: str | None, attempt: int) -> None:
    if status is not None:
        scene.given(status, attempt=1)
    scene.given_lock(OTHER)

    with scene.untouched(), pytest.raises(LockHeld, match=f"held by {OTHER} until"):
        scene.begin(attempt)


# The lock


@pytest.mark.parametrize(
    ("owner", "attempt", "expires_in"),
    [
        pytest.param(OTHER, 9, -1, id="its lease has ended"),
        pytest.param(ME, 1, LEASE, id="it is this run's, of an attempt before"),
        pytest.param(ME, 2, LEASE, id="it is this attempt's"),
        pytest.param(ME, 3, -1, id="it is a newer attempt's, and its lease has ended"),
    ],
)
@pytest.mark.parametrize("event", ["begin", "save"])
def test_the_lock_is_taken(scene: Scene, event: str, owner: str, attempt: int, expires_in: int) -> None:
    scene.given("FAILED", attempt=1)
    scene.given_lock(owner, attempt, expires_in)

    scene.begin(2) if event == "begin" else scene.save(2, 1)

    assert (scene.lock["owner"], scene.lock["attempt"], scene.lock["expires_at"]) == (ME, 2, EPOCH + LEASE)


def test_the_last_second_of_a_lease_counts(scene: Scene) -> None:
    scene.given_lock(OTHER, expires_in=0)

    assert isinstance(scene.begin(), Holder)


@pytest.mark.parametrize("event", ["begin", "save"])
def test_a_newer_attempts_lock_is_left_alone_and_so_is_the_manifest(scene: Scene, event: str) -> None:
    scene.given("FAILED", attempt=1)
    scene.given_lock(ME, 3)

    with scene.untouched(), pytest.raises(Superseded, match="a newer one has the lock"):
        scene.begin(2) if event == "begin" else scene.save(2, 1)


def test_a_page_whose_lock_is_anothers_is_not_saved(scene: Scene) -> None:
    scene.given("RUNNING", sequence=3)
    scene.given_lock(OTHER)

    with scene.untouched(), pytest.raises(LockLost, match=f"held by {OTHER} until"):
        scene.save(1, 4)


def test_a_late_page_is_called_late_and_not_the_loss_of_a_lock(scene: Scene) -> None:
    scene.given("ABORTED", sequence=3)
    scene.given_lock(OTHER)

    with pytest.raises(Superseded):
        scene.save(1, 4)


@pytest.mark.parametrize(
    ("owner", "attempt", "released"),
    [
        pytest.param(ME, 1, True, id="of an attempt before"),
        pytest.param(ME, 2, True, id="of this attempt"),
        pytest.param(ME, 3, False, id="of a newer attempt"),
        pytest.param(OTHER, 1, False, id="of another execution"),
    ],
)
def test_a_lock_is_freed_only_by_its_owner_and_no_late_attempt(
    scene: Scene, owner: str, attempt: int, released: bool
) -> None:
    scene.given_lock(owner, attempt)

    assert scene.fence.release(scene.run(2)) is released
    assert bool(scene.lock) is not released


def test_a_free_lock_is_not_freed_again(scene: Scene) -> None:
    assert scene.fence.release(scene.run()) is False


# Save


def test_the_next_page_is_saved_and_the_lease_renewed(scene: Scene) -> None:
    scene.begin()
    scene.save(1, 1)
    now = scene.clock.wait(300)

    assert scene.save(1, 2, marker="m2", page=2, users=900, errors=10) == scan()

    assert scene.stands == ("RUNNING", 1, 2)
    totals = {name: scene.manifest[name] for name in ("users_scanned", "records_written", "errors", "listed_until")}
    assert totals == {"users_scanned": 900, "records_written": 890, "errors": 10, "listed_until": now}
    assert scene.lock["expires_at"] == EPOCH + 300 + LEASE
    assert scene.lock["acquired_at"] == EPOCH


def test_saving_a_page_again_after_a_lost_answer_changes_nothing(scene: Scene) -> None:
    scene.begin()
    first = scene.save(1, 1)

    with scene.untouched():
        assert scene.save(1, 1, users=999) == first


@pytest.mark.parametrize("status", NOT_COMPLETE)
@pytest.mark.parametrize("sequence", [3, 4])
def test_a_run_that_was_redriven_past_acquire_lock_goes_on_as_the_next_attempt(
    scene: Scene, status: str, sequence: int
) -> None:
    scene.given(status, attempt=1, sequence=sequence, **RESULT)
    redriven = scene.clock.wait(3600)

    saved = scene.save(2, 4, told=1)

    assert saved == {**scan(2), "started_at": redriven}
    assert scene.stands == ("RUNNING", 2, 4)
    assert scene.manifest["attempt_started_at"] == redriven
    assert not scene.manifest.keys() & RESULT.keys(), "how attempt 1 ended says nothing about attempt 2"
    assert (scene.lock["owner"], scene.lock["attempt"]) == (ME, 2)


def test_a_repeated_save_of_a_redriven_run_tells_when_the_attempt_began(scene: Scene) -> None:
    scene.given("ABORTED", sequence=3)
    first = scene.save(2, 4, told=1)
    scene.clock.wait(60)

    assert scene.save(2, 4, told=1) == first


@pytest.mark.parametrize(
    ("status", "attempt", "sequence"),
    [
        pytest.param("RUNNING", 3, 3, id="a newer attempt runs"),
        pytest.param("RUNNING", 3, 4, id="a newer attempt has saved a page of this number"),
        pytest.param("FAILED", 3, 3, id="a newer attempt has ended"),
        pytest.param("ABORTED", 2, 3, id="the attempt has ended"),
        pytest.param("ABORTED", 2, 4, id="the attempt has ended after this page"),
        pytest.param("COMPLETE", 2, 3, id="the scan is complete"),
        pytest.param("COMPLETE", 1, 3, id="the scan is complete since an attempt before"),
        pytest.param("RUNNING", 2, 5, id="later pages are saved"),
        pytest.param("RUNNING", 2, 2, id="the page before is not saved"),
        pytest.param("RUNNING", 1, 5, id="an attempt before had come further"),
        pytest.param("ABORTED", 1, 5, id="an attempt before had come further and was stopped"),
    ],
)
def test_a_page_out_of_turn_is_refused(scene: Scene, status: str, attempt: int, sequence: int) -> None:
    scene.given(status, attempt=attempt, sequence=sequence)

    with scene.untouched(), pytest.raises(Superseded, match=f"wrote nothing: attempt {attempt} is {status}"):
        scene.save(2, 4)


def test_a_page_of_a_scan_that_is_not_there_is_refused(scene: Scene) -> None:
    """Its manifest has expired: the call is later than any other."""
    with scene.untouched(), pytest.raises(Superseded, match="late and wrote nothing"):
        scene.save(1, 1)


@pytest.mark.parametrize(("status", "sequence"), [("RUNNING", 3), ("FAILED", 3)])
def test_a_page_does_not_go_into_the_scan_of_another_execution(scene: Scene, status: str, sequence: int) -> None:
    scene.given(status, attempt=1, sequence=sequence, arn=OTHER)

    for attempt in (1, 2):
        with scene.untouched(), pytest.raises(ForeignManifest, match=OTHER):
            scene.save(attempt, 4)


# Finish


@pytest.mark.parametrize("status", ENDED)
def test_the_running_attempt_ends(scene: Scene, status: str) -> None:
    scene.begin()
    ended_at = scene.clock.wait(90)

    manifest, recorded = scene.finish(1, status)

    assert recorded
    assert manifest.item == scene.manifest
    assert scene.stands == (status, 1, 0)
    assert manifest.outcome == outcome(status)
    assert scene.manifest["finished_at"] == ended_at


@pytest.mark.parametrize("status", NOT_COMPLETE)
def test_an_attempt_that_never_came_to_begin_ends(scene: Scene, status: str) -> None:
    scene.given(status, attempt=1, sequence=3)

    assert scene.finish(2, "FAILED")[1]

    assert scene.stands == ("FAILED", 2, 3)


def test_a_scan_that_never_began_ends(scene: Scene) -> None:
    assert scene.finish(1, "FAILED")[1]

    assert scene.stands == ("FAILED", 1, 0)
    assert (scene.manifest["started_at"], scene.manifest["ttl"]) == (STARTED, TTL)


def test_the_error_that_ended_an_attempt_is_kept(scene: Scene) -> None:
    scene.begin()

    manifest, _ = scene.finish(1, "FAILED", error=("AccessDenied", "no iam:ListUsers"))

    assert manifest.error == ("AccessDenied", "no iam:ListUsers")


def test_an_attempt_that_ends_well_keeps_no_error_of_the_one_before(scene: Scene) -> None:
    scene.given("ABORTED", **RESULT)

    manifest, _ = scene.finish(2, "COMPLETE")

    assert manifest.error is None


@pytest.mark.parametrize("stored", ENDED)
@pytest.mark.parametrize("said", ENDED)
def test_the_first_to_say_how_an_attempt_ended_is_right(scene: Scene, stored: str, said: str) -> None:
    scene.given(stored, attempt=2, sequence=3, **RESULT)

    with scene.untouched():
        manifest, recorded = scene.finish(2, said, error=("Other", "other"))

    assert not recorded
    assert manifest.item == scene.manifest


@pytest.mark.parametrize("attempt", [1, 2, 3])
@pytest.mark.parametrize("status", ENDED)
def test_a_complete_scan_stays_complete_however_an_attempt_ends(scene: Scene, attempt: int, status: str) -> None:
    scene.given("COMPLETE", attempt=2, sequence=3)

    with scene.untouched():
        manifest, recorded = scene.finish(attempt, status)

    assert not recorded
    assert manifest.attempt == 2


@pytest.mark.parametrize("status", NOT_COMPLETE)
def test_an_attempt_does_not_end_a_newer_one(scene: Scene, status: str) -> None:
    scene.given(status, attempt=3)

    with scene.untouched(), pytest.raises(Superseded, match=f"attempt 3 is {status}"):
        scene.finish(2, "ABORTED")


@pytest.mark.parametrize("attempt", [1, 2])
def test_the_scan_of_another_execution_is_not_ended(scene: Scene, attempt: int) -> None:
    scene.given("RUNNING", attempt=1, arn=OTHER)

    with scene.untouched(), pytest.raises(ForeignManifest, match=OTHER):
        scene.finish(attempt, "FAILED")


# Races: what is true when a call reads may be false when it writes


def test_an_attempt_that_ends_while_it_begins_again_takes_no_lock(scene: Scene) -> None:
    scene.begin()

    def complete() -> None:
        scene.finish(1, "FAILED")
        scene.fence.release(scene.run())

    with pytest.raises(Superseded):
        scene.overtaken(complete).begin()

    assert scene.stands == ("FAILED", 1, 0)
    assert not scene.lock


def test_a_newer_attempt_that_comes_while_one_begins_again_keeps_the_lock(scene: Scene) -> None:
    scene.begin()

    def redriven() -> None:
        scene.begin(2)
        scene.given_lock(ME, 2, expires_in=-1)

    with pytest.raises(Superseded):
        scene.overtaken(redriven).begin()

    assert scene.stands == ("RUNNING", 2, 1)
    assert scene.lock["attempt"] == 2


def test_a_scan_that_becomes_anothers_while_it_begins_again_is_left_to_it(scene: Scene) -> None:
    scene.given("RUNNING")
    late = scene.overtaken(lambda: scene.given("RUNNING", arn=OTHER))

    with pytest.raises(ForeignManifest, match=OTHER):
        late.begin()
    assert not scene.lock


@pytest.mark.parametrize("attempt", [1, 2])
def test_two_executions_that_begin_the_same_scan_at_once_do_not_both_begin(scene: Scene, attempt: int) -> None:
    """EventBridge may start two executions for one tick."""

    def other_begins_and_its_lock_is_free() -> None:
        scene.begin(1, OTHER)
        scene.fence.release(scene.run(1, OTHER))

    with pytest.raises(ForeignManifest, match=OTHER):
        scene.overtaken(other_begins_and_its_lock_is_free).begin(attempt)

    assert (scene.manifest["execution_arn"], scene.stands) == (OTHER, ("RUNNING", 1, 0))
    assert not scene.lock, "the lock is not kept"


@pytest.mark.parametrize("attempt", [2, 3])
def test_an_attempt_that_ends_while_it_begins_does_not_begin(scene: Scene, attempt: int) -> None:
    """Stopped while AcquireLock was in flight; CleanUp came first, for this attempt or a newer one."""
    scene.given("FAILED", attempt=1, sequence=3)

    with pytest.raises(Superseded, match=f"attempt {attempt} is ABORTED"):
        scene.overtaken(lambda: scene.finish(attempt, "ABORTED")).begin(2)

    assert scene.stands == ("ABORTED", attempt, 3)
    assert not scene.lock


def test_a_scan_that_is_complete_while_the_next_attempt_begins_stays_complete(scene: Scene) -> None:
    scene.given("RUNNING", sequence=3)

    known = scene.overtaken(lambda: scene.finish(1, "COMPLETE")).begin(2)

    assert isinstance(known, Manifest)
    assert scene.stands == ("COMPLETE", 1, 3)
    assert not scene.lock


def test_a_page_that_is_saved_while_the_next_attempt_begins_is_not_lost(scene: Scene) -> None:
    scene.begin()
    late = scene.overtaken(
        lambda: scene.save(1, 1, marker="m1", page=1, users=500),
        lambda: scene.save(1, 2, marker="m2", page=2, users=900),
    )

    assert late.begin(2).cursor == cursor(sequence=3, marker="m2", page=2, users=900)


def test_an_attempt_that_is_overtaken_again_and_again_gives_up(scene: Scene) -> None:
    scene.begin()
    pages: list[Callable[[], object]] = [lambda page=page: scene.save(1, page) for page in (1, 2, 3)]  # type: ignore[misc]

    with pytest.raises(Superseded, match="overtaken while it began"):
        scene.overtaken(*pages).begin(2)

    assert scene.stands == ("RUNNING", 1, 3)
    assert scene.lock["attempt"] == 1


# DynamoDB's own troubles


class Conflicting:
    """A DynamoDB client whose transactions are cancelled."""

    def __init__(self, client: Any, *codes: str) -> None:
        self._client = client
        self._codes = codes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **arguments: Any) -> None:
        answer = {
            "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
            "CancellationReasons": [{"Code": code} for code in self._codes],
        }
        raise self._client.exceptions.TransactionCanceledException(answer, "TransactWriteItems")


@pytest.mark.parametrize("event", ["begin", "save"])
@pytest.mark.parametrize(
    "codes",
    [
        ("None", "TransactionConflict"),
        ("TransactionConflict", "None"),
        ("ConditionalCheckFailed", "TransactionConflict"),
        ("ThrottlingError", "None"),
    ],
)
def test_two_transactions_at_once_are_tried_again_and_no_refusal(
    scene: Scene, event: str, codes: tuple[str, str]
) -> None:
    conflicting: Any = Conflicting(scene.dynamodb, *codes)
    troubled = Scene(conflicting, scene.clock)

    with scene.untouched(), pytest.raises(Throttled, match=r"TransactionConflict|ThrottlingError"):
        troubled.begin() if event == "begin" else troubled.save(1, 1)


@pytest.mark.parametrize("event", ["begin", "save"])
def test_a_transaction_that_dynamodb_does_not_take_is_not_called_throttled(scene: Scene, event: str) -> None:
    troubled = Scene(Conflicting(scene.dynamodb, "ValidationError", "None"), scene.clock)  # type: ignore[arg-type]

    with scene.untouched(), pytest.raises(ClientError, match="TransactionCanceledException"):
        troubled.begin() if event == "begin" else troubled.save(1, 1)


# Reported


def test_every_attempt_whose_metrics_were_emitted_is_noted(scene: Scene) -> None:
    scene.given("FAILED")

    for attempt in (1, 2, 2):
        scene.fence.mark_reported(scene.run(attempt))

    manifest = scene.fence.load(scene.run())
    assert manifest is not None
    assert manifest.reported == {1, 2}


def test_the_note_outlives_the_next_attempt(scene: Scene) -> None:
    scene.given("FAILED")
    scene.fence.mark_reported(scene.run(1))

    scene.begin(2)

    assert scene.manifest["reported"] == {1}


@pytest.mark.parametrize("stored", [None, OTHER])
def test_nothing_is_noted_where_there_is_no_manifest_of_this_execution(scene: Scene, stored: str | None) -> None:
    if stored is not None:
        scene.given("FAILED", arn=stored)

    with scene.untouched(), pytest.raises(scene.dynamodb.exceptions.ConditionalCheckFailedException):
        scene.fence.mark_reported(scene.run())


def test_a_scan_that_is_not_there_is_none(scene: Scene) -> None:
    assert Fence(scene.dynamodb, TABLE).load(scene.run()) is None
