"""The gate on hand-computed figures."""

import pytest

from imagelab.evaluation.significance import PairedOutcomes
from imagelab.registry.gate import Bounds, Scores, objections

USUAL = {"min_improvement": 0.0, "significance": 0.05}
SCORES = Scores(accuracy=0.8, latency_ms=5.0, size_mb=10.0)


def bounds(**asked: float) -> Bounds:
    return Bounds(**{**USUAL, **asked})


@pytest.mark.parametrize(
    ("bounds", "pairs", "says"),
    [
        (bounds(), PairedOutcomes(100, 3, 3), []),  # equal is not worse
        (bounds(), PairedOutcomes(100, 3, 4), []),
        (bounds(), PairedOutcomes(100, 4, 3), ["min_improvement=0"]),
        (bounds(min_improvement=0.01), PairedOutcomes(100, 3, 4), []),  # exactly what was asked for
        (bounds(min_improvement=0.02), PairedOutcomes(100, 3, 4), ["min_improvement=0.02"]),
        (bounds(min_improvement=-0.1), PairedOutcomes(100, 4, 3), []),  # a little worse, and perhaps by chance
        (bounds(min_improvement=-0.1), PairedOutcomes(100, 6, 0), ["significantly worse"]),  # p = 1/64
        (bounds(min_improvement=-0.1, significance=0.01), PairedOutcomes(100, 6, 0), []),
        (bounds(min_improvement=0), PairedOutcomes(100, 9, 0), ["min_improvement", "significantly worse"]),
        (bounds(min_improvement=-1, significance=0.9), PairedOutcomes(100, 3, 3), []),  # p = 0.66, but not worse
    ],
)
def test_a_challenger_beside_a_champion(bounds: Bounds, pairs: PairedOutcomes, says: list[str]) -> None:
    found = objections(bounds, SCORES, pairs)
    assert len(found) == len(says)
    assert all(words in reason for words, reason in zip(says, found, strict=True))


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        (bounds(min_accuracy=0.8, max_latency_ms=5, max_size_mb=10), []),  # a bound that is just met
        (bounds(min_accuracy=0.81), ["accuracy 80.00% is below min_accuracy=0.81"]),
        (bounds(max_latency_ms=4.9), ["5 ms an image are more than max_latency_ms=4.9"]),
        (bounds(max_size_mb=9), ["10 MB are more than max_size_mb=9"]),
        (bounds(min_accuracy=0.9, max_size_mb=9), ["min_accuracy", "max_size_mb"]),
        (bounds(min_improvement=0.5), []),  # there is nothing to improve on
    ],
)
def test_a_challenger_alone(bounds: Bounds, says: list[str]) -> None:
    found = objections(bounds, SCORES, None)
    assert len(found) == len(says)
    assert all(words in reason for words, reason in zip(says, found, strict=True))
