# Region and credentials come from the environment, as with every AWS tool: AWS_REGION, AWS_PROFILE, …
provider "aws" {
  default_tags {
    tags = merge({ Application = var.name_prefix }, var.tags)
  }
}
