"""What surrounds the code is in step with it."""

import re

from tests.support.documents import DOCUMENTS, OPERATING
from tests.support.paths import REPOSITORY

MAKEFILE = (REPOSITORY / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):.*## ", MAKEFILE, re.MULTILINE))
WORKFLOW = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text()


def test_every_target_that_a_person_calls_has_a_line_of_help() -> None:
    named = {target for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE) for target in line.split()}
    assert sorted(named - TARGETS) == ["on-aws", "pytest"]


def test_ci_calls_make_targets_only() -> None:
    commands = re.findall(r"^\s+- run: (.*)$", WORKFLOW, re.MULTILINE)
    assert commands
    assert [command for command in commands if command.removeprefix("make ") not in TARGETS] == []


def test_ci_pins_its_actions_and_may_only_read() -> None:
    uses = re.findall(r"uses: (\S+)", WORKFLOW)
    assert [one for one in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one)] == []
    assert re.search(r"^permissions:\n  contents: read\n\n", WORKFLOW, re.MULTILINE)


def test_every_target_that_a_text_names_exists() -> None:
    for document in (*DOCUMENTS, OPERATING):
        named = set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", document.read_text(), re.MULTILINE))
        assert sorted(named - TARGETS) == [], document


def test_ci_tries_the_oldest_provider_and_the_newest_of_each_major() -> None:
    (versions,) = re.findall(r"version: \[(.*)\]\n    env:\n      AWS_PROVIDER_VERSION: ", WORKFLOW)
    constraint = (REPOSITORY / "terraform" / "versions.tf").read_text()
    assert versions == '"5.67.0", "5.100.0", "~> 6.41"'
    assert '">= 5.67, < 7.0, ' in constraint, "with other bounds, other versions are to be tried"
