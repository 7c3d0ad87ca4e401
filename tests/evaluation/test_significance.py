"""Tests of significance on hand-computed figures, and beside independent computations."""

import numpy as np
import pytest

from imagelab.evaluation.significance import (
    PairedOutcomes,
    SeedDifferences,
    holm,
    paired_outcomes,
    share_differs,
    shares_differ,
)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
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
def test_mcnemar_is_exact(only_first: int, only_second: int, p: float) -> None:
    assert PairedOutcomes(100, only_first, only_second).p_value("second is worse") == pytest.approx(p)


def test_pairs_are_counted_image_by_image() -> None:
    first = np.array([True, True, True, False, False])
    second = np.array([True, False, False, True, False])
    pairs = paired_outcomes(first, second)
    assert pairs == PairedOutcomes(images=5, only_first=2, only_second=1)
    assert pairs.improvement == pytest.approx(-0.2)


@pytest.mark.parametrize(("only_first", "only_second", "p"), [(0, 0, 1.0), (5, 0, 1 / 16), (0, 5, 1 / 16), (2, 2, 1.0)])
def test_two_sided_it_does_not_ask_which_is_better(only_first: int, only_second: int, p: float) -> None:
    assert PairedOutcomes(100, only_first, only_second).p_value() == pytest.approx(p)


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 x 0.01; 2 x 0.03; then 0.04, but never below the one before
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_by_hand(p_values: list[float], corrected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(corrected)


def test_holm_rejects_what_its_definition_rejects() -> None:
    """The definition: go through the sorted p-values, and stop at the first above alpha / (tests left)."""
    draw = np.random.default_rng(0)
    for _ in range(200):
        p_values = draw.random(draw.integers(1, 8)) ** 3
        rejected, order = set(), np.argsort(p_values)
        for rank, index in enumerate(order):
            if p_values[index] > 0.05 / (len(p_values) - rank):
                break
            rejected.add(index)
        assert {i for i, p in enumerate(holm(p_values)) if p <= 0.05} == rejected


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ((0.01, 0.03), 0.2951672353),  # t = 2, one degree of freedom: 1 - 2 atan(2) / pi
        ((0.01, 0.01), 0.5),  # no spread: signs alone, 2 / 2**2
        ((0.0, 0.0, 0.0), 1.0),
        ((-0.02, -0.02, -0.02, -0.02), 0.125),
    ],
)
def test_over_seeds_by_hand(differences: tuple[float, ...], p: float) -> None:
    assert SeedDifferences(differences).p_value() == pytest.approx(p)


def test_over_seeds_and_mcnemar_agree_with_scipy() -> None:
    from scipy.stats import binom, ttest_rel

    draw = np.random.default_rng(1)
    for n in range(2, 9):
        first, second = draw.random(n), draw.random(n)
        ours = SeedDifferences(tuple(second - first)).p_value()
        assert ours == pytest.approx(ttest_rel(second, first).pvalue)
    for only_first, only_second in draw.integers(0, 40, (30, 2)):
        n, fewer = only_first + only_second, min(only_first, only_second)
        expected = min(1.0, 2 * binom.cdf(fewer, n, 0.5)) if n else 1.0
        assert PairedOutcomes(100, only_first, only_second).p_value() == pytest.approx(expected)


def test_one_seed_is_no_test() -> None:
    with pytest.raises(ValueError, match="two of them at least, not 1"):
        SeedDifferences((0.1,)).p_value()


def test_shares() -> None:
    assert shares_differ((3, 3), (0, 3)) == pytest.approx(2 / 20)  # two of the 6 choose 3 tables are as extreme
    assert share_differs(3, 3, 0.5) == pytest.approx(1 / 4)
    assert share_differs(0, 0, 0.5) == 1.0
