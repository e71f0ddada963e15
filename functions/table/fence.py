"""The fence: every write that may change a manifest or the lock, and who may still make it.

A step may run late, twice, or die between two calls: Step Functions gives a task up while the function behind it works
on, an event may come twice or hours late, a run may be stopped and redriven at any moment. None of these may change
what a finished scan says, or take or free a lock that is not theirs. So every write names its attempt, as a fencing
token (M. Kleppmann, "How to do distributed locking", 2016), and is one conditional write:

======================================== ======================= ======================================================
the manifest is                          event of attempt a      and becomes
======================================== ======================= ======================================================
absent                                   begin                   RUNNING(a), sequence 0
absent                                   begin, lock held        SKIPPED(1), a success; unchanged where the input names
                                                                 the scan (LockHeld), which then must not be skipped
of an attempt n < a, not COMPLETE        begin                   RUNNING(a), sequence + 1, totals back at the checkpoint
RUNNING(a)                               begin                   unchanged (a retry); the lock is taken once more
RUNNING(a), sequence s                   save page s + 1         RUNNING(a), sequence s + 1
RUNNING(a), sequence s + 1               save page s + 1         unchanged (a retry)
of an attempt n < a, not COMPLETE        save page s + 1         RUNNING(a), sequence s + 1: redriven past AcquireLock
absent; RUNNING(a); of n < a             finish                  ended(a): COMPLETE, INCOMPLETE, FAILED or ABORTED
ended(a)                                 finish                  unchanged: the first to say how it ended is right
COMPLETE                                 anything                unchanged, whatever happens to the run afterwards
of an attempt n > a, or anything else    anything                unchanged: the caller is late (Superseded)
another execution's                      anything                unchanged (ForeignManifest)
======================================== ======================= ======================================================

An attempt n < a that is still RUNNING has ended, too: its CleanUp is late, or lost. Beginning raises the sequence, so
that a page which a former attempt saves late never looks like the next one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from functions.shared import timestamps
from functions.shared.errors import LockHeld, LockLost, Superseded, Throttled
from functions.shared.model import Cursor, FleetOutcome, Outcome, Scan, first_cursor
from functions.shared.run import Run
from functions.table import lock, manifest, wire
from functions.table.lock import Holder
from functions.table.manifest import Manifest, Status
from functions.table.wire import Item

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# The left column of the table, as conditions of DynamoDB.
_ABSENT = "attribute_not_exists(user_name)"
_MINE = "#execution_arn = :execution_arn"
_RUNS = "(#attempt = :attempt AND #status = :running)"
_EARLIER = "(#attempt < :attempt AND #status <> :complete)"

_BEGIN = f"{_ABSENT} OR ({_MINE} AND {_EARLIER} AND #sequence = :known_sequence)"
_BEGIN_AGAIN = f"{_MINE} AND {_RUNS}"
_SAVE = f"{_MINE} AND (({_RUNS} AND #sequence = :former_sequence) OR ({_EARLIER} AND #sequence <= :sequence))"
_FINISH = f"{_ABSENT} OR ({_MINE} AND ({_RUNS} OR {_EARLIER}))"

_RESULT_ATTRIBUTES = (
    "finished_at", "duration_ms", "error_type", "error_message", "holder", "failed", "accounts_scanned",
    "accounts_failed",
)  # fmt: skip
"""What says how the last attempt ended, and goes when another one begins."""

_BUSY = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"}
"""Why DynamoDB cancels a transaction without a word about its caller: two on one item at the same time, or too many
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html)."""

_TRIES_TO_BEGIN = 3
"""Another call may change the manifest between reading and writing it; who loses that race so often is late."""


class ForeignManifest(Exception):  # noqa: N818 - it is no error: one tick may start two executions
    """The manifest of this scan_timestamp belongs to another execution, one that started in the same second."""


@dataclass(frozen=True)
class Begun:
    """An attempt that may run."""

    scan: Scan
    cursor: Cursor


class _Refused(Exception):  # noqa: N818 - it is a question: why?
    """A condition was not met. Holds the items that did not meet it, empty where there was none or it was not asked."""

    def __init__(self, *, lock_item: Item | None = None, manifest_item: Item | None = None) -> None:
        super().__init__()
        self.lock_item = lock_item
        self.manifest_item = manifest_item


@dataclass(frozen=True)
class Fence:
    """The manifests and the locks of one records table."""

    dynamodb: "DynamoDBClient"
    table_name: str

    def load(self, run: Run) -> Manifest | None:
        """Return the manifest of a run's scan, read consistently, or None where there is none."""
        response = self.dynamodb.get_item(TableName=self.table_name, Key=_key(run), ConsistentRead=True)
        return Manifest(wire.from_wire(response["Item"])) if "Item" in response else None

    def begin(
        self,
        run: Run,
        *,
        retention_days: int,
        lease_seconds: int,
        span_limit_seconds: int | None = None,
        plan: Item | None = None,
    ) -> Begun | Manifest | Holder:
        """Take the lock and begin the attempt, both or neither; again for a retry.

        Parameters
        ----------
        span_limit_seconds
            The longest time that the listing of a scan may span; of a fleet, which lists nothing, None.
        plan
            What the first attempt fixes for all that come: the accounts of a fleet.

        Returns
        -------
        The attempt; or the manifest, where the scan is COMPLETE already; or the holder of the lock, where this is a new
        scan and another execution scans.

        Raises
        ------
        LockHeld
            Another execution has the lock, and this one has begun its scan already, or was redriven, or is to make the
            scan that its input names: to skip it would present a failed run as a success.
        Superseded
            This attempt has ended.
        ForeignManifest
            Another execution has this scan_timestamp.
        """
        for _ in range(_TRIES_TO_BEGIN):
            now = timestamps.now()
            known = self.load(run)
            if known is not None:
                _check_owner(known, run)
                if known.status is Status.COMPLETE:
                    return known
                if known.attempt == run.attempt and known.status is Status.SKIPPED:
                    return lock.holder_of(known.item["holder"])
                if (known.attempt, known.status) != (run.attempt, Status.RUNNING) and known.attempt >= run.attempt:
                    raise _late(run, known)
            begun = _beginning(run, known, now, retention_days)
            if known is not None and known.attempt == run.attempt:
                update = self._update(run, _BEGIN_AGAIN, assign={"attempt": run.attempt})
            else:
                update = self._update(
                    run,
                    _BEGIN,
                    assign={
                        **_progress_of(run, begun.cursor, span_limit_seconds),
                        "status": Status.RUNNING,
                        "attempt": run.attempt,
                        "sequence": begun.cursor["sequence"],
                        "attempt_started_at": begun.scan["started_at"],
                        "trigger": run.request.trigger,
                    },
                    assign_if_absent={**_birth_of(run, begun.scan["ttl"]), **(plan or {})},
                    remove=_RESULT_ATTRIBUTES,
                    known_sequence=known.sequence if known is not None else 0,
                )
            since = timestamps.parse(begun.scan["started_at"])
            try:
                self._transact(lock.put(run, now=now, lease_seconds=lease_seconds, since=since), update)
                return begun
            except _Refused as refused:
                if refused.manifest_item is not None:
                    continue
                holder = _other_holder(run, refused)
            if known is not None or run.attempt > 1 or run.request.scan_timestamp is not None:
                raise LockHeld(f"scan {run.scan_timestamp} cannot go on: the execution lock is held by {holder}")
            if self._skip(run, holder, retention_days):
                return holder
        raise Superseded(f"attempt {run.attempt} of scan {run.scan_timestamp} was overtaken while it began")

    def _skip(self, run: Run, holder: Holder, retention_days: int) -> bool:
        """Note that the run has nothing to do, so that a late call of it does not begin the scan after all.

        Returns
        -------
        False where another call of this run has begun the scan meanwhile.
        """
        update = self._update(
            run,
            _ABSENT,
            assign={
                **_birth_of(run, manifest.expiry(run.started_at, retention_days)),
                "status": Status.SKIPPED,
                "attempt": run.attempt,
                "sequence": 0,
                "trigger": run.request.trigger,
                "holder": asdict(holder),
            },
        )
        try:
            self.dynamodb.update_item(TableName=self.table_name, **update)
        except self.dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def save(self, run: Run, scan: Scan, cursor: Cursor, *, lease_seconds: int, renewed_at: datetime) -> Scan:
        """Renew the lock and record the totals after a page, both or neither.

        Parameters
        ----------
        cursor
            The cursor after the page; its ``sequence`` is that of this page.
        renewed_at
            Since when, at least, the lock is renewed: it tells a lease that ended from a lock that was deleted.

        Returns
        -------
        The scan: of the next attempt, where the run was redriven past AcquireLock.

        Raises
        ------
        LockLost
            Another live execution has the lock.
        Superseded, ForeignManifest
            As for ``begin``.
        """
        now = timestamps.now()
        started_at = timestamps.parse(scan["started_at"]) if scan["attempt"] == run.attempt else now
        update = self._update(
            run,
            _SAVE,
            assign={
                **manifest.progress_of(cursor),
                "status": Status.RUNNING,
                "attempt": run.attempt,
                "sequence": cursor["sequence"],
                "attempt_started_at": timestamps.to_milliseconds(started_at),
            },
            remove=_RESULT_ATTRIBUTES,
            former_sequence=cursor["sequence"] - 1,
        )
        try:
            self._transact(lock.put(run, now=now, lease_seconds=lease_seconds, since=started_at), update)
        except _Refused as refused:
            if refused.manifest_item is None:
                holder = _other_holder(run, refused)
                if scan["attempt"] < run.attempt:
                    how = "it was freed when this run was stopped"
                elif now < (ends := renewed_at + timedelta(seconds=lease_seconds)):
                    how = f"it was deleted while this scan had it, until {timestamps.to_seconds(ends)} at least"
                else:
                    how = (
                        f"this scan has not renewed it since {timestamps.to_seconds(renewed_at)}, "
                        f"and its lease of {lease_seconds} s is over"
                    )
                raise LockLost(f"the execution lock was lost: {how}. It is held by {holder}") from None
            if not refused.manifest_item:
                raise Superseded(
                    f"attempt {run.attempt} of scan {run.scan_timestamp} is late and wrote nothing: "
                    "the scan has no manifest, or none any longer"
                ) from None
            known = Manifest(refused.manifest_item)
            _check_owner(known, run)
            if (known.status, known.attempt, known.sequence) != (Status.RUNNING, run.attempt, cursor["sequence"]):
                raise _late(run, known) from None
            started_at = known.attempt_started_at
        return run.scan(started_at, scan["ttl"])

    def finish(
        self,
        run: Run,
        outcome: Outcome | FleetOutcome,
        *,
        ended_at: datetime,
        error: tuple[str, str] | None,
        retention_days: int,
        posture: Item | None = None,
    ) -> tuple[Manifest, bool]:
        """Record how the attempt ended, unless it is recorded already.

        Parameters
        ----------
        error
            Name and message of the error that ended it, None where it came to its end.
        posture
            ``sections``, ``root`` and ``posture`` of the manifest; those that are None are removed. None leaves all as
            they are.

        Returns
        -------
        The manifest as it is now, and whether this call wrote it.

        Raises
        ------
        Superseded, ForeignManifest
            As for ``begin``.
        """
        result: Item = {**outcome, "attempt": run.attempt, "finished_at": timestamps.to_milliseconds(ended_at)}
        if error is not None:
            result["error_type"], result["error_message"] = error
        known_posture = posture or {}
        result |= {name: value for name, value in known_posture.items() if value is not None}
        update = self._update(
            run,
            _FINISH,
            assign=result,
            assign_if_absent={"sequence": 0, **_birth_of(run, manifest.expiry(run.started_at, retention_days))},
            remove=[name for name in (*_RESULT_ATTRIBUTES, *known_posture) if name not in result],
        )
        try:
            response = self.dynamodb.update_item(TableName=self.table_name, ReturnValues="ALL_NEW", **update)
        except self.dynamodb.exceptions.ConditionalCheckFailedException as error:
            known = Manifest(wire.from_wire(error.response["Item"]))  # type: ignore[typeddict-item]
            _check_owner(known, run)
            if known.status is not Status.COMPLETE and known.attempt != run.attempt:
                raise _late(run, known) from None
            return known, False
        return Manifest(wire.from_wire(response["Attributes"])), True

    def mark_reported(self, run: Run) -> None:
        """Note that the metrics of the attempt have been emitted, so that no retry does it again."""
        self.dynamodb.update_item(
            TableName=self.table_name,
            Key=_key(run),
            UpdateExpression="ADD #reported :attempts",
            ConditionExpression=_MINE,
            ExpressionAttributeNames={"#reported": "reported", "#execution_arn": "execution_arn"},
            ExpressionAttributeValues=wire.to_wire({":attempts": {run.attempt}, ":execution_arn": run.execution_arn}),
        )

    def release(self, run: Run) -> bool:
        """Free the lock if this attempt, or an earlier one of the execution, has it. Returns whether it had."""
        try:
            self.dynamodb.delete_item(TableName=self.table_name, **lock.delete(run))
        except self.dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _update(
        self,
        run: Run,
        condition: str,
        *,
        assign: Item,
        assign_if_absent: Item | None = None,
        remove: Sequence[str] = (),
        **operands: Any,
    ) -> dict[str, Any]:
        """Return the write that changes the manifest of a run, if the condition is met."""
        absent = assign_if_absent or {}
        assigned = {**assign, "execution_arn": run.execution_arn}
        expression = "SET " + ", ".join(
            [f"#{name} = :{name}" for name in assigned]
            + [f"#{name} = if_not_exists(#{name}, :{name})" for name in absent]
        )
        if remove:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in remove)
        operands |= {"attempt": run.attempt, "running": Status.RUNNING, "complete": Status.COMPLETE}
        used = {name: value for name, value in operands.items() if f":{name}" in condition}
        # Names like status, trigger and ttl are reserved words of DynamoDB: all go by placeholder.
        conditioned = {name for name in ("status", "attempt", "sequence") if f"#{name}" in condition}
        return {
            "Key": _key(run),
            "UpdateExpression": expression,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {f"#{name}": name for name in {*assigned, *absent, *remove, *conditioned}},
            "ExpressionAttributeValues": wire.to_wire(
                {f":{name}": value for name, value in {**used, **assigned, **absent}.items()}
            ),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def _transact(self, put_lock: dict[str, Any], update_manifest: dict[str, Any]) -> None:
        """Write lock and manifest, both or neither."""
        writes: Any = [
            {"Put": {"TableName": self.table_name, **put_lock}},
            {"Update": {"TableName": self.table_name, **update_manifest}},
        ]
        try:
            self.dynamodb.transact_write_items(TransactItems=writes)
        except self.dynamodb.exceptions.TransactionCanceledException as error:
            reasons: list[Any] = error.response["CancellationReasons"]
            codes = {reason.get("Code", "None") for reason in reasons} - {"None", "ConditionalCheckFailed"}
            if codes & _BUSY:
                raise Throttled(f"DynamoDB cancelled a transaction: {', '.join(sorted(codes))}") from error
            if codes:
                raise
            lock_item, manifest_item = (
                wire.from_wire(reason.get("Item", {})) if reason.get("Code") == "ConditionalCheckFailed" else None
                for reason in reasons
            )
            raise _Refused(lock_item=lock_item, manifest_item=manifest_item) from error


def _check_owner(known: Manifest, run: Run) -> None:
    if known.execution_arn != run.execution_arn:
        raise ForeignManifest(known.execution_arn)


def _late(run: Run, known: Manifest) -> Superseded:
    return Superseded(
        f"attempt {run.attempt} of scan {run.scan_timestamp} is late and wrote nothing: "
        f"attempt {known.attempt} is {known.status}"
    )


def _other_holder(run: Run, refused: _Refused) -> Holder:
    """Return the other execution that holds the lock."""
    holder = lock.holder_of(refused.lock_item or {})
    if holder.owner == run.execution_arn:
        raise Superseded(
            f"attempt {run.attempt} of scan {run.scan_timestamp} is late and wrote nothing: a newer one has the lock"
        )
    return holder


def _key(run: Run) -> Any:
    """Return the primary key of the manifest of a run's scan."""
    return wire.to_wire(run.keys.manifest(run.scan_timestamp))


def _birth_of(run: Run, ttl: int) -> Item:
    """Return what a manifest has from its beginning and keeps."""
    birth: Item = {"started_at": timestamps.to_milliseconds(run.started_at), "ttl": ttl, "account_id": run.account_id}
    if run.request.account_name is not None:
        birth["account_name"] = run.request.account_name
    return birth


def _progress_of(run: Run, cursor: Cursor, span_limit_seconds: int | None) -> Item:
    """Return what says how far an attempt is when it begins. A fleet has no pages: its accounts know it themselves."""
    return {} if run.fleet else {**manifest.beginning_of(cursor), "span_limit_seconds": span_limit_seconds}


def _beginning(run: Run, known: Manifest | None, now: datetime, retention_days: int) -> Begun:
    """Return what an attempt begins with: at the start, at the checkpoint, or as its first call told."""
    if known is None:
        cursor, ttl = first_cursor(), manifest.expiry(run.started_at, retention_days)
    else:
        again = known.attempt == run.attempt
        cursor, ttl = known.resume_at(now, known.sequence if again else known.sequence + 1), known.ttl
    if known is not None and known.attempt == run.attempt:
        started_at = known.attempt_started_at
    else:
        started_at = run.started_at if run.attempt == 1 else now
    return Begun(run.scan(started_at, ttl), cursor)
