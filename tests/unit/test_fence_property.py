"""The fence against a model of it, written down a second time and without DynamoDB."""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from functions.shared.errors import LockHeld, LockLost, Superseded
from functions.table.fence import Begun, ForeignManifest
from functions.table.lock import Holder
from functions.table.manifest import Manifest
from tests.support.scene import LEASE, ME, OTHER, Clock, Scene, clear
from tests.support.table import Table

ATTEMPTS = (1, 2, 3)
SEQUENCES = (1, 2, 3)
ENDS = ("COMPLETE", "INCOMPLETE", "FAILED", "ABORTED")


class State(NamedTuple):
    """What the fence looks at in a manifest."""

    owner: str
    status: str
    attempt: int
    sequence: int


class Event(NamedTuple):
    """Something that an attempt wants."""

    kind: str
    attempt: int
    sequence: int = 0
    status: str = ""
    owner: str = ME


def relation(state: State | None, event: Event) -> str:
    """Return what the manifest is to the attempt that comes."""
    if state is None:
        return "absent"
    if state.owner != event.owner:
        return "foreign"
    if state.status == "COMPLETE":
        return "complete"
    if state.attempt != event.attempt:
        return "earlier" if state.attempt < event.attempt else "later"
    return {"RUNNING": "running", "SKIPPED": "skipped"}.get(state.status, "ended")


# What becomes of the manifest, and what the caller is told; everything else is late.
ANSWERS = {
    ("absent", "begin"): "begun",
    ("earlier", "begin"): "begun",
    ("running", "begin"): "begun again",
    ("skipped", "begin"): "skipped",
    ("complete", "begin"): "known",
    ("running", "save"): "saved",
    ("earlier", "save"): "saved",
    ("absent", "finish"): "finished",
    ("running", "finish"): "finished",
    ("earlier", "finish"): "finished",
    ("ended", "finish"): "known",
    ("skipped", "finish"): "known",
    ("complete", "finish"): "known",
    ("foreign", "begin"): "foreign",
    ("foreign", "save"): "foreign",
    ("foreign", "finish"): "foreign",
}


def expected(state: State | None, event: Event, *, lock_is_mine: bool = True) -> tuple[State | None, str]:
    """Return what the manifest becomes, and the answer, where the lock can or cannot be had."""
    related = relation(state, event)
    answer = ANSWERS.get((related, event.kind), "late")
    sequence = 0 if state is None else state.sequence
    if answer == "saved":
        if related == "running" and sequence == event.sequence:
            return state, "saved"
        allowed = sequence == event.sequence - 1 if related == "running" else sequence <= event.sequence
        if not allowed:
            return state, "late"
        if not lock_is_mine:
            return state, "lost"
        return State(event.owner, "RUNNING", event.attempt, event.sequence), "saved"
    if answer in {"begun", "begun again"} and not lock_is_mine:
        if state is None and event.attempt == 1:
            return State(event.owner, "SKIPPED", 1, 0), "skipped"
        return state, "held"
    if answer == "begun":
        return State(event.owner, "RUNNING", event.attempt, 0 if state is None else sequence + 1), answer
    if answer == "finished":
        return State(event.owner, event.status, event.attempt, sequence), answer
    return state, answer


EVENTS = [
    *(Event("begin", attempt) for attempt in ATTEMPTS),
    *(Event("save", attempt, sequence) for attempt, sequence in product(ATTEMPTS, SEQUENCES)),
    *(Event("finish", attempt, status=status) for attempt, status in product(ATTEMPTS, ("COMPLETE", "FAILED"))),
]


def act(scene: Scene, event: Event) -> str:
    """Let the real fence decide, and return its answer in the words of the model."""
    try:
        match event.kind:
            case "begin":
                known = scene.fence.load(scene.run(event.attempt, event.owner))
                again = known is not None and known.attempt == event.attempt
                begun = scene.begin(event.attempt, event.owner)
                if isinstance(begun, Begun):
                    return "begun again" if again else "begun"
                return {Holder: "skipped", Manifest: "known"}[type(begun)]
            case "save":
                scene.save(event.attempt, event.sequence, event.owner, told=1)
                return "saved"
            case _:
                return "finished" if scene.finish(event.attempt, event.status, event.owner)[1] else "known"
    except (Superseded, ForeignManifest, LockHeld, LockLost) as error:
        words = {"Superseded": "late", "ForeignManifest": "foreign", "LockHeld": "held", "LockLost": "lost"}
        return words[type(error).__name__]


def state_of(scene: Scene) -> State | None:
    item = scene.manifest
    if not item:
        return None
    return State(item["execution_arn"], item["status"], item["attempt"], item["sequence"])


# The model itself


def reachable() -> Iterator[tuple[State | None, Event, State | None, str]]:
    """Yield every transition that any order of events can bring about, with its answer."""
    seen: set[State | None] = {None}
    pending: list[State | None] = [None]
    events = [
        *EVENTS,
        *(Event("finish", attempt, status=status) for attempt, status in product(ATTEMPTS, ("INCOMPLETE", "ABORTED"))),
    ]
    while pending:
        state = pending.pop()
        for event, lock_is_mine in product(events, (True, False)):
            after, answer = expected(state, event, lock_is_mine=lock_is_mine)
            yield state, event, after, answer
            if after not in seen:
                seen.add(after)
                pending.append(after)


