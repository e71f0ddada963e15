# What PublishChanges announces, told to people: each change as one sentence. Only where somebody is named, by change_email
# or change_topic_arn. Programs have rules of their own on the bus, and take the whole event.

locals {
  # "default" is one of this account, and so is any other name; an ARN says for itself whose it is.
  event_bus_arn     = startswith(var.event_bus_name, "arn:") ? var.event_bus_name : "arn:${local.partition}:events:${local.region}:${local.account_id}:event-bus/${var.event_bus_name}"
  event_bus         = element(split("/", local.event_bus_arn), -1)
  event_bus_account = split(":", local.event_bus_arn)[4]

  tell_changes        = var.change_events_enabled && (var.change_email != null || var.change_topic_arn != null)
  create_change_topic = local.tell_changes && var.change_topic_arn == null
  # Rules of the default bus have no bus in their ARN.
  changes_rule_arn     = "arn:${local.partition}:events:${local.region}:${local.account_id}:rule/${local.event_bus == "default" ? "" : "${local.event_bus}/"}${local.changes_name}"
  own_change_topic_arn = "arn:${local.partition}:sns:${local.region}:${local.account_id}:${local.changes_name}"
  change_topic_arn     = local.create_change_topic ? one(aws_sns_topic.changes[*].arn) : local.tell_changes ? var.change_topic_arn : null
}

resource "aws_cloudwatch_event_rule" "changes" {
  count = local.tell_changes ? 1 : 0

  name           = local.changes_name
  description    = "Tells the changes that ${var.name_prefix} announces"
  event_bus_name = local.event_bus

  event_pattern = jsonencode({
    source = [local.event_source]
    # Every scan that is announced ends with one of these: for programs, not for people.
    "detail-type" = [{ "anything-but" = ["IAM User Scan Completed"] }]
    # Of this deployment only: others may announce on the same bus.
    detail = { execution_arn = [for machine in values(local.machines) : { prefix = trimsuffix(machine.execution_arns, "*") }] }
  })

  tags = local.tags

  lifecycle {
    precondition {
      condition     = local.event_bus_account == local.account_id
      error_message = "change_email and change_topic_arn must not be set where event_bus_name is a bus of another account, got \"${var.event_bus_name}\" and \"${coalesce(var.change_email, var.change_topic_arn, "null")}\": a rule lives where its bus lives. Set them there, or announce on a bus of account ${local.account_id} and send the events on; see examples/central-bus."
    }

    precondition {
      condition     = var.change_topic_arn == null ? true : startswith(var.change_topic_arn, "arn:${local.partition}:sns:${local.region}:${local.account_id}:")
      error_message = "change_topic_arn must be a topic of account ${local.account_id} in ${local.region}, got \"${coalesce(var.change_topic_arn, "null")}\": EventBridge publishes to others only in the name of a role. Announce to a bus over there; see examples/central-bus."
    }
  }
}

resource "aws_cloudwatch_event_target" "changes" {
  count = local.tell_changes ? 1 : 0

  rule           = aws_cloudwatch_event_rule.changes[0].name
  event_bus_name = local.event_bus
  target_id      = "topic"
  arn            = local.change_topic_arn

  # EventBridge gives its targets JSON, so that a text has quotation marks around it, in a mail, too. There is no way
  # without them: a template that is no JSON is refused.
  input_transformer {
    input_paths    = { summary = "$.detail.summary" }
    input_template = "\"<summary>\""
  }

  # For as long as EventBridge can: what is told a day late is still to be told. After that it is among the dead letters.
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.changes_dead_letters[0].arn
  }

  depends_on = [aws_sns_topic_policy.changes]
}

# Where a change ends that the topic did not take. It holds the event, which names users.
resource "aws_sqs_queue" "changes_dead_letters" {
  count = local.tell_changes ? 1 : 0

  name                      = local.changes_dead_letters_name
  message_retention_seconds = 1209600 # 14 days, the longest
  sqs_managed_sse_enabled   = local.customer_key ? null : true
  kms_master_key_id         = local.kms_key_arn
  policy                    = data.aws_iam_policy_document.dead_letters["changes"].json
  tags                      = local.tags
}

resource "aws_sns_topic" "changes" {
  #checkov:skip=CKV_AWS_26:EventBridge cannot publish to a topic with the AWS-managed key, whose policy does not admit it; with kms_key the topic is encrypted
  count = local.create_change_topic ? 1 : 0

  name = local.changes_name
  # Not the key that AWS manages, alias/aws/sns: its policy does not admit EventBridge.
  kms_master_key_id = local.kms_key_arn
  tags              = local.tags
}

data "aws_iam_policy_document" "change_topic" {
  statement {
    sid       = "Changes"
    actions   = ["sns:Publish"]
    resources = [local.own_change_topic_arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.changes_rule_arn]
    }
  }
}

resource "aws_sns_topic_policy" "changes" {
  count = local.create_change_topic ? 1 : 0

  arn    = aws_sns_topic.changes[0].arn
  policy = data.aws_iam_policy_document.change_topic.json
}

resource "aws_sns_topic_subscription" "change_email" {
  count = local.create_change_topic ? 1 : 0

  topic_arn = aws_sns_topic.changes[0].arn
  protocol  = "email"
  endpoint  = var.change_email
}
