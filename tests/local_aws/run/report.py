"""Tells a person about a scan: live, while it runs, and as a summary when it has ended."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from functions.cli.executions import Waiting
from tests.local_aws.run.scan import METRIC_NAMESPACE, Check, Execution, Facts, Visit

RECORDS_SHOWN = 3

Line = Callable[[str], None]


class Progress:
    """Prints one line for every state that is entered, or lasts, and the users scanned so far."""

    def __init__(self, line: Line, clock: Callable[[], float] = time.monotonic) -> None:
        self._line = line
        self._waiting = Waiting(lambda state, lasted: line(f"            {state}: {lasted:.0f} s so far"), clock)
        self._started: datetime | None = None
        self._page = 0

    def __call__(self, event: dict[str, Any]) -> None:
        """Take the next event of the execution's history."""
        self._started = self._started or event["timestamp"]
        seconds = (event["timestamp"] - self._started).total_seconds()
        if "stateEnteredEventDetails" in event:
            name = event["stateEnteredEventDetails"]["name"]
            if name == "ListUsers":
                self._page += 1
            self._waiting.entered(name)
            page = f"page {self._page}" if name in {"ListUsers", "WriteRecords", "SaveProgress"} else ""
            self._line(f"  {seconds:6.1f} s  {name:<14} {page}".rstrip())
        elif event.get("stateExitedEventDetails", {}).get("name") == "SaveProgress":
            cursor = json.loads(event["stateExitedEventDetails"]["output"]).get("cursor", {})
            if "users_scanned" in cursor:
                self._line(f"  {seconds:6.1f} s  {cursor['users_scanned']:,} users scanned")

    def waiting(self) -> None:
        """Say so, where the state has lasted long."""
        self._waiting.go_on()


def path_of(visits: Sequence[Visit]) -> str:
    """Return the path through the states, with the loop over the pages folded: ``A → 3 × (B → C) → D``."""
    names = [visit.state for visit in visits]
    parts: list[str] = []
    position = 0
    while position < len(names):
        length, times = longest_repetition(names, position)
        run = " → ".join(names[position : position + length])
        parts.append(run if times == 1 else f"{times} × ({run})")
        position += length * times
    return " → ".join(parts)


