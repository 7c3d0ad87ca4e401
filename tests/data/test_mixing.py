"""Mixup and CutMix: what a mixed batch is made of."""

from collections.abc import Iterable

import numpy as np
import pytest
import tensorflow as tf

from imagelab.data.batches import make_training_batches
from imagelab.data.dataset import Split
from imagelab.data.mixing import Mixing

FLAT = Split(np.arange(40, dtype=np.uint8).repeat(8 * 8).reshape(40, 8, 8, 1) * 5, np.arange(40))  # one grey each


def batches(mixing: Mixing, epochs: Iterable[int], seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """The only batch of each of these epochs."""
    at = tf.Variable(0, dtype=tf.int64)
    made, found = make_training_batches(FLAT, 40, 40, seed, at, mixing=mixing), []
    for epoch in epochs:
        at.assign(epoch)
        found += made.as_numpy_iterator()
    return found


def batch(mixing: Mixing, epoch: int = 0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return batches(mixing, [epoch], seed)[0]


@pytest.mark.parametrize("mixing", [Mixing(mixup=1.0, until=9), Mixing(cutmix=1.0, until=9)], ids=["mixup", "cutmix"])
def test_a_label_has_the_shares_that_its_image_has(mixing: Mixing) -> None:
    images, targets = batch(mixing)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    assert ((targets > 0).sum(1) <= 2).all()
    assert ((targets > 0).sum(1) == 2).mean() > 0.5
    of_labels = (targets * np.arange(40) * 5).sum(1)
    tolerance = 1e-3 if mixing.mixup else 40  # a rectangle is cut along pixels
    np.testing.assert_allclose(images.mean((1, 2, 3)), of_labels, atol=tolerance)
    assert images.dtype == np.float32


def test_mixup_blends_and_cutmix_pastes() -> None:
    assert batch(Mixing(mixup=1.0, until=9))[0].std((1, 2, 3)).max() < 1e-3  # each image is still one grey
    images, _ = batch(Mixing(cutmix=1.0, until=9))
    greys = [np.unique(image) for image in images]
    assert all(len(found) <= 2 and set(found) <= set(np.arange(40) * 5) for found in greys)
    assert sum(len(found) == 2 for found in greys) > 20


def test_the_shares_are_spread_as_alpha_says() -> None:
    """Of a beta distribution with both parameters alpha the variance is 1 / (8 alpha + 4)."""
    epochs = range(15)
    orders = [labels.argmax(1) for _, labels in batches(Mixing(), epochs)]  # which image stands where
    for mixing in (Mixing(mixup=0.3, until=99), Mixing(cutmix=0.3, until=99), Mixing(cutmix=1.0, until=99)):
        targets = [each for _, each in batches(mixing, epochs)]
        shares = np.concatenate([each[np.arange(40), order] for each, order in zip(targets, orders, strict=True)])
        alpha = mixing.mixup or mixing.cutmix
        assert np.var(shares) == pytest.approx(1 / (8 * alpha + 4), rel=0.2)
        assert shares.mean() == pytest.approx(0.5, abs=0.05)


def test_with_both_each_batch_takes_one() -> None:
    images = [each for each, _ in batches(Mixing(0.5, 0.5, until=99), range(12))]
    pasted = [bool(each.std((1, 2, 3)).max() > 1) for each in images]
    assert 0 < sum(pasted) < 12


@pytest.mark.parametrize("mixing", [Mixing(1.0, 0, 2), Mixing(0, 1.0, 2), Mixing(1.0, 1.0, 2)])
def test_it_is_a_function_of_seed_and_epoch_and_ends(mixing: Mixing) -> None:
    (images, targets), (another, _), (last, last_targets) = batches(mixing, [1, 0, 2], 5)
    again = batch(mixing, 1, 5)
    assert (again[0] == images).all()
    assert (again[1] == targets).all()
    assert (another != images).any()
    assert (batch(mixing, 1, 6)[0] != images).any()
    plain, labels = batch(Mixing(), 2, 5)
    assert (last == plain).all()
    assert (last_targets == labels).all()
