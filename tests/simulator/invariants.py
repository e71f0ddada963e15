"""What must hold in every interleaving, each a function of the world that raises Violation.

``watch`` invariants hear of every write (and see the table), ``metrics`` ones of every metrics line, ``rest`` ones are
asked when every event is delivered and nothing runs any more; :func:`aftermath` is what must be possible then, readers
included.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from functions.table import queries
from functions.table.history import UnknownUser
from tests.simulator import world as worlds
from tests.simulator.machine import TABLE
from tests.simulator.world import EPOCH, LEASE_SECONDS, Execution, Violation, World, plain
from tests.support.table import Key

# Two clocks of AWS differ by less than this.
TOLERANCE = 1.0
# A run that was stopped in its finally path comes to that path's end first, which says FAILED once more.
REDRIVES = 2
ANSWER = (
    "status", "users_scanned", "records_written", "errors", "ttl", "attempt", "execution_arn", "started_at",
    "finished_at", "duration_ms", "error_type", "error_message", "listed_from", "listed_until",
)  # fmt: skip


@dataclass(frozen=True)
class Write:
    """One write of a manifest or the lock, in plain values; ``attempt`` is the writer's, as Step Functions knows it."""

    world: World
    key: Key
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    by: Execution
    attempt: int


WATCH: list[Callable[[Write], None]] = []
REST: list[Callable[[World], None]] = []


def watch(invariant: Callable[[Write], None]) -> Callable[[Write], None]:
    """Ask the invariant at every write."""
    WATCH.append(invariant)
    return invariant


def rest(invariant: Callable[[World], None]) -> Callable[[World], None]:
    """Ask the invariant when nothing is left to happen."""
    REST.append(invariant)
    return invariant


