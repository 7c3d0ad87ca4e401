"""Features with their labels: a split whose inputs stay on disk."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from imagelab.features.shards import SHARD, Shards


@dataclass(frozen=True)
class Features:
    """A split of features, read from disk when asked for.

    Attributes:
        views: for each view of the images (the first one plain, the others augmented) its shards by number.
        rows: the place of each image in the official split, int64 (n,).
        labels: int64 (n,).
    """

    views: tuple[Shards, ...]
    rows: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: np.ndarray | slice) -> Self:
        return type(self)(self.views, self.rows[indices], self.labels[indices])

    @cached_property
    def first_view(self) -> np.ndarray:
        """The plain features (n, length) of all images, read into memory once."""
        return self.read(np.arange(len(self)), np.zeros(len(self), int))

    def read(self, indices: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Features (m, length) of m images, each under the view given for it."""
        shards = [self.views[view][row // SHARD] for row, view in zip(self.rows[indices], views, strict=True)]
        return np.stack([shard[row % SHARD] for shard, row in zip(shards, self.rows[indices], strict=True)])
