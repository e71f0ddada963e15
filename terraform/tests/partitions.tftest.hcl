# The same configuration in every partition of AWS: each ARN of the definition, the policies and the outputs names the
# partition that it is in. The real provider renders them, as in policies.tftest.hcl, and knows the partition by the region.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

provider "aws" {
  alias                       = "us_gov"
  region                      = "us-gov-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

provider "aws" {
  alias                       = "china"
  region                      = "cn-north-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

# Otherwise the provider would have AWS validate its definition.
override_resource {
  target = aws_sfn_state_machine.scan
}

override_resource {
  target = aws_sfn_state_machine.organization
}

variables {
  lambda_package_path  = "versions.tf"
  change_email         = "team@example.com"
  organization_enabled = true
  member_external_id   = "the-monitor"
}

run "in_the_standard_partition" {
  command = plan

  variables {
    kms_key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition     = toset(flatten(regexall("\"Resource\": *\"(arn:[a-z-]+):states:::[a-zA-Z0-9:.-]+\"", "${local.state_machine_definition}${local.organization_definition}"))) == toset(["arn:aws"])
    error_message = "A task of the definition names another partition: it would fail with States.Runtime, which nothing catches."
  }

  assert {
    condition = toset(flatten([
      for text in concat(
        [local.state_machine_definition, local.organization_definition, jsonencode(local.all_alarms), jsonencode(local.dashboard_widgets), output.kms_key_policy],
        values(data.aws_iam_policy_document.step)[*].json,
        values(data.aws_iam_policy_document.dead_letters)[*].json,
        values(data.aws_iam_policy_document.state_machine)[*].json,
        values(data.aws_iam_policy_document.state_machine_trust)[*].json,
        [for document in [
          data.aws_iam_policy_document.step_trust,
          data.aws_iam_policy_document.schedule,
          data.aws_iam_policy_document.schedule_trust,
          data.aws_iam_policy_document.alarm_topic,
          data.aws_iam_policy_document.change_topic,
        ] : document.json],
        aws_cloudwatch_event_rule.changes[*].event_pattern,
      ) : regexall("arn:[a-z-]*", text)
    ])) == toset(["arn:aws"])
    error_message = "An ARN names another partition."
  }

  assert {
    condition     = length(regexall("\"logs.eu-west-1.amazonaws.com\"", output.kms_key_policy)) == 1
    error_message = "CloudWatch Logs has another name in this partition."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.kms_key_policy).Statement : statement.Condition.StringEquals["kms:ViaService"] if statement.Sid == "Table"
    ])) == toset(["dynamodb.eu-west-1.amazonaws.com", "dynamodb.eu-west-1.amazonaws.com"])
    error_message = "The key must be usable through DynamoDB of this region."
  }
}

run "in_govcloud" {
  command = plan

  providers = {
    aws = aws.us_gov
  }

  variables {
    kms_key = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition     = toset(flatten(regexall("\"Resource\": *\"(arn:[a-z-]+):states:::[a-zA-Z0-9:.-]+\"", "${local.state_machine_definition}${local.organization_definition}"))) == toset(["arn:aws-us-gov"])
    error_message = "A task of the definition names another partition: it would fail with States.Runtime, which nothing catches."
  }

  assert {
    condition = toset(flatten([
      for text in concat(
        [local.state_machine_definition, local.organization_definition, jsonencode(local.all_alarms), jsonencode(local.dashboard_widgets), output.kms_key_policy],
        values(data.aws_iam_policy_document.step)[*].json,
        values(data.aws_iam_policy_document.dead_letters)[*].json,
        values(data.aws_iam_policy_document.state_machine)[*].json,
        values(data.aws_iam_policy_document.state_machine_trust)[*].json,
        [for document in [
          data.aws_iam_policy_document.step_trust,
          data.aws_iam_policy_document.schedule,
          data.aws_iam_policy_document.schedule_trust,
          data.aws_iam_policy_document.alarm_topic,
          data.aws_iam_policy_document.change_topic,
        ] : document.json],
        aws_cloudwatch_event_rule.changes[*].event_pattern,
      ) : regexall("arn:[a-z-]*", text)
    ])) == toset(["arn:aws-us-gov"])
    error_message = "An ARN names another partition."
  }

  assert {
    condition     = length(regexall("\"logs.us-gov-west-1.amazonaws.com\"", output.kms_key_policy)) == 1
    error_message = "CloudWatch Logs has another name in this partition."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.kms_key_policy).Statement : statement.Condition.StringEquals["kms:ViaService"] if statement.Sid == "Table"
    ])) == toset(["dynamodb.us-gov-west-1.amazonaws.com", "dynamodb.us-gov-west-1.amazonaws.com"])
    error_message = "The key must be usable through DynamoDB of this region."
  }
}

run "in_china" {
  command = plan

  providers = {
    aws = aws.china
  }

  variables {
    kms_key = "arn:aws-cn:kms:cn-north-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition     = toset(flatten(regexall("\"Resource\": *\"(arn:[a-z-]+):states:::[a-zA-Z0-9:.-]+\"", "${local.state_machine_definition}${local.organization_definition}"))) == toset(["arn:aws-cn"])
    error_message = "A task of the definition names another partition: it would fail with States.Runtime, which nothing catches."
  }

  assert {
    condition = toset(flatten([
      for text in concat(
        [local.state_machine_definition, local.organization_definition, jsonencode(local.all_alarms), jsonencode(local.dashboard_widgets), output.kms_key_policy],
        values(data.aws_iam_policy_document.step)[*].json,
        values(data.aws_iam_policy_document.dead_letters)[*].json,
        values(data.aws_iam_policy_document.state_machine)[*].json,
        values(data.aws_iam_policy_document.state_machine_trust)[*].json,
        [for document in [
          data.aws_iam_policy_document.step_trust,
          data.aws_iam_policy_document.schedule,
          data.aws_iam_policy_document.schedule_trust,
          data.aws_iam_policy_document.alarm_topic,
          data.aws_iam_policy_document.change_topic,
        ] : document.json],
        aws_cloudwatch_event_rule.changes[*].event_pattern,
      ) : regexall("arn:[a-z-]*", text)
    ])) == toset(["arn:aws-cn"])
    error_message = "An ARN names another partition."
  }

  assert {
    condition     = length(regexall("\"logs.cn-north-1.amazonaws.com.cn\"", output.kms_key_policy)) == 1
    error_message = "CloudWatch Logs has another name in this partition."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.kms_key_policy).Statement : statement.Condition.StringEquals["kms:ViaService"] if statement.Sid == "Table"
    ])) == toset(["dynamodb.cn-north-1.amazonaws.com", "dynamodb.cn-north-1.amazonaws.com.cn"])
    error_message = "The key must be usable through DynamoDB of this region."
  }
}
