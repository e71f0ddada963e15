"""The tests, and the local AWS they run on."""
