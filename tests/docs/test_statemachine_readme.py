"""statemachine/README.md names every feature of the language that the definition uses."""

import re
from collections.abc import Iterator
from typing import Any

from tests.support import definition
from tests.support.paths import STATE_MACHINE

README = (STATE_MACHINE / "README.md").read_text()
# What is inside these is data of the workflow, not language.
DATA = {"Parameters", "ItemSelector", "ResultSelector", "States"}


def features(value: Any) -> Iterator[str]:
    """Yield the fields, state types, resources, intrinsic functions and context paths of a part of the definition."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "States":
                for state in inner.values():
                    yield from features(state)
                continue
            yield name
            if name in {"Type", "Resource"}:
                yield inner
            yield from expressions(inner) if name in DATA else features(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from features(inner)


def expressions(value: Any) -> Iterator[str]:
    """Yield the intrinsic functions and context paths in a template."""
    yield from re.findall(r"States\.\w+(?=\()|\$\$(?:\.\w+)+", str(value))


def test_every_feature_of_the_language_is_listed() -> None:
    used = {one for source in definition.SOURCES for one in features(definition.load(source))} - {"Type", "Choices"}
    prose = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    listed = set(re.findall(r"`([^`]+)`", prose))
    assert {"Map", "ResultSelector", "States.ArrayLength", "$$.Map.Item.Value", "JitterStrategy"} <= used
    assert sorted(used - listed) == []
