"""The errors that the state machine knows by name.

Step Functions reports a Lambda's exception under the name of its class, so each name here is part of the contract with
``statemachine/iam_user_monitor.asl.yaml`` and is what an operator reads in the console. They carry no ``Error`` suffix
for that reason: ``ScanFailed`` and ``LockLost`` are the documented names.

Anything else a function raises is unexpected. It is left to Step Functions, which retries, records and routes it.
"""

from botocore.exceptions import ClientError


class MonitorError(Exception):
    """Base of all named errors of the workflow. Never raised itself."""


class InvalidConfiguration(MonitorError):
    """An environment variable of the function is missing or out of range. Not retried."""


class InvalidInput(MonitorError):
    """The execution's input is not what the workflow accepts. Not retried."""


class AccessDenied(MonitorError):
    """AWS refused a call for lack of permission. Not retried: a policy must change first."""


class Throttled(MonitorError):
    """AWS throttled a call for longer than the SDK retries. Retried by the state machine."""


class TableThrottled(MonitorError):
    """DynamoDB throttled every record of a page for as long as WriteBatch may run. Not retried: that was the retry."""


class LockHeld(MonitorError):
    """A scan that must go on (retried or redriven) found the execution lock held by another. Not retried."""


class LockLost(MonitorError):
    """The execution lock passed to another live owner while this scan ran. Not retried."""


class Superseded(MonitorError):
    """A late call of an attempt that has ended, or a newer attempt goes on. It has written nothing. Not retried."""


class MarkerNotAdvancing(MonitorError):
    """IAM answered a page with the marker it was asked for, or refused the markers of one scan twice. Not retried."""


class TooManyAccounts(MonitorError):
    """One execution of the organization machine cannot carry so many accounts. Not retried."""


class PostureUnavailable(MonitorError):
    """Nothing that ReadPosture is to read could be had. Not retried: the scan goes on, and the next one asks again."""


class IndexBehind(MonitorError):
    """The table's index does not yield all records of a scan yet. Retried; what is left, the next scan announces."""


class EventsRefused(MonitorError):
    """EventBridge refused events for a reason that no retry mends. Not retried: the alarm on the function rings."""


class ScanFailed(MonitorError):
    """The end of a failed attempt. Its message holds the original error and what a redrive will do."""


class OrganizationFailed(MonitorError):
    """The end of a failed attempt to scan all accounts. Its message names those that failed first."""


_ACCESS_DENIED_CODES = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "NotAuthorized",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "ExpiredToken",
        "ExpiredTokenException",
    }
)
_THROTTLING_CODES = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "SlowDown",
        "PriorRequestNotComplete",
        # DynamoDB: a transaction has the item at this moment.
        "TransactionConflictException",
    }
)


def error_code(error: ClientError) -> str:
    """Return the AWS error code of a botocore error, or an empty string."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_throttling(error: ClientError) -> bool:
    """Tell whether AWS asked the caller to slow down, and the same call may succeed later."""
    return error_code(error) in _THROTTLING_CODES


def named(error: ClientError) -> MonitorError | None:
    """Return the named error for an AWS error, or None where the workflow has no name for it.

    botocore raises most errors as the one class ``ClientError``, under which neither Retry nor an operator can tell a
    missing permission from a throttled call.
    """
    if is_throttling(error):
        return Throttled(str(error))
    if error_code(error) in _ACCESS_DENIED_CODES:
        return AccessDenied(str(error))
    return None
