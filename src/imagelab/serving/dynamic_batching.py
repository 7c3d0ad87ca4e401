"""Dynamic batching: images that arrive at the same time go through the network together."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

MOST_AT_ONCE = 64  # images; more would only make the first of them wait


@dataclass
class Request:
    """The images (n, height, width, channels) of one request, and the future of its probabilities (n, classes)."""

    images: np.ndarray
    answer: "Future[np.ndarray]" = field(default_factory=Future)


class Batcher:
    """A thread that computes all requests together that arrived while it was busy; none waits for a batch to fill up.

    Attributes:
        on_batch: called with the number of images in each batch.
    """

    def __init__(self, compute: Callable[[np.ndarray], np.ndarray], on_batch: Callable[[int], None]) -> None:
        self.compute, self.on_batch = compute, on_batch
        self.requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self.closing, self.closed = threading.Lock(), False
        threading.Thread(target=self.work, name="imagelab-batcher", daemon=True).start()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of the images; waits for them."""
        request = Request(images)
        with self.closing:
            late = self.closed
            if not late:
                self.requests.put(request)
        return self.compute(images) if late else request.answer.result()

    def close(self) -> None:
        """Compute what has arrived, then end the thread; later callers compute by themselves."""
        with self.closing:
            if not self.closed:
                self.closed = True
                self.requests.put(None)  # the last one

    def work(self) -> None:
        last = False
        while not last:
            batch: list[Request] = []
            while sum(len(request.images) for request in batch) < MOST_AT_ONCE and not (
                batch and self.requests.empty()
            ):
                request = self.requests.get()
                if last := request is None:
                    break
                batch.append(request)
            if batch:
                self.compute_together(batch)

    def compute_together(self, batch: list[Request]) -> None:
        ends = np.cumsum([len(request.images) for request in batch])
        try:
            probabilities = self.compute(np.concatenate([request.images for request in batch]))
            self.on_batch(int(ends[-1]))
        except BaseException as error:
            for request in batch:
                request.answer.set_exception(error)
            return
        for request, part in zip(batch, np.split(probabilities, ends[:-1]), strict=True):
            request.answer.set_result(part)
