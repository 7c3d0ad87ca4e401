"""Stories that are read: scripts in jupytext's percent format, and beside them the notebooks with their outputs."""
