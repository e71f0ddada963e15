"""Deploys the Terraform configuration, unchanged, from a staged copy with a state of its own.

The copy keeps the layout of the repository, so that paths out of ``terraform/`` stay right, and everything that
Terraform writes (lock file, plugins, state) stays out of the folder that a user deploys from.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.local_aws.errors import LocalAwsError
from tests.local_aws.terraform_install import (
    Progress,
    find_provider_mirror,
    find_terraform,
    search_prefixes,
)

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "build" / "iam_user_monitor.zip"

# `terraform plan -detailed-exitcode`
_NO_CHANGES, _CHANGES = 0, 2
_INTERRUPT_GRACE_SECONDS = 15
# How every line of Terraform's machine-readable output begins.
_JSON_LINE = '{"@level"'


class Terraform:
    """One deployment of the configuration.

    Parameters
    ----------
    work_dir
        Folder of the staged copy and its state. It may hold a former deployment, which is then updated.
    environment
        Environment of terraform: says which AWS it talks to. TF_VAR_… variables in it are honoured.
    progress
        Called with one line for every resource, so that a wait is never silent.
    tools
        Where a downloaded Terraform and the providers are kept between deployments.
    """

    def __init__(
        self,
        *,
        work_dir: Path,
        environment: Mapping[str, str],
        progress: Progress = lambda line: None,
        tools: Path = REPOSITORY / "build" / "tools",
    ) -> None:
        self.folder = work_dir / "terraform"
        self._work_dir = work_dir
        self._progress = progress
        self._tools = tools
        self._environment = _terraform_environment(environment, tools / "plugins")

    def init(self) -> None:
        """Stage the configuration and make the AWS provider available.

        Raises
        ------
        LocalAwsError
            There is no Terraform, no provider, or no package.
        """
        self._stage()
        self._terraform = find_terraform(self._tools, self._environment, self._progress)
        # Where the provider came from the last time: the registry is not asked in vain every time.
        remembered = self._tools / "provider-mirror"
        if remembered.exists() and (mirror := Path(remembered.read_text())).is_dir():
            if self._init("-plugin-dir", str(mirror)) is None:
                return
            remembered.unlink()
        failure = self._init()
        if failure is None:
            return
        self._progress("The provider registry cannot be reached: searching for a filesystem mirror")
        found = find_provider_mirror(search_prefixes(self._environment))
        if found is None:
            raise LocalAwsError(
                "the Terraform provider hashicorp/aws is missing: the registry cannot be reached and no filesystem "
                "mirror with version 5.67 to 6.x was found; connect to the internet once, or put one below "
                f"~/.terraform.d/plugins (terraform init: {failure})"
            )
        self._progress("Found the AWS provider in a filesystem mirror")
        failure = self._init("-plugin-dir", str(found))
        if failure is not None:
            raise LocalAwsError(f"terraform init: {failure}")
        remembered.parent.mkdir(parents=True, exist_ok=True)
        remembered.write_text(str(found))

    def apply(self, variables: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Create or update everything and return the outputs.

        Raises
        ------
        LocalAwsError
            Terraform refused a value or failed; the message is its first error.
        """
        self._run_json("apply", "-auto-approve", *_as_arguments(variables))
        return self.outputs()

    def plan_has_changes(self, variables: Mapping[str, object] | None = None) -> bool:
        """Tell whether an apply would change anything."""
        arguments = ["plan", "-json", "-detailed-exitcode", "-lock=false", *_as_arguments(variables)]
        status, lines = self._run(*arguments)
        if status not in (_NO_CHANGES, _CHANGES):
            raise LocalAwsError(f"terraform plan: {first_error(lines)}")
        return status == _CHANGES

    def destroy(self, variables: Mapping[str, object] | None = None) -> None:
        """Remove everything."""
        self._run_json("destroy", "-auto-approve", *_as_arguments(variables))

    def outputs(self) -> dict[str, Any]:
        """Return the values of all outputs."""
        status, lines = self._run("output", "-json", "-no-color")
        if status != 0:
            raise LocalAwsError(f"terraform output: {first_error(lines)}")
        return {name: output["value"] for name, output in json.loads("\n".join(lines)).items()}

    def resources(self) -> list[str]:
        """Return the addresses of all resources in the state, data sources left out."""
        status, lines = self._run("state", "list")
        return [line for line in lines if status == 0 and line and not line.startswith("data.")]

    def _stage(self) -> None:
        if not PACKAGE.exists():
            raise LocalAwsError("the deployment package is missing; build it with `make package`")
        for folder, pattern in (("terraform", "*.tf"), ("statemachine", "*.json")):
            target = self._work_dir / folder
            target.mkdir(parents=True, exist_ok=True)
            for stale in target.glob(pattern):
                stale.unlink()
            for source in (REPOSITORY / folder).glob(pattern):
                shutil.copyfile(source, target / source.name)
        (self._work_dir / "build").mkdir(exist_ok=True)
        shutil.copyfile(PACKAGE, self._work_dir / "build" / PACKAGE.name)

    def _init(self, *arguments: str) -> str | None:
        """Run terraform init and return its error, None when it succeeded."""
        # A lock file of a former provider must not stand against the one that is there now.
        (self.folder / ".terraform.lock.hcl").unlink(missing_ok=True)
        (self._tools / "plugins").mkdir(parents=True, exist_ok=True)
        status, lines = self._run("init", "-no-color", *arguments)
        return None if status == 0 else first_error(lines)

    def _run_json(self, command: str, *arguments: str) -> None:
        status, lines = self._run(command, "-json", *arguments)
        if status != 0:
            raise LocalAwsError(f"terraform {command}: {first_error(lines)}")

    def _run(self, *arguments: str) -> tuple[int, list[str]]:
        """Run terraform and return its exit status and what it printed, telling of resources on the way."""
        command = [str(self._terraform), f"-chdir={self.folder}", *arguments]
        with _process(command, self._environment) as process:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                told = _resource_done(line)
                if told:
                    self._progress(told)
            return process.wait(), lines


