# Few alarms, each of which means something. An alarm costs $0.10 a month for each metric that it watches, the five
# metrics of the scans cost $0.30 each, and a scan of 100 users every hour costs about $0.40 a month besides. Fourteen
# metrics keep that below $3.30 a month. A fifteenth comes where changes are told to a topic, and three more where an
# organization is scanned; tests/terraform holds the alarms to it.
#
# What is not watched is seen by what is. An error or a throttle of a step's function is retried, and if that does not
# help, the execution fails. So only the errors of three are watched, which no execution shows: those of ReadPosture and
# PublishChanges, without which a scan goes on, and which matter when they last; and those of CleanUp; its throttled events
# wait in Lambda, and what waits in vain ends among the dead letters. Of the table's throttles those of the index are watched: all
# records of a scan share one key there and none in the table, so the index throttles first. The dashboard shows
# everything. Of the executions that Step Functions throttles, it shows them, too: they go on by themselves, and one that
# fails for it is counted as failed.
#
# Every alarm watches the sum of its metrics, with FILL(…, 0) in place of what is missing. Nothing here sends data all the
# time, and an alarm on the metric itself looks for real points beyond its window before it believes in missing ones, so
# that the alarm on missing success would ring hours late; that on throttles would stay as it was, since for metrics of
# DynamoDB the API reference says that missing data are ignored. Metric math costs nothing more. treat_missing_data
# decides only where a metric has never existed, should FILL have nothing to begin with.

