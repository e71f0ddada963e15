"""Finds the ``terraform`` program and the AWS provider; downloads what is missing, once, into build/."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import stat
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from tests.local_aws.errors import LocalAwsError

PINNED_VERSION = "1.11.4"
DEFAULT_RELEASES_URL = "https://releases.hashicorp.com/terraform"
PROVIDER = ("hashicorp", "aws")

_NETWORK_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 20
_PROGRESS_SECONDS = 5

# Where a mirror is looked for when none lies in a place that Terraform itself knows.
_BROAD_PREFIXES = ("/opt", "/usr/local", "/usr", "/var/lib", "~")
_BROAD_DEPTH = 5
_BROAD_SECONDS = 10.0
_NEVER_ENTERED = {"node_modules", "site-packages", "dist-packages", "__pycache__", ".git", "proc", "sys"}

Version = tuple[int, ...]
Progress = Callable[[str], None]


class Mirror(NamedTuple):
    """A folder that ``terraform init -plugin-dir`` takes, and the newest fitting provider in it."""

    version: Version
    folder: Path


# Versions


def parse_version(text: str) -> Version | None:
    """Return ``1.11.4`` as (1, 11, 4); None for anything else, pre-releases included."""
    return tuple(int(part) for part in text.split(".")) if re.fullmatch(r"\d+(\.\d+){0,2}", text) else None


def satisfies(version: Version, constraint: str) -> bool:
    """Tell whether a version fits a constraint as Terraform writes them, ``>= 5.67, < 7.0``.

    Raises
    ------
    ValueError
        The constraint is not understood.
    """
    return all(_satisfies_one(_padded(version), part.strip()) for part in constraint.split(","))


def required_version(configuration: Path) -> str:
    """Return the constraint on Terraform itself in a configuration's versions.tf."""
    return _search(r'required_version\s*=\s*"([^"]+)"', configuration / "versions.tf")


def required_provider_version(configuration: Path) -> str:
    """Return the constraint on the AWS provider in a configuration's versions.tf."""
    return _search(r'aws\s*=\s*\{[^}]*?version\s*=\s*"([^"]+)"', configuration / "versions.tf")


def _satisfies_one(version: Version, part: str) -> bool:
    match = re.fullmatch(r"(>=|<=|!=|~>|>|<|=)?\s*([0-9.]+)", part)
    bound = parse_version(match[2]) if match else None
    if match is None or bound is None:
        raise ValueError(f"version constraint not understood: {part!r}")
    low = _padded(bound)
    if match[1] == "~>":
        high = (*bound[:-2], bound[-2] + 1) if len(bound) > 1 else (bound[0] + 1,)
        return low <= version < _padded(high)
    holds = {">=": version >= low, "<=": version <= low, ">": version > low, "<": version < low, "!=": version != low}
    return holds.get(match[1] or "=", version == low)


def _padded(version: Version) -> Version:
    return (*version, 0, 0, 0)[:3]


def _search(pattern: str, file: Path) -> str:
    # Comments may mention versions, too.
    text = re.sub(r"(?m)#.*$", "", file.read_text())
    match = re.search(pattern, text)
    if match is None:
        raise LocalAwsError(f"{file} names no version constraint; expected something like {pattern}")
    return match[1]


# The program


def find_terraform(
    environment: Mapping[str, str], constraint: str, tools: Path, progress: Progress = lambda line: None
) -> Path:
    """Return a ``terraform`` that fits: the one that TERRAFORM names, the PATH's, or the pinned release in ``tools``.

    Parameters
    ----------
    environment
        TERRAFORM, PATH and TERRAFORM_RELEASES_URL are read from it.
    constraint
        The versions that the configuration accepts.
    tools
        Where a downloaded release is kept.

    Raises
    ------
    LocalAwsError
        There is none, it is too old, or it can be neither found nor downloaded.
    """
    named = environment.get("TERRAFORM")
    if named:
        program = shutil.which(named, path=environment.get("PATH"))
        if program is None:
            raise LocalAwsError(f"TERRAFORM is {named!r}, which is no program; name a terraform or leave it unset")
    else:
        program = shutil.which("terraform", path=environment.get("PATH", os.defpath))
    if program is None:
        return _pinned(environment.get("TERRAFORM_RELEASES_URL") or DEFAULT_RELEASES_URL, tools, constraint, progress)
    version = _version_of(program, environment)
    parsed = parse_version(version.partition("-")[0])
    if parsed is None or not satisfies(parsed, constraint):
        raise LocalAwsError(
            f"{program} is Terraform {version}, but {constraint} is needed; update it, or set TERRAFORM to another "
            f"one, or take it off the PATH to have {PINNED_VERSION} downloaded"
        )
    return Path(program)


