"""The local AWS from the command line: ``python -m tests.local_aws run | up | down | break | mend``.

The Makefile calls it.
"""

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from tests.local_aws.aws import emulator, faults
from tests.local_aws.aws.emulator import Emulator
from tests.local_aws.aws.users import create_users, parse_count
from tests.local_aws.deploy.terraform import Terraform
from tests.local_aws.errors import LocalAwsError
from tests.local_aws.run import html_report, report, scan
from tests.support.paths import BUILD

RUN_FACTS = "run.json"
RUN_PICTURE = "report.html"
LOCAL_FACTS = "local.json"
LOCAL_ENVIRONMENT = "local.env"

DEFAULT_RETENTION_DAYS = 90
EXIT_FAILED_CHECK = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

_started = time.monotonic()


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
        command.add_argument("--users", default="250", help="how many IAM users to create")
        command.add_argument("--port", default="", help="loopback port; empty: a free one")
    break_.add_argument("--call", default="", help="lambda:<step> or <service>:<Operation>")
    break_.add_argument("--fault", default="", help=f"one of {', '.join(faults.KINDS)}")
    break_.add_argument("--numbers", default="", help="which of the calls, such as 2, 1-3 or 2-; empty: all")
    break_.add_argument("--by", default="", help="a step or state_machine: only its calls; empty: anybody's")
    options = parser.parse_args(arguments)

    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), _interrupt)
    try:
        if options.command == "down":
            return down(options.build)
        if options.command == "break":
            return break_calls(options.build, faults.fault(options.call, options.fault, options.numbers, options.by))
        if options.command == "mend":
            return mend_calls(options.build)
        users, port = parse_count(options.users), _parse_port(options.port)
        start = run_once if options.command == "run" else bring_up
        return start(options.build, users, port)
    except LocalAwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


def run_once(build: Path, users: int, port: int | None) -> int:
    """Deploy, scan, verify and take everything down; the facts go to run.json in the build folder."""
    work_dir, facts_file, picture_file = build / "run", build / RUN_FACTS, build / RUN_PICTURE
    with _only_one(work_dir):
        for file in (facts_file, picture_file):
            file.unlink(missing_ok=True)
        # A former run's state is about an AWS that is gone.
        shutil.rmtree(work_dir / "deployment", ignore_errors=True)
        say("Starting the local AWS")
        with emulator.running(log_file=work_dir / "emulator.log", port=port) as aws:
            outputs = _deploy(aws, work_dir)
            _create_users(aws, users)
            say("Starting the scan")
            arn = scan.start(aws.client, outputs["state_machine_arn"])
            execution = scan.follow(aws.client, arn, report.Progress(print))
            facts = scan.collect(aws.client, outputs, execution)
            listed = aws.client("iam").get_paginator("list_users").paginate()
            account = [user for page in listed for user in page["Users"]]
            checks = scan.verify(execution, facts, account, _retention_days())
            facts_file.write_text(
                json.dumps(report.facts_as_json(execution, facts, checks, len(account)), indent=2, default=int) + "\n"
            )
            picture_file.write_text(html_report.page(execution, facts, checks))
            for line in report.summary(execution, facts, checks):
                print(line)
    print()
    print(f"Picture         {_relative(picture_file)}")
    print(f"Facts for tools {_relative(facts_file)}")
    print("Look further    `make up` leaves such an AWS running and prints the commands to explore it")
    passed = all(check.passed for check in checks)
    say("Done: the scan is verified" if passed else "The scan is WRONG: see the failed checks above")
    return 0 if passed else EXIT_FAILED_CHECK


