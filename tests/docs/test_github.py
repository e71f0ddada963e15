"""GitHub can read the issue forms, and what stands beside them says what is so."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.table.announcement import PICTURE_KEPT_DAYS, PICTURE_RENEWED_DAYS
from functions.table.posture import KEPT_DAYS
from tests.support.paths import REPOSITORY, TERRAFORM

GITHUB = REPOSITORY / ".github"
CHOOSER = GITHUB / "ISSUE_TEMPLATE" / "config.yml"
FORMS = sorted(set((GITHUB / "ISSUE_TEMPLATE").iterdir()) - {CHOOSER})
SECURITY = (GITHUB / "SECURITY.md").read_text()

# What GitHub takes, from "Syntax for issue forms" and "Syntax for GitHub's form schema" of its documentation.
FORM_KEYS = {"name", "description", "body", "title", "labels", "assignees", "projects", "type"}
ATTRIBUTES = {
    "markdown": {"value"},
    "input": {"label", "description", "placeholder", "value"},
    "textarea": {"label", "description", "placeholder", "value", "render"},
    "dropdown": {"label", "description", "multiple", "options", "default"},
    "checkboxes": {"label", "description", "options"},
}


def faults(form: Any) -> list[str]:
    """Return what GitHub would refuse in a form."""
    if not isinstance(form, dict):
        return ["it is no mapping"]
    found = [f"{key} is missing" for key in ("name", "description", "body") if not form.get(key)]
    found += [f"{key} is no key of a form" for key in form if key not in FORM_KEYS]
    found += [f"{key} is no text" for key in ("name", "description", "title") if not isinstance(form.get(key, ""), str)]
    fields = form.get("body") or []
    for number, field in enumerate(fields):
        found += [f"field {number}: {fault}" for fault in _faults_of_field(field)]
    if fields and all(field.get("type") == "markdown" for field in fields):
        found.append("nothing can be filled in")
    for what, values in (
        ("id", [field["id"] for field in fields if "id" in field]),
        ("label", [field.get("attributes", {}).get("label") for field in fields if field.get("type") != "markdown"]),
    ):
        found += [
            f"{what} {value!r} is there twice" for value in sorted({one for one in values if values.count(one) > 1})
        ]
    return found


def _faults_of_field(field: dict[str, Any]) -> list[str]:
    kind, attributes = field.get("type"), field.get("attributes") or {}
    if kind not in ATTRIBUTES:
        return [f"{kind!r} is no type"]
    required = "value" if kind == "markdown" else "label"
    found = [] if attributes.get(required) else [f"it has no {required}"]
    found += [f"{key} is no attribute of {kind}" for key in attributes if key not in ATTRIBUTES[kind]]
    found += [
        f"{key} is no text" for key in ("label", "description", "value") if not isinstance(attributes.get(key, ""), str)
    ]
    found += [f"{key} is no key of a field" for key in field if key not in {"type", "id", "attributes", "validations"}]
    if "id" in field and (kind == "markdown" or not re.fullmatch(r"[A-Za-z0-9_-]+", str(field["id"]))):
        found.append(f"the id {field['id']!r} is none")
    if kind in {"dropdown", "checkboxes"}:
        options = attributes.get("options") or []
        if not options:
            found.append("there is nothing to choose")
        names = [option.get("label") if isinstance(option, dict) else option for option in options]
        wanted = dict if kind == "checkboxes" else str
        if not all(isinstance(option, wanted) for option in options) or not all(names):
            found.append("an option is none")
        if len(set(map(str, names))) < len(names):
            found.append("an option is there twice")
        if kind == "dropdown" and "None" in names:
            found.append("the option None is GitHub's own")
    for key, value in (field.get("validations") or {}).items():
        if key != "required" or not isinstance(value, bool) or kind == "markdown":
            found.append(f"{key}: {value} is no validation of {kind}")
    return found


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_github_can_read_the_form(form: Path) -> None:
    assert form.suffix == ".yml"
    assert faults(yaml.safe_load(form.read_text())) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("name: Something is wrong\n", "", "name is missing"),
        ("labels: ", "label: ", "label is no key of a form"),
        ("type: dropdown", "type: select", "'select' is no type"),
        ("id: repeat", "id: happened", "id 'happened' is there twice"),
        ("label: Version", "label: Where", "label 'Where' is there twice"),
        ("id: version", "id: the version", "the id 'the version' is none"),
        ("- Terraform\n", "- A document\n", "an option is there twice"),
        ("- Terraform\n", "- None\n", "the option None is GitHub's own"),
        ("- Terraform\n", "- true\n", "an option is none"),
        ("required: true", "required: 1", "required: 1 is no validation"),
        ("render: text", "renders: text", "renders is no attribute of textarea"),
        ("      value: |", "      label: |", "it has no value"),
    ],
)
def test_a_fault_in_a_form_is_seen(old: str, new: str, fault: str) -> None:
    text = next(path for path in FORMS if path.stem == "bug").read_text()
    assert old in text
    assert fault in "; ".join(faults(yaml.safe_load(text.replace(old, new, 1))))


def test_forms_have_names_of_their_own_and_nobody_goes_past_them() -> None:
    names = [yaml.safe_load(form.read_text())["name"] for form in FORMS]
    assert len(set(names)) == len(names) == 3
    assert yaml.safe_load(CHOOSER.read_text()) == {"blank_issues_enabled": False}


def test_security_names_everything_that_is_asked_of_iam_and_organizations_and_all_of_it_only_reads() -> None:
    asked = set(re.findall(r'"((?:iam|organizations|sts):\w+)"', (TERRAFORM / "steps.tf").read_text()))
    assert asked
    told = SECURITY.split("## What the deployment may do")[1].split("\n## ")[0]
    assert set(re.findall(r"`((?:iam|organizations|sts):\w+)`", told)) == asked
    # GenerateCredentialReport has IAM make a report, and AssumeRole lets the others be asked elsewhere: neither changes
    # anything.
    assert {action for action in asked if not re.match(r"\w+:(List|Get)", action)} == {
        "iam:GenerateCredentialReport",
        "sts:AssumeRole",
    }


def test_security_says_how_long_copies_are_kept() -> None:
    assert f"| {KEPT_DAYS} and {PICTURE_KEPT_DAYS + PICTURE_RENEWED_DAYS} days |" in SECURITY
