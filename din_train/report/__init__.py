"""`din-train report`: a run's page and plots."""
