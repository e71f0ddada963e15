"""A release is refused unless tag, version and changelog agree; and its notes are the section of its version."""

import datetime
from pathlib import Path

import pytest

from tests import release
from tests.release import Release, ReleaseError

TODAY = datetime.date(2026, 11, 24)
BEFORE = """\
# Changelog

## [Unreleased]

### Added

- The second thing, of `## [Unreleased]` things.

## [1.0.0] - 2026-01-31

### Added

- The first thing.
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout of which 1.0.0 is released, and something after it is not."""
    (tmp_path / "CHANGELOG.md").write_text(BEFORE)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1.0.0"\nrequires = "y==2"\n')
    return tmp_path


def write(checkout: Path, changelog: str) -> None:
    (checkout / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog}")


def test_what_is_unreleased_becomes_the_version_in_one_step(checkout: Path) -> None:
    one = Release(checkout)

    one.cut("1.1.0", TODAY)

    assert one.version == "1.1.0"
    assert 'requires = "y==2"' in (checkout / "pyproject.toml").read_text()
    changelog = (checkout / "CHANGELOG.md").read_text()
    assert changelog == BEFORE.replace("## [Unreleased]\n\n", "## [Unreleased]\n\n## [1.1.0] - 2026-11-24\n\n", 1)
    assert one.notes("v1.1.0") == "### Added\n\n- The second thing, of `## [Unreleased]` things."


def test_what_comes_later_is_unreleased_again(checkout: Path) -> None:
    one = Release(checkout)
    one.cut("1.1.0", TODAY)
    changelog = (checkout / "CHANGELOG.md").read_text()
    (checkout / "CHANGELOG.md").write_text(
        changelog.replace("[Unreleased]\n", "[Unreleased]\n\n### Fixed\n\n- It.\n", 1)
    )

    one.cut("1.1.1", TODAY)

    assert one.notes() == "### Fixed\n\n- It."
    assert list(one.sections()) == ["Unreleased", "1.1.1", "1.1.0", "1.0.0"]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("", "three numbers, such as 1.2.3, as in"),
        ("1.1", "three numbers, such as 1.2.3, got '1.1'"),
        ("v1.1.0", "got 'v1.1.0'"),
        ("1.1.0rc1", "got '1.1.0rc1'"),
        ("1.01.0", "got '1.01.0'"),
        ("1.0.0", "must be above it, got 1.0.0"),
        ("0.10.0", "must be above it, got 0.10.0"),
    ],
)
def test_what_is_no_next_version_is_refused_and_writes_nothing(checkout: Path, version: str, said: str) -> None:
    with pytest.raises(ReleaseError, match=said):
        Release(checkout).cut(version, TODAY)
    assert (checkout / "CHANGELOG.md").read_text() == BEFORE
    assert Release(checkout).version == "1.0.0"


def test_versions_are_compared_as_numbers(checkout: Path) -> None:
    write(checkout, "## [Unreleased]\n\n- It.\n\n## [1.9.0] - 2026-01-31\n\n- That.\n")
    Release(checkout).cut("1.10.0", TODAY)
    with pytest.raises(ReleaseError, match=r"must be above it, got 1\.9\.9"):
        Release(checkout).cut("1.9.9", TODAY)


def test_nothing_to_release_is_refused(checkout: Path) -> None:
    write(checkout, "## [Unreleased]\n\n## [1.0.0] - 2026-01-31\n\n- It.\n")
    with pytest.raises(ReleaseError, match="nothing under"):
        Release(checkout).cut("1.1.0", TODAY)


def test_a_version_below_that_of_the_project_is_refused(checkout: Path) -> None:
    write(checkout, "## [Unreleased]\n\n- It.\n")
    with pytest.raises(ReleaseError, match=r"pyproject\.toml has version 1\.0\.0"):
        Release(checkout).cut("0.9.0", TODAY)


@pytest.mark.parametrize(
    ("changelog", "tag", "said"),
    [
        ("## [1.0.0] - 2026-01-31\n\n- It.\n", "v1.0.1", "the tag is v1.0.1, and pyproject.toml has version 1.0.0"),
        ("## [1.0.0] - 2026-01-31\n\n- It.\n", "1.0.0", "the tag is 1.0.0"),
        ("## [1.0.0] - 2026-01-31\n\n- It.\n", "", "the tag is , and"),
        ("## [Unreleased]\n\n- It.\n", "v1.0.0", r"no section \[1.0.0\], its newest is \[Unreleased\]"),
        ("## [0.9.0] - 2026-01-31\n\n- It.\n", "v1.0.0", r"no section \[1.0.0\], its newest is \[0.9.0\]"),
        (
            "## [1.0.1] - 2026-02-01\n\n- It.\n\n## [1.0.0] - 2026-01-31\n\n- It.\n",
            "v1.0.0",
            r"newer section \[1.0.1\]",
        ),
        ("## [1.0.0]\n\n- It.\n", "v1.0.0", "has no date"),
        ("## [1.0.0] - 2026-02-30\n\n- It.\n", "v1.0.0", "has no date"),
        ("## [1.0.0] - 20260131\n\n- It.\n", "v1.0.0", "has no date"),
        ("## [1.0.0] - 2026-01-31\n\n## [0.9.0] - 2026-01-30\n\n- It.\n", "v1.0.0", "is empty"),
        (BEFORE, "v1.0.0", "something under Unreleased"),
    ],
)
def test_what_does_not_agree_is_not_released(checkout: Path, changelog: str, tag: str, said: str) -> None:
    write(checkout, changelog)
    with pytest.raises(ReleaseError, match=said):
        Release(checkout).make_files(checkout / "release", tag)
    assert not (checkout / "release").exists()


@pytest.mark.parametrize("project", ["", 'version = "1.0.0"\nversion = "1.0.1"\n'])
def test_there_is_one_version(checkout: Path, project: str) -> None:
    (checkout / "pyproject.toml").write_text(project)
    with pytest.raises(ReleaseError, match="and needs one"):
        _ = Release(checkout).version


def test_a_refusal_is_one_line(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "Release", lambda: Release(checkout))
    assert release.main(["check", "--tag", "v2.0.0"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: the tag is v2.0.0, and pyproject.toml has version 1.0.0: ")
    assert told.err.count("\n") == 1


def test_the_changelog_of_this_checkout_can_be_released() -> None:
    """Either its version has a section, or what is Unreleased can become one."""
    here = Release()
    sections = here.sections()
    assert sections.pop("Unreleased")[1] or here.version in sections
    assert all(text for _, text in sections.values())
