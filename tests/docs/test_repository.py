"""What surrounds the code is in step with it."""

import re

import pytest
import yaml

from tests.support.documents import EVERY
from tests.support.paths import REPOSITORY

MAKEFILE = (REPOSITORY / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):.*## ", MAKEFILE, re.MULTILINE))
WORKFLOWS = {path.name: path.read_text() for path in (REPOSITORY / ".github" / "workflows").iterdir()}
# What GitHub alone can do.
PUBLISHES = "gh release create "


def test_every_target_that_a_person_calls_has_a_line_of_help() -> None:
    named = {target for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE) for target in line.split()}
    # The last two are the parts of lint, which make test runs at different times.
    assert sorted(named - TARGETS) == ["on-aws", "security", "style"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_calls_make_targets_only(name: str) -> None:
    commands = re.findall(r"^\s+- run: (.*)$", WORKFLOWS[name], re.MULTILINE)
    assert commands
    published = [command for command in commands if command.startswith(PUBLISHES)]
    assert len(published) == (name == "release.yml")
    for command in commands:
        make, target, *_ = command.split()
        assert command in published or (make == "make" and target in TARGETS), command


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_pins_its_actions_and_may_only_read(name: str) -> None:
    uses = re.findall(r"uses: (\S+)", WORKFLOWS[name])
    assert [one for one in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one)] == []
    workflow = yaml.safe_load(WORKFLOWS[name])
    assert workflow["permissions"] == {"contents": "read"}
    more = {job for job, what in workflow["jobs"].items() if "permissions" in what}
    assert more == ({"publish"} if name == "release.yml" else set())


def test_what_may_publish_waits_for_the_tests_and_runs_none() -> None:
    publish = yaml.safe_load(WORKFLOWS["release.yml"])["jobs"]["publish"]
    assert publish["needs"] == "test"
    commands = [step["run"] for step in publish["steps"] if "run" in step]
    assert [command.split(" ")[1] for command in commands] == ["release-files", "release"]


def test_an_action_has_one_version_in_all_workflows() -> None:
    versions: dict[str, set[str]] = {}
    for action, version in re.findall(r"uses: ([^@\s]+)@(.*)", "\n".join(WORKFLOWS.values())):
        versions.setdefault(action, set()).add(version)
    assert {action: found for action, found in versions.items() if len(found) > 1} == {}


def test_every_target_that_a_text_names_exists() -> None:
    for document in EVERY:
        named = set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", document.read_text(), re.MULTILINE))
        assert sorted(named - TARGETS) == [], document


def test_ci_tries_the_oldest_provider_and_the_newest_of_each_major() -> None:
    (versions,) = re.findall(r"version: \[(.*)\]\n    env:\n      AWS_PROVIDER_VERSION: ", WORKFLOWS["ci.yml"])
    constraint = (REPOSITORY / "terraform" / "versions.tf").read_text()
    assert versions == '"5.67.0", "5.100.0", "~> 6.41"'
    assert '">= 5.67, < 7.0, ' in constraint, "with other bounds, other versions are to be tried"
