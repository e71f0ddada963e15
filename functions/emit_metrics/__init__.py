"""The Lambda behind the state EmitMetrics."""
