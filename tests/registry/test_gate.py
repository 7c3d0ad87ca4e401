"""The gate on hand-computed figures."""

import numpy as np
import pytest

from imagelab.registry.gate import Bounds, Pairs, Scores, objections, pair

SCORES = Scores(accuracy=0.8, latency_ms=5.0, size_mb=10.0)


@pytest.mark.parametrize(
    ("only_champion", "only_challenger", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1 / 2),
        (3, 1, 5 / 16),  # (4 + 1) / 2**4: three or four of four
        (5, 0, 1 / 32),
        (0, 5, 1.0),
        (2, 2, 11 / 16),  # (6 + 4 + 1) / 2**4
        (6, 1, 8 / 128),  # (7 + 1) / 2**7
    ],
)
def test_mcnemar_is_exact_and_one_sided(only_champion: int, only_challenger: int, p: float) -> None:
    assert Pairs(100, only_champion, only_challenger).worse_by_chance == pytest.approx(p)


def test_pairs_are_counted_image_by_image() -> None:
    champion = np.array([True, True, True, False, False])
    challenger = np.array([True, False, False, True, False])
    pairs = pair(champion, challenger)
    assert pairs == Pairs(images=5, only_champion=2, only_challenger=1)
    assert pairs.improvement == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("bounds", "pairs", "says"),
    [
        (Bounds(), Pairs(100, 3, 3), []),  # equal is not worse
        (Bounds(), Pairs(100, 3, 4), []),
        (Bounds(), Pairs(100, 4, 3), ["min_improvement=0"]),
        (Bounds(min_improvement=0.01), Pairs(100, 3, 4), []),  # exactly what was asked for
        (Bounds(min_improvement=0.02), Pairs(100, 3, 4), ["min_improvement=0.02"]),
        (Bounds(min_improvement=-0.1), Pairs(100, 4, 3), []),  # a little worse, and perhaps by chance
        (Bounds(min_improvement=-0.1), Pairs(100, 6, 0), ["significantly worse"]),  # p = 1/64
        (Bounds(min_improvement=-0.1, significance=0.01), Pairs(100, 6, 0), []),
        (Bounds(min_improvement=0), Pairs(100, 9, 0), ["min_improvement", "significantly worse"]),
        (Bounds(min_improvement=-1, significance=0.9), Pairs(100, 3, 3), []),  # p = 0.66, but not worse
    ],
)
def test_a_challenger_beside_a_champion(bounds: Bounds, pairs: Pairs, says: list[str]) -> None:
    found = objections(bounds, SCORES, pairs)
    assert len(found) == len(says)
    assert all(words in reason for words, reason in zip(says, found, strict=True))


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        (Bounds(min_accuracy=0.8, max_latency_ms=5, max_size_mb=10), []),  # a bound that is just met
        (Bounds(min_accuracy=0.81), ["accuracy 80.00% is below min_accuracy=0.81"]),
        (Bounds(max_latency_ms=4.9), ["5 ms an image are more than max_latency_ms=4.9"]),
        (Bounds(max_size_mb=9), ["10 MB are more than max_size_mb=9"]),
        (Bounds(min_accuracy=0.9, max_size_mb=9), ["min_accuracy", "max_size_mb"]),
        (Bounds(min_improvement=0.5), []),  # there is nothing to improve on
    ],
)
def test_a_challenger_alone(bounds: Bounds, says: list[str]) -> None:
    found = objections(bounds, SCORES, None)
    assert len(found) == len(says)
    assert all(words in reason for words, reason in zip(says, found, strict=True))
