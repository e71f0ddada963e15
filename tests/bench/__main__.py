"""The benchmark from the command line: ``python -m tests.bench``. ``make bench`` calls it."""

import json
import os
import shutil
import sys
import time

from tests.bench import cold_start, measure, pace
from tests.bench.report import LATENCY_MS, RESULT, Report
from tests.local_aws.aws import emulator, meter, past
from tests.local_aws.aws.users import create_users
from tests.local_aws.deploy.terraform import Terraform
from tests.local_aws.errors import LocalAwsError
from tests.local_aws.run.changes import REPORT_KEPT
from tests.support.paths import REPOSITORY

SIZES = (100, 1000, 5000)
RUNS = 3
EXIT_MISSED = 1
EXIT_BAD_INPUT = 2

_started = time.monotonic()


def main() -> int:
    """Measure, print and write the report. Returns 0, or 1 if a target is missed."""
    try:
        report = run()
    except LocalAwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    facts = json.dumps(report.as_json(), indent=2) + "\n"
    (REPOSITORY / "build" / "bench.json").write_text(facts)
    RESULT.write_text(facts)
    print()
    print("\n".join(report.table()))
    missed = [target for target in report.targets() if not target.met]
    for target in missed:
        print(f"MISSED: {target.name}: wanted {target.wanted}, found {target.found}", file=sys.stderr)
    return EXIT_MISSED if missed else 0


def run() -> Report:
    """Deploy once, and measure every way at every size, without and with the latency of AWS."""
    work_dir = REPOSITORY / "build" / "bench"
    shutil.rmtree(work_dir, ignore_errors=True)
    work_dir.mkdir(parents=True)
    say("Measuring the imports")
    imports = cold_start.measure()
    say("Deploying to a local AWS")
    found = []
    with emulator.running(log_file=work_dir / "emulator.log") as aws:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_VAR_")}
        terraform = Terraform(work_dir=work_dir / "deployment", environment={**environment, **aws.client_env()})
        terraform.init()
        # The schedule must not scan meanwhile.
        outputs = terraform.apply({"schedule_enabled": "false"})
        create_users(aws, measure.ACCOUNT_USERS, lambda done: None)
        past.pass_time(aws, REPORT_KEPT.total_seconds())
        measure.workflow(aws, outputs, measure.ACCOUNT_USERS, 0, runs=1)
        found.append(measure.account(aws, outputs, LATENCY_MS, RUNS))
        for users in SIZES:
            say(f"Creating users, up to {users:,}")
            meter.begin(aws)  # without latency
            create_users(aws, users, lambda done: None)
            # Who was created since the last credential report is in none before the next.
            past.pass_time(aws, REPORT_KEPT.total_seconds())
            measure.workflow(aws, outputs, users, 0, runs=1)  # warms the functions
            for latency_ms in (0, LATENCY_MS):
                found += measure.all_ways(aws, outputs, users, latency_ms, RUNS, say)
        found.append(measure.throttled(aws, outputs, users, LATENCY_MS, runs=1))
        say(f"  {users:>5,} users, where the index takes {measure.INDEX_UNITS} a second: {found[-1].seconds:.2f} s")
        found.append(measure.publication(aws, outputs, users, LATENCY_MS, RUNS))
        say(f"  {users:>5,} users, {measure.CHANGES} of them changed: {found[-1].seconds:.2f} s to publish")
    say("Writing in virtual time, as fast as the index of AWS lets it")
    paces = pace.measure(max(SIZES))
    return Report(found, imports, cold_start.PACKAGE.stat().st_size, paces)


def say(text: str) -> None:
    """Print a line about what goes on, with the time since the start."""
    print(f"[{time.monotonic() - _started:5.1f} s] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
