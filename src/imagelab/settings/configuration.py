"""What makes two runs replicates of each other: the one place that says it."""

import json
from collections.abc import Mapping
from typing import Any

from imagelab.models import ENSEMBLE
from imagelab.settings.experiment import of_record
from imagelab.settings.kinds import Kind, names_of_kind
from imagelab.settings.train import TrainSettings

CHANCE = names_of_kind(TrainSettings, Kind.CHANCE)
UNRECORDED = {"resume", "seeds", *CHANCE, *names_of_kind(TrainSettings, Kind.OPERATIONAL)}
DEFAULTS = {name: field.default for name, field in TrainSettings.model_fields.items() if name not in UNRECORDED}


def configuration_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything in a run's typed settings but what fixes chance alone (`seed`).

    Args:
        settings: as the tag `settings` has them. A setting that is younger than the run has its default.
            The `weights` of an ensemble are called `member_weights`: those of a backbone are other ones.
    """
    if settings.get("model") == ENSEMBLE:  # which has none of a training's settings
        return {"member_weights" if name == "weights" else name: value for name, value in settings.items()}
    return {name: value for name, value in with_younger(settings).items() if name not in CHANCE}


def deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a run's recorded settings that decide its training: what the tag `settings` of a newer run holds."""
    return {name: value for name, value in settings.items() if name in DEFAULTS or name in CHANCE}


def with_younger(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's typed settings, and the defaults of those that are younger than the run."""
    return DEFAULTS | of_record(settings)


def configuration_key(settings: Mapping[str, Any]) -> str:
    """The same as text, equal for replicates whatever the order of their settings."""
    return json.dumps(configuration_of(settings), sort_keys=True)
