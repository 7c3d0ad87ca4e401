"""One run, as the rest of the project writes to it (`lifecycle.py` opens, resumes and ends it).

Until it is finished, a run has a folder below `runs/` that holds all there is to know about it:

    settings.json      what it was started with, completed by the recipe
    checkpoints/       see training/checkpoints.py
    artifacts/         files as they are (to be) found in MLflow
    outbox.jsonl       what the store is to be told; outbox.delivered counts what it has taken
    run.lock           held by the process that works on it
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from imagelab.console import say
from imagelab.errors import Interrupted, TrackingError
from imagelab.tracking.outbox import Outbox
from imagelab.tracking.store import database_path, runs_folder, without_password

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from plotly.graph_objects import Figure as Page

RESUME = "mlflow run . -e train --env-manager local -P resume={run_id}"


class Run:
    """A run that this process works on; see `tracked_run`.

    Attributes:
        settings: what it was started with, completed by the recipe, as plain values.
        resumed: whether an earlier process has worked on it.
        wrapped: whether `mlflow run` has opened it and will end it after this process.
    """

    def __init__(self, client: "MlflowClient", run_id: str, lock: FileLock, settings: dict[str, Any]) -> None:
        from imagelab.tracking.delivery import Delivery
        from imagelab.tracking.system_metrics import OutboxSystemMetrics

        self.client, self.run_id, self.lock, self.settings = client, run_id, lock, settings
        self.experiment_id = client.get_run(run_id).info.experiment_id
        self.folder = runs_folder() / run_id
        self.wrapped = False
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

    def recall(self, name: str, choose: Callable[[], str]) -> str:
        """What was chosen when the run began; a resumed run must not choose anew."""
        path = self.checkpoint_folder / f"{name}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(choose()))
        return str(json.loads(path.read_text()))

    @property
    def title(self) -> str:
        return f"{self.settings['model']} on {self.settings['dataset']}"

    @property
    def address(self) -> str:
        """Where to look at the run: a page of the tracking server, or the command that starts one."""
        uri = self.client.tracking_uri
        shown = without_password(uri)
        page = f"#/experiments/{self.experiment_id}/runs/{self.run_id}"
        if uri.startswith("http"):
            return f"{shown.rstrip('/')}/{page}"
        default = database_path(uri) == Path.cwd() / "mlflow.db"
        ui = "mlflow ui" if default else f"mlflow ui --backend-store-uri {shown}"
        return f"{ui}, then http://127.0.0.1:5000/{page}"

    def log_params(self, values: Mapping[str, Any]) -> None:
        self.outbox.append("params", values={key: str(value) for key, value in values.items()})

    def log_tags(self, **values: str) -> None:
        self.outbox.append("tags", values=values)

    def log_metrics(self, values: Mapping[str, float], step: int, timestamp: int | None = None) -> None:
        stamp = timestamp or round(time.time() * 1000)
        self.outbox.append("metrics", values=dict(values), step=step, timestamp=stamp)

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """A point on each curve. Logging a row again changes nothing: its time stamp is the same."""
        values = {key: value for key, value in row.items() if key not in ("epoch", "phase", "timestamp")}
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
        """The network in artifacts/model.keras, with artifacts/example.npy; see tracking/model.py for the rest."""
        self.outbox.append("model", path="model.keras", example="example.npy", **content)

    def log_status(self, status: str) -> None:
        self.outbox.append("status", status=status, timestamp=round(time.time() * 1000))

    def artifact_path(self, name: str) -> Path:
        path = self.folder / "artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log_checkpoints(self) -> None:
        """Put the checkpoints where another machine can resume from them."""
        for path in sorted(self.checkpoint_folder.glob("[!p]*.keras")) + sorted(self.checkpoint_folder.glob("*.json")):
            self.log_file(f"checkpoints/{path.name}", path)

    def finish(self) -> None:
        """Wait until the store knows everything that was logged, the status last.

        Raises:
            TrackingError: the store has not taken everything; it is kept on disk, and the message says how to go on.
        """
        self.system_metrics.finish()
        delivered = self.wait_for_delivery()
        if delivered and not self.delivery.refused and not self.is_resumable:
            self.remove_folder()
        self.lock.release()
        if not delivered:
            upload = "upload it with" if self.is_recorded else "it is uploaded when the run is resumed"
            command = RESUME.format(run_id=self.run_id)
            raise TrackingError(
                f"the tracking store has not taken everything ({self.delivery.trouble or 'not waited for'}); the run's "
                f"record is kept in {self.folder}; when the store is back, {upload}: {command}"
            )
        if self.delivery.refused:
            raise TrackingError(
                f"the tracking store refused part of run {self.run_id} ({'; '.join(self.delivery.refused[:3])}); "
                f"the files are kept in {self.folder}"
            )

    @property
    def is_resumable(self) -> bool:
        """Whether the run has ended before its end, and what it has learned is worth keeping."""
        last = self.outbox.last("status")
        status = last["status"] if last else "RUNNING"
        return status == "KILLED" or (status == "FAILED" and (self.checkpoint_folder / "progress.json").exists())

    def remove_folder(self) -> None:
        (self.folder / "settings.json").unlink()  # first: without it the folder is no run to others
        shutil.rmtree(self.folder)

    def wait_for_delivery(self) -> bool:
        patience = float(self.settings.get("upload_patience", 0))

        def tell(trouble: str) -> None:
            if patience:
                say(f"the tracking store does not answer ({trouble}); trying for {patience:g} s (Ctrl-C ends that)")

        try:
            return self.delivery.drain(patience, tell)
        except Interrupted:
            return False
