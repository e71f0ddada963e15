output "state_machine_arn" {
  description = "ARN of the state machine, to start a scan by hand."
  value       = aws_sfn_state_machine.scan.arn
}

output "state_machine_name" {
  description = "Name of the state machine."
  value       = aws_sfn_state_machine.scan.name
}

output "organization_state_machine_arn" {
  description = "ARN of the state machine that scans every account, to start it by hand; null without organization_enabled."
  value       = one(aws_sfn_state_machine.organization[*].arn)
}

output "dynamodb_table_name" {
  description = "Name of the table of records."
  value       = aws_dynamodb_table.records.name
}

output "dynamodb_table_arn" {
  description = "ARN of the table of records, for the policies of its readers."
  value       = aws_dynamodb_table.records.arn
}

output "scan_index_name" {
  description = "Name of the index that finds all users of one scan_timestamp."
  value       = local.scan_index_name
}

output "lambda_function_names" {
  description = "Name of the function of each step."
  value       = { for step, function in aws_lambda_function.step : step => function.function_name }
}

output "event_rule_name" {
  description = "Name of the EventBridge rule that starts scans on schedule."
  value       = aws_cloudwatch_event_rule.schedule.name
}

output "log_group_names" {
  description = "Name of the log group of each step, and of the state machines."
  value = merge(
    { for step, group in aws_cloudwatch_log_group.step : step => group.name },
    { state_machine = aws_cloudwatch_log_group.state_machine.name },
    { for group in aws_cloudwatch_log_group.organization : "organization_state_machine" => group.name },
  )
}

output "metric_namespace" {
  description = "CloudWatch namespace of the scan's metrics."
  value       = local.metric_namespace
}

output "aws_region" {
  description = "Region of the deployment."
  value       = local.region
}

output "account_id" {
  description = "Account of the deployment, whose users are recorded."
  value       = local.account_id
}

output "member_role_trust" {
  description = "What the role of a member account has to trust: the roles that look into it, the external id that they show, and its own name; null without organization_enabled."
  value = var.organization_enabled ? {
    role_name          = var.member_role_name
    external_id        = var.member_external_id
    monitor_account_id = local.account_id
    monitor_role_arns  = [for step, allowed in local.steps : aws_iam_role.step[step].arn if length(try(allowed.member_actions, [])) > 0]
  } : null
}

output "clean_up_dead_letter_queue_url" {
  description = "URL of the queue with events that CleanUp could not deal with."
  value       = aws_sqs_queue.clean_up_dead_letters.url
}

output "schedule_dead_letter_queue_url" {
  description = "URL of the queue with ticks of the schedule that started no scan."
  value       = aws_sqs_queue.schedule_dead_letters.url
}

output "change_dead_letter_queue_url" {
  description = "URL of the queue with changes that could not be told to the topic; null without one."
  value       = one(aws_sqs_queue.changes_dead_letters[*].url)
}

output "change_topic_arn" {
  description = "ARN of the SNS topic that changes go to, to subscribe to; null without one."
  value       = local.change_topic_arn
}

output "event_bus_arn" {
  description = "ARN of the event bus that changes are announced on, for rules of your own; null where none are."
  value       = var.change_events_enabled ? local.event_bus_arn : null
}

output "kms_key_arn" {
  description = "ARN of the customer-managed key; null where AWS's own keys encrypt."
  value       = local.kms_key_arn
}

output "kms_key_policy" {
  description = "Key policy that this deployment needs: that of a created key, and the pattern for an existing one."
  value       = data.aws_iam_policy_document.key.json
}

output "alarm_names" {
  description = "Names of the alarms, without the prefix, and in CloudWatch."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.all : name => alarm.alarm_name }
}

output "alarm_topic_arn" {
  description = "ARN of the SNS topic that alarms go to, to subscribe to; null without alarms."
  value       = var.alarms_enabled ? local.alarm_topic_arn : null
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard; null without one."
  value       = one(aws_cloudwatch_dashboard.scans[*].dashboard_name)
}

output "query_names" {
  description = "Names of the saved Logs Insights queries."
  value       = [for query in aws_cloudwatch_query_definition.all : query.name]
}
