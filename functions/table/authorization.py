"""The authorization details: condenses what IAM tells of users, groups and policies into the attributes of a record.

The account's details may be many megabytes. They come page by page, of each page only what a record needs is kept, and
the policies' documents are looked at and forgotten.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from functions.shared import timestamps
from functions.table.wire import Item

_AWS_MANAGED = re.compile(r"arn:[\w-]+:iam::aws:policy/(.+)")
_ADMINISTRATOR_ACCESS = "AdministratorAccess"
_EVERY_ACTION = re.compile(r"\*+(:\*+)?")
_EVERY_RESOURCE = re.compile(r"\*+")


@dataclass(frozen=True)
class _User:
    arn: str
    created: str
    facts: Item
    all_powerful: tuple[str, ...]
    """The names of the inline policies that allow everything."""


@dataclass(frozen=True)
class _Group:
    attached: tuple[str, ...]
    all_powerful: tuple[str, ...]


@dataclass
class Details:
    """What has been read so far.

    Parameters
    ----------
    recorded_tags
        The keys of the tags that are recorded.
    """

    recorded_tags: Collection[str]
    _users: dict[str, _User] = field(default_factory=dict)
    _groups: dict[str, _Group] = field(default_factory=dict)
    _policies: dict[str, bool] = field(default_factory=dict)
    """The customer-managed policies, and whether they allow everything."""

    def add(self, page: Mapping[str, Any]) -> None:
        """Take in a page of GetAccountAuthorizationDetails. What a later page tells again counts.

        Raises
        ------
        ValueError
            The document of a policy is no JSON.
        KeyError
            IAM left out what it always gives.
        """
        for user in page.get("UserDetailList", ()):
            self._users[user["UserId"]] = self._user(user)
        for group in page.get("GroupDetailList", ()):
            self._groups[group["GroupName"]] = _Group(
                attached=_attached(group), all_powerful=_all_powerful(group.get("GroupPolicyList", ()))
            )
        for policy in page.get("Policies", ()):
            self._policies[policy["Arn"]] = any(
                allows_everything(version["Document"])
                for version in policy.get("PolicyVersionList", ())
                if version["VersionId"] == policy["DefaultVersionId"]
            )

    @property
    def identities(self) -> list[tuple[str, str]]:
        """ARN and creation time of every user."""
        return [(user.arn, user.created) for user in self._users.values()]

    def facts(self) -> dict[str, Item]:
        """Return the attributes of the users, by user_id, when all pages were taken in."""
        return {user_id: self._facts(user) for user_id, user in self._users.items()}

    def _user(self, user: Mapping[str, Any]) -> _User:
        inline = user.get("UserPolicyList", ())
        facts: Item = {
            "groups": sorted(user.get("GroupList", ())),
            "attached_policies": sorted(_attached(user)),
            "inline_policies": sorted(policy["PolicyName"] for policy in inline),
        }
        boundary = user.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        if boundary:
            facts["permissions_boundary"] = boundary
        tags = {tag["Key"]: tag["Value"] for tag in user.get("Tags", ()) if tag["Key"] in self.recorded_tags}
        if tags:
            facts["tags"] = tags
        created = user["CreateDate"]
        return _User(user["Arn"], timestamps.to_seconds(created), facts, _all_powerful(inline))

    def _facts(self, user: _User) -> Item:
        via = self._admin_via(user)
        return user.facts if via is None else {**user.facts, "admin_via": via}

    def _admin_via(self, user: _User) -> list[str] | None:
        """Return why a user may do everything, or None where it is not known that there is no reason.

        A reason is a policy that allows everything: AWS's AdministratorAccess, or one of the account for which
        :func:`allows_everything` holds; attached to the user or part of it, or attached to, or part of, one of its
        groups. This is no policy simulator. It does not see: a Deny, a permissions boundary or an organization's policy
        that takes the power away; statements that only together, or by ``NotAction``, ``NotResource`` or a condition
        that always holds, allow everything; power by a detour, such as ``iam:*`` or ``iam:PassRole``, or by a role that
        the user may assume.

        A group or policy that the details lack (it came or went while they were listed) may be a reason.
        """
        reasons = [f"inline policy {name}" for name in user.all_powerful]
        unknown = False
        sources = [("", arn) for arn in user.facts["attached_policies"]]
        for name in user.facts["groups"]:
            group = self._groups.get(name)
            if group is None:
                unknown = True
                continue
            reasons += [f"group {name}: inline policy {policy}" for policy in group.all_powerful]
            sources += [(f"group {name}: ", arn) for arn in group.attached]
        for through, arn in sources:
            powerful = self._is_all_powerful(arn)
            unknown = unknown or powerful is None
            if powerful:
                reasons.append(f"{through}policy {arn}")
        return None if unknown and not reasons else sorted(reasons)

    def _is_all_powerful(self, arn: str) -> bool | None:
        aws_managed = _AWS_MANAGED.fullmatch(arn)
        if aws_managed is not None:
            return aws_managed[1] == _ADMINISTRATOR_ACCESS
        return self._policies.get(arn)


def allows_everything(document: Any) -> bool:
    """Tell whether a policy has a statement that by itself allows every action on every resource.

    It says Allow, one of its actions is ``*`` or ``*:*``, one of its resources ``*``, each alone or in a list, and it
    has no condition.

    Parameters
    ----------
    document
        The policy: an object as botocore decodes it, or the URL-encoded JSON of the API.

    Raises
    ------
    ValueError
        It is no JSON object.
    """
    if isinstance(document, str):
        document = json.loads(unquote(document))
    if not isinstance(document, Mapping):
        raise ValueError(f"the document of a policy is {type(document).__name__}, no object")
    return any(
        statement.get("Effect") == "Allow"
        and any(map(_EVERY_ACTION.fullmatch, _texts(statement.get("Action"))))
        and any(map(_EVERY_RESOURCE.fullmatch, _texts(statement.get("Resource"))))
        and not statement.get("Condition")
        for statement in _list(document.get("Statement"))
    )


def _attached(entity: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(policy["PolicyArn"] for policy in entity.get("AttachedManagedPolicies", ()))


def _all_powerful(policies: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(policy["PolicyName"] for policy in policies if allows_everything(policy["PolicyDocument"]))


def _list(value: Any) -> list[Any]:
    """Return what a policy may say as one thing or as a list of them, as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _texts(value: Any) -> list[str]:
    return [text for text in _list(value) if isinstance(text, str)]
