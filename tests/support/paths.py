"""Where things are in this repository."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build"
FUNCTIONS = REPOSITORY / "functions"
STATE_MACHINE = REPOSITORY / "statemachine"
TERRAFORM = REPOSITORY / "terraform"
