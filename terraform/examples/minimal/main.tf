# The least that it takes: a provider, the package, and one address that alarms go to.

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

provider "aws" {
  region = "eu-west-1"
}

module "iam_user_monitor" {
  # In a configuration of your own: "git::https://<host>/<repository>.git//terraform?ref=<version>".
  source = "../.."

  # Built with `make package` in a checkout of that version.
  lambda_package_path = "${path.module}/../../../build/iam_user_monitor.zip"

  # With credentials of another account, nothing is planned.
  allowed_account_id = var.account_id
  alarm_email        = var.alarm_email
}

variable "account_id" {
  description = "Account whose users are recorded."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be an account's 12 digits, got \"${var.account_id}\"."
  }
}

variable "alarm_email" {
  description = "E-mail address that alarms go to."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+$", var.alarm_email))
    error_message = "alarm_email must be an e-mail address, got \"${var.alarm_email}\"."
  }
}

output "state_machine_arn" {
  description = "ARN of the state machine, to start a scan by hand."
  value       = module.iam_user_monitor.state_machine_arn
}
