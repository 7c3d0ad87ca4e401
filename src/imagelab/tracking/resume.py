"""How a training's run is found again: resumed from its folder or from the store, or seen to be of a dead process."""

import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from filelock import FileLock, Timeout

from imagelab.atomic_files import write_durably
from imagelab.console import command_line, say
from imagelab.errors import SettingsError
from imagelab.models import ENSEMBLE
from imagelab.settings import ExperimentSettings, Kind, TrainSettings, names_of_kind, of_record
from imagelab.tracking.outbox import Outbox
from imagelab.tracking.presentation import PARENT
from imagelab.tracking.project_run import keep_project_run
from imagelab.tracking.roles import Role, existing_run, role_of
from imagelab.tracking.run import Run
from imagelab.tracking.store import reason_of, runs_folder, use_tracking_store
from imagelab.tracking.stored_settings import record_in

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Settings that may be other ones in a resumed run: they change nothing that it finds. (A note is logged once.)
MAY_CHANGE = set(names_of_kind(ExperimentSettings, Kind.OPERATIONAL)) - {"note"}
RESUMABLE: tuple[Role, ...] = ("final", "fold")
NOT_RESUMABLE: dict[Role, str] = {
    "trial": "a trial of a study; type the study's tune again, which goes on with it",
    "parent": "the parent of other runs; type its command again, which goes on with it",
}
REPEAT = "the command that began it and the run above it goes on with both"
CUT_OFF = "the end of its process"  # what a run was interrupted by that died without a word


def make_folder(run_id: str, settings: Mapping[str, Any]) -> FileLock:
    """A new run's folder, locked."""
    folder = runs_folder() / run_id
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_run(folder)
    write_durably(folder / "settings.json", json.dumps(dict(settings), indent=2))
    return lock


def refuse_early(settings: ExperimentSettings) -> None:
    """Refuse what cannot be trained or resumed, before anything is started that takes seconds.

    Raises:
        SettingsError: the settings do not go with the recipe, or the run to resume cannot be resumed.
        TrackingError: the store does not answer.
    """
    settings.with_recipe()
    client = use_tracking_store()
    if isinstance(settings, TrainSettings) and settings.resume:
        refuse_what_cannot_be_resumed(client, settings.resume, runs_folder() / settings.resume)


def resume_run(client: "MlflowClient", run_id: str, given: Mapping[str, Any], python_model: Path | None = None) -> Run:
    """Go on with an interrupted run, from its folder here or from what the store has of it."""
    folder = runs_folder() / run_id
    refuse_what_cannot_be_resumed(client, run_id, folder)
    if not (folder / "settings.json").exists():
        fetch_interrupted(client, run_id, folder)
    lock = lock_run(folder)
    settings = of_record(record_in(folder / "settings.json"))
    for name, value in given.items():
        if name not in MAY_CHANGE and settings.get(name) != value:
            reason = f"run {run_id} goes on with its own settings, among them {name}={settings.get(name)}"
            raise SettingsError(f"{name}={value}: {reason}; leave {name} out, or start a new run without resume")
    settings |= {name: value for name, value in given.items() if name in MAY_CHANGE}
    keep_project_run(run_id)
    return Run(client, run_id, lock, settings, python_model)


def refuse_what_cannot_be_resumed(client: "MlflowClient", run_id: str, folder: Path) -> None:
    """Raise a SettingsError where the store has no such training, or it is finished, or is under way elsewhere."""
    run = existing_run(client, run_id, "resume")
    if reason := why_not_resumed(run):
        raise SettingsError(f"resume={run_id}: that run is {reason}")
    if run.info.status == "FINISHED" and not (folder.exists() and Outbox(folder).pending()):
        raise SettingsError(f"resume={run_id}: that run is finished; there is nothing to go on with")
    if run.info.status == "RUNNING" and not (folder / "settings.json").exists():
        if not was_here_and_died(run.data.tags):
            raise SettingsError(f"resume={run_id}: {how_to_end_elsewhere(run_id, run.data.tags)}")
        mark_killed(client, run_id)
        say(f"run {run_id} was cut off, and its folder is gone: what it had not delivered is lost")


