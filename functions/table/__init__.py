"""What is in the records table: records, manifests and the lock; its keys and its wire format; and the fence.

``record`` declares a record attribute by attribute, ``manifest`` and ``lock`` the two other kinds of items, ``fence``
every write that may change a manifest or the lock, ``wire`` DynamoDB's format.
"""
