# What tells of the scans: alarms, the dashboard and the saved queries; each of them on and off, and in step with the code.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_service" {
    defaults = { region = "eu-west-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  lambda_package_path = "versions.tf"
  alarm_topic_arn     = "arn:aws:sns:eu-west-1:123456789012:on-call"
}

run "alarms_watch_metrics_that_exist" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for alarm in local.alarms : [
        for metric in alarm.metrics : strcontains(join("", [for file in fileset("../functions", "**/*.py") : file("../functions/${file}")]), "add_metric(\"${metric.name}\"") && length(metric.dimensions) == 0
        if metric.namespace == "IAMUserMonitor"
      ]
    ]))
    error_message = "An alarm watches a metric that the functions do not emit, or a dimension that they do not set."
  }

  assert {
    condition     = strcontains(file("../functions/shared/metrics.py"), "NAMESPACE = \"${local.metric_namespace}\"")
    error_message = "The namespace is not that of the functions."
  }

  assert {
    condition = jsonencode({
      for name, alarm in local.alarms : name => sort([for metric in alarm.metrics : join(" ", concat([metric.namespace, metric.name], [for key in sort(keys(metric.dimensions)) : metric.dimensions[key]]))])
      }) == jsonencode({
      scan-failed = [
        "AWS/States ExecutionsAborted arn:aws:states:eu-west-1:123456789012:stateMachine:iam-user-monitor",
        "AWS/States ExecutionsFailed arn:aws:states:eu-west-1:123456789012:stateMachine:iam-user-monitor",
        "AWS/States ExecutionsTimedOut arn:aws:states:eu-west-1:123456789012:stateMachine:iam-user-monitor",
      ]
      records-missing  = ["IAMUserMonitor Errors"]
      no-success       = ["IAMUserMonitor Success"]
      scan-slow        = ["IAMUserMonitor Duration"]
      schedule-failing = ["AWS/Events FailedInvocations iam-user-monitor-schedule"]
      clean-up-failing = [
        "AWS/Events FailedInvocations iam-user-monitor-clean-up",
        "AWS/Lambda Errors iam-user-monitor-clean-up",
      ]
      dead-letters = [
        "AWS/SQS ApproximateNumberOfMessagesVisible iam-user-monitor-clean-up-dead-letters",
        "AWS/SQS ApproximateNumberOfMessagesVisible iam-user-monitor-schedule-dead-letters",
      ]
      posture-failing = ["AWS/Lambda Errors iam-user-monitor-read-posture"]
      changes-failing = ["AWS/Lambda Errors iam-user-monitor-publish-changes"]
      table-throttled = ["AWS/DynamoDB WriteThrottleEvents scan-timestamp-index iam-user-records"]
    })
    error_message = "The alarms watch other metrics than expected."
  }

  assert {
    condition = alltrue([
      for name, alarm in aws_cloudwatch_metric_alarm.all : toset(flatten([
        for query in alarm.metric_query : regexall("FILL\\((\\w+), 0\\)", query.expression) if query.expression != null
      ])) == toset(keys(local.alarms[name].metrics)) && alarm.metric_name == null
    ])
    error_message = "An alarm must watch the sum of exactly its metrics, each filled where it is missing."
  }
}

run "alarms_keep_to_their_budget" {
  command = plan

  assert {
    condition     = length(flatten([for alarm in local.alarms : keys(alarm.metrics)])) <= 14
    error_message = "The alarms watch more than 14 metrics."
  }

  # In cents: an alarm metric costs 10 a month, a metric of the scans 30, and hourly scans of 100 users stay below 40.
  assert {
    condition = (
      10 * length(flatten([for alarm in local.alarms : keys(alarm.metrics)]))
      + 30 * length(local.scan_metrics) + 40
    ) <= 330
    error_message = "The alarms watch more metrics than $3.30 a month allow."
  }

  assert {
    condition     = strcontains(file("variables.tf"), "their ${length(flatten([for alarm in local.alarms : keys(alarm.metrics)]))} metrics")
    error_message = "The description of alarms_enabled tells another number of metrics."
  }

  assert {
    condition     = length(flatten([for widget in local.dashboard_widgets : widget.metrics[*][0]])) <= 50
    error_message = "With more than 50 metrics, CloudWatch does not count the dashboard among the free ones."
  }
}