def platform_name() -> str:
    """Return this machine as Terraform's releases call it, ``linux_amd64``.

    Raises
    ------
    LocalAwsError
        There is no release for it.
    """
    system = platform.system().lower()
    processor = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine().lower()
    )
    if system not in ("linux", "darwin") or processor is None:
        raise LocalAwsError(
            f"no Terraform release is known for {platform.system()} on {platform.machine()}; "
            "install Terraform yourself and put it on the PATH, or set TERRAFORM"
        )
    return f"{system}_{processor}"


def _version_of(program: str, environment: Mapping[str, str]) -> str:
    # Its text form, because the JSON form is not in every version that should be refused with a clear line.
    try:
        done = subprocess.run(
            [program, "version"],
            env={**environment, "CHECKPOINT_DISABLE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalAwsError(f"{program} does not run: {error}; install Terraform anew, or set TERRAFORM") from error
    match = re.search(r"^Terraform v(\S+)", done.stdout, re.MULTILINE)
    if match is None:
        raise LocalAwsError(f"{program} is no Terraform: `{program} version` names no version; set TERRAFORM to one")
    return match[1]


def _pinned(releases_url: str, tools: Path, constraint: str, progress: Progress) -> Path:
    folder = tools / f"terraform-{PINNED_VERSION}"
    program = folder / "terraform"
    if not program.exists():
        package = f"terraform_{PINNED_VERSION}_{platform_name()}.zip"
        url = f"{releases_url.rstrip('/')}/{PINNED_VERSION}"
        progress(f"There is no terraform on the PATH: downloading {PINNED_VERSION} from {url}")
        tools.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".terraform-", dir=tools) as scratch:
            try:
                _download(url, package, Path(scratch), progress)
            except (OSError, HTTPException, ValueError, zipfile.BadZipFile) as error:
                raise LocalAwsError(
                    f"terraform is not on the PATH and cannot be downloaded from {url}/{package}: {_reason(error)}; "
                    f"install Terraform ({constraint}), or set TERRAFORM_RELEASES_URL to a mirror of its releases"
                ) from error
            # The last step, so that whatever lies in the folder is whole. Another process may have been faster.
            with contextlib.suppress(OSError):
                (Path(scratch) / "release").rename(folder)
    return program


def _download(url: str, package: str, scratch: Path, progress: Progress) -> None:
    """Put the program of a verified release into scratch/release."""
    sums = scratch / "SHA256SUMS"
    _fetch(f"{url}/terraform_{PINNED_VERSION}_SHA256SUMS", sums, progress)
    expected = {name: digest for digest, name in re.findall(r"(?m)^([0-9a-f]{64})\s+\*?(\S+)$", sums.read_text())}
    if package not in expected:
        raise ValueError("the release's SHA256SUMS do not list it")
    _fetch(f"{url}/{package}", scratch / package, progress)
    with (scratch / package).open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected[package]:
        raise ValueError(f"its checksum is {actual}, but the release's SHA256SUMS say {expected[package]}")
    release = scratch / "release"
    release.mkdir()
    with zipfile.ZipFile(scratch / package) as archive:
        if "terraform" not in archive.namelist():
            raise ValueError("there is no terraform in it")
        archive.extract("terraform", release)
    program = release / "terraform"
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def _fetch(url: str, target: Path, progress: Progress) -> None:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("TERRAFORM_RELEASES_URL must begin with http:// or https://")
    said = time.monotonic()
    done = 0
    with urllib.request.urlopen(url, timeout=_NETWORK_TIMEOUT_SECONDS) as response, target.open("wb") as file:
        length = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            done += len(chunk)
            if time.monotonic() - said > _PROGRESS_SECONDS:
                said = time.monotonic()
                progress(f"  {done / 1e6:.0f} of {length / 1e6:.0f} MB")
    if done < length:
        raise ValueError(f"the connection broke off after {done:,} of {length:,} bytes; try again")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code} for {error.url}"
    if isinstance(error, urllib.error.URLError):
        error = error.reason if isinstance(error.reason, Exception) else error
    return str(error) or type(error).__name__


