"""What each change of training images does to them."""

import numpy as np
import pytest
import tensorflow as tf

from imagelab.data import AUGMENTATIONS
from imagelab.data.augmentation import CHANGES, MAX_SHIFT, augment

NOISE = np.random.default_rng(0).integers(1, 256, (64, 28, 28, 3), np.uint8)


def changed(images: np.ndarray, augmentation: str, seed: int = 0) -> np.ndarray:
    pixels: np.ndarray = augment(tf.constant(images), augmentation, tf.constant([seed, 3], tf.int64)).numpy()
    assert pixels.shape == images.shape
    assert pixels.dtype == np.uint8
    return pixels


def test_the_table_has_what_the_setting_takes_in_its_order() -> None:
    assert tuple(CHANGES) == AUGMENTATIONS


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_images_change_by_the_seed_alone(name: str, channels: int) -> None:
    images = NOISE[..., :channels]
    first = changed(images, name)
    assert (changed(images, name) == first).all()
    assert (changed(images, name, seed=1) != first).any()
    assert changed(images[:3], name).shape == (3, 28, 28, channels)  # the last batch of an epoch is a small one


def test_several_are_applied_one_after_the_other() -> None:
    assert (changed(NOISE, "flip+shift") == changed(changed(NOISE, "flip"), "shift")).all()
    assert (changed(NOISE, "none") == NOISE).all()


def test_flip_mirrors_about_half_and_changes_nothing_else() -> None:
    flipped = changed(NOISE, "flip")
    mirrored = [(a[:, ::-1] == b).all() for a, b in zip(NOISE, flipped, strict=True)]
    same = [(a == b).all() for a, b in zip(NOISE, flipped, strict=True)]
    assert all(m or s for m, s in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48


def test_shift_moves_by_at_most_a_tenth_and_repeats_the_border() -> None:
    ramp = np.broadcast_to(np.arange(20, dtype=np.uint8)[None, None, :, None], (50, 20, 20, 1))
    images = changed(ramp, "shift")
    offsets = images[:, 10, 10, 0].astype(int) - 10
    assert set(offsets) == set(range(-round(20 * MAX_SHIFT), round(20 * MAX_SHIFT) + 1))
    expected = np.clip(np.arange(20) + offsets[:, None], 0, 19)
    assert (images[:, 5, :, 0] == expected).all()


def test_rotation_turns_by_up_to_15_degrees_to_either_side() -> None:
    """A bar from the middle upwards: where its end is says by how much it was turned."""
    bar = np.zeros((200, 101, 101, 1), np.uint8)
    bar[:, 8:12, 49:52] = 255
    rows, columns = np.indices((101, 101))
    weights = changed(bar, "rotation")[..., 0].astype(float)
    total = weights.sum((1, 2))
    right, up = ((weights * part).sum((1, 2)) / total for part in (columns - 50, 50 - rows))
    degrees = np.degrees(np.arctan2(right, up))
    assert 13 < degrees.max() < 15.5
    assert -15.5 < degrees.min() < -13
    np.testing.assert_allclose(np.hypot(right, up), 40.5, atol=1)


def test_zoom_makes_things_larger_or_smaller_by_up_to_a_tenth_and_keeps_their_shape() -> None:
    square = np.zeros((200, 100, 100, 1), np.uint8)
    square[:, 30:70, 30:70] = 255
    lit = changed(square, "zoom")[..., 0] > 127
    heights, widths = lit.any(2).sum(1), lit.any(1).sum(1)
    assert np.abs(heights - widths).max() <= 2
    assert 35 <= heights.min() < 38
    assert 42 < heights.max() <= 45


def test_erasing_takes_a_rectangle_out_of_half_of_the_images() -> None:
    noise = np.random.default_rng(1).integers(1, 256, (300, 28, 28, 3), np.uint8)
    pixels = changed(noise, "erasing")
    gone = (pixels == 0).all(-1)
    assert (pixels[~gone] == noise[~gone]).all()
    touched = gone.any((1, 2))
    assert 110 < touched.sum() < 190
    for mask in gone[touched]:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert 0.01 < mask.mean() < 0.25


def test_randaugment_changes_nearly_all_images_in_many_ways_and_keeps_their_order() -> None:
    """Images of one grey level each: their order is that of their brightness, however it was changed."""
    photos = NOISE.repeat(4, axis=0)
    pixels = changed(photos, "randaugment")
    assert (pixels != photos).any((1, 2, 3)).mean() > 0.8
    marked = np.zeros((64, 28, 28, 3), np.uint8)
    marked[32:] = 200
    means = np.stack([changed(marked, "randaugment", seed).mean((1, 2, 3)) for seed in range(8)])
    assert (means[:, :32] < means[:, 32:]).mean() > 0.9