locals {
  alarm_arn_prefix = "arn:${local.partition}:cloudwatch:${local.region}:${local.account_id}:alarm:${var.name_prefix}-"

  # The window of the alarm on missing success, in hours, 0 for no such alarm. Two ticks of the schedule and the longest
  # scan: one scan that fails has an alarm of its own. CloudWatch looks back 7 days at most, so a rate that is rarer
  # cannot be watched. Of a cron expression is only known whether it names days at all.
  rate               = try(regex("^rate\\(([0-9]+) (minute|hour|day)s?\\)$", var.monitoring_period), null)
  every_day          = can(regex("^cron\\(\\S+ \\S+ [*?] \\* [*?] \\*\\)$", var.monitoring_period))
  hours_of           = { minute = 1 / 60, hour = 1, day = 24 }
  schedule_hours     = local.rate != null ? local.rate[0] * local.hours_of[local.rate[1]] : local.every_day ? 24 : 168
  longest_scan_hours = (var.organization_enabled ? var.organization_timeout_seconds : var.scan_timeout_seconds) / 3600
  too_rare           = local.rate != null && local.schedule_hours + local.longest_scan_hours > 168
  default_window     = local.too_rare ? 0 : min(168, ceil(2 * local.schedule_hours + local.longest_scan_hours))

  success_window_hours = var.success_window_hours == null ? local.default_window : var.success_window_hours

  # The windows of the alarms on what the next scan makes good, posture and changes: of two ticks each, or one of a day where
  # the schedule is rarer than that.
  lasting_window_hours = min(24, ceil(2 * local.schedule_hours))
  lasting_windows      = local.schedule_hours <= 12 ? 4 : 1
  lasting              = local.lasting_windows == 1 ? "a scan" : "scan after scan"

  # What tells that the schedule is at work. Success is of one account, so with an organization it would be there as long as a
  # single account is scanned by hand. That the organization's executions succeed tells too little, since one that finds the
  # lock taken does, and too much: one account that is broken for days has an alarm of its own, and must not hide that the
  # schedule has stopped.
  alive_metric = var.organization_enabled ? "AccountsScanned" : "Success"
  nothing_done = var.organization_enabled ? "No account has been scanned by a run over the organization" : "No scan has succeeded"
  at_work      = var.organization_enabled ? local.organization_name : var.name_prefix
  skipped      = var.organization_enabled ? "OrganizationSkipped" : "ScanSkipped"

  scan_dimensions         = { StateMachineArn = local.state_machine_arn }
  organization_dimensions = { StateMachineArn = local.organization_machine_arn }
  look_at_the_log         = "Look further: the saved query ${var.name_prefix}/errors in Logs Insights, and the dashboard ${var.name_prefix}."
  redrive_it              = "Open the newest failed execution of the state machine ${var.name_prefix} in the Step Functions console: its cause says what went wrong, how far the scan got and what to do. Mend that, then choose Redrive, within 14 days: the scan resumes where it stopped. Without a redrive only this scan stays incomplete: the next one lists everybody anew."

  all_alarms = {
    scan-failed = {
      enabled     = true
      description = "A scan${var.organization_enabled ? " of an account, with whose number the execution's name begins," : ""} failed, timed out or was stopped. Unless its cause says that it is COMPLETE, it is no full picture of the account, and nothing is announced of it.${var.organization_enabled ? " Where organization-failed rings, too, redrive that run: it redrives this scan." : ""} ${local.redrive_it} ${local.look_at_the_log}"
      metrics = {
        failed    = { namespace = "AWS/States", name = "ExecutionsFailed", dimensions = local.scan_dimensions }
        timed_out = { namespace = "AWS/States", name = "ExecutionsTimedOut", dimensions = local.scan_dimensions }
        aborted   = { namespace = "AWS/States", name = "ExecutionsAborted", dimensions = local.scan_dimensions }
      }
      statistic          = "Sum"
      comparison         = "GreaterThanThreshold"
      threshold          = 0
      period             = 300
      evaluation_periods = 1
      missing_data       = "notBreaching"
    }
    organization-failed = {
      enabled     = var.organization_enabled
      description = "A scan of the organization failed, timed out or was stopped: the accounts that failed keep their last trusted scan, and all others are complete. Open the newest failed execution of the state machine ${local.organization_name} in the Step Functions console: its cause names the first of them with their errors; all are told by the saved query ${var.name_prefix}/accounts in Logs Insights. Where it went through AccountsNotListed, nothing was scanned: this account must be the management account or a delegated administrator. Mend the cause (most often an account without the role ${var.member_role_name}), then choose Redrive, within 14 days: only the accounts that are not complete are scanned again. Without a redrive, the next run scans them all anew. One that is not to be scanned belongs into excluded_accounts."
      metrics = {
        failed    = { namespace = "AWS/States", name = "ExecutionsFailed", dimensions = local.organization_dimensions }
        timed_out = { namespace = "AWS/States", name = "ExecutionsTimedOut", dimensions = local.organization_dimensions }
        aborted   = { namespace = "AWS/States", name = "ExecutionsAborted", dimensions = local.organization_dimensions }
      }
      statistic          = "Sum"
      comparison         = "GreaterThanThreshold"
      threshold          = 0
      period             = 300
      evaluation_periods = 1
      missing_data       = "notBreaching"
    }
    records-missing = {
      enabled            = true
      description        = "Users were listed but could not be recorded, or a scan ended in an error: this scan is INCOMPLETE, FAILED or ABORTED, so it is no full picture of the account, and nothing is announced of it. ${local.redrive_it} ${local.look_at_the_log}"
      metrics            = { errors = { namespace = local.metric_namespace, name = "Errors", dimensions = {} } }
      statistic          = "Sum"
      comparison         = "GreaterThanThreshold"
      threshold          = 0
      period             = 300
      evaluation_periods = 1
      missing_data       = "notBreaching"
    }
    no-success = {
      enabled     = var.schedule_enabled && local.success_window_hours > 0
      description = "${local.nothing_done} within ${local.success_window_hours} hours (it takes up to an hour more to say so): users come and go unrecorded, and no change is announced. Look in the EventBridge console whether the rule ${local.schedule_name} is enabled, and in the Step Functions console whether executions of the state machine ${local.at_work} start, fail, or end in ${local.skipped} because another one holds the lock. Then start one by hand; its success ends this alarm. Right after the deployment it is normal until the first scan has ended. Where the schedule is rarer than the window, set success_window_hours. ${local.look_at_the_log}"
      metrics     = { alive = { namespace = local.metric_namespace, name = local.alive_metric, dimensions = {} } }
      statistic   = "Sum"
      comparison  = "LessThanThreshold"
      threshold   = 1
      period      = 3600
      # One hour more than the window: where CloudWatch counts from the full hour, the newest one has barely begun.
      evaluation_periods = min(168, local.success_window_hours + 1)
      # A schedule that has stopped sends nothing at all.
      missing_data = "breaching"
    }
    scan-slow = {
      enabled            = true
      description        = "A scan took more than 80 % of scan_timeout_seconds (${var.scan_timeout_seconds} s); its records are all right, but a longer one will be ended as TIMED_OUT. Compare the dashboard's users and throttles: if there are many more users, raise scan_timeout_seconds; if the table or IAM throttles, find who else uses them. Look further: the saved query ${var.name_prefix}/slow-executions in Logs Insights."
      metrics            = { duration = { namespace = local.metric_namespace, name = "Duration", dimensions = {} } }
      statistic          = "Maximum"
      comparison         = "GreaterThanThreshold"
      threshold          = var.scan_timeout_seconds * 1000 * 0.8
      period             = 300
      evaluation_periods = 1
      missing_data       = "notBreaching"
    }
    schedule-failing = {
      enabled            = true
      description        = "EventBridge could not start a scan, nor put the event among the dead letters: this tick is lost. Most often the role ${local.schedule_name} may no longer start the state machine, or one of them was changed by hand: apply the Terraform configuration again, then start a scan by hand."
      metrics            = { failed = { namespace = "AWS/Events", name = "FailedInvocations", dimensions = { RuleName = local.schedule_name } } }
      statistic          = "Sum"
      comparison         = "GreaterThanThreshold"
      threshold          = 0
      period             = 300
      evaluation_periods = 1
      missing_data       = "notBreaching"
    }
    clean-up-failing = {
      enabled     = true
      description = "The function ${local.clean_up_name} failed, or the rule of the same name could not invoke it. After a scan that was stopped or timed out it records the end and frees the lock; without it the lock frees itself when its lease ends, within ${var.lock_lease_seconds} seconds. Errors: read them in the log group /aws/lambda/${local.clean_up_name}; Lambda tries again twice, and what fails then ends in the queue ${local.clean_up_dead_letters_name}. FailedInvocations of the rule: the function's policy was changed by hand; apply the Terraform configuration again. ${local.look_at_the_log}"
      metrics = {
        errors      = { namespace = "AWS/Lambda", name = "Errors", dimensions = { FunctionName = local.clean_up_name } }
        undelivered = { namespace = "AWS/Events", name = "FailedInvocations", dimensions = { RuleName = local.clean_up_name } }
      }
      statistic          = "Sum"
      comparison         = "GreaterThanThreshold"
      threshold          = 0
      period             = 300
      evaluation_periods = 1
      missing_data       = "notBreaching"
    }
    posture-failing = {
      enabled     = local.posture_enabled
      description = "The function ${local.function_names.read_posture} has failed in ${local.lasting}: users are recorded, but not what they could get in with or what they may do, and findings are UNKNOWN. Read why in the log group ${local.function_log_group_names.read_posture} (\"Step failed\", \"Posture is missing\"): most often a service control policy or the permissions boundary denies one of ${join(", ", local.posture_actions)}. Mend it, and the next scan has everything again; what the scans until then lack stays unknown. What is not wanted can be switched off: credential_report_enabled, authorization_details_enabled. ${local.look_at_the_log}"
      metrics     = { errors = { namespace = "AWS/Lambda", name = "Errors", dimensions = { FunctionName = local.function_names.read_posture } } }
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      # Two scans at least in each window, and three of the last four: one scan that fails is made good by the next, and
      # no reason to wake anybody, even if it was tried again across the edge of a window.
      period             = 3600 * local.lasting_window_hours
      evaluation_periods = local.lasting_windows
      datapoints         = max(1, local.lasting_windows - 1)
      missing_data       = "notBreaching"
    }
    changes-failing = {
      enabled     = var.change_events_enabled
      description = "The function ${local.function_names.publish_changes} has failed in ${local.lasting}: scans succeed and records are complete, but nobody is told what they found changed. The next publication that succeeds announces everything since the last one. Read why in the log group ${local.function_log_group_names.publish_changes} (\"Step failed\"). AccessDenied: a service control policy, the permissions boundary or the policy of the bus denies one of its calls. EventsRefused: the bus (event_bus_name) takes none from here; or it will never take some, which are lost as events: the command iam-user-monitor changes still tells them. IndexBehind: the table's index lags behind its writes; it mends itself unless table-throttled rings, too. What is not wanted can be switched off: change_events_enabled. ${local.look_at_the_log}"
      metrics     = { errors = { namespace = "AWS/Lambda", name = "Errors", dimensions = { FunctionName = local.function_names.publish_changes } } }
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      # As of posture.
      period             = 3600 * local.lasting_window_hours
      evaluation_periods = local.lasting_windows
      datapoints         = max(1, local.lasting_windows - 1)
      missing_data       = "notBreaching"
    }
    dead-letters = {
      enabled     = true
      description = "An event was given up. A queue that was idle for six hours sends no metrics, and takes up to 15 minutes to begin again: the first message is seen that late. Receive the message in the SQS console; its attributes say why. In ${local.schedule_dead_letters_name}: a tick of the schedule started no scan; start one by hand. In ${local.clean_up_dead_letters_name}: a scan that ended early is not recorded as ended; look at the execution that the message names, and redrive it.${local.tell_changes ? " In ${local.changes_dead_letters_name}: a change that the topic of changes was not told: its policy or key may not admit EventBridge; the message is the event." : ""} Then delete the message, which ends this alarm."
      metrics = {
        for queue, name in merge(
          { clean_up = local.clean_up_dead_letters_name, schedule = local.schedule_dead_letters_name },
          local.tell_changes ? { changes = local.changes_dead_letters_name } : {},
        ) : queue => { namespace = "AWS/SQS", name = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = name } }
      }
      statistic          = "Maximum"
      comparison         = "GreaterThanThreshold"
      threshold          = 0
      period             = 300
      evaluation_periods = 1
      missing_data       = "notBreaching"
    }
    table-throttled = {
      enabled            = true
      description        = "For 15 minutes, DynamoDB has throttled writes to the index of the table ${var.dynamodb_table_name}. Short throttling is normal and made good by retries; for so long, scans become slow and records may go missing. Look in the dashboard at throttles, duration and errors; lower map_concurrency, and find out whether anyone else writes to the table."
      metrics            = { throttled = { namespace = "AWS/DynamoDB", name = "WriteThrottleEvents", dimensions = { TableName = var.dynamodb_table_name, GlobalSecondaryIndexName = local.scan_index_name } } }
      statistic          = "Sum"
      comparison         = "GreaterThanThreshold"
      threshold          = 0
      period             = 300
      evaluation_periods = 3
      missing_data       = "notBreaching"
    }
  }

  alarms = { for name, alarm in local.all_alarms : name => alarm if var.alarms_enabled && alarm.enabled }
}