def why_not_resumed(run: Any) -> str | None:
    """What a run is that `train` cannot go on with, and what to type; None for a training."""
    role, again = role_of(run), "type its command again"
    if run.data.tags.get("model") == ENSEMBLE:
        return f"an ensemble, which begins anew; {again}"
    if role in RESUMABLE:
        return None
    return NOT_RESUMABLE.get(role, f"no training, but of the role {role}; {again}")


def this_process() -> dict[str, str]:
    """Tags that tell later commands whether the process that works on a run still lives."""
    started = str(int(psutil.Process().create_time()))
    return {"host": platform.node(), "machine": this_machine(), "pid": str(os.getpid()), "pid_started": started}


def this_machine() -> str:
    """What tells machines (and containers) of one name apart: this boot of Linux, and the space that pids are from."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def was_here_and_died(tags: Mapping[str, str]) -> bool:
    """Whether the process named by these tags ran on this machine and is no more; its number may be another's now."""
    if tags.get("host") != platform.node() or tags.get("machine") != this_machine() or "pid" not in tags:
        return False
    try:
        process = psutil.Process(int(tags["pid"]))
        started = abs(process.create_time() - int(tags["pid_started"])) < 2
        return not started or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_alive_here(tags: Mapping[str, str]) -> bool:
    """Whether the process named by these tags is one of this machine and lives."""
    return tags.get("machine") == this_machine() and "pid" in tags and not was_here_and_died(tags)


def how_to_end_elsewhere(run_id: str, tags: Mapping[str, str]) -> str:
    where = f"on {tags['host']}, process {tags['pid']}" if {"host", "pid"} <= set(tags) else "on another machine"
    end = f"import mlflow; mlflow.MlflowClient().set_terminated('{run_id}', 'KILLED')"
    return f'that run is under way {where}; if you know that it is not, end it with: python -c "{end}"'


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
    lock = try_lock(folder, patience=5)  # another command may be looking whether the run is alive
    if lock is None:
        raise SettingsError(f"resume={folder.name}: another process is working on that run")
    return lock


def try_lock(folder: Path, patience: float = 0) -> FileLock | None:
    """The lock of the run with this folder; None while another process works on it."""
    lock = FileLock(folder / "run.lock")
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        return None
    return lock


def unlocked_run_folders() -> Iterator[Path]:
    """Folders of runs that no process works on; each is locked while the caller looks at it."""
    for settings in sorted(runs_folder().glob("*/settings.json")):
        folder = settings.parent
        with suppress(OSError), try_lock(folder) or nullcontext() as lock:
            if lock is None:
                continue
            if settings.exists():
                yield folder
            else:  # it was finished and removed in this moment; the lock has made its folder anew
                shutil.rmtree(folder)


def close_stale_runs(client: "MlflowClient", resumed: str | None = None) -> None:
    """Mark runs whose process died without a word (kill -9, power) KILLED, and say how to go on."""
    from mlflow.exceptions import MlflowException

    for folder in unlocked_run_folders():
        with suppress(MlflowException):  # a run of another tracking store
            if client.get_run(folder.name).info.status == "RUNNING":
                mark_killed(client, folder.name)
                below = is_below_another(client, folder.name)
                hint = REPEAT if below else f"go on with: {command_line('train', resume=folder.name)}"
                say(f"run {folder.name} was cut off{'' if folder.name == resumed else f'; {hint}'}")


def is_below_another(client: "MlflowClient", run_id: str) -> bool:
    """Whether the store knows a run above this one; the command that began both goes on with both."""
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):  # a run of another tracking store
        return PARENT in client.get_run(run_id).data.tags
    return False


def mark_killed(client: "MlflowClient", run_id: str) -> None:
    client.set_tag(run_id, "interrupted_by", CUT_OFF)
    client.set_terminated(run_id, "KILLED")
