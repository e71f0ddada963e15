# Every variable refuses bad values, naming the value and what is allowed. Only the variables take part: `make test` has
# them alone in a folder, where a run takes milliseconds.

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

run "refuses_values_below_the_bounds" {
  command = plan

  variables {
    organization_enabled        = true
    member_role_name            = "path/role"
    allowed_account_id          = ""
    kms_key                     = ""
    alarm_topic_arn             = ""
    event_bus_name              = ""
    mass_deletion_guard_percent = 0
    change_email                = ""
    success_window_hours        = -1
    monitoring_period           = "rate(0 hours)"
    name_prefix                 = ""
    dynamodb_table_name         = "ab"
    retention_days              = 0
    lambda_timeout              = 0
    lambda_memory               = 64
    lambda_architecture         = ""
    log_level                   = ""
    log_retention_days          = 0
    permissions_boundary_arn    = ""
    page_size                   = 0
    batch_size                  = 0
    map_concurrency             = 0
    lock_lease_seconds          = 59
    scan_timeout_seconds        = 59
    tags                        = { "" = "no key" }
  }

  expect_failures = [
    var.organization_enabled,
    var.member_role_name,
    var.allowed_account_id,
    var.kms_key,
    var.alarm_topic_arn,
    var.event_bus_name,
    var.mass_deletion_guard_percent,
    var.change_email,
    var.success_window_hours,
    var.monitoring_period,
    var.name_prefix,
    var.dynamodb_table_name,
    var.retention_days,
    var.lambda_timeout,
    var.lambda_memory,
    var.lambda_architecture,
    var.log_level,
    var.log_retention_days,
    var.permissions_boundary_arn,
    var.page_size,
    var.batch_size,
    var.map_concurrency,
    var.lock_lease_seconds,
    var.scan_timeout_seconds,
    var.tags,
  ]
}

run "refuses_values_above_the_bounds" {
  command = plan

  variables {
    member_role_name            = join("", [for _ in range(65) : "a"])
    member_external_id          = "x"
    allowed_account_id          = "1234567890123"
    kms_key                     = "arn:aws:kms:eu-west-1:123456789012:alias/records"
    alarm_email                 = "two@example.com, addresses@example.com"
    event_bus_name              = join("", [for _ in range(257) : "a"])
    mass_deletion_guard_percent = 101
    change_email                = "two@example.com, addresses@example.com"
    success_window_hours        = 169
    monitoring_period           = "rate(1 hours)"
    name_prefix                 = "iam-user-monitor-of-the-whole-company-421"
    dynamodb_table_name         = join("", [for _ in range(64) : "Aa-_"])
    retention_days              = 3651
    lambda_timeout              = 901
    lambda_memory               = 10304
    lambda_architecture         = "ARM64"
    log_level                   = "info"
    log_retention_days          = 3654
    permissions_boundary_arn    = "arn:aws:iam::123456789012:role/boundary"
    page_size                   = 1001
    batch_size                  = 501
    map_concurrency             = 41
    lock_lease_seconds          = 3601
    scan_timeout_seconds        = 86401
    tags                        = { "AWS:reserved" = "prefix" }
  }

  expect_failures = [
    var.member_role_name,
    var.member_external_id,
    var.allowed_account_id,
    var.kms_key,
    var.alarm_email,
    var.event_bus_name,
    var.mass_deletion_guard_percent,
    var.change_email,
    var.success_window_hours,
    var.monitoring_period,
    var.name_prefix,
    var.dynamodb_table_name,
    var.retention_days,
    var.lambda_timeout,
    var.lambda_memory,
    var.lambda_architecture,
    var.log_level,
    var.log_retention_days,
    var.permissions_boundary_arn,
    var.page_size,
    var.batch_size,
    var.map_concurrency,
    var.lock_lease_seconds,
    var.scan_timeout_seconds,
    var.tags,
  ]
}

