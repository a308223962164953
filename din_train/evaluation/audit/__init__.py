"""The audit of a run: one kind of check a file."""
