"""What several wings of the tests use: the in-process engine, the definition, a table, a scene, paths, waiting."""
