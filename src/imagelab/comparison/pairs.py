"""Is it luck? Every pair of configurations on the same images, tested two ways, corrected for the number of pairs.

McNemar's test looks at one network of each, and says whether these two differ; it knows nothing of other seeds. The
paired test over seeds says whether the settings differ; it needs two seeds at least that both were trained with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import pandas as pd

from imagelab.comparison.training import Configuration, Training
from imagelab.evaluation.significance import SIGNIFICANT, PairedOutcomes, SeedDifferences, holm, paired_outcomes

if TYPE_CHECKING:
    from imagelab.comparison.results import Results


@dataclass(frozen=True)
class Test:
    """A p-value, and what it is after Holm's correction for the number of tests of its kind."""

    __test__ = False  # pytest, this is no test of yours

    p: float
    corrected: float = 1.0
    tests: int = 1

    @property
    def is_significant(self) -> bool:
        return self.corrected < SIGNIFICANT

    def __str__(self) -> str:
        after = f" after correction for {self.tests} pairs" if self.tests > 1 else ""
        return f"p {p_text(self.corrected)}{after}"


@dataclass(frozen=True)
class Pair:
    """Two configurations on one data set.

    Attributes:
        first, second: the one with the higher mean test accuracy comes first.
        networks: the training of each whose answers McNemar's test compares: of the lowest common seed, else of the
            lowest of each; empty where answers are missing.
        outcomes: how the second's network and the first's did (the first is what PairedOutcomes calls the second).
        seeds: how much more accurate the first was, over the seeds that both have; None with fewer than two.
    """

    first: Configuration
    second: Configuration
    networks: tuple[Training, ...] = ()
    outcomes: PairedOutcomes | None = None
    mcnemar: Test | None = None
    seeds: SeedDifferences | None = None
    over_seeds: Test | None = None

    @property
    def points(self) -> float:
        """Percentage points of mean test accuracy that the first has more."""
        return 100 * (self.first.mean_of("test_accuracy") - self.second.mean_of("test_accuracy"))

    @property
    def has_equal_settings(self) -> bool:
        return self.first.settings == self.second.settings

    @property
    def verdict(self) -> str:
        """Whether it is more than luck: over seeds, where both have some, else only of the two networks."""
        if self.over_seeds:
            return "yes, over seeds" if self.over_seeds.is_significant else "not shown"
        if self.mcnemar is None:
            return "not tested"
        if not self.mcnemar.is_significant:
            return "not shown"
        return "no: the seed's doing" if self.has_equal_settings else "of these two networks only"

    def __str__(self) -> str:
        """What the tests bear, in words."""
        if self.seeds and self.over_seeds:
            return self.seeds_text(self.seeds, self.over_seeds)
        return self.networks_text()

    def seeds_text(self, seeds: SeedDifferences, test: Test) -> str:
        points, n = points_text(seeds.improvement), len(seeds.differences)
        if abs(seeds.improvement) < 1e-12:
            return f"{self.first.label} and {self.second.label} are right equally often over {n} seeds"
        better, worse = (self.first, self.second) if seeds.improvement >= 0 else (self.second, self.first)
        if test.is_significant:
            return f"{better.label} is better than {worse.label} by {points} over {n} seeds, {test} (paired t-test)"
        luck = f"{better.label} is ahead of {worse.label} by {points} over {n} seeds, which can be luck: {test}"
        one = ""
        if self.mcnemar and self.mcnemar.is_significant:
            one = (
                f"; their networks of seed {self.networks[0].seed} differ ({self.mcnemar}, McNemar), which may be the "
            )
            one += "seed's doing: more seeds would tell"
        return f"{luck} (paired t-test){one}"

    def networks_text(self) -> str:
        if not (self.outcomes and self.mcnemar):
            return f"{self.first.label} and {self.second.label}: not tested, for lack of answers to the same images"
        ahead = self.outcomes.improvement
        points, images = points_text(ahead), f"the same {self.outcomes.images:,} images"
        names = [self.network_name(place) for place in (0, 1)]
        better, worse = names if ahead >= 0 else names[::-1]
        if ahead == 0:
            return f"the networks of {better} and {worse} are right on equally many of {images}"
        if not self.mcnemar.is_significant:
            can_be = f"ahead of that of {worse} by {points} on {images}, which can be luck: {self.mcnemar}"
            return f"the network of {better} is {can_be} (McNemar)"
        one = "of one seed each: about these two networks only"
        if self.has_equal_settings:
            one = "their settings are equal, so it is the luck of the seed"
        is_better = f"is better than that of {worse} by {points} on {images}, {self.mcnemar}"
        return f"the network of {better} {is_better} (McNemar); {one}"

    def network_name(self, place: int) -> str:
        """The configuration and the seed of one of the two networks."""
        one = (self.first, self.second)[place]
        is_told = self.has_equal_settings or not one.seeds  # an ensemble has none
        return one.label if is_told else f"{one.label} (seed {self.networks[place].seed})"


