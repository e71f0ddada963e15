"""Loads the state machines' definitions and renders them as Terraform does."""

import copy
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.paths import STATE_MACHINE

SOURCE = STATE_MACHINE / "iam_user_monitor.asl.yaml"
ORGANIZATION = STATE_MACHINE / "organization.asl.yaml"
"""The machine that scans all accounts of an organization."""
SOURCES = (SOURCE, ORGANIZATION)

_PLACEHOLDER = re.compile(r"\$\{([a-z_]+)\}")


def _steps(source: Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys(re.findall(r"\$\{(\w+)_function_arn\}", source.read_text())))


STEPS = _steps(SOURCE)
"""The steps of the scan that are functions, by the names of their folders."""

ORGANIZATION_STEPS = _steps(ORGANIZATION)
"""Those of the organization machine."""

SCAN_STEPS = tuple(step for step in STEPS if step != "fail_scan")
"""Those that every scan goes through."""


def load(source: Path = SOURCE) -> dict[str, Any]:
    """Return a definition as it is in the repository, with its placeholders."""
    return _parsed(source.read_text())


def placeholders(source: Path = SOURCE) -> set[str]:
    """Return the names of all placeholders in a definition."""
    return set(_PLACEHOLDER.findall(source.read_text()))


def render(values: Mapping[str, str | int], source: Path = SOURCE) -> dict[str, Any]:
    """Return a definition with its placeholders filled: the rule of terraform/state_machine.tf.

    Raises
    ------
    KeyError
        A placeholder has no value.
    """
    return _parsed(_PLACEHOLDER.sub(lambda match: str(values[match[1]]), source.read_text()))


def _parsed(text: str) -> dict[str, Any]:
    # The same text is asked for a hundred times in a run of the tests, and whoever asks may change what is returned.
    return copy.deepcopy(_read(text))


@functools.cache
def _read(text: str) -> dict[str, Any]:
    definition: dict[str, Any] = yaml.safe_load(text)
    return definition


def states(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and definition of every state, those inside Map states included."""
    for name, state in definition["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


def folder_of(state: str) -> str:
    """Return the folder, and Terraform key, of a Lambda state: ``write_batch`` for ``WriteBatch``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", state).lower()


def state_of(step: str) -> str:
    """Return the state of a step: ``WriteBatch`` for ``write_batch``."""
    return "".join(word.capitalize() for word in step.split("_"))
