"""Shares from several sources side by side."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

COLORS = ("#8a8d91", "#b07d2b", "#4c8bf5")


def draw_shares(shares: Mapping[str, Mapping[str, float]], title: str, axis: str) -> Figure:
    """A group of bars for each label, a bar for each source of its shares (0 to 1); a source may lack some."""
    sources = list(dict.fromkeys(source for values in shares.values() for source in values))
    figure = Figure(figsize=(8.5, 1.4 + 0.75 * len(shares)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(sources)
    for number, source in enumerate(sources):
        values = [100 * found.get(source, np.nan) for found in shares.values()]
        places = np.arange(len(shares)) + (number - (len(sources) - 1) / 2) * height
        color = COLORS[number - len(sources)] if len(sources) <= len(COLORS) else None
        bars = axes.barh(places, values, height * 0.92, label=source, color=color)
        labels = ["" if np.isnan(value) else f"{value:.1f} %" for value in values]
        axes.bar_label(bars, labels, padding=3, fontsize=8)
    axes.set_yticks(range(len(shares)), list(shares), parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.set_xlabel(f"{axis} (%)")
    axes.set_title(title, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(sources), frameon=False)
    return figure
