# One function per step. The key is also the folder in functions/ and, in PascalCase, the state. What a step has no line
# for, it may not do: these actions, besides logging and tracing, are all that its role allows.
#
#   transaction_actions  on the lock and the manifests, in one transaction
#   lock_actions         on the lock
#   manifest_actions     on the manifests
#   record_actions       on any item of the table
#   account_actions      on the account as a whole
#   execution_actions    on executions of this state machine. DescribeExecution: before the fence refuses a step, it asks
#                        whether the run was redriven.
#   asynchronous         it is no state, but hears EventBridge, and has a dead-letter queue
locals {
  table_environment = { DYNAMODB_TABLE_NAME = var.dynamodb_table_name }

  steps = {
    acquire_lock = {
      description         = "Takes the execution lock and begins or resumes the scan"
      transaction_actions = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
      manifest_actions    = ["dynamodb:GetItem"]
      execution_actions   = ["states:DescribeExecution"]
      environment = merge(local.table_environment, {
        RETENTION_DAYS       = var.retention_days
        LEASE_SECONDS        = var.lock_lease_seconds
        SCAN_TIMEOUT_SECONDS = var.scan_timeout_seconds
      })
    }
    list_users = {
      description     = "Lists one page of IAM users, cut into batches"
      account_actions = ["iam:ListUsers"]
      environment = {
        PAGE_SIZE            = var.page_size
        BATCH_SIZE           = var.batch_size
        SCAN_TIMEOUT_SECONDS = var.scan_timeout_seconds
      }
    }
    write_batch = {
      description    = "Writes the records of one batch of users"
      record_actions = ["dynamodb:BatchWriteItem"]
      environment    = local.table_environment
    }
    save_progress = {
      description         = "Adds a page to the totals, renews the lock and moves the checkpoint"
      transaction_actions = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
      execution_actions   = ["states:DescribeExecution"]
      environment         = merge(local.table_environment, { LEASE_SECONDS = var.lock_lease_seconds })
    }
    emit_metrics = {
      description       = "Emits the metrics of a scan and records its result, on success and on failure"
      manifest_actions  = ["dynamodb:UpdateItem"]
      execution_actions = ["states:DescribeExecution"]
      environment       = merge(local.table_environment, { RETENTION_DAYS = var.retention_days })
    }
    fail_scan = {
      description       = "Ends a run as failed with the original error, or lets a redriven one go on"
      execution_actions = ["states:DescribeExecution"]
    }
    clean_up = {
      description       = "Records runs that were stopped or timed out, and frees their lock"
      lock_actions      = ["dynamodb:DeleteItem"]
      manifest_actions  = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
      execution_actions = ["states:DescribeExecution"]
      environment       = merge(local.table_environment, { RETENTION_DAYS = var.retention_days })
      asynchronous      = true
    }
  }
}
