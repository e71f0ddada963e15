locals {
  # An execution may have 25,000 events in its history, and can be redriven only below 24,999. What a scan of 5,000 users,
  # which is IAM's quota, writes of them: a task 5 (state entered, scheduled, started, succeeded, state exited; 3 more for
  # every retry), a Choice or a Succeed 2, a Map 4, and 2 more for each of its iterations.
  #   once a page:  ListUsers 5, WriteRecords 4, SaveProgress 5, MorePages? 2        = 16
  #   once a batch: an iteration 2, WriteBatch 5                                     =  7
  #   once:         begin and end 2, AcquireLock 5, LockAcquired? 2, ReadPosture 5, EmitMetrics 5, ChangesToPublish? 2,
  #                 PublishChanges 5, ReleaseLock 5, ScanOutcome? 2, ScanSucceeded 2 = 35
  # tests/statemachine counts them in a run. Half of the limit is left for retries, for redrives, and for pages that IAM or
  # ListUsers cuts in two.
  history_pages   = ceil(5000 / max(1, var.page_size))
  history_batches = ceil(var.page_size / max(1, var.batch_size))
  history_events  = 35 + local.history_pages * (16 + 7 * local.history_batches)
  history_limit   = 12499

  organization_definition = var.organization_enabled ? jsonencode(yamldecode(
    templatefile("${path.module}/../statemachine/organization.asl.yaml", merge(
      { for step, arn in local.machine_function_arns.organization : "${step}_function_arn" => arn },
      {
        partition                    = local.partition
        table_name                   = var.dynamodb_table_name
        scan_state_machine_arn       = local.machines.scan.arn
        scan_execution_arn_prefix    = trimsuffix(local.machines.scan.execution_arns, ":*")
        account_concurrency          = var.account_concurrency
        organization_timeout_seconds = var.organization_timeout_seconds
        task_timeout_seconds         = var.lambda_timeout + 10
      },
    ))
  )) : null

  state_machine_definition = jsonencode(yamldecode(
    templatefile("${path.module}/../statemachine/iam_user_monitor.asl.yaml", merge(
      { for step, arn in local.machine_function_arns.scan : "${step}_function_arn" => arn },
      {
        partition            = local.partition
        table_name           = var.dynamodb_table_name
        map_concurrency      = var.map_concurrency
        scan_timeout_seconds = var.scan_timeout_seconds
        # Longer than the functions' own timeouts, which tell more about what happened, so that they come first.
        task_timeout_seconds    = var.lambda_timeout + 10
        posture_timeout_seconds = local.short_seconds + 10
        publish_timeout_seconds = local.short_seconds + 10
      },
    ))
  ))
}

resource "aws_sfn_state_machine" "scan" {
  #checkov:skip=CKV_AWS_285:All events are logged, but without their data: those are users of the account
  name       = var.name_prefix
  type       = "STANDARD"
  role_arn   = aws_iam_role.state_machine.arn
  definition = local.state_machine_definition
  tags       = local.tags

  logging_configuration {
    level           = "ALL"
    log_destination = "${aws_cloudwatch_log_group.state_machine.arn}:*"
    # The data are users of the account: they belong into the table, where they expire.
    include_execution_data = false
  }

  tracing_configuration {
    enabled = true
  }

  # Named even where it is the default: without the block, a machine would keep the key that it had before.
  encryption_configuration {
    type       = local.customer_key ? "CUSTOMER_MANAGED_KMS_KEY" : "AWS_OWNED_KEY"
    kms_key_id = local.kms_key_arn
    # The longest: KMS is asked, and paid, four times an hour at most.
    kms_data_key_reuse_period_seconds = local.customer_key ? 900 : null
  }

  # Step Functions refuses a role that may not deliver logs. And an execution needs the functions and the table.
  depends_on = [
    aws_iam_role_policy.state_machine,
    aws_lambda_function.step,
    aws_dynamodb_table.records,
  ]

  lifecycle {
    precondition {
      condition     = local.history_events <= local.history_limit
      error_message = "With page_size ${var.page_size} and batch_size ${var.batch_size}, a scan of 5,000 users writes ${local.history_events} events into its history; at most ${local.history_limit} leave room for retries and redrives below Step Functions' limit of 25,000. Raise page_size (defaults: 500 and 100), or batch_size if it is below page_size."
    }
  }
}

# One execution of the other machine for every account: each is locked, recorded, stopped and redriven by itself.
resource "aws_sfn_state_machine" "organization" {
  #checkov:skip=CKV_AWS_285:All events are logged, but without their data, as of the other state machine
  count = var.organization_enabled ? 1 : 0

  name       = local.organization_name
  type       = "STANDARD"
  role_arn   = aws_iam_role.organization[0].arn
  definition = local.organization_definition
  tags       = local.tags

  logging_configuration {
    level                  = "ALL"
    log_destination        = "${aws_cloudwatch_log_group.organization[0].arn}:*"
    include_execution_data = false
  }

  tracing_configuration {
    enabled = true
  }

  encryption_configuration {
    type                              = local.customer_key ? "CUSTOMER_MANAGED_KMS_KEY" : "AWS_OWNED_KEY"
    kms_key_id                        = local.kms_key_arn
    kms_data_key_reuse_period_seconds = local.customer_key ? 900 : null
  }

  # Step Functions refuses a role that may not deliver logs, or hear of the executions that it starts.
  depends_on = [
    aws_iam_role_policy.organization,
    aws_lambda_function.step,
    aws_dynamodb_table.records,
  ]
}
