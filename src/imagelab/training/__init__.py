"""From a data set to a best network: fit, checkpoints, precision; the only room that says fit."""

from imagelab.training.backbone_features import BackboneFeatures
from imagelab.training.checkpoints import Checkpoints, RowsOnly
from imagelab.training.fitting import FitEvents, Fitter
from imagelab.training.plan import FitPlan
from imagelab.training.precision import choose_dtype_policy
from imagelab.training.rising_rate import RisingRate, Step

__all__ = [
    "BackboneFeatures",
    "Checkpoints",
    "FitEvents",
    "FitPlan",
    "Fitter",
    "RisingRate",
    "RowsOnly",
    "Step",
    "choose_dtype_policy",
]
