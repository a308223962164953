"""`din-train predict`: new rows scored with a finished run."""
