"""Runs worlds: as told, with every deviation up to a bound, or at random; and makes a failing run short."""

import contextlib
import gc
import importlib
import json
import math
import os
import pkgutil
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from types import FunctionType
from typing import Any
from unittest import mock

from aws_lambda_powertools.metrics import Metrics
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

import functions
from functions.publish_changes import handler as publish_changes
from functions.shared import clients, step, timestamps
from functions.shared import metrics as shared_metrics
from functions.table import detection
from functions.write_batch import handler as write_batch
from tests.simulator import invariants, publication
from tests.simulator.world import (
    ANNOUNCED_KINDS,
    BUDGET,
    MEMORY,
    Chooser,
    Client,
    Known,
    Option,
    Setting,
    Violation,
    World,
)

Deviation = tuple[str, int, str]
"""Where something else happens than what would: the label of that, for the how manieth time, and what happens."""
LATE = 0.4
"""How often, where something is late or waits, it comes now: order is what most stories are about."""
INPUTS = ('"x"', "[1]", "null", '{"scan": "x"}', '{"outcome": {"status": "COMPLETE"}}')
SETTINGS = (
    *[Setting(1)] * 3, *[Setting(2)] * 2, Setting(2, 2), Setting(3, 2, 2), Setting(3),
    Setting(1, posture=True), Setting(2, posture=True),
)  # fmt: skip
ANNOUNCED = (
    Setting(2, 2, 2, changes=True), Setting(3, 2, 2, changes=True), Setting(2, 2, 2, posture=True, changes=True),
    Setting(3, 2, 2, posture=True, changes=True),
)  # fmt: skip
"""Settings whose changes are announced: a run takes several times as long, so they have a share of their own."""
ANNOUNCED_SHARE = 0.02
CLIENTS = {name: name for name in ("dynamodb", "iam", "stepfunctions", "events")} | {"brisk_iam": "iam"}
"""By the name under which functions get a client, its service."""


@dataclass
class Result:
    """What became of one run of the world."""

    deviations: list[Deviation]
    setting: Setting
    violation: Violation | None
    world: World


KNOWN: dict[Setting, dict[int, int]] = {}
"""By setting, the states from which all went well without another deviation, and how many moments that took until rest.

A run that comes there, and does not deviate in as many moments, need not go on.
"""


def run(chooser: Chooser, setting: Setting, *, tell: bool = False) -> Result:
    """Run one world from its first start to its aftermath, under :func:`installed`."""
    world = _beginning(chooser, setting, tell=tell)
    # What is told of changes depends on instants, of which only the order counts elsewhere.
    world.known = None if tell or setting.changes else KNOWN.setdefault(setting, {})
    violation = None
    try:
        world.start([json.loads(setting.input)])
        world.settle()
        world.rested = world.moments
        for invariant in invariants.REST:
            invariant(world)
        invariants.aftermath(world)
        if setting.changes:
            publication.aftermath(world)
    except Known:
        pass
    except Violation as found:
        violation = found
        if world.story is not None:
            world.story.append(f"           !!! {found}")
    if violation is None and world.known is not None:
        world.known |= {state: max(0, world.rested - moment) for state, moment in world.passed.items()}
    return Result(getattr(chooser, "deviations", []), setting, violation, world)


BEGINNINGS: dict[Setting, World] = {}
"""By setting, a world in which a first scan was announced."""


def _beginning(chooser: Chooser, setting: Setting, *, tell: bool = False) -> World:
    if not setting.changes:
        return World(chooser, setting, tell=tell)
    if setting not in BEGINNINGS:
        before = World(AsTold([]), setting)
        before.start()
        before.settle()
        BEGINNINGS[setting] = before
    world = World(chooser, setting, tell=tell)
    world.adopt(BEGINNINGS[setting])
    return world


