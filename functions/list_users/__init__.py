"""The Lambda behind the state ListUsers."""
