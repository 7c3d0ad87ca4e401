"""How a run ends: finished, interrupted or failed; what the store does not take any more stays on disk."""

import shutil
import traceback
from contextlib import suppress

from imagelab.console import say
from imagelab.errors import ImagelabError, Interrupted, TrackingError
from imagelab.tracking.afterwards import after_mlflow_run
from imagelab.tracking.run import RESUME, Run


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
    upload = "upload it with" if run.is_recorded else "it is uploaded when the run is resumed"
    settle(
        run,
        patience,
        is_disposable=not (run.is_worth_keeping or run.is_resumable),
        how_to_go_on=f"when the store is back, {upload}: {RESUME.format(run_id=run.run_id)}",
    )


def settle(run: Run, patience: float | None, is_disposable: bool, how_to_go_on: str) -> None:
    """Wait for the delivery, remove the folder of a run that nobody will go on with, and let go of the run.

    Raises:
        TrackingError: see `finish`.
    """
    delivered = wait_for_delivery(run, patience)
    if delivered and not run.delivery.refused and is_disposable:
        remove_folder(run)
    run.delivery.end()
    run.lock.release()
    if not delivered:
        raise TrackingError(
            f"the tracking store has not taken everything ({run.delivery.trouble or 'delivery broke off'}); the "
            f"record of run {run.run_id} is kept in {run.folder}; {how_to_go_on}"
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
