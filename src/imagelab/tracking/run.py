"""One run: opened, written to, interrupted, resumed and finished.

Until it is finished, a run has a folder below `runs/` that holds all there is to know about it:

    settings.json      what it was started with, completed by the recipe
    checkpoints/       see training/checkpoints.py
    artifacts/         files as they are (to be) found in MLflow
    outbox.jsonl       what the store is to be told; outbox.delivered counts what it has taken
    run.lock           held by the process that works on it
"""

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from imagelab.errors import ImagelabError, Interrupted, SettingsError, TrackingError
from imagelab.tracking.outbox import Outbox
from imagelab.tracking.provenance import uncommitted_changes
from imagelab.tracking.store import project_folder, reason_of, runs_folder, use_tracking_store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from plotly.graph_objects import Figure as Page

RESUME = "mlflow run . -e train --env-manager local -P resume={run_id}"
MAY_CHANGE = ("upload_patience", "data_dir")  # in a resumed run: they change nothing that it finds


class Run:
    """A run that this process works on; see `tracked_run`.

    Attributes:
        settings: what it was started with, completed by the recipe, as plain values.
        resumed: whether an earlier process has worked on it.
    """

    def __init__(self, client: "MlflowClient", run_id: str, lock: FileLock, settings: dict[str, Any]) -> None:
        from imagelab.tracking.delivery import Delivery
        from imagelab.tracking.system_metrics import OutboxSystemMetrics

        self.client, self.run_id, self.lock, self.settings = client, run_id, lock, settings
        self.experiment_id = client.get_run(run_id).info.experiment_id
        self.folder = runs_folder() / run_id
        self.outbox = Outbox(self.folder)
        self.resumed = bool(self.outbox.entries) or (self.folder / "checkpoints").exists()
        self.delivery = Delivery(client, run_id, self.folder / "artifacts", self.outbox)
        self.system_metrics = OutboxSystemMetrics(run_id, self.outbox, self.resumed)

    @property
    def checkpoint_folder(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def is_recorded(self) -> bool:
        """Whether nothing is left but to deliver what a finished training has left behind."""
        last = self.outbox.last("status")
        return last is not None and last["status"] == "FINISHED"

    @property
    def title(self) -> str:
        return f"{self.settings['model']} on {self.settings['dataset']}"

    @property
    def address(self) -> str:
        """Where to look at the run: a page of the tracking server, or the command that starts one."""
        uri = self.client.tracking_uri
        page = f"#/experiments/{self.experiment_id}/runs/{self.run_id}"
        if uri.startswith("http"):
            return f"{uri.rstrip('/')}/{page}"
        default = uri == f"sqlite:///{Path.cwd() / 'mlflow.db'}"
        ui = "mlflow ui" if default else f"mlflow ui --backend-store-uri {uri}"
        return f"{ui}, then http://127.0.0.1:5000/{page}"

    def say(self, line: str) -> None:
        say(line)

    def log_params(self, values: Mapping[str, Any]) -> None:
        self.outbox.append("params", values={key: str(value) for key, value in values.items()})

    def log_tags(self, **values: str) -> None:
        self.outbox.append("tags", values=values)

    def log_metrics(self, values: Mapping[str, float], step: int, timestamp: int | None = None) -> None:
        stamp = timestamp or round(time.time() * 1000)
        self.outbox.append("metrics", values=dict(values), step=step, timestamp=stamp)

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """A point on each curve. Logging a row again changes nothing: its time stamp is the same."""
        values = {key: value for key, value in row.items() if key not in ("epoch", "timestamp")}
        self.log_metrics(values, row["epoch"], row["timestamp"])

    def log_rows(self, rows: list[dict[str, Any]]) -> None:
        """The epochs of an earlier process that it could not log any more."""
        logged = {entry["step"] for entry in self.outbox.entries if "val_loss" in entry.get("values", ())}
        for row in rows:
            if row["epoch"] not in logged:
                self.log_epoch(row)

    def log_inputs(self, datasets: Mapping[str, Mapping[str, str]]) -> None:
        """Data sets by context (training, validation, test), each as the fields of an MLflow `Dataset`."""
        self.outbox.append("inputs", datasets={context: dict(fields) for context, fields in datasets.items()})

    def log_text(self, name: str, text: str) -> None:
        self.artifact_path(name).write_text(text)
        self.outbox.append("artifact", path=name)

    def log_file(self, name: str, path: Path) -> None:
        shutil.copyfile(path, self.artifact_path(name))
        self.outbox.append("artifact", path=name)

    def log_table(self, name: str, table: "pd.DataFrame") -> None:
        """A frame as CSV or, by its name's ending, Parquet; an index without a name is not written."""
        path = self.artifact_path(name)
        if path.suffix == ".parquet":
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, index=table.index.name is not None)
        self.outbox.append("artifact", path=name)

    def log_figure(self, name: str, figure: "Figure") -> None:
        figure.savefig(self.artifact_path(name), dpi=110)
        self.outbox.append("artifact", path=name)

    def log_page(self, name: str, page: "Page") -> None:
        """An interactive figure as one HTML file that needs no network."""
        page.write_html(self.artifact_path(name), include_plotlyjs=True)
        self.outbox.append("artifact", path=name)

    def log_model(self, **content: Any) -> None:
        """The network saved as artifacts/model.keras, with artifacts/example.npy; see tracking/model.py for the rest."""
        self.outbox.append("model", path="model.keras", example="example.npy", **content)

    def artifact_path(self, name: str) -> Path:
        path = self.folder / "artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log_checkpoints(self) -> None:
        """Put the checkpoints where another machine can resume from them."""
        for path in sorted(self.checkpoint_folder.glob("[!p]*.keras")) + sorted(self.checkpoint_folder.glob("*.json")):
            self.log_file(f"checkpoints/{path.name}", path)

    def finish(self, status: str) -> None:
        """Say how the run ended and wait until the store knows everything.

        Raises:
            TrackingError: the store has not taken everything; it is kept on disk, and the message says how to go on.
        """
        self.system_metrics.finish()
        if not (status == "FINISHED" and self.is_recorded):
            self.outbox.append("status", status=status, timestamp=round(time.time() * 1000))
        delivered = self.wait_for_delivery()
        self.lock.release()
        if not delivered:
            raise TrackingError(
                f"the tracking store has not taken everything ({self.delivery.trouble}); the run's record is kept in "
                f"{self.folder}; when the store is back, upload it with: {RESUME.format(run_id=self.run_id)}"
            )
        if self.delivery.refused:
            raise TrackingError(
                f"the tracking store refused part of run {self.run_id} ({'; '.join(self.delivery.refused[:3])}); "
                f"the files are kept in {self.folder}"
            )
        if status == "FINISHED" or not any(self.checkpoint_folder.glob("progress.json")) and status == "FAILED":
            shutil.rmtree(self.folder)

    def wait_for_delivery(self) -> bool:
        patience = float(self.settings.get("upload_patience", 0))

        def tell(trouble: str) -> None:
            if patience:
                say(f"the tracking store does not answer ({trouble}); trying for {patience:g} s (Ctrl-C: keep it on disk)")

        try:
            return self.delivery.drain(patience, tell)
        except Interrupted:
            return False


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
    except Interrupted as signal:
        run.log_checkpoints()
        run.log_tags(interrupted_by=str(signal))
        say(f"\ninterrupted; go on with: {RESUME.format(run_id=run.run_id)}")
        run.finish("KILLED")
        raise
    except BaseException as error:
        run.log_tags(failure=f"{type(error).__name__}: {error}"[:5000])
        if not isinstance(error, ImagelabError):
            run.log_text("failure.txt", traceback.format_exc())
        finish_quietly(run)
        raise
    run.finish("FINISHED")


