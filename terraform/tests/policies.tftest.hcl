# Who may do what: every policy contains exactly the expected statements. The real provider renders them; its keys are
# dummies, and what would ask AWS is overridden.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

# Otherwise the provider would have AWS validate its definition.
override_resource {
  target = aws_sfn_state_machine.scan
}

override_resource {
  target = aws_sfn_state_machine.organization
}

variables {
  lambda_package_path = "versions.tf"
}

run "two_steps_may_take_the_member_role_and_no_other" {
  command = plan

  variables {
    organization_enabled = true
    member_role_name     = "audit"
    member_external_id   = "the-monitor"
  }

  assert {
    condition = jsonencode({
      for step, document in data.aws_iam_policy_document.step : step => [
        for statement in jsondecode(document.json).Statement : statement if statement.Sid == "MemberRoles"
      ]
      }) == jsonencode({
      for step in keys(local.steps) : step => !contains(["list_users", "read_posture"], step) ? [] : [{
        Action   = "sts:AssumeRole"
        Effect   = "Allow"
        Resource = "arn:aws:iam::*:role/audit"
        Sid      = "MemberRoles"
      }]
    })
    error_message = "ListUsers and ReadPosture look into member accounts, by that role only, and nobody else does."
  }

  assert {
    condition = jsonencode({
      for step, allowed in local.steps : step => { for name, value in try(allowed.environment, {}) : name => value if startswith(name, "MEMBER_") }
      }) == jsonencode(merge({ for step in keys(local.steps) : step => {} }, {
        acquire_lock  = { MEMBER_ROLE_NAME = "audit" }
        list_accounts = { MEMBER_ROLE_NAME = "audit" }
        list_users    = { MEMBER_EXTERNAL_ID = "the-monitor" }
        read_posture  = { MEMBER_EXTERNAL_ID = "the-monitor" }
    }))
    error_message = "Who looks into member accounts must know the external id, ListAccounts the role that it names, and AcquireLock that which it lets through."
  }
}

run "the_steps_of_an_organization_may_do_exactly_their_work" {
  command = plan

  variables {
    organization_enabled = true
    member_external_id   = "the-monitor"
  }

  assert {
    condition = jsonencode({
      for step in ["list_accounts", "summarize_accounts", "fail_organization"] : step => {
        for statement in jsondecode(data.aws_iam_policy_document.step[step].json).Statement : statement.Sid => sort(flatten([statement.Action]))
        if !contains(["Logs", "Tracing"], statement.Sid)
      }
      }) == jsonencode({
      list_accounts = {
        LockAndManifest = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
        Manifest        = ["dynamodb:BatchGetItem", "dynamodb:GetItem"]
        Account         = ["organizations:ListAccounts"]
        Executions      = ["states:DescribeExecution", "states:GetExecutionHistory"]
      }
      summarize_accounts = {
        Manifest   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"]
        Events     = ["events:PutEvents"]
        Executions = ["states:DescribeExecution"]
      }
      fail_organization = { Executions = ["states:DescribeExecution"] }
    })
    error_message = "A step of the organization may do more or less than its work."
  }

  assert {
    condition = jsonencode({
      for step, document in data.aws_iam_policy_document.step : step => one([
        for statement in jsondecode(document.json).Statement : sort(flatten([statement.Resource])) if statement.Sid == "Executions"
      ]) if can(local.steps[step].execution_actions)
      }) == jsonencode({
      for step, machines in {
        acquire_lock       = ["iam-user-monitor"]
        clean_up           = ["iam-user-monitor-organization", "iam-user-monitor"]
        emit_metrics       = ["iam-user-monitor"]
        fail_organization  = ["iam-user-monitor-organization"]
        fail_scan          = ["iam-user-monitor"]
        list_accounts      = ["iam-user-monitor-organization"]
        save_progress      = ["iam-user-monitor"]
        summarize_accounts = ["iam-user-monitor-organization", "iam-user-monitor"]
      } : step => [for machine in machines : "arn:aws:states:eu-west-1:123456789012:execution:${machine}:*"]
    })
    error_message = "A step may ask for executions of another machine than those that it has to do with."
  }

  assert {
    condition = alltrue(flatten([
      for step in ["list_accounts", "summarize_accounts", "fail_organization", "clean_up"] : [
        for statement in jsondecode(data.aws_iam_policy_document.step[step].json).Statement : jsonencode([statement.Resource, try(statement.Condition, null)]) == jsonencode({
          LockAndManifest = ["arn:aws:dynamodb:eu-west-1:123456789012:table/iam-user-records", {
            "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["__execution_lock__", "__scan__"] }, Null = { "dynamodb:LeadingKeys" = "false" }
          }]
          Lock = ["arn:aws:dynamodb:eu-west-1:123456789012:table/iam-user-records", {
            "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = "__execution_lock__" }, Null = { "dynamodb:LeadingKeys" = "false" }
          }]
          Manifest = ["arn:aws:dynamodb:eu-west-1:123456789012:table/iam-user-records", {
            "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = "__scan__" }, Null = { "dynamodb:LeadingKeys" = "false" }
          }]
          Account = ["*", null]
          Events  = ["arn:aws:events:eu-west-1:123456789012:event-bus/default", { StringEquals = { "events:source" = "iam-user-monitor" } }]
        }[statement.Sid]) if contains(["LockAndManifest", "Lock", "Manifest", "Account", "Events"], statement.Sid)
      ]
    ]))
    error_message = "A step of the organization may reach other items or another bus than expected."
  }
}

