# The alarms in a Slack channel, by Amazon Q Developer in chat applications (formerly AWS Chatbot). Somebody must once have
# authorized the Slack workspace in its console, which gives the workspace's ID.

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

resource "aws_chatbot_slack_channel_configuration" "alarms" {
  configuration_name    = "iam-user-monitor"
  slack_team_id         = var.slack_workspace_id
  slack_channel_id      = var.slack_channel_id
  sns_topic_arns        = [module.iam_user_monitor.alarm_topic_arn]
  iam_role_arn          = aws_iam_role.chat.arn
  guardrail_policy_arns = [aws_iam_policy.metrics.arn]
  logging_level         = "ERROR"
}

# An alarm comes with a graph of its metrics, and the channel can do nothing else.
data "aws_iam_policy_document" "metrics" {
  #checkov:skip=CKV_AWS_356:CloudWatch knows no resource for reading metrics
  statement {
    actions = ["cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData", "cloudwatch:GetMetricStatistics", "cloudwatch:ListMetrics"]
    # CloudWatch knows no resource for reading metrics.
    resources = ["*"]
  }
}

resource "aws_iam_policy" "metrics" {
  name   = "iam-user-monitor-chat"
  policy = data.aws_iam_policy_document.metrics.json
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
  name               = "iam-user-monitor-chat"
  assume_role_policy = data.aws_iam_policy_document.chat_trust.json
}

resource "aws_iam_role_policy_attachment" "chat" {
  role       = aws_iam_role.chat.name
  policy_arn = aws_iam_policy.metrics.arn
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
