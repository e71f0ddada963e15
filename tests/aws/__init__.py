"""Tests of a deployed stack on AWS: `make test-aws`, and never by themselves."""
