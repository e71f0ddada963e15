"""What must hold of what is told of changes, in every interleaving, each a named function as in ``invariants``.

Every event is heard when the bus takes it; what came again is not heard again. What it tells is judged by
``tests.support.judge``, which knows nothing of how changes are detected, and by the account itself.
"""

from datetime import datetime
from typing import Any

from tests.simulator import world as worlds
from tests.simulator.expressions import Item
from tests.simulator.invariants import require, rest
from tests.simulator.world import LEASE_SECONDS, Invocation, Violation, World, plain
from tests.support.judge import Judge
from tests.support.table import Key

CURSOR = ("__scan__", "changes")
RUNS = 2
"""What is missing from a scan without details, and is one of too many, is told when two more scans agree."""
NEWS = 900
"""Who was created so many seconds before the first scan, which lacks the user, is news."""
_FACTS = ("user_name", "arn")
"""What may change of a simulated user."""


class Hearing:
    """Hears the events of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.judge: Judge | None = None
        """None before the baseline is told."""
        self.by_id: dict[str, dict[str, Any]] = {}
        self.ids: dict[tuple[str, ...], str] = {}
        """The id of every change that was told."""

    def __call__(self, detail: dict[str, Any]) -> None:
        """Hear one event."""
        known = self.by_id.setdefault(detail["id"], detail)
        an_id_has_one_content(known, detail)
        if known is not detail:
            return
        identity = tuple(str(detail[name]) for name in ("change", "user_id", "attributes", "after"))
        if detail["change"] in {"scan_completed", "mass_deletion_suspected"}:
            identity = (detail["change"], detail["scan_timestamp"])
        a_change_has_one_id(self.ids.setdefault(identity, detail["id"]), detail)
        if self.judge is None:
            self.judge = Judge(_baseline(self.world, detail))
        else:
            no_change_is_told_that_did_not_happen(self.world, self.judge, detail)


def _baseline(world: World, detail: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the first scan that is announced has recorded, by user_id; nothing of a user whom it has lost.

    Such a user is no news when a later scan has it, unless it was created shortly before.
    """
    require(detail.get("baseline"), "no change is told that did not happen", f"told before any baseline: {detail}")
    manifest = plain(world.table.items["__scan__", f"scan#{detail['scan_timestamp']}"])
    since = str(manifest["listed_from"])
    began = datetime.fromisoformat(since).timestamp()
    records = [plain(item) for key, item in world.table.items.items() if key[1] == detail["scan_timestamp"]]
    records = [record for record in records if str(record["listed_at"]) >= since]
    records.sort(key=lambda record: str(record["listed_at"]))
    lost: dict[str, dict[str, Any]] = {
        user.user_id: {} for user in world.iam.users.values() if user.created < began - NEWS
    }
    return lost | {record["user_id"]: {name: record[name] for name in _FACTS} for record in records}


def an_id_has_one_content(first: dict[str, Any], detail: dict[str, Any]) -> None:
    """Whatever comes again under an id says the same."""
    different = {name: (first.get(name), detail.get(name)) for name in {*first, *detail}
                 if first.get(name) != detail.get(name)}  # fmt: skip
    require(not different, "an id has one content", f"{detail['id']}: {different}")


def a_change_has_one_id(first: str, detail: dict[str, Any]) -> None:
    """Nothing is told again under another id, not even that a scan is complete."""
    require(first == detail["id"], "a change has one id", f"{first} and {detail['id']}: {detail['summary']}")


def no_change_is_told_that_did_not_happen(world: World, judge: Judge, detail: dict[str, Any]) -> None:
    """Tell only what fits what was told before, and was so at some time."""
    name = "no change is told that did not happen"
    try:
        judge.hear(detail, {user.user_id for user in world.iam.users.values()})
    except (AssertionError, KeyError) as error:
        raise Violation(name, f"{error}; told: {detail['summary']}") from error
    for facts, user_id in ((detail["before"], (detail["before"] or {}).get("user_id", detail["user_id"])),
                           (detail["after"], detail["user_id"])):  # fmt: skip
        if facts is not None:
            was = [{"user_name": user.name, "arn": user.arn} for user in world.iam.history.get(user_id, ())]
            told = {fact: facts[fact] for fact in _FACTS if fact in facts}
            require(any(told.items() <= one.items() for one in was), name, f"{user_id} was never {told}, but {was}")


