"""The posture of all users of a scan: what ReadPosture keeps in the table, and what WriteBatch merges into the records.

The credential report, the authorization details and ListUsers have no common order, so they cannot be joined page by
page; and a state may carry 256 KiB. So the first two are kept in a few items beside the manifests, compressed, under
a digest of their content: who comes late, or twice, writes the same again or something beside it, and never over it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from functions.shared import timestamps
from functions.shared.model import Chunks, User
from functions.table import chunks
from functions.table.chunks import Unreadable
from functions.table.keys import OWN, Keys
from functions.table.wire import Item

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

POSTURE_SORT_KEY_PREFIX = "posture#"

KEPT_DAYS = 14
"""As long as a run can be redriven past ReadPosture."""


@dataclass(frozen=True)
class Posture:
    """What is known of the users, from neither, one or both of the sources."""

    report_time: str | None = None
    """When the credential report was made; None where there is none."""
    report: Mapping[str, tuple[str, Item]] = field(default_factory=dict)
    """By ARN: when the user was created, and the attributes."""
    authorization: Mapping[str, Item] = field(default_factory=dict)
    """By user_id: the attributes."""

    def of(self, user: User) -> Item:
        """Return the attributes that the sources tell of a user.

        A row of the report is this user's only if ARN and creation time agree: who was created anew under an old name
        does not inherit.
        """
        facts: Item = {}
        created, reported = self.report.get(user["arn"], (None, {}))
        if created == user["create_date"]:
            facts = {"credential_report_time": self.report_time, **reported}
        return {**facts, **self.authorization.get(user["user_id"], {})}


def store(
    dynamodb: "DynamoDBClient", table_name: str, scan_timestamp: str, posture: Posture, *, now: int, keys: Keys = OWN
) -> Chunks:
    """Write a posture into the table, and return where it is.

    Parameters
    ----------
    now
        Epoch seconds.
    keys
        Those of the account that was scanned.
    """
    return chunks.store(
        dynamodb,
        table_name,
        keys.about(POSTURE_SORT_KEY_PREFIX + scan_timestamp),
        {"report_time": posture.report_time, "report": posture.report, "authorization": posture.authorization},
        expires=now + KEPT_DAYS * timestamps.SECONDS_PER_DAY,
    )


def load(
    dynamodb: "DynamoDBClient", table_name: str, scan_timestamp: str, where: Chunks, *, keys: Keys = OWN
) -> Posture:
    """Return a posture that was stored, read consistently.

    Raises
    ------
    Unreadable
        A part of it is not there, or damaged.
    """
    content = chunks.load(dynamodb, table_name, keys.about(POSTURE_SORT_KEY_PREFIX + scan_timestamp), where)
    try:
        report = {arn: (created, facts) for arn, (created, facts) in content["report"].items()}
        return Posture(content["report_time"], report, content["authorization"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"the posture is damaged: {error!r}") from error
