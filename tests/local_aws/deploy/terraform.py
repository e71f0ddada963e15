"""Deploys the unchanged Terraform configuration to a local AWS."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from tests.local_aws.deploy import terraform_install as install
from tests.local_aws.errors import LocalAwsError
from tests.support.paths import REPOSITORY

PACKAGE = Path("build", "iam_user_monitor.zip")

# How long the registry may take to say which providers it has, and how long the download may take then. Without these
# bounds, someone whose network drops packets would wait for all of Terraform's own retries.
_REGISTRY_ANSWER_SECONDS = 15.0
_REGISTRY_DOWNLOAD_SECONDS = 900.0
_SILENCE_SECONDS = 10.0
_TICK_SECONDS = 0.25
_INTERRUPT_GRACE_SECONDS = 5.0
_KILL_GRACE_SECONDS = 5.0

# How `terraform init` begins when it is not about providers.
_ERRORS_IN_CONFIGURATION = "Terraform encountered problems during initialisation"

# What a user has set for another deployment, and would lead this one elsewhere.
_DROPPED_VARIABLES = re.compile(
    r"TF_(CLI_ARGS(_.*)?|DATA_DIR|WORKSPACE|PLUGIN_CACHE_DIR|LOG(_.*)?)"
    r"|AWS_(ENDPOINT_URL_.*|IGNORE_CONFIGURED_ENDPOINT_URLS|USE_(FIPS|DUALSTACK)_ENDPOINT)"
)


@dataclass
class Terraform:
    """The configuration of the checkout, deployed from a copy of it.

    Terraform runs in a copy because its lock file, plugins and state then never touch the user's terraform/ folder,
    which may hold those of a real deployment. The copies are byte-identical, and nothing is added to them but the
    version of the provider, where AWS_PROVIDER_VERSION asks for one.

    Whatever ends a call early, such as the KeyboardInterrupt of a Ctrl-C or one that a handler of SIGTERM raises, no
    process of Terraform survives it.

    Parameters
    ----------
    work_dir
        Folder of the copy and of the state. A second deployment with the same folder goes on from its state.
    environment
        The environment of Terraform, with AWS_ENDPOINT_URL and the credentials of the local AWS. TF_VAR_… set
        variables as usual. AWS_PROVIDER_VERSION is a version constraint, in place of the configuration's.
    progress
        Receives a line for everything that happens, and at least one every ten seconds.
    repository
        The checkout.
    """

    work_dir: Path
    environment: Mapping[str, str]
    progress: Callable[[str], None] = field(default=lambda line: None)
    repository: Path = REPOSITORY

    _said: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        self.work_dir = self.work_dir.resolve()
        if not self.environment.get("AWS_ENDPOINT_URL"):
            raise LocalAwsError("AWS_ENDPOINT_URL is not set: without it this would deploy to a real AWS account")

    @property
    def directory(self) -> Path:
        """The folder that Terraform runs in."""
        return self.work_dir / "terraform"

    @property
    def _tools(self) -> Path:
        """Where downloads are kept for all deployments."""
        return self.repository / "build" / "tools"

    @cached_property
    def program(self) -> Path:
        """The ``terraform`` program; found, or downloaded, on first use."""
        constraint = install.required_version(self.repository / "terraform")
        return install.find_terraform(self.environment, constraint, self._tools, self._say)

    @property
    def process_environment(self) -> dict[str, str]:
        """The environment that Terraform runs with."""
        kept = {name: value for name, value in self.environment.items() if not _DROPPED_VARIABLES.fullmatch(name)}
        if not os.path.exists(kept.get("TF_CLI_CONFIG_FILE", "")):
            # Terraform would only warn of it, each time.
            kept.pop("TF_CLI_CONFIG_FILE", None)
        # Terraform and the provider, both written in Go, allocate hundreds of megabytes and end soon: to collect
        # garbage less often saves a third of the time they take of the processor.
        return {"GOGC": "400", **kept, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}

    def init(self) -> None:
        """Copy the configuration and install the AWS provider.

        The provider comes from build/, where the first download has put it; else from the registry, or what the user's
        Terraform is configured to use instead; else from a filesystem mirror that is found on this machine.

        Raises
        ------
        LocalAwsError
            Something is missing: the package, Terraform, or the provider.
        """
        self._stage()
        constraint = self._asked_for or install.required_provider_version(self.directory)
        tools = self._tools
        cache, note = tools / "plugins", tools / "provider-mirror"

        known = [cache, *([Path(note.read_text())] if note.exists() else [])]
        for mirror in install.mirrors_below(known, constraint):
            if self._init_from_mirror(mirror.folder) is None:
                return
        refusal = self._init_from_registry(cache)
        if refusal is None:
            return
        self._say("The registry gives no AWS provider: looking for a filesystem mirror on this machine")
        for mirror in install.find_mirrors(self.environment, constraint):
            if self._init_from_mirror(mirror.folder) is None:
                self._say(f"The AWS provider {'.'.join(map(str, mirror.version))} is from {mirror.folder}")
                tools.mkdir(parents=True, exist_ok=True)
                note.write_text(str(mirror.folder))
                return
        raise LocalAwsError(
            f"the AWS provider of Terraform (hashicorp/aws {_in_short(constraint)}) is missing: the registry gives "
            "none, and no filesystem mirror on this machine has it; connect to the network once, or put a mirror made "
            f"by `terraform providers mirror` into ~/.terraform.d/plugins (terraform init: {refusal})"
        )

    def apply(self, variables: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Deploy, and return the outputs.

        Parameters
        ----------
        variables
            Values of the configuration's variables; they win over TF_VAR_….

        Raises
        ------
        LocalAwsError
            Terraform has refused or failed; the message is its first error.
        """
        self._run("apply", "-auto-approve", *var_arguments(variables))
        return self.outputs()

    def plan_has_changes(self, variables: Mapping[str, object] | None = None) -> bool:
        """Tell whether an apply would change anything; what, it tells by progress lines.

        Raises
        ------
        LocalAwsError
            Terraform has refused or failed; the message is its first error.
        """
        return self._run("plan", "-detailed-exitcode", *var_arguments(variables), accepted=(0, 2)) == 2

    def destroy(self, variables: Mapping[str, object] | None = None) -> None:
        """Remove everything that is deployed.

        Raises
        ------
        LocalAwsError
            Terraform has refused or failed; the message is its first error.
        """
        self._run("destroy", "-auto-approve", *var_arguments(variables))

    def outputs(self) -> dict[str, Any]:
        """Return the outputs of the last apply."""
        lines: list[str] = []
        errors: list[str] = []
        if self._stream(["output", "-json", "-no-color"], lines.append, hear_error=errors.append) != 0:
            raise LocalAwsError(f"terraform output: {_first_error_of_text(errors)}")
        return {name: output["value"] for name, output in json.loads("\n".join(lines)).items()}

    def resources(self) -> list[str]:
        """Return the addresses of everything that is deployed."""
        lines: list[str] = []
        status = self._stream(["state", "list"], lines.append, hear_error=lambda line: None)
        return [line for line in lines if status == 0 and line and not line.startswith("data.")]

    # The copy

    @property
    def _asked_for(self) -> str:
        """The version of the provider that is asked for; empty for any that the configuration takes."""
        return self.environment.get("AWS_PROVIDER_VERSION", "")

    def _stage(self) -> None:
        package = self.repository / PACKAGE
        if not package.is_file():
            raise LocalAwsError(f"there is no deployment package at {package}; build it with `make package`")
        for folder, pattern in (("terraform", "*.tf"), ("statemachine", "*.yaml")):
            _mirror_files(self.repository / folder, self.work_dir / folder, pattern)
        _mirror_files(package.parent, self.work_dir / package.parent.name, package.name)
        if self._asked_for:
            aws = f'aws = {{ source = "hashicorp/aws", version = "{self._asked_for}" }}'
            (self.directory / "version_override.tf").write_text(
                f"terraform {{\n  required_providers {{\n    {aws}\n  }}\n}}\n"
            )
        # It is about the provider of an earlier deployment; the one of this deployment is chosen anew.
        (self.directory / ".terraform.lock.hcl").unlink(missing_ok=True)

    # The provider

    def _init_from_mirror(self, mirror: Path) -> str | None:
        """Initialise with the providers of a folder. Returns None, or why it failed."""
        lines: list[str] = []
        status = self._stream(["init", "-input=false", "-no-color", f"-plugin-dir={mirror}"], lines.append)
        return None if status == 0 else _provider_refusal(lines)

    def _init_from_registry(self, cache: Path) -> str | None:
        """Download the provider into the cache and initialise with it. Returns None, or why it failed."""
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{cache.name}-", dir=cache.parent, ignore_cleanup_errors=True
        ) as scratch:
            lines: list[str] = []
            deadline = time.monotonic() + _REGISTRY_ANSWER_SECONDS

            def hear(line: str) -> None:
                nonlocal deadline
                lines.append(line)
                if line.startswith("- Installing"):
                    deadline = time.monotonic() + _REGISTRY_DOWNLOAD_SECONDS
                    self._say(f"Downloading the AWS provider, once: {line.removeprefix('- Installing ')}")

            def check() -> None:
                if time.monotonic() > deadline:
                    raise _TooSlowError

            environment = {
                "TF_PLUGIN_CACHE_DIR": scratch,
                "TF_REGISTRY_DISCOVERY_RETRY": "0",
                "TF_REGISTRY_CLIENT_TIMEOUT": str(int(_REGISTRY_ANSWER_SECONDS)),
            }
            try:
                status = self._stream(["init", "-input=false", "-no-color"], hear, environment=environment, check=check)
            except _TooSlowError:
                return "the registry does not answer in time"
            if status != 0:
                return _provider_refusal(lines)
            # Moved in one step, so that an interrupted download never lies in the cache.
            with contextlib.suppress(OSError):
                shutil.rmtree(cache, ignore_errors=True)
                Path(scratch).rename(cache)
        return self._init_from_mirror(cache)

    # Running Terraform

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        self.progress(line)

    def _run(self, command: str, *arguments: str, accepted: tuple[int, ...] = (0,)) -> int:
        """Run a command of Terraform that speaks JSON, pass its progress on, and turn its errors into ours."""
        # Each once: an error in what all functions share is reported for every function.
        errors: dict[str, None] = {}
        others: list[str] = []

        def hear(line: str) -> None:
            if not line.startswith('{"@level"'):
                others.append(line)
                return
            message = json.loads(line)
            if message.get("@level") == "error" and message.get("type") == "diagnostic":
                errors[_diagnostic(message["diagnostic"])] = None
            told = _progress_line(message)
            if told:
                self._say(told)

        status = self._stream([command, "-json", "-input=false", *arguments], hear)
        if status not in accepted:
            reason = next(iter(errors), None) or _first_error_of_text(others)
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            raise LocalAwsError(f"terraform {command}: {reason}{more}")
        return status

    def _stream(
        self,
        arguments: list[str],
        hear: Callable[[str], None],
        *,
        hear_error: Callable[[str], None] | None = None,
        environment: Mapping[str, str] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> int:
        """Run Terraform in its own process group and hand over its lines as they come. Returns the exit status.

        ``hear_error`` receives the lines of standard error where they must be kept apart. ``check`` is called several
        times a second; what it raises ends Terraform.
        """
        if not self.directory.is_dir():
            raise LocalAwsError(f"terraform {arguments[0]}: nothing is deployed from {self.work_dir}; call init first")
        program, started = self.program, time.monotonic()
        ears = [hear, hear_error or hear]
        lines: queue.SimpleQueue[tuple[Callable[[str], None], str | None]] = queue.SimpleQueue()
        process = None
        try:
            process = subprocess.Popen(
                [str(program), f"-chdir={self.directory}", *arguments],
                env={**self.process_environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            for stream, ear in zip((process.stdout, process.stderr), ears, strict=True):
                threading.Thread(target=_read_lines, args=(stream, ear, lines), daemon=True).start()
            self._said = started
            while ears:
                check()
                if time.monotonic() - self._said > _SILENCE_SECONDS:
                    self._say(f"  terraform {arguments[0]} is at work ({time.monotonic() - started:.0f} s)")
                with contextlib.suppress(queue.Empty):
                    ear, line = lines.get(timeout=_TICK_SECONDS)
                    if line is None:
                        ears.remove(ear)
                    else:
                        ear(line)
            return process.wait()
        except BaseException:
            if process is not None:
                _end(process)
            raise


class _TooSlowError(Exception):
    """The registry has not answered in time."""


def _read_lines(
    stream: IO[str], ear: Callable[[str], None], lines: queue.SimpleQueue[tuple[Callable[[str], None], str | None]]
) -> None:
    with stream:
        for line in stream:
            lines.put((ear, line.rstrip()))
    lines.put((ear, None))


def _end(process: subprocess.Popen[str]) -> None:
    """End Terraform and its plugins: with an interrupt, which lets it write its state, then by force."""
    try:
        _signal_group(process, signal.SIGINT, _INTERRUPT_GRACE_SECONDS)
    finally:
        # Also when a second Ctrl-C ends the patience above.
        _signal_group(process, signal.SIGKILL, _KILL_GRACE_SECONDS)


def _signal_group(process: subprocess.Popen[str], number: signal.Signals, grace: float) -> None:
    deadline = time.monotonic() + grace
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
        while time.monotonic() < deadline:
            process.poll()
            # Fails as soon as nobody is left in the group.
            os.killpg(process.pid, 0)
            time.sleep(0.02)


def _mirror_files(source: Path, target: Path, pattern: str) -> None:
    """Make the files of a pattern in target the same as those in source."""
    target.mkdir(parents=True, exist_ok=True)
    for stale in target.glob(pattern):
        stale.unlink()
    for file in source.glob(pattern):
        shutil.copyfile(file, target / file.name)


def var_arguments(variables: Mapping[str, object] | None) -> list[str]:
    """Return ``-var`` arguments; None stands for a variable's default."""
    return [
        f"-var={name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in (variables or {}).items()
        if value is not None
    ]


def _progress_line(message: dict[str, Any]) -> str | None:
    kind, hook = message.get("type"), message.get("hook", {})
    if kind == "apply_complete" and hook["action"] != "read":
        done = {"create": "created", "update": "updated", "delete": "removed"}.get(hook["action"], hook["action"])
        return f"  {done} {hook['resource']['addr']} ({hook['elapsed_seconds']:g} s)"
    if kind == "planned_change" and message["change"]["action"] not in ("create", "read"):
        return f"  will {message['change']['action']} {message['change']['resource']['addr']}"
    return None


def _diagnostic(diagnostic: dict[str, Any]) -> str:
    """Return a diagnostic of Terraform as one line."""
    # Only the first paragraph: the others tell where in the configuration it was found.
    detail = diagnostic.get("detail", "").strip().split("\n\n")[0]
    parts = [diagnostic.get("address", ""), diagnostic["summary"], detail]
    return _one_line(": ".join(part for part in parts if part))


def _first_error_of_text(lines: list[str]) -> str:
    """Return the first error in Terraform's plain output as one line, or the last line where there is none."""
    # Progress goes to the other stream, and may come between or after.
    text = "\n".join(line for line in lines if not line.startswith("Initializing "))
    for error in re.split(r"^Error: ", text, flags=re.MULTILINE)[1:]:
        # Paragraphs that are set in quote the configuration.
        paragraphs = [one for one in re.split(r"\n\n+", error.strip()) if not one.startswith(" ")]
        if not paragraphs[0].startswith(_ERRORS_IN_CONFIGURATION):
            return _one_line(": ".join(paragraphs[:2]))
    return _one_line(next((line for line in reversed(lines) if line.strip()), "no reason given"))


def _provider_refusal(lines: list[str]) -> str:
    """Return why ``terraform init`` found no provider; errors in the configuration are raised."""
    error = _first_error_of_text(lines)
    if any(_ERRORS_IN_CONFIGURATION in line for line in lines):
        raise LocalAwsError(f"terraform init: {error}")
    return error


def _in_short(constraint: str) -> str:
    """Return a version constraint with the first and the last of the excluded versions."""
    return re.sub(r", != ([\d.]+)(?:, != [\d.]+)*, != ([\d.]+)", r", not \1 to \2", constraint)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().removesuffix(".")
