"""How alike the errors of several networks are."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

PANELS = {"disagree": "on which the two disagree", "both_err": "on which both err"}


def draw_diversity(pairs: pd.DataFrame, names: Sequence[str], title: str) -> Figure:
    """Two heat maps over all pairs of networks: the share of images on which they disagree, and on which both err.

    Args:
        pairs: columns first, second (numbers of networks), disagree, both_err (shares); a row a pair.
        names: of the networks.
    """
    rows, columns = names[1:], names[:-1]
    side = 1.6 + 0.6 * len(rows)
    figure = Figure(figsize=(2 * side + 2.4, side + 2), layout="constrained")
    for axes, (column, words) in zip(figure.subplots(1, 2, sharey=True), PANELS.items(), strict=True):
        shares = np.full((len(names), len(names)), np.nan)
        shares[pairs["second"], pairs["first"]] = 100 * pairs[column]
        sns.heatmap(
            shares[1:, :-1], ax=axes, annot=True, fmt=".1f", cmap="Blues", vmin=0, square=True, linewidths=0.5,
            xticklabels=False, yticklabels=False, cbar=False,
        )  # fmt: skip
        centers = np.arange(len(rows)) + 0.5
        axes.set_xticks(centers, columns, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(centers, rows, parse_math=False)
        axes.tick_params(length=0)
        axes.set_title(words, fontsize=10)
    figure.suptitle(f"{title} (%)", parse_math=False)
    return figure
