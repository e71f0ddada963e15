# All that a team looks at on one page. It has fewer than 50 metrics, and the account's first three such dashboards cost
# nothing.

locals {
  scan_metrics = { for name in ["UsersScanned", "RecordsWritten", "Errors", "Duration", "Success"] : name => [local.metric_namespace, name] }

  dashboard_widgets = [
    { title = "Users", statistic = "Maximum", metrics = [local.scan_metrics.UsersScanned] },
    { title = "Records written", statistic = "Sum", metrics = [local.scan_metrics.RecordsWritten] },
    { title = "Success (1 or 0)", statistic = "Minimum", metrics = [local.scan_metrics.Success] },
    { title = "Errors", statistic = "Sum", metrics = [local.scan_metrics.Errors] },
    { title = "Duration (ms)", statistic = "Maximum", metrics = [local.scan_metrics.Duration] },
    {
      title     = "Executions by status"
      statistic = "Sum"
      metrics = [
        for name in ["ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted", "ExecutionThrottled"] :
        ["AWS/States", name, "StateMachineArn", local.state_machine_arn]
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
}

resource "aws_cloudwatch_dashboard" "scans" {
  count = var.dashboard_enabled ? 1 : 0

  dashboard_name = var.name_prefix
  dashboard_body = jsonencode({
    widgets = [
      for number, widget in local.dashboard_widgets : {
        type   = "metric"
        x      = number % 2 * 12
        y      = floor(number / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = widget.title
          region  = local.region
          view    = "timeSeries"
          stat    = widget.statistic
          period  = 300
          metrics = widget.metrics
        }
      }
    ]
  })
}
