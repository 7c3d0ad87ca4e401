"""One run, as the rest of the project writes to it (`start.py` opens, resumes and ends it).

Until it is finished, a run has a folder below `runs/` that holds all there is to know about it:

    settings.json      what it was started with, completed by the recipe
    checkpoints/       see training/checkpoints.py
    artifacts/         files as they are (to be) found in MLflow
    outbox.jsonl       what the store shall have, in order; outbox.delivered counts what it has taken
    run.lock           held by the process that works on it
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from imagelab.atomic_files import write_durably
from imagelab.console import say
from imagelab.errors import TrackingError
from imagelab.tracking.outbox import Outbox
from imagelab.tracking.store import address_of, runs_folder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from plotly.graph_objects import Figure as Page


class Run:
    """A run that this process works on: a training, a trial, a parent, or an operation such as a promotion.

    What is logged is on disk on return, and is delivered to the store in order by a thread; `flush` waits for it.

    Attributes:
        tags: what it was marked with before this process, MLflow's own tags among them.
        settings: what it was started with, completed by the recipe, as plain values.
        resumed: whether an earlier process has worked on it.
        owned_by_mlflow_run: whether `mlflow run` has opened it and will end it after this process.
        is_child: whether the command works on a run above it, and goes on with both when it is typed again.
        conclusion: the line that says what came out, once it is known.
    """

    def __init__(
        self,
        client: "MlflowClient",
        run_id: str,
        lock: FileLock,
        settings: dict[str, Any],
        python_model: Path | None = None,
    ) -> None:
        """Take a run whose folder is locked; `python_model` is the code that its model is logged with."""
        from imagelab.tracking.delivery import Delivery  # late, as the next one: both import MLflow
        from imagelab.tracking.system_metrics import OutboxSystemMetrics

        self.client, self.run_id, self.lock, self.settings = client, run_id, lock, settings
        known = client.get_run(run_id)
        self.experiment_id, self.tags = known.info.experiment_id, dict(known.data.tags)
        self.folder = runs_folder() / run_id
        self.owned_by_mlflow_run, self.is_child, self.conclusion = False, False, ""
        self.outbox = Outbox(self.folder)
        self.resumed = bool(self.outbox.entries) or (self.folder / "checkpoints").exists()
        self.delivery = Delivery(client, run_id, self.folder / "artifacts", self.outbox, python_model)
        self.system_metrics = OutboxSystemMetrics(run_id, self.outbox, self.resumed)

    @property
    def checkpoint_folder(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def statuses(self) -> list[str]:
        """Every status that was logged, the newest last."""
        return [entry["status"] for entry in self.outbox.entries if entry["kind"] == "status"]

    @property
    def is_recorded(self) -> bool:
        """Whether the training is finished, so that nothing is left but to deliver it."""
        return "FINISHED" in self.statuses

    @property
    def is_finished(self) -> bool:
        """Whether it ended as FINISHED, and was not interrupted while that was delivered."""
        return self.statuses[-1:] == ["FINISHED"]

    @property
    def is_resumable(self) -> bool:
        """Whether the run has ended before its end, and what it has learned is here."""
        return not self.is_finished and (self.checkpoint_folder / "progress.json").exists()

    @property
    def is_worth_keeping(self) -> bool:
        """Whether the folder may hold what is nowhere else, even if a failing disk does not show it at the moment."""
        return self.statuses[-1:] == ["KILLED"] or (not self.is_finished and self.epochs_logged != set())

    @property
    def epochs_logged(self) -> set[int]:
        return {entry["step"] for entry in self.outbox.entries if "val_loss" in entry.get("values", ())}

    def recall(self, name: str, choose: Callable[[], str]) -> str:
        """What was chosen when the run began; a resumed run must not choose anew."""
        path = self.checkpoint_folder / f"{name}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, json.dumps(choose()))
        return str(json.loads(path.read_text()))

    @property
    def address(self) -> str:
        """Where to look at the run."""
        return address_of(self.client.tracking_uri, self.experiment_id, self.run_id)

    def flush(self) -> None:
        """Wait until the store has everything that was logged so far.

        Raises:
            TrackingError: it refused part of it, or did not answer for `upload_patience` seconds.
        """
        if reason := self.delivery.why_incomplete(self.wait_for_delivery()):
            raise TrackingError(f"{reason}; the record of run {self.run_id} is kept in {self.folder}")

    def wait_for_delivery(self, patience: float | None = None) -> bool:
        """Whether the store has taken, or refused, everything by the end of `patience` seconds in which it is away.

        Args:
            patience: None: the setting upload_patience.
        """
        seconds = float(self.settings.get("upload_patience", 0)) if patience is None else patience

        def on_waiting(trouble: str) -> None:
            if seconds:
                say(f"the tracking store does not answer ({trouble}); trying for {seconds:g} s (Ctrl-C ends that)")

        return self.delivery.drain(seconds, on_waiting)

    def release(self) -> None:
        """Deliver nothing more, and let another process work on the run."""
        self.delivery.end()
        self.lock.release()

    def log_params(self, values: Mapping[str, Any]) -> None:
        self.outbox.append("params", values={key: str(value) for key, value in values.items()})

    def log_tags(self, **values: str) -> None:
        self.outbox.append("tags", values=values)

    def log_missing_tags(self, *keys: str) -> None:
        """Remove these tags from the run, where it has them."""
        self.outbox.append("missing tags", keys=keys)

    def log_metrics(
        self, values: Mapping[str, float], step: int = 0, timestamp: int | None = None, **measured_on: str
    ) -> None:
        """`measured_on`: the model_id of the network, and name (dataset) and digest of the images."""
        stamp = timestamp or round(time.time() * 1000)
        self.outbox.append("metrics", values=dict(values), step=step, timestamp=stamp, **measured_on)

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """A point on each curve. Logging a row again changes nothing: its time stamp is the same."""
        values = {key: value for key, value in row.items() if key not in ("epoch", "phase", "timestamp")}
        self.log_metrics(values, row["epoch"], row["timestamp"])

    def log_rows(self, rows: list[dict[str, Any]]) -> None:
        """The epochs of an earlier process that it could not log any more."""
        logged = self.epochs_logged
        for row in rows:
            if row["epoch"] not in logged:
                self.log_epoch(row)

    def log_inputs(self, datasets: Mapping[str, Mapping[str, str]], *model_ids: str) -> None:
        """Data sets by context (training, validation, test), each as the fields of an MLflow `Dataset`; and models."""
        fields = {context: dict(dataset) for context, dataset in datasets.items()}
        self.outbox.append("inputs", datasets=fields, models=model_ids)

    def log_text(self, name: str, text: str) -> None:
        self.artifact_path(name).write_text(text, encoding="utf-8")
        self.outbox.append("artifact", path=name)

    def log_file(self, name: str, path: Path) -> None:
        shutil.copyfile(path, self.artifact_path(name))
        self.outbox.append("artifact", path=name)

    def log_table(self, name: str, table: "pd.DataFrame") -> None:
        """A frame as CSV or, by its name's ending, Parquet; an index without a name is not written."""
        if (path := self.artifact_path(name)).suffix == ".parquet":
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
        """The network in artifacts/model.keras, with artifacts/example.npy; see logged_model.py for the rest."""
        self.outbox.append("model", path="model.keras", example="example.npy", **content)

    def log_status(self, status: str) -> None:
        self.outbox.append("status", status=status, timestamp=round(time.time() * 1000))

    def artifact_path(self, name: str) -> Path:
        path = self.folder / "artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log_checkpoints(self) -> None:
        """Put the checkpoints where another machine can resume from them."""
        for pattern in ("[!p]*.keras", "[!p]*.npz", "*.json"):
            for path in sorted(self.checkpoint_folder.glob(pattern)):
                self.log_file(f"checkpoints/{path.name}", path)
