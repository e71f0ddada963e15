"""The role of a member account, as CloudFormation makes it of the template that is rolled out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from tests.support.paths import TERRAFORM

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPLATE = TERRAFORM / "modules" / "member_role" / "stackset.yaml"

_RESOURCE = "MemberRole"


def parameters(monitor_account_id: str, monitor_role_arns: list[str], external_id: str) -> dict[str, str]:
    """Return the parameters of the template that have no default, as CloudFormation takes them: text."""
    return {
        "MonitorAccountId": monitor_account_id,
        "MonitorRoleArns": ",".join(monitor_role_arns),
        "ExternalId": external_id,
    }


def properties(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the properties of the role, an ``AWS::IAM::Role``, with these parameters filled in."""
    template = yaml.safe_load(TEMPLATE.read_text())
    values: dict[str, Any] = {}
    for name, parameter in template["Parameters"].items():
        text = given[name] if name in given else parameter["Default"]
        values[name] = text.split(",") if parameter["Type"] == "CommaDelimitedList" else text
    filled: dict[str, Any] = _filled_in(template["Resources"][_RESOURCE]["Properties"], values)
    return filled


def _filled_in(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"Ref"}:
            return values[value["Ref"]]
        return {name: _filled_in(inner, values) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled_in(inner, values) for inner in value]
    return value
