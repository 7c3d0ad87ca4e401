"""How a run is opened and begun, or gone on with; see `resuming.py` and `ending.py` for the rest of its life."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from imagelab.console import say
from imagelab.errors import Interrupted, unswallowed
from imagelab.tracking.ending import end_failed, end_interrupted, finish, log_end
from imagelab.tracking.provenance import uncommitted_changes
from imagelab.tracking.resuming import close_stale_runs, make_folder, resume_run, this_process
from imagelab.tracking.run import Run
from imagelab.tracking.store import project_folder, use_tracking_store

if TYPE_CHECKING:
    from mlflow import MlflowClient


@contextmanager
def tracked_run(
    settings: Mapping[str, Any], resume: str | None, given: Mapping[str, Any], tags: Mapping[str, str]
) -> Iterator[Run]:
    """Open a run with `settings`, or go on with the run `resume`, and end it as what is done inside ends.

    FINISHED after the last line, KILLED when interrupted, FAILED with the reason as a tag when something else raises.
    Under `mlflow run` the run that it has opened is used.

    Args:
        given: what the user has set besides `resume`; a resumed run goes on with its own settings and refuses others.
        tags: what a new run is marked with from its first moment.

    Raises:
        TrackingError: the store does not answer, at the start or at the end.
        SettingsError: there is nothing to resume under that id, or not with these settings.
    """
    client = use_tracking_store()
    close_stale_runs(client)
    run = resume_run(client, resume, given) if resume else open_run(client, settings, tags)
    try:
        begin(run, resumed=resume is not None)
        with unswallowed():
            yield run
        if not run.is_finished:
            log_end(run, "FINISHED")
        finish(run)
    except Interrupted as signal:
        end_interrupted(run, signal)
        raise
    except BaseException as error:
        if not run.is_finished:
            end_failed(run, error)
        elif run.conclusion:
            say(run.conclusion)
        raise


def open_run(client: "MlflowClient", settings: Mapping[str, Any], tags: Mapping[str, str]) -> Run:
    """A new run, or the one that `mlflow run` has opened for this process; not left open where it cannot be begun."""
    from mlflow.tracking.context import registry

    wrapper = os.environ.get("MLFLOW_RUN_ID")
    all_tags = {**registry.resolve_tags(), **tags}
    run_id = wrapper or client.create_run(experiment_id(client), tags=all_tags).info.run_id
    try:
        run = Run(client, run_id, make_folder(run_id, settings), dict(settings))
        run.wrapped = os.environ.pop("MLFLOW_RUN_ID", None) is not None
    except BaseException as error:
        if not wrapper:
            client.set_terminated(run_id, "KILLED" if isinstance(error, Interrupted) else "FAILED")
        raise
    return run


def take_or_create_run(client: "MlflowClient", name: str, tags: Mapping[str, str]) -> tuple[str, bool]:
    """The id of a run that is no training, and whether it is the one that `mlflow run` has opened for this process."""
    from mlflow.tracking.context import registry

    wrapper = os.environ.get("MLFLOW_RUN_ID")
    if wrapper is None:
        made = client.create_run(experiment_id(client), None, {**registry.resolve_tags(), **tags}, name)
        return str(made.info.run_id), False
    for key, value in {**tags, "mlflow.runName": name}.items():
        client.set_tag(wrapper, key, value)
    del os.environ["MLFLOW_RUN_ID"]
    return wrapper, True


def begin(run: Run, resumed: bool) -> None:
    """Log who works on the run now, and what it is about if that is not logged yet."""
    run.log_tags(**this_process())
    if resumed:
        run.log_missing_tags("failure", "interrupted_by")
        if not run.is_recorded:
            run.log_status("RUNNING")
    if run.outbox.last("params") is None:
        log_settings(run)
    run.system_metrics.start()


def log_settings(run: Run) -> None:
    given = {key: value for key, value in run.settings.items() if key != "resume"}
    run.log_params(given)
    run.log_text("settings.json", json.dumps(given, indent=2))
    tags = {"dataset": str(given["dataset"]), "model": str(given["model"])}
    if given.get("note"):
        tags["mlflow.note.content"] = str(given["note"])
    if changes := uncommitted_changes(project_folder()):
        run.log_text("uncommitted_changes.diff", changes)
        tags["git_dirty"] = "true"
    run.log_tags(**tags)


def experiment_id(client: "MlflowClient") -> str:
    """The experiment that MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME names; else the default one."""
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return given
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")
    experiment = client.get_experiment_by_name(name)
    return experiment.experiment_id if experiment else client.create_experiment(name)