class AtRandom:
    """Deviates now and then, in kinds that are drawn anew for every run (swarm testing: few kinds go deeper)."""

    def __init__(self, seed: int, *, announced: bool | None = None) -> None:
        self.random = random.Random(seed)
        self.most = self.random.choice((1, 2, 3, 3, 4, 5, 6, 8, 12))
        if announced is None:
            # Drawn by itself, so that what a seed leads to does not depend on the share.
            announced = random.Random(~seed).random() < ANNOUNCED_SHARE
        kinds = sorted(BUDGET.keys() if announced else BUDGET.keys() - ANNOUNCED_KINDS)
        self.setting = self.random.choice(ANNOUNCED if announced else SETTINGS)
        if self.random.random() < 0.05:
            self.setting = replace(self.setting, input=self.random.choice(INPUTS))
        self.often = self.random.choice((0.03, 0.06, 0.12, 0.25))
        self.kinds = {
            *self.random.sample(kinds, self.random.choice((1, 2, 3, 4, 6, 12, len(kinds)))),
            "overtake",
        }
        if announced:
            self.kinds.update(self.random.sample((*sorted(ANNOUNCED_KINDS), "user"), 2))
        self.deviations: list[Deviation] = []
        self._seen: Counter[str] = Counter()
        self.quiet: float = self._wait()

    def _wait(self) -> float:
        """Draw for how many moments nothing is picked."""
        wait = 0
        while self.random.random() >= self.often:
            wait += 1
        return wait

    def __call__(self, world: World, label: str, others: Callable[[], Iterator[Option]]) -> Option | None:
        self._seen[label] += 1
        if self.quiet > 0:
            self.quiet -= 1
            return None
        chosen = self._pick(others)
        if chosen is not None:
            self.deviations.append((label, self._seen[label], chosen.label))
        self.quiet = self._wait() if len(self.deviations) < self.most else math.inf
        return chosen

    def _pick(self, others: Callable[[], Iterator[Option]]) -> Option | None:
        by_kind: dict[str, list[Option]] = {}
        for option in others():
            if option.kind in self.kinds:
                by_kind.setdefault(option.kind, []).append(option)
        if not by_kind:
            return None
        late = "overtake" in by_kind and self.random.random() < LATE
        return self.random.choice(by_kind["overtake" if late else self.random.choice(list(by_kind))])


class AsTold:
    """Deviates as a list of deviations says; one whose moment does not come is left out."""

    quiet: float = 0

    def __init__(self, deviations: Sequence[Deviation]) -> None:
        self.deviations = list(deviations)
        self.left = list(deviations)
        self._seen: Counter[str] = Counter()

    def __call__(self, world: World, label: str, others: Callable[[], Iterator[Option]]) -> Option | None:
        self._seen[label] += 1
        for deviation in self.left:
            if deviation[:2] == (label, self._seen[label]):
                found = next((option for option in others() if option.label == deviation[2]), None)
                if found is not None:
                    self.left.remove(deviation)
                return found
        return None


class Story:
    """Deviates as a story tells, whose lines come true one after the other: ``moment => what happens``, with ``*``.

    With ``=>>`` it happens again and again, until it cannot. A moment is named by what would happen otherwise.
    """

    quiet: float = 0

    def __init__(self, text: str) -> None:
        self.left = [line.strip().split(" =", 1) for line in text.strip().splitlines()]

    def __call__(self, world: World, label: str, others: Callable[[], Iterator[Option]]) -> Option | None:
        while self.left and fnmatchcase(label, self.left[0][0]):
            again, what = self.left[0][1].startswith(">> "), self.left[0][1].lstrip("> ")
            options = list(others())
            found = next((option for option in options if fnmatchcase(option.label, what)), None)
            if found is None and not again:
                raise LookupError(f"at {label!r} there is no {what!r}, but {[option.label for option in options]}")
            if found is None or not again:
                del self.left[0]
            if found is not None:
                return found
        return None


class Numbered:
    """Deviates at given moments, by number, and notes how many options every later moment has.

    A moment whose state was met before, with as many deviations left, has nothing new to offer: what would follow is
    counted, but not done again.
    """

    def __init__(self, deviations: Sequence[tuple[int, int]], met: set[int] | None) -> None:
        self.told = dict(deviations)
        self.last = deviations[-1][0] if deviations else -1
        self.met = met
        self.moment = -1
        self.widths: list[tuple[int, int]] = []
        self.spared = 0
        self.deviations: list[Deviation] = []
        self.quiet: float = math.inf if met is None and not deviations else 0
        self._seen: Counter[str] = Counter()

    def __call__(self, world: World, label: str, others: Callable[[], Iterator[Option]]) -> Option | None:
        self.moment += 1
        self._seen[label] += 1
        if self.moment in self.told:
            chosen = list(others())[self.told[self.moment]]
            self.deviations.append((label, self._seen[label], chosen.label))
            self.quiet = math.inf if self.met is None and self.moment == self.last else 0
            return chosen
        if self.met is not None and self.moment > self.last:
            width = sum(1 for _ in others())
            spent = frozenset(kind for kind, most in BUDGET.items() if world.happened[kind] >= most)
            state = hash((world.state(), spent))
            if state in self.met:
                self.spared += width
            else:
                self.met.add(state)
                self.widths.append((self.moment, width))
        return None


