"""Figures of several runs side by side, to explore in a page that is read in light and dark and on a phone.

Backgrounds are transparent and colours in the middle between black and white; the page itself gives the ink.
"""

import gzip
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

COLORS = ("#4c8bf5", "#e8710a", "#1e9e6a", "#d6409f", "#9aa022", "#8e63ce", "#c5544a", "#1aa3b8", "#8a8d91", "#b07d2b")
DASHES = ("solid", "dash", "dot")
CURVES = {
    "accuracy": "training accuracy",
    "val_accuracy": "validation accuracy",
    "loss": "training loss",
    "val_loss": "validation loss",
}
LABEL_WIDTH = 22  # characters, so that labels leave room for the figure on a phone
PLAIN: dict[str, Any] = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "template": "none",
    "margin": {"l": 10, "r": 10, "t": 64, "b": 48},
    "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#8a8d91", "activecolor": "#4c8bf5"},
    "legend": {"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0},
}


def compressed_plotly() -> bytes:
    """The library that draws in the browser, gzipped: 1.4 MB instead of 4.8."""
    return gzip.compress(get_plotlyjs().encode(), mtime=0)


def plain_with_legend_at(y: float) -> dict[str, Any]:
    """PLAIN with the legend's upper edge at `y`: 0 is the lower end of the axes, 1 the upper."""
    return PLAIN | {"legend": PLAIN["legend"] | {"y": y}}


def in_lines(label: str) -> str:
    return "<br>".join(wrap(label, LABEL_WIDTH))


def style_of(index: int) -> dict[str, Any]:
    """Colour and dash of the curve number `index`; thirty differ."""
    return {"color": COLORS[index % len(COLORS)], "dash": DASHES[index // len(COLORS) % len(DASHES)], "width": 1.8}


def explore_accuracies(accuracies: Mapping[str, Sequence[float]], axis: str) -> go.Figure:
    """A bar of the mean for each label, and a point for each of its values (shares), one a seed."""
    labels = [in_lines(label) for label in accuracies]
    means = [float(np.mean(values)) for values in accuracies.values()]
    bars = go.Bar(y=labels, x=means, orientation="h", marker_color="#4c8bf599", name="mean", width=0.6)
    bars.update(hovertemplate="%{y}<br>mean %{x:.2%}<extra></extra>")
    points = [(label, value) for label, values in zip(labels, accuracies.values(), strict=True) for value in values]
    dots = go.Scatter(y=[label for label, _ in points], x=[value for _, value in points], mode="markers", name="a seed")
    dots.update(marker={"color": "#e8710a", "size": 9, "line": {"width": 1, "color": "white"}})
    dots.update(hovertemplate="%{y}<br>%{x:.2%}<extra></extra>")
    figure = go.Figure([bars, dots])
    lowest, highest = min(value for _, value in points), max(value for _, value in points)
    margin = max(0.01, 0.3 * (highest - lowest))
    figure.update_xaxes(
        title_text=axis, tickformat=".3~%", range=[max(0.0, lowest - margin), min(1.0, highest + margin)]
    )
    figure.update_yaxes(autorange="reversed", automargin=True, ticks="")
    figure.update_xaxes(automargin=True)
    between_axes = 98 + 62 * len(labels)  # pixels; the legend is 72 lower, below the axis's title
    return figure.update_layout(**plain_with_legend_at(-72 / between_axes), height=112 + between_axes)


def explore_all_curves(curves: Mapping[str, Sequence[pd.DataFrame]]) -> go.Figure:
    """Accuracy and loss over epochs of every run: a colour a label, a line a run.

    Args:
        curves: for each label its runs; a column each of CURVES, the epoch as index.
    """
    figure = make_subplots(4, 1, subplot_titles=list(CURVES.values()), vertical_spacing=0.07)
    for index, (label, runs) in enumerate(curves.items()):
        for number, curve in enumerate(runs):
            for row, name in enumerate(CURVES, 1):
                line = go.Scatter(x=curve.index, y=curve[name], mode="lines+markers", name=in_lines(label))
                line.update(line=style_of(index), marker={"size": 4}, legendgroup=label)
                line.update(showlegend=row == 1 and number == 0, hovertemplate=f"{label}<br>epoch %{{x}}: %{{y:.4f}}")
                figure.add_trace(line, row, 1)
    figure.update_yaxes(automargin=True)
    figure.update_xaxes(title_text="epoch", row=4, col=1)
    return figure.update_layout(**plain_with_legend_at(-0.06), height=1100 + 14 * len(curves))


def explore_cost(table: pd.DataFrame) -> go.Figure:
    """Accuracy over parameters and over seconds of training.

    Args:
        table: columns label, style (a number, as `style_of` takes it), accuracy, parameters, seconds; a row a
            configuration.
    """
    figure = make_subplots(2, 1, subplot_titles=["over parameters", "over seconds of training"], vertical_spacing=0.16)
    for row in table.to_dict("records"):
        label, index = str(row["label"]), int(row["style"])
        for number, value in enumerate((row["parameters"], row["seconds"]), 1):
            dot = go.Scatter(x=[value], y=[row["accuracy"]], mode="markers", name=in_lines(label))
            dot.update(marker={"size": 12, "color": COLORS[index % len(COLORS)], "symbol": index // len(COLORS)})
            dot.update(legendgroup=label, showlegend=number == 1)
            dot.update(hovertemplate=f"{label}<br>%{{x:,.4~g}}, %{{y:.2%}}<extra></extra>")
            figure.add_trace(dot, number, 1)
    figure.update_xaxes(type="log", tickformat="~s", nticks=6, tickangle=-45, automargin=True)
    figure.update_yaxes(tickformat=".3~%", title_text="test accuracy", automargin=True)
    return figure.update_layout(**plain_with_legend_at(-0.1), height=760 + 14 * len(table))


def explore_class_accuracies(by_class: pd.DataFrame) -> go.Figure:
    """A heat map: a row a class, a column a configuration, the share of test images that it got right."""
    heatmap = go.Heatmap(
        z=by_class.to_numpy(), x=[in_lines(label) for label in by_class.columns], y=by_class.index.astype(str),
        colorscale="Viridis", colorbar={"tickformat": ".0%", "thickness": 12},
        hovertemplate="%{y}<br>%{x}<br>%{z:.1%}<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(heatmap)
    figure.update_yaxes(autorange="reversed", type="category", automargin=True, dtick=1)
    figure.update_xaxes(automargin=True, tickangle=-45, type="category")
    tallest = max(16, min(34, 340 // len(by_class)))
    return figure.update_layout(**PLAIN, height=220 + tallest * len(by_class))


def explore_confusion_difference(difference: np.ndarray, names: Sequence[str]) -> go.Figure:
    """Confusion of one less that of another: images, a row a true class, a column a predicted one."""
    most = max(1, int(np.abs(difference).max()))
    heatmap = go.Heatmap(
        z=difference, x=list(names), y=list(names), zmid=0, zmin=-most, zmax=most,
        colorscale=[(0.0, "#e8710a"), (0.5, "rgba(128,128,128,0.12)"), (1.0, "#4c8bf5")], colorbar={"thickness": 12},
        hovertemplate="true: %{y}<br>predicted: %{x}<br>%{z:+} images<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(heatmap)
    figure.update_yaxes(autorange="reversed", title_text="true", type="category", automargin=True)
    figure.update_xaxes(title_text="predicted", type="category", automargin=True)
    return figure.update_layout(**PLAIN, height=640 if len(names) <= 20 else 950)
