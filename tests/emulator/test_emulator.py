"""The emulator's life: it comes up on a port of its own, and leaves nothing behind however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.emulator.conftest import Account
from tests.local_aws.aws import ACCOUNT_ID, emulator, index_limit, meter
from tests.local_aws.errors import LocalAwsError
from tests.local_aws.processes import is_alive
from tests.support.paths import REPOSITORY
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local_aws.aws.emulator import Emulator


# A Lambda function that is busy, and has a child of its own.
BUSY = """
import json, os, subprocess, time
def handler(event, context):
    child = subprocess.Popen(["sleep", "300"])
    with open(event["file"], "w") as file:
        json.dump([os.getpid(), child.pid], file)
    time.sleep(300)
"""

# A program that runs an emulator, as a test run or `make run` does, and says what belongs to it.
PARENT = """
import json, subprocess, sys, time
from pathlib import Path
from tests.emulator.conftest import Account
from tests.emulator.test_emulator import start_busy_function
from tests.local_aws.aws import emulator
folder = Path(sys.argv[1])
with emulator.running(log_file=folder / "emulator.log") as running:
    bystander = subprocess.Popen(["sleep", "300"], close_fds=False)
    busy = start_busy_function(Account(running), folder / "busy.json")
    print(json.dumps([running.port, running.pid, bystander.pid, *busy]), flush=True)
    time.sleep(300)
