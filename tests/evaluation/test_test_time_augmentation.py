import numpy as np

from imagelab.evaluation.test_time_augmentation import over_views, views


def test_the_views_are_the_image_its_mirror_image_and_both_moved() -> None:
    images = np.arange(2 * 20 * 20 * 1).reshape(2, 20, 20, 1)
    assert [view.tolist() for view in views(images, "none")] == [images.tolist()]
    flipped = list(views(images, "flip"))
    assert len(flipped) == 2 and (flipped[1] == images[:, :, ::-1]).all()
    shifted = list(views(images, "flip_shift"))
    assert len(shifted) == 10
    assert (shifted[1][:, 1:] == images[:, :-1]).all() and (shifted[1][:, 0] == images[:, 0]).all()  # down by a pixel
    assert (shifted[4][:, :, :-1] == images[:, :, 1:]).all()  # to the left
    assert len({view.tobytes() for view in shifted}) == 10


def test_the_answer_is_the_mean_over_the_views() -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 6, 6, 1))
    left_half = over_views(lambda given: given[:, :, :3, 0].mean(axis=(1, 2))[:, None], "flip")
    np.testing.assert_allclose(left_half(images)[:, 0], images.mean(axis=(1, 2, 3)))
