locals {
  # The definition's file is valid JSON, so its numeric placeholders stand in quotes, "TimeoutSeconds": "${…}". Step
  # Functions wants numbers there, so these lose their quotes again; a table named "2024" keeps them.
  state_machine_definition = replace(
    templatefile("${path.module}/../statemachine/iam_user_monitor.asl.json", merge(
      { for step, arn in local.workflow_function_arns : "${step}_function_arn" => arn },
      {
        partition            = local.partition
        table_name           = var.dynamodb_table_name
        map_concurrency      = var.map_concurrency
        scan_timeout_seconds = var.scan_timeout_seconds
        # Longer than the function's own timeout, which tells more about what happened, so that it comes first.
        task_timeout_seconds = var.lambda_timeout + 10
      },
    )),
    "/(\"(?:TimeoutSeconds|MaxConcurrency)\"): *\"([0-9]+)\"/", "$1: $2"
  )
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
}
