"""The table: a row a configuration, its scores over seeds, and of its settings only those that differ."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagelab.comparison.training import PROCESSOR_SECONDS, WHOLE_SECONDS, Configuration
from imagelab.console import printable
from imagelab.settings import shortest

if TYPE_CHECKING:
    import pandas as pd

    from imagelab.tables import Row

NAMED = ("dataset", "model")  # settings that have a column of their own
SCORES = {  # column of the CSV: metric
    "test_accuracy": "test_accuracy",
    "val_accuracy": "best_val_accuracy",
    "test_top_5_accuracy": "test_top_5_accuracy",
    "test_macro_f1": "test_macro_f1",
    "test_loss": "test_loss",
    "test_calibration_error": "test_calibration_error",
    "training_seconds": "training_seconds",
    WHOLE_SECONDS: WHOLE_SECONDS,
    "training_processor_seconds": "training_processor_seconds",
    PROCESSOR_SECONDS: PROCESSOR_SECONDS,
    "best_epoch": "best_epoch",
}


def labelled(configurations: Sequence[Configuration]) -> list[Configuration]:
    """With labels that tell them apart: the model, and what differs among those of one data set and model."""
    several = len({each.dataset for each in configurations}) > 1
    groups: dict[tuple[str, str], list[Configuration]] = {}
    for each in configurations:
        groups.setdefault((each.dataset, each.model), []).append(each)
    differing = {names: differing_settings(peers) for names, peers in groups.items()}
    texts = {names: settings_texts(peers, differing[names]) for names, peers in groups.items()}
    named = []
    for each in configurations:
        names = (each.dataset, each.model)
        model = f"{each.model} on {each.dataset}" if several else each.model
        seed = f"seed {each.seeds[0]}" if each.seeds and len(groups[names]) > 1 and not differing[names] else ""
        words = (model, texts[names][each.key], seed)
        named.append(replace(each, label=", ".join(filter(None, words))))
    return told_apart(named)


def told_apart(configurations: Sequence[Configuration]) -> list[Configuration]:
    """With the beginning of a run id where labels are equal, as those of two files of weights with one name."""
    count = Counter(each.label for each in configurations)
    return [
        replace(each, label=f"{each.label}, run {each.trainings[0].run_id[:8]}") if count[each.label] > 1 else each
        for each in configurations
    ]


def differing_settings(configurations: Iterable[Configuration]) -> list[str]:
    """Settings, but for data set and model, in which not all that have them are equal: an ensemble has few."""
    values: dict[str, set[str]] = {}
    every = [configuration.settings for configuration in configurations]
    for name in dict.fromkeys(name for settings in every for name in settings):
        values[name] = {repr(settings[name]) for settings in every if name in settings}
    return [name for name, found in values.items() if len(found) > 1 and name not in NAMED]


def settings_texts(configurations: Sequence[Configuration], names: Sequence[str]) -> dict[str, str]:
    """Settings in words, by the key of the configuration; numbers with four digits where these tell all apart."""
    exact = {each.key: settings_text(each, names, shortest) for each in configurations}
    texts = {each.key: settings_text(each, names, four_digits) for each in configurations}
    return texts if len(set(texts.values())) == len(set(exact.values())) else exact


def settings_text(configuration: Configuration, names: Iterable[str], number: Callable[[float], str]) -> str:
    """Those that it has not are left away."""
    settings = configuration.settings
    return ", ".join(
        f"{name} {plain(name, settings[name], number)}" for name in names if settings.get(name) is not None
    )


def plain(name: str, value: Any, number: Callable[[float], str]) -> str:
    """A setting's value as one reads it; of a file of weights its name, wherever it lies."""
    if isinstance(value, float):
        return number(value)
    if name == "teacher":
        return str(value).removeprefix("models:/")[:10]
    if name == "runs":  # of an ensemble
        return " ".join(run_id[:8] for run_id in value.split(","))
    return Path(value).name if name == "weights" else str(value)


def four_digits(value: float) -> str:
    return f"{value:.4g}"


