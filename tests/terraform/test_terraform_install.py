"""Finding the ``terraform`` program and mirrors of the AWS provider."""

import hashlib
import http.server
import io
import os
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.local_aws.deploy import terraform_install as install
from tests.local_aws.errors import LocalAwsError
from tests.terraform.conftest import make_program, make_provider

ANY = ">= 1.0"
VERSION = install.PINNED_VERSION
PACKAGE = f"terraform_{VERSION}_{install.platform_name()}.zip"
SUMS = f"terraform_{VERSION}_SHA256SUMS"


@dataclass
class Releases:
    """A site of releases on the loopback."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    broken_off: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)

    def publish(self, package: bytes, checksum: str | None = None) -> None:
        self.files[f"/{VERSION}/{PACKAGE}"] = package
        line = f"{checksum or hashlib.sha256(package).hexdigest()}  {PACKAGE}\n"
        self.files[f"/{VERSION}/{SUMS}"] = f"{'0' * 64}  terraform_{VERSION}_plan9_arm.zip\n{line}".encode()


@contextmanager
def serving(releases: Releases) -> Iterator[Releases]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            releases.requests.append(self.path)
            content = releases.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.path in releases.broken_off else content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    releases.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield releases
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def package(content: str = "#!/bin/sh\necho downloaded\n", name: str = "terraform") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LICENSE.txt", "licence")
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def empty_path(tmp_path: Path) -> dict[str, str]:
    """Give an environment in which no program is on the PATH."""
    (tmp_path / "empty").mkdir()
    return {"PATH": str(tmp_path / "empty"), "HOME": str(tmp_path)}


def refused_url() -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


# The program


def test_without_a_terraform_the_pinned_release_is_downloaded_once(tmp_path: Path, empty_path: dict[str, str]) -> None:
    lines: list[str] = []
    with serving(Releases()) as releases:
        releases.publish(package())
        environment = {**empty_path, "TERRAFORM_RELEASES_URL": releases.url + "/"}
        first = install.find_terraform(environment, ANY, tmp_path / "tools", lines.append)

    # The site is gone, and so is its address from the environment.
    second = install.find_terraform(empty_path, ANY, tmp_path / "tools", lines.append)

    assert first == second == tmp_path / "tools" / f"terraform-{VERSION}" / "terraform"
    assert first.read_text().endswith("echo downloaded\n")
    assert os.access(first, os.X_OK)
    assert [path.name for path in (tmp_path / "tools").iterdir()] == [f"terraform-{VERSION}"], "nothing else is left"
    assert lines == [f"There is no terraform on the PATH: downloading {VERSION} from {releases.url}/{VERSION}"]


def download_error(tmp_path: Path, environment: dict[str, str]) -> str:
    """Return the message with which a download ends, which must be one line and leave nothing behind."""
    with pytest.raises(LocalAwsError) as caught:
        install.find_terraform(environment, ">= 1.9", tmp_path / "tools")
    message = str(caught.value)
    assert "\n" not in message
    assert list((tmp_path / "tools").iterdir()) == [], "something half-done is left"
    assert message.startswith(f"terraform is not on the PATH and cannot be downloaded from {environment['URL']}/")
    assert message.endswith("install Terraform (>= 1.9), or set TERRAFORM_RELEASES_URL to a mirror of its releases"), (
        "it says what to do"
    )
    return message


def test_a_download_with_a_wrong_checksum_is_refused(tmp_path: Path, empty_path: dict[str, str]) -> None:
    with serving(Releases()) as releases:
        releases.publish(package(), checksum="f" * 64)
        message = download_error(tmp_path, {**empty_path, "TERRAFORM_RELEASES_URL": releases.url, "URL": releases.url})

    assert (
        f"its checksum is {hashlib.sha256(package()).hexdigest()}, but the release's SHA256SUMS say {'f' * 64}"
        in message
    )


def test_a_download_that_its_checksums_do_not_list_is_refused(tmp_path: Path, empty_path: dict[str, str]) -> None:
    with serving(Releases()) as releases:
        releases.publish(package())
        releases.files[f"/{VERSION}/{SUMS}"] = b"not the checksums"
        message = download_error(tmp_path, {**empty_path, "TERRAFORM_RELEASES_URL": releases.url, "URL": releases.url})

    assert "SHA256SUMS do not list it" in message
    assert releases.requests == [f"/{VERSION}/{SUMS}"]


@pytest.mark.parametrize("missing", [PACKAGE, SUMS])
def test_a_release_that_is_not_there_is_one_clear_line(
    tmp_path: Path, empty_path: dict[str, str], missing: str
) -> None:
    with serving(Releases()) as releases:
        releases.publish(package())
        del releases.files[f"/{VERSION}/{missing}"]
        message = download_error(tmp_path, {**empty_path, "TERRAFORM_RELEASES_URL": releases.url, "URL": releases.url})

    assert f"HTTP status 404 for {releases.url}/{VERSION}/{missing}" in message


@pytest.mark.parametrize("half", [PACKAGE, SUMS])
def test_a_download_that_breaks_off_leaves_nothing(tmp_path: Path, empty_path: dict[str, str], half: str) -> None:
    with serving(Releases()) as releases:
        releases.publish(package())
        releases.broken_off.add(f"/{VERSION}/{half}")
        message = download_error(tmp_path, {**empty_path, "TERRAFORM_RELEASES_URL": releases.url, "URL": releases.url})

    size = len(releases.files[f"/{VERSION}/{half}"])
    assert f"the connection broke off after {size // 2:,} of {size:,} bytes; try again" in message


def test_a_site_that_refuses_connections_is_one_clear_line(tmp_path: Path, empty_path: dict[str, str]) -> None:
    url = refused_url()

    assert "Connection refused" in download_error(tmp_path, {**empty_path, "TERRAFORM_RELEASES_URL": url, "URL": url})


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no zip", "not a zip file"), (package(name="README"), "there is no terraform in it")],
)
def test_a_package_without_a_terraform_is_refused(
    tmp_path: Path, empty_path: dict[str, str], content: bytes, reason: str
) -> None:
    with serving(Releases()) as releases:
        releases.publish(content)
        message = download_error(tmp_path, {**empty_path, "TERRAFORM_RELEASES_URL": releases.url, "URL": releases.url})

    assert reason in message


@pytest.mark.parametrize("url", ["file:///tmp/releases", "releases.example.com"])
def test_a_site_that_is_no_web_address_is_refused(tmp_path: Path, empty_path: dict[str, str], url: str) -> None:
    message = download_error(tmp_path, {**empty_path, "TERRAFORM_RELEASES_URL": url, "URL": url})

    assert "TERRAFORM_RELEASES_URL must begin with http:// or https://" in message


def test_the_terraform_on_the_path_is_taken(tmp_path: Path) -> None:
    program = make_program(tmp_path / "bin" / "terraform", "echo 'Terraform v1.9.0'; echo 'on linux_amd64'")

    assert install.find_terraform({"PATH": str(program.parent)}, ">= 1.9", tmp_path / "tools") == program


def test_the_variable_terraform_wins_over_the_path(tmp_path: Path) -> None:
    on_path = make_program(tmp_path / "bin" / "terraform", "echo 'Terraform v1.10.0'")
    named = make_program(tmp_path / "other" / "terraform-next", "echo 'Terraform v1.15.0-beta1'")
    environment = {"PATH": str(on_path.parent), "TERRAFORM": str(named)}

    assert install.find_terraform(environment, ">= 1.9", tmp_path / "tools") == named


def test_a_terraform_that_is_too_old_is_one_clear_line(tmp_path: Path) -> None:
    program = make_program(tmp_path / "bin" / "terraform", "echo 'Terraform v1.8.5'")

    with pytest.raises(LocalAwsError) as caught:
        install.find_terraform({"PATH": str(program.parent)}, ">= 1.9", tmp_path / "tools")

    assert str(caught.value) == (
        f"{program} is Terraform 1.8.5, but >= 1.9 is needed; update it, or set TERRAFORM to another one, "
        f"or take it off the PATH to have {VERSION} downloaded"
    )


@pytest.mark.parametrize(
    ("script", "reason"),
    [(None, "which is no program"), ("echo hello", "is no Terraform"), ("exit 1", "is no Terraform")],
)
def test_a_variable_terraform_that_names_none_is_one_clear_line(
    tmp_path: Path, empty_path: dict[str, str], script: str | None, reason: str
) -> None:
    program = tmp_path / "bin" / "tf"
    if script:
        make_program(program, script)

    with pytest.raises(LocalAwsError) as caught:
        install.find_terraform({**empty_path, "TERRAFORM": str(program)}, ANY, tmp_path / "tools")

    assert reason in str(caught.value)
    assert str(program) in str(caught.value)
    assert "TERRAFORM" in str(caught.value)


def test_a_machine_without_releases_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "s390x")

    with pytest.raises(
        LocalAwsError, match=r"no Terraform release is known for \w+ on s390x; install Terraform yourself"
    ):
        install.platform_name()


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("Linux", "x86_64", "linux_amd64"),
        ("Linux", "aarch64", "linux_arm64"),
        ("Darwin", "arm64", "darwin_arm64"),
        ("Darwin", "x86_64", "darwin_amd64"),
    ],
)
def test_the_release_for_this_machine_is_chosen(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, name: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)

    assert install.platform_name() == name


# Versions


@pytest.mark.parametrize(
    ("version", "constraint", "expected"),
    [
        ("5.67.0", ">= 5.67, < 7.0", True),
        ("5.66.9", ">= 5.67, < 7.0", False),
        ("5.100.0", ">= 5.67, < 7.0", True),
        ("6.99.1", ">= 5.67, < 7.0", True),
        ("7.0.0", ">= 5.67, < 7.0", False),
        ("1.9", ">= 1.9.0", True),
        ("1.9.3", "~> 1.9", True),
        ("1.10.0", "~> 1.9", True),
        ("2.0.0", "~> 1.9", False),
        ("1.10.0", "~> 1.9.1", False),
        ("1.9.0", "1.9", True),
        ("1.9.1", "= 1.9", False),
        ("1.9.1", "!= 1.9.1", False),
        ("1.9.0", "> 1.9", False),
        ("1.9.0", "<= 1.9", True),
    ],
)
def test_version_constraints_mean_what_terraform_means(version: str, constraint: str, expected: bool) -> None:
    parsed = install.parse_version(version)

    assert parsed is not None
    assert install.satisfies(parsed, constraint) is expected


def test_a_constraint_that_is_not_understood_is_not_taken_for_fulfilled() -> None:
    with pytest.raises(ValueError, match="not understood"):
        install.satisfies((1, 9, 0), ">= 1.9-rc1")


# The provider


def test_of_several_mirrors_the_newest_fitting_provider_is_first(tmp_path: Path) -> None:
    for name, version in (("a", "5.68.0"), ("b", "5.100.0"), ("c", "7.1.0"), ("d", "5.9.0"), ("e", "6.0.0-beta1")):
        make_provider(tmp_path / "opt" / name, version)
    make_provider(tmp_path / "opt" / "f", "6.1.0", platform="plan9_arm")

    found = install.mirrors_below([tmp_path / "opt"], ">= 5.67, < 7.0", depth=2)

    assert found == [((5, 100, 0), tmp_path / "opt" / "b"), ((5, 68, 0), tmp_path / "opt" / "a")]


def test_a_mirror_of_packed_providers_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "mirror" / "registry.example.com" / "hashicorp" / "aws"
    folder.mkdir(parents=True)
    (folder / f"terraform-provider-aws_5.90.0_{install.platform_name()}.zip").touch()
    (folder / "terraform-provider-aws_5.91.0_plan9_arm.zip").touch()

    assert install.mirrors_below([tmp_path / "mirror"], ">= 5.67") == [((5, 90, 0), tmp_path / "mirror")]


def test_the_places_that_terraform_knows_come_before_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_BROAD_PREFIXES", ("~/opt",))
    environment = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data"), "XDG_DATA_DIRS": str(tmp_path / "x")}
    searched = make_provider(tmp_path / "opt" / "tools" / "mirror", "6.2.0")
    assert install.find_mirrors(environment, ">= 5.67") == [((6, 2, 0), searched)]

    known = make_provider(tmp_path / "data" / "terraform" / "plugins", "5.70.0")
    assert install.find_mirrors(environment, ">= 5.67") == [((5, 70, 0), known)]

    users_own = make_provider(tmp_path / ".terraform.d" / "plugins", "5.80.0")
    assert install.find_mirrors(environment, ">= 5.67")[0] == ((5, 80, 0), users_own)


def test_a_search_ends_where_links_lead_in_circles(tmp_path: Path) -> None:
    opt = tmp_path / "opt"
    mirror = make_provider(opt / "a" / "mirror", "5.100.0")
    for name in ("one", "two", "three"):
        (opt / name).symlink_to(opt)
        (opt / "a" / name).symlink_to(opt)
    started = time.monotonic()

    found = install.mirrors_below([opt, opt], ">= 5.67", depth=40)

    assert found == [((5, 100, 0), mirror)], "and it is found once, under its shortest name"
    assert time.monotonic() - started < 5


def test_a_mirror_behind_a_link_is_found(tmp_path: Path) -> None:
    make_provider(tmp_path / "disk" / "mirror", "5.100.0")
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "link").symlink_to(tmp_path / "disk" / "mirror")

    assert [mirror.folder for mirror in install.mirrors_below([tmp_path / "opt"], ">= 5.67", depth=2)] == [
        tmp_path / "opt" / "link"
    ]


def test_a_search_goes_no_deeper_and_no_longer_than_told(tmp_path: Path) -> None:
    make_provider(tmp_path / "1" / "2" / "3", "5.100.0")

    assert install.mirrors_below([tmp_path], ">= 5.67", depth=3) == []
    assert install.mirrors_below([tmp_path], ">= 5.67", depth=4, seconds=0) == []
    assert len(install.mirrors_below([tmp_path], ">= 5.67", depth=4)) == 1


def test_folders_that_may_not_be_read_are_passed_over(tmp_path: Path) -> None:
    assert install.mirrors_below([tmp_path / "no-such-folder", Path("/proc/1")], ">= 5.67", depth=2) == []
