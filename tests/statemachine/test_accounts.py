"""The workflow on member accounts: the same names, the same second, one table, and nothing mixes."""

import json
from typing import Any

from functions.shared.timestamps import now, to_seconds
from functions.table.keys import OWN, Keys
from functions.table.reader import Reader
from tests.support.engine import ACCOUNT, MEMBER_ROLE, TABLE, Engine, FunctionError, engine

MEMBERS = ("222222222222", "333333333333")


def asked(account: str, timestamp: str, **more: Any) -> dict[str, Any]:
    role = None if account == ACCOUNT else f"arn:aws:iam::{account}:role/{MEMBER_ROLE}"
    return {"account_id": account, "role_arn": role, "scan_timestamp": timestamp, "trigger": "organization", **more}


def listed(running: Engine, account: str) -> dict[str, list[str]]:
    """Return the users of each scan of an account, as a reader sees them."""
    reader = Reader(running.client("dynamodb"), TABLE, keys=Keys(None if account == ACCOUNT else account))
    return {
        scan.scan_timestamp: sorted(str(record["user_name"]) for record in reader.of_scan(scan))
        for scan in reader.scans()
    }


def test_accounts_with_the_same_users_share_a_scan_and_do_not_mix() -> None:
    """Of each account the same steps, and a name that looks like another account."""
    users = {ACCOUNT: ["alice", "222222222222"], MEMBERS[0]: ["alice", "bob"], MEMBERS[1]: ["alice", "333333333333"]}
    with engine(page_size=1) as running:
        for account, names in users.items():
            running.create_users(names, account)
        timestamp = to_seconds(now())

        executions = {one: running.run(asked(one, timestamp, account_name=f"Account {one}")) for one in users}

        for account, names in users.items():
            execution = executions[account]
            assert execution.status == "SUCCEEDED", execution.cause
            assert listed(running, account) == {timestamp: sorted(names)}
        records = {record["user_name"]: record for record in running.records()}
        assert records.keys() == {
            "alice", "222222222222", "222222222222/alice", "222222222222/bob", "333333333333/alice",
            "333333333333/333333333333",
        }  # fmt: skip
        assert {record["account_id"] for record in records.values()} == set(users)
        assert all(f"::{record['account_id']}:" in record["arn"] for record in records.values())
        assert {record["groups"] == [] for record in records.values()} == {True}  # each account's own posture
        manifests = {manifest["account_id"]: manifest for manifest in running.manifests()}
        assert {one: manifest["account_name"] for one, manifest in manifests.items()} == {
            one: f"Account {one}" for one in users
        }
        assert running.lock() is None
        # And what changes is told of each by itself.
        events = running.announced()
        assert {(event["account_id"], event["account_name"], event["users"]) for event in events} == {
            (one, f"Account {one}", 2) for one in users
        }
        assert len({event["id"] for event in events}) == len(users)


def test_of_a_scan_of_many_accounts_a_reader_is_sent_its_own_records_only() -> None:
    """The own account's records stand between those of all others: thousands that nobody asks for."""
    sent: list[int] = []
    with engine() as running:
        dynamodb = running.client("dynamodb")
        for account in (ACCOUNT, *MEMBERS):
            running.create_users(["alice", "222222222222"], account)
            assert running.run(asked(account, "2026-01-31T10:00:00Z")).status == "SUCCEEDED"

        def count(parsed: dict[str, Any], **_: Any) -> None:
            sent.append(len(parsed["Items"]))

        dynamodb.meta.events.register("after-call.dynamodb.Query", count)
        try:
            for member in (None, *MEMBERS):
                reader = Reader(dynamodb, TABLE, keys=Keys(member))
                (scan,) = reader.scans()
                sent.clear()
                assert len(list(reader.index_of(scan))) == sum(sent) == 2
        finally:
            dynamodb.meta.events.unregister("after-call.dynamodb.Query", count)


def test_a_change_is_told_of_the_account_in_which_it_happened() -> None:
    with engine() as running:
        for account in (ACCOUNT, *MEMBERS):
            running.create_users(["alice"], account)
            running.run(asked(account, "2026-01-31T10:00:00Z"))
        running.announced()
        running.create_users(["bob"], MEMBERS[0])

        for account in (ACCOUNT, *MEMBERS):
            assert running.run(asked(account, "2026-01-31T11:00:00Z")).status == "SUCCEEDED"

        (created,) = [event for event in running.announced() if event["change"] == "created"]
        assert (created["account_id"], created["user_name"]) == (MEMBERS[0], "bob")


