"""From uint8 arrays to batches: shuffled, augmented and one-hot per batch, so that no float copy of a data set exists.

Everything random is a function of (seed, epoch): an epoch can be repeated alone, which is what makes resuming exact.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from imagelab.data.augmentation import augment
from imagelab.data.dataset import ReadSplit, Split
from imagelab.data.mixing import NOTHING, Mixing
from imagelab.data.taught_images import TaughtImages

MOST_IN_MEMORY = 512 * 2**20  # bytes of features; what is larger is read batch by batch, which takes a fifth longer
CHEAP = ("none", "flip", "shift", "flip+shift")  # augmentations for which one thread is enough
LookUp = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def make_batches(split: Split | ReadSplit, num_classes: int, batch_size: int) -> tf.data.Dataset:
    """Batches in order: images uint8 (n, height, width, channels), one-hot labels float32 (n, num_classes).

    A split of features gives features (n, length) in the place of images, here and below; one with a teacher's answers
    gives them behind the labels, float32 (n, 2 * num_classes).
    """
    look_up = make_look_up(split, num_classes)
    indices = tf.data.Dataset.range(len(split)).batch(batch_size)
    return indices.map(lambda i: look_up(i, tf.zeros_like(i))).prefetch(2)


def make_training_batches(
    split: Split | ReadSplit,
    num_classes: int,
    batch_size: int,
    seed: int,
    epoch: tf.Variable,
    augmentation: str = "none",
    mixing: Mixing = NOTHING,
    sizes: Sequence[int] = (),
) -> tf.data.Dataset:
    """Batches of one epoch, shuffled and augmented as `epoch` (read when iteration begins) and `seed` say.

    Of features that were computed in several views, each image's view is drawn anew in each epoch.

    Args:
        epoch: int64 scalar; the caller sets it before each epoch.
        augmentation: none, or names of `augmentation.CHANGES` joined by +.
        mixing: what is mixed; images are float32 then.
        sizes: height and width of the images in each epoch; they are float32 then. Empty: they stay as they are.
    """
    look_up, num_views = make_look_up(split, num_classes), 1 if isinstance(split, Split) else len(split.views)
    steps = -(-len(split) // batch_size)

    def order(_: tf.Tensor) -> tf.data.Dataset:
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(len(split)), seed=[seed, epoch.read_value()])
        return tf.data.Dataset.range(steps).map(lambda s: (s, shuffled[s * batch_size : (s + 1) * batch_size]))

    def look_up_augmented(step: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chance = tf.stack([seed * 1_000_003 + epoch.read_value(), step])
        views = tf.random.stateless_uniform(tf.shape(indices), chance, 0, num_views, tf.int32)
        batch, targets = look_up(indices, views)
        batch = augment(batch, augmentation, chance)
        if mixing:
            batch, targets = mixing.mix(batch, targets, chance, epoch.read_value())
        return (resized(batch, tf.gather(sizes, epoch.read_value())) if sizes else batch), targets

    batches = tf.data.Dataset.range(1).flat_map(order).apply(tf.data.experimental.assert_cardinality(steps))
    at_once = 1 if augmentation in CHEAP and not (mixing or sizes) else tf.data.AUTOTUNE
    return batches.map(look_up_augmented, num_parallel_calls=at_once, deterministic=True).prefetch(4)


def resized(images: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Images float32 of this height and width; what is made smaller is averaged, not skipped."""
    return tf.image.resize(images, tf.stack([size, size]), antialias=True)


def make_look_up(split: Split | ReadSplit, num_classes: int) -> LookUp:
    """A function from indices, and a view for each, to a batch."""
    labels = tf.constant(split.labels)
    if isinstance(split, TaughtImages):
        return with_answers(split, labels, num_classes)
    if isinstance(split, Split):
        return in_memory(split.images, labels, num_classes)
    example = split.read(np.zeros(1, int), np.zeros(1, int))
    if len(split.views) == 1 and example.nbytes * len(split) <= MOST_IN_MEMORY:
        return in_memory(split.first_view, labels, num_classes)

    read = reader(split.read, example)
    return lambda indices, views: (read(indices, views), tf.one_hot(tf.gather(labels, indices), num_classes))


def with_answers(split: TaughtImages, labels: tf.Tensor, num_classes: int) -> LookUp:
    images, answers = (
        reader(read, read(np.zeros(1, int), np.zeros(1, int))) for read in (split.read, split.read_answers)
    )

    def look_up(indices: tf.Tensor, views: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        targets = tf.one_hot(tf.gather(labels, indices), num_classes), answers(indices, views)
        return images(indices, views), tf.concat(targets, axis=1)

    return look_up


def reader(read: Callable[..., np.ndarray], example: np.ndarray) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function of numpy's arrays as one of tensors; what it gives is like the example, but for the first length."""

    def call(indices: tf.Tensor, views: tf.Tensor) -> tf.Tensor:
        found = tf.numpy_function(read, [indices, views], example.dtype, stateful=False)
        return tf.ensure_shape(found, (None, *example.shape[1:]))

    return call


def in_memory(inputs: np.ndarray, labels: tf.Tensor, num_classes: int) -> LookUp:
    held = tf.constant(inputs)
    return lambda indices, views: (tf.gather(held, indices), tf.one_hot(tf.gather(labels, indices), num_classes))
