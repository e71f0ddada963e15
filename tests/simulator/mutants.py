"""Takes the fence out, clause by clause: the simulator has to miss each of them.

A mutant replaces a text in the source of a module, or in the definition; only what changes by that is replaced.
"""

import contextlib
import importlib
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from tests.simulator import explore, machine, stories, world
from tests.simulator.explore import Story
from tests.simulator.world import Setting
from tests.support.table import Table

BUDGET = 30_000
DEFINITION = "definition"


@dataclass(frozen=True)
class Mutant:
    """One clause less. ``module`` is the name of a module, or DEFINITION."""

    clause: str
    module: str
    old: str
    new: str
    argued: str = ""
    """Why no story is told of it, where none can: the tests of the fence hold it alone."""
    announced: bool = False
    """Whether it is of what is told of changes."""
    story: str = ""
    """What is tried first: it is no story of how it is, as it cannot happen with the clause."""
    also: "Mutant | None" = None
    """What has to go with it."""

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Have the clause out of the code."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(Table, "strict", False))
            if self.module == DEFINITION:
                replaced = ((self.old, self.new),)
                machine.rendered(replaced)
                stack.enter_context(mock.patch.object(world, "REPLACED", replaced))
            else:
                self._change(stack)
            if self.also is not None:
                self.also._change(stack)
            yield

    def _change(self, stack: contextlib.ExitStack) -> None:
        module = importlib.import_module(self.module)
        text = Path(str(module.__file__)).read_text()
        if self.old not in text:
            raise ValueError(f"{self.module} has no {self.old!r}: what became of the clause {self.clause!r}?")
        fresh = types.ModuleType(self.module)
        exec(compile(text.replace(self.old, self.new), str(module.__file__), "exec"), vars(fresh))
        for name, value in vars(fresh).items():
            current = getattr(module, name, None)
            if isinstance(value, str | tuple | frozenset) and value != current and not name.startswith("__"):
                stack.enter_context(mock.patch.object(module, name, value))
            elif isinstance(value, type) and value.__module__ == self.module:
                for inner, function in vars(value).items():
                    _replace_code(stack, vars(current).get(inner), function)
            else:
                _replace_code(stack, current, value)


def _replace_code(stack: contextlib.ExitStack, current: object, value: object) -> None:
    """Give a function the code of its mutant; whoever imported it has that, too."""
    for attribute in ("__func__", "fget", "__wrapped__"):
        current, value = getattr(current, attribute, current), getattr(value, attribute, value)
    if isinstance(current, types.FunctionType) and isinstance(value, types.FunctionType):
        same = current.__code__.co_freevars == value.__code__.co_freevars
        if same and current.__module__ == value.__module__ and current.__code__ != value.__code__:
            stack.callback(setattr, current, "__code__", current.__code__)
            current.__code__ = value.__code__


FENCE, LOCK, MANIFEST, RUN, METRICS = (
    f"functions.{name}" for name in ("table.fence", "table.lock", "table.manifest", "shared.run", "shared.metrics")
)
DETECTION, ANNOUNCEMENT, WALK = (f"functions.table.{name}" for name in ("detection", "announcement", "walk"))
PUBLISH_CHANGES = "functions.publish_changes.handler"
EMIT_METRICS, FAIL_SCAN, CLEAN_UP = (f"functions.{name}.handler" for name in ("emit_metrics", "fail_scan", "clean_up"))

ANY = "AND attribute_exists(user_name)"
NO_CONDITION = """{"ConditionCheck": {"TableName": self.table_name, "Key": {"user_name": {"S": "-"},
    "scan_timestamp": {"S": "-"}}, "ConditionExpression": "attribute_not_exists(user_name)"}}"""
TRANSACT = "            self.dynamodb.transact_write_items(TransactItems=writes)\n"
TWO_WRITES = f"""            nothing = {NO_CONDITION}
            self.dynamodb.transact_write_items(TransactItems=[writes[0], nothing])
            self.dynamodb.transact_write_items(TransactItems=[nothing, writes[1]])
"""
SAY, NOTE = (
    """    emit(outcome, run)
    log_end(outcome, error)
""",
    "    fence.mark_reported(run)\n",
)

ALWAYS = '"ConditionExpression": "attribute_exists(user_name) OR attribute_not_exists(user_name)"'
PLANNED_IN_MEMORY = """__import__("dataclasses").replace(cursor, plan=__import__(
                "functions.table.announcement", fromlist=["Plan"]).Plan(scan.scan_timestamp, self.options))"""
