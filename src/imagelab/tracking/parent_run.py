"""A parent run and the runs below it: opened, found again, and ended when their process has died.

A study has one, with a run a trial. Several processes, on several machines, may work on one study. So the study
itself, not a run, knows what came of a trial, and a run that is still open is ended by whoever sees that its trial is
over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagelab.errors import SettingsError, TrackingError
from imagelab.tracking.end import end_dead_run
from imagelab.tracking.presentation import PARENT
from imagelab.tracking.project_run import keep_project_run
from imagelab.tracking.resume import CUT_OFF, lock_run, mark_killed, this_process, try_lock, was_here_and_died
from imagelab.tracking.retry import retry
from imagelab.tracking.run import Run
from imagelab.tracking.start import take_or_create_run
from imagelab.tracking.store import may_pass, reason_of, runs_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient


def create_parent(client: "MlflowClient", name: str, tags: Mapping[str, str]) -> tuple[str, bool]:
    """Make a parent run, or take the one that `mlflow run` has opened for this process.

    Args:
        tags: what tells it from other parents, `phase` among them: what kind of parent it is.

    Returns:
        Its id, and whether it is that of `mlflow run`.
    """
    return take_or_create_run(client, name, {"role": "parent", **tags, **this_process()})


def join_parent(client: "MlflowClient", run_id: str, study: str) -> None:
    """Make sure that the study's run is in this store; one that `mlflow run` has opened besides is given up.

    Raises:
        SettingsError: it is not, or is deleted.
    """
    from mlflow.exceptions import MlflowException

    try:
        deleted = client.get_run(run_id).info.lifecycle_stage != "active"
    except MlflowException as error:
        if may_pass(error):
            raise TrackingError(f"the tracking store does not answer ({reason_of(error)})") from error
        raise SettingsError(
            f"study={study}: belongs to run {run_id}, which this tracking store does not have; set MLFLOW_TRACKING_URI "
            "to the store that has it, or name another study"
        ) from error
    if deleted:
        raise SettingsError(
            f"study={study}: its run {run_id} is deleted; restore it (mlflow runs restore --run-id {run_id}) "
            "or name another study"
        )
    keep_project_run(run_id)


def try_take_parent(client: "MlflowClient", run_id: str, settings: Mapping[str, Any]) -> Run | None:
    """The run of a study, to write to; None while another process on this machine does."""
    folder = runs_folder() / run_id
    folder.mkdir(parents=True, exist_ok=True)
    lock = try_lock(folder)
    return Run(client, run_id, lock, dict(settings)) if lock else None


def open_child(
    client: "MlflowClient", parent_id: str, name: str, tags: Mapping[str, str], settings: Mapping[str, Any]
) -> Run:
    """A new run below its parent's, by default that of a trial.

    Args:
        tags: what it is marked with from its first moment; `role` for what is no trial.

    Raises:
        TrackingError: the store did not answer for `upload_patience` seconds.
    """
    from mlflow.tracking.context import registry

    all_tags = {**registry.resolve_tags(), "role": "trial", **tags, **this_process(), PARENT: parent_id}

    def create() -> Run:
        experiment = client.get_run(parent_id).info.experiment_id
        run_id = client.create_run(experiment, None, all_tags, name).info.run_id
        (runs_folder() / run_id).mkdir(parents=True, exist_ok=True)
        return Run(client, run_id, lock_run(runs_folder() / run_id), dict(settings))

    run = retry(create, settings["upload_patience"])
    run.log_params(settings)
    return run


@dataclass(frozen=True)
class Refit:
    """The run that trains a study's best settings, as far as there is one.

    Attributes:
        run_id: of one that was interrupted, to go on with.
        elsewhere: the machine (or process) that is at it.
    """

    run_id: str | None = None
    is_finished: bool = False
    elsewhere: str | None = None


def find_refit(client: "MlflowClient", tags: Mapping[str, str]) -> Refit:
    """The run that trains the best trial of a study, by its tags `study_run` and `refit_of_trial`."""
    experiment = client.get_run(tags["study_run"]).info.experiment_id
    query = " and ".join(f"tags.{key} = '{tags[key]}'" for key in ("study_run", "refit_of_trial"))
    for run in client.search_runs([experiment], query):
        if run.info.status == "FINISHED":
            return Refit(run.info.run_id, is_finished=True)
        folder = runs_folder() / run.info.run_id
        if (folder / "settings.json").exists():  # of this machine, even if it was started anew in between
            return Refit(run.info.run_id, elsewhere=None if is_free(folder) else "this machine, by another process")
        if run.info.status == "RUNNING" and not was_here_and_died(run.data.tags):
            return Refit(elsewhere=run.data.tags.get("host", "another machine"))
        if run.info.status == "RUNNING":
            mark_killed(client, run.info.run_id)
    return Refit()


def is_free(folder: Path) -> bool:
    """Whether no process works on the run with this folder."""
    lock = try_lock(folder)
    if lock:
        lock.release()
    return lock is not None


def children_of(client: "MlflowClient", parent_id: str, status: str = "") -> list[Any]:
    """The runs below a parent, the newest first; those of one status, if it is given, by what the store knows."""
    experiment = client.get_run(parent_id).info.experiment_id
    query = f"tags.`{PARENT}` = '{parent_id}'" + (f" and attributes.status = '{status}'" if status else "")
    return list(client.search_runs([experiment], query, order_by=["attributes.start_time DESC"]))


def end_dead_parents(client: "MlflowClient", parent_id: str, **tags: str) -> None:
    """End parent runs with these tags whose process died, other than `parent_id`, which is worked on now."""
    experiment = client.get_run(parent_id).info.experiment_id
    conditions = [f"tags.{key} = '{value}'" for key, value in {"role": "parent", **tags}.items()]
    for run in client.search_runs([experiment], " and ".join([*conditions, "attributes.status = 'RUNNING'"])):
        if run.info.run_id != parent_id and was_here_and_died(run.data.tags):
            end_dead_run(client, run.info.run_id, "KILLED", interrupted_by=CUT_OFF)
