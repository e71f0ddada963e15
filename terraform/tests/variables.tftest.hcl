# Every variable takes good values up to its bounds (bad ones: refusals.tftest.hcl), and what is made fits together.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_service" {
    defaults = { region = "eu-west-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  # Any file will do as the package here.
  lambda_package_path = "versions.tf"
}

run "takes_the_lowest_values" {
  command = plan

  variables {
    allowed_account_id             = "123456789012"
    kms_key                        = "create"
    alarm_email                    = "a@b.c"
    success_window_hours           = 0
    alarms_enabled                 = false
    dashboard_enabled              = false
    queries_enabled                = false
    deletion_protection_enabled    = false
    point_in_time_recovery_enabled = false
    monitoring_period              = "rate(1 minute)"
    name_prefix                    = "x"
    dynamodb_table_name            = "abc"
    retention_days                 = 1
    lambda_timeout                 = 1
    lambda_memory                  = 128
    lambda_architecture            = "x86_64"
    log_level                      = "DEBUG"
    log_retention_days             = 1
    permissions_boundary_arn       = "arn:aws:iam::aws:policy/PowerUserAccess"
    page_size                      = 10
    batch_size                     = 10
    map_concurrency                = 1
    lock_lease_seconds             = 60
    scan_timeout_seconds           = 60
    schedule_enabled               = false
    tags                           = { Team = "security" }
    credential_report_enabled      = false
    authorization_details_enabled  = false
    recorded_tags                  = ["t"]
    change_events_enabled          = false
    event_bus_name                 = "_"
    announce_activity              = false
    mass_deletion_guard_percent    = 1
    change_email                   = "a@b.c"
    organization_enabled           = true
    member_external_id             = "id"
    accounts                       = ["000000000000"]
    excluded_accounts              = ["000000000001"]
    account_concurrency            = 1
    organization_timeout_seconds   = 120
  }

  assert {
    condition     = aws_cloudwatch_event_rule.schedule.state == "DISABLED"
    error_message = "schedule_enabled = false must pause the schedule."
  }
}

run "takes_the_highest_values" {
  command = plan

  variables {
    kms_key                  = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    alarm_topic_arn          = "arn:aws-us-gov:sns:us-gov-west-1:123456789012:${join("", [for _ in range(64) : "aZ_-"])}"
    success_window_hours     = 168
    monitoring_period        = "rate(30 days)"
    name_prefix              = "iam-user-monitor-of-the-whole-company-42"
    dynamodb_table_name      = join("", [for _ in range(51) : "Aa0._"])
    retention_days           = 3650
    lambda_timeout           = 900
    lambda_memory            = 10240
    lambda_architecture      = "arm64"
    log_level                = "CRITICAL"
    log_retention_days       = 3653
    permissions_boundary_arn = "arn:aws-us-gov:iam::123456789012:policy/path/boundary"
    page_size                = 1000
    batch_size               = 500
    map_concurrency          = 40
    lock_lease_seconds       = 3600
    scan_timeout_seconds     = 86400
    change_events_enabled    = true
    # Of another account, where a rule cannot tell them from here.
    event_bus_name              = "arn:aws:events:eu-west-1:210987654321:event-bus/${join("", [for _ in range(64) : "aZ_."])}"
    announce_activity           = true
    mass_deletion_guard_percent = 100
    recorded_tags               = [for number in range(10) : join("", ["${number}", join("", [for _ in range(127) : "é"])])]
    organization_enabled        = true
    member_role_name            = join("", [for _ in range(16) : "aZ_-"])
    member_external_id          = "the-monitor"
    # The longest unit that there can be.
    included_organizational_units = [for number in range(20) : "ou-${join("", [for _ in range(8) : "ab12"])}-${join("", [for _ in range(7) : "ab12"])}${1000 + number}"]
    excluded_accounts             = [for number in range(50) : tostring(200000000000 + number)]
    account_concurrency           = 40
    organization_timeout_seconds  = 172800
  }

  assert {
    condition     = length(var.dynamodb_table_name) == 255 && length(var.name_prefix) == 40 && length(var.included_organizational_units[0]) == 68
    error_message = "This test must use the greatest lengths."
  }

  assert {
    condition     = alltrue([for name in concat(values(local.function_names), [local.schedule_name, aws_iam_role.state_machine.name, local.clean_up_dead_letters_name, local.schedule_dead_letters_name, local.changes_name, local.changes_dead_letters_name, local.organization_name]) : length(name) <= 64])
    error_message = "With the longest name_prefix, a name exceeds what AWS takes."
  }

  assert {
    condition     = sum([for name, value in aws_lambda_function.step["list_accounts"].environment[0].variables : length(name) + length(value)]) <= 4096
    error_message = "ListAccounts has more environment than Lambda takes."
  }
}

# Lambda takes 4 KB of environment, names and values together.
run "tells_a_function_of_as_many_accounts_as_it_can_be_told" {
  command = plan

  variables {
    dynamodb_table_name  = join("", [for _ in range(51) : "Aa0._"])
    retention_days       = 3650
    log_level            = "CRITICAL"
    organization_enabled = true
    member_role_name     = join("", [for _ in range(16) : "aZ_-"])
    member_external_id   = "the-monitor"
    accounts             = [for number in range(150) : tostring(100000000000 + number)]
    excluded_accounts    = [for number in range(50) : tostring(200000000000 + number)]
  }

  assert {
    condition     = sum([for name, value in aws_lambda_function.step["list_accounts"].environment[0].variables : length(name) + length(value)]) <= 4096
    error_message = "ListAccounts has more environment than Lambda takes."
  }
}

