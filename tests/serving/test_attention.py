"""Grad-CAM: where a network looks is where the heat is, for every kind of network that there is here."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from imagelab.models import build_model
from imagelab.serving.attention import SIDE, Attention, overlay
from imagelab.serving.following import Loaded

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
    heat = Attention(corner_network(row, column)).heat(image)
    assert heat is not None
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
    heat = Attention(network).heat(RNG.integers(0, 255, shape, dtype=np.uint8))
    assert heat is not None
    assert heat.ndim == 2
    assert 0 <= heat.min() <= heat.max() <= 1


def test_without_feature_maps_there_is_no_heat() -> None:
    assert Attention(build_model("basic_ann", (8, 8, 1), 10)).heat(np.zeros((8, 8, 1), np.uint8)) is None


def test_a_network_that_keeps_no_places_apart_gives_no_heat() -> None:
    network = build_model("mobilenet_v2", (32, 32, 3), 10, **BACKBONE)  # its last maps have one pixel
    assert Attention(network).heat(np.zeros((32, 32, 3), np.uint8)) is None


def test_the_two_parts_are_the_network() -> None:
    network = build_model("deeper_cnn", (32, 32, 3), 10)
    images = RNG.integers(0, 255, (3, 32, 32, 3)).astype(np.float32)
    attention = Attention(network)
    parts = attention.above(attention.below(images, training=False), training=False)
    assert np.allclose(parts, network(images, training=False), atol=1e-6)


def test_pictures(colour: Loaded, grey: Loaded) -> None:
    assert overlay(np.zeros((8, 8, 1), np.uint8), np.zeros((1, 1))).max() == 0
    hot = overlay(np.zeros((8, 8, 3), np.uint8), np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert hot.shape == (SIDE, SIDE, 3)
    assert hot[0, 0, 0] > 150
    assert hot[-1, -1, 0] < 10
    for loaded in (colour, grey):
        image = np.full(loaded.served.image_shape, 200, np.uint8)
        explained = loaded.explain(image)
        assert explained["looked_at"] != explained["picture"]
        assert explained["looked_at"].startswith("data:image/png;base64,")
