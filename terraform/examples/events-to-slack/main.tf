# The changes in a Slack channel, each as one message, by Amazon Q Developer in chat applications (formerly AWS Chatbot), and
# without code. It shows events of AWS services, and of others only what comes in its schema for custom notifications: the
# input transformer below puts the events into that. A change that does not is dropped in silence, which is why the topic
# of change_email, with its plain sentences, is of no use here.
#
# Somebody must once have authorized the Slack workspace in its console, which gives the workspace's ID.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # The module excludes the versions that do not work with it.
      version = ">= 5.67, < 7.0"
    }
  }
}

provider "aws" {
  region = "eu-west-1"
}

module "iam_user_monitor" {
  source = "../.."

  lambda_package_path = "${path.module}/../../../build/iam_user_monitor.zip"
}

locals {
  name = "iam-user-monitor-slack"
  # "default" for the default bus.
  event_bus = element(split("/", module.iam_user_monitor.event_bus_arn), -1)
}

resource "aws_cloudwatch_event_rule" "slack" {
  name           = local.name
  description    = "Brings the changes of IAM users into a Slack channel"
  event_bus_name = local.event_bus

  event_pattern = jsonencode({
    source = ["iam-user-monitor"]
    # Every announced scan ends with one of these, which is no news to people.
    "detail-type" = [{ "anything-but" = ["IAM User Scan Completed"] }]
    # Of this deployment only: the execution's ARN is that of the state machine, with another type and a name behind.
    detail = {
      execution_arn = [{ prefix = "${replace(module.iam_user_monitor.state_machine_arn, ":stateMachine:", ":execution:")}:" }]
    }
  })
}

resource "aws_cloudwatch_event_target" "slack" {
  rule           = aws_cloudwatch_event_rule.slack.name
  event_bus_name = local.event_bus
  target_id      = "topic"
  arn            = aws_sns_topic.slack.arn

  # The placeholders stand without quotation marks: EventBridge puts them around a text, and escapes what is in it. And
  # there is no textType: as Markdown, a user name with underscores would be in italics.
  input_transformer {
    input_paths = {
      id      = "$.detail.id"
      summary = "$.detail.summary"
      type    = "$.detail-type"
    }
    input_template = <<-JSON
      {"version": "1.0", "source": "custom", "id": <id>, "content": {"title": <type>, "description": <summary>}}
    JSON
  }

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.slack_dead_letters.arn
  }

  depends_on = [aws_sns_topic_policy.slack]
}

resource "aws_sns_topic" "slack" {
  #checkov:skip=CKV_AWS_26:EventBridge cannot publish to a topic with the AWS-managed key, whose policy does not admit it
  name = local.name
}

data "aws_iam_policy_document" "topic" {
  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.slack.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.slack.arn]
    }
  }
}

resource "aws_sns_topic_policy" "slack" {
  arn    = aws_sns_topic.slack.arn
  policy = data.aws_iam_policy_document.topic.json
}

# Where a change ends that the topic did not take. Watch its ApproximateNumberOfMessagesVisible.
resource "aws_sqs_queue" "slack_dead_letters" {
  name                      = "${local.name}-dead-letters"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

data "aws_iam_policy_document" "dead_letters" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.slack_dead_letters.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.slack.arn]
    }
  }
}

resource "aws_sqs_queue_policy" "slack_dead_letters" {
  queue_url = aws_sqs_queue.slack_dead_letters.url
  policy    = data.aws_iam_policy_document.dead_letters.json
}

# The messages need no permission, and the channel can do nothing else.
data "aws_partition" "current" {}

resource "aws_chatbot_slack_channel_configuration" "changes" {
  configuration_name    = local.name
  slack_team_id         = var.slack_workspace_id
  slack_channel_id      = var.slack_channel_id
  sns_topic_arns        = [aws_sns_topic.slack.arn]
  iam_role_arn          = aws_iam_role.chat.arn
  guardrail_policy_arns = ["arn:${data.aws_partition.current.partition}:iam::aws:policy/AWSDenyAll"]
  logging_level         = "ERROR"
}

data "aws_iam_policy_document" "chat_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["chatbot.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "chat" {
  name               = local.name
  assume_role_policy = data.aws_iam_policy_document.chat_trust.json
}

variable "slack_workspace_id" {
  description = "ID of the Slack workspace, as the console of Amazon Q Developer in chat applications shows it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9A-Z]{1,255}$", var.slack_workspace_id))
    error_message = "slack_workspace_id must be letters and digits such as T07EA123LEP, got \"${var.slack_workspace_id}\"."
  }
}

variable "slack_channel_id" {
  description = "ID of the Slack channel: the end of its link."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9A-Z]{1,255}$", var.slack_channel_id))
    error_message = "slack_channel_id must be letters and digits such as C07EZ1ABC23, got \"${var.slack_channel_id}\"."
  }
}