run "takes_the_other_log_levels_and_plural_minutes" {
  command = plan

  variables {
    log_level         = "WARNING"
    monitoring_period = "rate(2 minutes)"
  }
}

run "takes_a_rate_of_a_day" {
  command = plan

  variables {
    log_level         = "ERROR"
    monitoring_period = "rate(1 day)"
  }
}

run "takes_a_cron_expression_with_a_day_of_the_month" {
  command = plan

  variables {
    monitoring_period = "cron(0/15 6-18 L JAN-DEC ? 2026-2030)"
  }
}

run "takes_a_cron_expression_with_a_day_of_the_week" {
  command = plan

  variables {
    monitoring_period = "cron(0 6 ? * MON-FRI *)"
  }
}

run "takes_a_cron_expression_with_the_third_friday" {
  command = plan

  variables {
    monitoring_period = "cron(0 6 ? * 6#3 *)"
  }
}

run "refuses_to_tell_what_is_announced_in_another_account" {
  command = plan

  variables {
    event_bus_name = "arn:aws:events:eu-west-1:210987654321:event-bus/security"
    change_email   = "team@example.com"
  }

  expect_failures = [aws_cloudwatch_event_rule.changes]
}

run "refuses_a_bus_and_a_topic_of_another_region" {
  command = plan

  variables {
    event_bus_name   = "arn:aws:events:us-east-1:123456789012:event-bus/default"
    change_topic_arn = "arn:aws:sns:us-east-1:123456789012:changes"
  }

  expect_failures = [aws_lambda_function.step, aws_cloudwatch_event_rule.changes]
}

run "refuses_a_package_that_is_not_there" {
  command = plan

  variables {
    lambda_package_path = "no-such.zip"
  }

  expect_failures = [aws_lambda_function.step]
}

run "refuses_another_account_than_the_allowed_one" {
  command = plan

  variables {
    allowed_account_id = "210987654321"
  }

  expect_failures = [data.aws_caller_identity.current]
}

# How long ReadPosture and PublishChanges may take: the lock is not renewed meanwhile.

run "what_no_scan_must_wait_for_leaves_the_lease_alone" {
  command = plan

  variables {
    lock_lease_seconds = 60
  }

  assert {
    condition = alltrue([for step, state in { read_posture = "ReadPosture", publish_changes = "PublishChanges" } :
      aws_lambda_function.step[step].timeout == 12 && jsondecode(aws_sfn_state_machine.scan.definition).States[state].TimeoutSeconds == 22
    ])
    error_message = "A fifth of the lease, and the state a little more."
  }
}

run "what_no_scan_must_wait_for_leaves_the_scan_its_time" {
  command = plan

  variables {
    scan_timeout_seconds = 100
  }

  assert {
    condition     = alltrue([for step in ["read_posture", "publish_changes"] : aws_lambda_function.step[step].timeout == 20])
    error_message = "A fifth of scan_timeout_seconds."
  }
}

run "what_no_scan_must_wait_for_takes_no_longer_than_other_functions" {
  command = plan

  variables {
    lambda_timeout = 30
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.step : function.timeout == 30])
    error_message = "lambda_timeout is for all functions."
  }
}

run "what_no_scan_must_wait_for_is_short" {
  command = plan

  variables {
    lambda_timeout       = 900
    lock_lease_seconds   = 3600
    scan_timeout_seconds = 86400
  }

  assert {
    condition     = jsonencode({ for step, function in aws_lambda_function.step : step => function.timeout if function.timeout != 900 }) == jsonencode({ publish_changes = 120, read_posture = 120 })
    error_message = "No scan may wait for posture, nor for its publication, for longer than two minutes a try."
  }
}

# How many events a scan of 5,000 users writes into its history: 35 + pages × (16 + 7 × batches of a page).

run "counts_the_events_of_a_scan" {
  command = plan

  variables {
    page_size  = 500
    batch_size = 100
  }

  assert {
    condition     = local.history_events == 545
    error_message = "Wrong number of events."
  }
}

run "takes_the_smallest_pages_that_leave_room_in_the_history" {
  command = plan

  variables {
    page_size  = 10
    batch_size = 100
  }

  assert {
    condition     = local.history_events == 11535
    error_message = "Wrong number of events."
  }
}

run "refuses_pages_that_fill_the_history" {
  command = plan

  variables {
    page_size  = 9
    batch_size = 100
  }

  expect_failures = [aws_sfn_state_machine.scan]
}

run "takes_the_smallest_batches_that_leave_room_in_the_history" {
  command = plan

  variables {
    page_size  = 500
    batch_size = 3
  }

  assert {
    condition     = local.history_events == 11885
    error_message = "Wrong number of events."
  }
}

run "refuses_batches_that_fill_the_history" {
  command = plan

  variables {
    page_size  = 500
    batch_size = 2
  }

  expect_failures = [aws_sfn_state_machine.scan]
}

run "refuses_single_users" {
  command = plan

  variables {
    page_size  = 1
    batch_size = 1
  }

  expect_failures = [aws_sfn_state_machine.scan]
}

run "counts_a_last_batch_that_is_not_full" {
  command = plan

  variables {
    page_size  = 1000
    batch_size = 7
  }

  assert {
    condition     = local.history_events == 5120
    error_message = "Wrong number of events."
  }
}