run "alarms_tell_what_to_do_and_somebody" {
  command = plan

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.all : length(alarm.alarm_description) > 200 && length(alarm.alarm_description) <= 1024])
    error_message = "A description is too short to help, or longer than CloudWatch takes."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.all : alarm.alarm_actions == toset([var.alarm_topic_arn]) && alarm.ok_actions == toset([var.alarm_topic_arn])])
    error_message = "An alarm must tell the topic when it begins and when it ends."
  }

  assert {
    condition     = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.all : alarm.treat_missing_data == (name == "no-success" ? "breaching" : "notBreaching")])
    error_message = "Only missing success is an alarm when there are no data."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.all["scan-slow"].threshold == 1440000
    error_message = "A scan is slow at 80 % of the machine's time-out, in milliseconds."
  }

  assert {
    condition     = length(aws_sns_topic.alarms) == 0 && output.alarm_topic_arn == var.alarm_topic_arn
    error_message = "With an existing topic none may be created."
  }

  assert {
    condition = alltrue([
      for alarm in local.all_alarms : alarm.period * alarm.evaluation_periods <= (alarm.period < 3600 ? 86400 : 604800)
    ])
    error_message = "An alarm looks back further than CloudWatch does."
  }
}

run "changes_that_are_told_cost_one_metric_more" {
  command = plan

  variables {
    change_topic_arn = "arn:aws:sns:eu-west-1:123456789012:changes"
  }

  assert {
    condition     = contains(values(local.all_alarms.dead-letters.metrics)[*].dimensions.QueueName, "iam-user-monitor-changes-dead-letters") && strcontains(file("variables.tf"), "and ${length(flatten([for alarm in local.alarms : keys(alarm.metrics)]))} with change_email")
    error_message = "The dead letters of the changes must be watched, and the description of alarms_enabled tell the number of metrics."
  }

  assert {
    condition     = strcontains(one(aws_cloudwatch_dashboard.scans).dashboard_body, "iam-user-monitor-changes-dead-letters")
    error_message = "The dashboard must show the dead letters of the changes."
  }

  assert {
    condition     = length(aws_sns_topic.changes) + length(aws_sns_topic_policy.changes) + length(aws_sns_topic_subscription.change_email) == 0 && output.change_topic_arn == var.change_topic_arn && one(aws_cloudwatch_event_target.changes).arn == var.change_topic_arn
    error_message = "With an existing topic none may be created."
  }
}