run "with_units_the_organization_is_listed_by_them" {
  command = plan

  variables {
    organization_enabled          = true
    member_external_id            = "the-monitor"
    included_organizational_units = ["ou-ab12-11111111"]
  }

  assert {
    condition = jsonencode({
      for statement in jsondecode(data.aws_iam_policy_document.step["list_accounts"].json).Statement : statement.Sid => [sort(flatten([statement.Action])), sort(flatten([statement.Resource]))]
      if strcontains(jsonencode(statement.Action), "organizations:")
      }) == jsonencode({
      Units = [
        ["organizations:ListAccountsForParent", "organizations:ListOrganizationalUnitsForParent"],
        ["arn:aws:organizations::*:ou/o-*/ou-*", "arn:aws:organizations::*:root/o-*/r-*"],
      ]
    })
    error_message = "ListAccounts must be able to list the accounts and units of a unit, and nothing else of the organization."
  }
}

run "with_a_list_of_accounts_nobody_asks_the_organization" {
  command = plan

  variables {
    organization_enabled  = true
    member_external_id    = "the-monitor"
    accounts              = ["123456789012", "210987654321"]
    change_events_enabled = false
  }

  assert {
    condition     = !anytrue([for document in values(data.aws_iam_policy_document.step) : strcontains(document.json, "organizations:") || strcontains(document.json, "events:PutEvents")])
    error_message = "What is not asked for or announced may not be."
  }
}

