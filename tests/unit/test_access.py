"""Into whose IAM a step looks."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.shared import access, clients
from functions.shared.errors import AccessDenied
from functions.shared.request import Member
from tests.support.scene import TIMESTAMP, Scene

ACCOUNT = "222222222222"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/iam-user-monitor-member"
CREDENTIALS = {"AccessKeyId": "ASIA", "SecretAccessKey": "secret", "SessionToken": "token"}


class FakeSts:
    def __init__(self, error: str | None = None) -> None:
        self.error = error
        self.asked: dict[str, Any] = {}

    def assume_role(self, **arguments: Any) -> dict[str, Any]:
        self.asked = arguments
        if self.error is not None:
            message = "User: arn:aws:sts::123456789012:assumed-role/x is not authorized to perform: sts:AssumeRole"
            raise ClientError({"Error": {"Code": self.error, "Message": message}}, "AssumeRole")
        return {"Credentials": CREDENTIALS}


def assume(sts: FakeSts) -> Any:
    return access.assume(Member(ACCOUNT, ROLE), "session", sts, "the-monitor")  # type: ignore[arg-type]


def test_the_role_is_taken_for_the_shortest_time_and_with_the_external_id() -> None:
    sts = FakeSts()

    assert assume(sts) == CREDENTIALS
    assert sts.asked == {
        "RoleArn": ROLE,
        "RoleSessionName": "session",
        "ExternalId": "the-monitor",
        "DurationSeconds": 900,
    }


def test_who_is_not_let_in_is_told_what_may_be_wrong() -> None:
    with pytest.raises(AccessDenied, match=f"account {ACCOUNT} does not let this deployment in: .*{ROLE}.*the-monitor"):
        assume(FakeSts("AccessDenied"))


def test_another_error_is_what_it_is() -> None:
    with pytest.raises(ClientError, match="Throttling"):
        assume(FakeSts("Throttling"))


def test_the_session_says_which_scan(scene: Scene) -> None:
    """CloudTrail of the member account shows it; RoleSessionName takes these characters only, 2 to 64 of them."""
    name = access.session_name(scene.run())

    assert name == f"iam-user-monitor-{TIMESTAMP.replace(':', '.')}"
    assert len(name) <= 64
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyzTZ0123456789_=,.@-")


@pytest.mark.parametrize("patient", [True, False])
def test_the_client_of_a_member_account_has_the_roles_credentials(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    monkeypatch.setenv("MEMBER_EXTERNAL_ID", "the-monitor")
    sts = FakeSts()
    monkeypatch.setattr(clients, "sts", lambda: sts)
    run = scene.run().asked({"account_id": ACCOUNT, "role_arn": ROLE})

    iam: Any = access.iam_of(run, patient=patient)

    signer = iam._request_signer._credentials  # what its requests are signed with
    assert (signer.access_key, signer.secret_key, signer.token) == tuple(CREDENTIALS.values())
    assert iam.meta.config.retries["total_max_attempts"] == (8 if patient else 4)


def test_the_own_account_needs_no_credentials(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    own, brisk = object(), object()
    monkeypatch.setattr(clients, "iam", lambda: own)
    monkeypatch.setattr(clients, "brisk_iam", lambda: brisk)

    assert access.iam_of(scene.run(), patient=True) is own
    assert access.iam_of(scene.run(), patient=False) is brisk
