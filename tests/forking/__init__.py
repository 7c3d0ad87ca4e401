"""Commands of tests in processes forked from one prepared interpreter, which has imported what takes seconds.

A forked process has a pid, a session, standard streams, a folder, an environment and arguments of its own, handles
signals and exits as any other does; what it lacks is the start of Python and the imports. What libraries read when
they are imported (`READ_AT_IMPORT`) is that of the prepared interpreter, and so is our code.
"""
