terraform {
  # Nothing here is newer than this; tested with 1.11.
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 5.67 validates the state machine's definition at plan time. 7.0 will have removed arguments that 5.x needs.
      #
      # 6.29 to 6.40 refuse to plan a table that exists and whose index has no range key, as here before 1.0: "all indexes
      # must match a defined attribute" (hashicorp/terraform-provider-aws#46755). A constraint can exclude single versions only, so
      # each is named with its first patch release, whether or not there was one.
      version = ">= 5.67, < 7.0, != 6.29.0, != 6.29.1, != 6.30.0, != 6.30.1, != 6.31.0, != 6.31.1, != 6.32.0, != 6.32.1, != 6.33.0, != 6.33.1, != 6.34.0, != 6.34.1, != 6.35.0, != 6.35.1, != 6.36.0, != 6.36.1, != 6.37.0, != 6.37.1, != 6.38.0, != 6.38.1, != 6.39.0, != 6.39.1, != 6.40.0, != 6.40.1"
    }
  }
}
