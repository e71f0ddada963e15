"""The documents tell what is so."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from functions.shared.events import TYPES
from functions.table.detection import KINDS
from functions.table.record import ATTRIBUTES
from tests.docs import schemas
from tests.support import definition
from tests.support.documents import (
    COMMAND,
    DEPLOYMENT,
    DOCUMENTS,
    EVERY,
    OPERATING,
    README,
    RECORDS,
    WORKFLOW,
    with_commands,
)
from tests.support.paths import REPOSITORY, TERRAFORM


def test_what_is_generated_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", *DOCUMENTS],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"write it anew with `make docs`: {done.stdout}{done.stderr}"


def test_the_schemas_of_the_events_are_up_to_date() -> None:
    assert {path.name: path.read_text() for path in schemas.FOLDER.iterdir()} == {
        schemas.path_of(change).name: schemas.text_of(change) for change in TYPES
    }, "write them anew with `make docs`"


@pytest.mark.parametrize("change", TYPES)
def test_a_schema_is_one(change: str) -> None:
    Draft202012Validator.check_schema(schemas.schema(change))


def test_a_schema_leaves_room_for_what_may_come_and_for_nothing_else() -> None:
    counts = dict.fromkeys((*KINDS, "unconfirmed_deletions", "suspected_deletions"), 0)
    end = {
        **dict.fromkeys(("account_name", "user_name", "user_id", "before", "after", "previous_scan_timestamp")),
        **{name: [] for name in ("attributes", "findings_opened", "findings_closed")},
        **{"version": "1", "id": "x", "account_id": "123456789012", "summary": "x", "change": "scan_completed"},
        **{"scan_timestamp": "2026-01-31T10:00:00Z", "execution_arn": "arn:aws:states:x:123456789012:execution:m:r"},
        **{"baseline": True, "users": 1, "events": 0, "counts": counts, "sections": {}},
    }
    published = Draft202012Validator(schemas.schema("scan_completed"))
    for one in (end, {**end, "new": 1}, {**end, "counts": {**counts, "new": 1}}):
        published.validate(one)
        assert schemas.validator("scan_completed").is_valid(one) is (one is end)
    for wrong in (
        {"version": "2"},
        {"summary": "two\nlines"},
        {"users": -1},
        {"change": "created"},
        {"scan_timestamp": "x"},
    ):
        assert not published.is_valid({**end, **wrong})
    for name in end:
        assert not published.is_valid({key: value for key, value in end.items() if key != name})


def test_a_deployment_needs_no_settings() -> None:
    variables = (TERRAFORM / "variables.tf").read_text()
    assert variables.count("\n  default ") + variables.count("\n  default=") == variables.count('variable "')


def test_every_command_is_in_a_section_that_is_tried() -> None:
    """Quick start is what CI and tests/e2e/test_commands.py run; the others, tests/e2e/test_documents.py types."""
    # What needs Docker, a repository of one's own, a former version, an organization, or more platforms than one.
    untried = {
        ("statemachine/README.md", "The files"),
        ("terraform/README.md", "Provider versions"),
        ("terraform/README.md", "Upgrade"),
        ("terraform/modules/member_role/README.md", "In every account of an organization"),
    }
    assert with_commands() - untried == {
        ("README.md", "Quick start"),
        ("README.md", "Deploy to AWS"),
        ("functions/README.md", "What is recorded"),
        ("functions/cli/README.md", ""),
        ("statemachine/OPERATING.md", "Redrive a failed run"),
        ("statemachine/OPERATING.md", "Troubleshooting"),
        ("terraform/README.md", "An organization, from nothing to the first fleet snapshot"),
        ("terraform/README.md", "As it is"),
        ("terraform/README.md", "Remove it"),
    }


def test_every_state_with_work_to_do_is_explained() -> None:
    tables = WORKFLOW.read_text().split("| State | What it does |")[1:]
    assert len(tables) == len(definition.SOURCES)
    for source, table in zip(definition.SOURCES, tables, strict=True):
        tasks = [name for name, state in definition.states(definition.load(source)) if state["Type"] in {"Task", "Map"}]
        assert [name for name in tasks if f"{name} " not in table.split("\n\n")[0].replace(",", " ")] == []


def test_the_documented_record_is_valid_json_with_the_documented_attributes() -> None:
    record = json.loads(RECORDS.read_text().split("```json")[1].split("```")[0])
    assert list(record) == [attribute.name for attribute in ATTRIBUTES]


def test_every_command_is_explained() -> None:
    from functions.cli.app import cli

    table = COMMAND.read_text().split("| Command |")[1].split("\n\n")[0]
    assert [name for name in cli.commands if f"| `{name}" not in table] == []


def test_the_alarms_and_queries_are_listed() -> None:
    alarms = (TERRAFORM / "alarms.tf").read_text().split("all_alarms = {")[1]
    queries = (TERRAFORM / "queries.tf").read_text().split("queries = {")[1]
    names = re.findall(r"^    ([a-z-]+) += \{$", alarms, re.MULTILINE)
    assert len(names) == 11
    assert [name for name in names if f"| `iam-user-monitor-{name}` |" not in DEPLOYMENT.read_text()] == []
    saved = re.findall(r"^    ([a-z-]+) += \{$", queries, re.MULTILINE)
    assert len(saved) == 5
    assert [name for name in saved if f"`{name}`" not in OPERATING.read_text()] == []


def test_no_advice_that_a_redrive_cannot_take() -> None:
    """It runs the definition of the execution's start."""
    text = OPERATING.read_text().replace("\n", " ")
    assert re.findall(r"(?:raise|lower)[^.;]*\band redrive", text) == []


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    given: dict[str, int] = {}
    found = set()
    for heading in re.findall(r"^#{1,6} +(.*?)(?: +#+)?$", without_code(text), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w -]", "", shown.lower()).replace(" ", "-")
        times = given.get(anchor, 0)
        given[anchor] = times + 1
        found.add(f"{anchor}-{times}" if times else anchor)
    return found


