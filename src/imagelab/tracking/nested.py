"""One parent run a study, one child run a trial: opened, gone on with, ended, and found when their process died.

Several processes, on several machines, may work on one study. So the study itself, not a run, knows what came of a
trial, and a run that is left open is ended by whoever sees that its trial is over.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagelab.errors import SettingsError, TrackingError
from imagelab.tracking.afterwards import leave_wrapper
from imagelab.tracking.ending import log_end, settle
from imagelab.tracking.lifecycle import take_or_create_run
from imagelab.tracking.requests import insist
from imagelab.tracking.resuming import lock_run, mark_killed, this_process, try_lock, was_here_and_died
from imagelab.tracking.run import Run
from imagelab.tracking.store import may_pass, reason_of, runs_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"


def create_parent(client: "MlflowClient", study: str) -> str:
    """Make the run of a study, or take the one that `mlflow run` has opened for this process; its id."""
    return take_or_create_run(client, study, {"study": study, "phase": "study", **this_process()})[0]


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
    if os.environ.get("MLFLOW_RUN_ID") == run_id:
        del os.environ["MLFLOW_RUN_ID"]
    else:
        leave_wrapper("delete")


def attend(client: "MlflowClient", run_id: str, settings: Mapping[str, Any]) -> Run | None:
    """The run of a study, to write to; None while another process on this machine does."""
    folder = runs_folder() / run_id
    folder.mkdir(parents=True, exist_ok=True)
    lock = try_lock(folder)
    return Run(client, run_id, lock, dict(settings)) if lock else None


def open_child(
    client: "MlflowClient", parent_id: str, name: str, tags: Mapping[str, str], settings: Mapping[str, Any]
) -> Run:
    """A new run of a trial below its study's run.

    Raises:
        TrackingError: the store did not answer for `upload_patience` seconds.
    """
    from mlflow.tracking.context import registry

    all_tags = {**registry.resolve_tags(), **tags, **this_process(), PARENT: parent_id}

    def create() -> Run:
        experiment = client.get_run(parent_id).info.experiment_id
        run_id = client.create_run(experiment, None, all_tags, name).info.run_id
        (runs_folder() / run_id).mkdir(parents=True, exist_ok=True)
        return Run(client, run_id, lock_run(runs_folder() / run_id), dict(settings))

    run = insist(create, settings["upload_patience"])
    run.log_params(settings)
    return run


def end_nested(run: Run, status: str, **tags: str) -> None:
    """Log the end of a study's run, or of a trial's, and wait until the store knows all of it.

    Raises:
        TrackingError: it does not, for as long as `upload_patience` says; the rest stays on disk.
    """
    log_end(run, status, **tags)
    settle(run, None, is_disposable=True, how_to_go_on="the same command delivers it")


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


def open_children(client: "MlflowClient", parent_id: str) -> list[Any]:
    """The runs of trials that are RUNNING by what the store knows."""
    experiment = client.get_run(parent_id).info.experiment_id
    return list(client.search_runs([experiment], f"tags.`{PARENT}` = '{parent_id}' and attributes.status = 'RUNNING'"))


def end_left_behind(client: "MlflowClient", run_id: str, status: str, **tags: str) -> None:
    """End the run of a process that died, with what it had to say but could not."""
    folder = runs_folder() / run_id
    if (folder / "outbox.jsonl").exists():
        lock = try_lock(folder, patience=1)
        if lock is None:  # its process lives and is just ending it
            return
        with suppress(TrackingError):
            end_nested(Run(client, run_id, lock, {"upload_patience": 10.0}), status, **tags)
        return
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
    client.set_terminated(run_id, status)


def end_orphans(client: "MlflowClient", study: str, parent_id: str) -> None:
    """End runs that a process opened for this study and died before the study knew of them."""
    experiment = client.get_run(parent_id).info.experiment_id
    query = f"tags.study = '{study}' and tags.phase = 'study' and attributes.status = 'RUNNING'"
    for run in client.search_runs([experiment], query):
        if run.info.run_id != parent_id and was_here_and_died(run.data.tags):
            client.set_terminated(run.info.run_id, "KILLED")
