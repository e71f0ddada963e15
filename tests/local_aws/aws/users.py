"""Makes a realistic population of IAM users: people and machines, with credentials and permissions that have grown."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.local_aws.aws import ACCOUNT_ID, past
from tests.local_aws.aws.past import Call
from tests.local_aws.errors import LocalAwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.local_aws.aws.emulator import Emulator

MAX_USERS = 5000
"""The quota of IAM users in an account."""

_USERS_PER_ORDER = 250
_PASSWORD = "the local AWS keeps none"
_SHARE_OF_PEOPLE = 0.7

_FIRST = [
    "ana",
    "ben",
    "carla",
    "daniel",
    "elena",
    "farid",
    "grace",
    "hiro",
    "ines",
    "jonas",
    "kira",
    "liam",
    "maya",
    "noah",
    "olga",
    "paul",
    "rosa",
    "sam",
    "tara",
    "yusuf",
]
_LAST = [
    "adler",
    "baker",
    "costa",
    "dubois",
    "evans",
    "fischer",
    "garcia",
    "haas",
    "ito",
    "jansen",
    "kaya",
    "lopez",
    "meyer",
    "novak",
    "okafor",
    "park",
    "rossi",
]
_PATHS = ["/", "/engineering/", "/engineering/platform/", "/finance/", "/security/", "/contractors/2026/"]
_MACHINES = ["backup", "ci-deploy", "etl", "grafana", "mail-relay", "terraform"]
_MACHINE_PATHS = ["/service-accounts/", "/service-accounts/ci/", "/legacy/"]
_TEAMS = ["platform", "payments", "R&D", "security", "data"]
_REGIONS = ["eu-central-1", "eu-west-1", "us-east-1"]
_SERVICES = ["s3", "ec2", "dynamodb", "sts", "logs"]

_AWS = "arn:aws:iam::aws:policy/"
_BOUNDARY = "contractor-boundary"
_ADMIN_POLICY = "platform-admin"
_GROUPS = {
    "developers": ["PowerUserAccess"],
    "operators": ["ReadOnlyAccess", "AmazonEC2FullAccess"],
    "administrators": ["AdministratorAccess"],
}
_MACHINE_POLICIES = ["AmazonS3ReadOnlyAccess", "AmazonDynamoDBFullAccess", "CloudWatchReadOnlyAccess"]
_YEARS = 4 * 365


@dataclass(frozen=True)
class NewUser:
    """A user to create, and everything that happened to it since."""

    name: str
    path: str
    history: tuple[Call, ...]


def parse_count(text: str) -> int:
    """Return how many users to create, from what the person typed.

    Raises
    ------
    LocalAwsError
        It is not a whole number from 0 to 5,000.
    """
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_USERS):
        raise LocalAwsError(
            f"USERS must be a whole number from 0 to {MAX_USERS} (the quota of an AWS account), got {text!r}"
        )
    return int(text)


def population(count: int, today: datetime, seed: int = 1, account: str = ACCOUNT_ID) -> Iterator[NewUser]:
    """Yield so many users of an account, the same ones each time for the same seed and day.

    Their lives end before ``today``, so that what is old stays old whenever they are made.
    """
    chance = random.Random(seed)
    for number in range(count):
        if chance.random() < _SHARE_OF_PEOPLE:
            name = f"{chance.choice(_FIRST)}.{chance.choice(_LAST)}{number}"
            life = _Life(name, chance.choice(_PATHS), today, chance, account)
            life.of_a_person()
        else:
            name = f"svc-{chance.choice(_MACHINES)}-{number:04}"
            life = _Life(name, chance.choice(_MACHINE_PATHS), today, chance, account)
            life.of_a_machine()
        yield NewUser(name, life.path, tuple(life.history))


class _Life:
    """What happens to one user."""

    def __init__(self, name: str, path: str, today: datetime, chance: random.Random, account: str) -> None:
        self._own = f"arn:aws:iam::{account}"
        self.name, self.path, self.history = name, path, list[Call]()
        self._today, self._chance, self._keys = today, chance, 0
        self._created = today - timedelta(days=1 + self._chance.triangular(0, _YEARS, 200))

    def of_a_person(self) -> None:
        tags = {"team": self._chance.choice(_TEAMS), "cost-center": str(self._chance.randrange(1000, 1020))}
        self._create(tags, _BOUNDARY if self.path.startswith("/contractors/") else None)
        for group, share in (("developers", 0.6), ("operators", 0.2), ("administrators", 0.03)):
            if self._happens(share):
                self._did("AddUserToGroup", GroupName=group)
        if self._happens(0.95):
            self._password()
        if self._happens(0.02):
            # Made in one go with the user, as the console once did by itself.
            self._access_key(self._created)
        elif self._happens(0.25):
            self._access_key(self._since_created())
            if self._happens(0.2):
                self._access_key(self._since_created())
        for policy, share in (("AWSCloudShellFullAccess", 0.02), ("AdministratorAccess", 0.01)):
            if self._happens(share):
                self._did("AttachUserPolicy", PolicyArn=_AWS + policy)
        if self._happens(0.03):
            self._did("AttachUserPolicy", PolicyArn=f"{self._own}:policy/{_ADMIN_POLICY}")

    def of_a_machine(self) -> None:
        self._create({"team": self._chance.choice(_TEAMS), "managed-by": "terraform"})
        if self._happens(0.95):
            self._access_key(self._since_created())
            if self._happens(0.25):
                self._access_key(self._since_created())
        if self._happens(0.8):
            self._did("AttachUserPolicy", PolicyArn=_AWS + self._chance.choice(_MACHINE_POLICIES))
        if self._happens(0.3):
            document = _allow(f"{self._chance.choice(_SERVICES)}:*", f"arn:aws:s3:::{self.name}/*")
            self._did("PutUserPolicy", PolicyName="own-bucket", PolicyDocument=document)
        if self._happens(0.04):
            self._did("PutUserPolicy", PolicyName="until-it-works", PolicyDocument=_allow("*", "*"))

    def _create(self, tags: dict[str, str], boundary: str | None = None) -> None:
        tagged = {
            f"Tags.member.{number}.{part}": text
            for number, tag in enumerate(tags.items(), start=1)
            for part, text in zip(("Key", "Value"), tag, strict=True)
        }
        bounded = {"PermissionsBoundary": f"{self._own}:policy/{boundary}"} if boundary else {}
        self._did("CreateUser", Path=self.path, **tagged, **bounded)

    def _password(self) -> None:
        self._did("CreateLoginProfile", Password=_PASSWORD)
        if self._happens(0.3):
            self._did("UpdateLoginProfile", self._since_created(), Password=_PASSWORD)
        if self._happens(0.85):
            enabled = self._since_created()
            self._did("CreateVirtualMFADevice", enabled, VirtualMFADeviceName=self.name)
            self._did("EnableMFADevice", enabled, SerialNumber=f"{self._own}:mfa/{self.name}")
        if self._happens(0.85):
            self._did("SignIn", self._lately() if self._happens(0.8) else self._since_created())

    def _access_key(self, made: datetime) -> None:
        self._keys += 1
        number = str(self._keys)
        self._did("CreateAccessKey", made)
        if self._happens(0.8):
            use = {"Region": self._chance.choice(_REGIONS), "ServiceName": self._chance.choice(_SERVICES)}
            moment = self._lately() if self._happens(0.7) else self._since_created()
            self._did("UseAccessKey", max(made, moment), KeyNumber=number, **use)
        if self._happens(0.12):
            self._did("UpdateAccessKey", self._today, KeyNumber=number, Status="Inactive")

    def _did(self, action: str, at: datetime | None = None, /, **parameters: str) -> None:
        self.history.append(Call(at or self._created, action, {"UserName": self.name, **parameters}))

    def _happens(self, share: float) -> bool:
        return self._chance.random() < share

    def _since_created(self) -> datetime:
        return self._created + self._chance.random() * (self._today - self._created)

    def _lately(self) -> datetime:
        return max(self._created, self._today - timedelta(days=30 * self._chance.random()))


def create_users(aws: Emulator, count: int, progress: Callable[[int], None]) -> None:
    """Create the users that do not exist yet, and what they share.

    Parameters
    ----------
    progress
        Called with the number of users done, now and then.
    """
    iam = aws.client("iam")
    today = _today()
    if not _GROUPS.keys() <= {group["GroupName"] for group in iam.list_groups()["Groups"]}:
        _settle(aws, today, ACCOUNT_ID)
    existing = {user["UserName"] for page in iam.get_paginator("list_users").paginate() for user in page["Users"]}
    users = list(population(count, today))
    for start in range(0, count, _USERS_PER_ORDER):
        some = users[start : start + _USERS_PER_ORDER]
        past.happened(aws, [call for user in some if user.name not in existing for call in user.history])
        progress(start + len(some))


def populate(aws: Emulator, count: int, account: str) -> list[str]:
    """Create users in an account that has none yet, and what they share, and return their names.

    They are others than those of another account, and the same ones each time.
    """
    today = _today()
    _settle(aws, today, account)
    users = list(population(count, today, int(account), account))
    for start in range(0, count, _USERS_PER_ORDER):
        some = users[start : start + _USERS_PER_ORDER]
        past.happened(aws, [call for user in some for call in user.history], account)
    return [user.name for user in users]


def _today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _settle(aws: Emulator, today: datetime, account: str) -> None:
    """Make what the users of an account share, and let its root be one that was used long ago."""
    past.happened(aws, _shared(today - timedelta(days=_YEARS + 1)), account)
    used = f"{today - timedelta(days=400):%Y-%m-%dT%H:%M:%SZ}"
    past.set_root(aws, account, mfa_active="true", password_last_used=used)


def _shared(at: datetime) -> Iterator[Call]:
    """Yield what made the groups and policies of the account."""
    for name, document in ((_ADMIN_POLICY, _allow("*", "*")), (_BOUNDARY, _allow("s3:*", "*"))):
        yield Call(at, "CreatePolicy", {"PolicyName": name, "PolicyDocument": document})
    for group, policies in _GROUPS.items():
        yield Call(at, "CreateGroup", {"GroupName": group})
        for policy in policies:
            yield Call(at, "AttachGroupPolicy", {"GroupName": group, "PolicyArn": _AWS + policy})
    document = _allow("ec2:RebootInstances", "*")
    yield Call(at, "PutGroupPolicy", {"GroupName": "operators", "PolicyName": "reboot", "PolicyDocument": document})


def _allow(action: str, resource: str) -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
