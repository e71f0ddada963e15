# Saved queries, in Logs Insights under the folder of this deployment. Their messages and keys are those that
# functions/shared/metrics.py, functions/shared/step.py and functions/acquire_lock log; tests/terraform runs the queries on
# such lines.

locals {
  end_messages = ["Scan completed successfully", "Scan completed with errors", "Scan failed"]
  # An attempt is ended by EmitMetrics, or by CleanUp in its place.
  end_log_groups = [for step in ["emit_metrics", "clean_up"] : local.function_log_group_names[step]]

  organization_messages = ["Organization scan completed successfully", "Organization scan completed with errors", "Organization scan failed"]

  queries = {
    recent-executions = {
      log_groups = concat(local.end_log_groups, [local.function_log_group_names["acquire_lock"]])
      query      = <<-QUERY
        fields @timestamp, message, scan_timestamp, attempt, total_users, records_written, errors, duration_seconds, execution_arn
        | filter message in ${jsonencode(concat(local.end_messages, ["Failed to acquire execution lock"]))}
        | sort @timestamp desc
        | limit 100
      QUERY
    }
    errors = {
      log_groups = values(local.function_log_group_names)
      # The last part is what Lambda itself writes when a function ends without a word.
      query = <<-QUERY
        fields @timestamp, level, state, message, error_type, error_message, execution_arn, @log, @message
        | filter level in ["ERROR", "CRITICAL"] or message = "Scan completed with errors" or @message like /Task timed out|Runtime exited|Runtime\.\w+Error/
        | sort @timestamp desc
        | limit 200
      QUERY
    }
    user-count = {
      log_groups = local.end_log_groups
      query      = <<-QUERY
        filter message = "Scan completed successfully"
        | stats max(total_users) as users by bin(1d) as day
        | sort day desc
      QUERY
    }
    slow-executions = {
      log_groups = local.end_log_groups
      query      = <<-QUERY
        filter message in ${jsonencode(local.end_messages)}
        | sort duration_seconds desc
        | limit 25
        | display @timestamp, duration_seconds, total_users, records_written, errors, message, scan_timestamp, execution_arn
      QUERY
    }
    accounts = {
      enabled    = var.organization_enabled
      log_groups = [for step in ["list_accounts", "summarize_accounts", "clean_up"] : local.function_log_group_names[step] if contains(keys(local.steps), step)]
      query      = <<-QUERY
        fields @timestamp, message, scan_timestamp, attempt, accounts, accounts_scanned, accounts_failed, failed_account, error_type, error_message, duration_seconds, execution_arn
        | filter message in ${jsonencode(concat(local.organization_messages, ["Account failed", "Accounts listed"]))}
        | sort @timestamp desc
        | limit 500
      QUERY
    }
  }
}

resource "aws_cloudwatch_query_definition" "all" {
  for_each = { for name, query in local.queries : name => query if var.queries_enabled && try(query.enabled, true) }

  name            = "${var.name_prefix}/${each.key}"
  log_group_names = each.value.log_groups
  query_string    = each.value.query

  # Logs Insights refuses a query on log groups that are not there yet.
  depends_on = [aws_cloudwatch_log_group.step]
}
