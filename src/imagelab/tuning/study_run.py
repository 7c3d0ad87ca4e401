"""The run of a study in MLflow: what it was told, the best so far after each trial, and its trials' runs."""

from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from imagelab.tracking import Run, after_mlflow_run, attend, end_child, end_left_behind, insist, open_children
from imagelab.tuning.study import Session, ending_of

if TYPE_CHECKING:
    from imagelab.tracking import Client


class StudyRun:
    """Writes to the study's run, while no other process on this machine does.

    What is written follows from the study alone, so that several machines write the same.

    Attributes:
        run: the run; None while another process writes to it.
    """

    def __init__(self, session: Session, client: "Client", wrapped: bool) -> None:
        """Begin to write, if nobody else does.

        Args:
            wrapped: whether `mlflow run` has opened the run, and will end it after this process.
        """
        self.session, self.client, self.wrapped = session, client, wrapped
        self.run: Run | None = None
        self.logged = 0
        self.begin()

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
                self.run.log_tags(dataset=self.session.base.dataset, model=self.session.base.model)
                self.run.system_metrics.start()
        return self.run

    def params(self) -> dict[str, Any]:
        settings = self.session.settings
        ours = settings.model_dump(mode="json", exclude={"storage", "note", "search", "refit"})
        search = ", ".join(f"{name}" for name in self.session.space)
        return {
            **self.session.base.model_dump(mode="json", exclude={"resume"}),
            **ours_not_none(ours),
            "search": search,
        }

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

    def end(self, status: str, **tags: str) -> None:
        """End the run, unless trials of the study go on on other machines."""
        elsewhere = any(trial.state == TrialState.RUNNING for trial in self.session.trials)
        if run := self.run:
            self.run = None
            run.system_metrics.finish()
            end_child(run, "RUNNING" if elsewhere else status, **tags)
            if run.wrapped and not elsewhere:
                after_mlflow_run(status, run.run_id)


def ours_not_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


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
    trials = {trial.number: trial for trial in session.study.get_trials(deepcopy=False)}
    for run in open_children(client, session.run_id):
        trial = trials.get(int(run.data.tags.get("trial_number", -1)))
        current = trial is not None and trial.user_attrs.get("run_id", run.info.run_id) == run.info.run_id
        if trial is None or not current:
            end_left_behind(client, run.info.run_id, "KILLED", trial_state="abandoned")
        elif trial.state.is_finished():
            status, tags = ending_of(trial)
            end_left_behind(client, run.info.run_id, status, **tags)
