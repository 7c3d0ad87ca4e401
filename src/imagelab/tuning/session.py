"""A tuning session on this machine: workers are started and watched, the study's run is kept, the best is trained."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imagelab.console import say
from imagelab.errors import ImagelabError, Interrupted, TrackingError
from imagelab.settings import TuneSettings
from imagelab.tracking import end_orphans, insist, runs_folder, use_tracking_store, without_password
from imagelab.tuning.board import Board
from imagelab.tuning.claims import close_dead
from imagelab.tuning.conclusion import conclude
from imagelab.tuning.study import Session, open_session, plan
from imagelab.tuning.study_run import StudyRun, close_runs

if TYPE_CHECKING:
    from imagelab.tracking import Client

POLL = 0.5  # seconds
MOST_DEATHS = 3  # of workers, without a trial finished in between
PATIENCE_WITH_WORKERS = 30.0  # seconds to end their trials after an interruption


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
    end_orphans(client, session.study.study_name, session.run_id)
    run = StudyRun(session, client, wrapped=session.run_id == wrapper)
    say(introduction(session))
    try:
        if not session.is_complete:
            work(session, run)
        close_left_behind(session, client)
        return conclude(session, run)
    except Interrupted:
        close_left_behind(session, client)
        run.end("KILLED")
        say("\ninterrupted; the same command goes on with this study")
        raise
    except BaseException as error:
        close_left_behind(session, client)
        run.end("FAILED", failure=f"{type(error).__name__}: {error}")
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
    with workers(session, deadline) as crew, Board(session) as board:
        while crew.look_after(session):
            board.update()
            run.log_progress()
            time.sleep(POLL)
        board.update()
        run.log_progress()


@contextmanager
def workers(session: Session, deadline: float | None) -> Iterator["Crew"]:
    crew = Crew(session, deadline)
    try:
        yield crew
    finally:
        crew.dismiss()


class Crew:
    """The worker processes of this machine."""

    def __init__(self, session: Session, deadline: float | None) -> None:
        left = session.n_trials - len(session.finished)
        self.size = min(session.settings.workers, left)
        given = session.settings.model_dump(mode="json", exclude_unset=True)
        self.job = json.dumps({"settings": given, "deadline": deadline})
        self.folder = runs_folder() / session.run_id
        self.folder.mkdir(parents=True, exist_ok=True)
        self.deaths, self.finished = 0, len(session.finished)
        self.processes: dict[int, subprocess.Popen[str]] = {}
        for number in range(self.size):
            self.start(number)

    def start(self, number: int) -> None:
        """A session of its own keeps the terminal's Ctrl-C from it: it is this process that passes that on."""
        threads = str(max(1, (os.cpu_count() or 1) // self.size))
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        if self.size > 1:
            environment |= {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
        with self.log(number).open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "imagelab.tuning.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,
            )
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has died already, which is seen later
            process.stdin.write(f"{self.job}\n")
            process.stdin.flush()  # and left open: its end tells the worker that we have died
        self.processes[number] = process

    def log(self, number: int) -> Path:
        return self.folder / f"worker-{os.getpid()}-{number}.log"

    def look_after(self, session: Session) -> bool:
        """Whether a worker is still at work; one that has died is replaced.

        Raises:
            ImagelabError: a worker could not go on, or they die again and again.
        """
        for number, process in list(self.processes.items()):
            code = process.poll()
            if code is None:
                continue
            del self.processes[number]
            if code == 1:
                raise ImagelabError(self.last_words(number))
            if code != 0:
                self.replace(number, code, session)
        return bool(self.processes)

    def replace(self, number: int, code: int, session: Session) -> None:
        finished = len(session.finished)
        self.deaths = 1 if finished > self.finished else self.deaths + 1
        self.finished = finished
        if self.deaths >= MOST_DEATHS:
            raise ImagelabError(
                f"workers die again and again (exit code {code}); the last one said: {self.last_words(number)}"
            )
        say(f"a worker has died (exit code {code}); its trial is tried again by another")
        self.start(number)

    def last_words(self, number: int) -> str:
        lines = self.log(number).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing"

    def dismiss(self) -> None:
        """Interrupt the workers, and kill those that do not end; logs of an orderly end are not kept."""
        for process in self.processes.values():
            process.terminate()
        deadline = time.monotonic() + PATIENCE_WITH_WORKERS
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.wait()
        for number in range(self.size):
            self.log(number).unlink(missing_ok=True)


def close_left_behind(session: Session, client: "Client") -> None:
    """Close trials, and runs of trials, whose processes have died."""
    try:
        with session.lock():
            close_dead(session)
        insist(lambda: close_runs(session, client), session.settings.upload_patience)
    except TrackingError as error:
        say(str(error))
