"""Builds the deployment package: one zip with all functions and their dependencies, the same bytes for the same input.

Usage: ``python functions/package.py [OUTPUT]``. Needs nothing but Python and pip.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

FUNCTIONS = Path(__file__).resolve().parent
REQUIREMENTS = FUNCTIONS / "requirements.txt"
DEFAULT_OUTPUT = FUNCTIONS.parent / "build" / "iam_user_monitor.zip"

# The earliest time a zip can hold: the package must not depend on when, or on which machine, it was made.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)
FILE_MODE = 0o644

# Deployed are the steps, which are the folders with a handler, and what they share; not what an operator runs, nor what
# people and consumers of the events read: no function opens it, and a change of its text must deploy nothing anew.
_SHARED = ("shared", "table")
# pip notes in these how and when it installed.
_VOLATILE_METADATA = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


class PackageError(Exception):
    """The package cannot be built; the message is one line for the user."""


def main(arguments: list[str]) -> int:
    """Build the package at the path given, or at build/iam_user_monitor.zip. Returns the exit status."""
    output = Path(arguments[0]) if arguments else DEFAULT_OUTPUT
    try:
        build(output)
    except PackageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{output.name}: {output.stat().st_size / 1_000_000:.2f} MB")
    return 0


def build(output: Path) -> None:
    """Write the deployment package.

    Raises
    ------
    PackageError
        pip could not install the dependencies, or the output is a folder.
    """
    if output.is_dir():
        raise PackageError(f"{output} is a folder; name the file to write")
    with tempfile.TemporaryDirectory(prefix="iam-user-monitor-package-") as folder:
        stage = Path(folder)
        _install_dependencies(stage)
        _copy_functions(stage / "functions")
        files = sorted(path for path in stage.rglob("*") if path.is_file() and _belongs(path.relative_to(stage)))
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = output.with_name(f".{output.name}.{os.getpid()}")
        try:
            with zipfile.ZipFile(partial, "w") as package:
                for path in files:
                    _add(package, path, path.relative_to(stage).as_posix())
            partial.replace(output)
        finally:
            partial.unlink(missing_ok=True)


def _copy_functions(target: Path) -> None:
    target.mkdir()
    shutil.copy(FUNCTIONS / "__init__.py", target)
    for folder in sorted(FUNCTIONS.iterdir()):
        if folder.name in _SHARED or (folder / "handler.py").is_file():
            shutil.copytree(
                folder, target / folder.name, ignore=shutil.ignore_patterns("__pycache__", "schemas", "*.md")
            )


def _install_dependencies(target: Path) -> None:
    # Only wheels for any platform: a compiled one would tie the package to the machine that made it.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--platform", "any", "--implementation", "py", "--abi", "none"]
    command += ["--no-compile", "--target", str(target), "--requirement", str(REQUIREMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = errors[0] if errors else f"exit status {done.returncode}"
        raise PackageError(f"pip could not install {REQUIREMENTS.name}: {reason}")


def _belongs(path: Path) -> bool:
    if path.suffix == ".pyc" or "__pycache__" in path.parts or path.parts[0] == "bin":
        return False
    return not (path.name in _VOLATILE_METADATA and path.parts[0].endswith(".dist-info"))


def _add(package: zipfile.ZipFile, path: Path, name: str) -> None:
    info = zipfile.ZipInfo(name, TIMESTAMP)
    info.create_system = 3  # Unix, whatever system builds it
    info.external_attr = FILE_MODE << 16
    package.writestr(info, path.read_bytes(), compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
