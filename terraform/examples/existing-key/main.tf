# Everything encrypted with a key that exists already, and that somebody else administers.
#
# In two steps. Apply with key_in_use = false and give the output kms_key_policy to whoever administers the key: its
# statements are what the key's policy must allow. Then apply with key_in_use = true.

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

# The alias is found here, because policies name a key by its ARN.
data "aws_kms_alias" "existing" {
  name = var.key_alias
}

module "iam_user_monitor" {
  source = "../.."

  lambda_package_path = "${path.module}/../../../build/iam_user_monitor.zip"
  kms_key             = var.key_in_use ? data.aws_kms_alias.existing.target_key_arn : null
}

variable "key_alias" {
  description = "Alias of the key, in the region of the deployment."
  type        = string
  default     = "alias/security"
  nullable    = false

  validation {
    condition     = can(regex("^alias/[a-zA-Z0-9/_-]+$", var.key_alias))
    error_message = "key_alias must begin with \"alias/\", got \"${var.key_alias}\"."
  }
}

variable "key_in_use" {
  description = "Whether the key's policy allows what kms_key_policy says, so that the key can be used."
  type        = bool
  default     = false
  nullable    = false
}

output "kms_key_policy" {
  description = "What the key's policy must allow."
  value       = module.iam_user_monitor.kms_key_policy
}