run "the_state_machine_of_an_organization_may_do_exactly_its_work" {
  command = plan

  variables {
    organization_enabled = true
    member_external_id   = "the-monitor"
    kms_key              = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition = jsonencode({
      for statement in jsondecode(data.aws_iam_policy_document.state_machine["organization"].json).Statement : statement.Sid => [sort(flatten([statement.Action])), sort(flatten([statement.Resource]))]
      if !contains(["LogDelivery", "Tracing"], statement.Sid) && !endswith(statement.Sid, "Key")
      }) == jsonencode({
      InvokeSteps = [["lambda:InvokeFunction"], [for step in ["fail-organization", "list-accounts", "summarize-accounts"] : "arn:aws:lambda:eu-west-1:123456789012:function:iam-user-monitor-${step}"]]
      StartScans  = [["states:StartExecution"], ["arn:aws:states:eu-west-1:123456789012:stateMachine:iam-user-monitor"]]
      FollowScans = [["states:DescribeExecution", "states:RedriveExecution", "states:StopExecution"], ["arn:aws:states:eu-west-1:123456789012:execution:iam-user-monitor:*"]]
      HearOfScans = [["events:DescribeRule", "events:PutRule", "events:PutTargets"], ["arn:aws:events:eu-west-1:123456789012:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"]]
      ReleaseLock = [["dynamodb:DeleteItem"], ["arn:aws:dynamodb:eu-west-1:123456789012:table/iam-user-records"]]
    })
    error_message = "The state machine of the organization may do more or less than its work."
  }

  assert {
    condition = jsonencode([
      for statement in jsondecode(data.aws_iam_policy_document.state_machine["organization"].json).Statement : [statement.Sid, statement.Action, try(statement.Condition, null)]
      if contains(["ReleaseLock", "LogDelivery", "Tracing", "LogDeliveryKey", "TableKey"], statement.Sid)
      ]) == jsonencode([
      for statement in jsondecode(data.aws_iam_policy_document.state_machine["scan"].json).Statement : [statement.Sid, statement.Action, try(statement.Condition, null)]
      if contains(["ReleaseLock", "LogDelivery", "Tracing", "LogDeliveryKey", "TableKey"], statement.Sid)
    ])
    error_message = "Both state machines free a lock, deliver logs and traces, and use the key for that, alike."
  }

  assert {
    condition = jsonencode({
      for owner, document in merge({ for machine, document in data.aws_iam_policy_document.state_machine : "${machine} machine" => document }, data.aws_iam_policy_document.step) : owner => one([
        for statement in jsondecode(document.json).Statement : [for arn in sort(flatten([statement.Condition.StringEquals["kms:EncryptionContext:aws:states:stateMachineArn"]])) : element(split(":", arn), -1)] if statement.Sid == "ExecutionsKey"
      ]) if strcontains(document.json, "\"ExecutionsKey\"")
      }) == jsonencode({
      acquire_lock           = ["iam-user-monitor"]
      clean_up               = ["iam-user-monitor", "iam-user-monitor-organization"]
      emit_metrics           = ["iam-user-monitor"]
      fail_organization      = ["iam-user-monitor-organization"]
      fail_scan              = ["iam-user-monitor"]
      list_accounts          = ["iam-user-monitor-organization"]
      "organization machine" = ["iam-user-monitor", "iam-user-monitor-organization"]
      save_progress          = ["iam-user-monitor"]
      "scan machine"         = ["iam-user-monitor"]
      summarize_accounts     = ["iam-user-monitor", "iam-user-monitor-organization"]
    })
    error_message = "Whoever asks for an execution must be able to decrypt it, and no other."
  }

  assert {
    condition = jsonencode([for statement in jsondecode(data.aws_iam_policy_document.state_machine_trust["organization"].json).Statement : [statement.Principal, statement.Condition]]) == jsonencode([[
      { Service = "states.amazonaws.com" },
      {
        ArnEquals    = { "aws:SourceArn" = "arn:aws:states:eu-west-1:123456789012:stateMachine:iam-user-monitor-organization" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      },
    ]])
    error_message = "The role must trust Step Functions for the state machine of the organization only."
  }

  assert {
    condition     = jsondecode(data.aws_iam_policy_document.schedule.json).Statement[0].Resource == "arn:aws:states:eu-west-1:123456789012:stateMachine:iam-user-monitor-organization" && length(jsondecode(data.aws_iam_policy_document.schedule.json).Statement) == 1
    error_message = "The schedule must be able to start the scan of the organization and nothing else."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(data.aws_iam_policy_document.key.json).Statement : statement.Condition.ArnEquals["kms:EncryptionContext:aws:logs:arn"] if statement.Sid == "Logs"
    ])) == toset([for name in values(output.log_group_names) : "arn:aws:logs:eu-west-1:123456789012:log-group:${name}"]) && output.log_group_names["organization_state_machine"] == "/aws/vendedlogs/states/iam-user-monitor-organization"
    error_message = "The key must encrypt the logs of the organization, too."
  }
}

