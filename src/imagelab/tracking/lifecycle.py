"""How a run begins and ends: opened, resumed, finished, interrupted, failed (`resuming.py` finds it again)."""

import json
import os
import shutil
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from imagelab.console import say
from imagelab.errors import ImagelabError, Interrupted, TrackingError
from imagelab.tracking.afterwards import after_mlflow_run
from imagelab.tracking.provenance import uncommitted_changes
from imagelab.tracking.resuming import close_stale_runs, make_folder, resume_run, this_process
from imagelab.tracking.run import RESUME, Run
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


def end_interrupted(run: Run, signal: Interrupted) -> None:
    """Say KILLED before anything that takes time: whoever interrupts may do so twice."""
    if run.is_finished and not run.outbox.pending():  # the store knows: too late to be KILLED
        say(f"\ninterrupted, but complete: {run.conclusion}")
    else:
        log_end(run, "KILLED", interrupted_by=str(signal))
        say(f"\ninterrupted; go on with: {RESUME.format(run_id=run.run_id)}")
    if run.wrapped:
        after_mlflow_run("FINISHED" if run.is_finished else "KILLED", run.run_id)
    if not run.is_recorded:
        with suppress(OSError):
            run.log_checkpoints()
    finish_quietly(run, patience=0 if run.is_recorded else None)


def end_failed(run: Run, error: BaseException) -> None:
    reason = f"{type(error).__name__}: {error}"
    with suppress(OSError):
        if not isinstance(error, ImagelabError):
            run.log_text("failure.txt", traceback.format_exc())
    log_end(run, "FAILED", failure=reason[:5000])
    if isinstance(error, OSError) and run.is_resumable:
        error.add_note(f"when that is mended, go on with: {RESUME.format(run_id=run.run_id)}")
    finish_quietly(run)


def log_end(run: Run, status: str, **tags: str) -> None:
    """Log the last word; a disk that does not take it any more keeps it from no store (see `Outbox.append`)."""
    with suppress(OSError):
        run.log_tags(**tags)
    with suppress(OSError):
        run.log_status(status)


def finish(run: Run, patience: float | None = None) -> None:
    """Wait until the store knows everything that was logged, the status last.

    Args:
        patience: seconds to wait for a store that does not answer; None: the setting upload_patience.

    Raises:
        TrackingError: the store has not taken everything; it is kept on disk, and the message says how to go on.
    """
    run.system_metrics.finish()
    delivered = wait_for_delivery(run, patience)
    if delivered and not run.delivery.refused and not (run.is_worth_keeping or run.is_resumable):
        remove_folder(run)
    run.delivery.end()
    run.lock.release()
    if not delivered:
        upload = "upload it with" if run.is_recorded else "it is uploaded when the run is resumed"
        raise TrackingError(
            f"the tracking store has not taken everything ({run.delivery.trouble or 'delivery broke off'}); the run's "
            f"record is kept in {run.folder}; when the store is back, {upload}: {RESUME.format(run_id=run.run_id)}"
        )
    if run.delivery.refused:
        raise TrackingError(
            f"the tracking store refused part of run {run.run_id} ({'; '.join(run.delivery.refused[:3])}); "
            f"the files are kept in {run.folder}"
        )


def wait_for_delivery(run: Run, patience: float | None) -> bool:
    patience = float(run.settings.get("upload_patience", 0)) if patience is None else patience

    def tell(trouble: str) -> None:
        if patience:
            say(f"the tracking store does not answer ({trouble}); trying for {patience:g} s (Ctrl-C ends that)")

    return run.delivery.drain(patience, tell)


def remove_folder(run: Run) -> None:
    with suppress(OSError):
        (run.folder / "settings.json").unlink()  # first: without it the folder is no run to others
    shutil.rmtree(run.folder, ignore_errors=True)


def finish_quietly(run: Run, patience: float | None = None) -> None:
    """End a run for a reason that matters more than trouble with the store."""
    try:
        finish(run, patience)
    except TrackingError as error:
        say(str(error))
    except Interrupted:
        abandon(run)


def abandon(run: Run) -> None:
    """Deliver nothing more but how the run has ended, if the store takes that at once."""
    run.delivery.end()
    say(f"not waiting for the rest of the delivery: it is kept in {run.folder} for the command above")
    if run.outbox.pending() and run.delivery.trouble is None:
        with suppress(Exception):
            run.client.set_terminated(run.run_id, run.statuses[-1])
    run.lock.release()
