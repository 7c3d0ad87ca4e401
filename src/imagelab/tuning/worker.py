"""A process that works on the trials of a study: `python -m imagelab.tuning.worker`, started by `tune.py`.

It reads its job, one line of JSON, from standard input, and stops when that is closed: when its parent has died.
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

from imagelab.console import say
from imagelab.errors import DataError, ImagelabError, Interrupted, TrackingError, unswallowed
from imagelab.keras_startup import start_keras
from imagelab.settings import ExperimentSettings, TuneSettings, validate
from imagelab.signals import INTERRUPTED, interruptible
from imagelab.tracking import Run, end_run, open_child, this_process, use_tracking_store
from imagelab.tuning.outage import attempts
from imagelab.tuning.search_space import suggest
from imagelab.tuning.study import Study, open_study
from imagelab.tuning.trial_queue import Reservation, reserve_trial
from imagelab.tuning.trial_states import ending_of, was_enqueued

LONGEST_END = 60.0  # seconds to end a trial after the parent has died
FATAL = (DataError, TrackingError, OSError)  # the next trial would fail so, too
ONCE = ("best_epoch", "parameter_count", "training_seconds")  # figures of a trial, not of an epoch


class Worker:
    """Works on trials, one after the other, until there are none left.

    Attributes:
        trial, run: the trial under way, and its run.
        fatal: why no more trials are begun.
    """

    def __init__(self, study: Study, deadline: float | None) -> None:
        self.study, self.deadline = study, deadline
        self.client = use_tracking_store()
        start_keras()
        from imagelab.tuning.trial_trainer import TrialTrainer  # it imports Keras, which must have been started

        self.trainer = TrialTrainer(study.base)
        self.trial: optuna.Trial | None = None
        self.run: Run | None = None
        self.fatal: Exception | None = None

    def work(self) -> None:
        """Reserve and train trials until the study is complete, or time is up."""
        while not self.fatal:
            with reserve_trial(self.study, self.deadline) as reservation:
                if reservation:
                    self.work_on_one(reservation)
            if not reservation:
                trials = self.study.trials
                late = self.deadline is not None and time.time() >= self.deadline
                if late or not any(trial.state == TrialState.RUNNING for trial in trials):
                    return
                time.sleep(1)  # a trial elsewhere may still turn out to be dead
        raise self.fatal

    def work_on_one(self, reservation: Reservation) -> None:
        optuna_study = self.study.optuna_study
        optuna_study.sampler = self.study.sampler()
        self.trial = None
        try:
            optuna_study.optimize(
                lambda trial: self.train(trial, reservation), n_trials=1, catch=(Exception,), callbacks=[self.end_trial]
            )
        except Interrupted:
            self.return_trial(reservation)
            raise
        except (ValueError, UpdateFinishedTrialError) as error:
            if not self.was_closed():
                raise
            # While the database was away, others took this process for dead: they try the trial again.
            say(f"a trial was closed by another process ({error})")
            self.end_run("KILLED", trial_state="abandoned")
        except UnboundLocalError as error:  # Optuna's, where its `tell` was interrupted; what did that is its context
            raise error.__context__ or error from None

    def return_trial(self, reservation: Reservation) -> None:
        """Close the trial under way so that another process tries it again; if that fails, it is found dead later."""
        with suppress(Exception):
            reservation.release()
            with self.study.lock():
                assert self.trial  # else there is none to return
                self.trial.set_user_attr("interrupted", True)
                self.study.optuna_study.tell(self.trial, state=TrialState.FAIL)
        with suppress(Exception):
            self.end_run("KILLED", trial_state="interrupted")

    def was_closed(self) -> bool:
        """Whether another process has closed the trial under way."""
        trials = self.study.optuna_study.get_trials(deepcopy=False)
        return self.trial is not None and trials[self.trial.number].state.is_finished()

    def train(self, trial: optuna.Trial, reservation: Reservation) -> tuple[float, ...]:
        """The objective: the values of one trial."""
        self.trial = trial
        if not reservation.is_held():  # meanwhile another process may have begun as many as there may be
            trial.set_user_attr("interrupted" if was_enqueued(trial) else "void", True)
            raise TrackingError("the database went away while the trial was begun; another takes its place")
        storage = self.study.storage
        storage.record_heartbeat(storage.id_of(self.study.name, trial.number))  # first: without one it is never stale
        trial.set_user_attr("process", this_process())
        try:
            suggest(trial, self.study.space)
            reservation.release()
            with unswallowed():
                return self.train_as(trial, self.study.settings_of(trial))
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

    def train_as(self, trial: optuna.Trial, settings: ExperimentSettings) -> tuple[float, ...]:
        self.run = self.open_run(trial, settings)
        trial.set_user_attr("run_id", self.run.run_id)
        run, objectives = self.run, self.study.settings.objectives

        def on_epoch(row: dict[str, Any]) -> None:
            run.log_epoch(row)
            if len(objectives) == 1 and objectives[0] in row and row["phase"] != "fine_tune":
                trial.report(row[objectives[0]], row["epoch"])
                if trial.should_prune() and not trial.user_attrs.get("recipe"):
                    raise optuna.TrialPruned
            else:
                trial.set_user_attr("epoch", row["epoch"])  # for those who watch

        figures = self.trainer.train(settings, run.checkpoint_folder, on_epoch)
        best = {"best_val_accuracy": figures["val_accuracy"]} | {name: figures[name] for name in ONCE}
        run.log_metrics(best, int(figures["best_epoch"]))
        trial.set_user_attr("figures", figures)
        return tuple(figures[name] for name in objectives)

    def open_run(self, trial: optuna.Trial, settings: ExperimentSettings) -> Run:
        tags = {
            "study": self.study.name,
            "trial_number": str(trial.number),
            "trial_state": "running",
            "settings": settings.as_tag(),
            "dataset": settings.dataset,
            "model": settings.model,
        }
        values = settings.model_dump(mode="json", exclude={"note"})
        name = f"trial {trial.number}{' (recipe)' if trial.user_attrs.get('recipe') else ''}"
        return open_child(self.client, self.study.run_id, name, tags, values)

    def end_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        status, tags = ending_of(trial)
        self.end_run(status, **tags)

    def end_run(self, status: str, **tags: str) -> None:
        if run := self.run:
            self.run = None
            end_run(run, status, **tags)


def stop_with_parent() -> None:
    """Interrupt this process when standard input is closed."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)  # not `sys.stdin.read`: a process forked meanwhile would wait for its lock
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LONGEST_END)
        os._exit(INTERRUPTED)  # the parent has died: no process waits for longer

    threading.Thread(target=watch, name="imagelab-watch", daemon=True).start()


def main() -> None:
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    try:
        with interruptible():
            stop_with_parent()
            study = open_patiently(validate(TuneSettings, job["settings"]))
            Worker(study, job["deadline"]).work()
    except Interrupted:
        sys.exit(INTERRUPTED)
    except Exception as error:
        say(traceback.format_exc())
        say(str(error) if isinstance(error, ImagelabError) else f"{type(error).__name__}: {error}".splitlines()[0])
        sys.exit(1)


def open_patiently(settings: TuneSettings) -> Study:
    """Open the study; unlike the command itself, a worker may be started while a database is away."""
    failure: TrackingError | None = None
    for _ in attempts(settings.upload_patience):
        try:
            study = open_study(settings, use_tracking_store())
        except TrackingError as error:
            failure = error
            continue
        if failure:
            study.storage.patience.note_outage()
        return study
    raise failure or AssertionError


if __name__ == "__main__":
    main()
