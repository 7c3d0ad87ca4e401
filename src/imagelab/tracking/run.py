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

from imagelab.files import write_durably
from imagelab.tracking.outbox import Outbox
from imagelab.tracking.store import address_of, runs_folder

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
        conclusion: the line that says what came out, once it is known.
    """

    def __init__(self, client: "MlflowClient", run_id: str, lock: FileLock, settings: dict[str, Any]) -> None:
        from imagelab.tracking.delivery import Delivery
        from imagelab.tracking.system_metrics import OutboxSystemMetrics

        self.client, self.run_id, self.lock, self.settings = client, run_id, lock, settings
        self.experiment_id = client.get_run(run_id).info.experiment_id
        self.folder = runs_folder() / run_id
        self.wrapped, self.conclusion = False, ""
        self.outbox = Outbox(self.folder)
        self.resumed = bool(self.outbox.entries) or (self.folder / "checkpoints").exists()
        self.delivery = Delivery(client, run_id, self.folder / "artifacts", self.outbox)
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
        """Whether nothing is left but to deliver what a finished training has left behind."""
        return "FINISHED" in self.statuses

    @property
    def is_finished(self) -> bool:
        """Whether FINISHED is the last word on it: it was not interrupted while that was delivered."""
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
    def title(self) -> str:
        return f"{self.settings['model']} on {self.settings['dataset']}"

    @property
    def address(self) -> str:
        """Where to look at the run."""
        return address_of(self.client.tracking_uri, self.experiment_id, self.run_id)

    def log_params(self, values: Mapping[str, Any]) -> None:
        self.outbox.append("params", values={key: str(value) for key, value in values.items()})

    def log_tags(self, **values: str) -> None:
        self.outbox.append("tags", values=values)

    def log_missing_tags(self, *keys: str) -> None:
        """The run shall have these tags no more."""
        self.outbox.append("missing tags", keys=keys)

    def log_metrics(self, values: Mapping[str, float], step: int, timestamp: int | None = None) -> None:
        stamp = timestamp or round(time.time() * 1000)
        self.outbox.append("metrics", values=dict(values), step=step, timestamp=stamp)

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
