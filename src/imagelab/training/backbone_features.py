"""The features of a frozen backbone, with the network that they belong to: what trainings on them share."""

from dataclasses import dataclass, replace

import keras

from imagelab.data.split import SplitSpec
from imagelab.features import Features, FeatureSeconds


@dataclass(frozen=True)
class BackboneFeatures:
    """The features of a frozen backbone.

    Attributes:
        float32_model: the whole network in float32, its head untrained.
        network: the same in the number format of the plan.
        train: those of the training images.
        split, splits: how these are split; features to learn from, and to choose by.
        test: those of the test images, in float32; None where nobody wanted them.
        spent: what they have cost.
        weights_digest: SHA-256 of the backbone's weights.
    """

    float32_model: keras.Model
    network: keras.Model
    train: Features
    split: SplitSpec
    splits: tuple[Features, Features]
    test: Features | None
    spent: FeatureSeconds
    weights_digest: str

    def found_again(self) -> "BackboneFeatures":
        """The same for another training in this process, which spends nothing on them."""
        spent = self.spent
        return replace(self, spent=FeatureSeconds(0, spent.computing + spent.saved, spent.processor))

    def split_by(self, split: SplitSpec) -> "BackboneFeatures":
        """The same for another split of the images."""
        return replace(self, split=split, splits=split.split(self.train))

    @property
    def length(self) -> int:
        """Numbers that the features of one image are."""
        return int(self.float32_model.get_layer("features").output.shape[-1])
