# One function per step. The key is also the folder in functions/ and, in PascalCase, the state. What a step has no line
# for, it may not do: these actions, besides logging and tracing, are all that its role allows.
#
#   transaction_actions  on the lock and the manifests, in one transaction
#   lock_actions         on the lock
#   manifest_actions     on the manifests
#   record_actions       on any item of the table
#   index_actions        on the index of the table, which has no keys to limit it to
#   bus_actions          on the event bus, for events whose source is this product
#   account_actions      on the account as a whole, or on the organization
#   unit_actions         on the organization's root and units
#   member_actions       on the role that member accounts have for this deployment
#   execution_actions    on executions. DescribeExecution: before the fence refuses a step, it asks whether the run was
#                        redriven. GetExecutionHistory: whether a history has room for a redrive.
#   executions_of        of which state machines these are, where not of its own
#   machine              the state machine that it is a state of, where that is not "scan"; with the machine, it is there or not
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

  # What lists the accounts. A list of its own asks nobody, and units are asked one by one, from the organization's root down.
  listing_actions      = length(var.accounts) == 0 && length(var.included_organizational_units) == 0 ? ["organizations:ListAccounts"] : []
  unit_listing_actions = length(var.included_organizational_units) > 0 ? ["organizations:ListAccountsForParent", "organizations:ListOrganizationalUnitsForParent"] : []

  steps = { for step, allowed in local.all_steps : step => allowed if contains(keys(local.machines), try(allowed.machine, "scan")) }

  all_steps = {
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
      executions_of     = keys(local.machines)
      environment = merge(
        local.table_environment,
        { RETENTION_DAYS = var.retention_days },
        var.organization_enabled ? { ORGANIZATION_STATE_MACHINE = local.organization_machine_arn } : {},
      )
      asynchronous = true
    }
    list_accounts = {
      description         = "Takes the organization's lock and lists the accounts to scan"
      transaction_actions = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
      manifest_actions    = ["dynamodb:BatchGetItem", "dynamodb:GetItem"]
      account_actions     = local.listing_actions
      unit_actions        = local.unit_listing_actions
      execution_actions   = ["states:DescribeExecution", "states:GetExecutionHistory"]
      environment = merge(local.table_environment, {
        RETENTION_DAYS                = var.retention_days
        MEMBER_ROLE_NAME              = var.member_role_name
        ACCOUNTS                      = jsonencode(var.accounts)
        INCLUDED_ORGANIZATIONAL_UNITS = jsonencode(var.included_organizational_units)
        EXCLUDED_ACCOUNTS             = jsonencode(var.excluded_accounts)
        ORGANIZATION_TIMEOUT_SECONDS  = var.organization_timeout_seconds
      })
      machine = "organization"
    }
    summarize_accounts = {
      description       = "Tells which accounts failed, and records the result of the organization's scan"
      manifest_actions  = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"]
      bus_actions       = var.change_events_enabled ? ["events:PutEvents"] : []
      execution_actions = ["states:DescribeExecution"]
      executions_of     = ["organization", "scan"]
      environment = merge(local.table_environment, {
        RETENTION_DAYS        = var.retention_days
        CHANGE_EVENTS_ENABLED = var.change_events_enabled
        EVENT_BUS_NAME        = var.event_bus_name
      })
      machine = "organization"
    }
    fail_organization = {
      description       = "Ends an organization's scan as failed, naming the accounts, or lets a redriven one go on"
      execution_actions = ["states:DescribeExecution"]
      machine           = "organization"
    }
  }
}
