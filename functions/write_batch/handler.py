"""WriteBatch: write one record for every user of a batch, in spite of throttling."""

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from functions.shared import clients, configuration
from functions.shared.errors import is_throttling
from functions.shared.model import Batch, Chunks, Scan, WriteResult
from functions.shared.run import Run, RunEvent
from functions.shared.step import logger, step, working_seconds
from functions.table import posture, wire
from functions.table.chunks import Unreadable
from functions.table.keys import OWN, Keys
from functions.table.posture import Posture
from functions.table.record import record_of
from functions.table.wire import Item

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
ITEMS_PER_CALL = 25

BACKOFF_BASE_SECONDS = 0.05
BACKOFF_CAP_SECONDS = 5.0


class Event(TypedDict):
    """What one iteration of WriteRecords sends."""

    run: RunEvent
    scan: Scan
    batch: Batch
    listed_at: str
    posture: NotRequired[Chunks]
    """Absent in a run that was started before there was any."""


_known: dict[tuple[str, str], Posture] = {}
"""The posture that was read last, by its scan and digest: a warm function reads it once for all batches of a scan."""


@step("WriteBatch")
def handler(event: Event, context: LambdaContext) -> WriteResult:
    """Handle one invocation by the state machine."""
    scan = event["scan"]
    run, dynamodb, table_name = Run.of(event), clients.dynamodb(), configuration.table_name()
    keys = Keys(run.member)
    known = known_posture(event.get("posture"), scan, dynamodb=dynamodb, table_name=table_name, keys=keys)
    return write_records(
        [
            {
                **record_of(
                    user,
                    scan_timestamp=scan["scan_timestamp"],
                    account_id=run.account_id,
                    listed_at=event["listed_at"],
                    ttl=scan["ttl"],
                    posture=known.of(user),
                ),
                **keys.record(user["user_name"], scan["scan_timestamp"]),
            }
            for user in event["batch"]["users"]
        ],
        dynamodb=dynamodb,
        table_name=table_name,
        seconds=working_seconds(context),
    )


def known_posture(
    where: Chunks | None, scan: Scan, *, dynamodb: "DynamoDBClient", table_name: str, keys: Keys = OWN
) -> Posture:
    """Return the posture that ReadPosture has kept for the scan, an empty one where it cannot be read.

    A record without it is worth more than none: what is missing reads as unknown.
    """
    if where is None or where["id"] is None:
        return Posture()
    key = scan["scan_timestamp"], where["id"]
    if key not in _known:
        try:
            found = posture.load(dynamodb, table_name, scan["scan_timestamp"], where, keys=keys)
        except (ClientError, BotoCoreError, Unreadable) as error:
            logger.warning("Posture cannot be read; the records are written without", error_message=str(error))
            return Posture()
        _known.clear()
        _known[key] = found
    return _known[key]


def write_records(
    records: list[Item],
    *,
    dynamodb: "DynamoDBClient",
    table_name: str,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[float, float], float] = random.uniform,
) -> WriteResult:
    """Write the records, 25 a call, sending again only what DynamoDB left unprocessed.

    Throttling is normal here: all records of a scan share one key of the index. The wait between the rounds grows
    exponentially with full jitter, as the API's documentation asks for; boto3's batch_writer would send again at once,
    and the SDK's own wait, half a second at first, would leave the index idle (``clients.dynamodb``).

    Parameters
    ----------
    seconds
        When this much time has passed, what is still unwritten is given up and counted.

    Returns
    -------
    How many records were written, and how many were not, because DynamoDB throttled to the end.

    Raises
    ------
    AccessDenied
        DynamoDB refused the call. Other errors that no retry can mend pass as they are.
    """
    deadline = clock() + seconds
    pending: list[dict[str, Any]] = [{"PutRequest": {"Item": wire.to_wire(record)}} for record in records]
    attempt = 0
    while pending:
        unprocessed: list[dict[str, Any]] = []
        for start in range(0, len(pending), ITEMS_PER_CALL):
            requests = pending[start : start + ITEMS_PER_CALL]
            # A round of calls that all hang takes longer than the margin.
            unprocessed += _write(dynamodb, table_name, requests) if clock() < deadline else requests
        # Progress shows that the table keeps up: the wait starts small again.
        attempt = attempt + 1 if len(unprocessed) == len(pending) else 1
        pending = unprocessed
        if not pending:
            break
        wait = jitter(0, min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2**attempt))
        if clock() + wait >= deadline:
            logger.error(
                "Records not written before the time ran out",
                failed=len(pending),
                written=len(records) - len(pending),
            )
            break
        logger.warning("DynamoDB throttles, writing again", unprocessed=len(pending), wait_seconds=round(wait, 3))
        sleep(wait)
    return WriteResult(written=len(records) - len(pending), failed=len(pending), throttled=len(pending))


def _write(dynamodb: "DynamoDBClient", table_name: str, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send one BatchWriteItem and return the requests that were not processed."""
    try:
        response = dynamodb.batch_write_item(RequestItems={table_name: requests})  # type: ignore[dict-item]
    except ClientError as error:
        # Nothing of the call was written: DynamoDB raises only when it throttled every item.
        if is_throttling(error):
            return requests
        raise
    return list(response.get("UnprocessedItems", {}).get(table_name, []))  # type: ignore[arg-type]
