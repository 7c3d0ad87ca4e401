"""What the reference finds, each finding beside what came out here; computed, with the test that bears it."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from imagelab.comparison.findings import difference_in_words
from imagelab.comparison.pairs import p_text
from imagelab.console import how_many
from imagelab.evaluation.significance import share_differs
from imagelab.reference import ANIMALS, CONFUSED, EASY, GAPS, VEHICLES, StatedGap, stated_of

if TYPE_CHECKING:
    from imagelab.comparison.comparison import Comparison
    from imagelab.data.dataset import Dataset
    from imagelab.tables import Row


def findings_beside(comparison: "Comparison") -> "list[Row]":
    """A row a finding of the reference whose data set and networks are compared."""
    return [*gaps(comparison), *of_garments(comparison), *of_superclasses(comparison)]


def row(dataset: str, finding: str, stated: str, measured: str, ours: str) -> "Row":
    return {"data set": dataset, "finding": finding, "stated": stated, "its own recipe": measured, "ours": ours}


def gaps(comparison: "Comparison") -> "Iterator[Row]":
    """One network against another: the points, and whether they are luck."""
    for gap in GAPS:
        found = {each.model: each for each in comparison.compared if each.dataset == gap.dataset}
        if {gap.better, gap.other} <= found.keys():
            better, other = found[gap.better], found[gap.other]
            points = 100 * (better.mean_of("test_accuracy") - other.mean_of("test_accuracy"))
            ours = f"{points:+.1f} points: {difference_in_words(comparison.pairs, better, other)}"
            yield row(gap.dataset, gap.title, gap.stated, measured_gap(gap), ours)


def measured_gap(gap: StatedGap) -> str:
    better, other = (stated_of(gap.dataset, model) for model in (gap.better, gap.other))
    return f"{100 * (better.measured - other.measured):+.1f} points" if better and other else ""


def best_answers(comparison: "Comparison", dataset: str) -> tuple[str, pd.DataFrame] | None:
    """The network with the highest validation accuracy, of its lowest seed, by name, and its answers; None: none."""
    best = next((each for each in comparison.compared if each.dataset == dataset), None)
    if best is None or (found := comparison.results.answers_of(best)) is None:
        return None
    seed, answers = found
    return f"{best.model}, seed {seed}", answers


def of_garments(comparison: "Comparison") -> "Iterator[Row]":
    """Hard pairs and easy classes of Fashion-MNIST."""
    if (found := best_answers(comparison, "fashion_mnist")) is None:
        return
    network, answers = found
    counts, images = confusions(answers), answers["class"].value_counts()
    said = []
    for one, other in CONFUSED:
        count = counts[frozenset((one, other))]  # 0 where no image of the two was taken for the other
        place = 1 + sum(each > count for each in counts.values())
        share = f"{count} of {images[one] + images[other]:,} images taken for the other"
        among = f"place {place} of {len(images) * (len(images) - 1) // 2} pairs"
        said.append(f"{one} and {other}: {f'{share}, {among}' if count else 'never confused'}")
    stated = ", ".join(f"{one} and {other}" for one, other in CONFUSED)
    yield row("fashion_mnist", "hard to tell apart", stated, "", f"{network}: {'; '.join(said)}")
    right = answers.groupby("class")["correct"].mean()
    places = right.rank(method="min", ascending=False).astype(int)  # equal ones share the first of their places
    easy = [f"{name} {100 * right[name]:.1f} % (place {places[name]} of {len(right)})" for name in EASY]
    stated = ", ".join(f"{name} ({text})" if "%" in text else name for name, text in EASY.items())
    yield row("fashion_mnist", "easy classes", stated, "", f"{network}: {', '.join(easy)}")


def confusions(answers: pd.DataFrame) -> Counter[frozenset[str]]:
    """How many images of two classes were taken for the other one, for each pair of classes that has some."""
    wrong = answers[~answers["correct"]]
    return Counter(frozenset(names) for names in zip(wrong["class"], wrong["predicted_class"], strict=True))


def of_superclasses(comparison: "Comparison") -> "Iterator[Row]":
    """Vehicles and animals of CIFAR-100."""
    found, data = best_answers(comparison, "cifar100"), comparison.data.get("cifar100")
    if found is None or data is None:
        return
    network, answers = found
    vehicles, animals = (labels_of(data, names) for names in (VEHICLES, ANIMALS))
    right = answers["correct"]
    of_vehicles, of_animals = (right[answers["label"].isin(labels)].mean() for labels in (vehicles, animals))
    ours = f"{network}: {100 * of_vehicles:.1f} % of vehicles right, {100 * of_animals:.1f} % of animals (no insects)"
    yield row("cifar100", "vehicles", "moderate", "", f"{ours}, {100 * right.mean():.1f} % of all")
    wrong = answers[~right & answers["label"].isin(animals)]
    inside, chance = int(wrong["predicted"].isin(animals).sum()), (len(animals) - 1) / (data.num_classes - 1)
    if len(wrong):
        ours = (
            f"{100 * inside / len(wrong):.1f} % of the {how_many(len(wrong), 'mistake')} on animals are other animals"
        )
        p = p_text(share_differs(inside, len(wrong), chance))
        test = f"guessing would give {100 * chance:.1f} % (exact binomial test, p {p})"
        yield row("cifar100", "animals", "confused with one another", "", f"{network}: {ours}; {test}")


def labels_of(dataset: "Dataset", superclasses: tuple[str, ...]) -> np.ndarray:
    """The classes that belong to any of these superclasses."""
    wanted = [dataset.superclass_names.index(name) for name in superclasses]
    return np.flatnonzero(np.isin(dataset.superclasses, wanted))