# The provider


def known_plugin_folders(environment: Mapping[str, str]) -> list[Path]:
    """Return the folders in which Terraform and its users keep providers."""
    data_home = environment.get("XDG_DATA_HOME") or "~/.local/share"
    data_dirs = (environment.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
    folders = [environment.get("TF_PLUGIN_CACHE_DIR", ""), "~/.terraform.d/plugins", "~/.terraform.d/plugin-cache"]
    folders += [f"{folder}/terraform/plugins" for folder in (data_home, *data_dirs) if folder]
    return [_expand(folder, environment) for folder in folders if folder]


def find_mirrors(environment: Mapping[str, str], constraint: str) -> list[Mirror]:
    """Return the filesystem mirrors on this machine with a fitting AWS provider, the newest provider first.

    Looks into the folders that Terraform knows; only if nothing is there, below the usual prefixes, where it searches
    no deeper and no longer than makes sense.
    """
    known = mirrors_below(known_plugin_folders(environment), constraint, depth=1)
    if known:
        return known
    prefixes = [_expand(prefix, environment) for prefix in _BROAD_PREFIXES]
    return mirrors_below(prefixes, constraint, depth=_BROAD_DEPTH, seconds=_BROAD_SECONDS)


def mirrors_below(
    folders: Iterable[Path], constraint: str, *, depth: int = 1, seconds: float = _BROAD_SECONDS
) -> list[Mirror]:
    """Return the mirrors with a fitting AWS provider below some folders, the newest provider first.

    A mirror is a folder ``<mirror>/<host>/hashicorp/aws/`` with either ``<version>/<platform>/terraform-provider-aws*``
    or ``terraform-provider-aws_<version>_<platform>.zip`` in it.

    Parameters
    ----------
    depth
        How many levels below a folder the host may lie: 1 finds the folders that are mirrors themselves.
    seconds
        When to stop searching.
    """
    found: dict[Path, Version] = {}
    for host in _folders_below(folders, depth, time.monotonic() + seconds):
        fitting = [version for version in _providers_in(host) if satisfies(version, constraint)]
        if fitting:
            found[host.parent] = max(fitting)
    return sorted((Mirror(version, folder) for folder, version in found.items()), reverse=True)


def _folders_below(roots: Iterable[Path], depth: int, deadline: float) -> Iterator[Path]:
    """Yield folders level by level. Each is entered once, so that links cannot lead in circles."""
    seen: set[tuple[int, int]] = set()
    level = list(roots)
    for _ in range(depth):
        below = []
        for folder in level:
            with contextlib.suppress(OSError):
                status = folder.stat()
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                for entry in os.scandir(folder):
                    if time.monotonic() > deadline:
                        return
                    if entry.name not in _NEVER_ENTERED and entry.is_dir():
                        below.append(Path(entry.path))
        yield from below
        level = below


def _providers_in(host: Path) -> Iterator[Version]:
    """Yield the versions of the AWS provider for this platform below a mirror's folder of one host."""
    folder = host.joinpath(*PROVIDER)
    name = platform_name()
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            packed = re.fullmatch(rf"terraform-provider-aws_([0-9.]+)_{name}\.zip", entry.name)
            version = parse_version(packed[1] if packed else entry.name)
            if version and (packed or any(Path(entry.path, name).glob("terraform-provider-aws*"))):
                yield version


def _expand(folder: str, environment: Mapping[str, str]) -> Path:
    home = environment.get("HOME")
    return Path(home + folder[1:]) if home and folder.startswith("~") else Path(folder).expanduser()
