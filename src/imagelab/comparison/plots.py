"""The figures of the page, each with what it shows in words and its numbers."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from imagelab.comparison.comparison import Comparison
from imagelab.comparison.report import Plot
from imagelab.comparison.table import percent, shown
from imagelab.comparison.training import WHOLE_SECONDS, Configuration
from imagelab.figures.comparison import (
    CURVES,
    explore_accuracies,
    explore_all_curves,
    explore_class_accuracies,
    explore_cost,
)

if TYPE_CHECKING:
    from imagelab.tables import Row


def accuracy_plots(comparison: Comparison) -> Iterator[Plot]:
    for name, ours in by_dataset(comparison.compared):
        accuracies = {each.label: each.values_of("test_accuracy") for each in ours}
        rows = [
            {
                "configuration": label,
                "mean": percent(float(np.mean(found))),
                "each seed": ", ".join(map(percent, found)),
            }
            for label, found in accuracies.items()
        ]
        caption = f"{name}: test accuracy; the bar is the mean, a point is a seed. The axis does not begin at 0."
        figure = explore_accuracies(accuracies, "test accuracy")
        yield Plot(f"accuracy-{name}", f"Test accuracy on {name}", caption, figure, rows)


def curves_plot(comparison: Comparison) -> Plot:
    known = comparison.results.curves
    trained = {each.label: [run for run in each.trainings if run.run_id in known] for each in comparison.compared}
    curves = {label: [known[run.run_id] for run in runs] for label, runs in trained.items()}
    rows = [
        {
            "configuration": label,
            "seed": str(run.seed),
            **{CURVES[name]: f"{known[run.run_id][name].iloc[-1]:.4f}" for name in CURVES},
        }
        for label, runs in trained.items()
        for run in runs
    ]
    caption = "Accuracy and loss over epochs: a colour a configuration, a line a seed."
    return Plot("all-curves", "The last epoch", caption, explore_all_curves(curves), rows)


def cost_plots(comparison: Comparison) -> Iterator[Plot]:
    styles = {each.label: index for index, each in enumerate(comparison.compared)}  # as the curves have
    for name, ours in by_dataset(comparison.compared):
        metrics = {"accuracy": "test_accuracy", "parameters": "parameter_count", "seconds": WHOLE_SECONDS}
        table = pd.DataFrame(
            [
                {"label": each.label, "style": styles[each.label]}
                | {key: each.mean_of(metric) for key, metric in metrics.items()}
                for each in ours
            ]
        )
        rows = [
            {
                "configuration": str(row["label"]),
                "test accuracy": percent(row["accuracy"]),
                "parameters": shown(row["parameters"], "{:,.0f}".format),
                "seconds of training": shown(row["seconds"], "{:,.1f}".format),
            }
            for row in table.to_dict("records")
        ]
        caption = (
            f"{name}: test accuracy over the price. Seconds are those of the machine that each was trained on, with "
            "those of a frozen backbone's features, whether this training or an earlier one computed them."
        )
        yield Plot(f"cost-{name}", f"Accuracy and price on {name}", caption, explore_cost(table), rows)


def class_plots(comparison: Comparison) -> Iterator[Plot]:
    for name, ours in by_dataset(comparison.compared):
        columns = {each.label: comparison.results.accuracy_by_class(each) for each in ours}
        by_class = pd.DataFrame({label: column for label, column in columns.items() if column is not None})
        if by_class.empty:
            continue
        by_class = by_class.loc[by_class.mean(axis=1).sort_values(kind="stable").index]
        rows = [
            {"class": str(index), **{str(label): percent(value) for label, value in row.items()}}
            for index, row in by_class.iterrows()
        ]
        caption = (
            f"{name}: share of each class's test images that are right, mean over seeds; the hardest classes first."
        )
        figure = explore_class_accuracies(by_class)
        yield Plot(f"classes-{name}", f"Accuracy by class on {name}", caption, figure, rows)


def largest_differences(difference: np.ndarray, names: Sequence[str], most: int = 10) -> "list[Row]":
    order = np.argsort(-np.abs(difference), axis=None, kind="stable")[:most]
    places = zip(*np.unravel_index(order, difference.shape), strict=True)
    return [
        {"true": names[true], "predicted": names[taken], "images": f"{difference[true, taken]:+d}"}
        for true, taken in places
        if difference[true, taken]
    ]


def by_dataset(configurations: Sequence[Configuration]) -> Iterator[tuple[str, list[Configuration]]]:
    for name in dict.fromkeys(each.dataset for each in configurations):
        yield name, [each for each in configurations if each.dataset == name]