def without_code(text: str) -> str:
    """Return a document without its blocks of code, in which a # is no heading and brackets are no link."""
    return re.sub(r"^ *(`{3,}).*?^ *\1", "", text, flags=re.MULTILINE | re.DOTALL)


def broken(document: Path) -> list[str]:
    """Return the links of a document that lead nowhere in this repository."""
    found = []
    prose = re.sub(r"`[^`\n]*`", "code", without_code(document.read_text()))
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose):
        file, _, anchor = target.partition("#")
        goal = (document.parent / file).resolve() if file else document
        if not goal.exists() or (anchor and (goal.is_dir() or anchor not in anchors(goal.read_text()))):
            found.append(target)
    return found


@pytest.mark.parametrize("document", EVERY, ids=lambda document: str(document.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(document: Path) -> None:
    assert broken(document) == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A `heading`, twice\n\n# A heading, twice\n\n```sh\n# a comment\n```\n")
    (tmp_path / "one.md").write_text(
        "[1](other.md#a-heading-twice) [2](other.md#a-heading-twice-1) [`3`](other.md) [4](#5) [6](nowhere.md)\n"
        "[7](other.md#a-comment) [8](other.md#a-heading-twice-2) `[9](nowhere.md)` [10](https://example.com/#11)\n"
        "[`12`](nowhere.md) [13](.#14)\n\n```\n[15](nowhere.md)\n# 5\n```\n"
    )
    assert broken(tmp_path / "one.md") == [
        "#5", "nowhere.md", "other.md#a-comment", "other.md#a-heading-twice-2", "nowhere.md", ".#14",
    ]  # fmt: skip


def test_every_document_that_code_names_is_there() -> None:
    """Messages, alarms and comments send people to documents, too."""
    named = re.compile(r"(?<![\w./-])(?:[\w-]+/)+[A-Z]\w*\.md\b")
    files = [
        path
        for folder in ("functions", "statemachine", "terraform", "tests")
        for suffix in ("py", "tf", "yaml", "html")
        for path in (REPOSITORY / folder).rglob(f"*.{suffix}")
        if not {".terraform", "node_modules"} & set(path.parts)
    ]
    found = {(path, name) for path in files for name in named.findall(path.read_text())}
    assert len(found) > 5
    assert [(path, name) for path, name in found if not (REPOSITORY / name).exists()] == []


def test_the_readme_can_be_read_in_one_go() -> None:
    assert len(README.read_text().splitlines()) <= 160
