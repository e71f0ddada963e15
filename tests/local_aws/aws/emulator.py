"""Start and stop the emulator, a child process that serves the AWS API on a loopback port.

The child leads its own session and process group: a Ctrl-C in the terminal does not reach it, and it can be ended
together with the Lambda workers it started. Unless detached, it also holds the reading end of a pipe whose writing
end only this process holds, so it ends with this process, however this process ends.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config

from tests.local_aws import processes
from tests.local_aws.aws import ACCOUNT_ID
from tests.local_aws.errors import LocalAwsError
from tests.support.paths import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

REGION = "us-east-1"

_HOST = "127.0.0.1"
_SERVER = "tests.local_aws.aws.server"
_PROFILE = Path(__file__).with_name("aws_profile.ini")
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_TERM_GRACE_SECONDS = 5.0
_KILL_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Emulator:
    """A running emulator: where it listens and which process it is."""

    endpoint_url: str
    port: int
    pid: int
    _work_dir: Path | None = field(default=None, repr=False, compare=False)
    _lifeline: int | None = field(default=None, repr=False, compare=False)
    # Held only so that it is not finalised, with a warning, while the child runs.
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False, compare=False)

    def client_env(self) -> dict[str, str]:
        """Return the variables that send an AWS client to this emulator, to be laid over ``os.environ``.

        They also replace whatever the user has set up for the real AWS: profile, files, session token, proxies.
        """
        exempt = [host for host in (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), _HOST) if host]
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_SESSION_TOKEN": "",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            # An empty AWS_PROFILE is an unknown profile to boto3, so a profile of that name has to exist.
            "AWS_PROFILE": "default",
            "AWS_CONFIG_FILE": str(_PROFILE),
            "AWS_SHARED_CREDENTIALS_FILE": str(_PROFILE),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": ",".join(exempt),
            "no_proxy": ",".join(exempt),
        }

    def session(
        self, access_key_id: str = "test", secret_access_key: str = "test", session_token: str | None = None
    ) -> boto3.Session:
        """Return a boto3 session of this emulator that reads no AWS configuration of the user.

        With the default credentials it acts as the account's root; those of a user or a role act as that one, and an
        account's ID instead of an access key ID as the root of that account.
        """
        isolated = botocore.session.Session(
            session_vars={
                "profile": (None, None, None, None),
                "config_file": (None, None, str(_PROFILE), None),
                "credentials_file": (None, None, str(_PROFILE), None),
            }
        )
        return _EmulatorSession(
            self.endpoint_url,
            botocore_session=isolated,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            aws_session_token=session_token,
            region_name=REGION,
        )

    def client(self, service: str, account: str = ACCOUNT_ID) -> Any:
        """Return the boto3 client of ``service`` for an account's root: to make one takes longer than a call."""
        if (service, account) not in self._clients:
            session: Any = self.session() if account == ACCOUNT_ID else self.session(account)
            self._clients[service, account] = session.client(service)
        return self._clients[service, account]

    def order(self, method: str, route: str, body: str | None = None, seconds: float = 10) -> bytes:
        """Ask for something that AWS does not have, such as a fault, at one of the routes under ``/_local``.

        Raises
        ------
        LocalAwsError
            The emulator refuses it; the message is its answer.
        """
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=seconds)
        try:
            connection.request(method, route, body)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise LocalAwsError(f"the local AWS refuses: {answer.decode(errors='replace')}")
        return answer

    def stop(self) -> None:
        """End the emulator and everything it started; harmless when it has ended already."""
        try:
            if self._process is None or self._process.poll() is None:
                stop(self.pid)
        finally:
            if self._lifeline is not None:
                with contextlib.suppress(OSError):
                    os.close(self._lifeline)
                object.__setattr__(self, "_lifeline", None)
            if self._process is not None:
                self._process.poll()
            if self._work_dir is not None:
                shutil.rmtree(self._work_dir, ignore_errors=True)


