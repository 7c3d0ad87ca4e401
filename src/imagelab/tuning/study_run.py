"""The run of a study in MLflow: its settings, the best so far after each trial, and the runs of its trials."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from imagelab.errors import TrackingError
from imagelab.signals import uninterrupted
from imagelab.tracking import Run, after_mlflow_run, children_of, end_dead_run, end_run, retry, try_take_parent
from imagelab.tuning.study import Study
from imagelab.tuning.study_config import STUDY_CONFIG_KEY, described
from imagelab.tuning.trial_states import ending_of

if TYPE_CHECKING:
    from imagelab.tracking import Client


class StudyRun:
    """Writes to the study's run, while no other process on this machine does.

    What is written follows from the study alone, so that several machines write the same.

    Attributes:
        run: the run; None while another process writes to it.
    """

    def __init__(self, study: Study, client: "Client", owned_by_mlflow_run: bool) -> None:
        """Take the study's run; `owned_by_mlflow_run` says whether `mlflow run` has opened it and will end it."""
        self.study, self.client, self.owned_by_mlflow_run = study, client, owned_by_mlflow_run
        self.run: Run | None = None
        self.logged = 0

    def begin(self) -> Run | None:
        """Write to the run from now on, if no other process does."""
        if self.run is None:
            retry(self.take, self.study.settings.upload_patience)
            if self.run:
                self.run.log_status("RUNNING")
                self.run.log_missing_tags("failure", "interrupted_by")
                self.run.log_params(self.params())
                self.run.log_tags(**self.tags())
                self.run.system_metrics.start()
        return self.run

    def take(self) -> None:
        """Keep other processes from writing to the run, if none does."""
        settings = self.study.settings.model_dump(mode="json")
        with uninterrupted():  # else nobody could end the run
            self.run = try_take_parent(self.client, self.study.run_id, settings)
            if self.run:
                self.run.owned_by_mlflow_run = self.owned_by_mlflow_run

    def params(self) -> dict[str, Any]:
        of_study = self.study.settings.model_dump(mode="json", include={"sampler", "objective", "grace_period"})
        of_trials = self.study.base.model_dump(mode="json", exclude={"note"})
        return {
            **of_trials,
            **of_study,
            "search": described(self.study.optuna_study.user_attrs[STUDY_CONFIG_KEY]["search"]),
        }

    def tags(self) -> dict[str, str]:
        """What may change from one command to the next."""
        settings = self.study.settings
        note = {"mlflow.note.content": settings.note} if settings.note else {}
        changing = {"n_trials": str(self.study.n_trials), "pruner": settings.pruner_name}
        return {"dataset": settings.dataset, "model": settings.model, **changing, **note}

    def log_progress(self) -> None:
        """The best so far, a point a finished trial."""
        if (run := self.begin()) is None:
            return
        finished = self.study.finished
        for count, (name, best, trial) in enumerate(best_so_far(self.study, finished), 1):
            if count > self.logged and trial.datetime_complete:
                stamp = round(trial.datetime_complete.timestamp() * 1000)
                values = {} if best is None else {f"best_{name}": best}
                run.log_metrics({**values, "trials_finished": count}, count, stamp)
        self.logged = len(finished)

    def log_end(self, status: str, **tags: str) -> None:
        """Write down how the run ends, before anything that takes long; also of one that was not begun."""
        with suppress(Exception):
            if self.run is None:
                self.take()
        if self.run:
            self.run.log_tags(**tags)
            self.run.log_status(status)

    def end(self) -> None:
        """Let the store know all of it; trials that are under way on other machines keep the run open."""
        if (run := self.run) is None:
            return
        self.run = None
        run.system_metrics.finish()
        status = run.statuses[-1]
        with suppress(TrackingError):
            if any(trial.state == TrialState.RUNNING for trial in self.study.trials):
                status = "RUNNING"
        end_run(run, status)
        if run.owned_by_mlflow_run and status != "RUNNING":
            after_mlflow_run(status, run.run_id)


def best_so_far(study: Study, finished: list[FrozenTrial]) -> list[tuple[str, float | None, FrozenTrial]]:
    """For each finished trial, in the order of their ends: (first objective, its best value up to then, the trial)."""
    name, better = study.settings.objectives[0], max if study.settings.directions[0] == "maximize" else min
    best: float | None = None
    points = []
    for trial in finished:
        if trial.state == TrialState.COMPLETE:
            best = trial.values[0] if best is None else better(best, trial.values[0])
        points.append((name, best, trial))
    return points


def close_runs(study: Study, client: "Client") -> None:
    """End the runs of trials that are over, or that a newer run of the same trial has replaced."""
    runs = children_of(
        client, study.run_id, "RUNNING"
    )  # before the trials: one that is begun meanwhile is not known to them
    trials = {trial.number: trial for trial in study.optuna_study.get_trials(deepcopy=False)}
    for run in runs:
        trial = trials.get(int(run.data.tags.get("trial_number", -1)))
        current = trial is not None and trial.user_attrs.get("run_id", run.info.run_id) == run.info.run_id
        if trial is None or not current:
            end_dead_run(client, run.info.run_id, "KILLED", trial_state="abandoned")
        elif trial.state.is_finished():
            status, tags = ending_of(trial)
            end_dead_run(client, run.info.run_id, status, **tags)