def points_text(difference: float) -> str:
    """A difference of two accuracies in percentage points, to a tenth; a smaller one to a hundredth."""
    points = abs(100 * difference)
    return f"{points:.1f} points" if points >= 0.1 or points == 0 else f"{points:.2f} points"


def p_text(p: float) -> str:
    """A p-value to two digits; near the limit of significance to three, so that one sees on which side it is."""
    digits = 3 if abs(p - SIGNIFICANT) < 0.005 else 2
    return "< 0.0001" if p < 0.0001 else f"= {p:.{digits}g}"


def compare_pairs(configurations: Sequence[Configuration], results: "Results") -> list[Pair]:
    """Every pair of those on the same data set, tested; each kind of test is corrected for its own number."""
    pairs = [
        paired(one, other, results) if is_ahead(one, other) else paired(other, one, results)
        for one, other in combinations(configurations, 2)
        if one.dataset == other.dataset
    ]
    return corrected(pairs)


def is_ahead(one: Configuration, other: Configuration) -> bool:
    return one.mean_of("test_accuracy") >= other.mean_of("test_accuracy")


def paired(first: Configuration, second: Configuration, results: "Results") -> Pair:
    pair = Pair(first, second)
    by_seed = [{training.seed: training for training in results.of(each)} for each in (first, second)]
    if all(by_seed):
        common = sorted(by_seed[0].keys() & by_seed[1].keys())
        networks = tuple(found[common[0] if common else min(found)] for found in by_seed)
        right = [results.predictions[training.run_id]["correct"].to_numpy() for training in networks]
        outcomes = paired_outcomes(right[1], right[0])
        pair = replace(pair, networks=networks, outcomes=outcomes, mcnemar=Test(outcomes.p_value()))
    accuracies = [{each.seed: each.metrics["test_accuracy"] for each in one.trainings} for one in (first, second)]
    both = sorted(accuracies[0].keys() & accuracies[1].keys())
    if len(both) < 2:
        return pair
    seeds = SeedDifferences(tuple(accuracies[0][seed] - accuracies[1][seed] for seed in both))
    return replace(pair, seeds=seeds, over_seeds=Test(seeds.p_value()))


def corrected(pairs: list[Pair]) -> list[Pair]:
    """With Holm's correction of both kinds of tests."""
    mcnemar = correct([pair.mcnemar for pair in pairs])
    over_seeds = correct([pair.over_seeds for pair in pairs])
    return [
        replace(pair, mcnemar=network, over_seeds=seeds)
        for pair, network, seeds in zip(pairs, mcnemar, over_seeds, strict=True)
    ]


def correct(tests: Sequence[Test | None]) -> list[Test | None]:
    done = [test for test in tests if test]
    values = iter(holm([test.p for test in done]))
    return [test and Test(test.p, next(values), len(done)) for test in tests]


def find_pair(pairs: Sequence[Pair], one: Configuration, other: Configuration) -> Pair | None:
    """The pair of these two, in whatever order."""
    return next((pair for pair in pairs if {pair.first.label, pair.second.label} == {one.label, other.label}), None)


def frame_of_pairs(pairs: Sequence[Pair]) -> pd.DataFrame:
    """`pairs.csv`: a row a pair, with the counts and both p-values before and after correction."""
    rows = []
    for pair in pairs:
        row: dict[str, object] = {"first": pair.first.label, "second": pair.second.label, "points": pair.points}
        if pair.outcomes and pair.mcnemar:
            row |= {"images": pair.outcomes.images, "points_of_networks": 100 * pair.outcomes.improvement}
            row |= {"only_first_right": pair.outcomes.only_second, "only_second_right": pair.outcomes.only_first}
            row |= {"mcnemar_p": pair.mcnemar.p, "mcnemar_p_holm": pair.mcnemar.corrected}
            row |= {"first_run": pair.networks[0].run_id, "second_run": pair.networks[1].run_id}
        if pair.seeds and pair.over_seeds:
            row |= {"seeds": len(pair.seeds.differences), "t_test_p": pair.over_seeds.p}
            row |= {"t_test_p_holm": pair.over_seeds.corrected}
        rows.append(row | {"in_words": str(pair)})
    return pd.DataFrame(rows, columns=None if rows else ["first", "second", "in_words"])
