"""What a training is called: its network, its data set, and what was set differently from the recipe."""

from pathlib import Path
from typing import Any

from imagelab.recipes import recommended
from imagelab.settings.experiment import ExperimentSettings
from imagelab.settings.kinds import Kind, names_of_kind

LONGEST = 120  # characters
SHORT = {"learning_rate": "lr", "learning_rate_schedule": "schedule", "fine_tune_learning_rate": "fine tune lr"}
UNNAMED = {"dataset", "model", "seeds", "folds", "audit", *names_of_kind(ExperimentSettings, Kind.OPERATIONAL)}


def name_of(settings: ExperimentSettings) -> str:
    """As `basic_cnn, fashion_mnist, lr 0.002`.

    Args:
        settings: as they were given, not yet completed by the recipe.
    """
    recipe = recommended(settings.dataset, settings.model, settings.recipe)
    given = {key: value for key, value in settings.given().items() if key not in UNNAMED and value != recipe.get(key)}
    words = [Path(settings.model).stem, Path(settings.dataset).stem, *map(label, given.keys(), given.values())]
    name = ", ".join(words)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..."


def shortest(value: float) -> str:
    """The shortest text from which the very number can be read back: 0.001, 1e-05, 2."""
    text = f"{value:g}"  # has six digits at most
    return text if float(text) == value else repr(value)


def label(name: str, value: Any) -> str:
    shown = f"{value:.4g}" if isinstance(value, float) else Path(value).name if name == "weights" else str(value)
    return f"{SHORT.get(name, name.replace('_', ' '))} {shown}"
