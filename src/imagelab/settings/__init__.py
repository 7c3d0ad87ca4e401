"""What a command can be told: typed fields, and the words of the command line that set them."""

from imagelab.settings.parsing import parse, validate
from imagelab.settings.train import TrainSettings

__all__ = ["TrainSettings", "parse", "validate"]
