"""A finished network and images that it did not learn from: what its answers are worth, and where it looks.

From the store to evaluation and explanation, and to a run of its own.
"""
