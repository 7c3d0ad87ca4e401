"""The run of a study in MLflow: what it was told, the best so far after each trial, and its trials' runs."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from imagelab.errors import TrackingError
from imagelab.tracking import Run, after_mlflow_run, attend, end_left_behind, end_nested, insist, open_children
from imagelab.tuning.states import ending_of
from imagelab.tuning.study import MINE, Session, described

if TYPE_CHECKING:
    from imagelab.tracking import Client


class StudyRun:
    """Writes to the study's run, while no other process on this machine does.

    What is written follows from the study alone, so that several machines write the same.

    Attributes:
        run: the run; None while another process writes to it.
    """

    def __init__(self, session: Session, client: "Client", wrapped: bool) -> None:
        """Take the session's run; `wrapped` says whether `mlflow run` has opened it and will end it afterwards."""
        self.session, self.client, self.wrapped = session, client, wrapped
        self.run: Run | None = None
        self.logged = 0

    def begin(self) -> Run | None:
        """Write to the run from now on, if nobody else does."""
        if self.run is None:
            settings = self.session.settings.model_dump(mode="json")
            patience = self.session.settings.upload_patience
            self.run = insist(lambda: attend(self.client, self.session.run_id, settings), patience)
            if self.run:
                self.run.wrapped = self.wrapped
                self.run.log_status("RUNNING")
                self.run.log_missing_tags("failure")
                self.run.log_params(self.params())
                self.run.log_tags(**self.tags())
                self.run.system_metrics.start()
        return self.run

    def params(self) -> dict[str, Any]:
        of_study = self.session.settings.model_dump(mode="json", include={"sampler", "objective", "grace_period"})
        of_trials = self.session.base.model_dump(mode="json", exclude={"resume", "note"})
        return {**of_trials, **of_study, "search": described(self.session.study.user_attrs[MINE]["search"])}

    def tags(self) -> dict[str, str]:
        """What may be another in each session."""
        settings = self.session.settings
        note = {"mlflow.note.content": settings.note} if settings.note else {}
        changing = {"n_trials": str(self.session.n_trials), "pruner": settings.pruner_name}
        return {"dataset": settings.dataset, "model": settings.model, **changing, **note}

    def log_progress(self) -> None:
        """The best so far, a point a finished trial."""
        if (run := self.begin()) is None:
            return
        finished = self.session.finished
        for count, (name, best, trial) in enumerate(best_so_far(self.session, finished), 1):
            if count > self.logged and trial.datetime_complete:
                stamp = round(trial.datetime_complete.timestamp() * 1000)
                values = {} if best is None else {f"best_{name}": best}
                run.log_metrics({**values, "trials_finished": count}, count, stamp)
        self.logged = len(finished)

    def log_end(self, status: str, **tags: str) -> None:
        """Write down how the run ends, before anything that takes long."""
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
            if any(trial.state == TrialState.RUNNING for trial in self.session.trials):
                status = "RUNNING"
        end_nested(run, status)
        if run.wrapped and status != "RUNNING":
            after_mlflow_run(status, run.run_id)


def best_so_far(session: Session, finished: list[FrozenTrial]) -> list[tuple[str, float | None, FrozenTrial]]:
    """For each finished trial, in the order of their ends: (first objective, its best value up to then, the trial)."""
    name, better = session.settings.objectives[0], max if session.settings.directions[0] == "maximize" else min
    best: float | None = None
    points = []
    for trial in finished:
        if trial.state == TrialState.COMPLETE:
            best = trial.values[0] if best is None else better(best, trial.values[0])
        points.append((name, best, trial))
    return points


def close_runs(session: Session, client: "Client") -> None:
    """End the runs of trials that are over, or that a newer run of the same trial has replaced."""
    runs = open_children(client, session.run_id)  # before the trials: one that is begun meanwhile is not known to them
    trials = {trial.number: trial for trial in session.study.get_trials(deepcopy=False)}
    for run in runs:
        trial = trials.get(int(run.data.tags.get("trial_number", -1)))
        current = trial is not None and trial.user_attrs.get("run_id", run.info.run_id) == run.info.run_id
        if trial is None or not current:
            end_left_behind(client, run.info.run_id, "KILLED", trial_state="abandoned")
        elif trial.state.is_finished():
            status, tags = ending_of(trial)
            end_left_behind(client, run.info.run_id, status, **tags)
