"""Runs side by side: which ones, their table, whether differences are luck, what follows, one page that shows it.

Reads from the store, and writes to one run of its own through tracking. What is compared are configurations: trainings
that differ in nothing but their seed.
"""
