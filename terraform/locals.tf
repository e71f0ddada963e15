data "aws_caller_identity" "current" {
  lifecycle {
    # The first thing that is known of the credentials, so that nothing is planned for another account.
    postcondition {
      condition     = var.allowed_account_id == null ? true : self.account_id == var.allowed_account_id
      error_message = "The credentials are of account ${self.account_id}, but allowed_account_id is ${coalesce(var.allowed_account_id, "null")}: use those of that account, or change allowed_account_id."
    }
  }
}

data "aws_partition" "current" {}

# For its region. Not data.aws_region: its `name` and `id` are deprecated in provider 6, where `region` takes their place,
# which provider 5 does not have.
data "aws_service" "states" {
  service_id = "states"
}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_service.states.region

  # On every resource, and not by default_tags: a module has no provider of its own.
  tags = merge({ Application = var.name_prefix }, var.tags)

  metric_namespace = "IAMUserMonitor"
  event_source     = "iam-user-monitor"
  scan_index_name  = "scan-timestamp-index"
  # Partition keys of the two items that are no records; functions/table has them, too.
  lock_key     = "__execution_lock__"
  manifest_key = "__scan__"
  package_path = coalesce(var.lambda_package_path, "${path.module}/../build/iam_user_monitor.zip")
}
