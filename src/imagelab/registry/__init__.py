"""Registers models and moves their aliases: champion, challenger, previous.

    promotion.py, rollback.py   the two operations
    overview.py         what there is to promote, serve and roll back
    candidates.py       the run whose model is wanted
    creation.py         a registered model and its history, made or found
    registered_model.py its aliases follow its history
    event_log.py        the history: events, numbered without gaps, that say where the aliases belong
    lookup.py, find_version.py  which version a name means
    named_model.py, loaded_model.py     the network that a command works on, found and in memory
    registration.py         a logged model becomes a version, once
    model_files.py      a version's files: there, undamaged, able to answer
    version_comparison.py, version_scores.py    two versions on the same validation images
    gate.py             scores in, verdict out; gate_report.py: what is written of it
    report.py           comparison and history, as a person reads them

MLflow can move an alias, but cannot move it only if it is still where it was (no compare-and-swap), keeps no history
of aliases, and cannot move two at once. So what counts is an event in a log of our own (`event_log.py`), and aliases
follow it. No lock is held: it works on SQLite, PostgreSQL and behind a tracking server, and nobody waits for a process
that died.
"""
