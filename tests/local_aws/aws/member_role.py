"""The role of a member account, as CloudFormation makes it of the template that is rolled out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import yaml

from tests.support.paths import TERRAFORM

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPLATE = TERRAFORM / "modules" / "member_role" / "stackset.yaml"

_RESOURCE = "MemberRole"


class Trust(TypedDict):
    """What the role has to trust, as the output ``member_role_trust`` of a deployment says it."""

    role_name: str
    monitor_account_id: str
    monitor_role_arns: list[str]
    external_id: str


def parameters(trust: Trust) -> dict[str, str]:
    """Return the parameters of the template, as CloudFormation takes them: text."""
    return {
        "Name": trust["role_name"],
        "MonitorAccountId": trust["monitor_account_id"],
        "MonitorRoleArns": ",".join(trust["monitor_role_arns"]),
        "ExternalId": trust["external_id"],
    }


def properties(trust: Trust) -> dict[str, Any]:
    """Return the properties of the role, an ``AWS::IAM::Role``, with the parameters filled in."""
    template, given = yaml.safe_load(TEMPLATE.read_text()), parameters(trust)
    values: dict[str, Any] = {
        name: given[name].split(",") if parameter["Type"] == "CommaDelimitedList" else given[name]
        for name, parameter in template["Parameters"].items()
    }
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
