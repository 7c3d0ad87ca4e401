"""Takes a run's outbox to the tracking store, in a thread, again and again until the store has taken it.

Every entry may be delivered twice (after a crash) and does no harm the second time: metrics carry their time stamp,
parameters and tags their value, artifacts their name, and a model is looked for before it is logged.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from imagelab.errors import TrackingError
from imagelab.tracking.outbox import Entry, Outbox
from imagelab.tracking.store import may_pass, reason_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_METRICS_A_REQUEST = 1000
LONGEST_PAUSE = 15.0


class Delivery:
    """The thread that delivers one run's outbox.

    Attributes:
        trouble: why the newest attempt failed; None while the store answers.
        refused: what the store will never take, in words.
    """

    def __init__(self, client: "MlflowClient", run_id: str, folder: Path, outbox: Outbox) -> None:
        self.client, self.run_id, self.folder, self.outbox = client, run_id, folder, outbox
        self.trouble: str | None = None
        self.refused: list[str] = []
        self.closing, self.ended = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.deliver, name="imagelab-delivery", daemon=True)
        self.thread.start()

    def deliver(self) -> None:
        pause = 0.5
        while not self.ended.is_set():
            pending = self.outbox.pending()
            if not pending:
                self.outbox.wait_for_change(0.5)
                continue
            try:
                DELIVER[pending[0]["kind"]](self, pending[0])
                self.outbox.mark_delivered()
                self.trouble, pause = None, 0.5
            except Exception as error:
                if may_pass(error):
                    self.trouble = reason_of(error)
                    self.closing.wait(pause) if not self.closing.is_set() else time.sleep(min(pause, 2))
                    pause = min(2 * pause, LONGEST_PAUSE)
                else:
                    self.refused.append(f"{pending[0]['kind']}: {reason_of(error)}")
                    self.outbox.mark_delivered()
                    self.trouble = None

    def drain(self, patience: float, on_waiting: Callable[[str], None]) -> bool:
        """Wait until everything is delivered, at most `patience` seconds while the store is in trouble."""
        self.closing.set()
        troubled_since = None
        while self.thread.is_alive() and self.outbox.pending():
            time.sleep(0.05)
            if self.trouble is None:
                troubled_since = None
            elif troubled_since is None:
                troubled_since = time.monotonic()
                on_waiting(self.trouble)
            elif time.monotonic() - troubled_since > patience:
                return False
        return not self.outbox.pending()

    def end(self) -> None:
        """Deliver nothing more; what is pending stays on disk."""
        self.ended.set()

    def deliver_metrics(self, entry: Entry) -> None:
        metrics = [Metric(key, value, entry["timestamp"], entry["step"]) for key, value in entry["values"].items()]
        for start in range(0, len(metrics), MOST_METRICS_A_REQUEST):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + MOST_METRICS_A_REQUEST])

    def deliver_params(self, entry: Entry) -> None:
        """Log what is not logged yet: `mlflow run` has logged what was typed, and another spelling would be refused."""
        known = self.client.get_run(self.run_id).data.params
        params = [Param(key, value) for key, value in entry["values"].items() if key not in known]
        self.client.log_batch(self.run_id, params=params)

    def deliver_tags(self, entry: Entry) -> None:
        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in entry["values"].items()])

    def deliver_inputs(self, entry: Entry) -> None:
        inputs = [
            DatasetInput(Dataset(**dataset), [InputTag("mlflow.data.context", context)])
            for context, dataset in entry["datasets"].items()
        ]
        self.client.log_inputs(self.run_id, datasets=inputs)

    def deliver_missing_tags(self, entry: Entry) -> None:
        known = self.client.get_run(self.run_id).data.tags
        for key in entry["keys"]:
            if key in known:
                self.client.delete_tag(self.run_id, key)

    def deliver_artifact(self, entry: Entry) -> None:
        path = self.existing(entry["path"])
        folder = Path(entry["path"]).parent.as_posix()
        self.client.log_artifact(self.run_id, str(path), None if folder == "." else folder)

    def deliver_model(self, entry: Entry) -> None:
        from imagelab.tracking.model import log_model_once

        self.existing(entry["path"])
        log_model_once(self.client, self.run_id, self.folder, entry)

    def deliver_status(self, entry: Entry) -> None:
        if entry["status"] == "RUNNING":
            self.client.update_run(self.run_id, status="RUNNING")
        else:
            self.client.set_terminated(self.run_id, entry["status"], entry["timestamp"])

    def deliver_damaged(self, entry: Entry) -> None:
        raise TrackingError(f"line {entry['line']} of {self.outbox.path} cannot be read")

    def existing(self, name: str) -> Path:
        """A file to deliver. One that is gone, unlike a store that is away, will not come back."""
        path = self.folder / name
        if not path.exists():
            raise TrackingError(f"{path} is gone")
        return path


DELIVER: dict[str, Callable[[Delivery, Any], None]] = {
    "metrics": Delivery.deliver_metrics,
    "params": Delivery.deliver_params,
    "tags": Delivery.deliver_tags,
    "missing tags": Delivery.deliver_missing_tags,
    "inputs": Delivery.deliver_inputs,
    "artifact": Delivery.deliver_artifact,
    "model": Delivery.deliver_model,
    "status": Delivery.deliver_status,
    "damaged": Delivery.deliver_damaged,
}
