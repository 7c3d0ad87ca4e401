"""What a data set is: uint8 images, integer labels, names and a digest of all of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from imagelab.errors import DataError


@dataclass(frozen=True)
class Split:
    """Images, uint8 (n, height, width, channels), 0-255, and labels, int64 (n,)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray | slice) -> Self:
        return type(self)(self.images[indices], self.labels[indices])


class AnySplit(Protocol):
    """Inputs of any kind, with labels, int64 (n,)."""

    @property
    def labels(self) -> np.ndarray: ...
    def __len__(self) -> int: ...
    def take(self, indices: np.ndarray | slice) -> Self: ...


class ReadSplit(AnySplit, Protocol):
    """A split whose inputs (n, ...) are no images in memory, but read when asked for; see features/feature_split.py."""

    @property
    def views(self) -> Sequence[Any]: ...
    @property
    def first_view(self) -> np.ndarray: ...
    def read(self, indices: np.ndarray, views: np.ndarray) -> np.ndarray: ...


SplitT = TypeVar("SplitT", bound=AnySplit)


@dataclass(frozen=True)
class Dataset:
    """A data set in its official order and split; checks its own shapes and labels.

    Attributes:
        class_names: the name of each label.
        source: where the files were found, for the record.
        superclass_names: names of the coarser classes, empty where there are none.
        superclasses: the superclass of each class, a number into superclass_names; empty where there are none.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    source: str
    superclass_names: tuple[str, ...] = ()
    superclasses: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for split_name, split in (("train", self.train), ("test", self.test)):
            images, labels = split.images, split.labels
            sound = images.dtype == np.uint8 and images.ndim == 4 and images.shape[1:] == self.image_shape
            if not sound or len(images) != len(labels) or len(labels) == 0:
                raise DataError(
                    f"{self.name}: {split_name} images are {images.dtype} {images.shape}, labels {labels.shape}"
                )
            if labels.min() < 0 or labels.max() >= self.num_classes:
                raise DataError(f"{self.name}: {split_name} labels are not all within 0..{self.num_classes - 1}")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all pixels and labels of both splits, in hexadecimal."""
        return sha256_of(self.train.images, self.train.labels, self.test.images, self.test.labels)


def sha256_of(*arrays: np.ndarray) -> str:
    """SHA-256 of the arrays' raw bytes, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
