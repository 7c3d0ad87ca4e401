"""Temperature scaling against scikit-learn's log loss, a grid of temperatures, and SciPy's softmax of the logits."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from imagelab.evaluation.temperature import fit_temperature, log_loss_at, soften


def too_sure(temperature: float, images: int = 1500, classes: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels drawn by calibrated probabilities; logits that are larger by a factor; what a network would say."""
    chance = np.random.default_rng(0)
    true_logits = chance.normal(0, 2, (images, classes))
    labels = np.array([chance.choice(classes, p=row) for row in softmax(true_logits, axis=1)])
    logits = true_logits * temperature
    return labels, logits, softmax(logits, axis=1).astype(np.float32)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_is_that_of_the_least_log_loss_on_a_grid_and_near_the_true_one(temperature: float) -> None:
    labels, logits, probabilities = too_sure(temperature)
    fitted = fit_temperature(labels, probabilities)
    grid = np.exp(np.linspace(np.log(0.2), np.log(5), 161))
    losses = [log_loss(labels, softmax(logits / each, axis=1), labels=range(7)) for each in grid]
    assert fitted == pytest.approx(grid[int(np.argmin(losses))], rel=0.011)
    assert fitted == pytest.approx(temperature, rel=0.1)
    least = log_loss(labels, softmax(logits / fitted, axis=1), labels=range(7))
    assert log_loss_at(fitted, labels, probabilities) == pytest.approx(least, abs=1e-5)
    assert least <= min(losses) + 1e-7


def test_softened_probabilities_are_the_softmax_of_the_softened_logits_in_the_same_order() -> None:
    _, logits, probabilities = too_sure(2.5)
    softened = soften(probabilities, 3.0)
    np.testing.assert_allclose(softened, softmax(logits / 3, axis=1), atol=1e-6)
    assert (softened.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_probabilities_of_zero_and_one_are_no_trouble() -> None:
    sure = np.array([[1, 0], [0, 1]], np.float32)
    assert np.isfinite(soften(sure, 2.0)).all()
    assert 0.04 < fit_temperature(np.array([0, 1]), sure) <= 20  # the surer the better: the end of the range
    wrong = fit_temperature(np.array([1, 0]), sure)
    assert wrong == pytest.approx(20, rel=0.01)
