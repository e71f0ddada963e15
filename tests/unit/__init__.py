"""Tests of the functions, one module per step and one per shared part."""
