# Where the state is kept: in a bucket of your own, with versions, encrypted, and locked by S3 itself. The state names
# resources and no user. Without this file, the state is a file beside it.
terraform {
  backend "s3" {
    bucket  = "example-terraform-state"
    key     = "iam-user-monitor/terraform.tfstate"
    region  = "eu-west-1"
    encrypt = true
    # From Terraform 1.10 on.
    use_lockfile = true
  }
}
