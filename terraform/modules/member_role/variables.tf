variable "name" {
  description = "Name of the role. It must be the same in every account: the deployment knows one."
  type        = string
  default     = "iam-user-monitor-member"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", var.name))
    error_message = "name must be 1 to 64 letters, digits and +=,.@_-, got \"${var.name}\"."
  }
}

variable "monitor_account_id" {
  description = "Account that IAM User Monitor is deployed in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.monitor_account_id))
    error_message = "monitor_account_id must be an account's 12 digits, got \"${var.monitor_account_id}\"."
  }
}

variable "monitor_role_arns" {
  description = "ARNs of the roles in that account that may take this one: those of ListUsers and ReadPosture. They need not exist yet, and may be deleted and created again."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.monitor_role_arns) > 0
    error_message = "monitor_role_arns must name a role: nobody could take this one."
  }

  validation {
    condition     = alltrue([for arn in var.monitor_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,576}$", arn))])
    error_message = "monitor_role_arns must be ARNs of roles such as arn:aws:iam::123456789012:role/iam-user-monitor-list-users, without wildcards, got ${join(", ", [for arn in var.monitor_role_arns : "\"${arn}\""])}."
  }

  validation {
    condition     = alltrue([for arn in var.monitor_role_arns : strcontains(arn, ":iam::${var.monitor_account_id}:")])
    error_message = "monitor_role_arns must be roles of the account ${var.monitor_account_id}, got ${join(", ", [for arn in var.monitor_role_arns : "\"${arn}\""])}."
  }
}

variable "external_id" {
  description = "What must be named beside the role, the same in every account and in the deployment. No secret: it keeps the deployment from being talked into an account that trusts another one."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.external_id) >= 2 && length(var.external_id) <= 1224 && can(regex("^[A-Za-z0-9_+=,.@:/-]+$", var.external_id))
    error_message = "external_id must be 2 to 1224 letters, digits and _+=,.@:/-, got ${length(var.external_id)} characters: \"${var.external_id}\"."
  }
}
