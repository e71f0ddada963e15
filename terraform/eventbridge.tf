locals {
  # An organization's scan is one of this account, too.
  scheduled_machine = var.organization_enabled ? "organization" : "scan"
}

resource "aws_cloudwatch_event_rule" "schedule" {
  name                = local.schedule_name
  description         = var.organization_enabled ? "Starts the scan of the IAM users of the organization's accounts" : "Starts the scan of the account's IAM users"
  schedule_expression = var.monitoring_period
  state               = var.schedule_enabled ? "ENABLED" : "DISABLED"
  tags                = local.tags
}

resource "aws_cloudwatch_event_target" "schedule" {
  rule      = aws_cloudwatch_event_rule.schedule.name
  target_id = "scan"
  arn       = var.organization_enabled ? aws_sfn_state_machine.organization[0].arn : aws_sfn_state_machine.scan.arn
  role_arn  = aws_iam_role.schedule.arn
  input     = jsonencode({ trigger = "schedule" })

  # A scan that starts late is better than none; after an hour, the next one is usually due.
  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 20
  }

  dead_letter_config {
    arn = aws_sqs_queue.schedule_dead_letters.arn
  }

  depends_on = [aws_iam_role_policy.schedule]
}

# No Catch runs when an execution is stopped or reaches its time-out: CleanUp hears of it here. The event is best effort;
# the lease of the lock is the last resort.
resource "aws_cloudwatch_event_rule" "clean_up" {
  name        = local.clean_up_name
  description = "Tells CleanUp of scans that failed, were stopped or timed out"

  event_pattern = jsonencode({
    source        = ["aws.states"]
    "detail-type" = ["Step Functions Execution Status Change"]
    detail = {
      stateMachineArn = values(local.machines)[*].arn
      status          = ["ABORTED", "FAILED", "TIMED_OUT"]
    }
  })

  tags = local.tags
}

resource "aws_cloudwatch_event_target" "clean_up" {
  rule      = aws_cloudwatch_event_rule.clean_up.name
  target_id = "clean-up"
  arn       = aws_lambda_function.step["clean_up"].arn

  # After the longest lease there is no lock left to free, and the next scan has told its own story.
  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 20
  }

  dead_letter_config {
    arn = aws_sqs_queue.clean_up_dead_letters.arn
  }

  depends_on = [aws_lambda_permission.clean_up]
}

resource "aws_lambda_permission" "clean_up" {
  statement_id  = "EventBridge"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.step["clean_up"].function_name
  principal     = "events.amazonaws.com"
  # And no source_account, here and in the other policies that admit EventBridge: the rule's ARN names the account, and
  # some report that with aws:SourceAccount besides, events are silently not delivered.
  source_arn = aws_cloudwatch_event_rule.clean_up.arn
}
