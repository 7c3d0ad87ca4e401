"""Grad-CAM: where a network looks is where the heat is, for every kind of network that there is here."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from imagelab.explanation.grad_cam import GradCam
from imagelab.explanation.pictures import SIDE, overlay
from imagelab.models import build_model

BACKBONE = {"image_size": 32, "weights": "none", "head": "linear", "pooled_stages": 1}
RNG = np.random.default_rng(0)


def corner_network(row: int, column: int) -> keras.Model:
    """Two classes; the first one is the likelier the brighter the quarter of the picture at (row, column)."""
    weights = np.zeros((4, 4, 1, 2))
    weights[2 * row : 2 * row + 2, 2 * column : 2 * column + 2, 0, 0] = 0.05
    mean = keras.initializers.Constant(1 / 4)
    network = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(1, 2, strides=2, kernel_initializer=mean)])
    network.add(layers.Flatten())
    network.add(layers.Dense(2, activation="softmax"))
    network.layers[-1].set_weights([weights.reshape(16, 2), np.array([-1.0, 0.0])])
    return network


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("column", [0, 1])
def test_the_heat_is_where_the_network_looks(row: int, column: int) -> None:
    image = np.zeros((8, 8, 1), np.uint8)
    image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 255
    maps = GradCam(corner_network(row, column)).heat(image[None])
    assert maps is not None
    [heat] = maps
    assert heat.shape == (4, 4)
    inside = heat[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
    assert inside.min() == pytest.approx(1)
    assert heat.sum() == pytest.approx(inside.sum())


@pytest.mark.parametrize(
    ("name", "shape", "settings"),
    [
        ("basic_cnn", (28, 28, 1), {}),
        ("deeper_cnn", (32, 32, 3), {}),
        ("vit", (32, 32, 3), BACKBONE),
        ("resnet50", (32, 32, 3), {**BACKBONE, "pooled_stages": 2, "head": "wide"}),
        ("mobilenet_v2", (32, 32, 3), {**BACKBONE, "pooled_stages": 2}),
        ("mobilenet_v2", (28, 28, 1), {**BACKBONE, "image_size": 64}),
    ],
)
def test_every_network_with_feature_maps_can_be_explained(
    name: str, shape: tuple[int, ...], settings: dict[str, Any]
) -> None:
    network = build_model(name, shape, 100, **settings)
    grad_cam, images = GradCam(network), RNG.integers(0, 255, (3, *shape), dtype=np.uint8)
    heat = grad_cam.heat(images)
    assert heat is not None
    assert heat.shape[0] == 3
    assert heat.ndim == 3
    assert 0 <= heat.min() <= heat.max() <= 1
    first = grad_cam.heat(images[:1])
    assert first is not None
    np.testing.assert_allclose(heat[:1], first, atol=1e-3)  # each image is explained by itself


def test_a_class_may_be_named() -> None:
    """The second class of this network is the likelier the darker the corner."""
    image = np.full((2, 8, 8, 1), 255, np.uint8)
    grad_cam = GradCam(corner_network(0, 1))
    heat = grad_cam.heat(image, np.array([0, 1]))
    likeliest = grad_cam.heat(image)
    assert heat is not None
    assert likeliest is not None
    np.testing.assert_array_equal(heat[0], likeliest[0])
    assert heat[0, 0, 3] == pytest.approx(1)
    assert heat[1].max() == 0


def test_what_a_map_does_through_deeper_maps_counts() -> None:
    """As in a backbone of which two stages are pooled and the deeper one has maps of one pixel."""
    keras.utils.set_random_seed(3)
    pixels = keras.Input((4, 4, 1))
    first = layers.Conv2D(3, 2, strides=2, activation="relu")(layers.Rescaling(1 / 255)(pixels))
    second = layers.Conv2D(8, 2, activation="tanh")(first)
    pooled = [layers.GlobalAveragePooling2D()(maps) for maps in (first, second)]
    network = keras.Model(pixels, layers.Dense(4, activation="softmax")(layers.Concatenate()(pooled)))
    images = np.random.default_rng(0).integers(0, 255, (10, 4, 4, 1), dtype=np.uint8)
    label, step = 2, 0.01
    maps = keras.Model(pixels, first)(images.astype(np.float32)).numpy()
    rest = keras.Model(first, network.output)  # all that comes after the first maps, with both ways to the end

    def score(changed: np.ndarray) -> np.ndarray:
        logits = np.log(rest(changed).numpy())
        return np.asarray(logits[:, label] - logits.mean(axis=1))

    slopes = np.zeros_like(maps)
    for place in np.ndindex(maps.shape[1:]):
        up, down = maps.copy(), maps.copy()
        up[:, *place] += step
        down[:, *place] -= step
        slopes[:, *place] = (score(up) - score(down)) / (2 * step)
    importance = slopes.mean(axis=(1, 2), keepdims=True)
    expected = np.maximum((importance * maps).sum(axis=3), 0)
    largest = expected.max(axis=(1, 2), keepdims=True)
    assert (largest > 1e-3).mean() > 0.5
    heat = GradCam(network).heat(images, np.full(len(images), label))
    np.testing.assert_allclose(heat, expected / np.maximum(largest, 1e-9), atol=0.02)


def test_without_feature_maps_there_is_no_heat() -> None:
    assert GradCam(build_model("basic_ann", (8, 8, 1), 10)).heat(np.zeros((1, 8, 8, 1), np.uint8)) is None


def test_a_network_that_keeps_no_places_apart_gives_no_heat() -> None:
    network = build_model("mobilenet_v2", (32, 32, 3), 10, **BACKBONE)  # its last maps have one pixel
    assert GradCam(network).heat(np.zeros((1, 32, 32, 3), np.uint8)) is None


def test_the_two_parts_are_the_network() -> None:
    network = build_model("deeper_cnn", (32, 32, 3), 10)
    images = RNG.integers(0, 255, (3, 32, 32, 3)).astype(np.float32)
    grad_cam = GradCam(network)
    parts = grad_cam.above(grad_cam.below(images, training=False), training=False)
    assert np.allclose(parts, network(images, training=False), atol=1e-6)


def test_pictures() -> None:
    assert overlay(np.zeros((8, 8, 1), np.uint8), np.zeros((1, 1))).max() == 0
    hot = overlay(np.zeros((8, 8, 3), np.uint8), np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert hot.shape == (SIDE, SIDE, 3)
    assert hot[0, 0, 0] > 150
    assert hot[-1, -1, 0] < 10
