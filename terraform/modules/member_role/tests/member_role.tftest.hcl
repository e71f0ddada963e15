# Who may take the role, and what it may do: exactly that. Nothing is asked of AWS, so its provider is mocked.

mock_provider "aws" {}

variables {
  monitor_account_id = "123456789012"
  monitor_role_arns = [
    "arn:aws:iam::123456789012:role/iam-user-monitor-list-users",
    "arn:aws:iam::123456789012:role/iam-user-monitor-read-posture",
  ]
  external_id = "of-the-fleet"
}

run "who_may_take_it_and_what_it_may_do" {
  command = plan

  assert {
    condition = jsonencode(jsondecode(aws_iam_role.member.assume_role_policy)) == jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid       = "Monitor"
        Effect    = "Allow"
        Action    = "sts:AssumeRole"
        Principal = { AWS = "123456789012" }
        Condition = {
          ArnEquals = {
            "aws:PrincipalArn" = [
              "arn:aws:iam::123456789012:role/iam-user-monitor-list-users",
              "arn:aws:iam::123456789012:role/iam-user-monitor-read-posture",
            ]
          }
          StringEquals = { "sts:ExternalId" = "of-the-fleet" }
        }
      }]
    })
    error_message = "Somebody else may take the role, or nobody."
  }

  assert {
    condition     = aws_iam_role.member.max_session_duration == 3600
    error_message = "A session lasts longer than it need."
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role_policy.member.policy)) == jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid    = "ReadUsers"
        Effect = "Allow"
        Action = [
          "iam:GenerateCredentialReport",
          "iam:GetAccountAuthorizationDetails",
          "iam:GetCredentialReport",
          "iam:ListUsers",
        ]
        Resource = "*"
      }]
    })
    error_message = "The role may do more or less than the functions need."
  }

  assert {
    condition     = aws_iam_role.member.name == "iam-user-monitor-member" && output.role_name == "iam-user-monitor-member"
    error_message = "Without a name of its own it must have the default one of the deployment."
  }
}

run "another_name_and_another_partition" {
  command = plan

  variables {
    name              = "Audit+Users=,.@_-1"
    monitor_role_arns = ["arn:aws-us-gov:iam::123456789012:role/teams/security/iam-user-monitor-list-users"]
  }

  assert {
    condition     = jsondecode(aws_iam_role.member.assume_role_policy).Statement[0].Condition.ArnEquals["aws:PrincipalArn"] == ["arn:aws-us-gov:iam::123456789012:role/teams/security/iam-user-monitor-list-users"]
    error_message = "A role of GovCloud, or with a path, is not trusted."
  }

  assert {
    condition     = output.role_name == "Audit+Users=,.@_-1"
    error_message = "It has another name than it was given."
  }
}
