resource "aws_cloudwatch_event_rule" "schedule" {
  name                = local.schedule_name
  description         = "Starts the scan of the account's IAM users"
  schedule_expression = var.monitoring_period
  state               = var.schedule_enabled ? "ENABLED" : "DISABLED"
}

resource "aws_cloudwatch_event_target" "schedule" {
  rule      = aws_cloudwatch_event_rule.schedule.name
  target_id = "scan"
  arn       = aws_sfn_state_machine.scan.arn
  role_arn  = aws_iam_role.schedule.arn
  input     = jsonencode({ trigger = "schedule" })

  # A scan that starts late is better than none; after an hour, the next one is usually due.
  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 20
  }

  depends_on = [aws_iam_role_policy.schedule]
}
