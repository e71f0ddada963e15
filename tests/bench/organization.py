"""Measures a run of the organization machine on the in-process engine: ``python -m tests.bench.organization``.

Events, payloads and transitions are those that AWS counts, whatever the machine; the time is that of the interpreter.
"""

import argparse
import contextlib
import copy
import io
import json
import logging
import time
from dataclasses import asdict, dataclass
from unittest import mock

from functions.table import wire
from tests.support.engine import ACCOUNT, Engine, FunctionError, engine


@dataclass(frozen=True)
class Measured:
    """What a run of the organization machine took."""

    accounts: int
    users: int
    failed: int
    seconds: float
    events: int
    """In the history of the run itself, which may have 25,000."""
    events_per_account: float
    transitions: int
    """Of the run itself."""
    child_transitions: float
    """Of one account's scan."""
    largest_payload: int
    """Of the run itself, in bytes; a state may carry 262,144."""
    manifest_bytes: int
    """Of the fleet's item, which may have 409,600."""


def measure(accounts: int, users: int, *, fail: bool = False, concurrency: int = 10) -> Measured:
    """Scan an organization of so many accounts with so many users each; with ``fail``, none lets us in."""

    def invoke(step: str, event: object, handler: object) -> object:
        if fail and step == "acquire_lock":
            raise FunctionError(
                "AccessDenied", "account 000000000000 does not let this deployment in: its role is missing"
            )
        return handler(event)  # type: ignore[operator]

    with engine(
        organization={}, account_concurrency=concurrency, posture=False, changes=False, invoke=invoke
    ) as running:
        running.create_accounts(
            {ACCOUNT: "Root", **{f"{number:012}": f"Account number {number}" for number in range(1, accounts)}},
            [f"user-{number}" for number in range(users)],
        )
        begun = time.monotonic()
        run = running.wait(running.start({}, organization=True), seconds=7200)
        seconds = time.monotonic() - begun
        outcome = running.fleets()[0]
        assert outcome["accounts_failed"] == (accounts if fail else 0), run.cause
        assert fail or len(running.records()) == accounts * users
        kinds = [event["type"] for event in run.history]
        inside = len(kinds) - kinds[::-1].index("MapStateSucceeded") - 1 - kinds.index("MapStateStarted") - 1
        return Measured(
            accounts=accounts,
            users=users,
            failed=outcome["accounts_failed"],
            seconds=round(seconds, 1),
            events=len(kinds),
            events_per_account=inside / accounts,
            transitions=len(run.route),
            child_transitions=_transitions(running, run.arn),
            largest_payload=run.largest_payload,
            manifest_bytes=len(json.dumps(wire.to_wire({**outcome, "reported": [1]}))),
        )


def _transitions(running: Engine, arn: str) -> float:
    children = running.children(arn)[:20]
    return sum(len(running.wait(child).route) for child in children) / len(children)


def main() -> None:
    """Measure, and print what was found, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.organization", description=__doc__)
    parser.add_argument("accounts", type=int, nargs="?", default=1000)
    parser.add_argument("users", type=int, nargs="?", default=50)
    parser.add_argument("--fail", action="store_true", help="let no account in")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    # moto copies all tables before every transaction, to take back what it did; here none is cancelled.
    with (
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch("moto.dynamodb.models.copy", mock.Mock(deepcopy=lambda value: value, copy=copy.copy)),
    ):
        measured = measure(arguments.accounts, arguments.users, fail=arguments.fail)
    print(json.dumps(asdict(measured), indent=2))


if __name__ == "__main__":
    main()
