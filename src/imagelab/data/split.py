"""Which training images a network learns from, and which choose: a value that a run stores and others read."""

import json
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from imagelab.data.dataset import SplitT
from imagelab.errors import SettingsError


@dataclass(frozen=True)
class SplitSpec:
    """Fixes the split of a data set's training images in two, to the image.

    Attributes:
        split_seed: fixes which images are kept for validation.
        validation_fraction: their share, stratified by class.
        limit: only the first n training images are used.
        fold, folds: of a cross-validation, the number of the fold (from 0) and how many there are. The images that
            are kept for validation are in no fold: they choose, as in any training, and the fold is only scored.
    """

    split_seed: int
    validation_fraction: float
    limit: int | None = None
    fold: int | None = None
    folds: int | None = None

    def indices(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the images to learn from and of those to choose by, each ascending, int64.

        Where a class has too few images to keep its share, the split is random instead.

        Args:
            labels: those of all training images, int64 (n,).

        Raises:
            SettingsError: a part would be empty.
        """
        train, val = self.without_folds(labels)
        return np.setdiff1d(train, self.fold_indices(labels)), val

    def fold_indices(self, labels: np.ndarray) -> np.ndarray:
        """Numbers of the fold's images, ascending: nothing learns from them or chooses by them; empty without folds.

        Where a class has fewer images than there are folds, these are random instead of stratified.

        Raises:
            SettingsError: there are fewer images than folds.
        """
        train, _ = self.without_folds(labels)
        if self.fold is None or self.folds is None:
            return train[:0]
        if self.folds > len(train):
            raise SettingsError(
                f"folds={self.folds}: must be at most {len(train)}, as there are no more images to learn from"
            )
        _, counts = np.unique(labels[train], return_counts=True)
        kind = StratifiedKFold if counts.min() >= self.folds else KFold
        folds = kind(self.folds, shuffle=True, random_state=self.split_seed)
        return train[list(folds.split(train, labels[train]))[self.fold][1]]

    def without_folds(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `indices`, of the same split without folds."""
        chosen = np.arange(len(labels))[: self.limit]
        count = round(self.validation_fraction * len(chosen))
        if not 0 < count < len(chosen):
            raise SettingsError(
                f"validation_fraction={self.validation_fraction} of {len(chosen)} images leaves {count} to validate on"
            )
        _, counts = np.unique(labels[chosen], return_counts=True)
        keeps_shares = counts.min() >= 2 and len(counts) <= min(count, len(chosen) - count)
        stratify = labels[chosen] if keeps_shares else None
        train, val = train_test_split(chosen, test_size=count, random_state=self.split_seed, stratify=stratify)
        return np.sort(train), np.sort(val)

    def split(self, images: SplitT) -> tuple[SplitT, SplitT]:
        """The training images, or their features, in two: (train split, validation split)."""
        train, val = self.indices(images.labels)
        return images.take(train), images.take(val)

    def in_words(self) -> str:
        words = [f"split_seed {self.split_seed}", f"validation_fraction {self.validation_fraction:g}"]
        words += [] if self.limit is None else [f"limit {self.limit}"]
        words += [] if self.fold is None else [f"fold {self.fold} of {self.folds}"]
        return ", ".join(words)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` has written.

        Raises:
            ValueError, TypeError: it is something else.
        """
        return cls(**json.loads(text))
