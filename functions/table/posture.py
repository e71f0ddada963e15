"""The posture of all users of a scan: what ReadPosture keeps in the table, and what WriteBatch merges into the records.

The credential report, the authorization details and ListUsers have no common order, so they cannot be joined page by
page; and a state may carry 256 KiB. So the first two are kept in a few items beside the manifests, compressed, under
a digest of their content: who comes late, or twice, writes the same again or something beside it, and never over it.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from functions.shared import timestamps
from functions.shared.model import PostureChunks, User
from functions.table import wire
from functions.table.manifest import MANIFEST_USER_NAME
from functions.table.wire import Item

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

POSTURE_SORT_KEY_PREFIX = "posture#"

CHUNK_BYTES = 300_000
"""The most that an item's data may take of DynamoDB's 400 KB."""

KEPT_DAYS = 14
"""As long as a run can be redriven past ReadPosture."""


class PostureUnreadable(Exception):  # noqa: N818 - the name that a log shows
    """The table does not have (any longer) a part of the posture, or something else in its place."""


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

    @property
    def identity(self) -> str:
        """A digest of the content."""
        return hashlib.sha256(_json(self)).hexdigest()[:16]

    def chunks(self, limit: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yield the posture in parts, each a posture by itself and compressed to no more than so many bytes."""
        data = gzip.compress(_json(self), mtime=0)
        if len(data) <= limit or max(len(self.report), len(self.authorization)) <= 1:
            yield data
            return
        for half in (0, 1):
            part = Posture(self.report_time, _half(self.report, half), _half(self.authorization, half))
            yield from part.chunks(limit)

    @classmethod
    def of_chunks(cls, chunks: Iterator[bytes]) -> "Posture":
        """Return the posture that was taken apart."""
        report_time = None
        report: dict[str, tuple[str, Item]] = {}
        authorization: dict[str, Item] = {}
        for data in chunks:
            part = json.loads(gzip.decompress(data))
            report_time = part["report_time"]
            report |= part["report"]
            authorization |= part["authorization"]
        return cls(report_time, report, authorization)


def store(
    dynamodb: "DynamoDBClient", table_name: str, scan_timestamp: str, posture: Posture, *, now: int
) -> PostureChunks:
    """Write a posture into the table, and return where it is.

    Parameters
    ----------
    now
        Epoch seconds.
    """
    identity, number = posture.identity, 0
    for number, data in enumerate(posture.chunks(), start=1):
        item = {
            **_key(scan_timestamp, identity, number),
            "data": data,
            "ttl": now + KEPT_DAYS * timestamps.SECONDS_PER_DAY,
        }
        dynamodb.put_item(TableName=table_name, Item=wire.to_wire(item))
    return PostureChunks(id=identity, chunks=number)


def load(dynamodb: "DynamoDBClient", table_name: str, scan_timestamp: str, where: PostureChunks) -> Posture:
    """Return a posture that was stored, read consistently.

    Raises
    ------
    PostureUnreadable
        A part of it is not there.
    """

    def read(number: int) -> bytes:
        key = _key(scan_timestamp, str(where["id"]), number)
        response = dynamodb.get_item(TableName=table_name, Key=wire.to_wire(key), ConsistentRead=True)
        if "Item" not in response:
            raise PostureUnreadable(f"there is no item {key['scan_timestamp']}")
        data: bytes = wire.from_wire(response["Item"])["data"]
        return data

    try:
        return Posture.of_chunks(map(read, range(1, where["chunks"] + 1)))
    except (OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        raise PostureUnreadable(f"a part of the posture is damaged: {error!r}") from error


def _key(scan_timestamp: str, identity: str, number: int) -> dict[str, str]:
    sort_key = f"{POSTURE_SORT_KEY_PREFIX}{scan_timestamp}#{identity}#{number}"
    return {"user_name": MANIFEST_USER_NAME, "scan_timestamp": sort_key}


def _json(posture: Posture) -> bytes:
    content: dict[str, Any] = {
        "report_time": posture.report_time,
        "report": posture.report,
        "authorization": posture.authorization,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _half(entries: Mapping[str, Any], half: int) -> dict[str, Any]:
    middle = len(entries) // 2
    part = islice(entries.items(), middle) if half == 0 else islice(entries.items(), middle, None)
    return dict(part)
