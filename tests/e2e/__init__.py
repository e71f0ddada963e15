"""The real configuration, package and state machine on the local AWS, and the commands of the README."""