"""

DETACH = """
import sys
from pathlib import Path
from tests.local_aws.aws import emulator
running = emulator.start(log_file=Path(sys.argv[1]) / "emulator.log", detached=True)
print(running.port, running.pid)
"""


def start_busy_function(account: Account, file: Path) -> list[int]:
    """Start a function that does not return, and return the ids of its two processes."""
    function = account.function(BUSY, timeout=600)
    account.functions.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps({"file": str(file)}))
    eventually(lambda: file.exists() and file.stat().st_size > 0, "the function did not start")
    processes: list[int] = json.loads(file.read_text())
    return processes


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((host, port)) == 0


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Start a process that runs an emulator; return it and [port, emulator, bystander, worker, worker's child]."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    ids = json.loads(line)
    yield process, ids
    with contextlib.suppress(ProcessLookupError):
        os.kill(ids[2], signal.SIGKILL)
    process.kill()
    process.communicate()


def test_listens_on_a_free_loopback_port_only(local_aws: Emulator) -> None:
    assert local_aws.endpoint_url == f"http://127.0.0.1:{local_aws.port}"
    assert is_listening(local_aws.port)
    # Another address of this machine, which a server on every interface would answer on.
    assert not is_listening(local_aws.port, "127.0.0.2")


def test_leads_its_own_session_so_that_ctrl_c_does_not_reach_it(local_aws: Emulator) -> None:
    assert os.getpgid(local_aws.pid) == local_aws.pid
    assert os.getsid(local_aws.pid) == local_aws.pid


def test_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(LocalAwsError, match=f"^port {port} is in use; .*") as error:
            emulator.start(log_file=tmp_path / "emulator.log", port=port)
    assert "\n" not in str(error.value)
    assert entries(tmp_path) == []


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_impossible_port_is_one_clear_line(tmp_path: Path, port: int) -> None:
    with pytest.raises(LocalAwsError, match=f"^port {port} is not a port; "):
        emulator.start(log_file=tmp_path / "emulator.log", port=port)


def test_failed_start_says_why_and_leaves_only_the_log(tmp_path: Path) -> None:
    with pytest.raises(LocalAwsError, match=r"ended at its start: .*no-such-correction") as error:
        emulator.start(log_file=tmp_path / "emulator.log", without=["no-such-correction"])
    assert "\n" not in str(error.value)
    assert entries(tmp_path) == ["emulator.log"]


def test_start_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(LocalAwsError, match=r"did not answer within 0.01 s"):
        emulator.start(log_file=tmp_path / "emulator.log", startup_timeout=0.01)
    assert entries(tmp_path) == ["emulator.log"]


def test_the_users_own_aws_settings_are_never_used(
    local_aws: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given somebody whose shell is set up for a real account, behind a proxy
    credentials = tmp_path / "credentials"
    credentials.write_text("[production]\naws_access_key_id = AKIAREAL\naws_secret_access_key = real\n")
    for name, value in {
        "AWS_PROFILE": "production",
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_CONFIG_FILE": str(tmp_path / "missing"),
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_SECRET_ACCESS_KEY": "real",
        "AWS_SESSION_TOKEN": "real",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)

    # Then neither the session
    identity = local_aws.client("sts").get_caller_identity()
    assert identity["Account"] == ACCOUNT_ID
    credentials_used: Any = local_aws.session().get_credentials()
    assert (credentials_used.access_key, credentials_used.token) == ("test", None)

    # nor a program under the client's environment sees any of it
    for name, value in local_aws.client_env().items():
        monkeypatch.setenv(name, value)
    assert boto3.Session().client("sts").get_caller_identity()["Account"] == ACCOUNT_ID
    credentials_used = boto3.Session().get_credentials()
    assert credentials_used.access_key == "test"


def test_functions_inherit_nothing_from_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    with emulator.running(log_file=tmp_path / "emulator.log") as running:
        account = Account(running)
        function = account.function("import os, sys\ndef handler(event, context): return dict(os.environ), sys.path")
        (environment, path), failed = account.invoke(function)

    assert not failed
    assert not {"AWS_PROFILE", "SOME_TOKEN", "PYTHONPATH"} & environment.keys()
    assert environment["HOME"] != os.environ.get("HOME")
    assert str(REPOSITORY) not in path


def test_policies_are_enforced_unless_told_otherwise(local_aws: Emulator) -> None:
    iam: Any = local_aws.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    nobody: Any = local_aws.session(key["AccessKeyId"], key["SecretAccessKey"]).client("iam")
    with pytest.raises(nobody.exceptions.ClientError, match="AccessDenied"):
        nobody.list_users()


def test_stop_ends_every_descendant_and_removes_its_files(tmp_path: Path) -> None:
    with emulator.running(log_file=tmp_path / "emulator.log") as running:
        busy = start_busy_function(Account(running), tmp_path / "busy.json")
        assert all(map(is_alive, [running.pid, *busy]))
        assert len(entries(tmp_path)) == 3

    assert not any(map(is_alive, [running.pid, *busy]))
    assert not is_listening(running.port)
    assert entries(tmp_path) == ["busy.json", "emulator.log"]


def test_an_exception_in_the_block_ends_it(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        emulator.running(log_file=tmp_path / "emulator.log") as running,
    ):
        raise KeyboardInterrupt
    assert not is_alive(running.pid)
    assert entries(tmp_path) == ["emulator.log"]


def test_killed_parent_takes_everything_along(parent: tuple[subprocess.Popen[str], list[int]], tmp_path: Path) -> None:
    process, (port, server, bystander, *busy) = parent
    assert all(map(is_alive, [server, *busy]))

    process.kill()

    eventually(lambda: not any(map(is_alive, [server, *busy])), "the emulator outlived its parent")
    # A child that the parent started later does not keep the emulator alive.
    assert is_alive(bystander)
    eventually(lambda: not is_listening(port), "the port outlived the emulator")
    assert entries(tmp_path) == ["busy.json", "emulator.log"]


def test_what_a_killed_emulator_left_is_swept_and_a_living_one_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "up"
    killed = emulator.start(log_file=folder / "emulator.log", detached=True)
    os.kill(killed.pid, signal.SIGKILL)
    eventually(lambda: not is_alive(killed.pid), "it is killed")
    (left,) = folder.glob("emulator-*")
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(left / "_worker.py")])
    with emulator.running(log_file=folder / "emulator.log") as living:
        emulator.sweep(folder)

        assert worker.wait(10) == -signal.SIGKILL
        assert not left.exists()
        assert len(list(folder.glob("emulator-*"))) == 1
        assert living.client("sts").get_caller_identity()["Account"]
    assert entries(folder) == ["emulator.log"]


def test_the_sources_stay_as_they_are(tmp_path: Path) -> None:
    """As in a clean clone, in which make keeps Python from writing what it compiled."""
    for name in ("functions", "tests"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    log_file = tmp_path / "build" / "emulator.log"
    script = (
        "import pathlib, sys; from tests.local_aws.aws import emulator; "
        "emulator.start(log_file=pathlib.Path(sys.argv[1])).stop()"
    )

    subprocess.run(
        [sys.executable, "-c", script, str(log_file)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
    )

    assert log_file.exists()
    assert list(tmp_path.rglob("__pycache__")) == []


def test_ctrl_c_in_the_parent_ends_everything(parent: tuple[subprocess.Popen[str], list[int]], tmp_path: Path) -> None:
    process, (port, server, bystander, *busy) = parent

    # As a terminal does: to the foreground process group.
    os.killpg(process.pid, signal.SIGINT)

    _, stderr = process.communicate(timeout=20)
    assert stderr.strip().endswith("KeyboardInterrupt")
    assert not any(map(is_alive, [server, bystander, *busy]))
    assert not is_listening(port)
    assert entries(tmp_path) == ["busy.json", "emulator.log"]


def test_killed_emulator_takes_its_functions_along(tmp_path: Path) -> None:
    with emulator.running(log_file=tmp_path / "emulator.log") as running:
        worker, child = start_busy_function(Account(running), tmp_path / "busy.json")
        os.kill(running.pid, signal.SIGKILL)
        eventually(lambda: not is_alive(worker), "the function's process outlived the emulator")
    assert entries(tmp_path) == ["busy.json", "emulator.log"]
    # It is the function's own child, which nobody but the emulator's group knows of.
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def test_detached_outlives_its_parent_and_is_stopped_by_another_process(tmp_path: Path) -> None:
    started = subprocess.run(
        [sys.executable, "-c", DETACH, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert started.returncode == 0, started.stderr
    port, pid = map(int, started.stdout.split())
    try:
        assert emulator.is_running(pid)
        assert is_listening(port)
    finally:
        emulator.stop(pid)

    assert not is_alive(pid)
    assert not is_listening(port)
    assert entries(tmp_path) == ["emulator.log"]
    # Stopping what has ended is no error.
    emulator.stop(pid)


def test_stop_leaves_a_stranger_alone() -> None:
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as stranger:
        try:
            assert not emulator.is_running(stranger.pid)
            with pytest.raises(LocalAwsError, match=f"^process {stranger.pid} is not a local AWS emulator"):
                emulator.stop(stranger.pid)
            assert is_alive(stranger.pid)
        finally:
            stranger.kill()


def test_terraform_is_not_answered_sooner_than_over_a_network(local_aws: Emulator) -> None:
    def seconds(user_agent: str) -> float:
        client = local_aws.session().client("sts", config=Config(user_agent=user_agent))
        client.get_caller_identity()
        started = time.monotonic()
        client.get_caller_identity()
        return time.monotonic() - started

    terraform = "APN/1.0 HashiCorp/1.0 Terraform/1.11.4 terraform-provider-aws/5.100.0"
    quickest = {agent: min(seconds(agent) for _ in range(10)) for agent in (terraform, "Boto3")}
    assert quickest[terraform] > 0.01
    assert quickest["Boto3"] < quickest[terraform]


def test_calls_are_counted_and_take_as_long_as_asked(local_aws: Emulator) -> None:
    # Given a table, and a function that writes into it
    account = Account(local_aws)
    table = account.name("metered")
    account.tables.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    item = {"id": {"S": "x" * 1500}}
    function = account.function(
        "import boto3\ndef handler(event, context):\n"
        f"    requests = {{'{table}': [{{'PutRequest': {{'Item': event}}}}]}}\n"
        "    boto3.client('dynamodb').batch_write_item(RequestItems=requests)"
    )
    account.invoke(function, item)
    try:
        # When it is called with and without latency
        for latency_ms in (0, 300):
            meter.begin(local_aws, latency_ms)
            account.invoke(function, item)
            counted = meter.read(local_aws)
            # Then its calls are counted: two KB, in the table and in the index
            assert counted["calls"] == {"dynamodb:BatchWriteItem": 1}
            assert counted["write_units"] == 4
            measured = counted["functions"][function]
            assert measured["invocations"] == 1
            # And the latency is in their time, but not in that of the processor, however busy this machine is
            assert 0 < measured["cpu_seconds"] <= measured["seconds"] - latency_ms / 1000 + 0.02
    finally:
        meter.begin(local_aws)


def test_a_key_of_an_index_takes_so_much_a_second(local_aws: Emulator, aws: Account) -> None:
    # Given an index of which a key takes 30 write units a second, and items of one KB and of two
    table = aws.name("limited")
    aws.tables.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("id", "scan")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-scan",
                "KeySchema": [{"AttributeName": "scan", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )

    def write(count: int, kb: int, **key: str) -> int:
        """Return how many items come back."""
        index = {name: {"S": value} for name, value in key.items()}
        items = [{"id": {"S": str(number)}, "text": {"S": "x" * (kb * 1024 - 100)}, **index} for number in range(count)]
        requests = [{"PutRequest": {"Item": item}} for item in items]
        answer = aws.tables.batch_write_item(RequestItems={table: requests})
        return len(answer["UnprocessedItems"].get(table, []))

    once: Any = local_aws.session().client("dynamodb", config=Config(retries={"total_max_attempts": 1}))
    index_limit.begin(local_aws, 30)
    try:
        # When more is written at once than a second brings
        came_back = write(25, 2, scan="a")
        # Then the rest comes back, and is not written
        assert 8 <= came_back <= 10
        assert aws.tables.scan(TableName=table, Select="COUNT")["Count"] == 25 - came_back
        # And a call of which nothing is written fails, as long as nothing has come in
        one = {"PutRequest": {"Item": {"id": {"S": "a"}, "scan": {"S": "a"}}}}
        with pytest.raises(ClientError, match="ProvisionedThroughputExceeded"):
            [once.batch_write_item(RequestItems={table: [one]}) for _ in range(100)]
        # But another key has its own second, and what is not in the index needs none
        assert (write(25, 1, scan="b"), write(25, 2)) == (0, 0)
        facts = index_limit.read(local_aws)
        assert facts["throttled"] >= came_back + 1
        assert facts["units"] >= 2 * (25 - came_back) + 25
    finally:
        index_limit.begin(local_aws, 0)
    assert write(25, 2, scan="a") == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells of a process as it is")
def test_the_memory_of_a_function_is_its_own(local_aws: Emulator, aws: Account) -> None:
    """And not that of the emulator, which has started it."""
    function = aws.function("def handler(event, context):\n    pass\n")
    meter.begin(local_aws)
    aws.invoke(function)
    used = meter.read(local_aws)["functions"][function]["memory_mb"]
    status = Path(f"/proc/{local_aws.pid}/status").read_text(encoding="utf-8")
    emulators = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024
    assert 5 < used < emulators / 2


def test_a_transaction_costs_twice_as_much(local_aws: Emulator, aws: Account) -> None:
    table = aws.name("transactions")
    aws.tables.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    check = {"Key": {"id": {"S": "b"}}, "ConditionExpression": "attribute_not_exists(id)"}
    meter.begin(local_aws)
    aws.tables.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": table, "Item": {"id": {"S": "a"}}}},
            {"ConditionCheck": {"TableName": table, **check}},
        ]
    )
    counted = meter.read(local_aws)
    assert counted["calls"] == {"dynamodb:TransactWriteItems": 1}
    # The item twice in the table and once in its index, and the check twice.
    assert counted["write_units"] == 5


def test_events_and_what_is_kept_are_counted_apart(local_aws: Emulator, aws: Account) -> None:
    table = aws.name("kept")
    aws.tables.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "scan_timestamp", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "scan_timestamp", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    meter.begin(local_aws)
    for key in ("posture#a#1", "posture#a#2", "baseline#a#1", "lock"):
        aws.tables.put_item(TableName=table, Item={"scan_timestamp": {"S": key}})
    aws.events.put_events(Entries=[{"Source": "test", "DetailType": "test", "Detail": "{}"}])
    counted = meter.read(local_aws)
    # The name of the attribute, and its value
    assert (counted["posture_bytes"], counted["picture_bytes"]) == (2 * (14 + 11), 14 + 12)
    assert counted["calls"] == {"dynamodb:PutItem": 4, "events:PutEvents": 1}
