"""The Lambda behind the state FailScan."""
