# One item per user and scan; besides them the execution lock and one manifest per scan.
resource "aws_dynamodb_table" "records" {
  #checkov:skip=CKV_AWS_119:kms_key decides; a key of one's own costs $1 to $3 a month and is not everyone's wish
  name         = var.dynamodb_table_name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "user_name"
  range_key    = "scan_timestamp"

  attribute {
    name = "user_name"
    type = "S"
  }

  attribute {
    name = "scan_timestamp"
    type = "S"
  }

  # All users of one scan, and by range_key those of one account of it. `hash_key`, although provider 6.28 warns that `key_schema` takes its place: 5.x has no such
  # block, and 7.0, which may drop `hash_key`, is excluded in versions.tf.
  global_secondary_index {
    name            = local.scan_index_name
    hash_key        = "scan_timestamp"
    range_key       = "user_name"
    projection_type = "ALL"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  # Without a key of one's own, one that AWS owns. Not the account's alias/aws/dynamodb: when kms_key is taken back, the
  # provider would leave the table with the former key, which is then about to be deleted.
  server_side_encryption {
    enabled     = local.customer_key
    kms_key_arn = local.kms_key_arn
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery_enabled
  }

  deletion_protection_enabled = var.deletion_protection_enabled

  tags = local.tags
}
