"""ListAccounts: begin a scan of all accounts of an organization, or what is left of it when it is redriven.

Which accounts those are is fixed by the first attempt, in the manifest of the fleet: whoever reads it knows what the
fleet was to be, whatever has joined or left since.
"""

from typing import TYPE_CHECKING, Any, Literal, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.list_accounts.organization import Choice
from functions.shared import clients, configuration
from functions.shared.errors import InvalidConfiguration, TooManyAccounts
from functions.shared.model import FleetAccountItem, FleetSummary, Scan
from functions.shared.run import Run, RunEvent
from functions.shared.step import logger, step
from functions.table.fence import Begun, Fence, ForeignManifest
from functions.table.fleet import Fleet, children_of, plan_of, scans_of, summary_of
from functions.table.lock import Holder
from functions.table.manifest import Manifest, Status
from functions.table.wire import Item

if TYPE_CHECKING:
    from types_boto3_organizations import OrganizationsClient
    from types_boto3_stepfunctions import SFNClient

# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
HISTORY_EVENTS = 25_000
"""How many events the history of an execution may have. One that reaches it fails, and nothing catches that."""

EVENTS_PER_ACCOUNT = 10
"""How many of them an account takes whose scan fails; eight are enough for one that succeeds."""

EVENTS_PER_REDRIVEN_ACCOUNT = 25
"""How many it takes in a redrive at most: its execution is there, is redriven, waited for, and fails again."""

RESERVED_EVENTS = 500
"""For all other states, and for calls that are throttled and tried again."""

MAX_ACCOUNTS = (HISTORY_EVENTS - RESERVED_EVENTS) // EVENTS_PER_ACCOUNT
"""As many accounts as may all fail: even then the run must come to tell which."""


class Event(TypedDict):
    """What the state ListAccounts sends."""

    run: RunEvent
    input: Any
    """The execution's input, any JSON."""


class Listed(TypedDict):
    """The accounts may be scanned: the state data it begins with."""

    acquired: Literal[True]
    complete: Literal[False]
    lock: str
    """The sort key of the lock, for ReleaseLock."""
    scan: Scan
    children: str
    """What the names of the accounts' executions end with: the same in every attempt, so that it finds them again."""
    accounts: list[FleetAccountItem]
    """Those that are not complete yet under this scan_timestamp."""


class Complete(TypedDict):
    """A former attempt has completed it: only the lock is left to release."""

    acquired: Literal[True]
    complete: Literal[True]
    lock: str
    scan: Scan
    outcome: FleetSummary


class Skipped(TypedDict):
    """Nothing must run: another execution does."""

    acquired: Literal[False]
    reason: str
    holder: dict[str, str | int]


@step("ListAccounts")
def handler(event: Event, context: LambdaContext) -> Listed | Complete | Skipped:
    """Handle one invocation by the state machine."""
    return list_accounts(
        event["input"],
        Run.of(event).of_fleet(),
        fence=Fence(clients.dynamodb(), configuration.table_name()),
        stepfunctions=clients.stepfunctions(),
        organizations=clients.organizations(),
        choice=Choice(
            accounts=configuration.accounts(),
            units=configuration.included_organizational_units(),
            excluded=configuration.excluded_accounts(),
        ),
        role_name=configuration.text("MEMBER_ROLE_NAME"),
        retention_days=configuration.retention_days(),
        lease_seconds=configuration.organization_timeout_seconds(),
    )


def list_accounts(
    execution_input: Any,
    run: Run,
    *,
    fence: Fence,
    stepfunctions: "SFNClient",
    organizations: "OrganizationsClient",
    choice: Choice,
    role_name: str,
    retention_days: int,
    lease_seconds: int,
) -> Listed | Complete | Skipped:
    """List the accounts, take the lock and create or resume the fleet's manifest. Safe to run twice, and late.

    Parameters
    ----------
    choice
        Which accounts are to be scanned.
    role_name
        The role by which member accounts are looked into.
    lease_seconds
        As long as the machine may run: nothing renews the lock.

    Returns
    -------
    The accounts that are not complete yet; or the outcome, where all were complete already; or, where another execution
    scans the organization, that this one must be skipped.

    Raises
    ------
    InvalidInput, InvalidConfiguration, AccessDenied
        The accounts cannot be listed in full: nothing is scanned.
    TooManyAccounts
        The execution cannot carry them.
    LockHeld, Superseded
        As for AcquireLock.
    """
    run = run.asked(execution_input)
    known = fence.load(run)
    plan = None if known is not None and "accounts" in known.item else _plan(choice, organizations, role_name)
    try:
        begun = run.fenced(
            stepfunctions,
            lambda run: fence.begin(run, retention_days=retention_days, lease_seconds=lease_seconds, plan=plan),
        )
    except ForeignManifest as foreign:
        # EventBridge delivers at least once, so one tick may start two executions in the same second.
        logger.warning("Failed to acquire execution lock", holder=str(foreign), reason="duplicate start")
        return Skipped(
            acquired=False,
            reason="another execution that started in the same second scans the organization",
            holder={"owner": str(foreign)},
        )
    match begun:
        case Begun(scan, _):
            return _listed(run.with_attempt(scan["attempt"]), scan, fence, stepfunctions)
        case Manifest():
            return _complete(run, begun)
        case Holder():
            return _skipped(begun)


