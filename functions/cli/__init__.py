"""The operator's command, ``iam-user-monitor``: start and redrive scans, and ask what they recorded. Not deployed."""