run "refuses_values_between_the_allowed_ones" {
  command = plan

  variables {
    allowed_account_id          = "12345678901a"
    kms_key                     = "1234abcd-12ab-34cd-56ef-1234567890ab"
    alarm_topic_arn             = "arn:aws:sqs:eu-west-1:123456789012:alarms"
    event_bus_name              = "aws.partner/example.com/bus"
    mass_deletion_guard_percent = 1.5
    change_topic_arn            = "arn:aws:sqs:eu-west-1:123456789012:changes"
    success_window_hours        = 1.5
    monitoring_period           = "rate(2 hour)"
    name_prefix                 = "under_score"
    dynamodb_table_name         = "no spaces"
    retention_days              = 1.5
    lambda_timeout              = 1.5
    lambda_memory               = 200
    log_level                   = "TRACE"
    log_retention_days          = 2
    page_size                   = 1.5
    batch_size                  = 1.5
    map_concurrency             = 1.5
    lock_lease_seconds          = 60.5
    scan_timeout_seconds        = 60.5
    # 50 tags: with Application, one more than AWS takes.
    tags = { for number in range(50) : "tag-${number}" => "" }
  }

  expect_failures = [
    var.allowed_account_id,
    var.kms_key,
    var.alarm_topic_arn,
    var.event_bus_name,
    var.mass_deletion_guard_percent,
    var.change_topic_arn,
    var.success_window_hours,
    var.monitoring_period,
    var.name_prefix,
    var.dynamodb_table_name,
    var.retention_days,
    var.lambda_timeout,
    var.lambda_memory,
    var.log_level,
    var.log_retention_days,
    var.page_size,
    var.batch_size,
    var.map_concurrency,
    var.lock_lease_seconds,
    var.scan_timeout_seconds,
    var.tags,
  ]
}

run "refuses_a_name_prefix_that_begins_with_a_digit" {
  command = plan

  variables {
    name_prefix       = "1st"
    monitoring_period = "rate(01 hour)"
  }

  expect_failures = [var.name_prefix, var.monitoring_period]
}

run "refuses_a_rate_in_seconds" {
  command = plan

  variables {
    monitoring_period = "rate(30 seconds)"
  }

  expect_failures = [var.monitoring_period]
}

run "refuses_a_rate_with_a_fraction" {
  command = plan

  variables {
    monitoring_period = "rate(1.5 hours)"
  }

  expect_failures = [var.monitoring_period]
}

run "refuses_a_cron_expression_with_five_fields" {
  command = plan

  variables {
    monitoring_period = "cron(0 6 * * ?)"
  }

  expect_failures = [var.monitoring_period]
}

run "refuses_a_cron_expression_with_seven_fields" {
  command = plan

  variables {
    monitoring_period = "cron(0 0 6 * * ? *)"
  }

  expect_failures = [var.monitoring_period]
}

run "refuses_a_cron_expression_with_both_days_given" {
  command = plan

  variables {
    monitoring_period = "cron(0 6 * * MON *)"
  }

  expect_failures = [var.monitoring_period]
}

run "refuses_a_cron_expression_with_neither_day_given" {
  command = plan

  variables {
    monitoring_period = "cron(0 6 ? * ? *)"
  }

  expect_failures = [var.monitoring_period]
}

run "refuses_words_for_a_schedule" {
  command = plan

  variables {
    monitoring_period = "hourly"
  }

  expect_failures = [var.monitoring_period]
}

run "refuses_an_address_for_an_existing_topic" {
  command = plan

  variables {
    alarm_email      = "team@example.com"
    alarm_topic_arn  = "arn:aws:sns:eu-west-1:123456789012:alarms"
    change_email     = "team@example.com"
    change_topic_arn = "arn:aws:sns:eu-west-1:123456789012:changes"
  }

  expect_failures = [var.alarm_email, var.change_email]
}

run "refuses_an_empty_address" {
  command = plan

  variables {
    alarm_email = ""
  }

  expect_failures = [var.alarm_email]
}

run "refuses_a_topic_of_ordered_messages" {
  command = plan

  variables {
    alarm_topic_arn  = "arn:aws:sns:eu-west-1:123456789012:alarms.fifo"
    change_topic_arn = "arn:aws:sns:eu-west-1:123456789012:changes.fifo"
  }

  expect_failures = [var.alarm_topic_arn, var.change_topic_arn]
}

run "refuses_too_many_recorded_tags" {
  command = plan

  variables {
    recorded_tags = [for number in range(11) : "tag-${number}"]
  }

  expect_failures = [var.recorded_tags]
}

run "refuses_a_recorded_tag_twice" {
  command = plan

  variables {
    recorded_tags = ["team", "team"]
  }

  expect_failures = [var.recorded_tags]
}

run "refuses_an_empty_recorded_tag" {
  command = plan

  variables {
    recorded_tags = [""]
  }

  expect_failures = [var.recorded_tags]
}

run "refuses_a_recorded_tag_that_no_tag_has" {
  command = plan

  variables {
    recorded_tags = ["team*"]
  }

  expect_failures = [var.recorded_tags]
}

