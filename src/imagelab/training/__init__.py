"""Compile, fit, checkpoints and progress; the only room that says fit."""

from imagelab.training.checkpoints import Checkpoints, RowsOnly
from imagelab.training.fit import fine_tune, predict, restore_best, seed_everything, train
from imagelab.training.precision import choose_dtype_policy, under_policy

__all__ = [
    "Checkpoints",
    "RowsOnly",
    "choose_dtype_policy",
    "fine_tune",
    "predict",
    "restore_best",
    "seed_everything",
    "train",
    "under_policy",
]
