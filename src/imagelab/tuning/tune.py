"""The command `tune`: keep workers busy until the study has its trials, keep its run up to date, train the best."""

import os
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from imagelab.console import how_many, say
from imagelab.errors import Interrupted, TrackingError
from imagelab.settings import TuneSettings
from imagelab.tracking import end_dead_parents, retry, use_tracking_store, without_password
from imagelab.tuning.progress import StudyProgress
from imagelab.tuning.study import Study, open_study
from imagelab.tuning.study_config import plan
from imagelab.tuning.study_run import StudyRun, close_runs
from imagelab.tuning.summary import conclude
from imagelab.tuning.trial_queue import close_dead
from imagelab.tuning.worker_pool import worker_pool

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
    run_of_mlflow_run = os.environ.get("MLFLOW_RUN_ID")
    with ExitStack() as held:  # else a run could be left that nobody ends
        study = open_study(settings, client, held)
        run = StudyRun(study, client, owned_by_mlflow_run=study.run_id == run_of_mlflow_run)
        try:
            held.close()
            run.begin()
            close_left_behind(study, client)
            say(introduction(study))
            work(study, run)
            close_left_behind(study, client)
            return conclude(study, run)
        except BaseException as error:
            interrupted = isinstance(error, Interrupted)
            failure = f"{type(error).__name__}: {error}"[:5000]
            reason = {"interrupted_by": str(error)} if interrupted else {"failure": failure}
            run.log_end("KILLED" if interrupted else "FAILED", **reason)  # first: whoever interrupts may do so twice
            with suppress(Exception):
                close_left_behind(study, client)
            run.end()
            if interrupted:
                say("\ninterrupted; the same command goes on with this study")
            raise


def introduction(study: Study) -> str:
    done, trials = len(study.finished), how_many(study.n_trials, "trial")
    return (
        f"study {study.name} in {without_password(study.url)}: "
        f"{f'{done} of {trials} done' if done else trials}, "
        f"searching {', '.join(study.space)} for {study.settings.objective}; run {study.run_id}"
    )


def work(study: Study, run: StudyRun) -> None:
    """Keep workers busy until the study is complete, or time is up."""
    timeout = study.settings.timeout
    deadline = None if timeout is None else time.time() + timeout
    while not study.is_complete and (deadline is None or time.time() < deadline):
        with worker_pool(study, deadline) as pool, StudyProgress(study) as progress:
            while pool.poll():
                progress.update()
                run.log_progress()
                time.sleep(POLL)
            progress.update()
            run.log_progress()


def close_left_behind(study: Study, client: "Client") -> None:
    """Close trials, and runs of trials, whose processes have died."""
    try:
        with study.lock():
            close_dead(study)
        patience = study.settings.upload_patience
        retry(lambda: close_runs(study, client), patience)
        retry(lambda: end_dead_parents(client, study.run_id, phase="study", study=study.name), patience)
    except TrackingError as error:
        say(str(error))
