"""The local AWS from the command line: ``python -m tests.local_aws run | up | down | break | mend``.

The Makefile calls it.
"""

import argparse
import signal
import sys
from pathlib import Path
from typing import NoReturn

from tests.local_aws.aws import faults, fleet
from tests.local_aws.aws.users import parse_count
from tests.local_aws.errors import LocalAwsError
from tests.local_aws.run import once, standing
from tests.support.paths import BUILD

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Run one command. Returns the exit status; every error is one line."""
    parser = argparse.ArgumentParser(prog="python -m tests.local_aws", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="deploy to a local AWS, scan, verify, take everything down")
    up = commands.add_parser("up", help="deploy to a local AWS and leave it running")
    stop = commands.add_parser("down", help="stop what up has started")
    break_ = commands.add_parser("break", help="let calls of the deployed workflow fail on the local AWS that is up")
    mend = commands.add_parser("mend", help="let every call succeed again")
    for command in (run, up, stop, break_, mend):
        command.add_argument("--build", type=Path, default=BUILD, help="folder for everything that is made")
    for command in (run, up):
        command.add_argument("--users", default="250", help="how many IAM users to create, in every account")
        command.add_argument("--accounts", default="0", help="how many member accounts to create, and to scan, too")
        command.add_argument("--port", default="", help="loopback port; empty: a free one")
    break_.add_argument("--call", default="", help="lambda:<step> or <service>:<Operation>")
    break_.add_argument("--fault", default="", help=f"one of {', '.join(faults.KINDS)}")
    break_.add_argument("--numbers", default="", help="which of the calls, such as 2, 1-3 or 2-; empty: all")
    break_.add_argument("--by", default="", help="a step or state_machine: only its calls; empty: anybody's")
    break_.add_argument("--account", default="", help="an account: only calls about it; empty: every account's")
    options = parser.parse_args(arguments)

    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), _interrupt)
    try:
        if options.command == "down":
            return standing.down(options.build)
        if options.command == "break":
            fault = faults.fault(options.call, options.fault, options.numbers, options.by, options.account)
            return standing.break_calls(options.build, fault)
        if options.command == "mend":
            return standing.mend_calls(options.build)
        users, port = parse_count(options.users), _parse_port(options.port)
        accounts = fleet.parse_count(options.accounts)
        start = once.run if options.command == "run" else standing.up
        return start(options.build, users, port, accounts)
    except LocalAwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parse_port(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise LocalAwsError(f"PORT must be a whole number from 1 to 65535, or empty for a free one, got {text!r}")
    return int(text)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