def finish_quietly(run: Run) -> None:
    """End a failed run; its own failure matters more than one of the store."""
    try:
        run.finish("FAILED")
    except TrackingError as error:
        say(str(error))


def open_run(client: "MlflowClient", settings: Mapping[str, Any]) -> Run:
    """A new run, or the one that `mlflow run` has opened for this process."""
    from mlflow.tracking.context import registry

    run_id = os.environ.pop("MLFLOW_RUN_ID", None)
    if run_id is None:
        run_id = client.create_run(experiment_id(client), tags=registry.resolve_tags()).info.run_id
    folder = runs_folder() / run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(dict(settings), indent=2))
    return Run(client, run_id, lock_run(folder), dict(settings))


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
    if not (folder / "settings.json").exists():
        fetch_interrupted(client, run_id, folder)
    lock = lock_run(folder)
    settings = json.loads((folder / "settings.json").read_text())
    for name, value in given.items():
        if name not in MAY_CHANGE and settings.get(name) != value:
            reason = f"run {run_id} goes on with its own settings, among them {name}={settings.get(name)}"
            raise SettingsError(f"{name}={value}: {reason}; leave {name} out, or start a new run without resume")
    settings |= {name: value for name, value in given.items() if name in MAY_CHANGE}
    discard_wrapper(client, run_id)
    client.update_run(run_id, status="RUNNING")
    return Run(client, run_id, lock, settings)


