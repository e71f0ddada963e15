"""The documents of this repository, section by section."""

import re
from pathlib import Path

from tests.support.paths import REPOSITORY

DOCUMENTS = tuple(
    REPOSITORY / name
    for name in re.findall(
        r"\S+\.md", re.findall(r"^DOCUMENTS := (.*)$", (REPOSITORY / "Makefile").read_text(), re.M)[0]
    )
)
"""Those of which ``make docs`` writes parts."""

EVERY = tuple(
    sorted(
        path
        for folder in (".github", "functions", "statemachine", "terraform", "tests")
        for path in (REPOSITORY / folder).rglob("*.md")
        if ".terraform" not in path.parts and "node_modules" not in path.parts
    )
) + tuple(sorted(REPOSITORY.glob("*.md")))
"""All documents."""

README = REPOSITORY / "README.md"
COMMAND = REPOSITORY / "functions" / "cli" / "README.md"
RECORDS = REPOSITORY / "functions" / "README.md"
WORKFLOW = REPOSITORY / "statemachine" / "README.md"
OPERATING = REPOSITORY / "statemachine" / "OPERATING.md"
DEPLOYMENT = REPOSITORY / "terraform" / "README.md"


def sections(document: Path) -> dict[str, str]:
    """Return the text under every heading of the second level; what comes before the first is under ``""``."""
    begin, *rest = re.split(r"^## ", document.read_text(), flags=re.MULTILINE)
    return {"": begin} | {title: text for title, _, text in (part.partition("\n") for part in rest)}


def commands(document: Path, section: str) -> str:
    """Return the shell commands of all blocks of a section."""
    blocks = re.findall(r"^```sh\n(.*?)^```", sections(document)[section], re.MULTILINE | re.DOTALL)
    assert blocks, f"{document.name} has no commands under {section!r}"
    return "".join(blocks)


def with_commands() -> set[tuple[str, str]]:
    """Return the document and section of all blocks of shell commands."""
    return {
        (str(document.relative_to(REPOSITORY)), title)
        for document in (*DOCUMENTS, OPERATING)
        for title, text in sections(document).items()
        if "\n```sh\n" in text
    }
