resource "aws_lambda_function" "step" {
  #checkov:skip=CKV_AWS_115:A scan runs at most map_concurrency functions at once, and at most account_concurrency scans run for an organization; reserving concurrency would take it from the account's others
  #checkov:skip=CKV_AWS_117:The functions call AWS APIs only and take no connections; a VPC would add endpoints and their cost, and protect nothing
  #checkov:skip=CKV_AWS_272:Signing needs a signing profile that not every account has; who may change the code is decided by IAM
  for_each = local.steps

  function_name = local.function_names[each.key]
  description   = each.value.description
  role          = aws_iam_role.step[each.key].arn

  # One package for all: the steps share code, and one zip is built, hashed and uploaded by one rule.
  filename         = local.package_path
  source_code_hash = filebase64sha256(local.package_path)
  handler          = "functions.${each.key}.handler.handler"
  runtime          = "python3.12"
  architectures    = [var.lambda_architecture]
  memory_size      = var.lambda_memory
  timeout          = try(each.value.timeout, var.lambda_timeout)
  kms_key_arn      = local.kms_key_arn
  tags             = local.tags

  environment {
    # No POWERTOOLS_SERVICE_NAME: it would add a `service` dimension to every metric, and alarms that name no dimension
    # would never see one.
    variables = merge({ LOG_LEVEL = var.log_level }, try(each.value.environment, {}))
  }

  logging_config {
    # The functions write JSON lines themselves, so Lambda need not wrap them.
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.step[each.key].name
  }

  tracing_config {
    mode = "Active"
  }

  # The steps of the workflow answer to the state machine; only what EventBridge invokes can lose an event.
  dynamic "dead_letter_config" {
    for_each = can(each.value.asynchronous) ? [aws_sqs_queue.clean_up_dead_letters.arn] : []

    content {
      target_arn = dead_letter_config.value
    }
  }

  # A function must not run before it may do its work.
  depends_on = [aws_iam_role_policy.step]

  lifecycle {
    precondition {
      condition     = fileexists(local.package_path)
      error_message = "There is no deployment package at ${local.package_path}: build it with `make package`, or set lambda_package_path."
    }

    precondition {
      condition     = each.key != "publish_changes" || startswith(local.event_bus_arn, "arn:${local.partition}:events:${local.region}:")
      error_message = "event_bus_name must be a bus of the region ${local.region}, got \"${var.event_bus_name}\": events are put into their own region only. From there, a rule can send them on; see examples/central-bus."
    }
  }
}
