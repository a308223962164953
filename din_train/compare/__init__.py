"""`din-train compare`: several runs' metrics side by side, with the intervals of their differences."""
