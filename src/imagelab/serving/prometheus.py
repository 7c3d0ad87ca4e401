"""The server's metrics for Prometheus."""

import os
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ServingMetrics:
    """Metrics of one server; those of several workers are added up (PROMETHEUS_MULTIPROC_DIR)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("imagelab_requests", "Requests to /invocations and /explain", ["status"], **own)
        self.seconds = Histogram("imagelab_request_seconds", "Seconds a request took", buckets=SECONDS, **own)
        self.batch = Histogram("imagelab_batch_images", "Images computed together", buckets=IMAGES, **own)
        self.loads = Counter("imagelab_versions_loaded", "Versions loaded since the start", **own)
        self.version = Gauge(
            "imagelab_model_version", "The version that answers", ["model"], multiprocess_mode="mostrecent", **own
        )

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        registry = self.registry
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)
