"""What the comparison shows, in words: each finding with its figure, and none that its test does not bear."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imagelab.comparison.mistakes import mistakes_of
from imagelab.comparison.pairs import Pair, find_pair, p_text
from imagelab.comparison.training import WHOLE_SECONDS, Configuration
from imagelab.console import how_many, printable
from imagelab.evaluation.significance import SIGNIFICANT, share_differs, shares_differ
from imagelab.models import BACKBONES

if TYPE_CHECKING:
    import pandas as pd

    from imagelab.comparison.results import Results
    from imagelab.data.dataset import Dataset

MOST_TIED = 5  # classes with the same accuracy that are named
MOST_CONFUSED = 3


@dataclass(frozen=True)
class Finding:
    """A sentence, and the id of the figure or table of the report that it comes from."""

    text: str
    figure: str
    dataset: str

    def __str__(self) -> str:
        """One line, whatever the classes are called."""
        return printable(f"{self.dataset}: {self.text} (see {self.figure.replace('-', ' ')})")


def find(
    configurations: Sequence[Configuration], pairs: Sequence[Pair], results: "Results", data: "dict[str, Dataset]"
) -> list[Finding]:
    """The findings of each data set.

    Args:
        configurations: of each data set by their mean validation accuracy, the best first.
        data: the data sets that are on this machine.
    """
    findings = []
    for name in dict.fromkeys(each.dataset for each in configurations):
        ours = [each for each in configurations if each.dataset == name]
        said = [*between_models(ours, pairs), *of_classes(ours[0], results), *superclasses(ours[0], results, data)]
        findings += [Finding(text, figure, name) for text, figure in said]
    return findings


Said = Iterator[tuple[str, str]]


def between_models(configurations: Sequence[Configuration], pairs: Sequence[Pair]) -> Said:
    """What another kind of network gains and costs, between the best configurations of each, by validation."""
    best: dict[str, Configuration] = {}
    for each in configurations:
        best.setdefault(each.model, each)
    first, *others = configurations
    if others and {first.model, others[0].model} != {"basic_cnn", "basic_ann"}:  # whose difference comes next
        yield f"the two with the highest validation accuracy: {difference_in_words(pairs, first, others[0])}", "pairs"
    if {"basic_cnn", "basic_ann"} <= best.keys():
        yield f"CNN against ANN: {difference_in_words(pairs, best['basic_cnn'], best['basic_ann'])}", "pairs"
    if {"deeper_cnn", "basic_cnn"} <= best.keys():
        deeper, basic = best["deeper_cnn"], best["basic_cnn"]
        yield f"deeper against basic: {difference_in_words(pairs, deeper, basic)}; {price(deeper, basic)}", "cost"
    transfer = next((each for each in configurations if is_pretrained(each)), None)
    scratch = next((each for each in configurations if not is_pretrained(each)), None)
    if transfer and scratch:
        text = f"transfer against training from scratch: {difference_in_words(pairs, transfer, scratch)}"
        yield f"{text}; {price(transfer, scratch)}", "cost"


def is_pretrained(configuration: Configuration) -> bool:
    return configuration.model in BACKBONES and configuration.settings.get("weights") not in (None, "none")


def difference_in_words(pairs: Sequence[Pair], one: Configuration, other: Configuration) -> str:
    pair = find_pair(pairs, one, other)
    return str(pair) if pair else f"{one.label} and {other.label} are not tested"


def price(one: Configuration, other: Configuration) -> str:
    """How many times the parameters and seconds, features of a frozen backbone included.

    The seconds were measured on whatever machines trained them.
    """
    words = []
    for metric, name in (("parameter_count", "parameters"), (WHOLE_SECONDS, "seconds of training")):
        mine, others = one.mean_of(metric), other.mean_of(metric)
        if mine > 0 and others > 0:
            words.append(f"{mine / others:.2g} times the {name} ({mine:,.0f} to {others:,.0f})")
    return f"{one.model} has {' and '.join(words)}" if words else f"the price of {one.model} is not known"


def of_classes(best: Configuration, results: "Results") -> Said:
    """Hardest and easiest classes and most confused pairs, of the network of the lowest seed of the best."""
    if (found := results.answers_of(best)) is None:
        return
    seed, answers = found
    by_class = answers.groupby("class", sort=False)["correct"].agg(["sum", "count"])
    by_class = by_class.assign(share=by_class["sum"] / by_class["count"]).sort_values("share", kind="stable")
    counts = [(str(name), int(row["sum"]), int(row["count"])) for name, row in by_class.iterrows()]
    network = best.name_of_network(seed)
    if len(counts) > 1:
        yield extreme("hardest", "lowest", counts, network), mistakes_of(best.dataset)
        yield extreme("easiest", "highest", counts[::-1], network), mistakes_of(best.dataset)
    yield most_confused(answers, network), mistakes_of(best.dataset)


def most_confused(answers: "pd.DataFrame", network: str) -> str:
    """Which classes were taken for which other ones more than once; a single image is no habit."""
    wrong = answers[~answers["correct"]]
    confused = wrong.groupby(["class", "predicted_class"], as_index=False).size()
    confused = confused[confused["size"] > 1].sort_values("size", ascending=False, kind="stable")
    if confused.empty:
        return f"{network} confuses no pair of classes more than once"
    images, first = answers["class"].value_counts(), confused.head(MOST_CONFUSED)
    words = [
        f"{row['class']} taken for {row['predicted_class']} ({row['size']} of {images[row['class']]:,} images)"
        for row in first.to_dict("records")
    ]
    if as_often := int((confused["size"][MOST_CONFUSED:] == first["size"].iloc[-1]).sum()):
        words.append(f"and {as_often} more as often as the last")
    return f"confused most often by {network}: {', '.join(words)}"


def extreme(word: str, place: str, counts: list[tuple[str, int, int]], network: str) -> str:
    """About the first class of all, as far as Fisher's exact test against the next one bears it.

    It is corrected for all pairs of classes, of which this one was chosen after looking (Bonferroni).
    """
    (name, hits, images), (following, next_hits, next_images) = counts[:2]
    tests = len(counts) * (len(counts) - 1) // 2
    p = min(1.0, tests * shares_differ((hits, images), (next_hits, next_images)))
    tied = [other for other, right, every in counts if right * images == hits * every]
    if len(tied) > 1:
        return f"{place} accuracy by class of {network}: {100 * hits / images:.1f} %, shared by {listed(tied)}"
    share = f"{100 * hits / images:.1f} % of {how_many(images, 'image')} right"
    after = f"{following} with {100 * next_hits / next_images:.1f} %"
    test = f"Fisher's exact test, p {p_text(p)}{f' after correction for {tests} pairs of classes' if tests > 1 else ''}"
    if p < SIGNIFICANT:
        return f"{word} class for {network}: {name} ({share}), {word} before {after} ({test})"
    return (
        f"{place} accuracy by class of {network}: {name} ({share}), next is {after}; that {name} is the {word} is not "
        f"shown ({test})"
    )


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_TIED} more" if len(names) > MOST_TIED else ""
    return f"{', '.join(names[:MOST_TIED])}{more}"


def superclasses(best: Configuration, results: "Results", data: "dict[str, Dataset]") -> Said:
    """The share of errors that stay inside the superclass, against what blind guessing among other classes gives."""
    found, dataset = results.answers_of(best), data.get(best.dataset)
    if found is None or dataset is None or not dataset.superclasses:
        return
    seed, answers = found
    wrong, of_class = answers[~answers["correct"]], np.array(dataset.superclasses)
    inside = int((of_class[wrong["label"]] == of_class[wrong["predicted"]]).sum())
    if not len(wrong):
        return
    sizes = np.bincount(of_class)[of_class[wrong["label"]]]
    chance = float(((sizes - 1) / (dataset.num_classes - 1)).mean())
    p = share_differs(inside, len(wrong), chance)
    text = f"{100 * inside / len(wrong):.1f} % of the {how_many(len(wrong), 'error')} of {best.name_of_network(seed)}"
    against = f"guessing among the other classes would give {100 * chance:.1f} % (exact binomial test, p {p_text(p)})"
    verdict = "" if p < SIGNIFICANT else "; that this is more than chance is not shown"
    yield f"{text}, stay inside the superclass; {against}{verdict}", mistakes_of(best.dataset)
