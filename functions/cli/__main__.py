"""``python -m functions.cli`` is the command ``iam-user-monitor``, where it is not installed."""

from functions.cli.app import cli

cli(prog_name="iam-user-monitor")