def publishing_changes_nothing_else(invocation: Invocation, key: Key, *, of_publication: bool) -> None:
    """However late, PublishChanges changes no manifest, no lock and no record; and no other step what is its own."""
    good = of_publication == (invocation.step == "PublishChanges")
    require(good, "publishing changes nothing else", f"{invocation.label} has written {key}")


def the_cursor_never_goes_back(old: Item, new: Item) -> None:
    """Move to a scan that began to list when the one before had ended to."""
    if old.get("scan") != new.get("scan"):
        was, now = old.get("listed_until", ""), new.get("listed_until", "")
        require(was < now, "the cursor never goes back", f"from {old.get('scan')} ({was}) to {new.get('scan')} ({now})")


def the_cursor_goes_where_it_was_planned_to(old: Item, new: Item) -> None:
    """Neither exchange nor pass over what is being announced: its events may be on their way."""
    planned = old.get("next", {}).get("scan")
    moved_to = new.get("scan") if old.get("scan") != new.get("scan") else new.get("next", {}).get("scan")
    name = "the cursor goes where it was planned to"
    require(planned in {None, moved_to}, name, f"{planned} was planned, not {moved_to}")


@rest
def a_failed_publication_fails_nothing_else(world: World) -> None:
    """Leave the scan COMPLETE, and let the run succeed, unless its lock cannot be released."""
    for x in world.executions:
        data = x.run.data if isinstance(x.run.data, dict) else {}
        if "publish_changes_error" in data and x.status in {"SUCCEEDED", "FAILED"}:
            good = x.status == "SUCCEEDED" or "release_lock_error" in data
            status = world.status_of(x)
            name = "a failed publication fails nothing else"
            require(good and status == "COMPLETE", name, f"{x.name} {x.status}, its scan {status!r}: {x.output}")


def every_change_is_told(world: World) -> str:
    """Return what the judge does not know of the account, or knows otherwise, when all has gone well; else nothing."""
    (hearing,) = [listener for listener in world.listeners if isinstance(listener, Hearing)]
    heard = {} if hearing.judge is None else hearing.judge.users
    now = {user.user_id: {"user_name": user.name, "arn": user.arn} for user in world.iam.users.values()}
    missing = {
        user_id: (heard.get(user_id), facts)
        for user_id, facts in now.items()
        if user_id not in heard or any(facts[name] != known for name, known in heard[user_id].items() if name in facts)
    }
    gone = {user_id for user_id, known in heard.items() if known and user_id not in now}
    return f"{missing}; gone: {gone}" if missing or gone else ""


def everything_is_announced(world: World) -> str:
    """Return where the cursor is, if not at the last scan, and with nothing left to announce; else nothing."""
    cursor = plain(world.table.items.get(CURSOR, {}))
    good = cursor.get("scan") == world.executions[-1].scan_timestamp and "next" not in cursor
    return "" if good else f"the cursor is {cursor}"


def aftermath(world: World) -> None:
    """When the faults are over, everything that has changed is told within a few runs, and nothing is left."""
    for _ in range(RUNS):
        if not every_change_is_told(world) and not everything_is_announced(world):
            return
        # A late WriteBatch may have put back what an abandoned listing saw: for ten minutes, the index seems behind.
        world.sleep(LEASE_SECONDS + 2)
        world.start()
        world.settle()
    missing, left = every_change_is_told(world), everything_is_announced(world)
    require(not missing, "every change is told", missing)
    require(not left, "everything is announced", left)


def observe(world: World) -> None:
    """Hear the world's events, and watch its cursor."""
    world.listeners.append(Hearing(world))

    def changed(key: Key, old: Item | None, new: Item | None) -> None:
        assert world.writer is not None
        of_publication = key[0] == "__scan__" and key[1].startswith(("changes", "baseline#"))
        publishing_changes_nothing_else(world.writer, key, of_publication=of_publication)
        if key == CURSOR:
            was, now = plain(old or {}), plain(new or {})
            the_cursor_never_goes_back(was, now)
            the_cursor_goes_where_it_was_planned_to(was, now)

    world.table.changed.append(changed)


worlds.OBSERVERS.append(observe)
