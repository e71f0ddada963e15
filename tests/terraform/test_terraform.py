"""Deploying from a copy of the checkout: where the provider comes from, errors, and that nothing stays behind."""

import contextlib
import http.server
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local_aws import processes
from tests.local_aws.deploy import terraform as module
from tests.local_aws.deploy import terraform_install as install
from tests.local_aws.deploy.terraform import Terraform
from tests.local_aws.errors import LocalAwsError
from tests.terraform.conftest import Checkout, make_provider

UNREACHABLE = "echo 'Error: Failed to query available provider packages'; echo; echo 'no such host'; exit 1"
REGISTRY_CALL = "-input=false -no-color"


def calls_of_init(checkout: Checkout) -> list[str]:
    """Return how ``terraform init`` was called: with which mirror, or "registry"."""
    inits = [call for call in checkout.calls if " init " in call]
    return [call.partition("-plugin-dir=")[2] or "registry" for call in inits]


# The provider


def test_a_provider_from_the_registry_is_downloaded_once(checkout: Checkout) -> None:
    provider = f"$TF_PLUGIN_CACHE_DIR/registry.example.com/hashicorp/aws/5.100.0/{install.platform_name()}"
    download = (
        f"echo '- Installing hashicorp/aws v5.100.0...'; mkdir -p {provider}; touch {provider}/terraform-provider-aws"
    )

    checkout.terraform(without_mirror=download).init()
    checkout.terraform(without_mirror=UNREACHABLE).init()

    cache = checkout.tools / "plugins"
    assert calls_of_init(checkout) == ["registry", str(cache), str(cache)]
    assert "Downloading the AWS provider, once: hashicorp/aws v5.100.0..." in checkout.lines
    assert list(checkout.tools.iterdir()) == [cache]


def test_offline_a_mirror_is_found_and_remembered(checkout: Checkout) -> None:
    mirror = make_provider(checkout.folder / "home" / "opt" / "mirror", "5.100.0")

    checkout.terraform(without_mirror=UNREACHABLE).init()
    checkout.terraform(without_mirror=UNREACHABLE).init()

    assert calls_of_init(checkout) == ["registry", str(mirror), str(mirror)], "the registry is not asked in vain again"
    assert f"The AWS provider 5.100.0 is from {mirror}" in checkout.lines


def test_a_remembered_mirror_that_is_gone_is_forgotten(checkout: Checkout) -> None:
    checkout.tools.mkdir(parents=True)
    (checkout.tools / "provider-mirror").write_text(str(checkout.folder / "gone"))
    mirror = make_provider(checkout.folder / "home" / "opt" / "mirror", "5.100.0")

    checkout.terraform(without_mirror=UNREACHABLE).init()

    assert calls_of_init(checkout) == ["registry", str(mirror)]


