# What is deployed: the rendered definition, the names that belong together, the outputs.

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
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }
  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:eu-west-1:123456789012:function:mock" }
  }
  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:eu-west-1:123456789012:rule/mock" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-west-1:123456789012:mock" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-west-1:123456789012:mock" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:mock" }
  }
  mock_resource "aws_sfn_state_machine" {
    defaults = { arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:mock" }
  }
  mock_resource "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/mock" }
  }
}

# Nor the ARN that all machines have here.
override_resource {
  target = aws_sfn_state_machine.organization
  values = { arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:the-organization" }
}

# Not the ARN that all rules have here, so that a policy can be seen to name this one.
override_resource {
  target = aws_cloudwatch_event_rule.clean_up
  values = { arn = "arn:aws:events:eu-west-1:123456789012:rule/iam-user-monitor-clean-up" }
}

# Not the ARN that its name makes, so that a dependency on the queue can be told from a text that looks like it.
override_resource {
  target = aws_sqs_queue.clean_up_dead_letters
  values = { arn = "arn:aws:sqs:eu-west-1:123456789012:a-queue-that-is-made" }
}

variables {
  lambda_package_path = "versions.tf"
}

run "renders_the_definition" {
  variables {
    name_prefix          = "audit"
    dynamodb_table_name  = "2024"
    map_concurrency      = 7
    lambda_timeout       = 120
    scan_timeout_seconds = 3600
  }

  assert {
    condition     = !strcontains(aws_sfn_state_machine.scan.definition, "$${")
    error_message = "A placeholder survives in the definition."
  }

  assert {
    condition     = can(jsondecode(aws_sfn_state_machine.scan.definition))
    error_message = "The definition is not valid JSON."
  }

  assert {
    condition     = jsonencode(jsondecode(aws_sfn_state_machine.scan.definition).TimeoutSeconds) == "3600"
    error_message = "The machine's TimeoutSeconds must be the number scan_timeout_seconds."
  }

  assert {
    condition     = jsonencode(jsondecode(aws_sfn_state_machine.scan.definition).States.WriteRecords.MaxConcurrency) == "7"
    error_message = "MaxConcurrency must be the number map_concurrency."
  }

  assert {
    condition     = jsonencode(jsondecode(aws_sfn_state_machine.scan.definition).States.ListUsers.TimeoutSeconds) == "130"
    error_message = "A task's TimeoutSeconds must be a number a little above the function's own timeout."
  }

  assert {
    condition     = jsonencode(jsondecode(aws_sfn_state_machine.scan.definition).States.ReleaseLock.Parameters.TableName) == "\"2024\""
    error_message = "A table name of digits must stay a text."
  }

  assert {
    condition     = length(regexall("\"(TimeoutSeconds|MaxConcurrency)\": *\"", aws_sfn_state_machine.scan.definition)) == 0
    error_message = "A number is left in quotes."
  }

  assert {
    condition = alltrue([
      for step, name in output.lambda_function_names :
      strcontains(aws_sfn_state_machine.scan.definition, "\"arn:aws:lambda:eu-west-1:123456789012:function:${name}\"") == (step != "clean_up")
    ])
    error_message = "The state machine must call every function but CleanUp, which hears EventBridge."
  }
}

run "names_belong_together" {
  assert {
    condition = alltrue([
      for step, function in aws_lambda_function.step :
      function.handler == "functions.${step}.handler.handler" && fileexists("${path.module}/../functions/${step}/handler.py")
    ])
    error_message = "A step has no folder in functions/."
  }

  assert {
    condition     = toset(keys(local.all_steps)) == toset([for file in fileset("${path.module}/../functions", "*/handler.py") : dirname(file)])
    error_message = "Not every folder with a handler in functions/ is deployed."
  }

  assert {
    condition     = alltrue([for step, function in aws_lambda_function.step : function.logging_config[0].log_group == aws_cloudwatch_log_group.step[step].name])
    error_message = "A function does not log into the log group that is made for it."
  }

  assert {
    condition     = alltrue([for step, function in aws_lambda_function.step : !contains(keys(function.environment[0].variables), "POWERTOOLS_SERVICE_NAME")])
    error_message = "POWERTOOLS_SERVICE_NAME would put a dimension on every metric."
  }

  assert {
    condition = jsonencode({
      for step, function in aws_lambda_function.step : step => sort(keys(function.environment[0].variables))
      }) == jsonencode({
      acquire_lock    = ["AUTHORIZATION_DETAILS_ENABLED", "CREDENTIAL_REPORT_ENABLED", "DYNAMODB_TABLE_NAME", "LEASE_SECONDS", "LOG_LEVEL", "RETENTION_DAYS", "SCAN_TIMEOUT_SECONDS"]
      read_posture    = ["AUTHORIZATION_DETAILS_ENABLED", "CREDENTIAL_REPORT_ENABLED", "DYNAMODB_TABLE_NAME", "LOG_LEVEL", "RECORDED_TAGS"]
      list_users      = ["BATCH_SIZE", "LOG_LEVEL", "PAGE_SIZE", "SCAN_TIMEOUT_SECONDS"]
      write_batch     = ["DYNAMODB_TABLE_NAME", "LOG_LEVEL"]
      save_progress   = ["DYNAMODB_TABLE_NAME", "LEASE_SECONDS", "LOG_LEVEL"]
      emit_metrics    = ["AUTHORIZATION_DETAILS_ENABLED", "CHANGE_EVENTS_ENABLED", "CREDENTIAL_REPORT_ENABLED", "DYNAMODB_TABLE_NAME", "LOG_LEVEL", "RETENTION_DAYS"]
      publish_changes = ["ANNOUNCE_ACTIVITY", "DYNAMODB_TABLE_NAME", "EVENT_BUS_NAME", "LOG_LEVEL", "MASS_DELETION_GUARD_PERCENT"]
      fail_scan       = ["LOG_LEVEL"]
      clean_up        = ["DYNAMODB_TABLE_NAME", "LOG_LEVEL", "RETENTION_DAYS"]
    })
    error_message = "A step is told more or less than it reads."
  }

  assert {
    condition = alltrue([
      for step, function in aws_lambda_function.step : alltrue([
        for name in keys(function.environment[0].variables) :
        name == "LOG_LEVEL" || strcontains(file("${path.module}/../functions/shared/configuration.py"), "\"${name}\"")
      ])
    ])
    error_message = "A function is given a variable that none reads."
  }

  assert {
    condition     = aws_lambda_function.step["write_batch"].environment[0].variables == tomap({ DYNAMODB_TABLE_NAME = "iam-user-records", LOG_LEVEL = "INFO" })
    error_message = "The table and the log level must reach the functions under their documented names."
  }

  assert {
    condition     = alltrue([for step in ["acquire_lock", "list_users"] : aws_lambda_function.step[step].environment[0].variables.SCAN_TIMEOUT_SECONDS == tostring(var.scan_timeout_seconds)])
    error_message = "The span of a listing must be limited by the time that a scan may take."
  }

  assert {
    condition = aws_lambda_function.step["read_posture"].environment[0].variables == tomap({
      AUTHORIZATION_DETAILS_ENABLED = "true"
      CREDENTIAL_REPORT_ENABLED     = "true"
      DYNAMODB_TABLE_NAME           = "iam-user-records"
      LOG_LEVEL                     = "INFO"
      RECORDED_TAGS                 = "[]"
    })
    error_message = "What is to be read must reach the functions as they read it."
  }

  assert {
    condition = aws_lambda_function.step["emit_metrics"].environment[0].variables.CHANGE_EVENTS_ENABLED == "true" && aws_lambda_function.step["publish_changes"].environment[0].variables == tomap({
      ANNOUNCE_ACTIVITY           = "false"
      DYNAMODB_TABLE_NAME         = "iam-user-records"
      EVENT_BUS_NAME              = "default"
      LOG_LEVEL                   = "INFO"
      MASS_DELETION_GUARD_PERCENT = "20"
    })
    error_message = "What is to be announced, and where, must reach the functions as they read it."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_target.schedule.input).trigger == "schedule"
    error_message = "Scheduled scans must say that they are."
  }
}

