"""The Lambda behind the state WriteBatch."""
