"""Makes a realistic population of IAM users: people and machines, in paths, some of whom have signed in."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.local_aws.aws import past
from tests.local_aws.errors import LocalAwsError

if TYPE_CHECKING:
    from tests.local_aws.aws.emulator import Emulator

MAX_USERS = 5000
"""The quota of IAM users in an account."""

_USERS_PER_ORDER = 250
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
_SHARE_OF_PEOPLE = 0.7
_SHARE_SIGNED_IN = 0.8


@dataclass(frozen=True)
class NewUser:
    """A user to create."""

    name: str
    path: str
    password_last_used: datetime | None


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


def population(count: int, seed: int = 1) -> Iterator[NewUser]:
    """Yield so many users, the same ones each time for the same seed."""
    chance = random.Random(seed)
    signed_in_since = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        if chance.random() < _SHARE_OF_PEOPLE:
            name = f"{chance.choice(_FIRST)}.{chance.choice(_LAST)}{number}"
            used = None
            if chance.random() < _SHARE_SIGNED_IN:
                used = signed_in_since + timedelta(seconds=chance.randrange(300 * 86_400))
            yield NewUser(name, chance.choice(_PATHS), used)
        else:
            yield NewUser(f"svc-{chance.choice(_MACHINES)}-{number:04}", chance.choice(_MACHINE_PATHS), None)


def create_users(aws: "Emulator", count: int, progress: Callable[[int], None]) -> None:
    """Create the users that do not exist yet.

    Parameters
    ----------
    progress
        Called with the number of users done, now and then.
    """
    pages = aws.client("iam").get_paginator("list_users").paginate()
    existing = {user["UserName"] for page in pages for user in page["Users"]}
    users = list(population(count))
    for start in range(0, count, _USERS_PER_ORDER):
        some = users[start : start + _USERS_PER_ORDER]
        past.happened(aws, [call for user in some if user.name not in existing for call in _calls(user)])
        progress(start + len(some))


def _calls(user: NewUser) -> Iterator[past.Call]:
    yield past.Call(datetime.now(UTC), "CreateUser", {"UserName": user.name, "Path": user.path})
    if user.password_last_used is not None:
        yield past.Call(user.password_last_used, "SignIn", {"UserName": user.name})
