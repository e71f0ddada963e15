"""Where the emulator is corrected: what MiniStack 1.5.33 does unlike AWS, and this project would notice.

Each correction is a function that changes MiniStack in this process. Its docstring says what AWS does and how that is
known, what MiniStack does, and when the correction can go. ``tests/emulator`` shows each of them twice: AWS's
behaviour with it, and the defect without it, so that a test fails when MiniStack no longer needs the correction.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from tests.local_aws.aws.corrections import (
    authorization_details,
    cloudwatch,
    credential_report,
    dynamodb,
    eventbridge,
    iam,
    lambda_,
    logs,
    mocks,
    nested,
    organizations,
    redrive,
    roles,
    single_state,
    stepfunctions,
    sts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

CORRECTIONS: Mapping[str, Callable[[], None]] = {
    "iam_list_users": iam.list_users,
    "iam_user_fields": iam.user_fields,
    "iam_user_names": iam.user_names,
    "iam_update_user": iam.update_user,
    "iam_access_keys": iam.access_keys,
    "iam_credential_report": credential_report.report,
    "iam_authorization_details": authorization_details.details,
    "sts_principal_arn": sts.principal_arn,
    "sts_sessions": sts.sessions,
    "sts_closed_accounts": sts.closed_accounts,
    "organizations_membership": organizations.membership,
    "organizations_account_state": organizations.account_state,
    "organizations_listings": organizations.listings,
    "organizations_unit_resources": organizations.unit_resources,
    "lambda_python_runtime": lambda_.python_runtime,
    "cloudwatch_emf": cloudwatch.embedded_metrics,
    "cloudwatch_no_dimensions": cloudwatch.no_dimensions,
    "cloudwatch_alarms": cloudwatch.alarms,
    "logs_query_definitions": logs.query_definitions,
    "logs_key_association": logs.key_association,
    "dynamodb_leading_keys": dynamodb.leading_keys,
    # Before all that surround a call, so that a mocked one is treated as a real one.
    "states_mocks": mocks.responses,
    # Before states_timeout and states_end, which have to surround a redriven run as they do the first.
    "states_redrive": redrive.redrive,
    # Before states_end, whose numbering of runs has to surround it.
    "states_timeout": stepfunctions.timeout,
    "states_end": stepfunctions.end,
    "states_payload_limit": stepfunctions.payload_limit,
    "states_paths": stepfunctions.paths,
    "states_scheduled_task": stepfunctions.scheduled_task,
    "states_retry_delay": stepfunctions.retry_delay,
    "states_input": stepfunctions.execution_input,
    "states_tracing": stepfunctions.tracing,
    "states_nested_executions": nested.nested_executions,
    "states_managed_rule": nested.managed_rule,
    "states_test_state": single_state.errors,
    "state_machine_role": roles.state_machine_role,
    "rule_target_role": roles.rule_target_role,
    "events_entries": eventbridge.entries,
    "events_condition_keys": eventbridge.condition_keys,
    "events_target_policies": eventbridge.target_policies,
    # After those that refuse a delivery for want of a permission: what is not there needs none.
    "events_dead_letters": eventbridge.dead_letters,
}


def install_all(*, without: Collection[str] = ()) -> None:
    """Install every correction but those named in ``without``.

    Raises
    ------
    RuntimeError
        If a correction does not fit the installed MiniStack.
    KeyError
        If ``without`` names no correction.
    """
    for name in without:
        CORRECTIONS[name]
    for name, install in CORRECTIONS.items():
        if name not in without:
            try:
                install()
            except (AttributeError, ImportError, LookupError, TypeError) as error:
                raise RuntimeError(
                    f"correction {name} does not fit MiniStack {version('ministack')} (made for 1.5.33): {error!r}"
                ) from error
