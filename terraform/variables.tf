# What to record, and when

variable "monitoring_period" {
  description = "How often the account is scanned, or the organization: an EventBridge rate or cron expression (cron in UTC)."
  type        = string
  default     = "rate(1 hour)"
  nullable    = false

  validation {
    # EventBridge wants the singular for 1 and the plural for everything else. In a cron expression, one of
    # day-of-month and day-of-week must be "?".
    condition = anytrue([
      can(regex("^rate\\((1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minutes|hours|days))\\)$", var.monitoring_period)),
      can(regex("^cron\\([0-9*,/-]+ [0-9*,/-]+ \\? [0-9A-Za-z*,/-]+ [0-9A-Za-z*,/#-]+ [0-9*,/-]+\\)$", var.monitoring_period)),
      can(regex("^cron\\([0-9*,/-]+ [0-9*,/-]+ [0-9*,/LW-]+ [0-9A-Za-z*,/-]+ \\? [0-9*,/-]+\\)$", var.monitoring_period)),
    ])
    error_message = "monitoring_period must be a rate such as rate(1 hour) or rate(30 minutes), or a cron expression with six fields such as cron(0 6 * * ? *), got \"${var.monitoring_period}\"."
  }
}

variable "schedule_enabled" {
  description = "Whether the schedule starts scans. false pauses it; scans can still be started by hand."
  type        = bool
  default     = true
  nullable    = false
}

variable "retention_days" {
  description = "How many days a record is kept before DynamoDB deletes it; fewer than 29 count as 29, because a failed scan can be redriven for 14 days and must be whole for as long again."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.retention_days >= 1 && var.retention_days <= 3650 && floor(var.retention_days) == var.retention_days
    error_message = "retention_days must be a whole number from 1 to 3650, got ${var.retention_days}."
  }
}

variable "credential_report_enabled" {
  description = "Whether scans read IAM's credential report: passwords, MFA, access keys and certificates of every user, and of root."
  type        = bool
  default     = true
  nullable    = false
}

variable "authorization_details_enabled" {
  description = "Whether scans read the account's authorization details: groups, policies, permissions boundary and tags of every user, and who is an administrator."
  type        = bool
  default     = true
  nullable    = false
}

variable "recorded_tags" {
  description = "Keys of the users' tags that are recorded, at most 10. None: tags hold names and mail addresses as often as teams."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.recorded_tags) <= 10 && length(distinct(var.recorded_tags)) == length(var.recorded_tags)
    error_message = "recorded_tags must be at most 10 keys, none of them twice, got ${length(var.recorded_tags)}: ${join(", ", [for key in var.recorded_tags : "\"${key}\""])}."
  }

  validation {
    condition     = alltrue([for key in var.recorded_tags : can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]{1,128}$", key))])
    error_message = "recorded_tags must be keys of tags, 1 to 128 letters, digits, spaces and _.:/=+-@, got ${join(", ", [for key in var.recorded_tags : "\"${key}\""])}."
  }
}

# Other accounts

variable "organization_enabled" {
  description = "Whether the accounts of an organization are scanned, through the role member_role_name that each of them has (see modules/member_role). The schedule then starts a scan of them all. false: this account only."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.organization_enabled || var.member_external_id != null
    error_message = "organization_enabled needs member_external_id: what the roles of the member accounts ask this deployment for."
  }
}

variable "member_role_name" {
  description = "Name of the role that every member account has for this deployment, without a path."
  type        = string
  default     = "iam-user-monitor-member"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_+=,.@-]{1,64}$", var.member_role_name))
    error_message = "member_role_name must be the name of a role, 1 to 64 letters, digits and _+=,.@-, without a path, got \"${var.member_role_name}\"."
  }
}

variable "member_external_id" {
  description = "External id that the roles of the member accounts ask for; the same in all of them. It is no secret."
  type        = string
  default     = null

  validation {
    condition     = var.member_external_id == null ? true : length(var.member_external_id) >= 2 && length(var.member_external_id) <= 1224 && can(regex("^[A-Za-z0-9_+=,.@:/-]+$", var.member_external_id))
    error_message = "member_external_id must be 2 to 1,224 letters, digits and _+=,.@:/-, got \"${coalesce(var.member_external_id, "null")}\"."
  }
}

