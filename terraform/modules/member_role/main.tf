locals {
  # The role as the template for StackSets describes it, whose parameters are the variables of this module.
  role   = yamldecode(file("${path.module}/stackset.yaml")).Resources.MemberRole.Properties
  policy = one(local.role.Policies)

  # As CloudFormation fills the parameters in.
  parameters = {
    MonitorAccountId = var.monitor_account_id
    MonitorRoleArns  = var.monitor_role_arns
    ExternalId       = var.external_id
  }
  statement = one(local.role.AssumeRolePolicyDocument.Statement)
  trust = merge(local.role.AssumeRolePolicyDocument, {
    Statement = [merge(local.statement, {
      Principal = { for kind, value in local.statement.Principal : kind => local.parameters[value.Ref] }
      Condition = {
        for test, keys in local.statement.Condition : test => {
          for key, value in keys : key => local.parameters[value.Ref]
        }
      }
    })]
  })
}

resource "aws_iam_role" "member" {
  name                 = var.name
  description          = local.role.Description
  max_session_duration = local.role.MaxSessionDuration
  assume_role_policy   = jsonencode(local.trust)
}

resource "aws_iam_role_policy" "member" {
  name   = local.policy.PolicyName
  role   = aws_iam_role.member.id
  policy = jsonencode(local.policy.PolicyDocument)
}
