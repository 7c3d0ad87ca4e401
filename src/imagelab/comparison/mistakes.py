"""The mistakes of one network, class by class: where the findings about classes come from."""

from typing import TYPE_CHECKING

import numpy as np

from imagelab.comparison.report import Section
from imagelab.console import how_many

if TYPE_CHECKING:
    import pandas as pd

    from imagelab.comparison.comparison import Comparison
    from imagelab.tables import Row


def mistakes_of(dataset: str) -> str:
    """The id of the section."""
    return f"mistakes-on-{dataset}"


def mistakes_section(comparison: "Comparison", dataset: str) -> Section | None:
    """Of the lowest seed of the best configuration, by validation; None where there are no answers of it."""
    best = next((each for each in comparison.compared if each.dataset == dataset), None)
    if best is None or (found := comparison.results.answers_of(best)) is None:
        return None
    seed, answers = found
    data = comparison.data.get(dataset)
    rows = mistakes_by_class(answers, np.array(data.superclasses) if data and data.superclasses else None)
    text = f"Of {best.name_of_network(seed)}, on {how_many(len(answers), 'test image')}; the hardest class first."
    return Section(mistakes_of(dataset), f"Mistakes on {dataset}", text, rows=rows, caption=f"By class: {dataset}")


def mistakes_by_class(answers: "pd.DataFrame", superclass_of: np.ndarray | None = None) -> "list[Row]":
    """A row a class, the one with the least share of right answers first.

    Args:
        answers: a row an image: class, predicted_class, label, predicted, correct.
        superclass_of: the number of the superclass of each class, (classes,).
    """
    rows: list[tuple[float, Row]] = []
    for name, images in answers.groupby("class", sort=False):
        wrong = images[~images["correct"]]
        share = float(images["correct"].mean())
        row = {"class": str(name), "images": f"{len(images):,}", "right": f"{len(images) - len(wrong):,}"}
        row |= {"accuracy": f"{share:.1%}", "most often taken for": most_often(wrong)}
        if superclass_of is not None:
            inside = superclass_of[wrong["label"]] == superclass_of[wrong["predicted"]]
            row["errors inside the superclass"] = f"{int(inside.sum()):,} of {len(wrong):,}"
        rows.append((share, row))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def most_often(wrong: "pd.DataFrame") -> str:
    counts = wrong["predicted_class"].value_counts()
    return f"{counts.index[0]} ({counts.iloc[0]:,})" if len(counts) else ""
