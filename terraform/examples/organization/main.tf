# The accounts of an organization, scanned from an account of the security team: the deployment there, which becomes a
# delegated administrator and so may list the accounts and roll out StackSets, and the role in every account that lets it
# read the users.
#
# Apply it with credentials of the security team's account, which may take management_role_arn in the management account for
# what only that one can do. StackSets need trusted access, once for the organization:
# aws cloudformation activate-organizations-access

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # The module excludes the versions that do not work with it.
      version = ">= 5.67, < 7.0"
    }
  }
}

variable "account_id" {
  description = "Account of the security team, that all is deployed in."
  type        = string
}

variable "management_role_arn" {
  description = "Role in the management account that Terraform takes there."
  type        = string
}

variable "external_id" {
  description = "What the roles of the accounts ask for: long and random (`uuidgen`), and the same for good. It is no secret."
  type        = string
}

variable "alarm_email" {
  description = "E-mail address that alarms go to."
  type        = string
}

provider "aws" {
  region = "eu-west-1"
}

provider "aws" {
  alias  = "management"
  region = "eu-west-1"

  assume_role {
    role_arn = var.management_role_arn
  }
}

# A delegated administrator of any service may list the accounts of the organization; this one may also use StackSets.
resource "aws_organizations_delegated_administrator" "security" {
  provider = aws.management

  account_id        = var.account_id
  service_principal = "member.org.stacksets.cloudformation.amazonaws.com"
}

module "iam_user_monitor" {
  # In a configuration of your own: "git::https://<host>/<repository>.git//terraform?ref=<version>".
  source = "../.."

  # Built with `make package` in a checkout of that version.
  lambda_package_path = "${path.module}/../../../build/iam_user_monitor.zip"

  allowed_account_id = var.account_id
  alarm_email        = var.alarm_email
  monitoring_period  = "rate(4 hours)"

  organization_enabled = true
  member_external_id   = var.external_id
}

data "aws_organizations_organization" "this" {
  provider = aws.management
}

# The role in every account, also in those that join later.
resource "aws_cloudformation_stack_set" "member_role" {
  name             = module.iam_user_monitor.member_role_trust.role_name
  description      = "The role by which IAM User Monitor reads the IAM users of an account"
  call_as          = "DELEGATED_ADMIN"
  permission_model = "SERVICE_MANAGED"
  capabilities     = ["CAPABILITY_NAMED_IAM"]
  template_body    = file("${path.module}/../../modules/member_role/stackset.yaml")

  parameters = {
    Name             = module.iam_user_monitor.member_role_trust.role_name
    MonitorAccountId = module.iam_user_monitor.member_role_trust.monitor_account_id
    MonitorRoleArns  = join(",", module.iam_user_monitor.member_role_trust.monitor_role_arns)
    ExternalId       = module.iam_user_monitor.member_role_trust.external_id
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

  depends_on = [aws_organizations_delegated_administrator.security]
}

# Roles are global, so one region is enough: that of the provider.
resource "aws_cloudformation_stack_set_instance" "member_role" {
  stack_set_name = aws_cloudformation_stack_set.member_role.name
  call_as        = "DELEGATED_ADMIN"

  deployment_targets {
    organizational_unit_ids = data.aws_organizations_organization.this.roots[*].id
  }

  operation_preferences {
    failure_tolerance_percentage = 100
    max_concurrent_percentage    = 100
  }
}

# StackSets do not reach the management account.
module "member_role_of_the_management_account" {
  source = "../../modules/member_role"

  providers = {
    aws = aws.management
  }

  name               = module.iam_user_monitor.member_role_trust.role_name
  monitor_account_id = module.iam_user_monitor.member_role_trust.monitor_account_id
  monitor_role_arns  = module.iam_user_monitor.member_role_trust.monitor_role_arns
  external_id        = module.iam_user_monitor.member_role_trust.external_id
}

output "organization_state_machine_arn" {
  description = "ARN of the state machine that scans every account, to start it by hand."
  value       = module.iam_user_monitor.organization_state_machine_arn
}
