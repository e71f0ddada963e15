"""The Lambda behind the state SummarizeAccounts."""