def bring_up(build: Path, users: int, port: int | None) -> int:
    """Deploy to a local AWS and leave it running; where it is goes to local.json and local.env in the build folder."""
    work_dir, facts_file = build / "up", build / LOCAL_FACTS
    with _only_one(work_dir):
        aws = _running_emulator(facts_file)
        if aws is None:
            say("Starting the local AWS")
            aws = emulator.start(log_file=work_dir / "emulator.log", port=port, detached=True)
            shutil.rmtree(work_dir / "deployment", ignore_errors=True)
            fresh = True
        else:
            say(f"The local AWS runs already at {aws.endpoint_url}; deploying to it")
            fresh = False
        try:
            outputs = _deploy(aws, work_dir)
            _create_users(aws, users)
            facts = {"endpoint_url": aws.endpoint_url, "pid": aws.pid, **outputs}
            facts_file.write_text(json.dumps(facts, indent=2) + "\n")
            (build / LOCAL_ENVIRONMENT).write_text(report.shell_environment(aws.client_env(), outputs))
        except BaseException:
            if fresh:
                aws.stop()
            raise
    say("The local AWS is up")
    print(f"\nEndpoint        {aws.endpoint_url}\nFacts for tools {_relative(facts_file)}\n\nLook further")
    for command in report.commands_to_look_further(_relative(build / LOCAL_ENVIRONMENT)):
        print(f"  {command}")
    print("\nStop it with `make down`.")
    return 0


def down(build: Path) -> int:
    """Stop what ``up`` has started."""
    facts_file = build / LOCAL_FACTS
    if not facts_file.exists():
        print("no local AWS is up")
        return 0
    emulator.stop(json.loads(facts_file.read_text())["pid"])
    facts_file.unlink()
    (build / LOCAL_ENVIRONMENT).unlink(missing_ok=True)
    print("the local AWS is stopped")
    return 0


def break_calls(build: Path, fault: faults.Fault) -> int:
    """Let calls fail on the local AWS that ``up`` has started."""
    faults.inject(_emulator_that_is_up(build), fault)
    by = f" by {fault.by}" if fault.by else ""
    print(f"{fault.call}{by}, calls {fault.numbers}: {fault.kind} ({faults.KINDS[fault.kind]})")
    print("Mend it with `make mend`.")
    return 0


def mend_calls(build: Path) -> int:
    """Remove all faults, and say what they did."""
    aws = _emulator_that_is_up(build)
    for fault in faults.injected(aws):
        print(f"{fault['call']} {fault['kind']}: hit {fault['hit']} of {fault['seen']} calls")
    faults.mend(aws)
    print("every call is answered again")
    return 0


def say(text: str) -> None:
    """Print a line about what goes on, with the time since the start."""
    print(f"[{time.monotonic() - _started:5.1f} s] {text}", flush=True)


def _deploy(aws: Emulator, work_dir: Path) -> dict[str, Any]:
    terraform = Terraform(
        work_dir=work_dir / "deployment", environment={**os.environ, **aws.client_env()}, progress=say
    )
    say("Deploying with Terraform")
    terraform.init()
    return terraform.apply()


def _create_users(aws: Emulator, users: int) -> None:
    say(f"Creating {users:,} IAM users")
    create_users(aws.client("iam"), users, lambda done: say(f"  {done:,} of {users:,} users created"))


def _running_emulator(facts_file: Path) -> Emulator | None:
    """Return the emulator of a former ``up`` if it still answers."""
    if not facts_file.exists():
        return None
    facts = json.loads(facts_file.read_text())
    endpoint_url: str = facts["endpoint_url"]
    aws = Emulator(endpoint_url, int(endpoint_url.rsplit(":", 1)[1]), facts["pid"])
    try:
        aws.client("sts").get_caller_identity()
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not running
        return None
    return aws


def _emulator_that_is_up(build: Path) -> Emulator:
    aws = _running_emulator(build / LOCAL_FACTS)
    if aws is None:
        raise LocalAwsError("no local AWS is up; start one with `make up`")
    return aws


@contextlib.contextmanager
def _only_one(work_dir: Path) -> Iterator[None]:
    """Keep a second command of the same kind away from the folder."""
    work_dir.mkdir(parents=True, exist_ok=True)
    with (work_dir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalAwsError(f"another command works in {_relative(work_dir)}; wait until it has ended") from None
        yield


def _retention_days() -> int:
    return int(os.environ.get("TF_VAR_retention_days", DEFAULT_RETENTION_DAYS))  # noqa: SIM112 - Terraform's spelling


def _parse_port(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise LocalAwsError(f"PORT must be a whole number from 1 to 65535, or empty for a free one, got {text!r}")
    return int(text)


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
