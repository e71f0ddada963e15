# Where an event ends that CleanUp could not be told of, or could not deal with: its run is then unrecorded, and its lock
# free only when the lease ends.
resource "aws_sqs_queue" "clean_up_dead_letters" {
  name                      = local.clean_up_dead_letters_name
  message_retention_seconds = 1209600 # 14 days, the longest; an execution can be redriven for as long
  sqs_managed_sse_enabled   = true
  policy                    = data.aws_iam_policy_document.clean_up_dead_letters.json
}

data "aws_iam_policy_document" "clean_up_dead_letters" {
  statement {
    sid       = "EventBridge"
    actions   = ["sqs:SendMessage"]
    resources = [local.clean_up_dead_letters_arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.clean_up_rule_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }
}
