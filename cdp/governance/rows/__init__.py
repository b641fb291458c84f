"""Special rows: what is not read at all."""
