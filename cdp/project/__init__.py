"""A folder of YAML becomes a Project: every reference resolved, every mistake reported at once."""