variable "accounts" {
  description = "Accounts that are scanned, 12 digits each; this one, too, only where it is among them. []: all that are active in the organization, or in included_organizational_units."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for account in var.accounts : can(regex("^[0-9]{12}$", account))]) && length(distinct(var.accounts)) == length(var.accounts)
    error_message = "accounts must be accounts of 12 digits, none of them twice, got ${join(", ", [for account in var.accounts : "\"${account}\""])}."
  }

  validation {
    # They reach the function in its environment, which may have 4 KB.
    condition     = length(var.accounts) <= 150
    error_message = "accounts must be at most 150, got ${length(var.accounts)}: for more, leave it out, and limit the organization's accounts by included_organizational_units or excluded_accounts."
  }

  validation {
    condition     = length(var.accounts) == 0 || var.organization_enabled
    error_message = "accounts must not be set without organization_enabled, got ${join(", ", [for account in var.accounts : "\"${account}\""])}."
  }
}

variable "included_organizational_units" {
  description = "Organizational units, or the root, whose accounts are scanned, with all units below them. []: all of the organization."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for unit in var.included_organizational_units : can(regex("^(r-[0-9a-z]{4,32}|ou-[0-9a-z]{4,32}-[0-9a-z]{8,32})$", unit))
    ]) && length(distinct(var.included_organizational_units)) == length(var.included_organizational_units)
    error_message = "included_organizational_units must be IDs such as ou-ab12-11111111 or r-ab12, none of them twice, got ${join(", ", [for unit in var.included_organizational_units : "\"${unit}\""])}."
  }

  validation {
    condition     = length(var.included_organizational_units) <= 20
    error_message = "included_organizational_units must be at most 20, got ${length(var.included_organizational_units)}: name a unit above them, or use excluded_accounts."
  }

  validation {
    condition     = length(var.included_organizational_units) == 0 || var.organization_enabled
    error_message = "included_organizational_units must not be set without organization_enabled, got ${join(", ", [for unit in var.included_organizational_units : "\"${unit}\""])}."
  }

  validation {
    condition     = length(var.included_organizational_units) == 0 || length(var.accounts) == 0
    error_message = "included_organizational_units must not be set with accounts, got ${join(", ", [for unit in var.included_organizational_units : "\"${unit}\""])} and ${join(", ", [for account in var.accounts : "\"${account}\""])}: the accounts are either listed or looked up."
  }
}

variable "excluded_accounts" {
  description = "Accounts that are not scanned, 12 digits each, though they are in the organization."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for account in var.excluded_accounts : can(regex("^[0-9]{12}$", account))]) && length(distinct(var.excluded_accounts)) == length(var.excluded_accounts)
    error_message = "excluded_accounts must be accounts of 12 digits, none of them twice, got ${join(", ", [for account in var.excluded_accounts : "\"${account}\""])}."
  }

  validation {
    condition     = length(var.excluded_accounts) <= 50
    error_message = "excluded_accounts must be at most 50, got ${length(var.excluded_accounts)}: for more, name what is scanned, by accounts or included_organizational_units."
  }

  validation {
    condition     = length(var.excluded_accounts) == 0 || var.organization_enabled
    error_message = "excluded_accounts must not be set without organization_enabled, got ${join(", ", [for account in var.excluded_accounts : "\"${account}\""])}."
  }

  validation {
    condition     = length(setintersection(var.excluded_accounts, var.accounts)) == 0
    error_message = "excluded_accounts must not name what accounts names, got ${join(", ", [for account in setintersection(var.excluded_accounts, var.accounts) : "\"${account}\""])} in both."
  }
}

variable "account_concurrency" {
  description = "Accounts of an organization that are scanned side by side. Their records share the table's index, which takes about 1,000 write units a second; 40 is Step Functions' limit for an inline Map."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.account_concurrency >= 1 && var.account_concurrency <= 40 && floor(var.account_concurrency) == var.account_concurrency
    error_message = "account_concurrency must be a whole number from 1 to 40, got ${var.account_concurrency}."
  }

  validation {
    condition     = var.account_concurrency == 10 || var.organization_enabled
    error_message = "account_concurrency must not be set without organization_enabled, got ${var.account_concurrency}."
  }
}

