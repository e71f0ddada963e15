"""What both ``run`` and ``up`` do: deploy, create users, keep others away, and say what goes on."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.local_aws.aws.emulator import Emulator
from tests.local_aws.aws.users import create_users as create
from tests.local_aws.deploy.terraform import Terraform
from tests.local_aws.errors import LocalAwsError

_started = time.monotonic()


def say(text: str) -> None:
    """Print a line about what goes on, with the time since the start."""
    print(f"[{time.monotonic() - _started:5.1f} s] {text}", flush=True)


def deploy(aws: Emulator, work_dir: Path, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Deploy the configuration, with these variables, and return its outputs."""
    terraform = Terraform(
        work_dir=work_dir / "deployment", environment={**os.environ, **aws.client_env()}, progress=say
    )
    say("Deploying with Terraform")
    terraform.init()
    return terraform.apply(variables)


def create_users(aws: Emulator, users: int) -> None:
    """Create so many IAM users."""
    say(f"Creating {users:,} IAM users")
    create(aws, users, lambda done: say(f"  {done:,} of {users:,} users created"))


@contextlib.contextmanager
def only_one(work_dir: Path) -> Iterator[None]:
    """Keep a second command of the same kind away from the folder."""
    work_dir.mkdir(parents=True, exist_ok=True)
    with (work_dir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalAwsError(f"another command works in {relative(work_dir)}; wait until it has ended") from None
        yield


def relative(path: Path) -> str:
    """Return a path as a person in the current folder writes it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