class _EmulatorSession(boto3.Session):
    """A session whose clients go to one endpoint unless told otherwise."""

    def __init__(self, endpoint_url: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._endpoint_url = endpoint_url

    def client(self, *args: Any, **kwargs: Any) -> Any:
        return super().client(*args, **self._with_defaults(kwargs))

    def resource(self, *args: Any, **kwargs: Any) -> Any:
        return super().resource(*args, **self._with_defaults(kwargs))

    def _with_defaults(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        # No host prefix: "sync-127.0.0.1" (Step Functions' TestState) is no host. No proxies: it is the loopback.
        config = Config(
            connect_timeout=5,
            read_timeout=70,
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=50,
            inject_host_prefix=False,
            proxies={},
        )
        given = kwargs.get("config")
        return {"endpoint_url": self._endpoint_url, **kwargs, "config": config.merge(given) if given else config}


def start(
    *,
    log_file: Path,
    port: int | None = None,
    detached: bool = False,
    auth: bool = True,
    environment: Mapping[str, str] | None = None,
    startup_timeout: float = 60,
    without: Collection[str] = (),
) -> Emulator:
    """Start an emulator and wait until it answers.

    Parameters
    ----------
    log_file
        Receives everything the emulator prints. Its folder also holds the emulator's temporary files while it runs.
    port
        The loopback port to listen on; ``None`` takes a free one.
    detached
        Whether it outlives this process. Otherwise it ends when this process does.
    auth
        Whether IAM policies are enforced.
    environment
        Settings of MiniStack, such as ``SFN_WAIT_SCALE``. Nothing else is inherited from the caller's environment.
    startup_timeout
        Seconds to wait for the first answer.
    without
        Names of corrections to leave out, to see the emulator as it is.

    Raises
    ------
    LocalAwsError
        If the port is taken or the emulator does not come up.
    """
    listener = _listen(port)
    with listener:
        port = listener.getsockname()[1]
        log_file = log_file.resolve()
        log_file.parent.mkdir(parents=True, exist_ok=True)
        work_dir = Path(tempfile.mkdtemp(prefix=f"{log_file.stem}-", dir=log_file.parent))
        command = [sys.executable, "-m", _SERVER, "--port", str(port), "--socket", str(listener.fileno())]
        command += [argument for name in without for argument in ("--without", name)]
        command += ["--detached"] if detached else []
        # Last, because stop() may have to find it in a command line that is no longer split into arguments.
        command += ["--work-dir", str(work_dir)]
        read_end, lifeline = (None, None) if detached else os.pipe()
        try:
            with log_file.open("wb") as log:
                process = subprocess.Popen(
                    command,
                    cwd=REPOSITORY,
                    env=_child_environment(work_dir, port, auth, environment or {}),
                    stdin=subprocess.DEVNULL if read_end is None else read_end,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[listener.fileno()],
                    start_new_session=True,
                )
        except OSError as error:
            shutil.rmtree(work_dir, ignore_errors=True)
            if lifeline is not None:
                os.close(lifeline)
            raise LocalAwsError(f"the emulator cannot be started: {error}") from error
        finally:
            if read_end is not None:
                os.close(read_end)
    emulator = Emulator(f"http://{_HOST}:{port}", port, process.pid, work_dir, lifeline, process)
    try:
        _wait_until_ready(process, port, log_file, startup_timeout)
    except BaseException:
        emulator.stop()
        raise
    return emulator


def sweep(folder: Path) -> None:
    """Remove what emulators have left in a folder that were killed: their Lambda workers and their temporary files.

    Call it where no emulator is being started in the folder at the same time.
    """
    for work_dir in folder.resolve().glob("emulator-*/"):
        left = processes.naming(str(work_dir))
        if any(_SERVER in command.split() for command in left.values()):
            continue
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(work_dir, ignore_errors=True)


def is_running(pid: int) -> bool:
    """Tell whether process ``pid`` is an emulator of ours."""
    command = processes.command_line(pid)
    return command is not None and _SERVER in command.split()


def stop(pid: int) -> None:
    """End the emulator that is process ``pid``, everything it started, and its temporary files.

    It need not have been started by this process. One that has ended already is not an error.

    Raises
    ------
    LocalAwsError
        If that process is no emulator of ours, or survives being killed.
    """
    command = processes.command_line(pid)
    if command is None:
        _reap(pid)
        return
    if _SERVER not in command.split():
        raise LocalAwsError(f"process {pid} is not a local AWS emulator, so it is left alone; give an emulator's pid")
    port = command.partition("--port ")[2].split()[:1]
    work_dir = command.partition("--work-dir ")[2]
    for signal_number, grace in ((signal.SIGTERM, _TERM_GRACE_SECONDS), (signal.SIGKILL, _KILL_GRACE_SECONDS)):
        # macOS refuses permission where only processes that have ended are left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal_number)
        if _wait_until_gone(pid, grace):
            break
    else:
        raise LocalAwsError(f"emulator {pid} does not end; end its process group by hand")
    if work_dir:
        shutil.rmtree(work_dir, ignore_errors=True)
    if port:
        # A process counts as ended a moment before its last thread has let go of the port.
        _wait_until_closed(int(port[0]))


@contextlib.contextmanager
def running(
    *,
    log_file: Path,
    port: int | None = None,
    auth: bool = True,
    environment: Mapping[str, str] | None = None,
    startup_timeout: float = 60,
    without: Collection[str] = (),
) -> Iterator[Emulator]:
    """Run an emulator for the length of a ``with`` block; the parameters are those of :func:`start`."""
    emulator = start(
        log_file=log_file,
        port=port,
        auth=auth,
        environment=environment,
        startup_timeout=startup_timeout,
        without=without,
    )
    try:
        yield emulator
    finally:
        emulator.stop()


def _listen(port: int | None) -> socket.socket:
    """Open the emulator's port here, so that it is known to be ours before anything is started."""
    if port is not None and not 1 <= port <= 65535:
        raise LocalAwsError(f"port {port} is not a port; choose one from 1024 to 65535")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port or 0))
        listener.listen(100)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise LocalAwsError(f"port {port} is in use; stop what listens there or choose another port") from None
        raise LocalAwsError(f"port {port} cannot be used ({error.strerror}); choose one from 1024 to 65535") from None
    return listener


