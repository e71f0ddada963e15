"""The operator commands: ``python -m functions.operations start | redrive | scans | history | users | diff``.

The Makefile calls it. AWS credentials, region and endpoint are those of the environment, as with the AWS CLI; the
deployment is that of STATE_MACHINE_ARN and DYNAMODB_TABLE_NAME, or the one with the default names.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from functions.operations import executions, output, records
from functions.operations.errors import OperationError
from functions.operations.stack import Stack

EXIT_FAILED_EXECUTION = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

SCAN_COLUMNS = (
    "scan", "status", "users_scanned", "records_written", "errors", "attempt", "trigger", "duration_ms", "execution",
)  # fmt: skip
USER_COLUMNS = ("user_name", "user_id", "arn", "create_date", "password_last_used")
HISTORY_COLUMNS = ("scan_timestamp", "change", "user_id", "arn", "create_date", "password_last_used")
DIFF_COLUMNS = ("user_name", "change", "attributes", "before", "after")


def main(arguments: list[str]) -> int:
    """Run one command. Returns the exit status; every error is one line."""
    parser = argparse.ArgumentParser(prog="python -m functions.operations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start", help="start a scan and follow it to its end")
    commands.add_parser("redrive", help="redrive a failed run and follow it").add_argument("--execution", default="")
    scans = commands.add_parser("scans", help="the scans, newest first")
    scans.add_argument("--limit", default="20")
    history = commands.add_parser("history", help="a user through time")
    history.add_argument("--user", default="")
    users = commands.add_parser("users", help="who existed")
    users.add_argument("--scan", default="")
    users.add_argument("--at", default="")
    diff = commands.add_parser("diff", help="what changed between two scans")
    diff.add_argument("--from", dest="before", default="")
    diff.add_argument("--to", dest="after", default=records.LATEST)
    for command in (scans, history, users, diff):
        command.add_argument("--format", default="")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except OperationError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except (BotoCoreError, ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:
        # Somebody has seen enough: `make users | head`. What is still in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted; an execution that was started goes on", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    form = output.check_format(getattr(options, "format", ""))
    if options.command == "scans":
        limit = _limit(options.limit)
    if options.command == "history" and not options.user:
        raise OperationError("USER must be the name of an IAM user")
    if options.command == "diff" and not options.before:
        raise OperationError("FROM must be the scan to begin with; `make scans` lists them")
    stack = Stack.from_environment()
    match options.command:
        case "start":
            return _follow(stack, executions.start(stack))
        case "redrive":
            execution = options.execution
            if execution == records.LATEST:
                execution = records.latest_execution(stack)
            return _follow(stack, executions.redrive(stack, execution))
        case "scans":
            output.write(islice(map(_scan_row, records.scans(stack)), limit), SCAN_COLUMNS, form)
        case "history":
            output.write(_history_rows(stack, options.user), HISTORY_COLUMNS, form)
        case "users":
            scan = records.choose_scan(stack, scan=options.scan, at=options.at)
            count = output.write(records.users(stack, scan), USER_COLUMNS, form)
            _note(f"{count:,} users in the scan {scan}")
        case "diff":
            before = records.choose_scan(stack, scan=options.before)
            after = records.choose_scan(stack, scan=options.after)
            count = output.write(_diff_rows(stack, before, after), DIFF_COLUMNS, form)
            _note(f"{count:,} changes from {before} to {after}")
    return 0


def _follow(stack: Stack, arn: str) -> int:
    print(arn)
    ended = executions.follow(stack, arn, print)
    print(ended["status"])
    if ended["status"] == "SUCCEEDED":
        return 0
    if ended.get("cause"):
        print(executions.message_of(ended["cause"]))
    return EXIT_FAILED_EXECUTION


def _note(text: str) -> None:
    """Tell people something that is no row: on standard error, where it is in no tool's way."""
    print(text, file=sys.stderr)


def _scan_row(manifest: dict[str, Any]) -> dict[str, Any]:
    execution = str(manifest["execution_arn"]).rpartition(":")[2]
    return {**manifest, "scan": records.timestamp_of(manifest), "execution": execution}


def _history_rows(stack: Stack, user: str) -> Iterator[dict[str, Any]]:
    for scan, change, record in records.history(stack, user):
        yield {**(record or {}), "scan_timestamp": scan, "change": change}


def _diff_rows(stack: Stack, before: str, after: str) -> Iterator[dict[str, Any]]:
    for change in records.diff(stack, before, after):
        both = {
            side: ", ".join(str((user or {}).get(name, "none")) for name in change.attributes) or None
            for side, user in (("before", change.before), ("after", change.after))
        }
        yield {
            "user_name": change.user_name,
            "change": change.change,
            "attributes": list(change.attributes) or None,
            **both,
        }


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise OperationError(f"LIMIT must be a whole number above 0, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