def longest_repetition(names: list[str], start: int) -> tuple[int, int]:
    """Return the length and the number of the repetitions that cover most from a position on."""
    best = (1, 1)
    for length in range(1, (len(names) - start) // 2 + 1):
        times = 1
        while names[start : start + length] == names[start + length * times : start + length * (times + 1)]:
            times += 1
        if times > 1 and length * times > best[0] * best[1]:
            best = (length, times)
    return best


def summary(execution: Execution, facts: Facts, checks: Sequence[Check]) -> list[str]:
    """Return the lines that a person reads at the end."""
    manifest = facts.manifest
    lines = ["", f"Status          {execution.status}", f"Execution       {execution.arn}"]
    if execution.cause:
        lines.append(f"Cause           {execution.cause}")
    lines += [
        f"Scan            {facts.scan_timestamp}",
        f"Path            {path_of(execution.visits)}",
        "",
        *_state_times(execution.visits),
        "",
        f"Users scanned   {manifest.get('users_scanned', 0):,}",
        f"Records written {manifest.get('records_written', 0):,}",
        f"Errors          {manifest.get('errors', 0):,}",
        f"Metrics         {METRIC_NAMESPACE}: "
        + ", ".join(
            f"{name} {'none' if value is None else format(value, ',g')}" for name, value in facts.metrics.items()
        ),
        f"Manifest        {manifest.get('status', 'none')}",
        f"Lock            {'free' if facts.lock is None else 'held by ' + facts.lock['owner']}",
        f"History         {execution.history_events} events on AWS, "
        f"largest payload {execution.largest_payload / 1024:.0f} KiB",
        "",
        "Some records",
        *[f"  {json.dumps(record, default=int)}" for record in facts.records[:RECORDS_SHOWN]],
        "",
        "Checks",
        *[f"  {'ok    ' if check.passed else 'FAILED'}  {check.name}: {check.found}" for check in checks],
    ]
    return lines


def _state_times(visits: Sequence[Visit]) -> list[str]:
    totals: dict[str, tuple[int, float]] = {}
    for visit in visits:
        count, seconds = totals.get(visit.state, (0, 0.0))
        totals[visit.state] = (count + 1, seconds + visit.seconds)
    width = max(map(len, totals), default=0) + 1
    head = f"{'State':<{width}}   visits   seconds"
    return [head, *(f"  {name:<{width}}{count:>6}{seconds:>10.2f}" for name, (count, seconds) in totals.items())]


def commands_to_look_further(environment_file: str) -> list[str]:
    """Return commands for the AWS CLI, version 1 or 2, that show more of a local AWS that keeps running."""
    manifests = '{":k": {"S": "__scan__"}, ":p": {"S": "scan#"}}'
    return [
        f". {environment_file}",
        'aws stepfunctions start-execution --state-machine-arn "$STATE_MACHINE_ARN"',
        'aws stepfunctions list-executions --state-machine-arn "$STATE_MACHINE_ARN"',
        'aws dynamodb query --table-name "$DYNAMODB_TABLE_NAME" --no-scan-index-forward '
        "--key-condition-expression 'user_name = :k AND begins_with(scan_timestamp, :p)' "
        f"--expression-attribute-values '{manifests}'",
        'aws logs filter-log-events --log-group-name "$LOG_GROUP_PREFIX-emit-metrics" --query "events[].message" '
        "--output text",
        # Version 1 of the AWS CLI has an address of its own for SQS, unless it is told one.
        'aws --endpoint-url "$AWS_ENDPOINT_URL" sqs receive-message --queue-url "$CLEAN_UP_DEAD_LETTER_QUEUE_URL"',
    ]


def shell_environment(client_environment: Mapping[str, str], outputs: Mapping[str, Any]) -> str:
    """Return what a shell reads so that the AWS CLI talks to a local AWS, and commands have names to use."""
    log_group = outputs["log_group_names"]["emit_metrics"]
    variables = {
        **client_environment,
        "STATE_MACHINE_ARN": outputs["state_machine_arn"],
        "DYNAMODB_TABLE_NAME": outputs["dynamodb_table_name"],
        "CLEAN_UP_DEAD_LETTER_QUEUE_URL": outputs["clean_up_dead_letter_queue_url"],
        "LOG_GROUP_PREFIX": log_group.removesuffix("-emit-metrics"),
    }
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    return _SHELL_ENVIRONMENT.format(
        names=" ".join([*variables, "PATH"]), exports=exports, path=shlex.quote(str(Path(sys.executable).parent))
    )


# For any POSIX shell. Whoever reads it twice leaves it first, so that what was before is still known.
_SHELL_ENVIRONMENT = """\
# Sends AWS clients of this shell to the local AWS. `leave_local_aws` puts back what was set before.
if command -v leave_local_aws >/dev/null 2>&1; then leave_local_aws; fi
for _name in {names}; do
  eval "_was_$_name=\\${{$_name-}} _had_$_name=\\${{$_name+set}}"
done
leave_local_aws() {{
  for _name in {names}; do
    eval "if [ -n \\"\\$_had_$_name\\" ]; then export $_name=\\"\\$_was_$_name\\"; else unset $_name; fi"
    unset "_was_$_name" "_had_$_name"
  done
  unset _name
  unset -f leave_local_aws
}}
unset _name
{exports}
# The development environment has the AWS CLI, too, for those who have none.
export PATH="$PATH":{path}
"""


def facts_as_json(execution: Execution, facts: Facts, checks: Sequence[Check], users: int) -> dict[str, Any]:
    """Return the same facts for tools: the content of build/run.json."""
    manifest = facts.manifest
    return {
        "status": execution.status,
        "scan_timestamp": facts.scan_timestamp,
        "execution_arn": execution.arn,
        "users": users,
        "users_scanned": _whole(manifest.get("users_scanned")),
        "records_written": _whole(manifest.get("records_written")),
        "errors": _whole(manifest.get("errors")),
        "duration_ms": _whole(manifest.get("duration_ms")),
        "metrics": facts.metrics,
        "lock_released": facts.lock is None,
        "manifest_status": manifest.get("status"),
        "history_events": execution.history_events,
        "largest_payload_bytes": execution.largest_payload,
        "path": [visit.state for visit in execution.visits],
        "checks": checks_as_json(checks),
    }


def checks_as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return what was looked at, whether it was right, and what was found."""
    return [{"name": check.name, "passed": check.passed, "found": check.found} for check in checks]


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
