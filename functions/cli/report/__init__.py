"""The page for auditors: one file, without a network, that answers for each of the scans that it holds."""