run "what_reads_no_posture_takes_no_role_for_it" {
  command = plan

  variables {
    organization_enabled          = true
    member_external_id            = "the-monitor"
    credential_report_enabled     = false
    authorization_details_enabled = false
  }

  assert {
    condition     = [for step, allowed in local.steps : step if length(try(allowed.member_actions, [])) > 0] == ["list_users"]
    error_message = "ReadPosture has nothing to read, and must not be able to take a role."
  }
}

run "each_step_may_do_exactly_its_work" {
  command = plan

  assert {
    condition = jsonencode({
      for step, document in data.aws_iam_policy_document.step : step => {
        for statement in jsondecode(document.json).Statement : statement.Sid => sort(flatten([statement.Action]))
        if !contains(["Logs", "Tracing"], statement.Sid)
      }
      }) == jsonencode({
      acquire_lock = {
        LockAndManifest = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
        Manifest        = ["dynamodb:GetItem"]
        Executions      = ["states:DescribeExecution"]
      }
      list_users = { Account = ["iam:ListUsers"] }
      read_posture = {
        Account  = ["iam:GenerateCredentialReport", "iam:GetAccountAuthorizationDetails", "iam:GetCredentialReport"]
        Manifest = ["dynamodb:PutItem"]
      }
      write_batch = { Manifest = ["dynamodb:GetItem"], Records = ["dynamodb:BatchWriteItem"] }
      save_progress = {
        LockAndManifest = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
        Executions      = ["states:DescribeExecution"]
      }
      emit_metrics = { Manifest = ["dynamodb:UpdateItem"], Executions = ["states:DescribeExecution"] }
      publish_changes = {
        Manifest = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"]
        Records  = ["dynamodb:BatchGetItem"]
        Index    = ["dynamodb:Query"]
        Events   = ["events:PutEvents"]
      }
      fail_scan = { Executions = ["states:DescribeExecution"] }
      clean_up = {
        Lock        = ["dynamodb:DeleteItem"]
        Manifest    = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
        Executions  = ["states:DescribeExecution"]
        DeadLetters = ["sqs:SendMessage"]
      }
    })
    error_message = "A step may do more or less than its work."
  }

  assert {
    condition = alltrue(flatten([
      for step, document in data.aws_iam_policy_document.step : [
        for statement in jsondecode(document.json).Statement : jsonencode(statement.Resource) == jsonencode({
          LockAndManifest = "arn:aws:dynamodb:eu-west-1:123456789012:table/iam-user-records"
          Lock            = "arn:aws:dynamodb:eu-west-1:123456789012:table/iam-user-records"
          Manifest        = "arn:aws:dynamodb:eu-west-1:123456789012:table/iam-user-records"
          Records         = "arn:aws:dynamodb:eu-west-1:123456789012:table/iam-user-records"
          Index           = "arn:aws:dynamodb:eu-west-1:123456789012:table/iam-user-records/index/scan-timestamp-index"
          Events          = "arn:aws:events:eu-west-1:123456789012:event-bus/default"
          Account         = "*"
          Executions      = "arn:aws:states:eu-west-1:123456789012:execution:iam-user-monitor:*"
          DeadLetters     = "arn:aws:sqs:eu-west-1:123456789012:iam-user-monitor-clean-up-dead-letters"
          Logs            = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/iam-user-monitor-${replace(step, "_", "-")}:*"
          Tracing         = "*"
        }[statement.Sid])
      ]
    ]))
    error_message = "A statement of a step is about other resources than expected."
  }

  assert {
    condition = alltrue(flatten([
      for document in concat(values(data.aws_iam_policy_document.step), values(data.aws_iam_policy_document.state_machine)) : [
        for statement in jsondecode(document.json).Statement : jsonencode(try(statement.Condition, null)) == try(jsonencode({
          Events = { StringEquals = { "events:source" = "iam-user-monitor" } }
          }[statement.Sid]), jsonencode({
          "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = {
            LockAndManifest = ["__execution_lock__", "__scan__"]
            Lock            = "__execution_lock__"
            ReleaseLock     = "__execution_lock__"
            Manifest        = "__scan__"
          }[statement.Sid] }
          Null = { "dynamodb:LeadingKeys" = "false" }
        }), "null")
      ]
    ]))
    error_message = "Exactly the statements on the lock and the manifests must be limited to their keys, and refuse a request without a key; and events must be put in this product's name only."
  }

  assert {
    condition     = alltrue([for name, key in { LOCK = local.lock_key, MANIFEST = local.manifest_key } : strcontains(file("../functions/table/keys.py"), "${name}_USER_NAME = \"${key}\"")])
    error_message = "The keys in the policies are not those of the functions."
  }
}

