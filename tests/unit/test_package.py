"""The deployment package."""

import importlib.metadata
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from functions import package
from tests.support.definition import ORGANIZATION_STEPS, STEPS

MAX_BYTES = 3_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("package") / "package.zip"
    package.build(output)
    return output


def test_the_same_input_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"

    package.build(again)

    assert again.read_bytes() == built.read_bytes()


def test_it_is_small_and_runs_on_any_architecture(built: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()

    assert built.stat().st_size < MAX_BYTES
    assert not [name for name in names if name.endswith((".so", ".pyd", ".pyc"))]
    assert "functions/write_batch/handler.py" in names
    assert "functions/table/record.py" in names
    assert "functions/package.py" not in names
    assert not [name for name in names if name.startswith("functions/cli/")], "that is the operator's"
    ours = [name for name in names if name.startswith("functions/")]
    assert not [name for name in ours if not name.endswith(".py")], "schemas and documents are for consumers and people"
    assert not [name for name in names if name.startswith(("boto3/", "botocore/", "tests/"))]


def test_every_handler_runs_with_nothing_but_the_package_and_boto3(built: Path, tmp_path: Path) -> None:
    """Whatever else this environment has installed must not be what makes the import succeed."""
    with zipfile.ZipFile(built) as archive:
        archive.extractall(tmp_path)
    allowed = ["boto3", "botocore", "s3transfer", "dateutil", "six", "urllib3"]
    program = textwrap.dedent(
        f"""
        import importlib, importlib.machinery, sys
        site = [path for path in sys.path if "site-packages" in path]
        sys.path = [{str(tmp_path)!r}] + [path for path in sys.path if path and "site-packages" not in path]

        class RuntimeLibraries:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in {allowed!r}:
                    return importlib.machinery.PathFinder.find_spec(name, path or site)

        sys.meta_path.append(RuntimeLibraries())
        for step in {[*STEPS, *ORGANIZATION_STEPS, "clean_up"]!r}:
            assert callable(importlib.import_module(f"functions.{{step}}.handler").handler)
        import aws_lambda_powertools
        assert aws_lambda_powertools.__file__.startswith({str(tmp_path)!r})
        """
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_tests_run_on_the_versions_that_are_packaged() -> None:
    for line in package.REQUIREMENTS.read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            assert importlib.metadata.version(name) == version


def test_a_dependency_that_cannot_be_had_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("iam-user-monitor-no-such-package==0\n")
    monkeypatch.setattr(package, "REQUIREMENTS", requirements)
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    assert package.main([str(tmp_path / "out.zip")]) == 1

    error = capsys.readouterr().err
    assert error.startswith("error: pip could not install requirements.txt: ")
    assert "iam-user-monitor-no-such-package" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*out.zip*")), "no half package is left"


def test_a_folder_in_its_place_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert package.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} is a folder; name the file to write\n"
