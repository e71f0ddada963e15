"""The Lambda behind the state ListAccounts."""
