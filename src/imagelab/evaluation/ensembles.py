"""What the answers of several networks give together: weights of an average, and how alike their errors are."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from imagelab.evaluation.scores import Evaluation
from imagelab.evaluation.temperature import TINY

LEAST_WEIGHT = 1e-3  # of a network; one with less is left out


def average(probabilities: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """The weighted average of several networks' probabilities, float32 (n, classes)."""
    mean: np.ndarray = np.tensordot(np.asarray(weights), np.asarray(probabilities, np.float64), 1).astype(np.float32)
    return mean


def fit_weights(labels: np.ndarray, probabilities: Sequence[np.ndarray]) -> list[float]:
    """The weights with the least log loss of the average: not negative, their sum is 1. The loss has one minimum only.

    Args:
        labels: int64 (n,).
        probabilities: of each network (n, classes), of images that none has learned from.
    """
    from scipy.optimize import minimize

    of_truth = np.array([each[np.arange(len(labels)), labels] for each in probabilities], np.float64)

    def loss(weights: np.ndarray) -> float:
        return float(-np.log(np.maximum(weights @ of_truth, TINY)).mean())

    def slope(weights: np.ndarray) -> np.ndarray:
        steep: np.ndarray = -(of_truth / np.maximum(weights @ of_truth, TINY)).mean(axis=1)
        return steep

    equal = np.full(len(of_truth), 1 / len(of_truth))
    sums_to_one = {"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like}
    options = {"bounds": [(0, 1)] * len(equal), "constraints": sums_to_one, "options": {"ftol": 1e-9, "maxiter": 500}}
    found = minimize(loss, equal, jac=slope, method="SLSQP", **options).x
    found = np.where(found < LEAST_WEIGHT, 0, found)
    found /= found.sum()
    return (found if loss(found) < loss(equal) else equal).tolist()


def diversity(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """A row a pair of networks, by their numbers: the share of images on which they disagree, and on which both err."""
    rows = [
        {
            "first": one,
            "second": other,
            "disagree": float((evaluations[one].predicted != evaluations[other].predicted).mean()),
            "both_err": float((~evaluations[one].correct & ~evaluations[other].correct).mean()),
        }
        for one, other in combinations(range(len(evaluations)), 2)
    ]
    return pd.DataFrame(rows)
