"""The Lambda behind the state AcquireLock."""
