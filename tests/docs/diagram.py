"""Draws the workflows, from their definitions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import definition

# What the definition does not say about a transition, in words. All others are errors that are caught, or need none.
LABELS = {
    ("LockAcquired?", "ScanSkipped"): "another scan holds the lock",
    ("LockAcquired?", "ReadPosture"): "acquired, new or resumed",
    ("LockAcquired?", "ListUsers"): "acquired, no posture wanted",
    ("LockAcquired?", "ChangesToPublish?"): "redriven, complete already",
    ("ListUsers", "WriteRecords"): "one page, in batches",
    ("MorePages?", "ListUsers"): "more pages",
    ("MorePages?", "EmitMetrics"): "all listed",
    ("ChangesToPublish?", "PublishChanges"): "COMPLETE, changes wanted",
    ("ScanOutcome?", "ScanSucceeded"): "COMPLETE",
    ("ScanOutcome?", "FailScan"): "anything else",
    ("FailScan", "AcquireLock"): "redriven",
    ("LockAcquired?", "ScanAccounts"): "acquired, new or resumed",
    ("LockAcquired?", "ReleaseLock"): "redriven, all complete already",
    ("LockAcquired?", "OrganizationSkipped"): "another run holds the lock",
    ("OrganizationOutcome?", "OrganizationScanned"): "COMPLETE",
    ("OrganizationOutcome?", "FailOrganization"): "anything else",
    ("FailOrganization", "ListAccounts"): "redriven",
    ("ScanAccount", "RedriveAccount"): "its execution is there already",
    ("RedriveAccount", "WaitForAccount"): "runs again, or still",
}


def lines(source: Path = definition.SOURCE) -> Iterator[str]:
    """Yield the lines of the diagram of a machine, in Mermaid's language."""
    machine = definition.load(source)
    yield "stateDiagram-v2"
    yield from _of(machine, "schedule or manual start")
    for name, state in machine["States"].items():
        if state["Type"] == "Map" and _is_drawn(state):
            yield f"    state {name} {{"
            for line in _of(state["ItemProcessor"], "each item"):
                yield f"    {line}"
            yield "    }"


def _of(machine: dict[str, Any], start: str) -> Iterator[str]:
    states = machine["States"]
    for name, state in states.items():
        # Mermaid takes no question mark in a name.
        if state["Type"] == "Choice":
            yield f'    state "{name}" as {_name(name)}'
        if state["Type"] == "Map" and not _is_drawn(state):
            yield f'    state "{name}: Map of {state["ItemProcessor"]["StartAt"]}" as {name}'
    yield f"    [*] --> {machine['StartAt']}: {start}"
    for name, state in states.items():
        choices, catches = ([rule["Next"] for rule in state.get(field, [])] for field in ("Choices", "Catch"))
        following = dict.fromkeys([state.get("Next"), *choices, state.get("Default"), *catches])
        for target in filter(None, following):
            caught = target != state.get("Next") and "Catch" in state
            label = LABELS.get((name, target), "error" if caught else "")
            yield f"    {_name(name)} --> {_name(target)}" + (f": {label}" if label else "")
        if state["Type"] == "Succeed" or state.get("End"):
            yield f"    {_name(name)} --> [*]"


def _is_drawn(state: dict[str, Any]) -> bool:
    """Tell whether the iteration of a Map needs a picture: not of a task and what counts its failure."""
    return len(state["ItemProcessor"]["States"]) > 2


def _name(state: str) -> str:
    return state.removesuffix("?")
