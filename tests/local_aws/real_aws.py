"""Refuses what is for a real account where the environment names a local AWS.

After ``. build/local.env``, ``make plan``, ``deploy``, ``destroy`` and ``test-aws`` would mix the resources of an
emulator into the state of the real deployment. Runs before anything is installed, so it imports the standard library
only.
"""

import ipaddress
import os
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

EXIT_BAD_INPUT = 2


def is_local(url: str) -> bool:
    """Tell whether an endpoint is on this machine."""
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    except ValueError:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def local_endpoint(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return name and value of a variable that sends AWS clients to this machine, of all services or of one.

    See "Service-specific endpoints", https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html.
    """
    named = ("AWS_ENDPOINT_URL", *sorted(name for name in environment if name.startswith("AWS_ENDPOINT_URL_")))
    return next(((name, environment[name]) for name in named if is_local(environment.get(name, ""))), None)


def main() -> int:
    """Say in one line what is in the way. Returns 2 if something is."""
    found = local_endpoint(os.environ)
    if found is None:
        return 0
    name, url = found
    print(
        f"error: {name} is {url}, a local AWS, and this is for a real account; `leave_local_aws` leaves what "
        f"build/local.env has set, `unset {name}` another one",
        file=sys.stderr,
    )
    return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
