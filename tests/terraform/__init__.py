"""The Terraform configuration, and what finds Terraform and runs it for the local AWS."""
