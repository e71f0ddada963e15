"""What every handler is wrapped in: the log line's identifiers, and AWS errors under their own names."""

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from functions.shared.causes import MAX_MESSAGE_LENGTH
from functions.shared.errors import named
from functions.shared.run import Run

SERVICE = "iam-user-monitor"

# The service is named here and not by POWERTOOLS_SERVICE_NAME: with that variable Powertools adds a `service`
# dimension to the metrics, and every alarm, which names no dimension, would miss them.
logger = Logger(service=SERVICE)

Handler = Callable[[Any, LambdaContext], Any]


SAFETY_MARGIN_SECONDS = 5.0
"""What is left of an invocation's time when no call is begun any more, so that the function can still say what it did:
a throttled call to DynamoDB takes up to 3 s of waiting in the SDK, which tries three times."""


def working_seconds(context: LambdaContext) -> float:
    """Return how long an invocation may go on beginning calls. One with very little time still gets half of it."""
    remaining = context.get_remaining_time_in_millis() / 1000
    return max(remaining - SAFETY_MARGIN_SECONDS, remaining / 2)


def step(state: str) -> Callable[[Handler], Handler]:
    """Wrap the handler of one state of the workflow.

    Every log line of the invocation carries the state's name, execution_arn, account_id, scan_timestamp and attempt, so
    that one query on an execution shows its whole story, the error that ends an invocation included: what Lambda itself
    writes of it is a text that names no execution. An AWS error that the workflow has a name for is raised under that
    name; all other exceptions pass unchanged.

    Parameters
    ----------
    state
        The name of the state, ``ListUsers``.
    """

    def wrap(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def run(event: Any, context: LambdaContext) -> Any:
            logger.append_keys(state=state, request_id=getattr(context, "aws_request_id", None), **_story_of(event))
            try:
                with _no_garbage_collection():
                    return handler(event, context)
            except Exception as error:
                name = named(error) if isinstance(error, ClientError) else None
                told = name or error
                message = str(told)[:MAX_MESSAGE_LENGTH]
                logger.error("Step failed", error_type=type(told).__name__, error_message=message)
                if name is None:
                    raise
                raise name from error

        return run

    return wrap


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Leave the collector of cycles off for one invocation.

    It would look through thousands of users again and again, of whom none is garbage before the end: a third of the CPU
    time of PublishChanges. What is no cycle, almost everything, is freed at once with or without it; the few cycles
    that the SDK leaves are found between two invocations.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _story_of(event: dict[str, Any]) -> dict[str, Any]:
    """Return which run an event is about; None for what a step finds out by itself."""
    if "run" not in event:
        return dict.fromkeys(("execution_arn", "account_id", "scan_timestamp", "attempt"))
    run = Run.of(event)
    return {
        "execution_arn": run.execution_arn,
        "account_id": run.account_id,
        "scan_timestamp": run.scan_timestamp,
        "attempt": run.attempt,
    }