def fetch_interrupted(client: "MlflowClient", run_id: str, folder: Path) -> None:
    """Make a run's folder from its artifacts, for a run that was interrupted on another machine."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        status = client.get_run(run_id).info.status
    except MlflowException as error:
        raise SettingsError(f"resume={run_id}: the tracking store has no such run ({reason_of(error)})") from error
    if status == "FINISHED":
        raise SettingsError(f"resume={run_id}: that run is finished; there is nothing to go on with")
    part = folder.with_name(f"part-{run_id}")
    try:
        for name in ("settings.json", "checkpoints"):
            download_artifacts(run_id=run_id, artifact_path=name, dst_path=str(part))
    except Exception as error:
        shutil.rmtree(part, ignore_errors=True)
        reason = f"that run ({status}) has left no checkpoints, neither in {runs_folder()} nor in the tracking store"
        raise SettingsError(f"resume={run_id}: {reason}") from error
    os.replace(part, folder)


def lock_run(folder: Path) -> FileLock:
    lock = FileLock(folder / "run.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise SettingsError(f"resume={folder.name}: another process is working on that run") from None
    return lock


def discard_wrapper(client: "MlflowClient", run_id: str) -> None:
    """Delete the empty run that `mlflow run` has opened only to start the command that resumes another one."""
    wrapper = os.environ.pop("MLFLOW_RUN_ID", None)
    if wrapper and wrapper != run_id:
        client.set_tag(wrapper, "resumed_run", run_id)
        client.set_terminated(wrapper, "FINISHED")
        client.delete_run(wrapper)


def close_stale_runs(client: "MlflowClient") -> list[str]:
    """Mark runs whose process died without a word (kill -9, power) KILLED, and say how to go on; return their ids."""
    stale = []
    for folder in sorted(runs_folder().glob("*/")):
        lock = FileLock(folder / "run.lock")
        try:
            with lock.acquire(blocking=False):
                if (folder / "settings.json").exists() and Outbox(folder).last("status") is None:
                    close_stale_run(client, folder)
                    stale.append(folder.name)
        except Timeout:
            continue
    return stale


def close_stale_run(client: "MlflowClient", folder: Path) -> None:
    from mlflow.exceptions import MlflowException

    try:
        if client.get_run(folder.name).info.status != "RUNNING":
            return
        client.set_tag(folder.name, "interrupted_by", "the end of its process")
        client.set_terminated(folder.name, "KILLED")
    except MlflowException:  # a run of another tracking store
        return
    say(f"run {folder.name} was cut off; go on with: {RESUME.format(run_id=folder.name)}")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
