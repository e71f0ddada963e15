"""A release, made by the commands that a maintainer and the workflow type, in a copy of this checkout."""

import hashlib
import os
import shutil
import subprocess
import zipfile
from email import message_from_string
from pathlib import Path

from tests.support.paths import BUILD, REPOSITORY

NEEDED = ("CHANGELOG.md", "LICENSE", "Makefile", "README.md", "pyproject.toml", "tests/__init__.py", "tests/release.py",
          "tests/support/__init__.py", "tests/support/paths.py")  # fmt: skip


def make(checkout: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_version_is_cut_checked_and_made_into_files(tmp_path: Path) -> None:
    # Given a checkout
    checkout = tmp_path / "checkout"
    shutil.copytree(REPOSITORY / "functions", checkout / "functions", ignore=shutil.ignore_patterns("__pycache__"))
    for name in NEEDED:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, checkout / name)
    changelog = checkout / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("## [Unreleased]\n", "## [Unreleased]\n\n- A thing.\n", 1))

    # When its maintainer makes it a version, and the workflow hears of the tag
    for command in (["release", "VERSION=98.7.6"], ["release-check", "TAG=v98.7.6"], ["release-files", "TAG=v98.7.6"]):
        done = make(checkout, *command)
        assert done.returncode == 0, done.stderr

    # Then these are the files, and everything has that version
    files = checkout / "build" / "release"
    wheel = "iam_user_monitor-98.7.6-py3-none-any.whl"
    assert {file.name for file in files.iterdir()} == {"iam_user_monitor.zip", wheel, "SHA256SUMS", "notes.md"}
    with zipfile.ZipFile(files / wheel) as archive:
        described = message_from_string(archive.read("iam_user_monitor-98.7.6.dist-info/METADATA").decode())
    assert described["Version"] == "98.7.6"
    assert "- A thing." in (files / "notes.md").read_text()

    # and the package is the one that is built here, at another time and place, byte for byte
    subprocess.run(["make", "package"], cwd=REPOSITORY, check=True, capture_output=True)
    lines = (files / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    assert sums["iam_user_monitor.zip"] == hashlib.sha256((BUILD / "iam_user_monitor.zip").read_bytes()).hexdigest()
    assert sums == {
        name: hashlib.sha256((files / name).read_bytes()).hexdigest() for name in (wheel, "iam_user_monitor.zip")
    }

    # and another tag is refused
    refused = make(checkout, "release-files", "TAG=v98.7.5")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: the tag is v98.7.5, and pyproject.toml has version 98.7.6: ")
