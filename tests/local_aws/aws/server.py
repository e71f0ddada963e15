"""The emulator's process: MiniStack with the corrections, on a socket that the parent has opened.

Started by :mod:`tests.local_aws.aws.emulator` only. It ends, with all its descendants and temporary files, on SIGTERM
and, unless detached, when its standard input ends, which happens at the latest when the parent ends.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from tests.local_aws.aws import corrections, fault_injection, faults, index_limit, meter, organization, past

_ROUND_TRIP_SECONDS = 0.01


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, required=True, help="the port that the socket listens on")
    parser.add_argument("--socket", type=int, required=True, help="file descriptor of the listening socket")
    parser.add_argument("--detached", action="store_true", help="do not end with the parent")
    parser.add_argument("--without", action="append", default=[], help="a correction to leave out", metavar="NAME")
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of all temporary files")
    arguments = parser.parse_args()

    _end_with_everything(arguments.work_dir)
    if not arguments.detached:
        threading.Thread(target=_end_with_standard_input, daemon=True).start()
    # What is found relative to this process must not be found by Lambda functions: they have their package.
    os.environ.pop("PYTHONPATH", None)
    os.chdir(arguments.work_dir)

    corrections.install_all(without=arguments.without)
    index_limit.install()  # before the meter, which counts and delays the throttled calls, too
    meter.install()
    fault_injection.install()
    past.install()
    asyncio.run(_serve(arguments.socket))


async def _serve(descriptor: int) -> None:
    ministack: Any = importlib.import_module("ministack.app")
    hypercorn: Any = importlib.import_module("hypercorn.asyncio")
    config: Any = importlib.import_module("hypercorn.config").Config()
    config.bind = [f"fd://{descriptor}"]
    config.keep_alive_timeout = 75
    # With a trigger of its own, the server leaves the signals to this module.
    await hypercorn.serve(_with_orders(ministack.app), config, shutdown_trigger=asyncio.Event().wait)


def _with_orders(app: Any) -> Any:
    """Take orders of the tests beside MiniStack's own requests."""
    orders = {
        faults.ROUTE: fault_injection.answer,
        index_limit.ROUTE: index_limit.answer,
        meter.ROUTE: meter.answer,
        organization.ROUTE: organization.answer,
        past.ROUTE: past.answer,
    }

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] not in orders:
            await app(scope, receive, _no_sooner_than_a_network(scope, send))
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status, answer = await orders[scope["path"]](scope["method"], body)
        length = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": length})
        await send({"type": "http.response.body", "body": answer})

    return serve


def _no_sooner_than_a_network(scope: Any, send: Any) -> Any:
    """Keep Terraform's provider waiting for an answer as long as the nearest network would.

    Its SDK closes a request's body as soon as the answer begins. On a busy machine the thread that sends the request
    may not have noticed that it is done by then, takes the closed body for an error and resets the connection. The SDK
    then sends the request again: one apply in a hundred failed, creating what it had created already.
    """
    if b"terraform-provider-aws" not in dict(scope.get("headers", [])).get(b"user-agent", b""):
        return send

    async def send_later(message: Any) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(_ROUND_TRIP_SECONDS)
        await send(message)

    return send_later


def _end_with_everything(work_dir: Path) -> None:
    """On SIGTERM, take the Lambda workers and the temporary files along."""
    if os.getpgrp() != os.getpid():
        os.setpgrp()

    def end(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # First the others, so that nobody writes into the folder while it is being removed.
        os.killpg(os.getpgrp(), signal.SIGTERM)
        for _ in range(20):
            shutil.rmtree(work_dir, ignore_errors=True)
            if not work_dir.exists():
                break
            time.sleep(0.05)
        sys.stdout.flush()
        os.killpg(os.getpgrp(), signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)


def _end_with_standard_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    # The main thread may be stuck where it does not see the signal.
    time.sleep(5)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
