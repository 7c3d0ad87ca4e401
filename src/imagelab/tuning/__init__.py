"""Studies: a search space, the trials that sample it, and the processes that work on them and may die at any time."""
