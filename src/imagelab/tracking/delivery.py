"""Takes a run's outbox to the tracking store, in a thread, again and again until the store has taken it.

Every entry may be delivered twice (after a crash) and does no harm the second time: metrics carry their time stamp,
parameters and tags their value, artifacts their name, images their key and time stamp, and a model is looked for before
it is logged.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, Metric, Param, RunTag

from imagelab.errors import TrackingError
from imagelab.tracking.outbox import Entry, Outbox
from imagelab.tracking.retry import backoff
from imagelab.tracking.store import denial_of, may_pass, reason_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_METRICS_A_REQUEST = 1000
LONGEST_PAUSE = 15.0


class Delivery:
    """The thread that delivers one run's outbox.

    Attributes:
        trouble: why the newest attempt failed; None while the store answers.
        is_denied: whether it failed because the store lets nobody in: not worth waiting for.
        refused: what the store will never take, in words.
        awaited: set while somebody waits for the end of the delivery, so that pauses are short.
    """

    def __init__(
        self, client: "MlflowClient", run_id: str, folder: Path, outbox: Outbox, python_model: Path | None = None
    ) -> None:
        """Begin to deliver an outbox with artifacts in `folder`; `python_model` is the code that serves a model."""
        self.client, self.run_id, self.folder, self.outbox = client, run_id, folder, outbox
        self.python_model = python_model
        self.trouble: str | None = None
        self.is_denied = False
        self.refused: list[str] = []
        self.awaited, self.ended = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.deliver, name="imagelab-delivery", daemon=True)
        self.thread.start()

    def deliver(self) -> None:
        pauses = backoff(0.5, LONGEST_PAUSE)
        while not self.ended.is_set():
            pending = self.outbox.pending()
            if not pending:
                self.outbox.wait_for_change(0.5)
                continue
            try:
                DELIVER[pending[0]["kind"]](self, pending[0])
                self.outbox.mark_delivered()
                self.trouble, pauses = None, backoff(0.5, LONGEST_PAUSE)
            except Exception as error:
                self.is_denied = denial_of(error) is not None
                if may_pass(error) or self.is_denied:  # who is denied now may be let in later: nothing is given up
                    self.trouble = reason_of(error)
                    self.pause(next(pauses))
                else:
                    self.refused.append(f"{pending[0]['kind']}: {reason_of(error)}")
                    self.outbox.mark_delivered()
                    self.trouble = None

    def pause(self, seconds: float) -> None:
        if self.awaited.is_set():
            time.sleep(min(seconds, 2))
        else:
            self.awaited.wait(seconds)

    def drain(self, patience: float, on_waiting: Callable[[str], None]) -> bool:
        """Wait until everything is delivered, at most `patience` seconds while the store is in trouble.

        Where it lets nobody in, it is asked only once more.
        """
        if self.is_denied:
            self.trouble, self.is_denied = None, False
        self.awaited.set()
        try:
            return self.wait_until_empty(patience, on_waiting)
        finally:
            self.awaited.clear()

    def wait_until_empty(self, patience: float, on_waiting: Callable[[str], None]) -> bool:
        troubled_since = None
        while self.thread.is_alive() and self.outbox.pending():
            time.sleep(0.05)
            if self.trouble is None:
                troubled_since = None
            elif self.is_denied:
                return False
            elif troubled_since is None:
                troubled_since = time.monotonic()
                on_waiting(self.trouble)
            elif time.monotonic() - troubled_since > patience:
                return False
        return not self.outbox.pending()

    def why_incomplete(self, drained: bool) -> str | None:
        """What the store has not taken, after `drain` has returned `drained`; None where it has taken everything."""
        if not drained:
            return f"the tracking store has not taken everything ({self.trouble or 'delivery broke off'})"
        return f"the tracking store refused part of it ({'; '.join(self.refused[:3])})" if self.refused else None

    def end(self) -> None:
        """Deliver nothing more; what is pending stays on disk."""
        self.ended.set()

    def deliver_metrics(self, entry: Entry) -> None:
        on = [entry.get(name) for name in ("model_id", "dataset", "digest")]
        metrics = [Metric(key, value, entry["timestamp"], entry["step"], *on) for key, value in entry["values"].items()]
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
        models = [LoggedModelInput(model_id) for model_id in entry.get("models", ())]
        self.client.log_inputs(self.run_id, datasets=inputs, models=models)

    def deliver_missing_tags(self, entry: Entry) -> None:
        known = self.client.get_run(self.run_id).data.tags
        for key in entry["keys"]:
            if key in known:
                self.client.delete_tag(self.run_id, key)

    def deliver_artifact(self, entry: Entry) -> None:
        path = self.existing(entry["path"])
        folder = Path(entry["path"]).parent.as_posix()
        self.client.log_artifact(self.run_id, str(path), None if folder == "." else folder)

    def deliver_image(self, entry: Entry) -> None:
        """A picture once more, in the form in which MLflow's page shows those of several runs side by side.

        Each call makes files with other names, so what an earlier process has delivered is looked for.
        """
        known = f"images/{entry['key']}+step+0+timestamp+{entry['timestamp']}+"
        files = [file.path for file in self.client.list_artifacts(self.run_id, "images")]
        if sum(path.startswith(known) for path in files) > 1:  # the picture, and a smaller one
            return
        with PIL.Image.open(self.existing(entry["path"])) as picture:
            shown = picture.convert("RGB")
        self.client.log_image(self.run_id, shown, key=entry["key"], step=0, timestamp=entry["timestamp"])

    def deliver_model(self, entry: Entry) -> None:
        from imagelab.tracking.logged_model import log_model_once  # imports Keras

        self.existing(entry["path"])
        if self.python_model is None:
            raise TrackingError("nobody has said by which code this model is served")
        log_model_once(self.client, self.run_id, self.folder, entry, self.python_model)

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
    "image": Delivery.deliver_image,
    "model": Delivery.deliver_model,
    "status": Delivery.deliver_status,
    "damaged": Delivery.deliver_damaged,
}
