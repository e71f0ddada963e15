# Where events end that EventBridge or Lambda gave up. The queues are empty unless something is wrong, and an alarm watches
# them. That of the changes is in changes.tf.

# Where an event ends that CleanUp could not be told of, or could not deal with: its run is then unrecorded, and its lock
# free only when the lease ends.
resource "aws_sqs_queue" "clean_up_dead_letters" {
  name                      = local.clean_up_dead_letters_name
  message_retention_seconds = 1209600 # 14 days, the longest; an execution can be redriven for as long
  sqs_managed_sse_enabled   = local.customer_key ? null : true
  kms_master_key_id         = local.kms_key_arn
  policy                    = data.aws_iam_policy_document.dead_letters["clean_up"].json
  tags                      = local.tags
}

# Where a tick of the schedule ends that could not start a scan.
resource "aws_sqs_queue" "schedule_dead_letters" {
  name                      = local.schedule_dead_letters_name
  message_retention_seconds = 1209600 # 14 days, the longest
  sqs_managed_sse_enabled   = local.customer_key ? null : true
  kms_master_key_id         = local.kms_key_arn
  policy                    = data.aws_iam_policy_document.dead_letters["schedule"].json
  tags                      = local.tags
}

data "aws_iam_policy_document" "dead_letters" {
  for_each = {
    changes  = { queue_arn = local.changes_dead_letters_arn, rule_arn = local.changes_rule_arn }
    clean_up = { queue_arn = local.clean_up_dead_letters_arn, rule_arn = local.clean_up_rule_arn }
    schedule = { queue_arn = local.schedule_dead_letters_arn, rule_arn = local.schedule_rule_arn }
  }

  statement {
    sid       = "EventBridge"
    actions   = ["sqs:SendMessage"]
    resources = [each.value.queue_arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [each.value.rule_arn]
    }
  }
}
