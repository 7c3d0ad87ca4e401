"""Explanations: they follow the weights, lie on the object, and agree with the formulas computed another way."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.stats import spearmanr

from imagelab.explanation.class_score import class_scores
from imagelab.explanation.explainer import GRAD_CAM, GRADIENT_TIMES_INPUT, explain
from imagelab.explanation.gallery import Answers, classes_to_show
from imagelab.explanation.grad_cam import GradCam
from imagelab.explanation.gradient_times_input import contributions
from imagelab.models import build_model

RNG = np.random.default_rng(0)
SIZE = 16  # pixels of an image with a bar in it
BAR = 6  # pixels of its length


def bars(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise with a bar, lying (0) or standing (1), somewhere; labels, and where the bar is, bool (n, SIZE, SIZE)."""
    images = RNG.integers(0, 60, (count, SIZE, SIZE, 1), dtype=np.uint8)
    labels, places = RNG.integers(0, 2, count), np.zeros((count, SIZE, SIZE), bool)
    for label, place, (row, column) in zip(labels, places, RNG.integers(0, SIZE - BAR, (count, 2)), strict=True):
        long, short = slice(0, BAR), slice(0, 2)
        place[row:, column:][(long, short) if label else (short, long)] = True
    images[places] = 230
    return images, labels, places


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((SIZE, SIZE, 1)), layers.Rescaling(1 / 255)])
    for filters in (8, 16):
        network.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
    network.add(layers.GlobalMaxPooling2D())
    network.add(layers.Dense(2, activation="softmax"))
    network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    images, labels, _ = bars(600)
    network.fit(images, labels, epochs=8, batch_size=50, verbose=0)
    assert network.evaluate(images, labels, verbose=0)[1] > 0.97
    return network


def shuffled(network: keras.Model) -> keras.Model:
    """The same network with the weights of each layer in another order."""
    other = keras.models.clone_model(network)
    other.set_weights([RNG.permutation(each.ravel()).reshape(each.shape) for each in network.get_weights()])
    return other


def test_the_maps_lie_on_the_object(trained: keras.Model) -> None:
    images, labels, places = bars(60)
    maps = {GRAD_CAM: explain(trained, images, labels).maps}
    maps[GRADIENT_TIMES_INPUT] = np.maximum(contributions(trained, images, labels), 0)
    for method, found in maps.items():
        near = places.copy()
        for shift in (-1, 1):
            near |= np.roll(places, shift, 1) | np.roll(places, shift, 2)
        share = (found * near).sum() / found.sum()
        assert share > 2.5 * near.mean(), method  # by chance it would be that mean


def test_maps_change_when_the_weights_are_shuffled(trained: keras.Model) -> None:
    """The sanity check of Adebayo et al. (2018, arXiv:1810.03292)."""
    images, labels, _ = bars(30)
    for maps in (lambda network: explain(network, images, labels).maps, lambda n: contributions(n, images, labels)):
        before = maps(trained)
        assert correlation(before, maps(trained)) == pytest.approx(1)
        assert np.mean([correlation(before, maps(shuffled(trained))) for _ in range(4)]) < 0.5


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Mean rank correlation of two maps of an image; 0 where one of them is empty."""
    each = [0 if np.ptp(a) * np.ptp(b) == 0 else spearmanr(a.ravel(), b.ravel()).statistic
            for a, b in zip(first, second, strict=True)]  # fmt: skip
    return float(np.mean(each))


def test_grad_cam_is_what_the_formulas_of_the_paper_give() -> None:
    """Forwards and backwards by hand, in numpy: convolution, ReLU, flat, dense, ReLU, dense."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(3, 3, activation="relu"), layers.Flatten()])
    network.add(layers.Dense(5, activation="relu"))
    network.add(layers.Dense(4, activation="softmax"))
    image = RNG.integers(0, 3, (6, 6, 1), dtype=np.uint8)
    kernel, bias, dense, dense_bias, last, _ = (each.astype(float) for each in network.get_weights())
    maps = np.array([[(image[i : i + 3, j : j + 3, 0, None] * kernel[:, :, 0]).sum((0, 1)) for j in range(4)]
                     for i in range(4)])  # fmt: skip
    maps = np.maximum(maps + bias, 0)
    hidden = maps.ravel() @ dense + dense_bias
    for label in range(4):
        of_hidden = (last[:, label] - last.mean(axis=1)) * (hidden > 0)  # logit less the mean logit
        slopes = (dense @ of_hidden).reshape(maps.shape)
        alpha = slopes.mean(axis=(0, 1))  # equation 1
        expected = np.maximum((alpha * maps).sum(axis=2), 0)  # equation 2
        heat = GradCam(network).heat(image[None], np.array([label]))
        assert heat is not None
        np.testing.assert_allclose(heat[0], expected / max(expected.max(), 1e-9), atol=1e-4)


def test_gradient_times_input_is_the_slope_by_finite_differences() -> None:
    keras.utils.set_random_seed(2)
    network = build_model("basic_ann", (8, 8, 1), 10)
    images, labels = RNG.integers(20, 200, (2, 8, 8, 1)).astype(np.float32), np.array([3, 7])
    found = contributions(network, images, labels)
    step = 1.0
    for row, column in ((0, 0), (3, 5), (7, 2)):
        up, down = images.copy(), images.copy()
        up[:, row, column], down[:, row, column] = up[:, row, column] + step, down[:, row, column] - step
        scores = [class_scores(network(each, training=False), labels).numpy() for each in (up, down)]
        slopes = (scores[0] - scores[1]) / (2 * step)
        np.testing.assert_allclose(found[:, row, column], slopes * images[:, row, column, 0], rtol=0.05, atol=2e-3)


def test_a_network_without_feature_maps_is_explained_by_its_pixels() -> None:
    found = explain(build_model("basic_ann", (8, 8, 1), 10), RNG.integers(0, 255, (2, 8, 8, 1), dtype=np.uint8))
    assert (found.method, found.maps.shape) == (GRADIENT_TIMES_INPUT, (2, 8, 8))
    assert found.maps.max() == 1


def test_the_surest_images_of_the_worst_classes_are_shown() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 1, 2, 2, 3]), np.array([0, 1, 1, 1, 1, 2, 0, 3])
    answers = Answers(np.arange(8) + 10, labels, predicted, np.array([0.9, 0.5, 0.8, 0.7, 0.6, 0.9, 0.9, 1.0]))
    assert classes_to_show(answers) == [0, 1, 2, 3]  # the most confused pair first
    assert answers.surest(0, 1).tolist() == [10, 12]
    assert answers.surest(1, 5).tolist() == [13, 14]
