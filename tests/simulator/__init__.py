"""A simulator of interleavings: the real handlers, the real definition, and every order in which things may happen."""
