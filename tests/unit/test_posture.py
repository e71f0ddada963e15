"""What a record says of credentials and permissions is what calls for the single user would say, or nothing."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.table import posture, wire
from functions.table.authorization import Details, allows_everything
from functions.table.chunks import Unreadable
from functions.table.credential_report import MalformedReport, parse
from functions.table.posture import Posture
from functions.table.record import ATTRIBUTES, record_of
from tests.support.account import (
    ACCOUNT,
    COLUMNS,
    GENERATED,
    STYLES,
    Account,
    Group,
    Key,
    Style,
    User,
    accounts,
    details,
    iso,
    report,
)
from tests.support.engine import TABLE
from tests.support.scene import EPOCH, STARTED, TIMESTAMP, TTL
from tests.support.table import Table

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

CREATED = datetime(2025, 3, 14, 9, 26, 53, tzinfo=UTC)
ALICE = User("alice", "AIDAALICE", CREATED, password_changed=CREATED, mfa=True)
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


def read(account: Account, style: Style, sizes: list[int], *, encoded: bool, tags: frozenset[str]) -> Posture:
    """Read both reports of an account as ReadPosture does, and take them apart as the table keeps them."""
    found, described = parse(report(account.reported, style), iso(GENERATED)), Details(tags)
    for page in details(account, sizes, encoded=encoded):
        described.add(page)
    return Posture(found.generated, found.rows, described.facts())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    account=accounts(),
    style=STYLES,
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    encoded=st.booleans(),
    tags=st.frozensets(st.sampled_from(["team", "Team", "other"])),
)
def test_property_a_record_is_what_calls_for_its_user_say_or_nothing(
    account: Account, style: Style, sizes: list[int], encoded: bool, tags: frozenset[str]
) -> None:
    known = read(account, style, sizes, encoded=encoded, tags=tags)

    assert {user.name: known.of(user.listed) for user in account.users} == {
        user.name: account.expected(user, sorted(tags)) for user in account.users
    }


# The credential report


def facts_of(row: dict[str, str], **more: str) -> dict[str, Any]:
    """Return what a report of one user says, given the fields that are not those of nobody."""
    nothing = dict.fromkeys(COLUMNS, "N/A") | {name: "false" for name in COLUMNS if name.endswith("active")}
    line = nothing | {"user": "alice", "arn": ALICE.arn, "user_creation_time": "2025-03-14T09:26:53Z"} | row | more
    text = io.StringIO()
    writer = csv.DictWriter(text, list(line))
    writer.writeheader()
    writer.writerow(line)
    ((_, facts),) = parse(text.getvalue().encode(), iso(GENERATED)).rows.values()
    return facts


def test_a_report_as_iam_gave_it_in_2026() -> None:
    """Byte for byte but for the names: LF, Z, small letters, the root row first, a name in quotes."""
    text = (
        "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,"
        "mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,"
        "access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,"
        "access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,"
        "cert_1_last_rotated,cert_2_active,cert_2_last_rotated\n"
        "<root_account>,arn:aws:iam::123456789012:root,2020-01-02T03:04:05Z,true,2026-01-30T12:00:00Z,"
        "2020-01-02T03:10:00Z,not_supported,true,false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A\n"
        '"smith,jo",arn:aws:iam::123456789012:user/smith,2025-03-14T09:26:53Z,true,no_information,'
        "2025-03-14T09:27:00Z,2025-06-12T09:27:00Z,false,true,2025-03-14T09:30:00Z,2026-01-30T08:15:00Z,us-east-1,s3,"
        "false,2025-05-01T00:00:00Z,N/A,N/A,N/A,false,N/A,false,N/A"
    )

    found = parse(text.encode(), "2026-01-31T09:00:00Z")

    assert found.rows == {
        "arn:aws:iam::123456789012:user/smith": (
            "2025-03-14T09:26:53Z",
            {
                "password_enabled": True,
                "password_last_changed": "2025-03-14T09:27:00Z",
                "password_next_rotation": "2025-06-12T09:27:00Z",
                "mfa_active": False,
                "access_key_1_active": True,
                "access_key_1_last_rotated": "2025-03-14T09:30:00Z",
                "access_key_1_last_used_date": "2026-01-30T08:15:00Z",
                "access_key_1_last_used_region": "us-east-1",
                "access_key_1_last_used_service": "s3",
                "access_key_2_active": False,
                "access_key_2_last_rotated": "2025-05-01T00:00:00Z",
            },
        )
    }
    assert found.root == {
        "arn": "arn:aws:iam::123456789012:root",
        "credential_report_time": "2026-01-31T09:00:00Z",
        "user_creation_time": "2020-01-02T03:04:05Z",
        "password_enabled": True,
        "password_last_used": "2026-01-30T12:00:00Z",
        "password_last_changed": "2020-01-02T03:10:00Z",
        "mfa_active": True,
    }


def test_root_of_whom_little_is_told() -> None:
    root = parse(report([]), iso(GENERATED)).root
    assert root == {
        "arn": f"arn:aws:iam::{ACCOUNT}:root",
        "credential_report_time": "2026-01-31T09:00:00Z",
        "user_creation_time": "2020-01-02T00:00:00Z",
        "password_last_used": "2026-01-30T00:00:00Z",
        "mfa_active": True,
    }


def test_a_report_without_root_is_a_report() -> None:
    found = parse(report([ALICE], Style(root=False)), iso(GENERATED))
    assert (found.root, list(found.rows)) == (None, [ALICE.arn])


@pytest.mark.parametrize("column", COLUMNS)
def test_a_report_that_lacks_a_column_is_refused_by_name(column: str) -> None:
    """Without the column, a user without MFA could not be told from one of whom nothing is known."""
    order = tuple(number for number, name in enumerate(COLUMNS) if name != column)

    with pytest.raises(MalformedReport, match=rf"lacks the columns {column}$"):
        parse(report([ALICE], Style(order=order)), iso(GENERATED))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"mfa_active": "yes"}, r"mfa_active in line 2 .* is 'yes', neither true nor false"),
        ({"access_key_2_last_rotated": "yesterday"}, r"access_key_2_last_rotated in line 2 .* is 'yesterday', no time"),
        ({"access_key_2_last_rotated": "2026-01-01T00:00:00"}, "no time"),  # where?
        ({"user_creation_time": "N/A"}, "user_creation_time .* no time"),
    ],
)
def test_a_value_that_nobody_knows_is_refused_and_nobody_is_named(row: dict[str, str], message: str) -> None:
    with pytest.raises(MalformedReport, match=message) as refused:
        facts_of(row)
    assert "alice" not in str(refused.value), "errors are logged"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        ",".join(COLUMNS).encode() + b"\nalice,arn\n",
        ",".join(COLUMNS).encode() + b"\n" + b",".join([b"x"] * 23) + b"\n",
        ",".join(COLUMNS).encode() + b'\n"alice\n',
    ],
    ids=["nothing", "no text", "a short line", "a long line", "an open quote"],
)
def test_what_is_no_report_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedReport):
        parse(text, iso(GENERATED))


def test_a_key_that_exists_is_told_although_its_age_is_not() -> None:
    assert facts_of({"access_key_1_active": "true"})["access_key_1_active"] is True
    assert "access_key_1_active" not in facts_of({"access_key_1_active": "false"})


# The authorization details


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Allow", "Action": "*:*", "Resource": "*"},
        {"Effect": "Allow", "Action": ["s3:*", "*"], "Resource": ["arn:aws:s3:::x", "*"]},
        {"Effect": "Allow", "Action": ["**"], "Resource": "**", "Condition": {}},
    ],
    ids=str,
)
def test_a_statement_that_allows_everything(statement: dict[str, Any]) -> None:
    harmless = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    assert allows_everything({"Statement": statement})
    assert allows_everything({"Statement": [harmless, statement]})


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Deny", "Action": "*", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": "*",
            "Resource": "*",
            "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
        },
        {"Effect": "Allow", "Action": "iam:*", "Resource": "*"},
        {"Effect": "Allow", "Action": ["s3:*", "ec2:*"], "Resource": "*"},
        {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::*"},
        {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::x"},
        {"Effect": "Allow", "NotAction": "*", "NotResource": "*"},
    ],
    ids=str,
)
def test_a_statement_that_does_not(statement: dict[str, Any]) -> None:
    assert not allows_everything({"Statement": [statement]})
    assert not allows_everything({"Version": "2012-10-17", "Statement": []})


@pytest.mark.parametrize("broken", ["%7B", "[1]", 3, None], ids=str)
def test_a_document_that_is_no_policy_is_an_error(broken: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own, too
        allows_everything(broken)


def admin_via(account: Account) -> Any:
    described = Details(())
    for page in details(account):
        described.add(page)
    return described.facts()["AIDAALICE"].get("admin_via")


def test_only_the_default_version_of_a_policy_counts() -> None:
    """The others are there, too: v1 says the contrary in the pages that are made here."""
    arn = f"arn:aws:iam::{ACCOUNT}:policy/power"
    alice = User("alice", "AIDAALICE", CREATED, attached=(arn,))

    assert admin_via(Account((alice,), (), policies={arn: True})) == [f"policy {arn}"]
    assert admin_via(Account((alice,), (), policies={arn: False})) == []


@pytest.mark.parametrize(
    "account",
    [
        Account((User("alice", "AIDAALICE", CREATED, groups=("new",)),), ()),
        Account((User("alice", "AIDAALICE", CREATED, attached=("arn:aws:iam::123456789012:policy/new",)),), ()),
        Account(
            (User("alice", "AIDAALICE", CREATED, groups=("g",)),),
            (),
            {"g": Group(("arn:aws:iam::123456789012:policy/new",))},
        ),
    ],
    ids=["a group", "a policy", "a policy of a group"],
)
def test_what_came_while_the_details_were_listed_may_be_a_reason(account: Account) -> None:
    """None known is not none."""
    assert admin_via(account) is None


def test_a_reason_that_is_known_counts_beside_what_is_not() -> None:
    alice = User("alice", "AIDAALICE", CREATED, groups=("new",), attached=(ADMINISTRATOR,))
    assert admin_via(Account((alice,), ())) == [f"policy {ADMINISTRATOR}"]


def test_a_user_that_two_pages_name_is_what_the_later_says() -> None:
    described = Details(())
    for groups in ((), ("developers",)):
        user = User("alice", "AIDAALICE", CREATED, groups=groups)
        described.add(details(Account((user,), ()))[0])
    assert described.facts()["AIDAALICE"]["groups"] == ["developers"]
    assert described.identities == [(ALICE.arn, "2025-03-14T09:26:53Z")]


# Who is who


def test_a_recreated_user_inherits_nothing() -> None:
    """Neither by its name, from the report, nor by anything but its id, from the details."""
    found = parse(report([ALICE]), iso(GENERATED))
    known = Posture(found.generated, found.rows, {"AIDAALICE": {"groups": ["admins"]}})

    assert known.of(ALICE.listed)["mfa_active"] is True
    assert known.of({**ALICE.listed, "user_id": "AIDAOTHER", "create_date": "2025-03-14T09:26:54Z"}) == {}


def test_without_the_report_nothing_of_it_is_said() -> None:
    assert Posture(authorization={"AIDAALICE": {"groups": []}}).of(ALICE.listed) == {"groups": []}
    assert Posture().of(ALICE.listed) == {}


# In the table


def test_posture_is_kept_in_items_beside_the_manifests_for_two_weeks(dynamodb: "DynamoDBClient") -> None:
    found = parse(report([ALICE]), iso(GENERATED))
    known = Posture(found.generated, found.rows, {"AIDAALICE": {"groups": ["admins"]}})

    where = posture.store(dynamodb, TABLE, TIMESTAMP, known, now=EPOCH)

    (item,) = [wire.from_wire(one) for one in dynamodb.scan(TableName=TABLE)["Items"]]
    assert item.keys() == {"user_name", "scan_timestamp", "data", "ttl"}
    assert (item["user_name"], item["ttl"]) == ("__scan__", EPOCH + 14 * 86_400)
    assert item["scan_timestamp"] == f"posture#{TIMESTAMP}#{where['id']}#1"
    assert posture.load(dynamodb, TABLE, TIMESTAMP, where).of(ALICE.listed) == known.of(ALICE.listed)


def test_who_comes_late_writes_the_same_again_or_something_beside_it(dynamodb: "DynamoDBClient") -> None:
    before, after = Posture(authorization={"A": {"groups": []}}), Posture(authorization={"A": {"groups": ["x"]}})
    first = posture.store(dynamodb, TABLE, TIMESTAMP, before, now=EPOCH)

    again = posture.store(dynamodb, TABLE, TIMESTAMP, before, now=EPOCH)
    other = posture.store(dynamodb, TABLE, TIMESTAMP, after, now=EPOCH)

    assert again == first
    assert other["id"] != first["id"]
    assert posture.load(dynamodb, TABLE, TIMESTAMP, first).authorization == {"A": {"groups": []}}


def test_five_thousand_users_fit_into_a_few_items() -> None:
    """Of what cannot be compressed: random identities and times."""
    import random

    chance = random.Random(1)
    users = []
    for number in range(5000):
        moments = [CREATED + timedelta(seconds=chance.randrange(10**7)) for _ in range(5)]
        key = Key(True, moments[0], moments[1], "us-east-1", "s3")
        users.append(User(f"user-{chance.random()}", f"AIDA{chance.randrange(36**17)}", moments[2],
                          password_changed=moments[3], keys=(key, Key(True, moments[4])), groups=("g1", "g2"),
                          attached=(f"arn:aws:iam::{ACCOUNT}:policy/{number % 40}",)))  # fmt: skip
    account = Account(tuple(users), tuple(users), {"g1": Group(), "g2": Group()})
    table: Any = Table()
    known = read(account, Style(), [1000], encoded=False, tags=frozenset())
    where = posture.store(table, TABLE, TIMESTAMP, known, now=EPOCH)

    sizes = [len(item["data"]["B"]) for item in table.items.values()]
    assert len(sizes) == where["chunks"] <= 4
    assert max(sizes) <= 300_000
    assert posture.load(table, TABLE, TIMESTAMP, where) == known


@pytest.mark.parametrize("broken", ["gone", "no gzip", "no json", "no data"])
def test_what_cannot_be_read_says_so(dynamodb: "DynamoDBClient", broken: str) -> None:
    import gzip

    where = posture.store(dynamodb, TABLE, TIMESTAMP, Posture(authorization={"A": {}}), now=EPOCH)
    key = {"user_name": "__scan__", "scan_timestamp": f"posture#{TIMESTAMP}#{where['id']}#1"}
    data = {"no gzip": {"data": b"x"}, "no json": {"data": gzip.compress(b"x")}, "no data": {}}
    if broken == "gone":
        dynamodb.delete_item(TableName=TABLE, Key=wire.to_wire(key))
    else:
        dynamodb.put_item(TableName=TABLE, Item=wire.to_wire({**key, **data[broken]}))

    with pytest.raises(Unreadable):
        posture.load(dynamodb, TABLE, TIMESTAMP, where)


# The size of a record


def size_of(item: dict[str, Any]) -> int:
    """Return the size of an item, in bytes, by the rules of the DynamoDB developer guide ("Item sizes and formats")."""

    def value(typed: dict[str, Any]) -> int:
        ((kind, inner),) = typed.items()
        if kind == "S":
            return len(inner.encode())
        if kind == "N":
            return len(inner.lstrip("-")) // 2 + 2
        if kind == "BOOL":
            return 1
        if kind == "L":
            return 3 + sum(1 + value(one) for one in inner)
        assert kind == "M"
        return 3 + sum(1 + len(name.encode()) + value(one) for name, one in inner.items())

    return sum(len(name.encode()) + value(typed) for name, typed in wire.to_wire(item).items())


def test_a_record_of_a_typical_user_takes_one_write_unit() -> None:
    used = CREATED + timedelta(days=300)
    key = Key(True, CREATED, used, "us-east-1", "secretsmanager")
    user = User("firstname.lastname", "AIDACKCEVSQ6C2EXAMPLE", CREATED, "/engineering/platform/", CREATED,
                CREATED + timedelta(days=90), True, (key, key), groups=("developers", "operators"),
                attached=("arn:aws:iam::aws:policy/job-function/ViewOnlyAccess",))  # fmt: skip
    account = Account((user,), (user,), {"developers": Group(), "operators": Group()})
    known = read(account, Style(), [1000], encoded=False, tags=frozenset())
    listed = {**user.listed, "password_last_used": iso(used)}

    record = record_of(
        listed, scan_timestamp=TIMESTAMP, account_id=ACCOUNT, listed_at=STARTED, ttl=TTL, posture=known.of(listed)
    )

    others = {attribute.name for attribute in ATTRIBUTES} - record.keys()
    assert others == {"permissions_boundary", "tags", *(name for name in COLUMNS if name.startswith("cert_"))}
    assert size_of(record) <= 1024


# The wire


@given(
    st.recursive(
        st.text(max_size=5) | st.booleans() | st.integers(-(10**30), 10**30) | st.none() | st.binary(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
)
def test_property_what_is_written_is_what_is_read(value: Any) -> None:
    assert wire.from_wire(wire.to_wire({"a": value})) == {"a": value}


def test_numbers_inside_lists_are_plain_numbers() -> None:
    plain = wire.from_wire({"a": {"L": [{"N": "1"}, {"M": {"b": {"N": "1.5"}}}]}})
    assert json.dumps(plain) == '{"a": [1, {"b": 1.5}]}'


def test_a_set_stays_a_set() -> None:
    assert wire.from_wire(wire.to_wire({"a": {1, 2}})) == {"a": {1, 2}}