MOVE = """            "SET #scan = :next, #listed_until = :listed_until, "
            "#picture = :picture, #picture_expires = :picture_expires REMOVE #next",
"""
SEND = """        sent, refused = self.bus.send(events.of_detection(detection, scan, cursor.scan_timestamp))
        done["events"], done["refused"] = done["events"] + sent, done["refused"] + refused
"""
IF_SETTLED = "        if self.announcements.settle(cursor, scan, detection, events=sent, now=timestamps.now()):\n"
INDENTED_SEND = "".join(f"    {line}\n" for line in SEND.splitlines())

MUTANTS = [
    Mutant("lock and manifest in one transaction", FENCE, TRANSACT, TWO_WRITES),
    Mutant("COMPLETE absorbs", FENCE, "AND #status <> :complete", ANY),
    Mutant("only an earlier attempt's scan goes on", FENCE, "(#attempt < :attempt AND", "(#attempt <= :attempt AND"),
    Mutant("an earlier attempt that still runs has ended", FENCE, '_EARLIER = "(#attempt < :attempt',
           '_EARLIER = "(#status <> :running AND #attempt < :attempt'),
    Mutant("an attempt that has ended has ended", FENCE, "({_RUNS} OR {_EARLIER})",
           "(#attempt <= :attempt AND #status <> :complete)"),
    Mutant("a page is saved in its turn", FENCE, "AND #sequence = :former_sequence", ANY),
    Mutant("a former attempt's page is no further", FENCE, "AND #sequence <= :sequence", ANY,
           "only a late call that is believed by mistake could be behind, and the simulator's clocks make none"),
    Mutant("beginning knows the last sequence", FENCE, "AND #sequence = :known_sequence", ANY,
           "a page saved in between is listed again: more work, and no wrong answer"),
    Mutant("beginning raises the sequence", FENCE, "known.sequence if again else known.sequence + 1", "known.sequence",
           "as the first: a page of a former attempt must be believed by mistake to pass for the next one"),
    Mutant("a skipped run is noted", FENCE, "if self._skip(run, holder, retention_days):", "if True:"),
    Mutant("a manifest is its execution's", FENCE, '_MINE = "#execution_arn = :execution_arn"',
           '_MINE = "(#execution_arn = :execution_arn OR attribute_exists(user_name))"'),
    Mutant("what an attempt ended with goes with the next", FENCE,
           '"finished_at", "duration_ms", "error_type", "error_message", "holder"', '"holder"'),
    Mutant("the manifest fixes one ttl", FENCE, "known.sequence + 1), known.ttl",
           "known.sequence + 1), manifest.expiry(run.started_at, retention_days)"),
    Mutant("a listing that begins again resets the checkpoint", MANIFEST, 'elif cursor["page"] == 1:', "elif False:"),
    Mutant("a live lock is not taken", LOCK, "expires_at < :now OR ", "attribute_exists(user_name) OR "),
    Mutant("an expired lock is taken", LOCK, "expires_at < :now OR ", ""),
    Mutant("a lock is not taken from a newer attempt", LOCK, "(#owner = :me AND #attempt <= :attempt)", "#owner = :me",
           "the manifest refuses the same call in the same transaction"),
    Mutant("CleanUp frees no newer attempt's lock", LOCK, '"#owner = :me AND #attempt <= :attempt"', '"#owner = :me"'),
    Mutant("CleanUp frees no other's lock", LOCK, '"#owner = :me AND #attempt <= :attempt"', '"#attempt <= :attempt"'),
    Mutant("ReleaseLock frees no newer attempt's lock", DEFINITION, "#owner = :me AND #attempt <= :attempt",
           "#owner = :me",
           "nothing of ReleaseLock goes on here when it is given up; tests/statemachine/test_definition.py holds it"),
    Mutant("ReleaseLock frees no other's lock", DEFINITION, "#owner = :me AND ", ""),
    Mutant("metrics are noted after they are said", METRICS, SAY + NOTE, NOTE + SAY),
    Mutant("CleanUp says what EmitMetrics could not", CLEAN_UP,
           "return recorded, metrics.report(fence, run, manifest, outcome, error)", "return recorded, False"),
    Mutant("EmitMetrics minds that CleanUp ended the attempt", EMIT_METRICS,
           "manifest.status is not Status.COMPLETE and", "False and",
           "the run fails although all went well, and the next redrive makes it good"),
    Mutant("a late call is not believed", RUN, "redriven_at <= self.invoked_at + _CLOCK_TOLERANCE", "True"),
    Mutant("a late count is corrected", RUN, "return self.with_attempt(attempt)", "return self",
           "the run is refused and fails, and the next redrive makes it good"),
    Mutant("only a complete scan is trusted", "functions.table.scans", "manifest.status is Status.COMPLETE", "True"),
    Mutant("FailScan lets a newer attempt go on", FAIL_SCAN, "if run.attempt <= failed_attempt:", "if True:"),
    Mutant("FailScan fails its own attempt", FAIL_SCAN, "if run.attempt <= failed_attempt:", "if False:"),
    Mutant("nothing of the input takes part", DEFINITION, '"ErrorEquals": ["States.ALL"], "Next": "ScanNotBegun"',
           '"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "EmitMetrics"'),
    Mutant("the cursor says what comes next", PUBLISH_CHANGES, "self.announcements.plan(cursor, scan, self.options)",
           PLANNED_IN_MEMORY, announced=True,
           also=Mutant("", ANNOUNCEMENT, MOVE + "            _PLANNED,", MOVE + "            _NOTHING_PLANNED,")),
    Mutant("events are sent before the cursor moves", PUBLISH_CHANGES, SEND + IF_SETTLED,
           "        sent = refused = 0\n" + IF_SETTLED + INDENTED_SEND, announced=True),
    Mutant("a plan is made where there is none", ANNOUNCEMENT,
           'self._write(self._update("SET #next = :planned", _NOTHING_PLANNED, cursor, planned=planned))',
           f'self._write({{**self._update("SET #next = :planned", "", cursor, planned=planned), {ALWAYS}}})',
           announced=True),
    Mutant("the cursor moves where it was planned to", ANNOUNCEMENT, '"TableName": self.table_name, **move}',
           f'"TableName": self.table_name, **move, {ALWAYS}}}', announced=True),
    Mutant("a deletion needs a second listing", DETECTION, "elif not self._agreed(user_id, entry):", "elif False:",
           announced=True),
    Mutant("the index must yield all records", WALK, "if listing.missing and reader.waits_for(scan):",
           "if False:", announced=True,
           story="""
               X2.1 AcquireLock begins => a user is created
               X2.1 WriteBatch begins => the index stands still
               X2.1 PublishChanges transact_write_items => X2.1 PublishChanges is cut off before transact_write_items
               X2.1 PublishChanges #2 begins => the index catches up
           """),
    Mutant("only the last listing's records count", DETECTION, "for record in found if scan.counts(record)",
           "for record in found", announced=True),
]  # fmt: skip


