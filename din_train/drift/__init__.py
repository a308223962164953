"""`din-train drift`: what has changed since a run's training (see `drift.py`)."""
