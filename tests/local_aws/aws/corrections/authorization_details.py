"""Corrections of IAM's authorization details."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from tests.local_aws.aws.corrections import iam as paging
from tests.local_aws.aws.corrections._ministack import service

_KINDS = ("User", "Group", "Role", "LocalManagedPolicy")
_LISTS = ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")


def details() -> None:
    """Return GetAccountAuthorizationDetails in pages, complete, and escaped.

    AWS returns at most MaxItems entries (1 to 1,000, 100 unless told) of all lists together, may return fewer with
    IsTruncated true, and a Marker to go on from (IAM API reference, GetAccountAuthorizationDetails). 67 of 118 were
    seen where 100 were asked for, so a page here is about that much shorter, always. Neither order nor snapshot is
    promised; here every list is in the order of its names, as in the correction of ListUsers. A user has its
    PermissionsBoundary, and no UserPolicyList where there is no inline policy; documents are URL-encoded.

    MiniStack ignores MaxItems and Marker, leaves permissions boundaries out, and a path or tag with ``&`` or ``<``
    makes its answer malformed XML. To go when it does none of that. (AWS also returns its own attached policies.)
    """
    iam = service("iam")

    def handle(request: Any) -> Any:
        try:
            limit = max(1, paging.max_items(iam._p(request, "MaxItems")) * 67 // 118)
            after = paging.decode_marker(iam._p(request, "Marker"))
        except ValueError as error:
            return iam._error(400, "ValidationError", str(error))
        asked = {value for name, (value, *_) in request.items() if name.startswith("Filter.member.")} or set(_KINDS)
        entries = sorted(
            (f"{number}/{name.lower()}", number, name)
            for number, (kind, names) in enumerate(zip(_KINDS, _names(iam), strict=True))
            if kind in asked
            for name in names
        )
        entries = [entry for entry in entries if after is None or entry[0] > after]
        page = entries[:limit]
        describe = _descriptions(iam)
        answer: dict[str, Any] = {name: [] for name in _LISTS}
        for _, number, name in page:
            answer[_LISTS[number]].append(describe[number](name))
        answer["IsTruncated"] = len(entries) > limit
        if len(entries) > limit:
            answer["Marker"] = paging.encode_marker(page[-1][0])
        result = _xml({"GetAccountAuthorizationDetailsResult": answer})
        return iam._xml(200, "GetAccountAuthorizationDetailsResponse", result)

    iam._IAM_HANDLERS["GetAccountAuthorizationDetails"]
    iam._IAM_HANDLERS["GetAccountAuthorizationDetails"] = handle


def _names(iam: Any) -> tuple[list[str], ...]:
    return list(iam._users), list(iam._groups), list(iam._roles), list(iam._policies)


def _descriptions(iam: Any) -> tuple[Callable[[str], dict[str, Any]], ...]:
    """Return what describes an entry by its name, for each of the kinds."""
    groups_of = defaultdict(list)
    for name, stored_group in iam._groups.items():
        for member in stored_group["Users"]:
            groups_of[member].append(name)

    def user(name: str) -> dict[str, Any]:
        stored = iam._users[name]
        inline = _inline(iam._user_inline_policies.get(name))
        return {
            **_fields(stored, "Path", "UserName", "UserId", "Arn", "CreateDate"),
            **({"UserPolicyList": inline} if inline else {}),
            "GroupList": groups_of[name],
            "AttachedManagedPolicies": _attached(iam, stored),
            **_boundary(stored),
            "Tags": [_fields(tag, "Key", "Value") for tag in stored["Tags"]],
        }

    def group(name: str) -> dict[str, Any]:
        stored = iam._groups[name]
        return {
            **_fields(stored, "Path", "GroupName", "GroupId", "Arn", "CreateDate"),
            "GroupPolicyList": _inline(iam._group_inline_policies.get(name)),
            "AttachedManagedPolicies": _attached(iam, stored),
        }

    def role(name: str) -> dict[str, Any]:
        stored = iam._roles[name]
        profiles = [
            {
                **_fields(profile, "Path", "InstanceProfileName", "InstanceProfileId", "Arn", "CreateDate"),
                "Roles": [_role_fields(iam._roles[member]) for member in profile["Roles"] if member in iam._roles],
            }
            for profile in iam._instance_profiles.values()
            if name in profile["Roles"]
        ]
        return {
            **_role_fields(stored),
            "InstanceProfileList": profiles,
            "RolePolicyList": _inline(stored.get("InlinePolicies")),
            "AttachedManagedPolicies": _attached(iam, stored),
            **_boundary(stored),
            "Tags": [_fields(tag, "Key", "Value") for tag in stored.get("Tags") or []],
        }

    def policy(arn: str) -> dict[str, Any]:
        stored = iam._policies[arn]
        return {
            **_fields(stored, "PolicyName", "PolicyId", "Arn", "Path", "DefaultVersionId", "AttachmentCount"),
            **_fields(stored, "IsAttachable", "CreateDate", "UpdateDate"),
            "PolicyVersionList": [
                {
                    "Document": _document(version["Document"]),
                    **_fields(version, "VersionId", "IsDefaultVersion", "CreateDate"),
                }
                for version in stored["Versions"].values()
            ],
        }

    return user, group, role, policy


def _role_fields(role: Mapping[str, Any]) -> dict[str, Any]:
    fields = _fields(role, "Path", "RoleName", "RoleId", "Arn", "CreateDate")
    return {**fields, "AssumeRolePolicyDocument": _document(role["AssumeRolePolicyDocument"])}


def _fields(stored: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: stored[name] for name in names}


def _inline(policies: Mapping[str, Any] | None) -> list[dict[str, str]]:
    return [{"PolicyName": name, "PolicyDocument": _document(text)} for name, text in (policies or {}).items()]


def _attached(iam: Any, stored: Mapping[str, Any]) -> list[dict[str, str]]:
    arns = stored.get("AttachedPolicies") or []
    known = {arn: iam._lookup_policy(arn) for arn in arns}
    return [
        {"PolicyName": known[arn]["PolicyName"] if known[arn] else arn.rpartition("/")[2], "PolicyArn": arn}
        for arn in arns
    ]


def _boundary(stored: Mapping[str, Any]) -> dict[str, Any]:
    arn = stored.get("PermissionsBoundary")
    if not arn:
        return {}
    boundary = {"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": arn}
    return {"PermissionsBoundary": boundary}


def _document(text: Any) -> str:
    return quote(str(text), safe="")


def _xml(value: Any) -> str:
    """Return the XML of a value as the query protocol writes it: fields by their names, and members of lists."""
    if isinstance(value, Mapping):
        return "".join(f"<{name}>{_xml(inner)}</{name}>" for name, inner in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{_xml(inner)}</member>" for inner in value)
    return escape(str(value).lower() if isinstance(value, bool) else str(value))