variable "organization_timeout_seconds" {
  description = "Seconds after which Step Functions ends the scan of an organization as TIMED_OUT. Until then it holds the organization's lock, which nothing renews: a new one cannot begin earlier after a crash."
  type        = number
  default     = 10800
  nullable    = false

  validation {
    condition     = var.organization_timeout_seconds >= 120 && var.organization_timeout_seconds <= 172800 && floor(var.organization_timeout_seconds) == var.organization_timeout_seconds
    error_message = "organization_timeout_seconds must be a whole number from 120 to 172800, got ${var.organization_timeout_seconds}."
  }

  validation {
    condition     = !var.organization_enabled || var.organization_timeout_seconds > var.scan_timeout_seconds
    error_message = "organization_timeout_seconds must be more than scan_timeout_seconds, which is what one account may take, got ${var.organization_timeout_seconds} and ${var.scan_timeout_seconds}."
  }

  validation {
    condition     = var.organization_timeout_seconds == 10800 || var.organization_enabled
    error_message = "organization_timeout_seconds must not be set without organization_enabled, got ${var.organization_timeout_seconds}."
  }
}

# Names

variable "name_prefix" {
  description = "Prefix of every name, so that several deployments fit into one account. Roles are global: two regions need two prefixes."
  type        = string
  default     = "iam-user-monitor"
  nullable    = false

  validation {
    # The longest suffix has 19 characters; functions, roles and rules may have names of 64.
    condition     = can(regex("^[a-zA-Z][a-zA-Z0-9-]{0,39}$", var.name_prefix))
    error_message = "name_prefix must be 1 to 40 letters, digits and hyphens, beginning with a letter, got \"${var.name_prefix}\"."
  }
}

variable "allowed_account_id" {
  description = "Account that the deployment belongs to: with credentials of another one, nothing is planned. Default: any account."
  type        = string
  default     = null

  validation {
    condition     = var.allowed_account_id == null || can(regex("^[0-9]{12}$", var.allowed_account_id))
    error_message = "allowed_account_id must be an account's 12 digits, got \"${coalesce(var.allowed_account_id, "null")}\"."
  }
}

variable "dynamodb_table_name" {
  description = "Name of the table of records."
  type        = string
  default     = "iam-user-records"
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_.-]{3,255}$", var.dynamodb_table_name))
    error_message = "dynamodb_table_name must be 3 to 255 letters, digits, hyphens, underscores and periods, got \"${var.dynamodb_table_name}\"."
  }
}

variable "tags" {
  description = "Tags of every resource, besides Application."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, _ in var.tags : !startswith(lower(key), "aws:") && length(key) <= 128 && length(key) > 0])
    error_message = "tags must have keys of 1 to 128 characters that do not begin with \"aws:\", got ${join(", ", [for key, _ in var.tags : "\"${key}\""])}."
  }

  validation {
    # AWS allows 50 tags; one is Application.
    condition     = length(var.tags) <= 49
    error_message = "tags must be at most 49 tags, got ${length(var.tags)}."
  }
}

# The functions

variable "lambda_timeout" {
  description = "Seconds that one invocation of a function may take. A throttled WriteBatch backs off for as long as this allows."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.lambda_timeout >= 1 && var.lambda_timeout <= 900 && floor(var.lambda_timeout) == var.lambda_timeout
    error_message = "lambda_timeout must be a whole number of seconds from 1 to 900, got ${var.lambda_timeout}."
  }
}

variable "lambda_memory" {
  description = "Memory of each function in MB, a multiple of 64. CPU grows with it."
  type        = number
  default     = 256
  nullable    = false

  validation {
    condition     = var.lambda_memory >= 128 && var.lambda_memory <= 10240 && var.lambda_memory % 64 == 0
    error_message = "lambda_memory must be a multiple of 64 from 128 to 10240, got ${var.lambda_memory}."
  }
}

variable "lambda_architecture" {
  description = "Processor of the functions: arm64 (20 % cheaper) or x86_64. The package runs on both."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.lambda_architecture)
    error_message = "lambda_architecture must be arm64 or x86_64, got \"${var.lambda_architecture}\"."
  }
}

variable "lambda_package_path" {
  description = "Path of the deployment package. Default: build/iam_user_monitor.zip beside the folder terraform, which `make package` builds there. Where this is a module from a repository, that is not there: build the package in a checkout of the same version."
  type        = string
  default     = null
}

variable "log_level" {
  description = "Least severe level that the functions log: DEBUG, INFO, WARNING, ERROR or CRITICAL."
  type        = string
  default     = "INFO"
  nullable    = false

  validation {
    condition     = contains(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], var.log_level)
    error_message = "log_level must be DEBUG, INFO, WARNING, ERROR or CRITICAL, got \"${var.log_level}\"."
  }
}

