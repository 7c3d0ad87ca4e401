"""Images and labels of a batch mixed with each other: mixup and CutMix, as functions of (seed, epoch, step)."""

from dataclasses import dataclass
from functools import partial

import keras
import tensorflow as tf

from imagelab.data.augmentation import StepNumbers, layer_of


@dataclass(frozen=True)
class Mixing:
    """What is mixed, and until when.

    Attributes:
        mixup: alpha of mixup (Zhang et al., 2018); 0: off.
        cutmix: alpha of CutMix (Yun et al., 2019); 0: off. With both, each batch takes one of the two.
        until: number of the first epoch, from 0, in which nothing is mixed any more.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    until: int = 0

    def __bool__(self) -> bool:
        return bool(self.mixup or self.cutmix)

    def mix(
        self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, epoch: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mix a batch.

        Args:
            images: uint8 (n, height, width, channels).
            targets: float32 (n, num_classes).
            seed: int64 (2,).
            epoch: int64 scalar, from 0.

        Returns:
            float32 images and targets of the same shapes.
        """
        layers = [layer_of("MixUp", alpha=self.mixup)] if self.mixup else []
        layers += [layer_of("CutMix", factor=(self.cutmix, self.cutmix))] if self.cutmix else []
        images, numbers = tf.cast(images, tf.float32), StepNumbers(seed + 31)
        chosen = tf.random.stateless_uniform([], numbers.next(), 0, len(layers), tf.int32)
        mixed_by = [partial(mixed, layer, images, targets, StepNumbers(numbers.next())) for layer in layers]
        return tf.cond(epoch < self.until, lambda: tf.switch_case(chosen, mixed_by), lambda: (images, targets))


NOTHING = Mixing()


def mixed(
    layer: keras.layers.Layer, images: tf.Tensor, targets: tf.Tensor, numbers: StepNumbers
) -> tuple[tf.Tensor, tf.Tensor]:
    how = layer.get_random_transformation(images, training=True, seed=numbers)
    new_images, new_targets = layer.transform_images(images, how), layer.transform_labels(targets, how)
    return tf.ensure_shape(new_images, images.shape), tf.ensure_shape(new_targets, targets.shape)
