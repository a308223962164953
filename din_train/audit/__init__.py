"""`din-train audit`: whether a run's numbers can be trusted."""