variable "log_retention_days" {
  description = "How many days CloudWatch Logs keeps the logs of the functions and the state machine."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 and 3653, got ${var.log_retention_days}."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the policy that bounds the permissions of every role, where an organisation asks for one."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy such as arn:aws:iam::123456789012:policy/boundary, got \"${coalesce(var.permissions_boundary_arn, "null")}\"."
  }
}

# How a scan goes

variable "page_size" {
  description = "Users that one ListUsers call asks for (MaxItems). A user takes about 300 bytes, so 500 stay well below the 256 KiB that a state may carry; longer ones make the function ask for fewer."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = var.page_size >= 1 && var.page_size <= 1000 && floor(var.page_size) == var.page_size
    error_message = "page_size must be a whole number from 1 to 1000, which is IAM's limit, got ${var.page_size}."
  }
}

variable "batch_size" {
  description = "Users that one WriteBatch invocation writes, 25 at a time. Larger: fewer invocations and state transitions. Smaller: less to repeat when one fails."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.batch_size >= 1 && var.batch_size <= 500 && floor(var.batch_size) == var.batch_size
    error_message = "batch_size must be a whole number from 1 to 500, got ${var.batch_size}."
  }
}

variable "map_concurrency" {
  description = "Batches that are written side by side. All records of a scan share one index partition, which takes about 1,000 write units a second, so more than a few only throttle each other. 40 is Step Functions' limit for an inline Map."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.map_concurrency >= 1 && var.map_concurrency <= 40 && floor(var.map_concurrency) == var.map_concurrency
    error_message = "map_concurrency must be a whole number from 1 to 40, got ${var.map_concurrency}."
  }
}

variable "lock_lease_seconds" {
  description = "How long the execution lock holds without being renewed; every page renews it. After a crash, the next scan waits at most this long."
  type        = number
  default     = 600
  nullable    = false

  validation {
    condition     = var.lock_lease_seconds >= 60 && var.lock_lease_seconds <= 3600 && floor(var.lock_lease_seconds) == var.lock_lease_seconds
    error_message = "lock_lease_seconds must be a whole number from 60 to 3600, got ${var.lock_lease_seconds}."
  }
}

variable "scan_timeout_seconds" {
  description = "Seconds after which Step Functions ends the scan of an account as TIMED_OUT."
  type        = number
  default     = 1800
  nullable    = false

  validation {
    condition     = var.scan_timeout_seconds >= 60 && var.scan_timeout_seconds <= 86400 && floor(var.scan_timeout_seconds) == var.scan_timeout_seconds
    error_message = "scan_timeout_seconds must be a whole number from 60 to 86400, got ${var.scan_timeout_seconds}."
  }
}

# Protection of the data

variable "kms_key" {
  description = "What encrypts the data at rest: null for keys of AWS, \"create\" for a key of your own that is created here and rotates, or the ARN of an existing KMS key, whose policy must allow what the output kms_key_policy says."
  type        = string
  default     = null

  validation {
    # No alias: IAM policies name keys by their ARN.
    condition = var.kms_key == null || var.kms_key == "create" || can(
      regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$", var.kms_key)
    )
    error_message = "kms_key must be null, \"create\" or the ARN of a KMS key (no alias) such as arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab, got \"${coalesce(var.kms_key, "null")}\"."
  }
}

variable "deletion_protection_enabled" {
  description = "Whether DynamoDB refuses to delete the table of records. To remove the deployment, apply with false first."
  type        = bool
  default     = true
  nullable    = false
}

variable "point_in_time_recovery_enabled" {
  description = "Whether the table can be restored to any second of the last 35 days."
  type        = bool
  default     = true
  nullable    = false
}

# Who hears of it

variable "alarms_enabled" {
  description = "Whether there are CloudWatch alarms, which cost $0.10 a month for each of their 14 metrics, and 15 with change_email or change_topic_arn; with organization_enabled, for 3 more."
  type        = bool
  default     = true
  nullable    = false
}

variable "alarm_email" {
  description = "E-mail address that alarms go to. AWS asks it once to confirm. Others subscribe to the topic of the output alarm_topic_arn."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alarm_email))
    error_message = "alarm_email must be an e-mail address such as team@example.com, got \"${coalesce(var.alarm_email, "null")}\"."
  }

  validation {
    condition     = var.alarm_email == null || var.alarm_topic_arn == null
    error_message = "alarm_email must not be set with alarm_topic_arn, got \"${coalesce(var.alarm_email, "null")}\" and \"${coalesce(var.alarm_topic_arn, "null")}\": subscribe the address to that topic."
  }
}

