"""A release: its version, its section of the changelog, and its files.

``make release VERSION=1.2.3`` makes "Unreleased" of the changelog that version; a tag ``v1.2.3`` then starts
.github/workflows/release.yml, which calls ``make release-check`` and ``make release-files``. Needs nothing but Python
and pip, so that nothing else runs in the job that may publish.
"""

import argparse
import datetime
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from functions import package
from tests.support.paths import REPOSITORY

EXIT_BAD_INPUT = 2
UNRELEASED = "Unreleased"
_VERSION_LINE = re.compile(r'^version = "(?P<version>[^"]*)"$', re.MULTILINE)
_HEADING = re.compile(r"^## \[(?P<name>[^\]\n]+)\](?: - (?P<date>\S+))?\n", re.MULTILINE)


class ReleaseError(Exception):
    """The release cannot be made so; the message is one line for the maintainer, and says what to do."""


class Release:
    """The release that a checkout is, or becomes.

    Parameters
    ----------
    checkout
        Folder with pyproject.toml, which has the version, and CHANGELOG.md.
    """

    def __init__(self, checkout: Path = REPOSITORY) -> None:
        self.checkout = checkout
        self._project = checkout / "pyproject.toml"
        self._changelog = checkout / "CHANGELOG.md"

    @property
    def version(self) -> str:
        """Return the version; what else shows one takes it from there."""
        found = _VERSION_LINE.findall(self._project.read_text())
        if len(found) != 1:
            raise ReleaseError(f'pyproject.toml has {len(found)} lines of the form version = "1.2.3", and needs one')
        return str(found[0])

    def sections(self) -> dict[str, tuple[str | None, str]]:
        """Return date and text of each section of the changelog, by its name, as they stand, newest first."""
        text = self._changelog.read_text()
        headings = list(_HEADING.finditer(text))
        ends = [heading.start() for heading in headings[1:]] + [len(text)]
        return {
            heading["name"]: (heading["date"], text[heading.end() : end].strip())
            for heading, end in zip(headings, ends, strict=True)
        }

    def notes(self, tag: str | None = None) -> str:
        """Return what the changelog says of this version, after a look at whether all agree.

        Raises
        ------
        ReleaseError
            Tag, version and changelog do not agree, or something would be released that no section tells of.
        """
        version, sections = self.version, self.sections()
        if tag is not None and tag != f"v{version}":
            raise ReleaseError(
                f"the tag is {tag}, and pyproject.toml has version {version}: tag v{version}, or release another "
                "version first, with `make release VERSION=…`"
            )
        _, unreleased = sections.pop(UNRELEASED, (None, ""))
        newest = next(iter(sections), None)
        if version not in sections:
            raise ReleaseError(
                f"CHANGELOG.md has no section [{version}], its newest is [{newest or UNRELEASED}]: "
                f"`make release VERSION={version}` makes one of what is under {UNRELEASED}"
            )
        if newest != version:
            raise ReleaseError(f"pyproject.toml has version {version}, and CHANGELOG.md a newer section [{newest}]")
        date, text = sections[version]
        if date is None or not _is_date(date):
            raise ReleaseError(f"the section [{version}] of CHANGELOG.md has no date: ## [{version}] - 2026-01-31")
        if not text:
            raise ReleaseError(f"the section [{version}] of CHANGELOG.md is empty")
        if unreleased:
            raise ReleaseError(
                f"CHANGELOG.md has something under {UNRELEASED}, which would be in {version} and not in its notes: "
                f"move it to [{version}], or release what was there before it came"
            )
        return text

    def cut(self, version: str, today: datetime.date) -> None:
        """Make what is under "Unreleased" that version, and leave an empty "Unreleased" above it.

        Raises
        ------
        ReleaseError
            It is no version, not above the last one, or nothing is under "Unreleased". Nothing was written.
        """
        if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
            got = f"got {version!r}" if version else f"as in `make release VERSION={self.version}`"
            raise ReleaseError(f"a version is three numbers, such as 1.2.3, {got}")
        sections = self.sections()
        _, unreleased = sections.pop(UNRELEASED, (None, ""))
        if sections and _numbers(version) <= _numbers(next(iter(sections))):
            raise ReleaseError(f"CHANGELOG.md has [{next(iter(sections))}]: a version must be above it, got {version}")
        if _numbers(version) < _numbers(self.version):
            raise ReleaseError(f"pyproject.toml has version {self.version}: a version must not be below, got {version}")
        if not unreleased:
            raise ReleaseError(f"CHANGELOG.md has nothing under [{UNRELEASED}]")
        project = _VERSION_LINE.sub(f'version = "{version}"', self._project.read_text())
        heading = f"## [{UNRELEASED}]\n"
        changelog = self._changelog.read_text().replace(heading, f"{heading}\n## [{version}] - {today}\n", 1)
        self._project.write_text(project)
        self._changelog.write_text(changelog)

    def make_files(self, folder: Path, tag: str | None = None) -> list[Path]:
        """Write package, wheel, their checksums and the notes into a folder of their own, and return them.

        Raises
        ------
        ReleaseError
            As `notes`, or pip cannot build the wheel.
        PackageError
            pip cannot get what goes into the package.
        """
        notes = self.notes(tag)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        package.build(folder / package.DEFAULT_OUTPUT.name)
        _build_wheel(self.checkout, folder)
        files = sorted(folder.iterdir())
        sums = folder / "SHA256SUMS"
        sums.write_text("".join(f"{_sha256(file)}  {file.name}\n" for file in files))
        text = folder / "notes.md"
        text.write_text(f"{notes}\n")
        return [*files, sums, text]


def main(arguments: list[str]) -> int:
    """Do what is asked. Returns the exit status: 2 where the checkout is not ready for it."""
    parser = argparse.ArgumentParser(prog="python -m tests.release", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("cut").add_argument("version", nargs="?", default="")
    for name in ("check", "files"):
        commands.add_parser(name).add_argument("--tag")
    asked = parser.parse_args(arguments)
    release = Release()
    try:
        if asked.command == "cut":
            release.cut(asked.version, datetime.datetime.now(datetime.UTC).date())
            print(f"pyproject.toml and CHANGELOG.md are those of {asked.version}. To release it, commit both, and:")
            print(f"  git tag v{asked.version} && git push origin HEAD v{asked.version}")
        elif asked.command == "check":
            release.notes(asked.tag)
            print(f"{release.version}: version, changelog{' and tag' if asked.tag else ''} agree")
        else:
            for file in release.make_files(REPOSITORY / "build" / "release", asked.tag):
                print(file.relative_to(REPOSITORY))
    except (ReleaseError, package.PackageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return 0


def _build_wheel(checkout: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(checkout)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines()
        raise ReleaseError(f"pip could not build the wheel: {errors[0].strip() if errors else done.returncode}")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _is_date(text: str) -> bool:
    try:
        return str(datetime.date.fromisoformat(text)) == text
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
