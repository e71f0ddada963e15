"""The Lambda functions of the IAM User Monitor: one package per state of the workflow, and what they share.

The package keeps its name inside the deployment zip, so a stack trace in the console names the same path as the
repository does.
"""
