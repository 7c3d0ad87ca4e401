"""What a command can be told: typed fields, and the words of the command line that set them."""

from imagelab.settings.parsing import parse, validate
from imagelab.settings.predict import PredictSettings
from imagelab.settings.promote import PromoteSettings, RollbackSettings
from imagelab.settings.serve import ServeSettings
from imagelab.settings.train import TrainSettings
from imagelab.settings.tune import TuneSettings

__all__ = [
    "PredictSettings",
    "PromoteSettings",
    "RollbackSettings",
    "ServeSettings",
    "TrainSettings",
    "TuneSettings",
    "parse",
    "validate",
]
