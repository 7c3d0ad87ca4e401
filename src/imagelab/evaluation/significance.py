"""Whether the difference between two classifiers is more than luck."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

SIGNIFICANT = 0.05  # a p below it is said to be more than luck


@dataclass(frozen=True)
class PairedOutcomes:
    """How two classifiers did on the same images.

    Attributes:
        images: how many.
        only_first: images that the first alone got right; only_second: that the second alone did.
    """

    images: int
    only_first: int
    only_second: int

    @property
    def improvement(self) -> float:
        """The second's accuracy less the first's."""
        return (self.only_second - self.only_first) / self.images

    def p_value(self, alternative: Literal["two-sided", "second is worse"] = "two-sided") -> float:
        """Exact McNemar test: the probability of a difference as large as this one if neither is better.

        Source: McNemar, Q. (1947). Note on the sampling error of the difference between correlated proportions.
        """
        from scipy.stats import binomtest

        if not (differing := self.only_first + self.only_second):
            return 1.0
        side = "two-sided" if alternative == "two-sided" else "greater"
        return float(binomtest(self.only_first, differing, 0.5, alternative=side).pvalue)


def paired_outcomes(first_is_right: np.ndarray, second_is_right: np.ndarray) -> PairedOutcomes:
    """Count the images, bool (n,), on which they differ."""
    only_first = int((first_is_right & ~second_is_right).sum())
    only_second = int((second_is_right & ~first_is_right).sum())
    return PairedOutcomes(len(first_is_right), only_first, only_second)


@dataclass(frozen=True)
class SeedDifferences:
    """How much more accurate the second of two configurations was, seed by seed.

    Attributes:
        differences: its accuracy less the first's, one for each seed that both were trained with.
    """

    differences: tuple[float, ...]

    @property
    def improvement(self) -> float:
        """The mean difference."""
        return float(np.mean(self.differences))

    def p_value(self) -> float:
        """Two-sided paired t-test, with n - 1 degrees of freedom: it takes differences to be normally distributed.

        Where all are equal there is no spread to go by: the exact sign-flip test then, whose p is 2 / 2**n.

        Raises:
            ValueError: there are fewer than two seeds.

        Source: Student (1908). The probable error of a mean.
        """
        from scipy.stats import t

        if (n := len(self.differences)) < 2:
            raise ValueError(f"a test over seeds needs two of them at least, not {n}")
        spread = float(np.std(self.differences, ddof=1))
        if spread < 1e-12:
            return 1.0 if abs(self.improvement) < 1e-12 else 2.0 ** (1 - n)
        return float(2 * t.sf(abs(self.improvement) / (spread / n**0.5), n - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, in the order given: the chance of one false claim among all stays below.

    Source: Holm, S. (1979). A simple sequentially rejective multiple test procedure.
    """
    corrected = np.empty(len(p_values))
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected.tolist()


def shares_differ(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Fisher's exact test, two-sided: the p of two shares this far apart; each is (how many, of how many)."""
    from scipy.stats import fisher_exact

    table = [[hits, of - hits] for hits, of in (first, second)]
    return float(fisher_exact(table).pvalue)


def share_differs(hits: int, of: int, expected: float) -> float:
    """The exact binomial test, two-sided: the p of a share this far from the expected one."""
    from scipy.stats import binomtest

    return float(binomtest(hits, of, expected).pvalue) if of else 1.0