variable "alarm_topic_arn" {
  description = "ARN of an existing SNS topic that alarms go to; its policy must let CloudWatch publish. Default: a topic is created."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_topic_arn == null || can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[a-zA-Z0-9_-]{1,256}$", var.alarm_topic_arn))
    error_message = "alarm_topic_arn must be the ARN of a standard SNS topic such as arn:aws:sns:eu-west-1:123456789012:alarms, got \"${coalesce(var.alarm_topic_arn, "null")}\"."
  }
}

variable "change_events_enabled" {
  description = "Whether scans announce on an event bus what has changed: users created, deleted, recreated, renamed and changed. The events name users; $1 for a million of them."
  type        = bool
  default     = true
  nullable    = false
}

variable "event_bus_name" {
  description = "EventBridge bus that changes are announced on: \"default\", the name of one in this account, or the ARN of one in this region, whose policy must admit the role of PublishChanges where it is another account's."
  type        = string
  default     = "default"
  nullable    = false

  validation {
    # No slash: a bus of a partner takes no events from here.
    condition     = can(regex("^(arn:[a-z-]+:events:[a-z0-9-]+:[0-9]{12}:event-bus/)?[a-zA-Z0-9._-]{1,256}$", var.event_bus_name))
    error_message = "event_bus_name must be \"default\", the name of an event bus, or its ARN such as arn:aws:events:eu-west-1:123456789012:event-bus/security, got \"${var.event_bus_name}\"."
  }
}

variable "announce_activity" {
  description = "Whether the use of a password or an access key is announced as a change, too. There is more of it than of everything else."
  type        = bool
  default     = false
  nullable    = false
}

variable "mass_deletion_guard_percent" {
  description = "Percent of all users, but never fewer than 10 users: where more seem to be deleted at once, one event says so, and the single ones follow when the next scan agrees."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.mass_deletion_guard_percent >= 1 && var.mass_deletion_guard_percent <= 100 && floor(var.mass_deletion_guard_percent) == var.mass_deletion_guard_percent
    error_message = "mass_deletion_guard_percent must be a whole number from 1 to 100, got ${var.mass_deletion_guard_percent}."
  }
}

variable "change_email" {
  description = "E-mail address that is told every change in a sentence. AWS asks it once to confirm. Others subscribe to the topic of the output change_topic_arn."
  type        = string
  default     = null

  validation {
    condition     = var.change_email == null || can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.change_email))
    error_message = "change_email must be an e-mail address such as team@example.com, got \"${coalesce(var.change_email, "null")}\"."
  }

  validation {
    condition     = var.change_email == null || var.change_topic_arn == null
    error_message = "change_email must not be set with change_topic_arn, got \"${coalesce(var.change_email, "null")}\" and \"${coalesce(var.change_topic_arn, "null")}\": subscribe the address to that topic."
  }
}

variable "change_topic_arn" {
  description = "ARN of an existing SNS topic, of this account and region, that is told every change in a sentence; its policy must let EventBridge publish. Default: none, or one that is created for change_email."
  type        = string
  default     = null

  validation {
    condition     = var.change_topic_arn == null || can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[a-zA-Z0-9_-]{1,256}$", var.change_topic_arn))
    error_message = "change_topic_arn must be the ARN of a standard SNS topic such as arn:aws:sns:eu-west-1:123456789012:changes, got \"${coalesce(var.change_topic_arn, "null")}\"."
  }
}

variable "success_window_hours" {
  description = "Hours without a successful scan after which an alarm tells so; 0 for no such alarm. Default: two periods of a rate and scan_timeout_seconds, 49 for a cron expression of every day, else 168. None for a rate of more than 7 days, which is as far as CloudWatch looks back."
  type        = number
  default     = null

  validation {
    condition     = var.success_window_hours == null ? true : var.success_window_hours >= 0 && var.success_window_hours <= 168 && floor(var.success_window_hours) == var.success_window_hours
    error_message = "success_window_hours must be a whole number from 0 to 168, got ${var.success_window_hours == null ? "null" : var.success_window_hours}."
  }
}

variable "dashboard_enabled" {
  description = "Whether there is a CloudWatch dashboard. The first three of an account cost nothing."
  type        = bool
  default     = true
  nullable    = false
}

variable "queries_enabled" {
  description = "Whether there are saved Logs Insights queries. They cost nothing until they are run."
  type        = bool
  default     = true
  nullable    = false
}
