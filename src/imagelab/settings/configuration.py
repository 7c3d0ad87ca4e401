"""What makes two runs replicates of each other: the one place that says it."""

import json
from collections.abc import Mapping
from typing import Any

from imagelab.models import ENSEMBLE
from imagelab.settings.experiment import ExperimentSettings, of_record
from imagelab.settings.kinds import Kind, names_of_kind

CHANCE = names_of_kind(ExperimentSettings, Kind.CHANCE)
UNRECORDED = {*CHANCE, *names_of_kind(ExperimentSettings, Kind.OPERATIONAL)}
DEFAULTS = {name: field.default for name, field in ExperimentSettings.model_fields.items() if name not in UNRECORDED}


def configuration_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything in a run's typed settings but what fixes chance alone (`seed`).

    Args:
        settings: as the tag `settings` has them. A setting that is younger than the run has its default.
    """
    if settings.get("model") == ENSEMBLE:  # which has none of a training's settings
        return dict(settings)
    return DEFAULTS | {name: value for name, value in of_record(settings).items() if name not in CHANCE}


def configuration_key(settings: Mapping[str, Any]) -> str:
    """The same as text, equal for replicates whatever the order of their settings."""
    return json.dumps(configuration_of(settings), sort_keys=True)
