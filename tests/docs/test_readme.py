"""README.md tells what is so."""

import json
import re

from functions.table.record import ATTRIBUTES
from tests.docs import diagram
from tests.support import definition
from tests.support.paths import REPOSITORY

README = (REPOSITORY / "README.md").read_text()


def blocks(kind: str) -> dict[str, str]:
    """Return the bodies of all blocks of a kind in the Terraform configuration, by name."""
    text = "\n".join(path.read_text() for path in sorted((REPOSITORY / "terraform").glob("*.tf")))
    return dict(re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', text, re.MULTILINE | re.DOTALL))


def description(body: str) -> str:
    match = re.search(r'^  description\s*=\s*"(.*)"$', body, re.MULTILINE)
    assert match is not None
    return match[1].replace('\\"', '"')


def default(body: str) -> str:
    match = re.search(r"^  default\s*=\s*(.*)$", body, re.MULTILINE)
    assert match is not None, "every variable has a default: a deployment needs no settings"
    return match[1]


def test_the_variables_are_listed_with_their_defaults() -> None:
    expected = [
        f"| `{name}` | `{default(body)}` | {description(body)} |" for name, body in sorted(blocks("variable").items())
    ]
    assert expected, "there are variables"
    assert [row for row in expected if row not in README] == []


def test_the_outputs_are_listed() -> None:
    expected = [f"| `{name}` | {description(body)} |" for name, body in sorted(blocks("output").items())]
    assert expected, "there are outputs"
    assert [row for row in expected if row not in README] == []


def test_the_diagram_is_that_of_the_definition() -> None:
    drawn = README.split("```mermaid\n")[1].split("```")[0].splitlines()
    assert drawn == list(diagram.lines()), "print it anew: python -m tests.docs.diagram"


def test_every_command_is_in_a_section_that_is_tried() -> None:
    """Quick start is what CI and tests/e2e/test_commands.py run; the others, tests/e2e/test_readme.py types."""
    with_commands = [section.partition("\n")[0] for section in README.split("\n## ") if "\n```sh\n" in section]
    assert with_commands == [
        "Quick start",
        "Deploy to AWS",
        "What is recorded",
        "Ask what was recorded",
        "Redrive a failed run",
        "Troubleshooting",
        "Remove it",
    ]


def test_every_state_with_work_to_do_is_explained() -> None:
    tasks = [name for name, state in definition.states(definition.load()) if state["Type"] in {"Task", "Map"}]
    table = README.split("| State | What it does |")[1].split("\n\n")[0]
    assert [name for name in tasks if name not in table] == []


def test_the_documented_record_is_valid_json_with_the_documented_attributes() -> None:
    record = json.loads(README.split("```json")[1].split("```")[0])
    assert list(record) == [attribute.name for attribute in ATTRIBUTES]


def test_every_documented_make_target_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+)[a-z0-9 -]*:.*## ", makefile, re.MULTILINE))
    documented = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", README, re.MULTILINE))
    assert documented, "the README names targets"
    assert documented - targets == set()


def test_the_alarms_and_queries_are_listed() -> None:
    alarms = (REPOSITORY / "terraform" / "alarms.tf").read_text().split("all_alarms = {")[1]
    queries = (REPOSITORY / "terraform" / "queries.tf").read_text().split("queries = {")[1]
    names = re.findall(r"^    ([a-z-]+) += \{$", alarms, re.MULTILINE)
    assert len(names) == 8
    assert [name for name in names if f"| `iam-user-monitor-{name}` |" not in README] == []
    saved = re.findall(r"^    ([a-z-]+) += \{$", queries, re.MULTILINE)
    assert len(saved) == 4
    assert [name for name in saved if f"`{name}`" not in README] == []


def test_no_advice_that_a_redrive_cannot_take() -> None:
    """It runs the definition of the execution's start."""
    assert re.findall(r"(?:raise|lower)[^.;]*\band redrive", README.replace("\n", " ")) == []
