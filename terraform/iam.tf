# One role per function, one per state machine, one for the schedule. The other rules need none: EventBridge invokes a
# function by the function's own policy, in eventbridge.tf, and publishes to a topic by the topic's, in changes.tf. Each
# role may do exactly what its owner does, on exactly the resources of this deployment. "*" stands only where AWS knows no
# narrower resource.

# The functions

locals {
  steps_on_the_table = [
    for step, allowed in local.steps : step
    if anytrue([for on in ["transaction", "lock", "manifest", "record", "index"] : length(try(allowed["${on}_actions"], [])) > 0])
  ]
  described_machines = { for step, allowed in local.steps : step => try(allowed.executions_of, [try(allowed.machine, "scan")]) }
}

data "aws_iam_policy_document" "step_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }

    # Lambda documents no aws:SourceArn for execution roles, so the account is as narrow as it gets.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }
}

data "aws_iam_policy_document" "step" {
  for_each = local.steps

  # On the items of these keys only. The two steps that write lock and manifest in one transaction may touch both by
  # either action: whether dynamodb:LeadingKeys holds the key of each item of a transaction, or all of them, is not
  # documented.
  dynamic "statement" {
    for_each = {
      for sid, allowed in {
        LockAndManifest = { actions = try(each.value.transaction_actions, []), keys = [local.lock_key, local.manifest_key] }
        Lock            = { actions = try(each.value.lock_actions, []), keys = [local.lock_key] }
        Manifest        = { actions = try(each.value.manifest_actions, []), keys = [local.manifest_key] }
      } : sid => allowed if length(allowed.actions) > 0
    }

    content {
      sid       = statement.key
      actions   = statement.value.actions
      resources = [local.table_arn]

      condition {
        test     = "ForAllValues:StringEquals"
        variable = "dynamodb:LeadingKeys"
        values   = statement.value.keys
      }

      # ForAllValues is also true of no values at all: a request that names no key must not pass.
      condition {
        test     = "Null"
        variable = "dynamodb:LeadingKeys"
        values   = ["false"]
      }
    }
  }

  # No condition on the keys: they are the names of the users, which are whatever IAM has. Not even the keys of the lock
  # and the manifests are excluded, since a user may have such a name; its records differ from them by their sort key.
  dynamic "statement" {
    for_each = length(try(each.value.record_actions, [])) > 0 ? [each.value.record_actions] : []

    content {
      sid       = "Records"
      actions   = statement.value
      resources = [local.table_arn]
    }
  }

  # The keys of the index are the times of scans.
  dynamic "statement" {
    for_each = length(try(each.value.index_actions, [])) > 0 ? [each.value.index_actions] : []

    content {
      sid       = "Index"
      actions   = statement.value
      resources = [local.scan_index_arn]
    }
  }

  # In no other name than this product's: whoever listens to other sources on the same bus hears nothing from here.
  dynamic "statement" {
    for_each = length(try(each.value.bus_actions, [])) > 0 ? [each.value.bus_actions] : []

    content {
      sid       = "Events"
      actions   = statement.value
      resources = [local.event_bus_arn]

      condition {
        test     = "StringEquals"
        variable = "events:source"
        values   = [local.event_source]
      }
    }
  }

  dynamic "statement" {
    for_each = length(try(each.value.account_actions, [])) > 0 ? [each.value.account_actions] : []

    content {
      sid     = "Account"
      actions = statement.value
      # These are about the account or the organization as a whole: IAM knows no resource for them.
      resources = ["*"]
    }
  }

  # Which organization, and which of its units have units below them, is not known here.
  dynamic "statement" {
    for_each = length(try(each.value.unit_actions, [])) > 0 ? [each.value.unit_actions] : []

    content {
      sid     = "Units"
      actions = statement.value
      resources = [
        "arn:${local.partition}:organizations::*:ou/o-*/ou-*",
        "arn:${local.partition}:organizations::*:root/o-*/r-*",
      ]
    }
  }

  # In any account, but by this name only. Which accounts have such a role, and let this one take it, they decide.
  dynamic "statement" {
    for_each = length(try(each.value.member_actions, [])) > 0 ? [each.value.member_actions] : []

    content {
      sid       = "MemberRoles"
      actions   = statement.value
      resources = ["arn:${local.partition}:iam::*:role/${var.member_role_name}"]
    }
  }

  dynamic "statement" {
    for_each = try([each.value.execution_actions], [])

    content {
      sid       = "Executions"
      actions   = statement.value
      resources = [for machine in local.described_machines[each.key] : local.machines[machine].execution_arns]
    }
  }

  # Lambda sends what CleanUp could not deal with there, on behalf of the function.
  dynamic "statement" {
    for_each = can(each.value.asynchronous) ? ["sqs:SendMessage"] : []

    content {
      sid       = "DeadLetters"
      actions   = [statement.value]
      resources = [local.clean_up_dead_letters_arn]
    }
  }

  # With a customer-managed key: what each service asks the key for in the name of this role.

  dynamic "statement" {
    for_each = local.customer_key ? [local.function_arns[each.key]] : []

    content {
      sid       = "EnvironmentKey"
      actions   = ["kms:Decrypt"]
      resources = [local.kms_key_arn]

      condition {
        test     = "StringEquals"
        variable = "kms:EncryptionContext:aws:lambda:FunctionArn"
        values   = [statement.value]
      }
    }
  }

  dynamic "statement" {
    for_each = local.customer_key && contains(local.steps_on_the_table, each.key) ? [local.dynamodb_services] : []

    content {
      sid       = "TableKey"
      actions   = local.table_key_actions
      resources = [local.kms_key_arn]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = statement.value
      }
    }
  }

  dynamic "statement" {
    for_each = local.customer_key && can(each.value.asynchronous) ? [local.clean_up_dead_letters_arn] : []

    content {
      sid       = "DeadLettersKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [local.kms_key_arn]

      condition {
        test     = "StringEquals"
        variable = "kms:EncryptionContext:aws:sqs:arn"
        values   = [statement.value]
      }
    }
  }

  # DescribeExecution also returns the execution's input and output, which are encrypted.
  dynamic "statement" {
    for_each = local.customer_key && can(each.value.execution_actions) ? [local.described_machines[each.key]] : []

    content {
      sid       = "ExecutionsKey"
      actions   = ["kms:Decrypt"]
      resources = [local.kms_key_arn]

      condition {
        test     = "StringEquals"
        variable = "kms:EncryptionContext:aws:states:stateMachineArn"
        values   = [for machine in statement.value : local.machines[machine].arn]
      }
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.function_log_group_arns[each.key]}:*"]
  }

  statement {
    sid     = "Tracing"
    actions = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    # X-Ray knows no resource for these actions.
    resources = ["*"]
  }
}

