# One function per step. The key is also the folder in functions/ and, in PascalCase, the state. What a step has no line
# for, it may not do: these actions, besides logging and tracing, are all that its role allows.
#
#   transaction_actions  on the lock and the manifests, in one transaction
#   lock_actions         on the lock
#   manifest_actions     on the manifests
#   record_actions       on any item of the table
#   index_actions        on the index of the table, which has no keys to limit it to
#   bus_actions          on the event bus, for events whose source is this product
#   account_actions      on the account as a whole
#   member_actions       on the role that member accounts have for this deployment
#   execution_actions    on executions of this state machine. DescribeExecution: before the fence refuses a step, it asks
#                        whether the run was redriven.
#   asynchronous         it is no state, but hears EventBridge, and has a dead-letter queue
#   timeout              seconds that it may take, where that is not lambda_timeout
locals {
  table_environment = { DYNAMODB_TABLE_NAME = var.dynamodb_table_name }
  posture_environment = {
    CREDENTIAL_REPORT_ENABLED     = var.credential_report_enabled
    AUTHORIZATION_DETAILS_ENABLED = var.authorization_details_enabled
  }

  # What is switched off is not asked for or done, and may not be.
  posture_enabled = var.credential_report_enabled || var.authorization_details_enabled
  posture_actions = concat(
    var.credential_report_enabled ? ["iam:GenerateCredentialReport", "iam:GetCredentialReport"] : [],
    var.authorization_details_enabled ? ["iam:GetAccountAuthorizationDetails"] : [],
  )
  # For the steps that no scan must wait for, ReadPosture and PublishChanges: the lock is not renewed while they work, and
  # their retries take no more than the lease either.
  short_seconds = min(var.lambda_timeout, 120, floor(var.lock_lease_seconds / 5), floor(var.scan_timeout_seconds / 5))

  # Whose input AcquireLock takes, and which roles ListUsers and ReadPosture may take: without an organization, none.
  member_environment = var.organization_enabled ? { MEMBER_EXTERNAL_ID = var.member_external_id } : {}
  member_actions     = var.organization_enabled ? ["sts:AssumeRole"] : []

  steps = {
    acquire_lock = {
      description         = "Takes the execution lock and begins or resumes the scan"
      transaction_actions = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
      manifest_actions    = ["dynamodb:GetItem"]
      execution_actions   = ["states:DescribeExecution"]
      environment = merge(local.table_environment, local.posture_environment, {
        RETENTION_DAYS       = var.retention_days
        LEASE_SECONDS        = var.lock_lease_seconds
        SCAN_TIMEOUT_SECONDS = var.scan_timeout_seconds
      }, var.organization_enabled ? { MEMBER_ROLE_NAME = var.member_role_name } : {})
    }
    read_posture = {
      description      = "Reads the credential report and the authorization details of all users"
      account_actions  = local.posture_actions
      manifest_actions = local.posture_enabled ? ["dynamodb:PutItem"] : []
      member_actions   = local.posture_enabled ? local.member_actions : []
      environment = merge(local.table_environment, local.posture_environment, local.member_environment, {
        RECORDED_TAGS = jsonencode(var.recorded_tags)
      })
      timeout = local.short_seconds
    }
    list_users = {
      description     = "Lists one page of IAM users, cut into batches"
      account_actions = ["iam:ListUsers"]
      member_actions  = local.member_actions
      environment = merge(local.member_environment, {
        PAGE_SIZE            = var.page_size
        BATCH_SIZE           = var.batch_size
        SCAN_TIMEOUT_SECONDS = var.scan_timeout_seconds
      })
    }
    write_batch = {
      description      = "Writes the records of one batch of users"
      record_actions   = ["dynamodb:BatchWriteItem"]
      manifest_actions = local.posture_enabled ? ["dynamodb:GetItem"] : []
      environment      = local.table_environment
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
      environment = merge(local.table_environment, local.posture_environment, {
        CHANGE_EVENTS_ENABLED = var.change_events_enabled
        RETENTION_DAYS        = var.retention_days
      })
    }
    publish_changes = {
      description      = "Announces on the event bus what has changed since the last announced scan"
      manifest_actions = var.change_events_enabled ? ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"] : []
      record_actions   = var.change_events_enabled ? ["dynamodb:BatchGetItem"] : []
      index_actions    = var.change_events_enabled ? ["dynamodb:Query"] : []
      bus_actions      = var.change_events_enabled ? ["events:PutEvents"] : []
      environment = merge(local.table_environment, {
        EVENT_BUS_NAME              = var.event_bus_name
        ANNOUNCE_ACTIVITY           = var.announce_activity
        MASS_DELETION_GUARD_PERCENT = var.mass_deletion_guard_percent
      })
      timeout = local.short_seconds
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