def test_in_whatever_order_calls_come_the_rules_hold() -> None:
    checked = 0
    for before, event, after, answer in reachable():
        checked += 1
        if answer in {"late", "foreign", "held", "lost", "known"}:
            assert after == before, "who is refused, or told what is known, has written nothing"
        if before is None:
            continue
        assert after is not None
        assert after.sequence >= before.sequence, "the sequence never goes back"
        assert after.attempt >= before.attempt, "nor does the attempt"
        if before.status == "COMPLETE":
            assert after == before, "a complete scan stays as it is"
        if before.status != "RUNNING" and after != before:
            assert event.attempt > before.attempt, "what has ended goes on by a newer attempt only"
        if before.status == "RUNNING" and after.status != "RUNNING":
            assert event.kind == "finish", "only a finish ends an attempt"
    assert checked > 3000


# The model and the fence


@pytest.fixture
def scene(clock: Clock) -> Scene:
    """On the table in memory, which tests/simulator/test_table.py holds against moto's; test_fence.py is on moto's."""
    table: Any = Table()
    return Scene(table, clock)


@pytest.mark.parametrize("lock", ["free", "held"])
@pytest.mark.parametrize(
    "state",
    [
        None,
        *(
            State(ME, status, attempt, sequence)
            for status, attempt, sequence in product(("RUNNING", "FAILED", "COMPLETE"), (1, 2), (0, 1, 2))
        ),
        State(ME, "SKIPPED", 1, 0),
        State(OTHER, "RUNNING", 1, 0),
        State(OTHER, "FAILED", 2, 2),
    ],
    ids=lambda state: "-".join(map(str, (state.owner.rsplit(":", 1)[1], *state[1:]))) if state else "absent",
)
def test_the_fence_answers_every_event_in_every_state_as_the_model_does(
    scene: Scene, state: State | None, lock: str
) -> None:
    for event in EVENTS:
        clear(scene.dynamodb)
        if state is not None:
            held_by = {"holder": {"owner": OTHER}} if state.status == "SKIPPED" else {}
            scene.given(state.status, attempt=state.attempt, sequence=state.sequence, arn=state.owner, **held_by)
        if lock == "held":
            scene.given_lock("third")
        before = scene.everything()

        answer = act(scene, event)

        assert (state_of(scene), answer) == expected(state, event, lock_is_mine=lock == "free"), event
        if answer in {"late", "foreign", "held", "lost", "known"}:
            assert scene.everything() == before, event
        if lock == "held":
            assert scene.lock["owner"] == "third"


class TwoExecutions(RuleBasedStateMachine):
    """Two executions that started in one second call in any order, early, late and again, while time passes."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        clear(scene.dynamodb)
        self.scene = scene
        self.state: State | None = None
        self.lock: tuple[str, int, int] | None = None

    @property
    def now(self) -> int:
        return int(self.scene.clock.now.timestamp())

    def apply(self, event: Event) -> None:
        lock_is_mine = (
            self.lock is None
            or self.lock[2] < self.now
            or (self.lock[0] == event.owner and self.lock[1] <= event.attempt)
        )
        before = self.scene.everything()
        wanted, answer = expected(self.state, event, lock_is_mine=lock_is_mine)
        if answer in {"held", "lost", "skipped"} and self.lock is not None and self.lock[0] == event.owner:
            wanted, answer = self.state, "late"  # a newer attempt of its own has the lock

        assert act(self.scene, event) == answer
        changed = self.scene.everything() != before
        if answer in {"late", "foreign", "held", "lost", "known"}:
            assert not changed
        if answer in {"begun", "begun again"} or (answer == "saved" and wanted != self.state):
            self.lock = (event.owner, event.attempt, self.now + LEASE)
        self.state = wanted

    owners = st.sampled_from([ME, ME, ME, OTHER])
    attempts = st.sampled_from(ATTEMPTS)

    @rule(attempt=attempts, owner=owners)
    def begin(self, attempt: int, owner: str) -> None:
        self.apply(Event("begin", attempt, owner=owner))

    @rule(attempt=attempts, owner=owners, sequence=st.integers(1, 6))
    def save(self, attempt: int, owner: str, sequence: int) -> None:
        self.apply(Event("save", attempt, sequence, owner=owner))

    @precondition(lambda self: self.state is not None and self.state.status == "RUNNING")
    @rule()
    def save_the_next_page(self) -> None:
        assert self.state is not None
        self.apply(Event("save", self.state.attempt, self.state.sequence + 1, owner=self.state.owner))

    @rule(attempt=attempts, owner=owners, status=st.sampled_from([*ENDS, "FAILED", "ABORTED"]))
    def finish(self, attempt: int, owner: str, status: str) -> None:
        self.apply(Event("finish", attempt, status=status, owner=owner))

    @rule(attempt=attempts, owner=owners)
    def release(self, attempt: int, owner: str) -> None:
        mine = self.lock is not None and self.lock[0] == owner and self.lock[1] <= attempt
        assert self.scene.fence.release(self.scene.run(attempt, owner)) is mine
        if mine:
            self.lock = None

    @rule(seconds=st.sampled_from([1, LEASE - 1, LEASE, LEASE + 1]))
    def wait(self, seconds: int) -> None:
        self.scene.clock.wait(seconds)

    @invariant()
    def manifest_and_lock_are_those_of_the_model(self) -> None:
        lock: Any = self.scene.lock
        assert state_of(self.scene) == self.state
        assert self.lock == ((lock["owner"], lock["attempt"], lock["expires_at"]) if lock else None)


def test_two_executions_in_any_order_do_as_the_model_does(scene: Scene) -> None:
    run_state_machine_as_test(
        lambda: TwoExecutions(scene),  # type: ignore[arg-type]
        settings=settings(max_examples=100, stateful_step_count=25, deadline=None),
    )
