"""Into whose IAM a step looks: that of the deployment's own account, or that of a member account, by its role."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from functions.shared import clients, configuration
from functions.shared.errors import AccessDenied, named
from functions.shared.request import Member
from functions.shared.run import Run

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient
    from types_boto3_sts import STSClient
    from types_boto3_sts.type_defs import CredentialsTypeDef

SESSION_SECONDS = 900
"""The shortest that AssumeRole gives, and the longest that a function runs
(https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html)."""


def iam_of(run: Run, *, patient: bool) -> "IAMClient":
    """Return an IAM client for the account that a run scans.

    Parameters
    ----------
    patient
        Whether it is to retry for long when IAM throttles; else it gives up soon, for what a scan can go on without.

    Raises
    ------
    AccessDenied
        The account does not let this deployment in.
    InvalidConfiguration
        There is no external id to show.
    """
    member = run.request.member
    if member is None:
        return clients.iam() if patient else clients.brisk_iam()
    credentials = assume(member, session_name(run), clients.sts(), configuration.member_external_id())
    return clients.member_iam(credentials, patient=patient)


def assume(member: Member, session_name: str, sts: "STSClient", external_id: str) -> "CredentialsTypeDef":
    """Return credentials of a member account's role, for as long as a function may run.

    Raises
    ------
    AccessDenied
        As for ``iam_of``.
    """
    try:
        answer = sts.assume_role(
            RoleArn=member.role_arn,
            RoleSessionName=session_name,
            ExternalId=external_id,
            DurationSeconds=SESSION_SECONDS,
        )
    except ClientError as error:
        if not isinstance(named(error), AccessDenied):
            raise
        # AWS does not tell whether a role is missing or will not have the caller.
        raise AccessDenied(
            f"account {member.account_id} does not let this deployment in: its role {member.role_arn} is missing, does "
            f"not trust the role of this function, or expects another external id than {external_id!r} ({error})"
        ) from error
    return answer["Credentials"]


def session_name(run: Run) -> str:
    """Return what CloudTrail of the member account shows of who looked in: which scan it was for."""
    # RoleSessionName takes no colon.
    return f"iam-user-monitor-{run.scan_timestamp.replace(':', '.')}"
