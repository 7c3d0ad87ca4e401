"""A trained network as a teacher: its answers to several views of each training image, kept on disk as features are."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imagelab.data.dataset import Dataset
from imagelab.data.split import SplitSpec
from imagelab.data.taught_images import TaughtImages
from imagelab.errors import DataError
from imagelab.features.feature_cache import FeatureSeconds, load_or_compute
from imagelab.features.feature_source import WantedFeatures, sets_of_views
from imagelab.features.feature_split import Features
from imagelab.features.shards import ShardFormat


@dataclass(frozen=True)
class Teacher:
    """A trained network.

    Attributes:
        model_id: in MLflow.
        network: images, uint8 (n, height, width, channels), to probabilities (n, num_classes).
    """

    model_id: str
    network: Callable[[np.ndarray], np.ndarray]

    def answers(self, images: np.ndarray) -> np.ndarray:
        """Its probabilities, float32.

        Raises:
            DataError: some are not numbers.
        """
        probabilities = np.asarray(self.network(images), np.float32)
        if not np.isfinite(probabilities).all():
            raise DataError("the teacher returned NaN or infinite probabilities; it is damaged, or has diverged")
        return probabilities


def taught_images(
    teacher: Teacher, dataset: Dataset, split: SplitSpec, views: int, feature_cache_limit: float
) -> TaughtImages:
    """The images that are learned from, each in so many views, with the teacher's answers.

    Raises:
        DataError: the cache would grow over its limit, or cannot be written; what was finished is kept.
    """
    wanted = WantedFeatures("train", dataset.train, split.limit, views)
    description = {"teacher": teacher.model_id, "dataset_digest": dataset.digest, "split": "train"}
    shard_format = ShardFormat(dataset.num_classes, np.dtype(np.float32))
    sets = sets_of_views(wanted, description, shard_format, teacher.answers)
    shards = load_or_compute(sets, feature_cache_limit, FeatureSeconds(), "answers of the teacher")
    rows, _ = split.indices(dataset.train.labels)
    answers = Features(tuple(shards), rows, dataset.train.labels[rows])
    taught = TaughtImages(
        np.empty((views, len(rows), *dataset.image_shape), np.uint8),
        np.empty((views, len(rows), dataset.num_classes), np.float32),
        answers.labels,
    )
    for view in range(views):  # into place, as eight views of all images are large
        shards_of_view = [wanted.shard_of_view(number, view) for number in range(len(sets[view].sizes))]
        taught.images[view] = np.concatenate(shards_of_view)[rows]
        taught.answers[view] = answers.read(np.arange(len(rows)), np.full(len(rows), view))
    return taught
