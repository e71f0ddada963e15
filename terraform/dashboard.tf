# All that a team looks at on one page. It has fewer than 50 metrics, and the account's first three such dashboards cost
# nothing. What no metric tells, since each costs $0.30 a month, is read out of the logs while somebody looks at it: what was
# found wrong, what was announced, how old the credential report is. Logs Insights takes $0.005 for each GB that it searches:
# the four widgets read about 8 KB for each scan in the range that is shown, so a thousand looks at a month of hourly scans
# cost three cents. tests/terraform runs the queries on lines that the functions have logged.

locals {
  organization_metrics = ["AccountsScanned", "AccountsFailed"]
  execution_metrics    = ["ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted", "ExecutionThrottled"]
  scan_metrics         = { for name in ["UsersScanned", "RecordsWritten", "Errors", "Duration", "Success"] : name => [local.metric_namespace, name] }

  dashboard_widgets = concat(local.scan_widgets, var.organization_enabled ? local.organization_widgets : [])

  scan_widgets = [
    { title = var.organization_enabled ? "Users of the account that has the most" : "Users", statistic = "Maximum", metrics = [local.scan_metrics.UsersScanned] },
    { title = "Records written", statistic = "Sum", metrics = [local.scan_metrics.RecordsWritten] },
    { title = "Success (1 or 0)", statistic = "Minimum", metrics = [local.scan_metrics.Success] },
    { title = "Errors", statistic = "Sum", metrics = [local.scan_metrics.Errors] },
    { title = "Duration (ms)", statistic = "Maximum", metrics = [local.scan_metrics.Duration] },
    {
      title     = "Executions by status"
      statistic = "Sum"
      metrics = [
        for name in local.execution_metrics : ["AWS/States", name, "StateMachineArn", local.state_machine_arn]
      ]
    },
    {
      title     = "Errors of the functions"
      statistic = "Sum"
      metrics   = [for step in keys(local.steps) : ["AWS/Lambda", "Errors", "FunctionName", local.function_names[step]]]
    },
    {
      title     = "Throttles of the functions"
      statistic = "Sum"
      metrics   = [for step in keys(local.steps) : ["AWS/Lambda", "Throttles", "FunctionName", local.function_names[step]]]
    },
    {
      title     = "Throttled writes of the table and its index"
      statistic = "Sum"
      metrics = [
        ["AWS/DynamoDB", "WriteThrottleEvents", "TableName", var.dynamodb_table_name],
        ["AWS/DynamoDB", "WriteThrottleEvents", "TableName", var.dynamodb_table_name, "GlobalSecondaryIndexName", local.scan_index_name],
      ]
    },
    {
      title     = "Dead letters"
      statistic = "Maximum"
      metrics = [
        for name in concat([local.schedule_dead_letters_name, local.clean_up_dead_letters_name], local.tell_changes ? [local.changes_dead_letters_name] : []) :
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", name]
      ]
    },
  ]

  organization_widgets = [
    {
      title     = "Accounts of the organization, scanned and failed"
      statistic = "Maximum"
      metrics   = [for name in local.organization_metrics : [local.metric_namespace, name]]
    },
    {
      title     = "Executions of the organization by status"
      statistic = "Sum"
      metrics   = [for name in local.execution_metrics : ["AWS/States", name, "StateMachineArn", local.organization_machine_arn]]
    },
  ]

  # The names of the log lines' fields are those of the controls in functions/table/findings.py, and of the kinds of changes
  # in functions/table/detection.py.
  controls = [
    "root_access_key", "root_no_mfa", "root_used", "console_no_mfa", "key_at_creation", "unused_45_days", "two_active_keys",
    "key_older_90_days", "direct_policies", "admin_policy", "cloudshell_full_access",
  ]
  change_counts = ["created", "deleted", "recreated", "renamed", "changed", "unconfirmed_deletions", "suspected_deletions"]

  # In place of a widget whose lines nobody logs stands why.
  log_widgets = [
    {
      title     = "Findings by control: users, as last known and announced"
      step      = "publish_changes"
      view      = "timeSeries"
      not_shown = var.change_events_enabled ? "" : "PublishChanges counts them, and `change_events_enabled` is false. The command `iam-user-monitor findings` computes them from the records."
      query     = <<-QUERY
        filter message = "Scan announced"
        | stats ${join(", ", [for name in local.controls : "max(findings.${name}) as ${name}"])} by bin(1h)
      QUERY
    },
    {
      title     = "Changes announced, and deletions that wait for a scan that agrees"
      step      = "publish_changes"
      view      = "timeSeries"
      not_shown = var.change_events_enabled ? "" : "Nothing is announced: `change_events_enabled` is false. The command `iam-user-monitor changes` tells them from the records."
      query     = <<-QUERY
        filter message = "Scan announced"
        | stats ${join(", ", [for name in local.change_counts : "sum(counts.${name}) as ${name}"])}, sum(refused) as refused_events by bin(1h)
      QUERY
    },
    {
      title     = "Age of the credential report in hours (IAM makes one every 4 at most; older than 4.25, findings of it are UNKNOWN)"
      step      = "read_posture"
      view      = "timeSeries"
      not_shown = var.credential_report_enabled ? "" : "No scan reads the credential report: `credential_report_enabled` is false."
      query     = <<-QUERY
        filter message = "Posture read" and ispresent(credential_report_age_hours)
        | stats max(credential_report_age_hours) as hours by bin(1h)
      QUERY
    },
    {
      title     = "Posture of the latest scans (MISSING or an error: findings of it are UNKNOWN)"
      step      = "read_posture"
      view      = "table"
      not_shown = local.posture_enabled ? "" : "No scan reads posture: `credential_report_enabled` and `authorization_details_enabled` are false."
      query     = <<-QUERY
        fields @timestamp, scan_timestamp, sections.credential_report.state as credential_report, credential_report_age_hours, sections.credential_report.error_type as report_error, sections.authorization.state as authorization_details, sections.authorization.error_type as details_error, error_type
        | filter message in ["Posture read", "Step failed"]
        | sort @timestamp desc
        | limit 20
      QUERY
    },
  ]

  # Where each widget stands, in two columns.
  dashboard_places = [
    for number in range(length(local.dashboard_widgets) + length(local.log_widgets)) :
    { x = number % 2 * 12, y = floor(number / 2) * 6, width = 12, height = 6 }
  ]
}

resource "aws_cloudwatch_dashboard" "scans" {
  count = var.dashboard_enabled ? 1 : 0

  dashboard_name = var.name_prefix
  dashboard_body = jsonencode({
    widgets = concat(
      [
        for number, widget in local.dashboard_widgets : merge(local.dashboard_places[number], {
          type = "metric"
          properties = {
            title   = widget.title
            region  = local.region
            view    = "timeSeries"
            stat    = widget.statistic
            period  = 300
            metrics = widget.metrics
          }
        })
      ],
      [
        for number, widget in local.log_widgets : merge(local.dashboard_places[length(local.dashboard_widgets) + number], {
          type = widget.not_shown == "" ? "log" : "text"
          # Of two types, which a conditional does not take: what is null is left out.
          properties = { for name, value in {
            title    = widget.not_shown == "" ? widget.title : null
            region   = widget.not_shown == "" ? local.region : null
            view     = widget.not_shown == "" ? widget.view : null
            query    = widget.not_shown == "" ? "SOURCE '${local.function_log_group_names[widget.step]}' | ${trimspace(widget.query)}" : null
            markdown = widget.not_shown == "" ? null : "### ${widget.title}\n\nNot shown. ${widget.not_shown}"
          } : name => value if value != null }
        })
      ],
    )
  })
}
