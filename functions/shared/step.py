"""What every handler is wrapped in: the log line's identifiers, and AWS errors under their own names."""

import functools
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from functions.shared.errors import named

SERVICE = "iam-user-monitor"

# The service is named here and not by POWERTOOLS_SERVICE_NAME: with that variable Powertools adds a `service`
# dimension to the metrics, and every alarm, which names no dimension, would miss them.
logger = Logger(service=SERVICE)

Handler = Callable[[Any, LambdaContext], Any]


def step(state: str) -> Callable[[Handler], Handler]:
    """Wrap the handler of one state of the workflow.

    Every log line of the invocation carries the state's name, execution_arn, scan_timestamp and attempt, so that one
    query on an execution shows its whole story. An AWS error that the workflow has a name for is raised under that
    name; all other exceptions pass unchanged.

    Parameters
    ----------
    state
        The name of the state, ``ListUsers``.
    """

    def wrap(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def run(event: Any, context: LambdaContext) -> Any:
            scan = _scan_of(event)
            logger.append_keys(
                state=state,
                execution_arn=scan.get("execution_arn") or event.get("execution_arn"),
                scan_timestamp=scan.get("scan_timestamp"),
                attempt=scan.get("attempt"),
                request_id=getattr(context, "aws_request_id", None),
            )
            try:
                return handler(event, context)
            except ClientError as error:
                name = named(error)
                if name is None:
                    raise
                raise name from error

        return run

    return wrap


def _scan_of(event: dict[str, Any]) -> dict[str, Any]:
    scan = event.get("scan") or event.get("state", {}).get("scan") or {}
    return dict(scan)
