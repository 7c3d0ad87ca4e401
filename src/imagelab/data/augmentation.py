"""Random changes of training images, each a function of (seed, epoch, step), so that a repeated epoch sees the same.

Keras's own layers where it has them; its layers count their calls, so they get numbers that depend on the step instead.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import keras
import tensorflow as tf

MAX_SHIFT = 0.1  # of height and width
ROTATION = 15 / 360  # of a full turn, to either side
ZOOM = 0.1  # of height and width, in and out
ERASED = (0.02, 0.2)  # share of the image that `erasing` takes away, from half of the images
ROUNDS, GROUPS = 2, 8  # of RandAugment: changes of one image; parts of a batch that draw one each
STRENGTH = 0.3  # of RandAugment's changes, of 1

Change = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class StepNumbers(keras.random.SeedGenerator):
    """What Keras's layers draw their chance from: a new seed at each call, all fixed by the one of the step."""

    def __init__(self, seed: tf.Tensor) -> None:
        self.seed, self.calls = seed, 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        self.calls += 1
        return tf.cast(self.seed % 2**31, tf.int32) + tf.constant([0, 100_003 * self.calls])


def augment(images: tf.Tensor, augmentation: str, seed: tf.Tensor) -> tf.Tensor:
    """Change each image of a batch by chance.

    Args:
        images: uint8 (n, height, width, channels).
        augmentation: none, or names of CHANGES joined by +.
        seed: int64 (2,).

    Returns:
        uint8, of the same shape.
    """
    for name in () if augmentation == "none" else augmentation.split("+"):
        images = CHANGES[name](images, seed)
    return images


def flip(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirror half of the images left to right."""
    mirrored = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed) < 0.5
    return tf.where(mirrored, images[:, :, ::-1], images)


def shift(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Move each image by up to MAX_SHIFT along both axes; the border is repeated."""
    for axis in (1, 2):
        size = images.shape[axis]
        most = max(1, round(MAX_SHIFT * size))
        offsets = tf.random.stateless_uniform([tf.shape(images)[0], 1], seed + axis, -most, most + 1, tf.int32)
        positions = tf.clip_by_value(tf.range(size) + offsets, 0, size - 1)
        images = tf.gather(images, positions, axis=axis, batch_dims=1)
    return images


def by_layer(name: str, number: int, **options: Any) -> Change:
    """A change that a layer of Keras makes.

    Args:
        name: of its class.
        number: another for each change, so that no two draw the same.
    """

    def change(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return as_pixels(transformed(layer_of(name, **options), images, StepNumbers(seed + number)))

    return change


@cache
def layer_of(name: str, **options: Any) -> keras.layers.Layer:
    """A layer of Keras by the name of its class, made once and outside any graph: it has variables, all unused."""
    with tf.init_scope():
        return getattr(keras.layers, name)(**options)


def transformed(layer: keras.layers.Layer, images: tf.Tensor, numbers: StepNumbers) -> tf.Tensor:
    floats = tf.cast(images, tf.float32)
    changed = layer.transform_images(floats, layer.get_random_transformation(floats, training=True, seed=numbers))
    return tf.ensure_shape(changed, images.shape)


def as_pixels(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(tf.clip_by_value(images, 0, 255)), tf.uint8)


def rand_augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """RandAugment (Cubuk et al., 2020), by Keras's layers; its own layer for that ignores a seed.

    Each of GROUPS parts of the batch draws ROUNDS changes; how strong each is is drawn for every image.
    """
    count, layers = tf.shape(images)[0], rand_augment_layers(images.shape[-1])
    size, numbers = -(-count // GROUPS), StepNumbers(seed + 17)
    filled = tf.gather(tf.cast(images, tf.float32), tf.range(GROUPS * size) % count)  # the last batch may be any size
    groups = tf.reshape(filled, [GROUPS, size, *images.shape[1:]])
    for _ in range(ROUNDS):
        chosen = tf.random.stateless_uniform([GROUPS], numbers.next(), 0, len(layers), tf.int32)
        seeds = tf.stack([numbers.next() for _ in range(GROUPS)])

        def change(group: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
            pixels, number, group_seed = group
            branches = [partial(transformed, layer, pixels, StepNumbers(group_seed)) for layer in layers]
            return tf.clip_by_value(tf.switch_case(number, branches), 0, 255)

        groups = tf.map_fn(change, (groups, chosen, seeds), fn_output_signature=tf.float32)
    return as_pixels(tf.reshape(groups, tf.shape(filled))[:count])


def rand_augment_layers(channels: int) -> list[keras.layers.Layer]:
    """The changes of Keras's RandAugment; those of colours only where there are colours."""
    place: dict[str, Any] = {"fill_mode": "nearest"}
    pixels: dict[str, Any] = {"value_range": (0, 255)}
    layers = [
        layer_of("RandomShear", x_factor=STRENGTH, y_factor=STRENGTH, **place),
        layer_of("RandomTranslation", height_factor=STRENGTH, width_factor=STRENGTH, **place),
        layer_of("RandomRotation", factor=STRENGTH / 4, **place),
        layer_of("RandomBrightness", factor=STRENGTH, **pixels),
        layer_of("RandomContrast", factor=STRENGTH, **pixels),
        layer_of("RandomSharpness", factor=STRENGTH, **pixels),
        layer_of("RandomPosterization", factor=4, **pixels),
        layer_of("Solarization", addition_factor=STRENGTH, threshold_factor=STRENGTH, **pixels),
        layer_of("AutoContrast", **pixels),
        layer_of("Equalization", **pixels),
    ]
    return [*layers, layer_of("RandomColorDegeneration", factor=STRENGTH, **pixels)] if channels == 3 else layers


CHANGES: dict[str, Change] = {
    "flip": flip,
    "shift": shift,
    "rotation": by_layer("RandomRotation", 5, factor=ROTATION, fill_mode="nearest"),
    "zoom": by_layer("RandomZoom", 7, height_factor=ZOOM, fill_mode="nearest"),
    "randaugment": rand_augment,
    "erasing": by_layer("RandomErasing", 11, factor=(0.5, 0.5), scale=ERASED, fill_value=0, value_range=(0, 255)),
}
