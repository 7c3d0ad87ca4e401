"""Registers models and moves their aliases: champion, challenger, previous.

    opening.py      a registered model and its history, made or found
    candidates.py   the run whose model is wanted
    lookup.py       which version a name means
    versions.py     a model becomes a version, once
    artifacts.py    a version's files: there, undamaged, able to answer
    referee.py, scoring.py      two versions on the same validation images
    gate.py         scores in, verdict out
    history.py      events, numbered without gaps: what is true of the aliases
    aliases.py      brings the aliases to what the newest event says
    promotion.py, rollback.py   the two deeds; verdict.py: the gate, and what is written down of it
    report.py       what a person reads of all this

MLflow can move an alias, but cannot move it only if it is still where it was (no compare-and-swap), keeps no history
of aliases, and cannot move two at once. So what counts is an event in a log of our own (`history.py`), and aliases
follow it. No lock is held: it works on SQLite, PostgreSQL and behind a tracking server, and nobody waits for a process
that died.
"""
