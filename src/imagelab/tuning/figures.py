"""Optuna's figures of a study, as pages to explore and pictures to look at, and the table of its trials."""

import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import NullFormatter
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as pictures

from imagelab.tuning.study import Study
from imagelab.tuning.trial_states import ending_of

LAYOUT: dict[Any, Any] = {"figure.constrained_layout.use": True}
MOST_IN_CONTOUR = 4  # settings: the figure has as many rows and columns


def draw_study(study: Study) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, page, picture) of each figure that the study has enough trials for: plotly and matplotlib ones."""
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    mpl.use("Agg")
    for name, options in figures_of(study):
        page = picture = None
        with suppress(ValueError, RuntimeError), warnings.catch_warnings(), plt.rc_context(LAYOUT):
            warnings.simplefilter("ignore")
            page = getattr(optuna.visualization, f"plot_{name}")(study.optuna_study, **options)
            axes = getattr(pictures, f"plot_{name}")(study.optuna_study, **options)
            picture = np.atleast_1d(axes).flat[0].figure
            picture.set_size_inches(*size_of(np.shape(axes)))
            for panel in picture.axes:
                if panel.get_xscale() == "log":  # powers of ten only: in a narrow panel others overlap
                    panel.xaxis.set_minor_formatter(NullFormatter())
        if page is not None and picture is not None:
            yield name, page, picture
        plt.close("all")


def size_of(shape: tuple[int, ...]) -> tuple[float, float]:
    """Inches, for one diagram, a row of them or a square."""
    columns, rows = (shape[-1], shape[0] if len(shape) > 1 else 1) if shape else (1, 1)
    return (9.0, 5.5) if columns == 1 else (3.6 * columns, 3.6 * rows + 0.8)


def figures_of(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names of Optuna's figures, with the options of each."""
    complete = [trial for trial in study.finished if trial.state == TrialState.COMPLETE]
    names = study.settings.objectives
    shown: dict[str, Any] = {"target_name": names[0]}
    if len(names) > 1:
        shown["target"] = first_value
    yield "timeline", {}
    if len(names) > 1:
        if len(names) <= 3:
            yield "pareto_front", {"target_names": names}
    else:
        yield "intermediate_values", {}
    if not complete:
        return
    yield "optimization_history", shown
    yield "slice", shown
    if len(complete) > 1:
        yield "param_importances", shown
        yield "parallel_coordinate", shown
    if len(complete) > 1 and len(study.space) > 1:
        yield "contour", {**shown, "params": list(study.space)[:MOST_IN_CONTOUR]}


def first_value(trial: FrozenTrial) -> float:
    return float(trial.values[0])


def table_of_trials(study: Study) -> pd.DataFrame:
    """A row a trial, those that were tried again included."""
    counted = {trial.number for trial in study.trials}
    rows = []
    for trial in study.optuna_study.get_trials(deepcopy=False):
        values = trial.values or [None] * len(study.settings.objectives)
        state = ending_of(trial)[1]["trial_state"] if trial.state.is_finished() else trial.state.name.lower()
        rows.append(
            {
                "trial": trial.number,
                "state": state if trial.number in counted else f"{state}, tried again",
                "recipe": bool(trial.user_attrs.get("recipe")),
                **dict(zip(study.settings.objectives, values, strict=True)),
                **trial.params,
                "epochs": max(trial.intermediate_values, default=None),
                "seconds": trial.duration.total_seconds() if trial.duration else None,
                "run_id": trial.user_attrs.get("run_id"),
                "failure": trial.user_attrs.get("failure"),
            }
        )
    return pd.DataFrame(rows)