run "an_organization_has_an_alarm_of_its_own_and_one_that_knows_it" {
  command = plan

  variables {
    organization_enabled = true
    member_external_id   = "the-monitor"
    member_role_name     = "reader"
  }

  assert {
    condition = jsonencode({
      for name in ["organization-failed", "no-success", "scan-failed"] : name => [for metric in local.alarms[name].metrics : join(" ", concat([metric.name], values(metric.dimensions)))]
      }) == jsonencode({
      organization-failed = [for name in ["ExecutionsAborted", "ExecutionsFailed", "ExecutionsTimedOut"] : "${name} arn:aws:states:eu-west-1:123456789012:stateMachine:iam-user-monitor-organization"]
      no-success          = ["AccountsScanned"]
      scan-failed         = [for name in ["ExecutionsAborted", "ExecutionsFailed", "ExecutionsTimedOut"] : "${name} arn:aws:states:eu-west-1:123456789012:stateMachine:iam-user-monitor"]
    })
    error_message = "Failed runs over the organization, failed scans of an account, and that nothing is scanned at all are three things."
  }

  assert {
    condition     = alltrue([for name in local.organization_metrics : strcontains(join("", [for file in fileset("../functions", "**/*.py") : file("../functions/${file}")]), "add_metric(\"${name}\"")])
    error_message = "A metric of the organization is not emitted."
  }

  assert {
    condition     = strcontains(file("variables.tf"), "with organization_enabled, for ${length(flatten([for alarm in local.alarms : keys(alarm.metrics)])) - 14} more.")
    error_message = "The description of alarms_enabled tells another number of metrics."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.all : length(alarm.alarm_description) > 200 && length(alarm.alarm_description) <= 1024])
    error_message = "A description is too short to help, or longer than CloudWatch takes."
  }

  assert {
    condition     = alltrue([for text in ["iam-user-monitor-organization", "only the accounts that are not complete are scanned again", "reader", "excluded_accounts"] : strcontains(aws_cloudwatch_metric_alarm.all["organization-failed"].alarm_description, text)]) && contains(output.query_names, "iam-user-monitor/accounts") && strcontains(aws_cloudwatch_metric_alarm.all["organization-failed"].alarm_description, "iam-user-monitor/accounts")
    error_message = "The alarm must say which machine it is, what a redrive does, and what to do about an account without the role."
  }

  # Two hours and the longest run, which is three hours; and the newest has only begun.
  assert {
    condition     = aws_cloudwatch_metric_alarm.all["no-success"].evaluation_periods == 6 && strcontains(aws_cloudwatch_metric_alarm.all["no-success"].alarm_description, "state machine iam-user-monitor-organization start, fail, or end in OrganizationSkipped")
    error_message = "The alarm on missing success must know the organization's machine and its time-out."
  }

  assert {
    condition = toset([
      for metric in flatten([for widget in jsondecode(one(aws_cloudwatch_dashboard.scans).dashboard_body).widgets : [for metric in try(widget.properties.metrics, []) : metric[1] if metric[0] == "IAMUserMonitor"]]) : metric
    ]) == toset(concat(keys(local.scan_metrics), local.organization_metrics))
    error_message = "The dashboard must show the accounts that were scanned and that failed."
  }

  assert {
    condition = length(jsondecode(one(aws_cloudwatch_dashboard.scans).dashboard_body).widgets) == 16 && alltrue([
      for machine in ["iam-user-monitor", "iam-user-monitor-organization"] : length(regexall("\"StateMachineArn\",\"arn:aws:states:eu-west-1:123456789012:stateMachine:${machine}\"", one(aws_cloudwatch_dashboard.scans).dashboard_body)) == 6
    ])
    error_message = "The executions of both machines must be shown."
  }

  assert {
    condition     = length(distinct([for widget in jsondecode(one(aws_cloudwatch_dashboard.scans).dashboard_body).widgets : "${widget.x} ${widget.y}"])) == 16
    error_message = "A widget hides another one."
  }

  assert {
    condition     = length(flatten([for widget in local.dashboard_widgets : widget.metrics[*][0]])) <= 49
    error_message = "With more than 50 metrics, and one comes for the changes, CloudWatch does not count the dashboard among the free ones."
  }

  assert {
    condition     = alltrue([for step, name in local.function_log_group_names : contains(aws_cloudwatch_query_definition.all["errors"].log_group_names, name)])
    error_message = "Errors of the organization's steps must be found, too."
  }
}

run "an_organization_that_has_all_day_is_watched_for_as_long" {
  command = plan

  variables {
    organization_enabled         = true
    member_external_id           = "the-monitor"
    monitoring_period            = "cron(0 6 * * ? *)"
    organization_timeout_seconds = 86400
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.all["no-success"].evaluation_periods == 73
    error_message = "Two days and the longest run are 72 hours, and the newest has only begun."
  }
}

run "a_topic_is_created_by_default" {
  command = plan

  variables {
    alarm_topic_arn = null
  }

  assert {
    condition     = one(aws_sns_topic.alarms).name == "iam-user-monitor-alarms" && length(aws_sns_topic_policy.alarms) == 1 && length(aws_sns_topic_subscription.email) == 0
    error_message = "Without an existing topic one must be created, and nobody subscribed."
  }
}