def test_a_scan_that_is_named_is_not_skipped_but_fails_and_is_redriven() -> None:
    """Whoever names a scan expects it: that another one runs in the account must not pass for a success."""
    member, timestamp = MEMBERS[0], to_seconds(now())
    with engine() as running:
        running.create_users(["alice"], member)
        held = running.client("dynamodb")
        until = {"N": str(int(now().timestamp()) + 600)}
        lock = {name: {"S": value} for name, value in Keys(member).lock.items()}
        held.put_item(TableName=TABLE, Item={**lock, "owner": {"S": "another"}, "expires_at": until})

        failed = running.run(asked(member, timestamp))

        assert failed.status == "FAILED"
        assert "LockHeld" in str(failed.cause)
        assert f"of account {member}" in str(failed.cause)
        (manifest,) = running.manifests()
        assert (manifest["scan_timestamp"], manifest["status"]) == (
            Keys(member).manifest(timestamp)["scan_timestamp"],
            "FAILED",
        )
        running.clean_up(failed)
        assert (running.lock() or {})["owner"] == "another"
        # The own account is another matter.
        running.create_users(["root-of-all"])
        assert running.run().status == "SUCCEEDED"

        held.delete_item(TableName=TABLE, Key=lock)
        assert running.redrive(failed.arn).status == "SUCCEEDED"
        assert listed(running, member) == {timestamp: ["alice"]}


def test_the_name_of_a_scan_is_taken_once() -> None:
    member, timestamp = MEMBERS[0], to_seconds(now())
    with engine() as running:
        running.create_users(["alice"], member)
        first = running.run(asked(member, timestamp))
        assert first.status == "SUCCEEDED"
        before = running.items()

        again = running.run(asked(member, timestamp))

        assert again.status == "FAILED"
        assert f"has a scan {timestamp} already, of another execution: {first.arn}" in str(again.cause)
        running.clean_up(again)
        assert running.items() == before


def test_an_account_that_does_not_let_in_fails_by_name_and_frees_its_lock() -> None:
    member = MEMBERS[0]

    def invoke(step: str, event: Any, handler: Any) -> Any:
        if step == "list_users":
            raise FunctionError("AccessDenied", f"account {member} does not let this deployment in")
        return handler(event)

    with engine(invoke=invoke) as running:
        failed = running.run(asked(member, "2026-01-31T10:00:00Z"))

        assert f"AccessDenied: account {member} does not let this deployment in" in str(failed.cause)
        assert running.lock() is None
        (manifest,) = running.manifests()
        assert (manifest["account_id"], manifest["status"]) == (member, "FAILED")


def test_a_lock_whose_taking_got_lost_is_freed_by_clean_up() -> None:
    """AcquireLock took it and its answer was lost: ReleaseLock does not know whose it was, CleanUp does."""
    member = MEMBERS[0]

    def invoke(step: str, event: Any, handler: Any) -> Any:
        answer = handler(event)
        if step == "acquire_lock":
            raise FunctionError("Superseded", "the answer is lost")
        return answer

    for account, left in ((ACCOUNT, None), (member, Keys(member).lock_name)):
        with engine(invoke=invoke) as running:
            failed = running.run(asked(account, "2026-01-31T10:00:00Z"))

            assert (running.lock() or {}).get("scan_timestamp") == left
            running.clean_up(failed)
            assert running.lock() is None
            (manifest,) = running.manifests()
            assert (manifest["account_id"], manifest["status"]) == (account, "FAILED")


def test_an_input_that_is_refused_touches_no_member_account() -> None:
    with engine() as running:
        failed = running.run(asked(MEMBERS[0], "2026-01-31T10:00:00Z", account_id="not an account"))

        assert "InvalidInput: account_id must be a text of 12 digits" in str(failed.cause)
        (manifest,) = running.manifests()
        assert (
            manifest["scan_timestamp"]
            == OWN.manifest(manifest["scan_timestamp"].removeprefix("scan#"))["scan_timestamp"]
        )


def test_a_role_of_another_name_is_refused_and_stands_with_its_account() -> None:
    with engine() as running:
        failed = running.run(
            asked(MEMBERS[0], "2026-01-31T10:00:00Z", role_arn=f"arn:aws:iam::{MEMBERS[0]}:role/Admin")
        )

        assert "InvalidInput: role_arn must be the ARN of the role iam-user-monitor-member" in str(failed.cause)
        (manifest,) = running.manifests()
        assert (manifest["account_id"], manifest["error_type"]) == (MEMBERS[0], "InvalidInput")
        assert "list_users" not in json.dumps(running.invocations)
