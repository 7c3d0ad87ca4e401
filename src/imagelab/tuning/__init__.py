"""Tuning sessions: a search space, a study that survives anything, and the processes that work on it."""