def observe(world: World) -> None:
    """Let the invariants hear of every write to the world's table."""
    known: dict[Key, dict[str, Any] | None] = {}

    def changed(key: Key, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        writer = world.writer
        assert writer is not None
        if not key[0].startswith("__"):
            if key[1] in world.complete:
                a_record_of_a_complete_scan_keeps_its_ttl(world, key, new)
            return
        if key[1].startswith("posture#"):
            kept_posture_never_changes(key, old, new)
            return
        if key[1].startswith(("changes", "baseline#")):
            return  # publication's own
        was, now = known.get(key), (plain(new) if new is not None else None)
        known[key] = now
        write = Write(world, key, was, now, writer.execution, writer.attempt)
        for invariant in WATCH:
            invariant(write)

    world.table.changed.append(changed)


worlds.OBSERVERS.append(observe)


def require(holds: object, invariant: str, message: str) -> None:
    """Raise Violation unless it holds."""
    if not holds:
        raise Violation(invariant, message)


def kept_posture_never_changes(key: Key, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
    """Let a WriteBatch read what its own ReadPosture has kept, however late another one comes."""
    same = old is None or (new is not None and old["data"] == new["data"])
    require(same, "kept posture never changes", f"{key[1]} became another")


@watch
def a_complete_scan_never_changes(write: Write) -> None:
    """Keep what a COMPLETE manifest answers (a)."""
    if write.key[0] == "__scan__" and write.old is not None and write.old["status"] == "COMPLETE":
        now = write.new or {}
        changed = {
            name: (write.old.get(name), now.get(name)) for name in ANSWER if write.old.get(name) != now.get(name)
        }
        require(not changed, "a complete scan never changes", f"{write.by.name}({write.attempt}) changed {changed}")


@watch
def a_complete_scan_has_every_user(write: Write) -> None:
    """Have a record of whoever was a user all the while when a scan becomes COMPLETE, and tell of no error (a)."""
    now = write.new
    if write.key[0] == "__scan__" and now is not None and now["status"] == "COMPLETE":
        name = "a complete scan has every user"
        require(now["errors"] == 0 and now["users_scanned"] == now["records_written"], name, f"totals differ: {now}")
        require(now.get("error_type") is None, name, f"COMPLETE with {now.get('error_type')}")
        require_records(write.world, write.by, now)
        write.world.complete[now["scan_timestamp"].removeprefix("scan#")] = now["ttl"]


def require_records(world: World, execution: Execution, manifest: dict[str, Any]) -> None:
    """Raise unless every listed user has its record, and every record the scan's ttl.

    Listed is who was a user since before the scan's first page, or was on a page that the scan took into account.
    """
    timestamp = manifest["scan_timestamp"].removeprefix("scan#")
    since = world.iam.first_listed.get(execution.arn, 0)
    for user, known in world.iam.users.items():
        if known.named < since or user in execution.listed:
            require((user, timestamp) in world.table.items, "a complete scan has every user", f"{user} has no record")
    for (user, of), item in world.table.items.items():
        if of == timestamp:
            require(int(item["ttl"]["N"]) == manifest["ttl"], "records live as long as their scan", f"{user}: {item}")


def a_record_of_a_complete_scan_keeps_its_ttl(world: World, key: Key, new: dict[str, Any] | None) -> None:
    """Keep the life of a COMPLETE scan's records as it is, however late a WriteBatch comes (a)."""
    ttl, due = (new or {}).get("ttl"), world.complete[key[1]]
    require(ttl == {"N": str(due)}, "records live as long as their scan", f"{key[0]}: {ttl}, not {due}")


@watch
def a_lock_is_its_owners(write: Write) -> None:
    """Neither take nor free the live lock of another execution, nor free that of a newer attempt (b)."""
    if write.key[0] != "__execution_lock__":
        return
    name, notes = "a lock is its owner's", write.world.notes
    owner = write.old["owner"] if write.old is not None else None
    if write.new is None:
        require(owner == write.by.arn, name, f"{write.by.name} freed the lock of {owner}")
        holds = (write.old or {}).get("attempt", notes.get("lock attempt", 0))
        require(holds <= write.attempt, name, f"{write.by.name}({write.attempt}) freed the lock of attempt {holds}")
    else:
        live = write.old is not None and write.old["expires_at"] >= write.world.clock + TOLERANCE
        owned = live and write.world.execution(str(owner)).status == "RUNNING"
        require(not owned or write.new["owner"] == owner, name, f"{write.by.name} took the live lock of {owner}")
        notes["lock attempt"] = write.attempt


@watch
def an_ended_attempt_stays_ended(write: Write) -> None:
    """Only a later attempt has an ended scan RUNNING again, and none ends what a later one began (d)."""
    if write.key[0] != "__scan__" or write.new is None or write.old is None or write.old["status"] == "COMPLETE":
        return
    was, now, writer = write.old["attempt"], write.new["attempt"], f"{write.by.name}({write.attempt})"
    restarted = write.new["status"] == "RUNNING" and write.old["status"] != "RUNNING"
    require(not restarted or now > was, "an ended attempt stays ended", f"{writer} has it RUNNING, {was} had ended")
    ended = write.new["status"] != "RUNNING" and write.old["status"] == "RUNNING"
    require(not ended or write.attempt >= was, "a live attempt is ended by itself", f"{writer} ended attempt {was}")
    require(now >= was, "attempts go up only", f"{writer} made attempt {was} attempt {now}")


@watch
def a_scan_never_goes_back(write: Write) -> None:
    """Undo nothing by an overtaken call: the sequence of an execution's writes only grows (d)."""
    if write.key[0] == "__scan__" and write.old is not None and write.new is not None:
        was, now = write.old.get("sequence", 0), write.new.get("sequence", 0)
        require(now >= was, "a scan never goes back", f"{write.by.name}({write.attempt}): sequence {was} became {now}")


@watch
def note_skipped(write: Write) -> None:
    """Remember which attempts had nothing to do: they have no metrics."""
    if write.new is not None and write.new.get("status") == "SKIPPED":
        write.world.notes.setdefault(write.new["execution_arn"], set()).add(write.new["attempt"])


@watch
def a_late_call_does_not_pass_for_a_later_attempt(write: Write) -> None:
    """Nobody writes in the name of an attempt that began after its own (d)."""
    if (
        write.key[0] == "__scan__"
        and write.new is not None
        and (write.old or {}).get("attempt") != write.new["attempt"]
    ):
        name = "a late call does not pass for a later attempt"
        require(
            write.new["attempt"] <= write.attempt, name, f"{write.by.name}({write.attempt}) as {write.new['attempt']}"
        )


def metrics_are_truthful(world: World, arn: str, outcome: dict[str, Any]) -> None:
    """Success is said of a COMPLETE scan, and nothing else is said of the attempt that made it COMPLETE (e)."""
    execution, said = world.execution(arn), outcome["status"]
    status = world.status_of(execution)
    require(said != "COMPLETE" or status == "COMPLETE", "metrics are truthful", f"Success of a scan that is {status}")
    manifest = world.manifest(execution) or {}
    # A run that had nothing to do may still fail, and says so.
    own = status not in {"", "SKIPPED"} and "attempt" in outcome and outcome["attempt"] == manifest["attempt"]
    require(not own or status == said, "metrics are truthful", f"{said} said of a scan that is {status}")


worlds.ON_METRICS.append(metrics_are_truthful)


def over(world: World) -> list[Execution]:
    """Return the executions whose last end CleanUp has dealt with, or that needed no CleanUp."""
    return [x for x in world.executions if x.status != "RUNNING" and x.ends[-1].told]


@rest
def a_lock_does_not_outlive_its_owner(world: World) -> None:
    """Once CleanUp was told of its owner's end, a lock is gone (c)."""
    lock = world.lock()
    owners = [x.name for x in over(world) if lock is not None and lock["owner"] == x.arn]
    require(not owners, "a lock does not outlive its owner", f"{owners} ended and still has the lock")
    late = lock is not None and lock["expires_at"] > world.clock + LEASE_SECONDS + TOLERANCE
    require(not late, "a lock does not outlive its owner", f"the lease is too long: {lock}")


@rest
def no_scan_runs_without_its_execution(world: World) -> None:
    """Once CleanUp was told of a run's end, its manifest is not RUNNING (d)."""
    for x in over(world):
        require(world.status_of(x) != "RUNNING", "no scan runs without its execution", f"{x.name} is {x.status}")


@rest
def every_attempt_has_its_metrics(world: World) -> None:
    """At least once per attempt that CleanUp was told of, or that came to its end; skipped runs have none (e).

    Where the context object was stale, two attempts may have passed for one.
    """
    for x in world.executions:
        manifest = world.manifest(x)
        if manifest is not None and manifest.get("execution_arn") != x.arn:
            continue
        due = {end.attempt for end in x.ends if end.told and end.needs_metrics} - world.notes.get(x.arn, set())
        said = [outcome for arn, outcome in world.metrics if arn == x.arn]
        if world.happened["stale"]:
            missing = due and not said
        elif all("attempt" in outcome for outcome in said):
            missing = due - {outcome["attempt"] for outcome in said}
        else:
            missing = len(said) < len(due)
        require(not missing, "every attempt has its metrics", f"{x.name}: due {due}, said {said}")


@rest
def success_is_a_complete_scan(world: World) -> None:
    """Whatever the input, a run that succeeded was skipped or has a COMPLETE scan (f)."""
    for x in world.executions:
        skipped = x.run.route[-1:] == ["ScanSkipped"]
        good = x.status != "SUCCEEDED" or skipped or world.status_of(x) == "COMPLETE"
        require(good, "success is a complete scan", f"{x.name} succeeded, its scan is {world.status_of(x)!r}")


@rest
def the_finally_path_runs(world: World) -> None:
    """Whatever the input, a run that fails by itself fails in FailScan (f)."""
    for x in world.executions:
        good = x.status != "FAILED" or x.run.state == "FailScan"
        require(good, "the finally path runs", f"{x.name} failed in {x.run.state}: {x.output}")


@rest
def no_reader_makes_up_a_deletion(world: World) -> None:
    """Of a user who was there all the time, no history says that it was deleted; asked before all is well again."""
    if world.chooser is None or len(world.executions) < 2:
        return
    for name, known in world.iam.users.items():
        if known.named < EPOCH:
            with contextlib.suppress(UnknownUser):
                told = queries.history(world.table, TABLE, name, sleep=lambda seconds: None)  # type: ignore[arg-type]
                changes = [event.change for event in told.events]
                require("deleted" not in changes, "no reader makes up a deletion", f"{name}: {changes}")


def aftermath(world: World) -> None:
    """When the faults are over, the next run succeeds, and a redrive of every failed run ends well (f)."""
    world.end_faults()
    if world.events_lost:
        world.sleep(LEASE_SECONDS + 2)
    world.sleep(2)
    following = world.start()
    world.settle()
    good = following.status == "SUCCEEDED" and world.status_of(following) == "COMPLETE"
    require(good, "the next run succeeds", f"{following.status} {world.status_of(following)} {following.output}")
    for x in world.executions:
        if x.status != "SUCCEEDED" and isinstance(x.run.context["Execution"]["Input"], dict):
            for _ in range(REDRIVES):
                if x.status != "SUCCEEDED" and world.status_of(x) != "COMPLETE":
                    world.sleep(2)
                    world.redrive(x)
                    world.settle()
            good = x.status == "SUCCEEDED" or world.status_of(x) == "COMPLETE"
            require(good, "a redrive ends well", f"{x.name}: {x.status} {world.status_of(x)} {x.output}")
    for invariant in REST:
        invariant(world)