def _plan(choice: Choice, organizations: "OrganizationsClient", role_name: str) -> Item:
    """Return what the manifest fixes: which accounts are scanned, and which are skipped and why."""
    accounts, skipped = choice.made(organizations)
    if not accounts:
        raise InvalidConfiguration(
            f"there is no account to scan: all {len(skipped)} that were found are suspended, closed or excluded; see "
            "the variables accounts, included_organizational_units and excluded_accounts"
        )
    if len(accounts) > MAX_ACCOUNTS:
        raise TooManyAccounts(
            f"{len(accounts)} accounts are to be scanned, and one execution carries at most {MAX_ACCOUNTS}: its "
            f"history has room for {HISTORY_EVENTS} events. Choose fewer with included_organizational_units or "
            "excluded_accounts; statemachine/README.md has the way beyond"
        )
    return plan_of(accounts, skipped, role_name)


def _listed(run: Run, scan: Scan, fence: Fence, stepfunctions: "SFNClient") -> Listed:
    logger.append_keys(attempt=run.attempt)
    manifest = fence.load(run)
    assert manifest is not None  # noqa: S101 - it has just been written
    # As they were fixed: this call may have listed others than the one that wrote them.
    fleet = Fleet.of(manifest)
    scans = scans_of(fence.dynamodb, fence.table_name, fleet, run.own_account)
    complete = {account_id for account_id, one in scans.items() if one.status is Status.COMPLETE}
    left = [account for account in fleet.accounts if account.account_id not in complete]
    if run.attempt > 1:
        _check_room(run, len(left), stepfunctions)
    logger.info(
        "Accounts listed",
        trigger=run.request.trigger,
        accounts=len(fleet.accounts),
        skipped=manifest.item.get("accounts_skipped", 0),
        to_scan=len(left),
    )
    return Listed(
        acquired=True,
        complete=False,
        lock=run.keys.lock_name,
        scan=scan,
        children=children_of(run),
        accounts=[
            FleetAccountItem(account_id=account.account_id, account_name=account.account_name) for account in left
        ],
    )


def _check_room(run: Run, accounts: int, stepfunctions: "SFNClient") -> None:
    """Refuse a redrive whose events the history of the execution has no room for."""
    (newest,) = stepfunctions.get_execution_history(executionArn=run.execution_arn, reverseOrder=True, maxResults=1)[
        "events"
    ]
    room = HISTORY_EVENTS - newest["id"] - RESERVED_EVENTS
    if accounts * EVENTS_PER_REDRIVEN_ACCOUNT > room:
        raise TooManyAccounts(
            f"{accounts} accounts are left to scan, and the history of this execution, which has {newest['id']} of at "
            f"most {HISTORY_EVENTS} events, has room for {max(0, room // EVENTS_PER_REDRIVEN_ACCOUNT)} of them"
        )


def _complete(run: Run, manifest: Manifest) -> Complete:
    logger.info("All accounts are complete already; nothing is done again")
    return Complete(
        acquired=True,
        complete=True,
        lock=run.keys.lock_name,
        scan=run.scan(run.invoked_at, manifest.ttl),
        outcome={**summary_of(Fleet.of(manifest)), "attempt": run.attempt},
    )


def _skipped(holder: Holder) -> Skipped:
    logger.warning(
        "Failed to acquire execution lock",
        holder=holder.owner,
        acquired_at=holder.acquired_at,
        expires_at=holder.expires_at,
    )
    return Skipped(
        acquired=False,
        reason="another execution scans the organization",
        holder={"owner": holder.owner, "acquired_at": holder.acquired_at, "expires_at": holder.expires_at},
    )
