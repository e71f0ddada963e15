locals {
  # ARNs are put together from names, and not taken from the resources: a role's trust policy must name the resource
  # that needs the role, and so the plan shows every policy and the definition in full, before anything is created.
  table_arn                  = "arn:${local.partition}:dynamodb:${local.region}:${local.account_id}:table/${var.dynamodb_table_name}"
  scan_index_arn             = "${local.table_arn}/index/${local.scan_index_name}"
  state_machine_arn          = "arn:${local.partition}:states:${local.region}:${local.account_id}:stateMachine:${var.name_prefix}"
  organization_name          = "${var.name_prefix}-organization"
  organization_machine_arn   = "arn:${local.partition}:states:${local.region}:${local.account_id}:stateMachine:${local.organization_name}"
  schedule_name              = "${var.name_prefix}-schedule"
  schedule_rule_arn          = "arn:${local.partition}:events:${local.region}:${local.account_id}:rule/${local.schedule_name}"
  clean_up_name              = "${var.name_prefix}-clean-up"
  clean_up_dead_letters_name = "${local.clean_up_name}-dead-letters"
  clean_up_dead_letters_arn  = "arn:${local.partition}:sqs:${local.region}:${local.account_id}:${local.clean_up_dead_letters_name}"
  schedule_dead_letters_name = "${local.schedule_name}-dead-letters"
  schedule_dead_letters_arn  = "arn:${local.partition}:sqs:${local.region}:${local.account_id}:${local.schedule_dead_letters_name}"
  clean_up_rule_arn          = "arn:${local.partition}:events:${local.region}:${local.account_id}:rule/${local.clean_up_name}"
  changes_name               = "${var.name_prefix}-changes"
  changes_dead_letters_name  = "${local.changes_name}-dead-letters"
  changes_dead_letters_arn   = "arn:${local.partition}:sqs:${local.region}:${local.account_id}:${local.changes_dead_letters_name}"
  function_names             = { for step, _ in local.steps : step => "${var.name_prefix}-${replace(step, "_", "-")}" }
  function_arns              = { for step, name in local.function_names : step => "arn:${local.partition}:lambda:${local.region}:${local.account_id}:function:${name}" }

  state_machine_log_group_arn  = "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group:${local.state_machine_log_group_name}"
  state_machine_log_group_name = "/aws/vendedlogs/states/${var.name_prefix}"
  organization_log_group_name  = "/aws/vendedlogs/states/${local.organization_name}"
  function_log_group_names     = { for step, name in local.function_names : step => "/aws/lambda/${name}" }
  function_log_group_arns      = { for step, name in local.function_log_group_names : step => "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group:${name}" }

  organization_log_group_arn = "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group:${local.organization_log_group_name}"

  # The state machines that there are. key_users: for whose executions each may use a key; that of the organization asks for
  # those that it starts.
  machines = merge(
    {
      scan = {
        arn            = local.state_machine_arn
        execution_arns = "arn:${local.partition}:states:${local.region}:${local.account_id}:execution:${var.name_prefix}:*"
        key_users      = [local.state_machine_arn]
      }
    },
    var.organization_enabled ? {
      organization = {
        arn            = local.organization_machine_arn
        execution_arns = "arn:${local.partition}:states:${local.region}:${local.account_id}:execution:${local.organization_name}:*"
        key_users      = [local.organization_machine_arn, local.state_machine_arn]
      }
    } : {},
  )
  # What each may invoke, and its definition names.
  machine_function_arns = {
    for machine in keys(local.machines) : machine => {
      for step, arn in local.function_arns : step => arn if !can(local.steps[step].asynchronous) && try(local.steps[step].machine, "scan") == machine
    }
  }
}