run "refuses_a_recorded_tag_that_is_too_long" {
  command = plan

  variables {
    recorded_tags = [join("", [for _ in range(129) : "a"])]
  }

  expect_failures = [var.recorded_tags]
}

# An organization. Each run by itself has what one variable is checked against: a check is left out where that is wrong.

run "refuses_values_of_an_organization_below_the_bounds" {
  command = plan

  variables {
    organization_enabled         = true
    member_external_id           = "the-monitor"
    accounts                     = ["12345678901"]
    account_concurrency          = 0
    organization_timeout_seconds = 119
    scan_timeout_seconds         = 60
  }

  expect_failures = [var.accounts, var.account_concurrency, var.organization_timeout_seconds]
}

run "refuses_values_of_an_organization_above_the_bounds" {
  command = plan

  variables {
    organization_enabled          = true
    member_external_id            = "the-monitor"
    included_organizational_units = ["r-ab12", "ou-ab12-1"]
    excluded_accounts             = ["1234567890123"]
    account_concurrency           = 41
    organization_timeout_seconds  = 172801
  }

  expect_failures = [var.included_organizational_units, var.excluded_accounts, var.account_concurrency, var.organization_timeout_seconds]
}

run "refuses_values_of_an_organization_between_the_allowed_ones" {
  command = plan

  variables {
    organization_enabled          = true
    member_external_id            = "the-monitor"
    included_organizational_units = ["OU-AB12-11111111"]
    excluded_accounts             = ["12345678901a"]
    account_concurrency           = 1.5
    organization_timeout_seconds  = 3600.5
  }

  expect_failures = [var.included_organizational_units, var.excluded_accounts, var.account_concurrency, var.organization_timeout_seconds]
}

run "refuses_what_is_of_an_organization_without_one" {
  command = plan

  variables {
    accounts                     = ["123456789012"]
    account_concurrency          = 11
    organization_timeout_seconds = 3600
  }

  expect_failures = [var.accounts, var.account_concurrency, var.organization_timeout_seconds]
}

run "refuses_units_and_exclusions_without_an_organization" {
  command = plan

  variables {
    included_organizational_units = ["ou-ab12-11111111"]
    excluded_accounts             = ["123456789012"]
  }

  expect_failures = [var.included_organizational_units, var.excluded_accounts]
}

run "refuses_accounts_that_are_named_and_looked_up" {
  command = plan

  variables {
    organization_enabled          = true
    member_external_id            = "the-monitor"
    accounts                      = ["123456789012"]
    included_organizational_units = ["ou-ab12-11111111"]
  }

  expect_failures = [var.included_organizational_units]
}

run "refuses_to_scan_what_is_excluded" {
  command = plan

  variables {
    organization_enabled = true
    member_external_id   = "the-monitor"
    accounts             = ["123456789012", "123456789013"]
    excluded_accounts    = ["123456789013"]
  }

  expect_failures = [var.excluded_accounts]
}

run "refuses_an_account_or_a_unit_twice" {
  command = plan

  variables {
    organization_enabled          = true
    member_external_id            = "the-monitor"
    included_organizational_units = ["r-ab12", "r-ab12"]
    excluded_accounts             = ["123456789012", "123456789012"]
  }

  expect_failures = [var.included_organizational_units, var.excluded_accounts]
}

run "refuses_an_account_twice" {
  command = plan

  variables {
    organization_enabled = true
    member_external_id   = "the-monitor"
    accounts             = ["123456789012", "123456789012"]
  }

  expect_failures = [var.accounts]
}

run "refuses_more_accounts_than_a_function_can_be_told" {
  command = plan

  variables {
    organization_enabled = true
    member_external_id   = "the-monitor"
    accounts             = [for number in range(151) : tostring(100000000000 + number)]
  }

  expect_failures = [var.accounts]
}

run "refuses_more_units_and_exclusions_than_a_function_can_be_told" {
  command = plan

  variables {
    organization_enabled          = true
    member_external_id            = "the-monitor"
    included_organizational_units = [for number in range(21) : "ou-ab12-${100000000000 + number}"]
    excluded_accounts             = [for number in range(51) : tostring(200000000000 + number)]
  }

  expect_failures = [var.included_organizational_units, var.excluded_accounts]
}

run "refuses_an_organization_that_has_no_more_time_than_one_account" {
  command = plan

  variables {
    organization_enabled         = true
    member_external_id           = "the-monitor"
    organization_timeout_seconds = 1800
  }

  expect_failures = [var.organization_timeout_seconds]
}
