"""Requests computed together: whose answer is whose, and what happens at the end."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from imagelab.serving.dynamic_batching import MOST_AT_ONCE, Batcher
from tests.conftest import LONGEST


class Gate:
    """A computation (the mean of each image) that can be held up, and remembers the sizes of its batches."""

    def __init__(self) -> None:
        self.open, self.entered, self.sizes = threading.Event(), threading.Event(), list[int]()
        self.open.set()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.entered.set()
        assert self.open.wait(LONGEST)
        if (images == 255).any():
            raise ValueError("255")
        return images.mean(axis=(1, 2, 3))[:, None]

    def note(self, size: int) -> None:
        self.sizes.append(size)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def images(*values: int) -> np.ndarray:
    return np.stack([np.full((2, 2, 1), value, np.uint8) for value in values])


def hold(gate: Gate, batcher: Batcher, pool: ThreadPoolExecutor, *jobs: np.ndarray) -> "list[Future[np.ndarray]]":
    """The answers to come of jobs that have all arrived while the first one was computed."""
    gate.open.clear()
    first = pool.submit(batcher, jobs[0])
    assert gate.entered.wait(LONGEST)
    answers = [first, *[pool.submit(batcher, job) for job in jobs[1:]]]
    while batcher.requests.qsize() < len(jobs) - 1:
        pass  # until all have arrived
    return answers


def test_everybody_gets_their_own_answers(gate: Gate) -> None:
    batcher = Batcher(gate, gate.note)
    rng = np.random.default_rng(0)
    jobs = [images(*rng.integers(0, 250, rng.integers(1, 6))) for _ in range(300)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(batcher, jobs))
    for job, answer in zip(jobs, answers, strict=True):
        assert answer[:, 0].tolist() == job[:, 0, 0, 0].tolist()
    assert sum(gate.sizes) == sum(map(len, jobs))
    batcher.close()


def test_what_has_arrived_meanwhile_is_computed_together(gate: Gate) -> None:
    batcher = Batcher(gate, gate.note)
    with ThreadPoolExecutor(8) as pool:
        answers = hold(gate, batcher, pool, *[images(value, value + 1) for value in range(6)])
        gate.open.set()
        assert [answer.result()[0, 0] for answer in answers] == list(range(6))
    assert gate.sizes == [2, 10]


def test_a_batch_does_not_grow_without_end(gate: Gate) -> None:
    batcher = Batcher(gate, gate.note)
    with ThreadPoolExecutor(8) as pool:
        answers = hold(gate, batcher, pool, images(1), *[images(*[value] * 40) for value in range(5)])
        gate.open.set()
        assert [len(answer.result()) for answer in answers] == [1, *[40] * 5]
    assert max(gate.sizes) <= MOST_AT_ONCE + 40


def test_an_error_reaches_everybody_who_waits_and_nobody_after(gate: Gate) -> None:
    batcher = Batcher(gate, gate.note)
    with ThreadPoolExecutor(8) as pool:
        answers = hold(gate, batcher, pool, images(1), images(255), images(2))
        gate.open.set()
        assert answers[0].result()[0, 0] == 1
        for answer in answers[1:]:
            with pytest.raises(ValueError, match="255"):
                answer.result()
    assert batcher(images(3))[0, 0] == 3
    batcher.close()


def test_after_the_end_those_who_wait_are_answered_and_latecomers_too(gate: Gate) -> None:
    batcher = Batcher(gate, gate.note)
    with ThreadPoolExecutor(8) as pool:
        answers = hold(gate, batcher, pool, *[images(value) for value in range(4)])
        batcher.close()
        batcher.close()
        gate.open.set()
        assert [answer.result()[0, 0] for answer in answers] == list(range(4))
    assert batcher(images(7))[0, 0] == 7
    with pytest.raises(ValueError, match="255"):
        batcher(images(255))


def test_the_thread_ends(gate: Gate) -> None:
    before = set(threading.enumerate())
    batcher = Batcher(gate, gate.note)
    [thread] = set(threading.enumerate()) - before
    batcher.close()
    thread.join(LONGEST)
    assert not thread.is_alive()
