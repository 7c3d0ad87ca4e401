"""Curves: over epochs, of loss over the learning rate, and of accuracy over confidence."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from plotly.subplots import make_subplots

PANELS = {"loss": ("loss", "val_loss"), "accuracy": ("accuracy", "val_accuracy"), "learning rate": ("learning_rate",)}
TOP_5 = {"top-5 accuracy": ("top_5_accuracy", "val_top_5_accuracy")}
COLORS = ("#4c72b0", "#dd8452")


def draw_curves(rows: list[dict[str, Any]], best_epoch: int, title: str) -> Figure:
    """Loss, accuracy and learning rate over epochs, the best epoch marked, and where a new phase begins.

    Args:
        rows: one dict an epoch, as `Checkpoints.rows` holds them.
    """
    frame, panels = pd.DataFrame(rows), panels_of(rows)
    figure = Figure(figsize=(5 * len(panels), 4.2), layout=ConstrainedLayoutEngine(h_pad=0.12))
    for axes, (name, columns) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for column, color in zip(columns, COLORS, strict=False):
            axes.plot(frame["epoch"], frame[column], marker=".", color=color, label=label_of(column))
        for phase, start in later_phases(rows).items():
            axes.axvline(start - 0.5, color="black", linewidth=1, linestyle="--", label=f"{phase} from epoch {start}")
        axes.axvline(best_epoch, color="gray", linestyle=":", label=f"best epoch ({best_epoch})")
        axes.set(title=name, xlabel="epoch")
        if name == "learning rate" and later_phases(rows):
            # That of fine-tuning is a hundred times smaller, and schedules end near 0, where this scale is linear.
            axes.set_yscale("symlog", linthresh=frame["learning_rate"].max() / 1000 or 1)
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title, parse_math=False)
    return figure


def explore_curves(rows: list[dict[str, Any]], best_epoch: int, title: str) -> go.Figure:
    """The same curves, with values under the pointer."""
    frame, panels = pd.DataFrame(rows), panels_of(rows)
    figure = make_subplots(1, len(panels), subplot_titles=list(panels))
    for column_number, (name, columns) in enumerate(panels.items(), 1):
        for column, color in zip(columns, COLORS, strict=False):
            line = go.Scatter(x=frame["epoch"], y=frame[column], name=label_of(column), line={"color": color})
            figure.add_trace(line.update(legendgroup=name, mode="lines+markers"), 1, column_number)
        for phase, start in later_phases(rows).items():
            figure.add_vline(start - 0.5, line_dash="dash", line_width=1, annotation_text=phase, col=column_number)
        figure.add_vline(best_epoch, line_dash="dot", line_color="gray", col=column_number)
    figure.update_xaxes(title_text="epoch")
    return figure.update_layout(title=title, hovermode="x unified", template="plotly_white")


def draw_calibration(calibration: pd.DataFrame, title: str) -> Figure:
    """Accuracy over confidence, bin by bin, beside the diagonal of a network that knows what it knows; images a bin.

    Args:
        calibration: as `Evaluation.calibration` returns it.
    """
    figure = Figure(figsize=(5, 6), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    left, widths, accuracy = calibration["from"], calibration["to"] - calibration["from"], calibration["accuracy"]
    axes.bar(left, accuracy, widths, align="edge", color=COLORS[0], edgecolor="white", label="accuracy")
    axes.plot([0, 1], [0, 1], color="gray", linestyle=":", label="perfectly calibrated")
    axes.plot(calibration["confidence"], accuracy, "o", color=COLORS[1], clip_on=False, label="mean confidence")
    axes.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    counts.bar(left, calibration["count"], widths, align="edge", color=COLORS[0], edgecolor="white")
    counts.set(xlabel="confidence", ylabel="images")
    figure.suptitle(title, fontsize=9, parse_math=False)
    return figure


def draw_learning_rates(steps: Sequence[Any], steepest: float, stable: float, title: str) -> Figure:
    """Loss over a rising learning rate, of each batch and smoothed, and the rates that it suggests.

    Args:
        steps: with `learning_rate`, `loss` and `smoothed_loss`, a batch each.
        steepest: the rate at which the smoothed loss falls fastest.
        stable: a tenth of the one at which it is lowest.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    rates, losses, smoothed = zip(*((step.learning_rate, step.loss, step.smoothed_loss) for step in steps), strict=True)
    axes.plot(rates, losses, color="gray", alpha=0.5, linewidth=1, label="of each batch")
    axes.plot(rates, smoothed, color=COLORS[0], label="smoothed")
    axes.axvline(steepest, color=COLORS[1], linestyle=":", label=f"falls fastest: {steepest:.1e}")
    axes.axvline(stable, color=COLORS[1], label=f"a tenth of where it is lowest: {stable:.1e}")
    margin = 0.1 * (max(smoothed) - min(smoothed))
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(min(smoothed) - margin, max(smoothed) + margin))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def panels_of(rows: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    return {**PANELS, **TOP_5} if "val_top_5_accuracy" in rows[0] else PANELS


def later_phases(rows: list[dict[str, Any]]) -> dict[str, int]:
    """The first epoch of each phase after the first phase."""
    starts: dict[str, int] = {}
    for row in rows:
        starts.setdefault(row["phase"], row["epoch"])
    return {phase.replace("_", " "): epoch for phase, epoch in list(starts.items())[1:]}


def label_of(column: str) -> str:
    return "validation" if column.startswith("val_") else "learning rate" if column == "learning_rate" else "training"
