"""Writes pages: one file each, that asks nothing of any network, and in which every text is text.

The policy of a page lets its own script and style run, by their digests, and nothing else: no other script, no request.
"""

import base64
import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, context: Mapping[str, Any], *folders: Path) -> str:
    """Return a page.

    Parameters
    ----------
    folders
        Where templates are looked for besides those of this package.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # `tojson` writes <, >, & and ' as \u003c …, so that no text can end the element that holds it.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.filters["digest"] = _digest
    environment.globals["style"] = _own("style.css")
    environment.globals["script"] = _own("report.js")
    return environment.get_template(template).render(context)


def write(text: str, output: Path) -> None:
    """Write a file, in the place of one that is there: whoever opens it sees the one or the other, and whole.

    Raises
    ------
    OSError
        It cannot be written; what was there is there still.
    """
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(output)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _own(name: str) -> Markup:
    """Return a file of this package, which is put into a page as it is."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704 - it is ours, and no data


def _digest(text: str) -> str:
    """Return the source expression of Content Security Policy that lets exactly this text run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
