"""Scores and metrics: one scoring path, exact AUC and GAUC."""