run "without_the_credential_report_nobody_may_ask_for_it" {
  command = plan

  variables {
    credential_report_enabled = false
  }

  assert {
    condition = jsonencode({
      for statement in jsondecode(data.aws_iam_policy_document.step["read_posture"].json).Statement : statement.Sid => statement.Action
      if !contains(["Logs", "Tracing"], statement.Sid)
    }) == jsonencode({ Account = "iam:GetAccountAuthorizationDetails", Manifest = "dynamodb:PutItem" })
    error_message = "What is switched off may not be asked for."
  }
}

run "without_the_authorization_details_nobody_may_ask_for_them" {
  command = plan

  variables {
    authorization_details_enabled = false
  }

  assert {
    condition = jsonencode({
      for statement in jsondecode(data.aws_iam_policy_document.step["read_posture"].json).Statement : statement.Sid => sort(flatten([statement.Action]))
      if !contains(["Logs", "Tracing"], statement.Sid)
    }) == jsonencode({ Account = ["iam:GenerateCredentialReport", "iam:GetCredentialReport"], Manifest = ["dynamodb:PutItem"] })
    error_message = "What is switched off may not be asked for."
  }
}

run "without_posture_and_changes_nobody_may_read_keep_or_announce_any" {
  command = plan

  variables {
    credential_report_enabled     = false
    authorization_details_enabled = false
    change_events_enabled         = false
    kms_key                       = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition = jsonencode({
      for step in ["read_posture", "write_batch", "publish_changes"] : step => {
        for statement in jsondecode(data.aws_iam_policy_document.step[step].json).Statement : statement.Sid => statement.Action
        if !contains(["Logs", "Tracing", "EnvironmentKey"], statement.Sid) && !(step == "write_batch" && statement.Sid == "TableKey")
      }
    }) == jsonencode({ read_posture = {}, write_batch = { Records = "dynamodb:BatchWriteItem" }, publish_changes = {} })
    error_message = "No permission may be left of what is switched off."
  }
}

run "the_state_machine_and_the_schedule_may_do_exactly_their_work" {
  command = plan

  assert {
    condition = jsonencode({
      for statement in jsondecode(data.aws_iam_policy_document.state_machine["scan"].json).Statement : statement.Sid => sort(flatten([statement.Action]))
      }) == jsonencode({
      InvokeSteps = ["lambda:InvokeFunction"]
      ReleaseLock = ["dynamodb:DeleteItem"]
      LogDelivery = ["logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies", "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery"]
      Tracing     = ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"]
    })
    error_message = "The state machine may do more or less than its work."
  }

  assert {
    condition = jsonencode(sort(flatten([for statement in jsondecode(data.aws_iam_policy_document.state_machine["scan"].json).Statement : statement.Resource if statement.Sid == "InvokeSteps"]))) == jsonencode(sort([
      for step in ["acquire-lock", "read-posture", "list-users", "write-batch", "save-progress", "emit-metrics", "publish-changes", "fail-scan"] : "arn:aws:lambda:eu-west-1:123456789012:function:iam-user-monitor-${step}"
    ]))
    error_message = "The state machine must be able to invoke exactly the functions of its definition."
  }

  assert {
    condition     = one([for statement in jsondecode(data.aws_iam_policy_document.state_machine["scan"].json).Statement : statement.Resource if statement.Sid == "ReleaseLock"]) == "arn:aws:dynamodb:eu-west-1:123456789012:table/iam-user-records"
    error_message = "The state machine must be able to delete from the table of records only."
  }

  assert {
    condition = jsonencode(jsondecode(data.aws_iam_policy_document.schedule.json).Statement) == jsonencode([{
      Action   = "states:StartExecution"
      Effect   = "Allow"
      Resource = "arn:aws:states:eu-west-1:123456789012:stateMachine:iam-user-monitor"
      Sid      = "StartScan"
    }])
    error_message = "The schedule must be able to start this state machine and do nothing else."
  }
}

