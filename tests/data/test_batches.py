import numpy as np
import pytest
import tensorflow as tf

from imagelab.data import AUGMENTATIONS
from imagelab.data.batches import make_batches, make_training_batches
from imagelab.data.dataset import Split

NUMBERED = Split(np.random.default_rng(0).integers(0, 256, (50, 12, 10, 3), np.uint8), np.arange(50) % 5)


def collect(
    epoch: int, seed: int = 0, augmentation: str = "none", split: Split = NUMBERED
) -> tuple[np.ndarray, np.ndarray]:
    at = tf.Variable(epoch, dtype=tf.int64)
    batches = list(make_training_batches(split, 5, 16, seed, at, augmentation).as_numpy_iterator())
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 2]
    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    return images, labels


def test_batches_in_order() -> None:
    batches = list(make_batches(NUMBERED, 5, 20).as_numpy_iterator())
    assert (np.concatenate([images for images, _ in batches]) == NUMBERED.images).all()
    assert (np.concatenate([labels for _, labels in batches]).argmax(1) == NUMBERED.labels).all()
    assert batches[0][0].dtype == np.uint8


def test_an_epoch_holds_every_image_once_with_its_label() -> None:
    images, labels = collect(0)
    expected = {image.tobytes(): label for image, label in zip(NUMBERED.images, NUMBERED.labels, strict=True)}
    found = {image.tobytes(): label for image, label in zip(images, labels.argmax(1), strict=True)}
    assert found == expected


@pytest.mark.parametrize("augmentation", ["none", "+".join(AUGMENTATIONS), *AUGMENTATIONS])
def test_an_epoch_is_a_function_of_seed_and_epoch(augmentation: str) -> None:
    first = collect(3, 7, augmentation)[0]
    assert (collect(3, 7, augmentation)[0] == first).all()
    assert (collect(4, 7, augmentation)[0] != first).any()
    assert (collect(3, 8, augmentation)[0] != first).any()


def test_the_number_of_batches_is_known_to_keras() -> None:
    assert len(make_training_batches(NUMBERED, 5, 16, 0, tf.Variable(0, dtype=tf.int64))) == 4