resource "aws_cloudwatch_metric_alarm" "all" {
  for_each = local.alarms

  alarm_name          = "${var.name_prefix}-${each.key}"
  alarm_description   = each.value.description
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  evaluation_periods  = each.value.evaluation_periods
  datapoints_to_alarm = try(each.value.datapoints, null)
  treat_missing_data  = each.value.missing_data
  alarm_actions       = [local.alarm_topic_arn]
  ok_actions          = [local.alarm_topic_arn]
  tags                = local.tags

  metric_query {
    id          = "sum"
    expression  = join(" + ", [for id in keys(each.value.metrics) : "FILL(${id}, 0)"])
    label       = each.key
    return_data = true
  }

  dynamic "metric_query" {
    for_each = each.value.metrics

    content {
      id = metric_query.key

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        dimensions  = metric_query.value.dimensions
        stat        = each.value.statistic
        period      = each.value.period
      }
    }
  }
}

# Where alarms go

locals {
  create_topic     = var.alarms_enabled && var.alarm_topic_arn == null
  alarm_topic_name = "${var.name_prefix}-alarms"
  own_topic_arn    = "arn:${local.partition}:sns:${local.region}:${local.account_id}:${local.alarm_topic_name}"
  alarm_topic_arn  = local.create_topic ? one(aws_sns_topic.alarms[*].arn) : var.alarm_topic_arn
}

resource "aws_sns_topic" "alarms" {
  #checkov:skip=CKV_AWS_26:CloudWatch cannot publish to a topic with the AWS-managed key, whose policy does not admit it; with kms_key the topic is encrypted
  count = local.create_topic ? 1 : 0

  name = local.alarm_topic_name
  # Not the key that AWS manages, alias/aws/sns: its policy does not admit CloudWatch, so every alarm would be lost in
  # silence. An alarm's message holds names and numbers of this deployment, and no user.
  kms_master_key_id = local.kms_key_arn
  tags              = local.tags
}

data "aws_iam_policy_document" "alarm_topic" {
  statement {
    sid       = "Alarms"
    actions   = ["sns:Publish"]
    resources = [local.own_topic_arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${local.alarm_arn_prefix}*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  count = local.create_topic ? 1 : 0

  arn    = aws_sns_topic.alarms[0].arn
  policy = data.aws_iam_policy_document.alarm_topic.json
}

resource "aws_sns_topic_subscription" "email" {
  count = local.create_topic && var.alarm_email != null ? 1 : 0

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = var.alarm_email
}
