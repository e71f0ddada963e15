"""The Lambda behind the state SaveProgress."""
