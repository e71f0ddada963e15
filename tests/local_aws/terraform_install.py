"""Finds Terraform and the AWS provider on this machine, or gets them."""

import hashlib
import io
import os
import platform
import re
import shutil
import stat
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tests.local_aws.errors import LocalAwsError

TERRAFORM_VERSION = "1.11.4"
RELEASES_URL_VARIABLE = "TERRAFORM_RELEASES_URL"
DEFAULT_RELEASES_URL = "https://releases.hashicorp.com/terraform"

# The provider that the tests were run with; the newest one in a mirror up to the next major version is taken.
PROVIDER_BINARY = "terraform-provider-aws"
MIN_PROVIDER_VERSION = (5, 67, 0)
MAX_PROVIDER_VERSION = (7, 0, 0)

_DOWNLOAD_TIMEOUT_SECONDS = 30
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
# A mirror is <mirror>/<host>/hashicorp/aws/<version>/<platform>/<binary>; it may lie a few folders below a prefix.
_MIRROR_LEVELS = 5
_SEARCH_DEPTH = 5

Progress = Callable[[str], None]


def find_terraform(tools: Path, environment: Mapping[str, str], progress: Progress) -> Path:
    """Return a terraform program: the one on the PATH, or a pinned official release kept in a folder.

    Parameters
    ----------
    tools
        Where a downloaded release is kept.
    environment
        Its PATH is searched, and its TERRAFORM_RELEASES_URL says where releases are downloaded from.

    Raises
    ------
    LocalAwsError
        There is none, and the release cannot be downloaded or is not what its checksum says.
    """
    found = shutil.which("terraform", path=environment.get("PATH", ""))
    if found:
        return Path(found)
    kept = tools / f"terraform-{TERRAFORM_VERSION}" / "terraform"
    if not kept.exists():
        base_url = environment.get(RELEASES_URL_VARIABLE) or DEFAULT_RELEASES_URL
        progress(f"No terraform on the PATH: downloading {TERRAFORM_VERSION}")
        _download_terraform(base_url.rstrip("/"), kept)
    return kept


def _download_terraform(base_url: str, target: Path) -> None:
    name = f"terraform_{TERRAFORM_VERSION}_{terraform_platform()}.zip"
    release = f"{base_url}/{TERRAFORM_VERSION}"
    sums = _fetch(f"{release}/terraform_{TERRAFORM_VERSION}_SHA256SUMS").decode(errors="replace")
    expected = {file: digest for digest, file in re.findall(r"^([0-9a-f]{64})\s+(\S+)$", sums, re.MULTILINE)}
    if name not in expected:
        raise LocalAwsError(f"{release} has no checksum for {name}; install Terraform {TERRAFORM_VERSION} by hand")
    archive = _fetch(f"{release}/{name}")
    digest = hashlib.sha256(archive).hexdigest()
    if digest != expected[name]:
        raise LocalAwsError(
            f"{release}/{name} is not what its checksum says (expected {expected[name]}, got {digest}); "
            "nothing was installed"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".terraform.{os.getpid()}")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as release_zip:
            partial.write_bytes(release_zip.read("terraform"))
        partial.chmod(partial.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def terraform_platform() -> str:
    """Return this machine as Terraform names it, ``linux_amd64``.

    Raises
    ------
    LocalAwsError
        There is no official release for it.
    """
    system, machine = platform.system().lower(), _MACHINES.get(platform.machine().lower())
    if system not in {"linux", "darwin"} or machine is None:
        raise LocalAwsError(
            f"there is no pinned Terraform for {platform.system()} on {platform.machine()}; put a terraform on the PATH"
        )
    return f"{system}_{machine}"


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_DOWNLOAD_TIMEOUT_SECONDS) as response:
            content: bytes = response.read()
            expected = response.headers.get("Content-Length")
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise LocalAwsError(
            f"terraform is not on the PATH and cannot be downloaded from {url} ({reason}); "
            f"install Terraform {TERRAFORM_VERSION}, or set {RELEASES_URL_VARIABLE} to a mirror of its releases"
        ) from error
    if expected is not None and len(content) != int(expected):
        raise LocalAwsError(f"the download of {url} broke off after {len(content)} of {expected} bytes; try again")
    return content


def search_prefixes(environment: Mapping[str, str]) -> list[Path]:
    """Return the folders below which filesystem mirrors of providers usually lie."""
    home = Path(environment.get("HOME") or Path.home())
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
    system = ["/usr/local/share", "/usr/share", "/usr/local/lib", "/usr/lib/terraform", "/opt", "/var/lib", "/srv"]
    return [home / ".terraform.d", data / "terraform", *map(Path, system)]


def find_provider_mirror(prefixes: Iterable[Path]) -> Path | None:
    """Return the filesystem mirror with the newest AWS provider for this machine, or None.

    Only an unpacked provider counts, in the layout that ``terraform init -plugin-dir`` reads:
    ``<mirror>/<host>/hashicorp/aws/<version>/<platform>/terraform-provider-aws_…``.
    """
    here = terraform_platform()
    found: list[tuple[tuple[int, ...], Path]] = []
    for prefix in prefixes:
        for binary in _provider_binaries(prefix, _SEARCH_DEPTH + _MIRROR_LEVELS):
            *_, namespace, name, version, machine, _file = binary.parts
            numbers = tuple(int(part) for part in re.findall(r"\d+", version))
            fits = MIN_PROVIDER_VERSION <= numbers < MAX_PROVIDER_VERSION
            if (namespace, name, machine) == ("hashicorp", "aws", here) and fits:
                found.append((numbers, binary.parents[_MIRROR_LEVELS]))
    return max(found)[1] if found else None


def _provider_binaries(folder: Path, depth: int) -> Iterator[Path]:
    # Links are not followed: they could lead in a circle, and a mirror is a real folder.
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(PROVIDER_BINARY) and entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
        elif depth > 0 and entry.is_dir(follow_symlinks=False):
            yield from _provider_binaries(Path(entry.path), depth - 1)
