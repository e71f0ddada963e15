"""How corrections reach into MiniStack, which is untyped and imported as late as possible."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def service(name: str) -> Any:
    """Return MiniStack's module of one AWS service."""
    return importlib.import_module(f"ministack.services.{name}")


def core(name: str) -> Any:
    """Return one of MiniStack's core modules."""
    return importlib.import_module(f"ministack.core.{name}")


def wrap(owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
    """Replace ``owner.name`` by what ``wrapper`` makes of it; an AttributeError if there is no such name."""
    setattr(owner, name, wrapper(getattr(owner, name)))
