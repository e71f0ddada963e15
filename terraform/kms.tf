# Encryption at rest. Without a customer-managed key everything is encrypted with keys of AWS: the table, the logs, the
# queues and the state machines with keys that AWS owns, the functions' environment with the account's key that AWS
# manages. The topics are the exception, see alarms.tf and changes.tf.

locals {
  # Known at plan time, also when the key itself is yet to be created.
  customer_key = var.kms_key != null
  kms_key_arn  = var.kms_key == "create" ? one(aws_kms_key.all[*].arn) : var.kms_key
}

resource "aws_kms_key" "all" {
  count = var.kms_key == "create" ? 1 : 0

  description             = "Encrypts the table, logs, queues, topics, functions and state machine of ${var.name_prefix}"
  enable_key_rotation     = true
  deletion_window_in_days = 30 # the longest: without the key, backups of the table cannot be read
  policy                  = data.aws_iam_policy_document.key.json
  tags                    = local.tags
}

resource "aws_kms_alias" "all" {
  count = var.kms_key == "create" ? 1 : 0

  name          = "alias/${var.name_prefix}"
  target_key_id = aws_kms_key.all[0].key_id
}

# What a key must allow to serve here: the policy of a created key, and the output kms_key_policy for an existing one.
# "*" is the key itself: a key policy is about nothing else.
data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:The policy of a key must let the account administer it, or nobody could
  #checkov:skip=CKV_AWS_111:As above; every other statement is bound by conditions
  #checkov:skip=CKV_AWS_356:In a key policy "*" is the key that it belongs to

  # KMS's own default. It lets the account's IAM policies decide who administers and uses the key: those of the roles
  # here, in iam.tf, name the service that each use must come from.
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account_id}:root"]
    }
  }

  # DynamoDB uses the key in the name of whoever reads or writes the table, and asks for these rights of theirs. It is
  # part of the statement above, and spelled out for an existing key that does not leave everything to IAM policies.
  statement {
    sid       = "Table"
    actions   = local.table_key_actions
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account_id}:root"]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = local.dynamodb_services
    }

    condition {
      test     = "StringEquals"
      variable = "kms:CallerAccount"
      values   = [local.account_id]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["kms:Decrypt*", "kms:Describe*", "kms:Encrypt*", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${local.region}.${local.dns_suffix}"]
    }

    condition {
      test     = "ArnEquals"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = concat(values(local.function_log_group_arns), [local.state_machine_log_group_arn], var.organization_enabled ? [local.organization_log_group_arn] : [])
    }
  }

  # It brings the log of an encrypted state machine into the log group. The context is fixed by Step Functions.
  statement {
    sid       = "LogDelivery"
    actions   = ["kms:Decrypt*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["delivery.logs.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:SourceArn"
      values   = [local.log_delivery_context]
    }
  }

  statement {
    sid       = "DeadLetters"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = concat([local.clean_up_rule_arn, local.schedule_rule_arn], local.tell_changes ? [local.changes_rule_arn] : [])
    }
  }

  # By the topic, and not by the rule: SNS documents that aws:SourceArn and aws:SourceAccount are not supported where
  # EventBridge publishes to an encrypted topic. With them, every change would be lost among the dead letters. The topic's
  # own policy admits the one rule only.
  dynamic "statement" {
    for_each = local.create_change_topic ? [local.own_change_topic_arn] : []

    content {
      sid       = "Changes"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
      resources = ["*"]

      principals {
        type        = "Service"
        identifiers = ["events.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "kms:EncryptionContext:aws:sns:topicArn"
        values   = [statement.value]
      }
    }
  }

  statement {
    sid       = "Alarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${local.alarm_arn_prefix}*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }
}

locals {
  # In China, the endpoints and CloudWatch Logs as a principal end in amazonaws.com.cn, most principals do not, and no
  # document says which it is for kms:ViaService. Both are DynamoDB.
  dns_suffix        = data.aws_partition.current.dns_suffix
  dynamodb_services = distinct(["dynamodb.${local.region}.amazonaws.com", "dynamodb.${local.region}.${local.dns_suffix}"])
  # What the DynamoDB developer guide names as the least for using a table, but for kms:CreateGrant: only who creates the
  # table needs that.
  table_key_actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
  # As Step Functions documents it, with the asterisk: the value of the encryption context, not a pattern.
  log_delivery_context = "arn:${local.partition}:logs:${local.region}:${local.account_id}:*"
}
