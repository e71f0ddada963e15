"""Draws the workflow, from its definition."""

from collections.abc import Iterator

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
}


def lines() -> Iterator[str]:
    """Yield the lines of the diagram, in Mermaid's language."""
    machine = definition.load()
    states = machine["States"]
    yield "stateDiagram-v2"
    for name, state in states.items():
        # Mermaid takes no question mark in a name.
        if state["Type"] == "Choice":
            yield f'    state "{name}" as {_name(name)}'
        if state["Type"] == "Map":
            yield f'    state "{name}: Map of {state["ItemProcessor"]["StartAt"]}" as {name}'
    yield f"    [*] --> {machine['StartAt']}: schedule or manual start"
    for name, state in states.items():
        choices, catches = ([rule["Next"] for rule in state.get(field, [])] for field in ("Choices", "Catch"))
        following = dict.fromkeys([state.get("Next"), *choices, state.get("Default"), *catches])
        for target in filter(None, following):
            caught = target != state.get("Next") and "Catch" in state
            label = LABELS.get((name, target), "error" if caught else "")
            yield f"    {_name(name)} --> {_name(target)}" + (f": {label}" if label else "")
        if state["Type"] == "Succeed":
            yield f"    {_name(name)} --> [*]"


def _name(state: str) -> str:
    return state.removesuffix("?")
