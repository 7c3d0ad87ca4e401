"""Averages of several networks' answers: the weights with the least log loss, and how alike their errors are."""

import numpy as np
import pytest

from imagelab.evaluation.ensembles import average, diversity, fit_weights
from imagelab.evaluation.scores import Evaluation

LABELS = np.arange(300) % 3


def answers(sureness: float, seed: int) -> np.ndarray:
    """Probabilities of three classes: noise, and as much of the truth as `sureness` says."""
    logits = np.random.default_rng(seed).normal(size=(len(LABELS), 3)) + sureness * np.eye(3)[LABELS]
    return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


def test_fitted_weights_sum_to_one_and_no_others_on_a_grid_have_less_log_loss() -> None:
    given = [answers(2, 0), answers(1, 1), answers(0.5, 2)]
    weights = fit_weights(LABELS, given)
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    least = log_loss(LABELS, average(given, weights))
    assert least < log_loss(LABELS, average(given, [1 / 3] * 3))
    for first in np.linspace(0, 1, 21):
        for second in np.linspace(0, 1 - first, 21):
            others = [first, second, 1 - first - second]
            assert least < log_loss(LABELS, average(given, others)) + 1e-5


def test_a_network_that_only_harms_gets_no_weight() -> None:
    good = answers(4, 0)
    weights = fit_weights(LABELS, [good, np.roll(good, 1, axis=1)])
    assert weights == [1, 0]


def test_sure_errors_of_every_network_do_not_make_the_loss_infinite() -> None:
    wrong = np.eye(3, dtype=np.float32)[(LABELS + 1) % 3]
    assert fit_weights(LABELS, [wrong, wrong]) == [0.5, 0.5]


def test_diversity_counts_disagreement_and_common_errors() -> None:
    said = np.eye(3, dtype=np.float32)
    labels = np.array([0, 0, 1, 1])
    names = ("a", "b", "c")
    one, other, third = (Evaluation(labels, said[list(each)], names) for each in ((0, 1, 1, 2), (0, 2, 1, 2), labels))
    table = diversity([one, other, third]).set_index(["first", "second"])
    assert table.loc[(0, 1)].to_dict() == {"disagree": 0.25, "both_err": 0.5}
    assert table.loc[(0, 2)].to_dict() == {"disagree": 0.5, "both_err": 0}
    assert len(table) == 3
