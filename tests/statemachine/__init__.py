"""Tests of the state machine: its static rules, and its behaviour on an interpreter with the real handlers."""