def find(mutant: Mutant, budget: int, seed: int) -> tuple[int, str | None]:
    """Look for a story that the mutant does not survive: the known ones, every single event, then at random.

    Returns
    -------
    How many interleavings were tried, and the story in a line, None where none was found.
    """
    tried = 0
    with explore.installed(), mutant.applied():
        known = stories.ANNOUNCED if mutant.announced else stories.KNOWN
        if mutant.story:
            # No name has it: it is told by what happens in it.
            known = {"; ".join(re.findall("=> (.*)", mutant.story)): mutant.story, **known}
        setting = stories.ANNOUNCED_SETTING if mutant.announced else stories.SETTING
        for name, story in known.items():
            tried += 1
            # Without the clause, a story may have no such moment, or nothing of the kind may be possible there.
            with contextlib.suppress(LookupError):
                if (violation := explore.run(Story(story), setting).violation) is not None:
                    return tried, f"{name}: {violation.invariant} does not hold"
        for single in (True, False):
            if single:
                extent = explore.exhaustively(setting if mutant.announced else Setting(2), 1)
            else:
                extent = explore.randomly(range(seed, seed + budget), announced=mutant.announced)
            tried += extent.runs
            if extent.found is not None:
                found = explore.shrink(extent.found)
                assert found.violation is not None
                return tried, f"{explore.summary(found)}: {found.violation.invariant} does not hold"
    return tried, None


def hunt(budget: int, seed: int) -> int:
    """Print which mutants the simulator finds, by what story, and after how many interleavings."""
    survivors = 0
    print("| Without this | Tried | What happens |\n|---|---|---|")
    for mutant in MUTANTS:
        tried, story = find(mutant, budget, seed)
        survivors += story is None and not mutant.argued
        print(f"| {mutant.clause} | {tried:,} | {story or mutant.argued or 'NOT FOUND'} |", flush=True)
    return 1 if survivors else 0
