"""How a run ends: finished, interrupted, failed or found dead; what the store does not take stays on disk."""

import shutil
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from imagelab.console import command_line, say
from imagelab.errors import ImagelabError, Interrupted, TrackingError
from imagelab.tracking.project_run import after_mlflow_run
from imagelab.tracking.resume import try_lock
from imagelab.tracking.run import Run
from imagelab.tracking.store import runs_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient


def end_interrupted(run: Run, signal: Interrupted) -> None:
    """Say KILLED before anything that takes time: whoever interrupts may do so twice."""
    if run.is_finished and not run.outbox.pending():  # the store knows: too late to be KILLED
        say(f"\ninterrupted, but complete: {run.conclusion}")
    else:
        log_end(run, "KILLED", interrupted_by=str(signal))
        if not run.is_child:
            say(f"\ninterrupted; go on with: {command_line('train', resume=run.run_id)}")
    if run.owned_by_mlflow_run:
        after_mlflow_run("FINISHED" if run.is_finished else "KILLED", run.run_id)
    if not run.is_recorded:
        with suppress(OSError):
            run.log_checkpoints()
    finish_quietly(run, patience=0 if run.is_recorded else None)


def end_failed(run: Run, error: BaseException) -> None:
    log_failure(run, error)
    if isinstance(error, OSError) and run.is_resumable:
        error.add_note(f"when that is mended, go on with: {command_line('train', resume=run.run_id)}")
    finish_quietly(run)


def end_other_finished(run: Run, how_to_go_on: str) -> None:
    """End a run that is no training, and that is complete; an interruption before the store knows it makes it KILLED.

    Raises:
        TrackingError: see `end_run`.
    """
    try:
        end_run(run, "FINISHED")
    except Interrupted as signal:
        end_other_interrupted(run, signal, how_to_go_on)
        raise


def end_other_interrupted(run: Run, signal: Interrupted, how_to_go_on: str) -> None:
    """End a run that is no training. Say KILLED before anything that takes time: whoever interrupts may do so twice."""
    is_complete = run.is_finished and not run.outbox.pending()  # the store knows: too late to be KILLED
    if not is_complete:
        log_end(run, "KILLED", interrupted_by=str(signal))
    if run.owned_by_mlflow_run:
        after_mlflow_run("FINISHED" if is_complete else "KILLED", run.run_id)
    say("\ninterrupted, but complete" if is_complete else f"\ninterrupted; {how_to_go_on}")
    try:
        end_run(run)
    except TrackingError as error:
        say(str(error))
    except Interrupted:
        abandon(run)


def end_other_failed(run: Run, error: BaseException) -> None:
    """End a run that is no training, which failed; trouble with the store matters less than that."""
    with suppress(Exception):
        log_failure(run, error)
        end_run(run)


def log_failure(run: Run, error: BaseException) -> None:
    """Log FAILED and why; where the reason is none that the user can mend, also the traceback."""
    with suppress(OSError):
        if not isinstance(error, ImagelabError):
            run.log_text("failure.txt", traceback.format_exc())
    log_end(run, "FAILED", failure=f"{type(error).__name__}: {error}"[:5000])


def log_end(run: Run, status: str, **tags: str) -> None:
    """Log how it ends, for the store even where the disk is full (see `Outbox.append`)."""
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
    upload = "upload it with" if run.is_recorded else "it is uploaded when the run is resumed"
    wait_and_release(
        run,
        patience,
        is_disposable=not (run.is_worth_keeping or run.is_resumable),
        how_to_go_on=f"when the store is back, {upload}: {command_line('train', resume=run.run_id)}",
    )


def wait_and_release(run: Run, patience: float | None, is_disposable: bool, how_to_go_on: str) -> None:
    """Wait for the delivery, remove the folder of a run that nobody will go on with, and release the run.

    Raises:
        TrackingError: see `finish`.
    """
    delivered = run.wait_for_delivery(patience)
    reason = run.delivery.why_incomplete(delivered)
    if reason is None and is_disposable:
        remove_folder(run)
    run.release()
    if reason:
        kept = f"the record of run {run.run_id} is kept in {run.folder}"
        raise TrackingError(f"{reason}; {kept}" if delivered else f"{reason}; {kept}; {how_to_go_on}")


def end_run(run: Run, status: str | None = None, **tags: str) -> None:
    """Log the end of a run that is no training, and wait until the store knows all of it.

    Args:
        status: None where the end is logged already.

    Raises:
        TrackingError: the store does not take it, for as long as `upload_patience` says; the rest stays on disk.
    """
    if status:
        log_end(run, status, **tags)
    wait_and_release(run, None, is_disposable=True, how_to_go_on="the same command delivers it")


def end_dead_run(client: "MlflowClient", run_id: str, status: str, **tags: str) -> None:
    """End the run of a process that died, and deliver what it had logged but not delivered."""
    folder = runs_folder() / run_id
    if (folder / "outbox.jsonl").exists():
        lock = try_lock(folder, patience=1)
        if lock is None:  # its process lives and is just ending it, or another command does so
            return
        with suppress(TrackingError):
            end_run(Run(client, run_id, lock, {"upload_patience": 10.0}), status, **tags)
        return
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
    client.set_terminated(run_id, status)


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