run "an_address_is_subscribed" {
  command = plan

  variables {
    alarm_topic_arn = null
    alarm_email     = "team@example.com"
  }

  assert {
    condition     = one(aws_sns_topic_subscription.email).endpoint == "team@example.com" && one(aws_sns_topic_subscription.email).protocol == "email"
    error_message = "The address must be subscribed."
  }
}

run "everything_can_be_switched_off" {
  command = plan

  variables {
    alarm_topic_arn                = null
    alarm_email                    = "team@example.com"
    alarms_enabled                 = false
    dashboard_enabled              = false
    queries_enabled                = false
    deletion_protection_enabled    = false
    point_in_time_recovery_enabled = false
    change_events_enabled          = false
    change_email                   = "team@example.com"
  }

  assert {
    condition     = length(aws_cloudwatch_event_rule.changes) + length(aws_cloudwatch_event_target.changes) + length(aws_sqs_queue.changes_dead_letters) + length(aws_sns_topic.changes) + length(aws_sns_topic_policy.changes) + length(aws_sns_topic_subscription.change_email) == 0
    error_message = "Where nothing is announced, there must be nothing to tell it with."
  }

  assert {
    condition     = aws_lambda_function.step["emit_metrics"].environment[0].variables.CHANGE_EVENTS_ENABLED == "false"
    error_message = "Who decides whether to publish must be told that nothing is."
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.all) + length(aws_sns_topic.alarms) + length(aws_sns_topic_policy.alarms) + length(aws_sns_topic_subscription.email) == 0
    error_message = "Without alarms there must be nothing of them."
  }

  assert {
    condition     = length(aws_cloudwatch_dashboard.scans) + length(aws_cloudwatch_query_definition.all) == 0
    error_message = "The dashboard and the queries must be gone."
  }

  assert {
    condition     = output.alarm_topic_arn == null && output.change_topic_arn == null && output.event_bus_arn == null && output.dashboard_name == null && length(output.alarm_names) + length(output.query_names) == 0
    error_message = "An output names what is not there."
  }

  assert {
    condition     = !aws_dynamodb_table.records.deletion_protection_enabled && !one(aws_dynamodb_table.records.point_in_time_recovery).enabled
    error_message = "The table must be unprotected."
  }
}

run "the_table_is_protected_by_default" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.records.deletion_protection_enabled && one(aws_dynamodb_table.records.point_in_time_recovery).enabled
    error_message = "The table must be protected."
  }

  assert {
    condition     = !one(aws_dynamodb_table.records.server_side_encryption).enabled && aws_sqs_queue.schedule_dead_letters.sqs_managed_sse_enabled && aws_sqs_queue.clean_up_dead_letters.sqs_managed_sse_enabled && one(aws_sfn_state_machine.scan.encryption_configuration).type == "AWS_OWNED_KEY"
    error_message = "Keys that AWS owns must encrypt the data; for DynamoDB that is what disabled means."
  }
}

run "an_existing_key_encrypts_everything" {
  command = plan

  variables {
    alarm_topic_arn = null
    change_email    = "team@example.com"
    kms_key         = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab"
  }

  assert {
    condition = alltrue([
      for key in concat(
        [
          one(aws_dynamodb_table.records.server_side_encryption).kms_key_arn,
          one(aws_sfn_state_machine.scan.encryption_configuration).kms_key_id,
          aws_sqs_queue.schedule_dead_letters.kms_master_key_id,
          aws_sqs_queue.clean_up_dead_letters.kms_master_key_id,
          one(aws_sns_topic.alarms).kms_master_key_id,
          one(aws_sqs_queue.changes_dead_letters).kms_master_key_id,
          one(aws_sns_topic.changes).kms_master_key_id,
          aws_cloudwatch_log_group.state_machine.kms_key_id,
          output.kms_key_arn,
        ],
        [for group in aws_cloudwatch_log_group.step : group.kms_key_id],
        [for function in aws_lambda_function.step : function.kms_key_arn],
      ) : key == var.kms_key
    ])
    error_message = "Something is not encrypted with the key."
  }

  assert {
    condition     = one(aws_dynamodb_table.records.server_side_encryption).enabled && one(aws_sfn_state_machine.scan.encryption_configuration).type == "CUSTOMER_MANAGED_KMS_KEY" && length(aws_kms_key.all) == 0
    error_message = "The existing key must be used and none created."
  }
}

