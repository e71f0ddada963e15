"""What the workflow is measured against: a scan in one process, as people write it. Run by the benchmark.

``python -m tests.bench.single_process scan TABLE`` lists every user with boto3's paginator and writes a record for each
with batch_writer; ``list`` only lists. Prints the seconds and CPU seconds of the work, without interpreter, imports and
clients, as JSON.
"""

import json
import sys
import time
from datetime import UTC, datetime

import boto3


def main(arguments: list[str]) -> None:
    """Do the work and print what it took."""
    iam = boto3.client("iam")
    table = boto3.resource("dynamodb").Table(arguments[1]) if arguments[0] == "scan" else None
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
                    record = {
                        "user_name": user["UserName"],
                        "scan_timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                        "user_id": user["UserId"],
                        "arn": user["Arn"],
                        "create_date": user["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
                        "ttl": int(now.timestamp()) + 90 * 86_400,
                    }
                    if "PasswordLastUsed" in user:
                        record["password_last_used"] = user["PasswordLastUsed"].strftime("%Y-%m-%dT%H:%M:%SZ")
                    writer.put_item(Item=record)
                    users += 1
    used = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - began_cpu, "users": users}
    print(json.dumps(used))


if __name__ == "__main__":
    main(sys.argv[1:])
