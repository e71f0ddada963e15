"""The configuration as a module: nothing of its own is in the way, and its examples work."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from tests.support.provider import resident
from tests.terraform.plans import Planned, Planner

CONFIGURATION = REPOSITORY / "terraform"
TEXT = "\n".join(file.read_text() for file in sorted(CONFIGURATION.glob("*.tf")))
EXAMPLES = (
    "alarms-to-slack",
    "central-bus",
    "events-to-slack",
    "existing-key",
    "member-roles",
    "minimal",
    "organization",
)


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planner]:
    planner = Planner(tmp_path_factory.mktemp("module"))
    with resident(planner.terraform):
        yield planner


def of_type(planned: list[Planned], kind: str) -> list[Planned]:
    return [one for one in planned if one.type == kind]


def test_it_leaves_provider_and_backend_to_who_uses_it() -> None:
    """A module with a provider of its own takes no for_each, no depends_on, and cannot be removed."""
    assert re.findall(r'^\s*(provider|backend)\b.*"', TEXT, re.MULTILINE) == []


def test_it_reaches_out_of_its_folder_for_the_definition_and_the_package_only() -> None:
    outside = re.findall(r"path\.(?:module|root|cwd)\}/\.\./([a-z_]+)/", TEXT)

    assert sorted(set(outside)) == ["build", "statemachine"]
    assert len(re.findall(r"\.\./", TEXT)) == len(outside)


def test_everything_that_can_have_tags_has_them(planner: Planner) -> None:
    address = "team@example.com"
    variables = {
        "kms_key": "create",
        "alarm_email": address,
        "change_email": address,
        "organization_enabled": True,
        "member_external_id": "the-monitor",
        "tags": {"Team": "security"},
    }

    planned = planner.plan(variables=variables)

    blocks = {f"{kind}.{name}" for kind, name in re.findall(r'^resource "(\w+)" "(\w+)"', TEXT, re.MULTILINE)}
    assert {one.address.partition("[")[0] for one in planned} == blocks, "this plan must have everything"
    taggable = [one for one in planned if "tags" in one.values]
    assert len(taggable) > 20
    wanted = {"Application": "iam-user-monitor", "Team": "security"}
    assert [one.address for one in taggable if one.values["tags"] != wanted] == []


def test_an_organization_comes_on_top_of_what_is_there(planner: Planner) -> None:
    """Terraform would delete and create again what has another address, the table with its records, too."""
    variables = {"organization_enabled": True, "member_external_id": "the-monitor"}

    without, on_top = ({one.address: one.type for one in planner.plan(variables=one)} for one in ({}, variables))

    assert {address: kind for address, kind in on_top.items() if address in without} == without
    more = {address.partition("[")[0] for address in on_top.keys() - without.keys()}
    assert more == {
        "aws_cloudwatch_log_group.organization",
        "aws_cloudwatch_log_group.step",
        "aws_cloudwatch_metric_alarm.all",
        "aws_cloudwatch_query_definition.all",
        "aws_iam_role.organization",
        "aws_iam_role.step",
        "aws_iam_role_policy.organization",
        "aws_iam_role_policy.step",
        "aws_lambda_function.step",
        "aws_sfn_state_machine.organization",
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid(planner: Planner, name: str) -> None:
    result = json.loads(planner.run(planner.example(name), "validate", "-json").stdout)

    unexpected = [one for one in result["diagnostics"] if "hash_key is deprecated" not in json.dumps(one)]
    assert unexpected == []


def test_every_example_is_tried_and_told_of() -> None:
    assert {folder.name for folder in (CONFIGURATION / "examples").iterdir()} == set(EXAMPLES)
    readme = (CONFIGURATION / "README.md").read_text()
    assert [name for name in EXAMPLES if f"`examples/{name}`" not in readme] == []


def test_the_minimal_example_deploys_the_whole_module_for_one_account_and_one_address(planner: Planner) -> None:
    folder = planner.example("minimal")
    planned = planner.plan(folder, {"account_id": "123456789012", "alarm_email": "team@example.com"})

    blocks = {f"{kind}.{name}" for kind, name in re.findall(r'^resource "(\w+)" "(\w+)"', TEXT, re.MULTILINE)}
    # But for what nobody asked for: a key, to be told the changes, and an organization.
    asked_for = re.findall(r'^resource "(\w+)" "(\w+)"', (CONFIGURATION / "changes.tf").read_text(), re.MULTILINE)
    least = blocks - {"aws_kms_key.all", "aws_kms_alias.all"} - {f"{kind}.{name}" for kind, name in asked_for}
    least -= {block for block in blocks if block.endswith(".organization")}
    addresses = {one.address.removeprefix("module.iam_user_monitor.").partition("[")[0] for one in planned}
    assert addresses == least
    assert [one.values["endpoint"] for one in of_type(planned, "aws_sns_topic_subscription")] == ["team@example.com"]

    other = planner.run(
        folder, "test", "-no-color", "-var=account_id=210987654321", "-var=alarm_email=team@example.com"
    )

    assert other.returncode == 1
    said = re.sub(r"\s+", " ", re.sub("[│╷╵]", "", other.stdout + other.stderr))
    assert "The credentials are of account 123456789012, but allowed_account_id is 210987654321" in said


def test_the_existing_key_is_used_only_once_its_policy_allows_it(planner: Planner) -> None:
    folder = planner.example("existing-key")

    def keys(*, in_use: bool) -> set[str | None]:
        planned = planner.plan(folder, {"key_in_use": in_use})
        assert of_type(planned, "aws_kms_key") == []
        return {one.values["kms_key_arn"] for one in of_type(planned, "aws_lambda_function")}

    assert keys(in_use=False) == {None}
    assert keys(in_use=True) == {"arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"}


def test_the_slack_example_subscribes_the_channel_and_gives_it_no_more_than_metrics(planner: Planner) -> None:
    folder = planner.example("alarms-to-slack")
    planned = planner.plan(folder, {"slack_workspace_id": "T07EA123LEP", "slack_channel_id": "C07EZ1ABC23"})

    (channel,) = of_type(planned, "aws_chatbot_slack_channel_configuration")
    assert channel.values["slack_channel_id"] == "C07EZ1ABC23"
    assert len(of_type(planned, "aws_sns_topic")) == 1
    text = Path(CONFIGURATION / "examples" / "alarms-to-slack" / "main.tf").read_text()
    assert "sns_topic_arns        = [module.iam_user_monitor.alarm_topic_arn]" in text
    assert set(re.findall(r'"(\w+:[A-Z]\w+)"', text)) == {
        "sts:AssumeRole",
        "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricData",
        "cloudwatch:GetMetricStatistics",
        "cloudwatch:ListMetrics",
    }


def test_the_slack_example_of_events_sends_what_the_chat_shows_and_loses_nothing(planner: Planner) -> None:
    """Amazon Q Developer drops in silence what is not in its schema for custom notifications."""
    folder = planner.example("events-to-slack")
    planned = planner.plan(folder, {"slack_workspace_id": "T07EA123LEP", "slack_channel_id": "C07EZ1ABC23"})

    (target,) = [one for one in of_type(planned, "aws_cloudwatch_event_target") if one.values["target_id"] == "topic"]
    (transformer,) = target.values["input_transformer"]
    values = {"id": "4f2c", "summary": 'carol, path "/a/", was created', "type": "IAM User Created"}
    assert {name: path.rpartition(".")[2] for name, path in transformer["input_paths"].items()} == {
        "id": "id",
        "summary": "summary",
        "type": "detail-type",
    }
    # As EventBridge does: a placeholder outside of quotation marks becomes JSON.
    message = json.loads(re.sub("<(\\w+)>", lambda match: json.dumps(values[match[1]]), transformer["input_template"]))
    assert message == {
        "version": "1.0",
        "source": "custom",
        "id": "4f2c",
        "content": {"title": "IAM User Created", "description": 'carol, path "/a/", was created'},
    }
    assert len(target.values["dead_letter_config"]) == 1
    (channel,) = of_type(planned, "aws_chatbot_slack_channel_configuration")
    assert channel.values["guardrail_policy_arns"] == ["arn:aws:iam::aws:policy/AWSDenyAll"]


def test_the_events_reach_a_bus_of_another_account_by_a_role_that_can_do_nothing_else(planner: Planner) -> None:
    folder = planner.example("central-bus")
    planned = planner.plan(folder, {"security_role_arn": "arn:aws:iam::210987654321:role/deployer"})

    (bus,) = of_type(planned, "aws_cloudwatch_event_bus")
    assert bus.values["name"] == "iam-user-changes"
    assert len(of_type(planned, "aws_cloudwatch_event_bus_policy")) == 1
    (target,) = [one for one in of_type(planned, "aws_cloudwatch_event_target") if one.values["target_id"] == "bus"]
    assert len(target.values["dead_letter_config"]) == 1
    text = (folder / "main.tf").read_text()
    assert set(re.findall(r'"(\w+:[A-Z]\w+)"', text)) == {
        "sts:AssumeRole",
        "events:PutEvents",
        "sqs:SendMessage",
        "aws:SourceArn",
        "aws:PrincipalArn",
    }
    assert text.count('variable = "events:source"') == 1


def test_the_organization_is_scanned_from_a_delegated_administrator_by_a_role_in_every_account(
    planner: Planner,
) -> None:
    folder = planner.example("organization")
    planned = planner.plan(
        folder,
        {
            "account_id": "123456789012",
            "management_role_arn": "arn:aws:iam::210987654321:role/deployer",
            "external_id": "the-monitor",
            "alarm_email": "team@example.com",
        },
    )

    (administrator,) = of_type(planned, "aws_organizations_delegated_administrator")
    assert administrator.values["account_id"] == "123456789012"
    machines = {one.values["name"] for one in of_type(planned, "aws_sfn_state_machine")}
    assert machines == {"iam-user-monitor", "iam-user-monitor-organization"}
    # All accounts by the StackSet, which that account rolls out, and the one that it does not reach by the module.
    (stack_set,) = of_type(planned, "aws_cloudformation_stack_set")
    (instance,) = of_type(planned, "aws_cloudformation_stack_set_instance")
    assert stack_set.values["call_as"] == instance.values["call_as"] == "DELEGATED_ADMIN"
    assert stack_set.values["auto_deployment"] == [{"enabled": True, "retain_stacks_on_account_removal": False}]
    roles = [one for one in planned if one.address.endswith("aws_iam_role.member")]
    assert [one.values["name"] for one in roles] == ["iam-user-monitor-member"]
    # Their names are known only once they are made: what both are told is the deployment's own word.
    text = (folder / "main.tf").read_text()
    for name in ("role_name", "monitor_account_id", "monitor_role_arns", "external_id"):
        assert text.count(f"module.iam_user_monitor.member_role_trust.{name}") >= 2
