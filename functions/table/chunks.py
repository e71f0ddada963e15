"""Keeps what is too large for one item: compressed, in a few items beside the manifests, under a digest of its content.

Who comes late, or twice, writes the same again or something beside it, and never over what another one reads.
"""

import gzip
import hashlib
import json
import zlib
from typing import TYPE_CHECKING, Any

from functions.shared.model import Chunks
from functions.table import wire
from functions.table.keys import MANIFEST_USER_NAME

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

CHUNK_BYTES = 300_000
"""The most that an item's data may take of DynamoDB's 400 KB
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html)."""


class Unreadable(Exception):  # noqa: N818 - the name that a log shows
    """The table does not have (any longer) a part of the content, or something else in its place."""


def store(
    dynamodb: "DynamoDBClient",
    table_name: str,
    name: str,
    content: Any,
    *,
    expires: int,
    kept: Chunks | None = None,
) -> Chunks:
    """Write a content into the table, and return where it is.

    Parameters
    ----------
    name
        How the sort keys of its items begin, ``posture#2026-01-31T10:00:00Z``.
    content
        Anything that JSON can hold.
    expires
        When the items expire, epoch seconds.
    kept
        What was stored before under this name and lasts for long enough: the same content is not written again.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    identity = hashlib.sha256(text).hexdigest()[:16]
    if kept is not None and kept["id"] == identity:
        return kept
    # No time in it: the same content is the same bytes. Level 6 is a third of the time of 9, and as small.
    data = gzip.compress(text, compresslevel=6, mtime=0)
    parts = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    for number, part in enumerate(parts, start=1):
        item = {**_key(name, identity, number), "data": part, "ttl": expires}
        dynamodb.put_item(TableName=table_name, Item=wire.to_wire(item))
    return Chunks(id=identity, chunks=len(parts))


def load(dynamodb: "DynamoDBClient", table_name: str, name: str, where: Chunks) -> Any:
    """Return a content that was stored, read consistently.

    Raises
    ------
    Unreadable
        A part of it is not there, or damaged.
    """
    data = b""
    try:
        for number in range(1, where["chunks"] + 1):
            key = _key(name, str(where["id"]), number)
            response = dynamodb.get_item(TableName=table_name, Key=wire.to_wire(key), ConsistentRead=True)
            if "Item" not in response:
                raise Unreadable(f"there is no item {key['scan_timestamp']}")
            data += wire.from_wire(response["Item"])["data"]
        return json.loads(gzip.decompress(data))
    except (OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        raise Unreadable(f"{name} is damaged: {error!r}") from error


def _key(name: str, identity: str, number: int) -> dict[str, str]:
    return {"user_name": MANIFEST_USER_NAME, "scan_timestamp": f"{name}#{identity}#{number}"}
