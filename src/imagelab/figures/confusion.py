"""Confusion matrices that can be read with 10 and with 100 classes."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MOST_CLASSES_WITH_COUNTS = 20
GROUP_COLOR = "#1f77b4"


def draw_confusion(confusion: pd.DataFrame, order: np.ndarray, groups: list[str], title: str) -> Figure:
    """Shares of each true class; counts in the cells where they fit, otherwise only errors get colour.

    Args:
        confusion: counts, a row a true class, a column a predicted one, with class names as index and columns.
        order: the order in which to show the classes.
        groups: the superclass of each class (unordered); empty where there are none. Lines part the groups.
    """
    counts = confusion.to_numpy()[np.ix_(order, order)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [confusion.columns[i] for i in order]
    few = len(names) <= MOST_CLASSES_WITH_COUNTS
    size = 3 + 0.62 * len(names) if few else 5 + 0.17 * len(names)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    sns.heatmap(
        shares,
        ax=axes,
        annot=counts if few else False,
        fmt="d",
        cmap="Blues" if few else "rocket_r",
        vmin=0,
        vmax=1 if few else max(0.05, np.sort((shares * (1 - np.eye(len(names)))).ravel())[-len(names) // 4]),
        square=True,
        linewidths=0.5 if few else 0,
        xticklabels=False,  # seaborn's own labels of 100 classes take 4 GB
        yticklabels=False,
        cbar_kws={"label": "share of the true class", "shrink": 0.8, "extend": "neither" if few else "max"},
    )
    centers, font_size = np.arange(len(names)) + 0.5, 10 if few else 7
    rotation, alignment = (45, "right") if few else (90, "center")
    axes.set_xticks(centers, names, fontsize=font_size, rotation=rotation, ha=alignment, parse_math=False)
    axes.set_yticks(centers, names, fontsize=font_size, parse_math=False)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title, parse_math=False)
    if groups:
        mark_groups(axes, [groups[i] for i in order])
    return figure


def mark_groups(axes: Axes, groups: list[str]) -> None:
    """Outline the square of each superclass and name it on the right."""
    edges = [0, *(i for i in range(1, len(groups)) if groups[i] != groups[i - 1]), len(groups)]
    for start, end in itertools.pairwise(edges):
        axes.plot([start, end, end, start, start], [start, start, end, end, start], color=GROUP_COLOR, linewidth=1)
        style: dict[str, Any] = {"fontsize": 7, "va": "center", "color": GROUP_COLOR, "parse_math": False}
        axes.text(len(groups) + 0.7, (start + end) / 2, groups[start], **style)


def explore_confusion(confusion: pd.DataFrame, order: np.ndarray, title: str) -> go.Figure:
    """The same matrix, with names, count and share under the pointer."""
    counts = confusion.to_numpy()[np.ix_(order, order)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [confusion.columns[i] for i in order]
    off_diagonal = shares * (1 - np.eye(len(names)))
    hover = "true: %{y}<br>predicted: %{x}<br>%{customdata} images, %{z:.1%} of the true class<extra></extra>"
    heatmap = go.Heatmap(
        z=shares, x=names, y=names, customdata=counts, hovertemplate=hover, colorscale="Blues", zmin=0,
        zmax=1 if len(names) <= MOST_CLASSES_WITH_COUNTS else float(max(0.05, off_diagonal.max())),
    )  # fmt: skip
    layout = {"xaxis_title": "predicted", "yaxis_title": "true", "yaxis_autorange": "reversed", "height": 850}
    return go.Figure(heatmap).update_layout(title=title, **layout)
