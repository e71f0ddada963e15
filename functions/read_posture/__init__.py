"""The Lambda behind the state ReadPosture."""
