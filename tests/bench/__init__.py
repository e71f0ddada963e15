"""The benchmark: the workflow beside a single process, on the same local AWS. ``make bench``."""
