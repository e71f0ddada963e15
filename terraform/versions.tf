terraform {
  # Nothing here is newer than this; tested with 1.11.
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 5.67 validates the state machine's definition at plan time. 7.0 will have removed arguments that 5.x needs.
      version = ">= 5.67, < 7.0"
    }
  }
}
