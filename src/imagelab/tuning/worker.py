"""A process that works on the trials of a study: `python -m imagelab.tuning.worker`, started by `session.py`.

It is told what to do in one line of JSON on standard input, and stops when that is closed: when its parent has died.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from imagelab.command import INTERRUPTED, interruptible
from imagelab.console import say
from imagelab.errors import DataError, ImagelabError, Interrupted, TrackingError, unswallowed
from imagelab.settings import TrainSettings, TuneSettings, validate
from imagelab.tracking import Run, end_nested, open_child, this_process, use_tracking_store
from imagelab.tuning.claims import Claim, claimed
from imagelab.tuning.space import suggest
from imagelab.tuning.states import ending_of
from imagelab.tuning.study import Session, open_session
from imagelab.tuning.trial import Row, Workbench

LONGEST_END = 60.0  # seconds to end a trial after the parent has died
FATAL = (DataError, TrackingError, OSError)  # the next trial would fail so, too


class Worker:
    """Works on trials, one after the other, until there are none left.

    Attributes:
        trial, run: the trial under way, and its run.
        fatal: why no more trials are begun.
    """

    def __init__(self, session: Session, deadline: float | None) -> None:
        self.session, self.deadline = session, deadline
        self.client = use_tracking_store()
        self.bench = Workbench(session.base)
        self.trial: optuna.Trial | None = None
        self.run: Run | None = None
        self.fatal: Exception | None = None

    def work(self) -> None:
        """Claim and train until the study is complete, or time is up."""
        while not self.fatal:
            with claimed(self.session, self.deadline) as claim:
                if claim:
                    self.work_on_one(claim)
            if not claim:
                trials = self.session.trials
                late = self.deadline is not None and time.time() >= self.deadline
                if late or not any(trial.state == TrialState.RUNNING for trial in trials):
                    return
                time.sleep(1)  # a trial elsewhere may still turn out to be dead
        raise self.fatal

    def work_on_one(self, claim: Claim) -> None:
        study = self.session.study
        study.sampler = self.session.sampler()
        self.trial = None
        try:
            study.optimize(
                lambda trial: self.train(trial, claim), n_trials=1, catch=(Exception,), callbacks=[self.end_trial]
            )
        except Interrupted:
            self.give_back()
            raise
        except (ValueError, UpdateFinishedTrialError) as error:
            if not self.was_taken():
                raise
            # While the database was away, others took this process for dead: they try the trial again.
            say(f"a trial was closed by another process ({error})")
            self.end_run("KILLED", trial_state="abandoned")
        except UnboundLocalError as error:  # Optuna's, when telling was interrupted; what did that is its context
            raise error.__context__ or error from None

    def give_back(self) -> None:
        """Close the trial under way for another process to try again; where that fails, it is found dead later."""
        with suppress(Exception), self.session.lock():
            if self.trial:
                self.trial.set_user_attr("interrupted", True)
                self.session.study.tell(self.trial, state=TrialState.FAIL)
        with suppress(Exception):
            self.end_run("KILLED", trial_state="interrupted")

    def was_taken(self) -> bool:
        """Whether the trial under way is over without our doing."""
        trials = self.session.study.get_trials(deepcopy=False)
        return self.trial is not None and trials[self.trial.number].state.is_finished()

    def train(self, trial: optuna.Trial, claim: Claim) -> tuple[float, ...]:
        """The objective: the values of one trial."""
        if not claim.is_held():  # meanwhile another process may have begun as many as there may be
            trial.set_user_attr("interrupted" if trial.user_attrs.get("in_line") else "void", True)
            raise TrackingError("the database went away while the trial was begun; another takes its place")
        self.session.storage.record_heartbeat(trial._trial_id)  # first: a trial with an owner has a heartbeat
        trial.set_user_attr("process", this_process())
        self.trial = trial
        try:
            suggest(trial, self.session.space)
            claim.release()
            with unswallowed():
                return self.train_as(trial, self.session.settings_of(trial))
        except (optuna.TrialPruned, UpdateFinishedTrialError):
            raise
        except FATAL as error:
            self.fatal = error
            with suppress(Exception):
                trial.set_user_attr("interrupted", True)
            raise
        except Exception as error:
            if self.run:
                self.run.log_text("failure.txt", traceback.format_exc())
            trial.set_user_attr("failure", f"{type(error).__name__}: {error}"[:1000])
            raise

    def train_as(self, trial: optuna.Trial, settings: TrainSettings) -> tuple[float, ...]:
        self.run = self.open_run(trial, settings)
        trial.set_user_attr("run_id", self.run.run_id)
        run, objectives = self.run, self.session.settings.objectives

        def on_epoch(row: Row) -> None:
            run.log_epoch(row)
            if len(objectives) == 1 and objectives[0] in row and row["phase"] != "fine_tune":
                trial.report(row[objectives[0]], row["epoch"])
                if trial.should_prune() and not trial.user_attrs.get("recipe"):
                    raise optuna.TrialPruned

        figures = self.bench.train(settings, run.checkpoint_folder, on_epoch)
        run.log_metrics({"best_val_accuracy": figures["val_accuracy"], **single(figures)}, int(figures["best_epoch"]))
        trial.set_user_attr("figures", figures)
        return tuple(figures[name] for name in objectives)

    def open_run(self, trial: optuna.Trial, settings: TrainSettings) -> Run:
        tags = {
            "study": self.session.study.study_name,
            "trial_number": str(trial.number),
            "trial_state": "running",
            "dataset": settings.dataset,
            "model": settings.model,
        }
        values = settings.model_dump(mode="json", exclude={"resume", "note"})
        name = f"trial {trial.number}{' (recipe)' if trial.user_attrs.get('recipe') else ''}"
        return open_child(self.client, self.session.run_id, name, tags, values)

    def end_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        status, tags = ending_of(trial)
        self.end_run(status, **tags)

    def end_run(self, status: str, **tags: str) -> None:
        if run := self.run:
            self.run = None
            end_nested(run, status, **tags)


def single(figures: dict[str, float]) -> dict[str, float]:
    return {name: figures[name] for name in ("best_epoch", "parameter_count", "training_seconds")}


def stop_with_parent() -> None:
    """Interrupt this process when standard input is closed."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)  # not `sys.stdin.read`: a process forked meanwhile would wait for its lock
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LONGEST_END)
        os._exit(INTERRUPTED)  # nobody is left who would wait for longer

    threading.Thread(target=watch, name="imagelab-watch", daemon=True).start()


def main() -> None:
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    try:
        with interruptible():
            stop_with_parent()
            session = open_patiently(validate(TuneSettings, job["settings"]))
            Worker(session, job["deadline"]).work()
    except Interrupted:
        sys.exit(INTERRUPTED)
    except Exception as error:
        say(traceback.format_exc())
        say(str(error) if isinstance(error, ImagelabError) else f"{type(error).__name__}: {error}".splitlines()[0])
        sys.exit(1)


def open_patiently(settings: TuneSettings) -> Session:
    """Open the session; unlike the command itself, a worker may be started while a database is away."""
    deadline = time.monotonic() + settings.upload_patience
    while True:
        try:
            return open_session(settings, use_tracking_store())
        except TrackingError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


if __name__ == "__main__":
    main()
