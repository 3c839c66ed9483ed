"""Functions of the conformance tests. Imported in containers: they need the SDK alone."""