# The window of the alarm on missing success

run "an_hourly_schedule_may_miss_one_scan" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.all["no-success"].evaluation_periods == 4 && alltrue([for query in aws_cloudwatch_metric_alarm.all["no-success"].metric_query : query.metric[0].period == 3600 if query.expression == null])
    error_message = "Two hours and the longest scan are three hours, and the newest has only begun."
  }
}

run "a_schedule_of_minutes_has_the_shortest_window" {
  command = plan

  variables {
    monitoring_period    = "rate(5 minutes)"
    scan_timeout_seconds = 300
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.all["no-success"].evaluation_periods == 2
    error_message = "An hour is the shortest window, and the newest has only begun."
  }
}

run "a_schedule_of_days_is_watched_for_as_long_as_cloudwatch_looks_back" {
  command = plan

  variables {
    monitoring_period = "rate(6 days)"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.all["no-success"].evaluation_periods == 168
    error_message = "CloudWatch looks back 7 days."
  }
}

run "a_schedule_that_is_rarer_than_that_is_not_watched" {
  command = plan

  variables {
    monitoring_period = "rate(7 days)"
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.all), "no-success") && length(aws_cloudwatch_metric_alarm.all) == 9
    error_message = "An alarm that always rings is none."
  }
}

run "posture_and_publication_that_fail_in_an_hourly_schedule_must_last" {
  command = plan

  assert {
    condition     = alltrue([for alarm in [local.all_alarms.posture-failing, local.all_alarms.changes-failing] : alarm.period == 7200 && alarm.evaluation_periods == 4 && alarm.datapoints == 3])
    error_message = "Three of four windows of two scans each."
  }
}

run "posture_and_publication_that_fail_once_a_day_ring_at_once" {
  command = plan

  variables {
    monitoring_period = "cron(0 6 * * ? *)"
  }

  assert {
    condition     = alltrue([for alarm in [local.all_alarms.posture-failing, local.all_alarms.changes-failing] : alarm.period == 86400 && alarm.datapoints == 1 && strcontains(alarm.description, "has failed in a scan:")])
    error_message = "CloudWatch takes no longer period than a day."
  }
}

run "what_is_not_done_cannot_fail" {
  command = plan

  variables {
    credential_report_enabled     = false
    authorization_details_enabled = false
    change_events_enabled         = false
  }

  assert {
    condition     = length(setintersection(keys(aws_cloudwatch_metric_alarm.all), ["posture-failing", "changes-failing"])) == 0
    error_message = "There must be no alarm on what is switched off."
  }

  # What nobody logs would be an empty widget, as if nothing were wrong.
  assert {
    condition = [
      for widget in jsondecode(one(aws_cloudwatch_dashboard.scans).dashboard_body).widgets :
      regex("(\\w+)`(?: and `\\w+`)? (?:is|are) false", widget.properties.markdown)[0] if widget.type != "metric"
    ] == ["change_events_enabled", "change_events_enabled", "credential_report_enabled", "credential_report_enabled"]
    error_message = "A widget whose lines nobody logs must say why it shows nothing."
  }
}

run "a_daily_cron_expression_may_miss_one_scan" {
  command = plan

  variables {
    monitoring_period = "cron(0 6 * * ? *)"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.all["no-success"].evaluation_periods == 50
    error_message = "Two days and the longest scan are 49 hours, and the newest has only begun."
  }
}

run "a_cron_expression_with_days_is_given_a_week" {
  command = plan

  variables {
    monitoring_period = "cron(0 6 ? * MON-FRI *)"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.all["no-success"].evaluation_periods == 168
    error_message = "The days of a cron expression may be up to a week apart."
  }
}

run "the_window_can_be_set" {
  command = plan

  variables {
    monitoring_period    = "cron(0 6 ? * MON-FRI *)"
    success_window_hours = 75
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.all["no-success"].evaluation_periods == 76 && strcontains(aws_cloudwatch_metric_alarm.all["no-success"].alarm_description, "within 75 hours")
    error_message = "The window must be the variable's, and the hour that has only begun."
  }
}

