"""``make up``, ``down``, ``break`` and ``mend``: a local AWS that is left running, and what can be done to it."""

import json
import shutil
from pathlib import Path

from tests.local_aws.aws import emulator, faults
from tests.local_aws.aws.emulator import Emulator
from tests.local_aws.errors import LocalAwsError
from tests.local_aws.run import organization, report
from tests.local_aws.run.steps import create_users, deploy, only_one, relative, say

LOCAL_FACTS = "local.json"
LOCAL_ENVIRONMENT = "local.env"


def up(build: Path, users: int, port: int | None, accounts: int = 0) -> int:
    """Deploy to a local AWS and leave it running; where it is goes to local.json and local.env in the build folder.

    Parameters
    ----------
    accounts
        How many member accounts with so many users each there are to be, too. Of one that runs already, they stay.
    """
    work_dir, facts_file = build / "up", build / LOCAL_FACTS
    with only_one(work_dir):
        aws = _running_emulator(facts_file)
        if aws is None:
            emulator.sweep(work_dir)
            say("Starting the local AWS")
            aws = emulator.start(log_file=work_dir / "emulator.log", port=port, detached=True)
            shutil.rmtree(work_dir / "deployment", ignore_errors=True)
            fresh = True
        else:
            say(f"The local AWS runs already at {aws.endpoint_url}; deploying to it")
            fresh = False
            known = json.loads(facts_file.read_text()).get("accounts", 0)
            if accounts not in {0, known}:
                raise LocalAwsError(
                    f"ACCOUNTS is {accounts}, and the one that is up has {known}: leave it out, or `make down` first"
                )
            accounts = known
        try:
            outputs = deploy(aws, work_dir, organization.VARIABLES if accounts else {})
            create_users(aws, users)
            if accounts and fresh:
                organization.make(aws, outputs, accounts, users)
            facts = {"endpoint_url": aws.endpoint_url, "pid": aws.pid, "accounts": accounts, **outputs}
            facts_file.write_text(json.dumps(facts, indent=2) + "\n")
            (build / LOCAL_ENVIRONMENT).write_text(report.shell_environment(aws.client_env(), outputs))
        except BaseException:
            if fresh:
                aws.stop()
            raise
    say("The local AWS is up")
    print(f"\nEndpoint        {aws.endpoint_url}\nFacts for tools {relative(facts_file)}\n\nLook further")
    for command in report.commands_to_look_further(relative(build / LOCAL_ENVIRONMENT)):
        print(f"  {command}")
    print("\nWhen a scan has succeeded, `make report` in that shell writes the page for auditors to build/report.html.")
    print("Stop it with `make down`; `leave_local_aws` lets the shell that has read the file forget it.")
    return 0


def down(build: Path) -> int:
    """Stop what ``up`` has started."""
    facts_file = build / LOCAL_FACTS
    if not facts_file.exists():
        print("no local AWS is up")
        return 0
    emulator.stop(json.loads(facts_file.read_text())["pid"])
    emulator.sweep(build / "up")
    facts_file.unlink()
    (build / LOCAL_ENVIRONMENT).unlink(missing_ok=True)
    print("the local AWS is stopped")
    return 0


def break_calls(build: Path, fault: faults.Fault) -> int:
    """Let calls fail on the local AWS that ``up`` has started."""
    faults.inject(_emulator_that_is_up(build), fault)
    by = f" by {fault.by}" if fault.by else ""
    account = f" for {fault.account}" if fault.account else ""
    print(f"{fault.call}{by}{account}, calls {fault.numbers}: {fault.kind} ({faults.KINDS[fault.kind]})")
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
