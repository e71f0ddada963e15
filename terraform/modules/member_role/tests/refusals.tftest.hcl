# Every variable refuses bad values, naming the value and what is allowed. Only the variables take part: `make test` has
# them alone in a folder, where a run takes milliseconds.

mock_provider "aws" {}

variables {
  monitor_account_id = "123456789012"
  monitor_role_arns  = ["arn:aws:iam::123456789012:role/iam-user-monitor-list-users"]
  external_id        = "of-the-fleet"
}

run "refuses_what_is_missing_or_too_short" {
  command = plan

  variables {
    name              = ""
    monitor_role_arns = []
    external_id       = "x"
  }

  expect_failures = [var.name, var.monitor_role_arns, var.external_id]
}

run "refuses_what_aws_does_not_allow" {
  command = plan

  variables {
    name              = "a/b"
    monitor_role_arns = ["arn:aws:iam::123456789012:user/alice"]
    external_id       = "with a space"
  }

  expect_failures = [var.name, var.monitor_role_arns, var.external_id]
}

run "refuses_what_is_too_long" {
  command = plan

  variables {
    name        = format("%065d", 0)
    external_id = format("%01225d", 0)
  }

  expect_failures = [var.name, var.external_id]
}

run "refuses_an_account_that_is_none" {
  command = plan

  variables {
    monitor_account_id = "12345678901"
  }

  expect_failures = [var.monitor_account_id]
}

run "refuses_a_wildcard" {
  command = plan

  variables {
    monitor_role_arns = ["arn:aws:iam::123456789012:role/*"]
  }

  expect_failures = [var.monitor_role_arns]
}

run "refuses_roles_of_another_account" {
  command = plan

  variables {
    monitor_role_arns = ["arn:aws:iam::210987654321:role/iam-user-monitor-list-users"]
  }

  expect_failures = [var.monitor_role_arns]
}

run "takes_what_is_at_the_bounds" {
  command = plan

  variables {
    name              = format("%064d", 0)
    monitor_role_arns = ["arn:aws-us-gov:iam::123456789012:role/teams/a+=,.@_-b"]
    external_id       = format("%01224d", 0)
  }
}