run "without_an_organization_there_is_nothing_of_one" {
  assert {
    condition     = length(aws_sfn_state_machine.organization) + length(aws_iam_role.organization) + length(aws_iam_role_policy.organization) + length(aws_cloudwatch_log_group.organization) == 0 && output.organization_state_machine_arn == null
    error_message = "There must be no state machine of an organization."
  }

  assert {
    condition     = setsubtract(keys(local.all_steps), keys(aws_lambda_function.step)) == toset(["list_accounts", "summarize_accounts", "fail_organization"]) && keys(aws_iam_role.step) == keys(aws_lambda_function.step) && keys(aws_cloudwatch_log_group.step) == keys(aws_lambda_function.step)
    error_message = "The steps of an organization must be all that is left out, with their roles and logs."
  }

  assert {
    condition     = aws_cloudwatch_event_target.schedule.arn == aws_sfn_state_machine.scan.arn && jsondecode(aws_cloudwatch_event_rule.clean_up.event_pattern).detail.stateMachineArn == ["arn:aws:states:eu-west-1:123456789012:stateMachine:iam-user-monitor"]
    error_message = "The schedule must start the scan of this account, and CleanUp hear of it alone."
  }
}

run "an_organization_is_scanned_on_schedule" {
  variables {
    name_prefix                  = "audit"
    dynamodb_table_name          = "2024"
    organization_enabled         = true
    member_external_id           = "the-monitor"
    member_role_name             = "reader"
    excluded_accounts            = ["333333333333"]
    account_concurrency          = 7
    lambda_timeout               = 120
    organization_timeout_seconds = 3600
    change_email                 = "team@example.com"
  }

  assert {
    condition = aws_cloudwatch_event_target.schedule.arn == aws_sfn_state_machine.organization[0].arn && jsonencode(jsondecode(aws_cloudwatch_event_rule.clean_up.event_pattern).detail) == jsonencode({
      stateMachineArn = ["arn:aws:states:eu-west-1:123456789012:stateMachine:audit-organization", "arn:aws:states:eu-west-1:123456789012:stateMachine:audit"]
      status          = ["ABORTED", "FAILED", "TIMED_OUT"]
    })
    error_message = "The schedule must start the scan of the organization, and CleanUp hear of both machines."
  }

  assert {
    condition     = output.organization_state_machine_arn == "arn:aws:states:eu-west-1:123456789012:stateMachine:the-organization" && aws_sfn_state_machine.organization[0].name == "audit-organization" && output.log_group_names["organization_state_machine"] == "/aws/vendedlogs/states/audit-organization"
    error_message = "Wrong state machine or log group."
  }

  assert {
    condition = alltrue([
      aws_sfn_state_machine.organization[0].logging_configuration == aws_sfn_state_machine.scan.logging_configuration || one(aws_sfn_state_machine.organization[0].logging_configuration).level == "ALL" && !one(aws_sfn_state_machine.organization[0].logging_configuration).include_execution_data,
      aws_sfn_state_machine.organization[0].tracing_configuration == aws_sfn_state_machine.scan.tracing_configuration,
      aws_sfn_state_machine.organization[0].type == "STANDARD",
    ])
    error_message = "The state machine must log and trace as the other one does."
  }

  assert {
    condition     = !strcontains(aws_sfn_state_machine.organization[0].definition, "$${") && jsonencode(jsondecode(aws_sfn_state_machine.organization[0].definition).TimeoutSeconds) == "3600"
    error_message = "A placeholder survives in the definition, or its time-out is not organization_timeout_seconds."
  }

  assert {
    condition     = regexall("\"MaxConcurrency\":([^,}]+)", aws_sfn_state_machine.organization[0].definition) == tolist([["7"]]) && length(regexall("\"(TimeoutSeconds|MaxConcurrency)\": *\"", aws_sfn_state_machine.organization[0].definition)) == 0
    error_message = "MaxConcurrency must be the number account_concurrency, and no number may be left in quotes."
  }

  assert {
    condition     = jsonencode(jsondecode(aws_sfn_state_machine.organization[0].definition).States.ReleaseLock.Parameters.TableName) == "\"2024\""
    error_message = "A table name of digits must stay a text."
  }

  assert {
    condition = alltrue(concat(
      [for arn in ["stateMachine:audit", "function:audit-list-accounts", "function:audit-summarize-accounts", "function:audit-fail-organization"] : strcontains(aws_sfn_state_machine.organization[0].definition, ":123456789012:${arn}\"")],
      [for step, name in output.lambda_function_names : strcontains(aws_sfn_state_machine.scan.definition, ":${name}\"") == !contains(["list_accounts", "summarize_accounts", "fail_organization", "clean_up"], step)],
    ))
    error_message = "Each state machine must call its own functions, and that of the organization the other one."
  }

  assert {
    condition = aws_lambda_function.step["list_accounts"].environment[0].variables == tomap({
      ACCOUNTS                      = "[]"
      DYNAMODB_TABLE_NAME           = "2024"
      EXCLUDED_ACCOUNTS             = "[\"333333333333\"]"
      INCLUDED_ORGANIZATIONAL_UNITS = "[]"
      LOG_LEVEL                     = "INFO"
      MEMBER_ROLE_NAME              = "reader"
      ORGANIZATION_TIMEOUT_SECONDS  = "3600"
      RETENTION_DAYS                = "90"
    })
    error_message = "Which accounts there are to scan must reach the function as it reads it."
  }

  assert {
    condition = jsonencode({
      for step in ["summarize_accounts", "fail_organization", "clean_up"] : step => aws_lambda_function.step[step].environment[0].variables
      }) == jsonencode({
      summarize_accounts = { CHANGE_EVENTS_ENABLED = "true", DYNAMODB_TABLE_NAME = "2024", EVENT_BUS_NAME = "default", LOG_LEVEL = "INFO", RETENTION_DAYS = "90" }
      fail_organization  = { LOG_LEVEL = "INFO" }
      clean_up           = { DYNAMODB_TABLE_NAME = "2024", LOG_LEVEL = "INFO", ORGANIZATION_STATE_MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:audit-organization", RETENTION_DAYS = "90" }
    })
    error_message = "A step is told more or less than it reads."
  }

  assert {
    condition = alltrue([
      for step, function in aws_lambda_function.step : alltrue([
        for name in keys(function.environment[0].variables) :
        name == "LOG_LEVEL" || strcontains(file("${path.module}/../functions/shared/configuration.py"), "\"${name}\"")
      ])
    ])
    error_message = "A function is given a variable that none reads."
  }

  assert {
    condition = jsondecode(one(aws_cloudwatch_event_rule.changes).event_pattern).detail.execution_arn == [
      { prefix = "arn:aws:states:eu-west-1:123456789012:execution:audit-organization:" },
      { prefix = "arn:aws:states:eu-west-1:123456789012:execution:audit:" },
    ]
    error_message = "People must hear of accounts that failed, too, and of no other deployment."
  }
}

run "clean_up_hears_its_own_rule_only" {
  assert {
    condition     = aws_lambda_permission.clean_up.source_arn == local.clean_up_rule_arn
    error_message = "The permission must name the rule of CleanUp."
  }
}

run "clean_up_waits_for_its_dead_letter_queue" {
  assert {
    condition     = one(aws_lambda_function.step["clean_up"].dead_letter_config).target_arn == "arn:aws:sqs:eu-west-1:123456789012:a-queue-that-is-made"
    error_message = "The function must take the queue's ARN from the queue, and so be made after it."
  }

  assert {
    condition     = alltrue([for step, function in aws_lambda_function.step : length(function.dead_letter_config) == (step == "clean_up" ? 1 : 0)])
    error_message = "Only CleanUp is invoked asynchronously."
  }
}

run "changes_are_told_in_a_sentence_and_none_is_lost" {
  variables {
    name_prefix    = "audit"
    event_bus_name = "arn:aws:events:eu-west-1:123456789012:event-bus/security"
    change_email   = "team@example.com"
  }

  assert {
    condition = jsonencode(jsondecode(one(aws_cloudwatch_event_rule.changes).event_pattern)) == jsonencode({
      source        = ["iam-user-monitor"]
      "detail-type" = [{ "anything-but" = ["IAM User Scan Completed"] }]
      detail        = { execution_arn = [{ prefix = "arn:aws:states:eu-west-1:123456789012:execution:audit:" }] }
    }) && one(aws_cloudwatch_event_rule.changes).event_bus_name == "security"
    error_message = "The rule must hear the changes of this deployment and no others, on the bus where they are announced."
  }

  assert {
    condition = alltrue([for target in aws_cloudwatch_event_target.changes : alltrue([
      target.arn == aws_sns_topic.changes[0].arn,
      target.event_bus_name == "security",
      one(target.input_transformer).input_paths == tomap({ summary = "$.detail.summary" }),
      one(target.input_transformer).input_template == "\"<summary>\"",
      one(target.retry_policy).maximum_event_age_in_seconds == 86400,
      one(target.dead_letter_config).arn == aws_sqs_queue.changes_dead_letters[0].arn,
    ])]) && length(aws_cloudwatch_event_target.changes) == 1
    error_message = "The topic must be told the summary only, for as long as EventBridge tries, and what it does not take must be kept."
  }

  assert {
    condition     = one(aws_sns_topic_subscription.change_email).endpoint == "team@example.com" && one(aws_sns_topic_subscription.change_email).protocol == "email" && one(aws_sns_topic_policy.changes).arn == aws_sns_topic.changes[0].arn
    error_message = "The address must be subscribed to a topic that admits the rule."
  }

  assert {
    condition     = output.change_topic_arn == aws_sns_topic.changes[0].arn && output.change_dead_letter_queue_url == aws_sqs_queue.changes_dead_letters[0].url && output.event_bus_arn == var.event_bus_name
    error_message = "Wrong topic, queue or bus."
  }
}

run "outputs_what_a_user_needs_next" {
  assert {
    condition     = output.state_machine_arn == "arn:aws:states:eu-west-1:123456789012:stateMachine:mock" && output.state_machine_name == "iam-user-monitor"
    error_message = "Wrong state machine."
  }

  assert {
    condition     = output.dynamodb_table_name == "iam-user-records" && output.dynamodb_table_arn == "arn:aws:dynamodb:eu-west-1:123456789012:table/mock"
    error_message = "Wrong table."
  }

  assert {
    condition     = one(aws_dynamodb_table.records.global_secondary_index).hash_key == "scan_timestamp" && one(aws_dynamodb_table.records.global_secondary_index).range_key == "user_name"
    error_message = "The index must find all of a scan, and those of one account of it."
  }

  assert {
    condition     = output.scan_index_name == one(aws_dynamodb_table.records.global_secondary_index).name
    error_message = "Wrong index."
  }

  assert {
    condition = output.lambda_function_names == {
      acquire_lock    = "iam-user-monitor-acquire-lock"
      read_posture    = "iam-user-monitor-read-posture"
      list_users      = "iam-user-monitor-list-users"
      write_batch     = "iam-user-monitor-write-batch"
      save_progress   = "iam-user-monitor-save-progress"
      emit_metrics    = "iam-user-monitor-emit-metrics"
      publish_changes = "iam-user-monitor-publish-changes"
      fail_scan       = "iam-user-monitor-fail-scan"
      clean_up        = "iam-user-monitor-clean-up"
    }
    error_message = "Wrong functions."
  }

  assert {
    condition     = output.event_rule_name == "iam-user-monitor-schedule" && output.metric_namespace == "IAMUserMonitor"
    error_message = "Wrong rule or namespace."
  }

  assert {
    condition     = output.log_group_names["write_batch"] == "/aws/lambda/iam-user-monitor-write-batch" && output.log_group_names["state_machine"] == "/aws/vendedlogs/states/iam-user-monitor" && length(output.log_group_names) == 10
    error_message = "Wrong log groups."
  }

  assert {
    condition     = output.aws_region == "eu-west-1" && output.account_id == "123456789012"
    error_message = "Wrong region or account."
  }

  assert {
    condition     = output.event_bus_arn == "arn:aws:events:eu-west-1:123456789012:event-bus/default" && output.change_topic_arn == null && output.change_dead_letter_queue_url == null
    error_message = "By default, changes are announced on the default bus, and told to nobody."
  }

  assert {
    condition     = length(aws_cloudwatch_event_rule.changes) + length(aws_cloudwatch_event_target.changes) + length(aws_sqs_queue.changes_dead_letters) + length(aws_sns_topic.changes) + length(aws_sns_topic_policy.changes) + length(aws_sns_topic_subscription.change_email) == 0
    error_message = "Where nobody is to be told, there must be nothing to tell with."
  }
}
