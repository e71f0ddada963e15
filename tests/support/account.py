"""A generated account with all that users may have, and what IAM's two reports say of it, written from their documents.

Nothing of the functions is imported: what a record must hold is worked out from the model, as calls for every single
user (ListMFADevices, GetLoginProfile, ListAccessKeys, GetAccessKeyLastUsed, ListGroupsForUser …) would tell it.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

ACCOUNT = "123456789012"
GENERATED = datetime(2026, 1, 31, 9, 0, 0, tzinfo=UTC)
"""When the credential report was made."""

ADMINISTRATOR_ACCESS = ("arn:aws:iam::aws:policy/AdministratorAccess", "arn:aws-cn:iam::aws:policy/AdministratorAccess")
HARMLESS = ("arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::aws:policy/AdministratorAccess-Amplify")

COLUMNS = [
    "user", "arn", "user_creation_time", "password_enabled", "password_last_used", "password_last_changed",
    "password_next_rotation", "mfa_active", "access_key_1_active", "access_key_1_last_rotated",
    "access_key_1_last_used_date", "access_key_1_last_used_region", "access_key_1_last_used_service",
    "access_key_2_active", "access_key_2_last_rotated", "access_key_2_last_used_date", "access_key_2_last_used_region",
    "access_key_2_last_used_service", "cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated",
]  # fmt: skip


@dataclass(frozen=True)
class Key:
    active: bool
    created: datetime
    used: datetime | None = None
    region: str | None = None
    service: str | None = None


@dataclass(frozen=True)
class User:
    name: str
    user_id: str
    created: datetime
    path: str = "/"
    password_changed: datetime | None = None
    """None: no password."""
    password_next: datetime | None = None
    mfa: bool = False
    keys: tuple[Key | None, Key | None] = (None, None)
    """By slot."""
    certificates: tuple[Key | None, Key | None] = (None, None)
    groups: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()
    inline: tuple[tuple[str, bool], ...] = ()
    """Names, and whether they allow everything."""
    boundary: str | None = None
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{ACCOUNT}:user{self.path}{self.name}"

    @property
    def listed(self) -> dict[str, str]:
        """The user as ListUsers tells of it."""
        return {"user_name": self.name, "user_id": self.user_id, "arn": self.arn, "create_date": iso(self.created)}


@dataclass(frozen=True)
class Group:
    attached: tuple[str, ...] = ()
    inline: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True)
class Account:
    users: tuple[User, ...]
    """Those of now, of whom ListUsers and the authorization details tell."""
    reported: tuple[User, ...]
    """Those of when the credential report was made: some are newer, some were deleted, some are others of the name."""
    groups: dict[str, Group] = field(default_factory=dict)
    policies: dict[str, bool] = field(default_factory=dict)
    """The customer-managed ones, by ARN, and whether they allow everything."""

    def expected(self, user: User, recorded_tags: Sequence[str]) -> dict[str, Any]:
        """Return what a record must hold of a user besides what ListUsers tells."""
        return {**self._credentials(user), **self._authorization(user, recorded_tags)}

    def _credentials(self, user: User) -> dict[str, Any]:
        if user not in self.reported:
            return {}
        facts: dict[str, Any] = {
            "credential_report_time": iso(GENERATED),
            "password_enabled": user.password_changed is not None,
            "mfa_active": user.mfa,
        }
        if user.password_changed is not None:
            facts["password_last_changed"] = iso(user.password_changed)
            if user.password_next is not None:
                facts["password_next_rotation"] = iso(user.password_next)
        for things, name in ((user.keys, "access_key"), (user.certificates, "cert")):
            for slot, key in enumerate(things, start=1):
                if key is None:
                    continue
                facts[f"{name}_{slot}_active"] = key.active
                facts[f"{name}_{slot}_last_rotated"] = iso(key.created)
                if key.used is not None:
                    facts[f"{name}_{slot}_last_used_date"] = iso(key.used)
                for what in ("region", "service"):
                    if key.used is not None and getattr(key, what) is not None:
                        facts[f"{name}_{slot}_last_used_{what}"] = getattr(key, what)
        return facts

    def _authorization(self, user: User, recorded_tags: Sequence[str]) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "groups": sorted(user.groups),
            "attached_policies": sorted(user.attached),
            "inline_policies": sorted(name for name, _ in user.inline),
            "admin_via": sorted(self._reasons(user)),
        }
        if user.boundary is not None:
            facts["permissions_boundary"] = user.boundary
        if any(key in recorded_tags for key, _ in user.tags):
            facts["tags"] = {key: value for key, value in user.tags if key in recorded_tags}
        return facts

    def _reasons(self, user: User) -> list[str]:
        reasons = [f"policy {arn}" for arn in user.attached if self._all_powerful(arn)]
        reasons += [f"inline policy {name}" for name, powerful in user.inline if powerful]
        for name in user.groups:
            group = self.groups[name]
            reasons += [f"group {name}: policy {arn}" for arn in group.attached if self._all_powerful(arn)]
            reasons += [f"group {name}: inline policy {policy}" for policy, powerful in group.inline if powerful]
        return reasons

    def _all_powerful(self, arn: str) -> bool:
        return arn in ADMINISTRATOR_ACCESS or self.policies.get(arn, False)


def iso(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


# What IAM says


@dataclass(frozen=True)
class Style:
    """How a report is written: all of it was seen, or is documented."""

    offset: str = "Z"
    nothing: str = "N/A"
    truth: tuple[str, str] = ("false", "true")
    extra: tuple[str, ...] = ()
    """Columns that nobody knows, and where they come."""
    order: tuple[int, ...] = tuple(range(len(COLUMNS)))
    root: bool = True


def report(users: Sequence[User], style: Style | None = None) -> bytes:
    """Return the credential report of users, as IAM gives it."""
    style = style or Style()

    def time(instant: datetime | None, nothing: str = style.nothing) -> str:
        return nothing if instant is None else instant.strftime("%Y-%m-%dT%H:%M:%S") + style.offset

    def key(one: Key | None, *, used: bool) -> list[str]:
        if one is None:
            return [style.truth[0], style.nothing, *[style.nothing] * (3 if used else 0)]
        use = [time(one.used), one.region or style.nothing, one.service or style.nothing]
        if one.used is None:
            use = [style.nothing] * 3
        return [style.truth[one.active], time(one.created), *(use if used else [])]

    rows = [
        [
            user.name, user.arn, time(user.created), style.truth[user.password_changed is not None],
            "no_information" if user.password_changed else style.nothing, time(user.password_changed),
            time(user.password_next) if user.password_changed else style.nothing, style.truth[user.mfa],
            *key(user.keys[0], used=True), *key(user.keys[1], used=True),
            *key(user.certificates[0], used=False), *key(user.certificates[1], used=False),
        ]
        for user in users
    ]  # fmt: skip
    if style.root:
        nothing = [style.truth[0], "N/A"]
        created, used = (time(datetime(*day, tzinfo=UTC)) for day in ((2020, 1, 2), (2026, 1, 30)))
        root = ["<root_account>", f"arn:aws:iam::{ACCOUNT}:root", created, "not_supported", used, "not_supported",
                "not_supported", style.truth[1],
                *nothing, *["N/A"] * 3, *nothing, *["N/A"] * 3, *nothing, *nothing]  # fmt: skip
        rows.insert(0, root)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*style.extra, *(COLUMNS[number] for number in style.order)])
    for row in rows:
        writer.writerow([*("?" for _ in style.extra), *(row[number] for number in style.order)])
    return text.getvalue().encode()


def document(powerful: bool, *, encoded: bool) -> Any:
    statement = {"Effect": "Allow", "Action": "*" if powerful else "s3:*", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    return quote(json.dumps(policy), safe="") if encoded else policy


def details(account: Account, sizes: Sequence[int] = (1000,), *, encoded: bool = False) -> list[dict[str, Any]]:
    """Return the pages of GetAccountAuthorizationDetails, of so many items each, the last size again and again."""

    def attached(arns: Sequence[str]) -> list[dict[str, str]]:
        return [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in arns]

    def inline(policies: Sequence[tuple[str, bool]]) -> list[dict[str, Any]]:
        return [{"PolicyName": name, "PolicyDocument": document(power, encoded=encoded)} for name, power in policies]

    entries: list[tuple[str, dict[str, Any]]] = []
    for user in account.users:
        entry: dict[str, Any] = {
            "UserName": user.name, "UserId": user.user_id, "Arn": user.arn, "Path": user.path,
            "CreateDate": user.created, "GroupList": list(user.groups),
            "AttachedManagedPolicies": attached(user.attached),
            "Tags": [{"Key": key, "Value": value} for key, value in user.tags],
        }  # fmt: skip
        if user.inline:  # absent where there is none
            entry["UserPolicyList"] = inline(user.inline)
        if user.boundary is not None:
            entry["PermissionsBoundary"] = {
                "PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": user.boundary,
            }  # fmt: skip
        entries.append(("UserDetailList", entry))
    for name, group in account.groups.items():
        entry = {"GroupName": name, "AttachedManagedPolicies": attached(group.attached)}
        entries.append(("GroupDetailList", entry | {"GroupPolicyList": inline(group.inline)}))
    for arn, powerful in account.policies.items():
        versions = [
            {"VersionId": "v1", "IsDefaultVersion": False, "Document": document(not powerful, encoded=encoded)},
            {"VersionId": "v2", "IsDefaultVersion": True, "Document": document(powerful, encoded=encoded)},
        ]
        entries.append(("Policies", {"Arn": arn, "DefaultVersionId": "v2", "PolicyVersionList": versions}))
    pages: list[dict[str, Any]] = []
    size = iter(sizes)
    step = next(size)
    while True:
        taken, entries = entries[:step], entries[step:]
        page: dict[str, Any] = {"UserDetailList": [], "GroupDetailList": [], "Policies": [], "RoleDetailList": []}
        for kind, entry in taken:
            page[kind].append(entry)
        more = {"IsTruncated": True, "Marker": f"m{len(pages) + 1}"} if entries else {"IsTruncated": False}
        pages.append(page | more)
        if not entries:
            return pages
        step = next(size, max(step, 1))


# Accounts at random

_SECONDS = st.integers(0, 86_400 * 300)
_BEFORE = _SECONDS.map(lambda seconds: GENERATED - timedelta(seconds=seconds))
_NAMES = st.text(st.sampled_from("abXY09+=,.@_-"), min_size=1, max_size=12)
_GROUPS = ("admins", "developers", "Operators,EU", "empty")
_POLICIES = tuple(f"arn:aws:iam::{ACCOUNT}:policy/{name}" for name in ("power", "path/read"))
_ARNS = st.sampled_from([*ADMINISTRATOR_ACCESS, *HARMLESS, *_POLICIES])
_INLINE = st.dictionaries(st.sampled_from(["a", "b,c", "d"]), st.booleans(), max_size=2).map(lambda d: tuple(d.items()))


@st.composite
def _keys(draw: st.DrawFn) -> Key:
    used = draw(st.none() | _BEFORE)
    region = draw(st.sampled_from([None, "us-east-1", "eu-west-1"]))
    return Key(draw(st.booleans()), draw(_BEFORE), used, region, draw(st.sampled_from([None, "s3", "iam"])))


@st.composite
def _users(draw: st.DrawFn, name: str, number: int) -> User:
    certificate = st.none() | st.builds(Key, st.booleans(), _BEFORE)
    password = draw(st.none() | _BEFORE)
    return User(
        name=name,
        user_id=f"AIDA{number:017}",
        created=draw(_BEFORE),
        path=draw(st.sampled_from(["/", "/ops/", "/a,b/"])),
        password_changed=password,
        password_next=draw(st.none() | _BEFORE) if password else None,
        mfa=draw(st.booleans()),
        keys=(draw(st.none() | _keys()), draw(st.none() | _keys())),
        certificates=(draw(certificate), draw(certificate)),
        groups=tuple(draw(st.lists(st.sampled_from(_GROUPS), max_size=3, unique=True))),
        attached=tuple(draw(st.lists(_ARNS, max_size=3, unique=True))),
        inline=draw(_INLINE),
        boundary=draw(st.none() | st.just(_POLICIES[1])),
        tags=tuple(draw(st.dictionaries(st.sampled_from(["team", "mail", "Team"]), st.text(max_size=4))).items()),
    )


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    """Draw an account, and what became of its users since the credential report was made."""
    names = draw(st.lists(_NAMES, max_size=6, unique_by=str.lower))
    users, reported = [], []
    for number, name in enumerate(names):
        user = draw(_users(name, number))
        became = draw(st.sampled_from(["stayed", "stayed", "created", "deleted", "recreated", "renamed"]))
        if became == "created":
            users.append(replace(user, created=GENERATED + timedelta(seconds=draw(st.integers(1, 3600)))))
        elif became == "deleted":
            reported.append(user)
        elif became == "recreated":
            reported.append(user)
            seconds = draw(st.integers(1, 3600))
            again = draw(_users(name, number + 100))
            users.append(replace(again, path=user.path, created=user.created + timedelta(seconds=seconds)))
        elif became == "renamed":
            reported.append(user)
            users.append(replace(user, name=f"{name}-2"))
        else:
            users.append(user)
            reported.append(user)
    group = st.builds(Group, st.lists(_ARNS, max_size=2, unique=True).map(tuple), _INLINE)
    return Account(
        users=tuple(draw(st.permutations(users))),
        reported=tuple(draw(st.permutations(reported))),
        groups={name: draw(group) for name in _GROUPS},
        policies={arn: draw(st.booleans()) for arn in _POLICIES},
    )


STYLES = st.builds(
    Style,
    offset=st.sampled_from(["Z", "+00:00"]),
    nothing=st.sampled_from(["N/A", "no_information", "not_supported", ""]),
    truth=st.sampled_from([("false", "true"), ("FALSE", "TRUE")]),
    extra=st.lists(st.sampled_from(["additional_credentials_info", "x,y"]), max_size=2, unique=True).map(tuple),
    order=st.permutations(range(len(COLUMNS))).map(tuple),
    root=st.booleans(),
)