run "services_act_for_this_account_and_these_resources_only" {
  command = plan

  assert {
    condition = jsonencode([for statement in jsondecode(data.aws_iam_policy_document.step_trust.json).Statement : [statement.Principal, statement.Condition]]) == jsonencode([[
      { Service = "lambda.amazonaws.com" },
      { StringEquals = { "aws:SourceAccount" = "123456789012" } },
    ]])
    error_message = "The functions' roles must trust Lambda for this account only."
  }

  assert {
    condition = jsonencode([for statement in jsondecode(data.aws_iam_policy_document.state_machine_trust["scan"].json).Statement : [statement.Principal, statement.Condition]]) == jsonencode([[
      { Service = "states.amazonaws.com" },
      {
        ArnEquals    = { "aws:SourceArn" = "arn:aws:states:eu-west-1:123456789012:stateMachine:iam-user-monitor" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      },
    ]])
    error_message = "The state machine's role must trust Step Functions for this state machine only."
  }

  assert {
    condition = jsonencode([for statement in jsondecode(data.aws_iam_policy_document.schedule_trust.json).Statement : [statement.Principal, statement.Condition]]) == jsonencode([[
      { Service = "events.amazonaws.com" },
      { ArnEquals = { "aws:SourceArn" = "arn:aws:events:eu-west-1:123456789012:rule/iam-user-monitor-schedule" } },
    ]])
    error_message = "The schedule's role must trust EventBridge for this rule only."
  }

  assert {
    condition = alltrue([
      for owner, document in data.aws_iam_policy_document.dead_letters : jsonencode(jsondecode(document.json).Statement) == jsonencode([{
        Action = "sqs:SendMessage"
        Condition = {
          ArnEquals = { "aws:SourceArn" = "arn:aws:events:eu-west-1:123456789012:rule/iam-user-monitor-${replace(owner, "_", "-")}" }
        }
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Resource  = "arn:aws:sqs:eu-west-1:123456789012:iam-user-monitor-${replace(owner, "_", "-")}-dead-letters"
        Sid       = "EventBridge"
      }])
    ])
    error_message = "A dead-letter queue must take messages from its own rule only."
  }

  assert {
    condition = jsonencode(jsondecode(data.aws_iam_policy_document.alarm_topic.json).Statement) == jsonencode([{
      Action = "sns:Publish"
      Condition = {
        ArnLike      = { "aws:SourceArn" = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:iam-user-monitor-*" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Resource  = "arn:aws:sns:eu-west-1:123456789012:iam-user-monitor-alarms"
      Sid       = "Alarms"
    }])
    error_message = "The topic must take messages from the alarms of this deployment only."
  }

  assert {
    condition = jsonencode(jsondecode(data.aws_iam_policy_document.change_topic.json).Statement) == jsonencode([{
      Action = "sns:Publish"
      Condition = {
        ArnEquals = { "aws:SourceArn" = "arn:aws:events:eu-west-1:123456789012:rule/iam-user-monitor-changes" }
      }
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Resource  = "arn:aws:sns:eu-west-1:123456789012:iam-user-monitor-changes"
      Sid       = "Changes"
    }])
    error_message = "The topic of changes must take messages from its rule only."
  }

  assert {
    condition     = aws_lambda_permission.clean_up.principal == "events.amazonaws.com" && aws_lambda_permission.clean_up.source_account == null
    error_message = "CleanUp must hear EventBridge, by the ARN of the rule alone."
  }
}

run "a_customer_managed_key_may_be_used_where_it_is_needed_and_through_that_service" {
  command = plan

  variables {
    kms_key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition = jsonencode({
      for step, document in data.aws_iam_policy_document.step : step => {
        for statement in jsondecode(document.json).Statement : statement.Sid => sort(flatten([statement.Action])) if endswith(statement.Sid, "Key")
      }
      }) == jsonencode({
      for step in ["acquire_lock", "read_posture", "list_users", "write_batch", "save_progress", "emit_metrics", "publish_changes", "fail_scan", "clean_up"] : step => merge(
        { EnvironmentKey = ["kms:Decrypt"] },
        contains(["list_users", "fail_scan"], step) ? {} : { TableKey = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"] },
        contains(["list_users", "read_posture", "write_batch", "publish_changes"], step) ? {} : { ExecutionsKey = ["kms:Decrypt"] },
        step == "clean_up" ? { DeadLettersKey = ["kms:Decrypt", "kms:GenerateDataKey"] } : {},
      )
    })
    error_message = "A step may use the key for more or less than its work."
  }

  assert {
    condition = jsonencode({
      for statement in jsondecode(data.aws_iam_policy_document.state_machine["scan"].json).Statement : statement.Sid => sort(flatten([statement.Action])) if endswith(statement.Sid, "Key")
      }) == jsonencode({
      ExecutionsKey  = ["kms:Decrypt", "kms:GenerateDataKey"]
      LogDeliveryKey = ["kms:GenerateDataKey"]
      TableKey       = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    })
    error_message = "The state machine may use the key for more or less than its work."
  }

  assert {
    condition = alltrue(flatten([
      for name, document in merge(data.aws_iam_policy_document.step, { state_machine = data.aws_iam_policy_document.state_machine["scan"] }) : [
        for statement in jsondecode(document.json).Statement : statement.Resource == var.kms_key && jsonencode(statement.Condition.StringEquals) == jsonencode({
          EnvironmentKey = { "kms:EncryptionContext:aws:lambda:FunctionArn" = "arn:aws:lambda:eu-west-1:123456789012:function:iam-user-monitor-${replace(name, "_", "-")}" }
          TableKey       = { "kms:ViaService" = "dynamodb.eu-west-1.amazonaws.com" }
          DeadLettersKey = { "kms:EncryptionContext:aws:sqs:arn" = "arn:aws:sqs:eu-west-1:123456789012:iam-user-monitor-clean-up-dead-letters" }
          ExecutionsKey  = { "kms:EncryptionContext:aws:states:stateMachineArn" = "arn:aws:states:eu-west-1:123456789012:stateMachine:iam-user-monitor" }
          LogDeliveryKey = { "kms:EncryptionContext:SourceArn" = "arn:aws:logs:eu-west-1:123456789012:*" }
        }[statement.Sid]) if endswith(statement.Sid, "Key")
      ]
    ]))
    error_message = "The key may be used for other things than those of this deployment."
  }
}

run "the_policy_of_a_created_key_admits_the_account_and_the_services" {
  command = plan

  variables {
    kms_key        = "create"
    change_email   = "team@example.com"
    event_bus_name = "security"
  }

  assert {
    condition = jsonencode({
      for statement in jsondecode(data.aws_iam_policy_document.key.json).Statement : statement.Sid => [statement.Principal, sort(flatten([statement.Action])), try(statement.Condition, null)]
      }) == jsonencode({
      Account = [{ AWS = "arn:aws:iam::123456789012:root" }, ["kms:*"], null]
      Table = [
        { AWS = "arn:aws:iam::123456789012:root" },
        ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
        { StringEquals = { "kms:CallerAccount" = "123456789012", "kms:ViaService" = "dynamodb.eu-west-1.amazonaws.com" } },
      ]
      Logs = [
        { Service = "logs.eu-west-1.amazonaws.com" },
        ["kms:Decrypt*", "kms:Describe*", "kms:Encrypt*", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
        {
          ArnEquals = {
            "kms:EncryptionContext:aws:logs:arn" = [
              for statement in jsondecode(data.aws_iam_policy_document.key.json).Statement : statement.Condition.ArnEquals["kms:EncryptionContext:aws:logs:arn"] if statement.Sid == "Logs"
            ][0]
          }
        },
      ]
      LogDelivery = [
        { Service = "delivery.logs.amazonaws.com" },
        ["kms:Decrypt*"],
        { StringEquals = { "kms:EncryptionContext:SourceArn" = "arn:aws:logs:eu-west-1:123456789012:*" } },
      ]
      DeadLetters = [
        { Service = "events.amazonaws.com" },
        ["kms:Decrypt", "kms:GenerateDataKey"],
        {
          ArnEquals = {
            "aws:SourceArn" = [
              "arn:aws:events:eu-west-1:123456789012:rule/iam-user-monitor-clean-up",
              "arn:aws:events:eu-west-1:123456789012:rule/iam-user-monitor-schedule",
              "arn:aws:events:eu-west-1:123456789012:rule/security/iam-user-monitor-changes",
            ]
          }
        },
      ]
      # Where EventBridge publishes to an encrypted topic, KMS is not told the rule.
      Changes = [
        { Service = "events.amazonaws.com" },
        ["kms:Decrypt", "kms:GenerateDataKey*"],
        { StringEquals = { "kms:EncryptionContext:aws:sns:topicArn" = "arn:aws:sns:eu-west-1:123456789012:iam-user-monitor-changes" } },
      ]
      Alarms = [
        { Service = "cloudwatch.amazonaws.com" },
        ["kms:Decrypt", "kms:GenerateDataKey*"],
        {
          ArnLike      = { "aws:SourceArn" = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:iam-user-monitor-*" }
          StringEquals = { "aws:SourceAccount" = "123456789012" }
        },
      ]
    })
    error_message = "The key's policy admits others or to more than expected."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(data.aws_iam_policy_document.change_topic.json).Statement :
      statement.Condition.ArnEquals["aws:SourceArn"] == "arn:aws:events:eu-west-1:123456789012:rule/security/iam-user-monitor-changes"
    ])
    error_message = "The ARN of a rule names its bus, unless that is the default one."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(data.aws_iam_policy_document.key.json).Statement : statement.Condition.ArnEquals["kms:EncryptionContext:aws:logs:arn"] if statement.Sid == "Logs"
    ])) == toset([for name in values(output.log_group_names) : "arn:aws:logs:eu-west-1:123456789012:log-group:${name}"])
    error_message = "CloudWatch Logs must be able to use the key for exactly the log groups of this deployment."
  }

  assert {
    condition     = one(aws_kms_key.all).enable_key_rotation && one(aws_kms_alias.all).name == "alias/iam-user-monitor"
    error_message = "A created key must rotate and have a name."
  }
}

run "without_a_customer_managed_key_nobody_may_use_one" {
  command = plan

  assert {
    condition = length(aws_kms_key.all) == 0 && !strcontains(data.aws_iam_policy_document.key.json, "sns:topicArn") && !anytrue([
      for document in concat(values(data.aws_iam_policy_document.step), values(data.aws_iam_policy_document.state_machine), [data.aws_iam_policy_document.schedule]) : strcontains(document.json, "kms:")
    ])
    error_message = "A role has permissions on a key that is not there."
  }
}
