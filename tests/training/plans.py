"""Small trainings for tests: a plan, and the digits split in two."""

from pathlib import Path
from typing import Any

import pytest

from imagelab.data import load_dataset
from imagelab.data.split import SplitSpec
from imagelab.errors import Interrupted
from imagelab.recipes import OFF
from imagelab.training import Checkpoints, FitEvents, FitPlan, Fitter
from imagelab.training.checkpoints import Row
from imagelab.training.precision import is_kept_from

DIGITS = load_dataset("digits")
SPLITS = SplitSpec(split_seed=0, validation_fraction=0.1).split(DIGITS.train)
USUAL = {
    **OFF,
    "model": "basic_ann",
    "epochs": 4,
    "batch_size": 64,
    "learning_rate": 0.01,
    "learning_rate_schedule": "constant",
    "label_smoothing": 0.0,
    "augmentation": "none",
    "early_stopping_patience": 5,
    "seed": 0,
    "dropout_rate": None,
    "dtype_policy": "float32",
}


def skip_without(policy: str) -> None:
    """Skip a test of a number format in which oneDNN may not compute here: it would end the process."""
    if is_kept_from(policy):
        pytest.skip(f"ONEDNN_MAX_CPU_ISA keeps oneDNN from {policy}")


def make_plan(**given: Any) -> FitPlan:
    return FitPlan(**{**USUAL, **given})


def whole_and_interrupted(fitter: Fitter, plan: FitPlan, folder: Path) -> tuple[Checkpoints, Checkpoints]:
    """What is left of a training, and of the same one when it was interrupted after each of its epochs."""

    def interrupt(row: Row) -> None:
        raise Interrupted

    whole, parts = Checkpoints(folder / "whole"), Checkpoints(folder / "parts")
    fitter.fit(plan, whole, FitEvents())
    for _ in range(plan.epochs):
        with pytest.raises(Interrupted):
            fitter.fit(plan, parts, FitEvents(on_epoch=interrupt))
    return whole, parts
