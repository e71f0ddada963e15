# The changes of this account on an event bus in the account of the security team: a rule and a role here, a bus and its
# policy there. Rules over there then hear of every account, and tell them apart by detail.account_id.
#
# Both sides stand here, because they must name each other. Where they are two configurations, each takes its half: what is
# of provider aws.security belongs to the other. With more accounts, `accounts` names them all, and the first half is
# applied in each.

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

provider "aws" {
  alias  = "security"
  region = "eu-west-1"

  assume_role {
    role_arn = var.security_role_arn
  }
}

locals {
  name = "iam-user-monitor-to-security"
}

# This account

module "iam_user_monitor" {
  source = "../.."

  lambda_package_path = "${path.module}/../../../build/iam_user_monitor.zip"
}

data "aws_caller_identity" "current" {}

resource "aws_cloudwatch_event_rule" "security" {
  name        = local.name
  description = "Sends the changes of IAM users to the security team's account"

  # All types, "IAM User Scan Completed" as well: whoever counts on hearing of every scan must hear of those without change.
  event_pattern = jsonencode({ source = ["iam-user-monitor"] })
}

resource "aws_cloudwatch_event_target" "security" {
  rule      = aws_cloudwatch_event_rule.security.name
  target_id = "bus"
  arn       = aws_cloudwatch_event_bus.security.arn
  role_arn  = aws_iam_role.security.arn

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }

  depends_on = [aws_iam_role_policy.security, aws_cloudwatch_event_bus_policy.security]
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.security.arn]
    }
  }
}

resource "aws_iam_role" "security" {
  name               = local.name
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "send" {
  statement {
    actions   = ["events:PutEvents"]
    resources = [aws_cloudwatch_event_bus.security.arn]
  }
}

resource "aws_iam_role_policy" "security" {
  name   = "send"
  role   = aws_iam_role.security.id
  policy = data.aws_iam_policy_document.send.json
}

# Where a change ends that the other account did not take. Watch its ApproximateNumberOfMessagesVisible.
resource "aws_sqs_queue" "dead_letters" {
  name                      = "${local.name}-dead-letters"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

data "aws_iam_policy_document" "dead_letters" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.security.arn]
    }
  }
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.url
  policy    = data.aws_iam_policy_document.dead_letters.json
}

# The security team's account

resource "aws_cloudwatch_event_bus" "security" {
  provider = aws.security

  name = "iam-user-changes"
}

data "aws_iam_policy_document" "bus" {
  provider = aws.security

  # These accounts' roles of this name, and this product's events: nothing else gets in.
  statement {
    sid       = "IamUserMonitor"
    actions   = ["events:PutEvents"]
    resources = [aws_cloudwatch_event_bus.security.arn]

    principals {
      type        = "AWS"
      identifiers = local.accounts
    }

    condition {
      test     = "ArnLike"
      variable = "aws:PrincipalArn"
      values   = [for account in local.accounts : "arn:${data.aws_partition.current.partition}:iam::${account}:role/${local.name}"]
    }

    condition {
      test     = "StringEquals"
      variable = "events:source"
      values   = ["iam-user-monitor"]
    }
  }
}

resource "aws_cloudwatch_event_bus_policy" "security" {
  provider = aws.security

  event_bus_name = aws_cloudwatch_event_bus.security.name
  policy         = data.aws_iam_policy_document.bus.json
}

data "aws_partition" "current" {}

locals {
  accounts = distinct(concat([data.aws_caller_identity.current.account_id], var.accounts))
}

variable "security_role_arn" {
  description = "ARN of a role in the security team's account that may make the bus and its policy."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", var.security_role_arn))
    error_message = "security_role_arn must be the ARN of a role such as arn:aws:iam::210987654321:role/deployer, got \"${var.security_role_arn}\"."
  }
}

variable "accounts" {
  description = "Other accounts that send their changes to the same bus."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for account in var.accounts : can(regex("^[0-9]{12}$", account))])
    error_message = "accounts must be accounts' 12 digits, got ${join(", ", [for account in var.accounts : "\"${account}\""])}."
  }
}

output "event_bus_arn" {
  description = "ARN of the bus in the security team's account, for its rules."
  value       = aws_cloudwatch_event_bus.security.arn
}
