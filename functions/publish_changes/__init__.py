"""The Lambda behind the state PublishChanges."""
