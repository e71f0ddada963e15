data "aws_caller_identity" "current" {
  lifecycle {
    # The first thing that is known of the credentials, so that nothing is planned for another account.
    postcondition {
      condition     = var.allowed_account_id == null ? true : self.account_id == var.allowed_account_id
      error_message = "The credentials are of account ${self.account_id}, but allowed_account_id is ${coalesce(var.allowed_account_id, "null")}: use those of that account, or change allowed_account_id."
    }
  }
}

data "aws_partition" "current" {}

# For its region. Not data.aws_region: its `name` and `id` are deprecated in provider 6, where `region` takes their place,
# which provider 5 does not have.
data "aws_service" "states" {
  service_id = "states"
}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_service.states.region

  # On every resource, and not by default_tags: a module has no provider of its own.
  tags = merge({ Application = var.name_prefix }, var.tags)

  metric_namespace = "IAMUserMonitor"
  scan_index_name  = "scan-timestamp-index"
  # Partition keys of the two items that are no records; functions/shared has them, too.
  lock_key     = "__execution_lock__"
  manifest_key = "__scan__"
  package_path = coalesce(var.lambda_package_path, "${path.module}/../build/iam_user_monitor.zip")

  # ARNs are put together from names, and not taken from the resources: a role's trust policy must name the resource
  # that needs the role, and so the plan shows every policy and the definition in full, before anything is created.
  table_arn                  = "arn:${local.partition}:dynamodb:${local.region}:${local.account_id}:table/${var.dynamodb_table_name}"
  state_machine_arn          = "arn:${local.partition}:states:${local.region}:${local.account_id}:stateMachine:${var.name_prefix}"
  schedule_name              = "${var.name_prefix}-schedule"
  schedule_rule_arn          = "arn:${local.partition}:events:${local.region}:${local.account_id}:rule/${local.schedule_name}"
  execution_arns             = "arn:${local.partition}:states:${local.region}:${local.account_id}:execution:${var.name_prefix}:*"
  clean_up_name              = "${var.name_prefix}-clean-up"
  clean_up_dead_letters_name = "${local.clean_up_name}-dead-letters"
  clean_up_dead_letters_arn  = "arn:${local.partition}:sqs:${local.region}:${local.account_id}:${local.clean_up_dead_letters_name}"
  schedule_dead_letters_name = "${local.schedule_name}-dead-letters"
  schedule_dead_letters_arn  = "arn:${local.partition}:sqs:${local.region}:${local.account_id}:${local.schedule_dead_letters_name}"
  clean_up_rule_arn          = "arn:${local.partition}:events:${local.region}:${local.account_id}:rule/${local.clean_up_name}"
  function_names             = { for step, _ in local.steps : step => "${var.name_prefix}-${replace(step, "_", "-")}" }
  function_arns              = { for step, name in local.function_names : step => "arn:${local.partition}:lambda:${local.region}:${local.account_id}:function:${name}" }

  state_machine_log_group_arn  = "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group:${local.state_machine_log_group_name}"
  state_machine_log_group_name = "/aws/vendedlogs/states/${var.name_prefix}"
  function_log_group_names     = { for step, name in local.function_names : step => "/aws/lambda/${name}" }
  function_log_group_arns      = { for step, name in local.function_log_group_names : step => "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group:${name}" }

  # What the state machine may invoke, and its definition names: all but CleanUp, which hears EventBridge.
  workflow_function_arns = { for step, arn in local.function_arns : step => arn if step != "clean_up" }

  # One function per step of the workflow. The key is also the folder in functions/ and, in PascalCase, the state.
  # `lock_actions` and `manifest_actions` (on these items of the table), `record_actions` (on any item),
  # `account_actions` and `execution_actions` (on executions of this state machine) are all that the step's role may do
  # besides logging and tracing.
  steps = {
    acquire_lock = {
      description = "Takes the execution lock and begins or resumes the scan"
      # DeleteItem: it gives a lock back when the scan of this very second turns out to be another execution's.
      lock_actions      = ["dynamodb:DeleteItem", "dynamodb:PutItem"]
      manifest_actions  = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
      record_actions    = []
      account_actions   = []
      execution_actions = []
      environment = {
        DYNAMODB_TABLE_NAME = var.dynamodb_table_name
        RETENTION_DAYS      = var.retention_days
        LEASE_SECONDS       = var.lock_lease_seconds
      }
    }
    list_users = {
      description       = "Lists one page of IAM users, cut into batches"
      lock_actions      = []
      manifest_actions  = []
      record_actions    = []
      account_actions   = ["iam:ListUsers"]
      execution_actions = []
      environment = {
        PAGE_SIZE  = var.page_size
        BATCH_SIZE = var.batch_size
      }
    }
    write_batch = {
      description       = "Writes the records of one batch of users"
      lock_actions      = []
      manifest_actions  = []
      record_actions    = ["dynamodb:BatchWriteItem"]
      account_actions   = []
      execution_actions = []
      environment = {
        DYNAMODB_TABLE_NAME = var.dynamodb_table_name
        RETENTION_DAYS      = var.retention_days
      }
    }
    save_progress = {
      description = "Adds a page to the totals, renews the lock and moves the checkpoint"
      # PutItem: it takes the lock again after its lease has expired, in a run that was redriven.
      lock_actions      = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
      manifest_actions  = ["dynamodb:UpdateItem"]
      record_actions    = []
      account_actions   = []
      execution_actions = []
      environment = {
        DYNAMODB_TABLE_NAME = var.dynamodb_table_name
        LEASE_SECONDS       = var.lock_lease_seconds
      }
    }
    emit_metrics = {
      description       = "Emits the metrics of a scan and records its result, on success and on failure"
      lock_actions      = []
      manifest_actions  = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
      record_actions    = []
      account_actions   = []
      execution_actions = []
      environment = {
        DYNAMODB_TABLE_NAME = var.dynamodb_table_name
        RETENTION_DAYS      = var.retention_days
      }
    }
    fail_scan = {
      description       = "Ends a run as failed with the original error, or lets a redriven one go on"
      lock_actions      = []
      manifest_actions  = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
      record_actions    = []
      account_actions   = []
      execution_actions = []
      environment = {
        DYNAMODB_TABLE_NAME = var.dynamodb_table_name
        RETENTION_DAYS      = var.retention_days
      }
    }
    clean_up = {
      description = "Records runs that were stopped or timed out, and frees their lock"
      # DeleteItem: it frees the lock; its condition keeps it from freeing another run's.
      lock_actions     = ["dynamodb:DeleteItem", "dynamodb:GetItem"]
      manifest_actions = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
      record_actions   = []
      account_actions  = []
      # It asks whether a run that was stopped has been redriven meanwhile.
      execution_actions = ["states:DescribeExecution"]
      environment = {
        DYNAMODB_TABLE_NAME = var.dynamodb_table_name
        RETENTION_DAYS      = var.retention_days
      }
    }
  }
}
