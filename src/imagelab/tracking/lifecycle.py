"""How a run begins and ends: opened, interrupted, failed, resumed, found dead, finished."""

import json
import os
import shutil
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from imagelab.console import say
from imagelab.errors import ImagelabError, Interrupted, SettingsError, TrackingError
from imagelab.tracking.afterwards import after_mlflow_run
from imagelab.tracking.outbox import Outbox
from imagelab.tracking.provenance import uncommitted_changes
from imagelab.tracking.run import RESUME, Run
from imagelab.tracking.store import project_folder, reason_of, runs_folder, use_tracking_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAY_CHANGE = ("upload_patience", "data_dir")  # in a resumed run: they change nothing that it finds


@contextmanager
def tracked_run(settings: Mapping[str, Any], resume: str | None, given: Mapping[str, Any]) -> Iterator[Run]:
    """Open a run with `settings`, or go on with the run `resume`, and end it as what is done inside ends.

    FINISHED after the last line, KILLED when interrupted, FAILED with the reason as a tag when something else raises.
    Under `mlflow run` the run that it has opened is used.

    Args:
        given: what the user has set besides `resume`; a resumed run goes on with its own settings and refuses others.

    Raises:
        TrackingError: the store does not answer, at the start or at the end.
        SettingsError: there is nothing to resume under that id, or not with these settings.
    """
    client = use_tracking_store()
    close_stale_runs(client)
    run = resume_run(client, resume, given) if resume else open_run(client, settings)
    try:
        if run.outbox.last("params") is None:
            log_beginning(run)
        run.system_metrics.start()
        yield run
        if not run.is_recorded:
            run.log_status("FINISHED")
    except Interrupted as signal:
        end_interrupted(run, signal)
        raise
    except BaseException as error:
        end_failed(run, error)
        raise
    run.finish()


def end_interrupted(run: Run, signal: Interrupted) -> None:
    """Say KILLED before anything that takes time: whoever interrupts may do so twice."""
    run.log_tags(interrupted_by=str(signal))
    run.log_status("KILLED")
    say(f"\ninterrupted; go on with: {RESUME.format(run_id=run.run_id)}")
    if run.wrapped:
        after_mlflow_run("KILLED", run.run_id)
    run.log_checkpoints()
    finish_quietly(run)


def end_failed(run: Run, error: BaseException) -> None:
    run.log_tags(failure=f"{type(error).__name__}: {error}"[:5000])
    if not isinstance(error, ImagelabError):
        run.log_text("failure.txt", traceback.format_exc())
    run.log_status("FAILED")
    finish_quietly(run)


def finish_quietly(run: Run) -> None:
    """End a run for a reason that matters more than trouble with the store."""
    try:
        run.finish()
    except TrackingError as error:
        say(str(error))


def open_run(client: "MlflowClient", settings: Mapping[str, Any]) -> Run:
    """A new run, or the one that `mlflow run` has opened for this process."""
    from mlflow.tracking.context import registry

    run_id = os.environ.pop("MLFLOW_RUN_ID", None)
    wrapped = run_id is not None
    if run_id is None:
        run_id = client.create_run(experiment_id(client), tags=registry.resolve_tags()).info.run_id
    folder = runs_folder() / run_id
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_run(folder)
    (folder / "settings.json").write_text(json.dumps(dict(settings), indent=2))
    run = Run(client, run_id, lock, dict(settings))
    run.wrapped = wrapped
    return run


def log_beginning(run: Run) -> None:
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


def resume_run(client: "MlflowClient", run_id: str, given: Mapping[str, Any]) -> Run:
    """Go on with an interrupted run, from its folder here or from what it has left in the store."""
    folder = runs_folder() / run_id
    refuse_what_cannot_be_resumed(client, run_id, folder)
    if not (folder / "settings.json").exists():
        fetch_interrupted(client, run_id, folder)
    lock = lock_run(folder)
    settings = json.loads((folder / "settings.json").read_text())
    for name, value in given.items():
        if name not in MAY_CHANGE and settings.get(name) != value:
            reason = f"run {run_id} goes on with its own settings, among them {name}={settings.get(name)}"
            raise SettingsError(f"{name}={value}: {reason}; leave {name} out, or start a new run without resume")
    settings |= {name: value for name, value in given.items() if name in MAY_CHANGE}
    discard_wrapper(run_id)
    run = Run(client, run_id, lock, settings)
    if not run.is_recorded:
        run.log_status("RUNNING")
    return run


def refuse_what_cannot_be_resumed(client: "MlflowClient", run_id: str, folder: Path) -> None:
    """Raise a SettingsError where the store has no such run, or it is finished, or is under way on another machine."""
    from mlflow.exceptions import MlflowException

    try:
        status = client.get_run(run_id).info.status
    except MlflowException as error:
        raise SettingsError(f"resume={run_id}: the tracking store has no such run ({reason_of(error)})") from error
    if status == "FINISHED" and not (folder.exists() and Outbox(folder).pending()):
        raise SettingsError(f"resume={run_id}: that run is finished; there is nothing to go on with")
    if status == "RUNNING" and not folder.exists():
        raise SettingsError(f"resume={run_id}: that run is under way on another machine")


def fetch_interrupted(client: "MlflowClient", run_id: str, folder: Path) -> None:
    """Make a run's folder from its artifacts, for a run that was interrupted on another machine."""
    part = folder.with_name(f"part-{run_id}")
    part.mkdir(parents=True, exist_ok=True)
    try:
        for name in ("settings.json", "checkpoints"):
            client.download_artifacts(run_id, name, str(part))
    except Exception as error:
        shutil.rmtree(part, ignore_errors=True)
        reason = f"that run has left no checkpoints, neither in {runs_folder()} nor in the tracking store"
        raise SettingsError(f"resume={run_id}: {reason} ({reason_of(error)})") from error
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def lock_run(folder: Path) -> FileLock:
    lock = FileLock(folder / "run.lock")
    try:
        lock.acquire(timeout=5)  # another command may be looking whether the run is alive
    except Timeout:
        raise SettingsError(f"resume={folder.name}: another process is working on that run") from None
    return lock


def discard_wrapper(run_id: str | None = None) -> None:
    """Delete the empty run that `mlflow run` has opened only to start a command that works on another one or none."""
    wrapper = os.environ.pop("MLFLOW_RUN_ID", None)
    if wrapper and wrapper != run_id:
        after_mlflow_run("delete", wrapper)


def unattended_runs() -> Iterator[Path]:
    """Folders of runs that no process works on; each is locked while the caller looks at it."""
    for settings in sorted(runs_folder().glob("*/settings.json")):
        folder = settings.parent
        with suppress(Timeout, OSError), FileLock(folder / "run.lock").acquire(blocking=False):
            if settings.exists():
                yield folder
            else:  # it was finished and removed in this moment; the lock has made its folder anew
                shutil.rmtree(folder)


def close_stale_runs(client: "MlflowClient") -> None:
    """Mark runs whose process died without a word (kill -9, power) KILLED, and say how to go on."""
    from mlflow.exceptions import MlflowException

    for folder in unattended_runs():
        with suppress(MlflowException):  # a run of another tracking store
            if client.get_run(folder.name).info.status == "RUNNING":
                client.set_tag(folder.name, "interrupted_by", "the end of its process")
                client.set_terminated(folder.name, "KILLED")
                say(f"run {folder.name} was cut off; go on with: {RESUME.format(run_id=folder.name)}")