@dataclass
class Extent:
    """How far a search went."""

    runs: int = 0
    spared: int = 0
    """Interleavings that differ from others only before a state that both come to."""
    kinds: Counter[str] = field(default_factory=Counter)
    """How many runs had an event of each kind."""
    found: Result | None = None
    """The first run that broke an invariant."""

    @property
    def interleavings(self) -> int:
        """How many different ways for things to happen were looked at."""
        return self.runs + self.spared

    def add(self, result: Result) -> None:
        """Count a run."""
        self.runs += 1
        self.kinds.update(result.world.happened.keys())
        if result.violation is not None and self.found is None:
            self.found = result


def exhaustively(setting: Setting, bound: int, shard: int = 0, shards: int = 1) -> Extent:
    """Do every run with up to so many deviations; of several shards, only this one's part of the longest."""
    extent = Extent()
    level: list[tuple[tuple[int, int], ...]] = [()]
    for depth in range(bound + 1):
        following = []
        met: set[int] | None = set() if depth < bound else None
        for number, deviations in enumerate(level):
            if met is None and number % shards != shard:
                continue
            chooser = Numbered(deviations, met)
            result = run(chooser, setting)
            if met is None or shard == 0:
                extent.spared += chooser.spared
                extent.add(result)
            if extent.found is not None:
                return extent
            following += [(*deviations, (moment, n)) for moment, width in chooser.widths for n in range(width)]
        level = following
    return extent


def randomly(seeds: Sequence[int], *, announced: bool | None = None) -> Extent:
    """Do one random run per seed, until one breaks an invariant.

    Parameters
    ----------
    announced
        Whether changes are announced in all of them; None for now and then.
    """
    extent = Extent()
    for seed in seeds:
        chooser = AtRandom(seed, announced=announced)
        extent.add(run(chooser, chooser.setting))
        if extent.found is not None:
            break
    return extent


def shrink(result: Result) -> Result:
    """Return a run with as few deviations as still break the same invariant, with its story."""
    assert result.violation is not None
    deviations, broken = list(result.deviations), result.violation.invariant

    def breaks(tried: list[Deviation]) -> bool:
        violation = run(AsTold(tried), result.setting).violation
        return violation is not None and violation.invariant == broken

    shrunk = True
    while shrunk:
        shrunk = False
        for number in reversed(range(len(deviations))):
            fewer = deviations[:number] + deviations[number + 1 :]
            if breaks(fewer):
                deviations, shrunk = fewer, True
    return run(AsTold(deviations), result.setting, tell=True)


def told(result: Result) -> str:
    """Return the run as a story, one line an event; shrunk before, where it was not told."""
    if result.world.story is None:
        result = shrink(result)
    return "\n".join([repr(result.setting), *(result.world.story or [])])


def summary(result: Result) -> str:
    """Return the deviations of a run in one line."""
    return "; ".join(what for _, _, what in result.deviations)


def forget() -> None:
    """Forget what was learnt: states from which all goes well, what handlers do, and how worlds begin."""
    KNOWN.clear()
    MEMORY.clear()
    BEGINNINGS.clear()


@contextlib.contextmanager
def installed(*, keep: bool = False) -> Iterator[None]:
    """Be :func:`_installed`, with the garbage collector almost at rest: the worlds leave many cycles.

    Parameters
    ----------
    keep
        Whether to go on with what was learnt before, and to leave it to the next: functions, definition and invariants
        must be the same. Who keeps it calls :func:`forget` in the end.
    """
    if not keep:
        forget()
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    try:
        with _installed():
            yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        if not keep:
            forget()


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    """Put the simulated world under the functions, and keep them from logging and sleeping."""
    for found in pkgutil.walk_packages(functions.__path__, "functions."):
        if found.name.endswith(".handler"):
            importlib.import_module(found.name)
    with contextlib.ExitStack() as stack:
        for name, service in CLIENTS.items():
            client = Client(service)
            stack.enter_context(mock.patch.object(clients, name, lambda client=client: client))
        stack.enter_context(mock.patch.object(write_batch, "_known", _Forgetful()))
        # A coroutine cannot wait in another thread. What is fetched ahead is only read, and of an index that may lag.
        stack.enter_context(mock.patch.object(publish_changes, "ahead", iter))
        # Steps that are cut off in the middle never turn it on again.
        stack.enter_context(mock.patch.object(step, "gc", mock.Mock(isenabled=lambda: False)))
        stack.enter_context(mock.patch.object(timestamps, "now", _now))
        # So that a mass deletion may be suspected in a small account.
        stack.enter_context(mock.patch.object(detection, "LEAST_GUARDED", 1))
        stack.enter_context(mock.patch.object(os, "environ", _Environment()))
        stack.enter_context(mock.patch.object(shared_metrics, "emit", _emit))
        stack.enter_context(mock.patch.object(Metrics, "flush_metrics", _nothing))
        stack.enter_context(mock.patch.object(TypeSerializer, "serialize", serialize))
        stack.enter_context(mock.patch.object(TypeDeserializer, "deserialize", deserialize))
        for method in ("append_keys", "debug", "info", "warning", "error", "exception", "remove_keys"):
            if hasattr(step.logger, method):
                stack.enter_context(mock.patch.object(step.logger, method, _nothing))
        clock = {
            time.time: lambda: World.current.now(),
            time.monotonic: lambda: World.current.now(),
            time.sleep: _nothing,
        }
        for name, module in list(sys.modules.items()):
            if name.startswith("functions."):
                _replace_defaults(stack, vars(module), clock)
        yield