def frame_of(configurations: Sequence[Configuration], epochs: Mapping[str, int]) -> "pd.DataFrame":
    """`performance_comparison.csv`: shares between 0 and 1, seconds; standard deviations (n - 1) under `_std`.

    Args:
        epochs: how many epochs each run was trained for, of the runs whose curves were read.
    """
    import pandas as pd

    differing = differing_settings(configurations)
    return pd.DataFrame([row_of(each, differing, epochs) for each in configurations])


def row_of(configuration: Configuration, differing: list[str], epochs: Mapping[str, int]) -> dict[str, Any]:
    row: dict[str, Any] = {"dataset": configuration.dataset, "model": configuration.model}
    row |= {"configuration": configuration.label, "seeds": len(configuration.seeds)}
    for column, metric in SCORES.items():
        row |= {column: configuration.mean_of(metric), f"{column}_std": configuration.spread_of(metric)}
    row["parameter_count"] = configuration.mean_of("parameter_count")
    row["epochs_trained"] = configuration.mean_epochs(epochs)
    settings = configuration.settings
    row |= {name: settings.get(name) for name in differing}
    if row.get("weights"):
        row["weights"] = plain("weights", row["weights"], shortest)
    row["seed_of_each"] = " ".join(map(str, configuration.seeds))
    row["test_accuracy_of_each"] = " ".join(f"{value:.6g}" for value in configuration.values_of("test_accuracy"))
    row["run_ids"] = " ".join(each.run_id for each in configuration.trainings)
    return row


def rows_to_read(configurations: Sequence[Configuration], epochs: Mapping[str, int]) -> "list[Row]":
    """The table as people read it: percentages, mean ± standard deviation; columns that nobody has are left away."""
    differing = differing_settings(configurations)
    texts = settings_texts(configurations, differing)
    rows = [row_to_read(each, texts[each.key], epochs) for each in configurations]
    used = [name for name in rows[0] if any(row[name] for row in rows)]
    return [{name: row[name] for name in used} for row in rows]


def row_to_read(configuration: Configuration, settings: str, epochs: Mapping[str, int]) -> "Row":
    return {
        "data set": configuration.dataset,
        "model": configuration.model,
        "settings that differ": settings,
        "seeds": seeds_text(configuration.seeds),
        "test accuracy": with_spread(configuration, "test_accuracy", percent),
        "validation": with_spread(configuration, "best_val_accuracy", percent),
        "top-5": with_spread(configuration, "test_top_5_accuracy", percent),
        "parameters": shown(configuration.mean_of("parameter_count"), "{:,.0f}".format),
        "seconds": with_spread(configuration, WHOLE_SECONDS, seconds_text),
        "processor seconds": with_spread(configuration, PROCESSOR_SECONDS, seconds_text),
        "epochs": shown(configuration.mean_epochs(epochs), "{:.3g}".format),
        "best epoch": shown(configuration.mean_of("best_epoch"), "{:.3g}".format),
    }


def seconds_text(seconds: float) -> str:
    return f"{seconds:,.1f}" if seconds < 10 else f"{seconds:,.0f}"


def seeds_text(seeds: list[int]) -> str:
    """Which they are, as long as they are few."""
    return ", ".join(map(str, seeds)) if len(seeds) <= 5 else f"{len(seeds)} of them"


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def shown(value: float, form: Callable[[float], str]) -> str:
    return "" if math.isnan(value) else form(value)


def with_spread(configuration: Configuration, metric: str, form: Callable[[float], str]) -> str:
    """Mean ± standard deviation, the unit once; the mean alone of a single value."""
    average, spread = configuration.mean_of(metric), configuration.spread_of(metric)
    if math.isnan(average) or math.isnan(spread):
        return shown(average, form)
    first, _, unit = form(average).partition(" ")
    return f"{first} ± {form(spread).partition(' ')[0]} {unit}".rstrip()


def markdown(rows: "Sequence[Row]") -> str:
    """Rows as a table of Markdown."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(printable(value).replace("|", "\\|") for value in row.values()) + " |" for row in rows]
    return "\n".join(lines)
