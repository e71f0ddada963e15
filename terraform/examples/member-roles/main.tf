# The role that lets the deployment read the users of a member account, in every account of an organization: a StackSet
# makes it in all accounts but the management account, which StackSets do not reach, and the module there. An account that
# joins gets it by itself, and one that leaves loses it.
#
# Apply it with credentials of the management account. The StackSet needs trusted access, once for the organization:
# aws cloudformation activate-organizations-access

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.67, < 7.0"
    }
  }
}

provider "aws" {
  region = "eu-west-1"
}

variable "monitor_account_id" {
  description = "Account that IAM User Monitor is deployed in."
  type        = string
}

variable "external_id" {
  description = "The external ID of that deployment."
  type        = string
}

data "aws_organizations_organization" "this" {}

data "aws_partition" "current" {}

locals {
  monitor_role_arns = [
    for step in ["list-users", "read-posture"] :
    "arn:${data.aws_partition.current.partition}:iam::${var.monitor_account_id}:role/iam-user-monitor-${step}"
  ]
}

# Where the deployment itself is in the management account, leave this out: it reads the users of its own account by itself.
module "member_role" {
  source = "../../modules/member_role"

  monitor_account_id = var.monitor_account_id
  monitor_role_arns  = local.monitor_role_arns
  external_id        = var.external_id
}

resource "aws_cloudformation_stack_set" "member_role" {
  name             = "iam-user-monitor-member"
  description      = "The role by which IAM User Monitor reads the IAM users of an account"
  permission_model = "SERVICE_MANAGED"
  capabilities     = ["CAPABILITY_NAMED_IAM"]
  template_body    = file("${path.module}/../../modules/member_role/stackset.yaml")

  parameters = {
    MonitorAccountId = var.monitor_account_id
    MonitorRoleArns  = join(",", local.monitor_role_arns)
    ExternalId       = var.external_id
  }

  auto_deployment {
    enabled                          = true
    retain_stacks_on_account_removal = false
  }

  operation_preferences {
    failure_tolerance_percentage = 100
    max_concurrent_percentage    = 100
  }

  lifecycle {
    # AWS says it of every StackSet, and refuses it of a service-managed one.
    ignore_changes = [administration_role_arn]
  }
}

# Roles are global, so one region is enough: that of the provider.
resource "aws_cloudformation_stack_set_instance" "member_role" {
  stack_set_name = aws_cloudformation_stack_set.member_role.name

  deployment_targets {
    organizational_unit_ids = data.aws_organizations_organization.this.roots[*].id
  }

  operation_preferences {
    failure_tolerance_percentage = 100
    max_concurrent_percentage    = 100
  }
}