@contextlib.contextmanager
def _process(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a process in a group of its own, and leave nothing of the group when the block is left early."""
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    except BaseException:
        # Asked once, Terraform saves its state and ends its plugins; it is not waited for longer than that takes.
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_INTERRUPT_GRACE_SECONDS)
        raise
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _terraform_environment(environment: Mapping[str, str], plugin_cache: Path) -> dict[str, str]:
    settings = {
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        # Offline, the registry must be given up in seconds.
        "TF_REGISTRY_DISCOVERY_RETRY": "0",
        "TF_REGISTRY_CLIENT_TIMEOUT": "10",
        "TF_PLUGIN_CACHE_DIR": str(plugin_cache),
        # The staged copy has no lock file, without which the cache would not be used.
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "1",
    }
    kept = {name: value for name, value in environment.items() if not name.startswith("TF_CLI_ARGS")}
    # Terraform only warns of a missing configuration file, but its warning would be all that a user sees.
    configuration = kept.get("TF_CLI_CONFIG_FILE")
    if configuration is not None and not Path(configuration).exists():
        del kept["TF_CLI_CONFIG_FILE"]
    return {**kept, **settings}


def _as_arguments(variables: Mapping[str, object] | None) -> list[str]:
    return [
        argument
        for name, value in (variables or {}).items()
        for argument in ("-var", f"{name}={value if isinstance(value, str) else json.dumps(value)}")
    ]


def _resource_done(line: str) -> str | None:
    """Return what to tell of a line of Terraform's JSON output, None when it is not about a finished resource."""
    if not line.startswith(_JSON_LINE):
        return None
    message = json.loads(line)
    hook = message.get("hook", {})
    if message.get("type") != "apply_complete" or hook["action"] == "read":
        return None
    done = {"create": "created", "update": "updated", "delete": "deleted"}.get(hook["action"], hook["action"])
    return f"  {done} {hook['resource']['addr']}"


def first_error(lines: list[str]) -> str:
    """Return the first error in what Terraform printed, as one line."""
    for line in lines:
        if line.startswith(_JSON_LINE):
            message = json.loads(line)
            if message.get("@level") == "error" and "diagnostic" in message:
                diagnostic = message["diagnostic"]
                # The first paragraph says what is wrong; the rest, where in the configuration it was found out.
                detail = diagnostic.get("detail", "").split("\n\n")[0]
                return _one_line(f"{diagnostic['summary']}: {detail}" if detail else diagnostic["summary"])
    text = "\n".join(line.lstrip("│╷╵ ") for line in lines)
    match = re.search(r"Error: (.*?)(?:\n\s*\n(.*?)(?:\n\s*\n|\Z)|\Z)", text, re.DOTALL)
    if match:
        return _one_line(": ".join(part for part in match.groups() if part))
    meaningful = [line for line in lines if line.strip()]
    return _one_line(meaningful[-1]) if meaningful else "it printed nothing"


def _one_line(text: str) -> str:
    return " ".join(text.split())
