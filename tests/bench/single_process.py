"""What the workflow is measured against: a scan in one process, as people write it. Run by the benchmark.

``python -m tests.bench.single_process scan TABLE`` lists every user with boto3's paginator and writes a record for each
with batch_writer; ``list`` only lists; ``posture TABLE`` scans, and asks IAM for every user's password, MFA, keys and
their use, groups, policies and tags besides. Prints the seconds and CPU seconds of the work, without interpreter,
imports and clients, as JSON.
"""

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

import boto3


def main(arguments: list[str]) -> None:
    """Do the work and print what it took."""
    iam = boto3.client("iam")
    table = boto3.resource("dynamodb").Table(arguments[1]) if arguments[0] in {"scan", "posture"} else None
    began, began_cpu = time.monotonic(), time.process_time()
    users = 0
    now = datetime.now(UTC)
    if table is None:
        for page in iam.get_paginator("list_users").paginate():
            users += len(page["Users"])
    else:
        with table.batch_writer() as writer:
            for page in iam.get_paginator("list_users").paginate():
                for user in page["Users"]:
                    record: dict[str, Any] = {
                        "user_name": user["UserName"],
                        "scan_timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                        "user_id": user["UserId"],
                        "arn": user["Arn"],
                        "create_date": user["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
                        "ttl": int(now.timestamp()) + 90 * 86_400,
                    }
                    if "PasswordLastUsed" in user:
                        record["password_last_used"] = user["PasswordLastUsed"].strftime("%Y-%m-%dT%H:%M:%SZ")
                    if arguments[0] == "posture":
                        record.update(posture(iam, user["UserName"]))
                    writer.put_item(Item=record)
                    users += 1
    used = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - began_cpu, "users": users}
    print(json.dumps(used))


def posture(iam: Any, name: str) -> dict[str, Any]:
    """Ask for one user, fact by fact."""
    try:
        iam.get_login_profile(UserName=name)
        password = True
    except iam.exceptions.NoSuchEntityException:
        password = False
    facts: dict[str, Any] = {
        "password_enabled": password,
        "mfa_active": bool(iam.list_mfa_devices(UserName=name)["MFADevices"]),
        "groups": [group["GroupName"] for group in iam.list_groups_for_user(UserName=name)["Groups"]],
        "attached_policies": [
            policy["PolicyArn"] for policy in iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]
        ],
        "inline_policies": iam.list_user_policies(UserName=name)["PolicyNames"],
        "tags": {tag["Key"]: tag["Value"] for tag in iam.list_user_tags(UserName=name)["Tags"]},
    }
    for slot, key in enumerate(iam.list_access_keys(UserName=name)["AccessKeyMetadata"], start=1):
        used = iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["AccessKeyLastUsed"]
        facts[f"access_key_{slot}_active"] = key["Status"] == "Active"
        facts[f"access_key_{slot}_last_used_service"] = used.get("ServiceName", "N/A")
    return facts


if __name__ == "__main__":
    main(sys.argv[1:])
