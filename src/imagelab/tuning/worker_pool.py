"""The worker processes of a study on this machine: started, watched, replaced, ended."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from optuna.trial import TrialState

from imagelab.console import say
from imagelab.errors import ImagelabError
from imagelab.processor import usable_cores
from imagelab.tracking import environment_with_package, runs_folder
from imagelab.tuning.study import Study

MOST_DEATHS = 3  # of workers, without a trial finished in between
LONGEST_END = 60.0  # seconds that workers have to end their trials after an interruption


@contextmanager
def worker_pool(study: Study, deadline: float | None) -> Iterator["WorkerPool"]:
    """Workers for the trials that a study still lacks; whatever ends this, none is left behind."""
    pool = WorkerPool(study, deadline)
    try:
        for number in range(pool.size):
            pool.start(number)
        yield pool
    finally:
        pool.terminate()


class WorkerPool:
    """Workers by number, each with a log of its own.

    Attributes:
        deaths: how many have died since a trial was last finished.
        failed: whether one has ended in an error, so that the logs are worth keeping.
    """

    def __init__(self, study: Study, deadline: float | None) -> None:
        self.study = study
        self.size = min(study.settings.workers, study.n_trials - len(study.finished))
        given = study.settings.model_dump(mode="json", exclude_unset=True)
        self.job = json.dumps({"settings": given, "deadline": deadline})
        self.folder = runs_folder() / f"workers-{os.getpid()}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.deaths, self.succeeded, self.failed = 0, self.count_successes(), False
        self.processes: dict[int, subprocess.Popen[str]] = {}

    def start(self, number: int) -> None:
        """Start a worker, out of reach of the terminal's Ctrl-C, which this process passes on."""
        with self.log(number).open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "imagelab.tuning.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                env=self.environment(),
                start_new_session=True,
            )
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has died already, which is seen later
            process.stdin.write(f"{self.job}\n")
            process.stdin.flush()  # and left open: its end tells the worker that we have died
        self.processes[number] = process

    def environment(self) -> dict[str, str]:
        """The workers' environment, in which several share the cores."""
        environment = {**environment_with_package(), "TF_CPP_MIN_LOG_LEVEL": "3"}
        if self.size > 1:
            threads = str(max(1, usable_cores() // self.size))
            environment |= {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
        return environment

    def log(self, number: int) -> Path:
        return self.folder / f"worker-{number}.log"

    def poll(self) -> bool:
        """Whether a worker is still at work; one that has died is replaced.

        Raises:
            ImagelabError: a worker could not go on, or they die again and again.
        """
        for number, process in list(self.processes.items()):
            if (code := process.poll()) is None:
                continue
            del self.processes[number]
            if code == 1:
                self.failed = True
                raise ImagelabError(f"{self.last_line(number)} (its log: {self.log(number)})")
            if code != 0:
                self.replace(number, code)
        return bool(self.processes)

    def replace(self, number: int, code: int) -> None:
        succeeded = self.count_successes()
        self.deaths = 1 if succeeded > self.succeeded else self.deaths + 1
        self.succeeded = succeeded
        if self.deaths >= MOST_DEATHS:
            self.failed = True
            raise ImagelabError(
                f"workers die again and again (exit code {code}; -9 may mean that memory is short); "
                f"the last line of its log: {self.last_line(number)}"
            )
        say(f"a worker has died (exit code {code}); its trial is tried again by another")
        self.start(number)

    def count_successes(self) -> int:
        return sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in self.study.finished)

    def last_line(self, number: int) -> str:
        with suppress(OSError):
            if lines := self.log(number).read_text(errors="replace").strip().splitlines():
                return lines[-1]
        return "a worker ended without a message"

    def terminate(self) -> None:
        """Interrupt the workers, and kill those that do not end."""
        for process in self.processes.values():
            process.terminate()
        deadline = time.monotonic() + LONGEST_END
        try:
            for process in self.processes.values():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
        finally:  # also when somebody interrupts this
            for process in self.processes.values():
                process.kill()
                process.wait()
        if not self.failed:
            shutil.rmtree(self.folder, ignore_errors=True)
