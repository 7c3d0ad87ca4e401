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
    from imagelab.features.extraction import Extract


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

    def shard_of_view(self, number: int, view: int) -> np.ndarray:
        """The images of a shard under a view, uint8 (n, height, width, channels)."""
        from imagelab.features.extraction import augmented  # late, as TensorFlow is with it

        start = number * SHARD
        return augmented(self.split.images[start : min(start + SHARD, self.count)], view, number)


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
        """What each view of the wanted images is, and how its features are computed."""
        # TensorFlow and OpenVINO stay off the path of commands that only look at the cache or empty it.
        from imagelab.features.extraction import engine, make_extract

        low_precision = self.low_precision and wanted.name != "test"
        length = self.float32_model.get_layer("features").output.shape[-1]
        shard_format = ShardFormat(length, np.dtype(np.float16 if low_precision else np.float32))
        make = cache(partial(make_extract, self.float32_model, self.network, low_precision))

        def extract(images: np.ndarray) -> np.ndarray:
            return make()(images)  # made when first needed

        dtype = "bfloat16" if low_precision else "float32"
        description = {**self.description, "engine": engine(), "dtype": dtype, "split": wanted.name}
        return sets_of_views(wanted, description, shard_format, extract)


def sets_of_views(
    wanted: WantedFeatures, description: Mapping[str, Any], shard_format: ShardFormat, extract: "Extract"
) -> list[FeatureSet]:
    """What each view of the wanted images is, and how it is computed.

    Args:
        description: what the features depend on, besides the view.
        extract: gives the features (n, length) of images, uint8 (n, height, width, channels).
    """
    sizes = tuple(min(SHARD, wanted.count - start) for start in range(0, wanted.count, SHARD))

    def compute(number: int, view: int) -> np.ndarray:
        return extract(wanted.shard_of_view(number, view))

    return [
        FeatureSet({**description, "view": view}, shard_format, sizes, partial(compute, view=view))
        for view in range(wanted.views)
    ]
