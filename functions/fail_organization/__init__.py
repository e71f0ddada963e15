"""The Lambda behind the state FailOrganization."""