resource "aws_iam_role" "step" {
  for_each = local.steps

  name                 = local.function_names[each.key]
  description          = "Role of the Lambda function ${local.function_names[each.key]}"
  assume_role_policy   = data.aws_iam_policy_document.step_trust.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = local.tags
}

resource "aws_iam_role_policy" "step" {
  for_each = local.steps

  name   = "step"
  role   = aws_iam_role.step[each.key].id
  policy = data.aws_iam_policy_document.step[each.key].json
}

# The state machines

data "aws_iam_policy_document" "state_machine_trust" {
  for_each = local.machines

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["states.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [each.value.arn]
    }
  }
}

data "aws_iam_policy_document" "state_machine" {
  for_each = local.machines

  statement {
    sid       = "InvokeSteps"
    actions   = ["lambda:InvokeFunction"]
    resources = values(local.machine_function_arns[each.key])
  }

  # The organization's scan is one scan of each account: an execution that Step Functions starts and follows, and that is
  # stopped with it.

  dynamic "statement" {
    for_each = each.key == "organization" ? [local.machines.scan.arn] : []

    content {
      sid       = "StartScans"
      actions   = ["states:StartExecution"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = each.key == "organization" ? [local.machines.scan.execution_arns] : []

    content {
      sid       = "FollowScans"
      actions   = ["states:DescribeExecution", "states:RedriveExecution", "states:StopExecution"]
      resources = [statement.value]
    }
  }

  # The rule by which Step Functions hears that an execution has ended. It makes the rule, of this name, in the role's name.
  dynamic "statement" {
    for_each = each.key == "organization" ? ["arn:${local.partition}:events:${local.region}:${local.account_id}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"] : []

    content {
      sid       = "HearOfScans"
      actions   = ["events:DescribeRule", "events:PutRule", "events:PutTargets"]
      resources = [statement.value]
    }
  }

  statement {
    sid       = "ReleaseLock"
    actions   = ["dynamodb:DeleteItem"]
    resources = [local.table_arn]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = [local.lock_key]
    }

    # As for the functions.
    condition {
      test     = "Null"
      variable = "dynamodb:LeadingKeys"
      values   = ["false"]
    }
  }

  # With a customer-managed key: for the executions, their log, and the item that ReleaseLock deletes.

  dynamic "statement" {
    for_each = local.customer_key ? [each.value.key_users] : []

    content {
      sid       = "ExecutionsKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [local.kms_key_arn]

      condition {
        test     = "StringEquals"
        variable = "kms:EncryptionContext:aws:states:stateMachineArn"
        values   = statement.value
      }
    }
  }

  dynamic "statement" {
    for_each = local.customer_key ? [local.log_delivery_context] : []

    content {
      sid       = "LogDeliveryKey"
      actions   = ["kms:GenerateDataKey"]
      resources = [local.kms_key_arn]

      condition {
        test     = "StringEquals"
        variable = "kms:EncryptionContext:SourceArn"
        values   = [statement.value]
      }
    }
  }

  dynamic "statement" {
    for_each = local.customer_key ? [local.dynamodb_services] : []

    content {
      sid       = "TableKey"
      actions   = local.table_key_actions
      resources = [local.kms_key_arn]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = statement.value
      }
    }
  }

  statement {
    sid = "LogDelivery"
    actions = [
      "logs:CreateLogDelivery",
      "logs:DeleteLogDelivery",
      "logs:DescribeLogGroups",
      "logs:DescribeResourcePolicies",
      "logs:GetLogDelivery",
      "logs:ListLogDeliveries",
      "logs:PutResourcePolicy",
      "logs:UpdateLogDelivery",
    ]
    # Log deliveries and resource policies belong to the account: CloudWatch Logs knows no resource for them.
    resources = ["*"]
  }

  statement {
    sid = "Tracing"
    actions = [
      "xray:GetSamplingRules",
      "xray:GetSamplingTargets",
      "xray:PutTelemetryRecords",
      "xray:PutTraceSegments",
    ]
    # X-Ray knows no resource for these actions.
    resources = ["*"]
  }
}