run "the_window_can_be_switched_off" {
  command = plan

  variables {
    success_window_hours = 0
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.all), "no-success")
    error_message = "0 means no such alarm."
  }
}

run "a_paused_schedule_misses_nothing" {
  command = plan

  variables {
    schedule_enabled = false
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.all), "no-success")
    error_message = "Where no scan is due, none is missing."
  }
}

# The dashboard and the queries

run "the_dashboard_shows_what_the_functions_emit" {
  command = plan

  assert {
    condition = toset([
      for metric in flatten([for widget in jsondecode(one(aws_cloudwatch_dashboard.scans).dashboard_body).widgets : [for metric in try(widget.properties.metrics, []) : metric[1] if metric[0] == "IAMUserMonitor"]]) : metric
    ]) == setsubtract([for name in regexall("add_metric\\(\"(\\w+)\"", join("", [for file in fileset("../functions", "**/*.py") : file("../functions/${file}")])) : name[0]], local.organization_metrics)
    error_message = "The dashboard must show exactly the metrics of the scans."
  }

  assert {
    condition     = length(jsondecode(one(aws_cloudwatch_dashboard.scans).dashboard_body).widgets) == 14 && output.dashboard_name == "iam-user-monitor"
    error_message = "A widget is missing."
  }

  assert {
    condition = alltrue([
      for name in values(output.lambda_function_names) : length(regexall("\"FunctionName\",\"${name}\"", one(aws_cloudwatch_dashboard.scans).dashboard_body)) == 2
    ])
    error_message = "Errors and throttles of every function must be shown."
  }
}

run "the_widgets_of_logs_search_logs_that_are_there" {
  command = plan

  assert {
    condition = [
      for widget in jsondecode(one(aws_cloudwatch_dashboard.scans).dashboard_body).widgets :
      contains(values(output.log_group_names), regex("^SOURCE '([^']+)' \\| ", widget.properties.query)[0]) && widget.properties.region == "eu-west-1"
      if widget.type == "log"
    ] == [true, true, true, true]
    error_message = "Findings, changes, the age of the credential report, and the posture of the latest scans must be shown."
  }

  assert {
    condition     = length(distinct([for widget in jsondecode(one(aws_cloudwatch_dashboard.scans).dashboard_body).widgets : "${widget.x} ${widget.y}"])) == 14
    error_message = "A widget hides another one."
  }
}

run "the_queries_look_for_what_the_functions_log" {
  command = plan

  assert {
    condition     = toset(output.query_names) == toset([for name in ["recent-executions", "errors", "user-count", "slow-executions"] : "iam-user-monitor/${name}"])
    error_message = "A query is missing."
  }

  assert {
    condition = alltrue([
      for message in distinct(flatten([for query in aws_cloudwatch_query_definition.all : regexall("\"((?:Scan|Failed) [^\"]+)\"", query.query_string)])) :
      strcontains(join("", [for file in fileset("../functions", "**/*.py") : file("../functions/${file}")]), "\"${message}\"")
    ])
    error_message = "A query looks for a message that no function logs."
  }

  assert {
    condition = alltrue([
      for key in ["total_users", "records_written", "errors", "duration_seconds", "error_type", "error_message", "execution_arn", "scan_timestamp", "attempt", "state"] :
      anytrue([for query in aws_cloudwatch_query_definition.all : strcontains(query.query_string, key)])
      && length(regexall("\"?\\b${key}\"?(=|:)", join("", [for file in ["shared/metrics.py", "shared/step.py"] : file("../functions/${file}")]))) > 0
    ])
    error_message = "A query shows a key that is not on the log lines."
  }

  assert {
    condition     = alltrue(flatten([for query in aws_cloudwatch_query_definition.all : [for group in query.log_group_names : contains(values(output.log_group_names), group)]]))
    error_message = "A query searches a log group that is not there."
  }
}
