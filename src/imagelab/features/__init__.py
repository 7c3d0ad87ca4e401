"""Features of a frozen backbone: computed once, kept on disk, reused by every run that wants the same ones."""

from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from imagelab.features.features import Features
from imagelab.features.store import EMPTY, SHARD, Spent, cache_size, empty_cache, feature_cache_folder, load_or_compute

if TYPE_CHECKING:
    import keras

    from imagelab.data.dataset import Split
    from imagelab.features.extraction import Extract

__all__ = ["EMPTY", "FeatureSource", "Features", "Spent", "cache_size", "empty_cache", "feature_cache_folder"]


class FeatureSource:
    """Gives the features of splits, from the cache as far as it has them.

    Attributes:
        spent: seconds of computing, and seconds saved, so far.
    """

    def __init__(
        self, exact: "keras.Model", network: "keras.Model", description: Mapping[str, Any], feature_cache_limit: float
    ) -> None:
        """Take the same network in float32 and in the number format to compute in, and what features depend on.

        Args:
            description: plain values; the number format, the split and the view are added to them.
            feature_cache_limit: GiB that the whole cache may take.
        """
        self.exact, self.network, self.feature_cache_limit = exact, network, feature_cache_limit
        self.low_precision = network.dtype_policy.name == "mixed_bfloat16"
        self.description = {**description, "dtype": "bfloat16" if self.low_precision else "float32"}
        self.spent = Spent()

    @cached_property
    def extract(self) -> "Extract":
        from imagelab.features.extraction import make_extract

        return make_extract(self.exact, self.network, self.low_precision)

    def features(self, name: str, split: "Split", count: int, views: int = 1) -> Features:
        """Features of the first `count` images of the official split `name`, in so many views, the first one plain.

        Raises:
            DataError: the cache would grow over its limit, or cannot be written; what was finished is kept.
        """
        from imagelab.features.extraction import augmented, engine

        sizes = [min(SHARD, len(split) - start) for start in range(0, count, SHARD)]

        def compute(number: int, view: int) -> np.ndarray:
            return self.extract(augmented(split.images[number * SHARD :][: sizes[number]], view, number))

        found = []
        for view in range(views):
            description = {**self.description, "engine": engine(), "split": name, "view": view}
            computing = partial(compute, view=view)
            found.append(load_or_compute(description, sizes, computing, self.feature_cache_limit, self.spent))
        return Features(tuple(found), np.arange(count), split.labels[:count])
