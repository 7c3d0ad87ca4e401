"""Images that arrive at the same time go through the network together."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

MOST_AT_ONCE = 64  # images; more would only make the first of them wait


@dataclass
class Job:
    """The images (n, height, width, channels) of one request, and its probabilities (n, classes) to come."""

    images: np.ndarray
    answer: "Future[np.ndarray]" = field(default_factory=Future)


class Batcher:
    """A thread that computes together what has arrived while it computed; nobody waits for a batch to fill up.

    Attributes:
        on_batch: told how many images went through together.
    """

    def __init__(self, compute: Callable[[np.ndarray], np.ndarray], on_batch: Callable[[int], None]) -> None:
        self.compute, self.on_batch = compute, on_batch
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.closing, self.closed = threading.Lock(), False
        threading.Thread(target=self.work, name="imagelab-batcher", daemon=True).start()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of the images; waits for them."""
        job = Job(images)
        with self.closing:
            late = self.closed
            if not late:
                self.jobs.put(job)
        return self.compute(images) if late else job.answer.result()

    def close(self) -> None:
        """Compute what has arrived, then end the thread; who comes later computes alone."""
        with self.closing:
            if not self.closed:
                self.closed = True
                self.jobs.put(None)  # nothing follows it

    def work(self) -> None:
        last = False
        while not last:
            jobs = [self.jobs.get()]
            while jobs[-1] and sum(len(job.images) for job in jobs if job) < MOST_AT_ONCE and not self.jobs.empty():
                jobs.append(self.jobs.get())
            last = jobs[-1] is None
            if batch := [job for job in jobs if job]:
                self.compute_together(batch)

    def compute_together(self, batch: list[Job]) -> None:
        ends = np.cumsum([len(job.images) for job in batch])
        try:
            probabilities = self.compute(np.concatenate([job.images for job in batch]))
            self.on_batch(int(ends[-1]))
        except BaseException as error:
            for job in batch:
                job.answer.set_exception(error)
            return
        for job, part in zip(batch, np.split(probabilities, ends[:-1]), strict=True):
            job.answer.set_result(part)
