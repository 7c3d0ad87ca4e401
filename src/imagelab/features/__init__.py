"""Features of a frozen backbone: computed once, kept on disk, reused by every run that wants the same ones."""

from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from imagelab.features.features import Features
from imagelab.features.room import EMPTY, cache_size, empty_cache, feature_cache_folder
from imagelab.features.store import SHARD, Kind, Spent, load_or_compute

if TYPE_CHECKING:
    import keras

    from imagelab.data.dataset import Split

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
        self.description = description
        self.spent = Spent()

    def features(self, name: str, split: "Split", *, limit: int | None = None, views: int = 1) -> Features:
        """Features of the official split `name` (of its first `limit` images), in so many views, the first one plain.

        Those of the test split are computed in float32, so that a head says of them what the network that is kept, in
        float32 too, says of the images.

        Raises:
            DataError: the cache would grow over its limit, or cannot be written; what was finished is kept.
        """
        from imagelab.features.extraction import augmented, engine, make_extract

        count = min(limit or len(split), len(split))
        sizes = [min(SHARD, len(split) - start) for start in range(0, count, SHARD)]
        low_precision = self.low_precision and name != "test"
        extract = cache(partial(make_extract, self.exact, self.network, low_precision))  # made when first needed

        def compute(number: int, view: int) -> np.ndarray:
            return extract()(augmented(split.images[number * SHARD :][: sizes[number]], view, number))

        length = self.exact.get_layer("features").output.shape[-1]
        kind = Kind(length, np.dtype(np.float16 if low_precision else np.float32))
        dtype = "bfloat16" if low_precision else "float32"
        found = []
        for view in range(views):
            description = {**self.description, "engine": engine(), "dtype": dtype, "split": name, "view": view}
            computing = partial(compute, view=view)
            found.append(load_or_compute(description, kind, sizes, computing, self.feature_cache_limit, self.spent))
        return Features(tuple(found), np.arange(count), split.labels[:count])