def test_a_registry_that_does_not_answer_is_given_up(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REGISTRY_ANSWER_SECONDS", 0.5)
    mirror = make_provider(checkout.folder / "home" / "opt" / "mirror", "5.100.0")
    started = time.monotonic()

    checkout.terraform(without_mirror="exec sleep 60").init()

    assert time.monotonic() - started < 10
    assert calls_of_init(checkout)[-1] == str(mirror)


def test_without_a_provider_one_line_says_what_to_do(checkout: Checkout) -> None:
    make_provider(checkout.folder / "home" / "opt" / "mirror", "5.66.0")

    with pytest.raises(LocalAwsError) as caught:
        checkout.terraform(without_mirror=UNREACHABLE).init()

    assert str(caught.value) == (
        "the AWS provider of Terraform (hashicorp/aws >= 5.67, < 7.0, not 6.29.0 to 6.40.1) is missing: the registry "
        "gives none, and no filesystem mirror on this machine has it; connect to the network once, or put a mirror "
        "made by `terraform providers mirror` into ~/.terraform.d/plugins (terraform init: Failed to query available "
        "provider packages: no such host)"
    )


def test_a_version_of_the_provider_can_be_asked_for(checkout: Checkout) -> None:
    make_provider(checkout.tools / "plugins", "5.100.0")
    mirror = make_provider(checkout.folder / "home" / "opt" / "mirror", "5.67.0")

    checkout.terraform(without_mirror=UNREACHABLE, AWS_PROVIDER_VERSION="5.67.0").init()

    assert calls_of_init(checkout)[-1] == str(mirror)
    override = (checkout.folder / "work" / "terraform" / "version_override.tf").read_text()
    assert 'aws = { source = "hashicorp/aws", version = "5.67.0" }' in override

    checkout.terraform(without_mirror=UNREACHABLE).init()

    assert calls_of_init(checkout)[-1] == str(checkout.tools / "plugins")
    assert not (checkout.folder / "work" / "terraform" / "version_override.tf").exists()


def test_terraform_itself_takes_the_version_that_is_asked_for(
    deployment: Callable[[int], Terraform], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The override is merged into the configuration, and one that no mirror has is refused."""
    monkeypatch.setenv("AWS_PROVIDER_VERSION", "= 0.0.1")
    monkeypatch.setattr(Terraform, "_init_from_registry", lambda self, cache: "the registry is not asked here")

    with pytest.raises(LocalAwsError, match=r"hashicorp/aws = 0\.0\.1\) is missing"):
        deployment(9)


def test_an_interrupted_download_is_not_taken_for_a_provider(checkout: Checkout) -> None:
    half = f"$TF_PLUGIN_CACHE_DIR/registry.example.com/hashicorp/aws/5.100.0/{install.platform_name()}"
    download = f"mkdir -p {half}; touch {half}/terraform-provider-aws; echo '- Installing hashicorp/aws'; sleep 60"
    terraform = checkout.terraform(without_mirror=download)

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    terraform.progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        terraform.init()

    assert list(checkout.tools.iterdir()) == []


def test_an_error_in_the_configuration_is_not_blamed_on_the_provider(
    deployment: Callable[[int], Terraform], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Terraform._stage

    def stage_with_an_error(self: Terraform) -> None:
        stage(self)
        (self.directory / "more.tf").write_text("locals {\n  a = 1\n  a = 2\n}\n")

    monkeypatch.setattr(Terraform, "_stage", stage_with_an_error)

    with pytest.raises(LocalAwsError) as caught:
        deployment(9)

    assert str(caught.value) == (
        'terraform init: Attribute redefined: The argument "a" was already set at more.tf:2,3-4. '
        "Each argument may be set only once"
    )


# The copy


def test_the_configuration_is_deployed_from_an_identical_copy(checkout: Checkout) -> None:
    make_provider(checkout.tools / "plugins", "5.100.0")
    (checkout.folder / "terraform" / "terraform.tfvars").write_text('name_prefix = "production"')
    (checkout.folder / "terraform" / "terraform.tfstate").write_text("{}")
    work = checkout.folder / "work"
    (work / "terraform").mkdir(parents=True)
    (work / "terraform" / "removed_meanwhile.tf").write_text("")
    (work / "terraform" / "terraform.tfstate").write_text("of a former deployment")
    before = contents(checkout.folder / "terraform")

    checkout.terraform().init()

    assert contents(work) == {
        "terraform/versions.tf": (checkout.folder / "terraform" / "versions.tf").read_bytes(),
        "terraform/terraform.tfstate": b"of a former deployment",
        "statemachine/iam_user_monitor.asl.yaml": b"{}",
        "build/iam_user_monitor.zip": b"package",
    }
    assert contents(checkout.folder / "terraform") == before, "the user's own folder is left alone"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_missing_package_is_one_clear_line(checkout: Checkout) -> None:
    (checkout.folder / "build" / "iam_user_monitor.zip").unlink()

    with pytest.raises(
        LocalAwsError, match=r"there is no deployment package at .+\.zip; build it with `make package`$"
    ):
        checkout.terraform().init()


def test_settings_for_another_deployment_do_not_lead_this_one_elsewhere(checkout: Checkout) -> None:
    elsewhere = {
        "TF_DATA_DIR": "/elsewhere",
        "TF_WORKSPACE": "production",
        "TF_CLI_ARGS_apply": "-state=/elsewhere",
        "TF_CLI_CONFIG_FILE": "/no/such/file",
        "AWS_ENDPOINT_URL_DYNAMODB": "http://elsewhere",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    }
    own = {"TF_VAR_retention_days": "7", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "HTTPS_PROXY": "http://proxy"}

    environment = checkout.terraform(**elsewhere, **own).process_environment

    assert elsewhere.keys() & environment.keys() == set()
    assert own.items() <= environment.items()
    assert environment["CHECKPOINT_DISABLE"] == "1"


def test_it_never_deploys_to_a_real_account(checkout: Checkout) -> None:
    with pytest.raises(LocalAwsError, match="AWS_ENDPOINT_URL is not set"):
        checkout.terraform(AWS_ENDPOINT_URL="")


# Running it


def test_a_variable_out_of_range_is_one_line_with_the_value(
    deployment: Callable[[int], Terraform], aws_that_knows_its_caller: int
) -> None:
    terraform = deployment(aws_that_knows_its_caller)

    with pytest.raises(LocalAwsError) as caught:
        terraform.apply({"retention_days": 0})

    assert str(caught.value) == (
        "terraform apply: Invalid value for variable: retention_days must be a whole number from 1 to 3650, got 0"
    )


def test_a_variable_that_does_not_exist_is_one_line(
    deployment: Callable[[int], Terraform], aws_that_knows_its_caller: int
) -> None:
    terraform = deployment(aws_that_knows_its_caller)

    with pytest.raises(LocalAwsError, match=r'terraform apply: .*A variable named "retention" was assigned') as caught:
        terraform.apply({"retention": 1})

    assert "\n" not in str(caught.value)


def test_nothing_is_deployed_before_init(tmp_path: Path) -> None:
    terraform = Terraform(tmp_path, {**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})

    with pytest.raises(LocalAwsError, match="call init first"):
        terraform.apply()


def test_a_long_wait_is_never_silent(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENCE_SECONDS", 0.3)
    (checkout.folder / "work" / "terraform").mkdir(parents=True)
    terraform = checkout.terraform(without_mirror="""sleep 2; echo '{}'""")

    terraform.outputs()

    assert len(checkout.lines) >= 2
    assert set(checkout.lines) <= {f"  terraform output is at work ({seconds} s)" for seconds in range(10)}


def test_an_interrupt_ends_terraform_and_its_plugins(
    deployment: Callable[[int], Terraform], silent_aws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The AWS provider is a process of its own. Here it waits for an AWS that never answers."""
    monkeypatch.setattr(module, "_SILENCE_SECONDS", 0.5)
    terraform = deployment(silent_aws)
    groups: set[int] = set()
    seen = 0

    def interrupt(line: str) -> None:
        nonlocal seen
        groups.update(groups_at_work_in(terraform.work_dir))
        seen += any("terraform-provider-aws" in process for process in members(groups))
        # Not at once: a provider that has barely begun would end with Terraform anyway.
        if seen == 3:
            raise KeyboardInterrupt

    terraform.progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        terraform.apply()

    assert members(groups) == []


def test_a_terraform_that_ignores_interrupts_is_killed(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_INTERRUPT_GRACE_SECONDS", 0.3)
    (checkout.folder / "work" / "terraform").mkdir(parents=True)
    mark = f"6{os.getpid()}"
    terraform = checkout.terraform(without_mirror=f"trap '' INT; sleep {mark} & echo '{{\"@level\"}}'; sleep {mark}")

    def interrupted() -> None:
        if processes.naming(f"sleep {mark}"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        terraform._stream(["apply"], lambda line: None, check=interrupted)

    assert not processes.naming(f"sleep {mark}")


@pytest.fixture
def deployment(tmp_path: Path) -> Callable[[int], Terraform]:
    """Give the real program and configuration for an AWS on a port."""

    def make(port: int) -> Terraform:
        environment = {**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        terraform = Terraform(work_dir=tmp_path / "deployment", environment=environment)
        terraform.init()
        return terraform

    return make


@pytest.fixture
def silent_aws() -> Iterator[int]:
    """Accept connections and never answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield listener.getsockname()[1]


@pytest.fixture
def aws_that_knows_its_caller() -> Iterator[int]:
    """Answer everything like STS asked for the caller's identity, which is all that a refused plan asks."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = (
                b"<GetCallerIdentityResponse><GetCallerIdentityResult><Account>000000000000</Account><UserId>0</UserId>"
                b"<Arn>arn:aws:iam::000000000000:root</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"
            )
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def groups_at_work_in(folder: Path) -> set[int]:
    """Return the process groups in which a command line names a folder."""
    found = set()
    for pid in processes.naming(str(folder)):
        with contextlib.suppress(ProcessLookupError):
            found.add(os.getpgid(pid))
    return found


def members(groups: set[int]) -> list[str]:
    """Return the command lines of the living processes of some groups."""
    return [command for group in groups for command in processes.members(group).values()]
