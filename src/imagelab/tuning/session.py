"""A tuning session on this machine: workers are kept busy, the study's run is kept, the best is trained."""

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from imagelab.console import say
from imagelab.errors import Interrupted, TrackingError
from imagelab.settings import TuneSettings
from imagelab.tracking import end_orphans, insist, use_tracking_store, without_password
from imagelab.tuning.board import Board
from imagelab.tuning.claims import close_dead
from imagelab.tuning.conclusion import conclude
from imagelab.tuning.crew import crew_of
from imagelab.tuning.study import Session, open_session, plan
from imagelab.tuning.study_run import StudyRun, close_runs

if TYPE_CHECKING:
    from imagelab.tracking import Client

POLL = 0.5  # seconds


def tune(settings: TuneSettings) -> str:
    """Work on a study until it has its trials, then conclude it; return the line that says what came out.

    Raises:
        ImagelabError: with the reason; what was found so far stays in the study.
        Interrupted: on Ctrl-C or SIGTERM; the same command goes on.
    """
    plan(settings)
    client = use_tracking_store()
    wrapper = os.environ.get("MLFLOW_RUN_ID")
    session = open_session(settings, client)
    run = StudyRun(session, client, wrapped=session.run_id == wrapper)
    try:
        run.begin()
        close_left_behind(session, client)
        say(introduction(session))
        work(session, run)
        close_left_behind(session, client)
        return conclude(session, run)
    except BaseException as error:
        interrupted = isinstance(error, Interrupted)
        reason = {} if interrupted else {"failure": f"{type(error).__name__}: {error}"[:5000]}
        run.log_end("KILLED" if interrupted else "FAILED", **reason)  # first: whoever interrupts may do so twice
        with suppress(Exception):
            close_left_behind(session, client)
        run.end()
        if interrupted:
            say("\ninterrupted; the same command goes on with this study")
        raise


def introduction(session: Session) -> str:
    done = len(session.finished)
    return (
        f"study {session.study.study_name} in {without_password(session.url)}: "
        f"{f'{done} of {session.n_trials} trials done' if done else f'{session.n_trials} trials'}, "
        f"searching {', '.join(session.space)} for {session.settings.objective}; run {session.run_id}"
    )


def work(session: Session, run: StudyRun) -> None:
    """Keep workers busy until the study is complete, or time is up."""
    timeout = session.settings.timeout
    deadline = None if timeout is None else time.time() + timeout
    while not session.is_complete and (deadline is None or time.time() < deadline):
        with crew_of(session, deadline) as crew, Board(session) as board:
            while crew.look_after():
                board.update()
                run.log_progress()
                time.sleep(POLL)
            board.update()
            run.log_progress()


def close_left_behind(session: Session, client: "Client") -> None:
    """Close trials, and runs of trials, whose processes have died."""
    try:
        with session.lock():
            close_dead(session)
        patience = session.settings.upload_patience
        insist(lambda: close_runs(session, client), patience)
        insist(lambda: end_orphans(client, session.study.study_name, session.run_id), patience)
    except TrackingError as error:
        say(str(error))