resource "aws_iam_role" "state_machine" {
  name                 = "${var.name_prefix}-state-machine"
  description          = "Role of the state machine ${var.name_prefix}"
  assume_role_policy   = data.aws_iam_policy_document.state_machine_trust["scan"].json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = local.tags
}

resource "aws_iam_role_policy" "state_machine" {
  name   = "state-machine"
  role   = aws_iam_role.state_machine.id
  policy = data.aws_iam_policy_document.state_machine["scan"].json
}

resource "aws_iam_role" "organization" {
  count = var.organization_enabled ? 1 : 0

  name                 = local.organization_name
  description          = "Role of the state machine ${local.organization_name}"
  assume_role_policy   = data.aws_iam_policy_document.state_machine_trust["organization"].json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = local.tags
}

resource "aws_iam_role_policy" "organization" {
  count = var.organization_enabled ? 1 : 0

  name   = "state-machine"
  role   = aws_iam_role.organization[0].id
  policy = data.aws_iam_policy_document.state_machine["organization"].json
}

# The schedule

data "aws_iam_policy_document" "schedule_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.schedule_rule_arn]
    }
  }
}

data "aws_iam_policy_document" "schedule" {
  statement {
    sid       = "StartScan"
    actions   = ["states:StartExecution"]
    resources = [local.machines[local.scheduled_machine].arn]
  }
}

resource "aws_iam_role" "schedule" {
  name                 = local.schedule_name
  description          = "Role of the EventBridge rule ${local.schedule_name}"
  assume_role_policy   = data.aws_iam_policy_document.schedule_trust.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = local.tags
}

resource "aws_iam_role_policy" "schedule" {
  name   = "schedule"
  role   = aws_iam_role.schedule.id
  policy = data.aws_iam_policy_document.schedule.json
}
