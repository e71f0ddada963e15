"""What a scan records of an account is what the command finds wrong with it."""

import json

from click.testing import CliRunner

from functions.cli.app import cli
from tests.support.engine import engine

ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
SOME = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def test_a_scan_is_answered_with_what_is_wrong() -> None:
    with engine() as running:
        iam = running.client("iam")
        for name in ("alice", "bob", "carol"):
            iam.create_user(UserName=name)
        iam.create_login_profile(UserName="alice", Password="S3cret!S3cret!")
        for _ in range(2):
            iam.create_access_key(UserName="bob")
        iam.put_user_policy(UserName="bob", PolicyName="some", PolicyDocument=json.dumps(SOME))
        iam.create_group(GroupName="operators")
        iam.put_group_policy(GroupName="operators", PolicyName="all", PolicyDocument=json.dumps(ALL))
        iam.add_user_to_group(GroupName="operators", UserName="carol")
        assert running.run().status == "SUCCEEDED"

        result = CliRunner().invoke(cli, ["findings", "--format", "json", "--fail-on-finding"])

        assert result.exit_code == 3, result.stderr
        found = [(row["user_name"], row["control"], row["status"]) for row in json.loads(result.stdout)]
        assert found == [
            ("alice", "console-no-mfa", "FINDING"),
            ("bob", "two-active-keys", "FINDING"),
            ("bob", "direct-policies", "FINDING"),
            ("carol", "admin-policy", "FINDING"),
            ("carol", "cloudshell-full-access", "UNKNOWN"),
        ]
