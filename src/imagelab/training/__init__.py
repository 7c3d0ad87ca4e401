"""Compile, fit, checkpoints and progress; the only room that says fit."""

from imagelab.training.checkpoints import Checkpoints
from imagelab.training.precision import choose_dtype_policy, under_policy
from imagelab.training.train import predict, train

__all__ = ["Checkpoints", "choose_dtype_policy", "predict", "train", "under_policy"]
