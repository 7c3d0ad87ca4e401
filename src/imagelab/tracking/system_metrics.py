"""MLflow's samples of processor, memory, disk, network and GPU, sent through the outbox so that none is lost."""

import logging
import time
from contextlib import suppress

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from imagelab.tracking.outbox import Outbox

logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)


class OutboxSystemMetrics(SystemMetricsMonitor):
    """MLflow's monitor, but it asks the store nothing: a server that is away does not end the sampling."""

    def __init__(self, run_id: str, outbox: Outbox, resumed: bool) -> None:
        super().__init__(run_id, resume_logging=resumed)
        self.outbox = outbox

    def monitor(self) -> None:
        while not self._shutdown_event.is_set():
            self.collect_metrics()
            with suppress(OSError):  # a disk that is full does not end the sampling
                self.publish_metrics(self.aggregate_metrics())
            self._shutdown_event.wait(self.sampling_interval)

    def publish_metrics(self, metrics: dict[str, float]) -> None:
        values = {f"{self._metrics_prefix}{key}": float(value) for key, value in metrics.items()}
        stamp = {"step": self._logging_step, "timestamp": round(time.time() * 1000)}
        self.outbox.append("metrics", values=values, **stamp)
        self._logging_step += 1
        for monitor in self.monitors:
            monitor.clear_metrics()
