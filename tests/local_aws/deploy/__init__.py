"""Terraform and its provider: found or downloaded, and pointed at the local AWS with the configuration unchanged."""
