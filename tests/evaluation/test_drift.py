"""Drift: what is off is found, with how far; what differs by luck, or only a little, is not."""

import numpy as np
import pandas as pd
import pytest

from imagelab.evaluation.drift import class_shares, mean_drift, pixel_figures, share_drift, size_drift, warnings_of

CHANCE = np.random.default_rng(0)


def test_figures_of_pixels_are_those_of_each_image_and_channel() -> None:
    images = CHANCE.integers(0, 255, (1001, 2, 3, 3), np.uint8)
    figures = pixel_figures(images)
    assert list(figures)[:3] == ["red pixel mean", "red pixel standard deviation", "green pixel mean"]
    np.testing.assert_allclose(figures["green pixel mean"], images[..., 1].mean(axis=(1, 2)))
    np.testing.assert_allclose(figures["blue pixel standard deviation"], images[..., 2].std(axis=(1, 2)))
    assert list(pixel_figures(images[..., :1])) == ["pixel mean", "pixel standard deviation"]


@pytest.mark.parametrize(
    ("moved", "images", "off"), [(0.0, 500, False), (0.3, 5000, False), (0.9, 500, True), (-0.9, 500, True)]
)
def test_a_mean_is_off_if_it_is_half_a_standard_deviation_away(moved: float, images: int, off: bool) -> None:
    row = mean_drift("x", CHANCE.normal(10, 2, 5000), CHANCE.normal(10 + 2 * moved, 2, images))
    assert row["off"] == off
    assert row["in_standard_deviations"] == pytest.approx(moved, abs=0.15)


def test_few_images_may_be_far_away_by_luck() -> None:
    assert not mean_drift("x", CHANCE.normal(0, 1, 5000), np.array([0.7]))["off"]
    assert not mean_drift("x", CHANCE.normal(0, 1, 5000), np.array([0.9, -0.2, 1.5]))["off"]


def test_shares_are_off_where_many_images_are_in_other_classes() -> None:
    assert not share_drift("classes", np.array([500, 500, 0]), np.array([55, 45, 0]))["off"]
    row = share_drift("classes", np.array([500, 500, 0]), np.array([20, 50, 30]))
    assert (row["off"], row["given"]) == (True, pytest.approx(0.3))
    assert not share_drift("classes", np.array([9, 0]), np.array([3, 0]))["off"]
    assert class_shares(np.array([1, 3]), np.array([2, 2]), ["a", "b"])["difference"].tolist() == [0.25, -0.25]


def test_warnings_say_which_figure_is_off_and_by_how_much() -> None:
    rows = [
        mean_drift("pixel mean", np.array([70.0, 90.0] * 500), np.full(100, 120.0)),
        mean_drift("width", np.full(100, 28.0), np.full(50, 64.0)),
        mean_drift("height", np.full(100, 28.0), np.full(50, 28.0)),
        share_drift("classes", np.array([50, 50]), np.array([90, 10])),
    ]
    first, second, third = warnings_of(pd.DataFrame(rows))
    assert first == "pixel mean: 120 instead of 80 (+4.0 standard deviations)"
    assert second == "width: 64 instead of 28 (which is that of all training images)"
    assert third.startswith("classes: 40.0% of the images are in other classes")


def test_another_size_counts_where_a_tenth_of_many_images_have_it() -> None:
    sizes = np.full((200, 2), 28.0)
    sizes[:5, 0] = 40
    few = size_drift(28, 28, 1000, sizes)
    sizes[:60, 1] = 32
    many = size_drift(28, 28, 1000, sizes)
    assert few["given"] == pytest.approx(0.025) and not few["off"]
    assert warnings_of(pd.DataFrame([few, many])) == ["another size than 28 x 28 pixels: 30.0% of the images"]
