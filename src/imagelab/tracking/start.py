"""How a training's run is opened and begun, or resumed; see `resume.py` and `end.py` for the rest of its life."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagelab.console import say
from imagelab.errors import Interrupted, SettingsError, unswallowed
from imagelab.signals import uninterrupted
from imagelab.tracking.end import end_failed, end_interrupted, finish, log_end
from imagelab.tracking.presentation import NOTE, PARENT, RUN_NAME, give_name, is_invented, offer_columns
from imagelab.tracking.project_run import release_project_run
from imagelab.tracking.provenance import uncommitted_changes
from imagelab.tracking.resume import close_stale_runs, make_folder, resume_run, this_process
from imagelab.tracking.retry import request
from imagelab.tracking.run import Run
from imagelab.tracking.store import make_runs_folder, project_folder, use_tracking_store

if TYPE_CHECKING:
    from mlflow import MlflowClient


@contextmanager
def tracked_run(
    settings: Mapping[str, Any],
    resume: str | None,
    given: Mapping[str, Any],
    tags: Mapping[str, str],
    python_model: Path | None = None,
) -> Iterator[Run]:
    """Open a run with `settings`, or go on with the run `resume`, and end it as what is done inside ends.

    FINISHED after the last line, KILLED when interrupted, FAILED with the reason as a tag when something else raises.
    Under `mlflow run` the run that it has opened is used.

    Args:
        given: what the user has set besides `resume`; a resumed run goes on with its own settings and refuses others.
        tags: what a new run is marked with from its first moment, its name (RUN_NAME) among them.
        python_model: the code that its model is logged with; None: it logs no model.

    Raises:
        TrackingError: the store does not answer, at the start or at the end.
        SettingsError: there is nothing to resume under that id, or not with these settings.
    """
    client = use_tracking_store()
    close_stale_runs(client, resume)
    run = resume_run(client, resume, given, python_model) if resume else open_run(client, settings, tags, python_model)
    run.is_child = PARENT in tags
    try:
        begin(run, resumed=resume is not None)
        offer_columns(client, run.experiment_id)
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


def open_run(
    client: "MlflowClient", settings: Mapping[str, Any], tags: Mapping[str, str], python_model: Path | None = None
) -> Run:
    """A new run, or the one that `mlflow run` has opened for this process; not left open where it cannot be begun."""
    from mlflow.tracking.context import registry

    given = os.environ.get("MLFLOW_RUN_ID")
    all_tags = {**registry.resolve_tags(), **this_process(), **tags}
    make_runs_folder()
    with uninterrupted() as created:  # else a run could be left that nobody ends
        run_id = given or client.create_run(experiment_of_child(client, tags), tags=all_tags).info.run_id
        try:
            created()
            if given and RUN_NAME in tags:
                give_name(client, given, tags[RUN_NAME])
            run = Run(client, run_id, make_folder(run_id, settings), dict(settings), python_model)
            run.owned_by_mlflow_run = os.environ.pop("MLFLOW_RUN_ID", None) is not None
        except BaseException as error:
            if not given:
                client.set_terminated(run_id, "KILLED" if isinstance(error, Interrupted) else "FAILED")
            raise
    return run


def experiment_of_child(client: "MlflowClient", tags: Mapping[str, str]) -> str:
    """That of the run above, where there is one by these tags; else the one for new runs."""
    parent = tags.get(PARENT)
    return client.get_run(parent).info.experiment_id if parent else experiment_id(client)


def take_or_create_run(client: "MlflowClient", name: str, tags: Mapping[str, str]) -> tuple[str, bool]:
    """The id of a run that is no training, and whether it is the one that `mlflow run` has opened for this process."""
    from mlflow.entities import RunTag
    from mlflow.tracking.context import registry

    make_runs_folder()
    given = os.environ.get("MLFLOW_RUN_ID")
    if given is None:
        made = client.create_run(experiment_id(client), None, {**registry.resolve_tags(), **tags}, name)
        return str(made.info.run_id), False
    client.log_batch(given, tags=[RunTag(key, value) for key, value in tags.items()])  # all of them or none
    give_name(client, given, name)
    del os.environ["MLFLOW_RUN_ID"]
    return given, True


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
        tags[NOTE] = str(given["note"])
    if changes := uncommitted_changes(project_folder()):
        run.log_text("uncommitted_changes.diff", changes)
        tags["git_dirty"] = "true"
    run.log_tags(**tags)


def experiment_id(client: "MlflowClient") -> str:
    """The experiment that MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME names; else the default one."""
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return existing_experiment(client, given)
    return str(experiment_named(client, os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")).experiment_id)


def existing_experiment(client: "MlflowClient", given: str) -> str:
    """The id of an experiment, which must be there and not deleted."""
    from mlflow.exceptions import MlflowException

    try:
        is_there = client.get_experiment(given).lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        is_there = False
    if not is_there:
        raise SettingsError(f"MLFLOW_EXPERIMENT_ID={given}: there is no such experiment")
    return given


def experiment_named(client: "MlflowClient", name: str) -> Any:
    """An experiment, made where there is none; two processes may ask for it at once."""
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return found
    try:
        client.create_experiment(name)
    except MlflowException:  # another process has just made it
        if (found := client.get_experiment_by_name(name)) is None:
            raise
        return found
    return client.get_experiment_by_name(name)


def use_own_experiment(client: "MlflowClient", name: str) -> str:
    """Let new runs of this process be in the experiment `name`, unless the user has named another than the default.

    The run that `mlflow run` has opened in the default one is then given up.

    Returns:
        The name that the user has given that run (`--run-name`); empty where there is none.

    Raises:
        SettingsError: the experiment `name` is deleted.
    """
    if request(client.get_experiment, request(experiment_id, client)).name != "Default":
        return ""
    own = request(experiment_named, client, name)
    if own.lifecycle_stage != "active":
        raise SettingsError(f"experiment {name} is deleted: restore it, or name another one (--experiment-name)")
    given = os.environ.get("MLFLOW_RUN_ID")
    named = str(request(client.get_run, given).info.run_name or "") if given else ""
    release_project_run("delete")
    os.environ["MLFLOW_EXPERIMENT_ID"] = own.experiment_id
    return "" if is_invented(named) else named
