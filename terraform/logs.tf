# Made here and not by the services, so that they have a retention and are removed with everything else.

resource "aws_cloudwatch_log_group" "step" {
  #checkov:skip=CKV_AWS_338:log_retention_days decides; the records are what is kept for audits, the logs hold no user
  for_each = local.function_log_group_names

  name              = each.value
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key_arn
  tags              = local.tags
}

# Step Functions adds every log group it writes to the account's one log delivery policy, which is bounded in length;
# under /aws/vendedlogs/ all log groups share one entry.
resource "aws_cloudwatch_log_group" "state_machine" {
  #checkov:skip=CKV_AWS_338:log_retention_days decides here, too; the log holds no data of the executions
  name              = local.state_machine_log_group_name
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key_arn
  tags              = local.tags
}

resource "aws_cloudwatch_log_group" "organization" {
  #checkov:skip=CKV_AWS_338:log_retention_days decides here, too, as of the other state machine
  count = var.organization_enabled ? 1 : 0

  name              = local.organization_log_group_name
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key_arn
  tags              = local.tags
}
