"""From a network and images to features, by way of the cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from imagelab.features.feature_cache import FeatureSeconds, FeatureSet, load_or_compute
from imagelab.features.feature_split import Features
from imagelab.features.shards import SHARD, ShardFormat

if TYPE_CHECKING:
    import keras

    from imagelab.data.dataset import Split


@dataclass(frozen=True)
class WantedFeatures:
    """The features of a split that somebody wants.

    Attributes:
        name: of the official split: train or test.
        limit: only of its first images.
        views: how many of each image, the first one plain.
    """

    name: str
    split: "Split"
    limit: int | None = None
    views: int = 1

    @property
    def count(self) -> int:
        """How many images."""
        return min(self.limit or len(self.split), len(self.split))


class FeatureSource:
    """Gives the features of splits, from the cache as far as it has them.

    Attributes:
        seconds: of computing, and of computing saved, so far.
    """

    def __init__(
        self,
        float32_model: "keras.Model",
        network: "keras.Model",
        description: Mapping[str, Any],
        feature_cache_limit: float,
    ) -> None:
        """Take the same network in float32 and in the number format to compute in, and what features depend on.

        Args:
            description: plain values; the number format, the split and the view are added to them.
            feature_cache_limit: GiB that the whole cache may take.
        """
        self.float32_model, self.network = float32_model, network
        self.low_precision = network.dtype_policy.name == "mixed_bfloat16"
        self.description, self.feature_cache_limit = description, feature_cache_limit
        self.seconds = FeatureSeconds()

    def features(self, wanted: Sequence[WantedFeatures]) -> list[Features]:
        """Features of splits; that they fit into the cache is checked for all of them before the first is computed.

        Those of the test split are computed in float32, so that a head says of them what the network that is kept, in
        float32 too, says of the images.

        Raises:
            DataError: the cache would grow over its limit, or cannot be written; what was finished is kept.
        """
        sets = [self.feature_sets(one) for one in wanted]
        shards = iter(load_or_compute([one for each in sets for one in each], self.feature_cache_limit, self.seconds))
        return [
            Features(tuple(next(shards) for _ in each), np.arange(one.count), one.split.labels[: one.count])
            for one, each in zip(wanted, sets, strict=True)
        ]

    def feature_sets(self, wanted: WantedFeatures) -> list[FeatureSet]:
        """What each view of the wanted images is, and how it is computed."""
        # TensorFlow and OpenVINO stay off the path of commands that only look at the cache or empty it.
        from imagelab.features.extraction import augmented, engine, make_extract

        low_precision = self.low_precision and wanted.name != "test"
        length = self.float32_model.get_layer("features").output.shape[-1]
        shard_format = ShardFormat(length, np.dtype(np.float16 if low_precision else np.float32))
        sizes = tuple(min(SHARD, wanted.count - start) for start in range(0, wanted.count, SHARD))
        extract = cache(partial(make_extract, self.float32_model, self.network, low_precision))  # when first needed

        def compute(number: int, view: int) -> np.ndarray:
            return extract()(augmented(wanted.split.images[number * SHARD :][: sizes[number]], view, number))

        dtype = "bfloat16" if low_precision else "float32"
        description = {**self.description, "engine": engine(), "dtype": dtype, "split": wanted.name}
        return [
            FeatureSet({**description, "view": view}, shard_format, sizes, partial(compute, view=view))
            for view in range(wanted.views)
        ]
