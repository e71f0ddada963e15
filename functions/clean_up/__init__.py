"""The Lambda behind the clean-up rule: for runs that ended without their finally path."""
