"""Images in several views, each with what a teacher says of it: a split to learn from by distillation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class TaughtImages:
    """A split as `batches.make_training_batches` takes it.

    Attributes:
        images: uint8 (views, n, height, width, channels).
        answers: the teacher's probabilities, float32 (views, n, num_classes).
        labels: int64 (n,).
    """

    images: np.ndarray
    answers: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray | slice) -> Self:
        return type(self)(self.images[:, indices], self.answers[:, indices], self.labels[indices])

    @property
    def views(self) -> Sequence[int]:
        return range(len(self.images))

    @property
    def first_view(self) -> np.ndarray:
        return self.images[0]

    def read(self, indices: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Images (m, height, width, channels), each under the view given for it."""
        return self.images[views, indices]

    def read_answers(self, indices: np.ndarray, views: np.ndarray) -> np.ndarray:
        """The teacher's probabilities (m, num_classes) of the same."""
        return self.answers[views, indices]