class _Forgetful(dict[Any, Any]):
    """What a function keeps between invocations: every one is cold, so that it does the same in every world."""

    def __contains__(self, key: object) -> bool:
        return False


def _now() -> datetime:
    return datetime.fromtimestamp(World.current.now(), UTC)


def _nothing(*_: Any, **__: Any) -> None:
    """Neither log, nor print, nor sleep."""


class _Environment(dict[str, str]):
    """The environment of the functions: that of the world that runs."""

    def get(self, name: str, default: Any = None) -> Any:
        return World.current.environment.get(name, default)

    def __getitem__(self, name: str) -> str:
        return World.current.environment[name]

    def __contains__(self, name: object) -> bool:
        return name in World.current.environment


def _emit(outcome: dict[str, Any], run: Any) -> None:
    told = {"execution_arn": run.execution_arn, "outcome": {"scan_timestamp": run.scan_timestamp, **outcome}}
    World.current.call("stdout", "emit", told)


def _replace_defaults(stack: contextlib.ExitStack, names: dict[str, Any], replace: dict[Any, Any]) -> None:
    """Replace what functions have as the default of a parameter, such as ``clock = time.time``."""
    for thing in list(names.values()):
        if isinstance(thing, type) and thing.__module__.startswith("functions."):
            inner = {name: value for name, value in vars(thing).items() if isinstance(value, FunctionType)}
            _replace_defaults(stack, inner, replace)
        elif isinstance(thing, FunctionType):
            old, keywords = thing.__defaults__ or (), thing.__kwdefaults__ or {}
            if any(value in replace for value in old if callable(value)):
                new = tuple(replace.get(value, value) if callable(value) else value for value in old)
                stack.enter_context(mock.patch.object(thing, "__defaults__", new))
            if any(value in replace for value in keywords.values() if callable(value)):
                changed = {
                    name: replace.get(value, value) if callable(value) else value for name, value in keywords.items()
                }
                stack.enter_context(mock.patch.object(thing, "__kwdefaults__", changed))


def serialize(self: Any, value: Any) -> dict[str, Any]:
    """Do what boto3's TypeSerializer does, ten times faster."""
    if isinstance(value, str):
        return {"S": str(value)}
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, bytes):
        return {"B": value}
    if isinstance(value, dict):
        return {"M": {name: serialize(self, inner) for name, inner in value.items()}}
    if isinstance(value, list):
        return {"L": [serialize(self, inner) for inner in value]}
    if isinstance(value, set | frozenset):
        kind = "SS" if all(isinstance(inner, str) for inner in value) else "NS"
        return {kind: [str(inner) for inner in value]}
    if isinstance(value, float):
        raise TypeError("Float types are not supported. Use Decimal types instead.")
    return {"N": str(value)}


def deserialize(self: Any, value: dict[str, Any]) -> Any:
    """Do what boto3's TypeDeserializer does, but for whole numbers, which become int at once."""
    ((kind, inner),) = value.items()
    if kind in {"S", "BOOL", "B"}:
        return inner
    if kind == "N":
        return int(inner) if inner.isdigit() else Decimal(inner)
    if kind == "NULL":
        return None
    if kind == "M":
        return {name: deserialize(self, element) for name, element in inner.items()}
    if kind == "L":
        return [deserialize(self, element) for element in inner]
    return {int(element) for element in inner} if kind == "NS" else set(inner)