def _child_environment(work_dir: Path, port: int, auth: bool, extra: Mapping[str, str]) -> dict[str, str]:
    """Build the emulator's environment from nothing: what it inherits, every Lambda would inherit too."""
    return {
        **{name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        # Nothing is left behind in the sources.
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        # Listeners of services nobody asked for.
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        **extra,
        "GATEWAY_PORT": str(port),
        "BIND_HOST": _HOST,
        "AUTH": "true" if auth else "false",
        "HOME": str(work_dir),
        "TMPDIR": str(work_dir),
        "STATE_DIR": str(work_dir / "state"),
        "S3_DATA_DIR": str(work_dir / "s3"),
        # MiniStack removes containers it takes for its own from any Docker engine that it can reach.
        "DOCKER_HOST": f"unix://{work_dir}/no-docker.sock",
    }


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log_file: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise LocalAwsError(f"the emulator ended at its start: {_last_line(log_file)} (all of it: {log_file})")
        # The port is open from the beginning; the request waits in its queue until the server takes it.
        connection = http.client.HTTPConnection(_HOST, port, timeout=max(0.01, min(1, deadline - time.monotonic())))
        try:
            connection.request("GET", "/_ministack/ready")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise LocalAwsError(f"the emulator did not answer within {timeout:g} s: {_last_line(log_file)} (see {log_file})")


def _last_line(log_file: Path) -> str:
    lines = [line.strip() for line in log_file.read_text(errors="replace").splitlines()]
    meaningful = [line for line in lines if line.strip("~^ ")]
    return meaningful[-1] if meaningful else "it printed nothing"


def _wait_until_gone(pid: int, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while True:
        _reap(pid)
        if not processes.members(pid):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def _wait_until_closed(port: int) -> None:
    deadline = time.monotonic() + _KILL_GRACE_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as client:
            client.settimeout(1)
            if client.connect_ex((_HOST, port)) != 0:
                return
        time.sleep(0.02)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
