"""A local AWS: an embedded emulator, corrected where it differs from AWS."""
