"""Tests that hold the documentation against what it documents."""
