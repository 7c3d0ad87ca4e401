"""What is compared: a finished training as the store has it, and a configuration, which is its replicates together."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev
from types import UnionType
from typing import Any

from imagelab.console import printable
from imagelab.models import ENSEMBLE
from imagelab.settings import configuration_key, configuration_of

REQUIRED = ("best_val_accuracy", "test_accuracy")
# Metrics that are made here: seconds of training and of the features for it, whoever computed them.
WHOLE_SECONDS, PROCESSOR_SECONDS = "seconds_with_features", "processor_seconds_with_features"
MOST_OF_A_NAME = 100  # letters that are said
PLAIN = str | int | float | None
TYPES: dict[str, type | UnionType] = {  # of settings that are looked into here; the others are PLAIN
    "dataset": str,
    "model": str,
    "seed": int,
    "limit": int | None,
    "weights": str | None,
    "runs": str,
}


@dataclass(frozen=True)
class Training:
    """A finished run.

    Attributes:
        settings: typed, as the run's tag has them.
        digest: of its data set.
        metrics: the last value of each, `WHOLE_SECONDS` and `PROCESSOR_SECONDS`.
        began: when, in milliseconds since 1970.
    """

    run_id: str
    name: str
    settings: dict[str, Any]
    digest: str
    metrics: dict[str, float]
    began: int

    @property
    def seed(self) -> int:
        """By which it is ordered and paired; 0 for an ensemble, which has none and shows none."""
        return int(self.settings.get("seed", 0))

    @property
    def key(self) -> str:
        """Equal for trainings that differ in nothing but their seed."""
        return configuration_key(self.settings)


@dataclass(frozen=True)
class LeftOut:
    """A run that was found but is not compared, and why."""

    run_id: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"run {self.run_id} ({printable(self.name[:MOST_OF_A_NAME])}): {printable(self.reason)}"


@dataclass(frozen=True)
class Configuration:
    """Trainings with the same settings and data, one a seed, in the order of their seeds.

    Attributes:
        label: what tells it from the others of a comparison.
    """

    trainings: tuple[Training, ...]
    label: str = ""

    @cached_property
    def settings(self) -> dict[str, Any]:
        return configuration_of(self.trainings[0].settings)

    @property
    def key(self) -> str:
        """Equal for configurations whose seeds are compared with each other."""
        return self.trainings[0].key

    @property
    def dataset(self) -> str:
        return str(self.settings["dataset"])

    @property
    def model(self) -> str:
        return str(self.settings["model"])

    @property
    def seeds(self) -> list[int]:
        """One a training; an ensemble has none."""
        return [] if self.model == ENSEMBLE else [training.seed for training in self.trainings]

    def name_of_network(self, seed: int) -> str:
        """What its network of a seed is called; the label may say the seed already, and an ensemble has none."""
        is_told = not self.seeds or self.label.endswith(f"seed {seed}")
        return self.label if is_told else f"{self.label}, seed {seed}"

    @property
    def val_accuracy(self) -> float:
        """The mean over seeds, by which configurations are chosen and ordered."""
        return self.mean_of("best_val_accuracy")

    def mean_epochs(self, epochs: Mapping[str, int]) -> float:
        """For how many epochs it was trained, on average; NaN where the curves of no training were read."""
        known = [epochs[training.run_id] for training in self.trainings if training.run_id in epochs]
        return mean(known) if known else math.nan

    def values_of(self, metric: str) -> list[float]:
        """Its value of each training that has one."""
        return [training.metrics[metric] for training in self.trainings if metric in training.metrics]

    def mean_of(self, metric: str) -> float:
        """The mean over seeds; NaN where there is none."""
        values = self.values_of(metric)
        return mean(values) if values else math.nan

    def spread_of(self, metric: str) -> float:
        """The standard deviation over seeds (n - 1); NaN of fewer than two."""
        values = self.values_of(metric)
        return stdev(values) if len(values) > 1 else math.nan


def training_of(run: Any) -> Training | LeftOut:
    """A run of the store as a training, or why it cannot be compared."""
    run_id, name, tags = run.info.run_id, run.info.run_name or "", run.data.tags
    if run.info.lifecycle_stage != "active":
        return LeftOut(run_id, name, "is deleted")
    if run.info.status != "FINISHED":
        return LeftOut(run_id, name, f"is {run.info.status}, not FINISHED")
    if "settings" not in tags:
        return LeftOut(run_id, name, "has no tag settings, by which runs are compared, and no settings.json either")
    try:
        settings = settings_in(tags["settings"])
    except ValueError as error:
        return LeftOut(run_id, name, f"has a tag settings that cannot be read ({error})")
    metrics = with_features(run.data.metrics)
    if missing := [metric for metric in REQUIRED if not math.isfinite(metrics.get(metric, math.nan))]:
        return LeftOut(run_id, name, f"has no {' and no '.join(missing)}")
    return Training(run_id, name, settings, tags.get("dataset_digest", ""), metrics, run.info.start_time)


def with_features(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics with both sums, each where all of it was measured."""
    features = sum(metrics.get(part, 0.0) for part in ("feature_seconds", "feature_seconds_saved"))
    of_processors = metrics.get("feature_processor_seconds", math.nan if "feature_seconds" in metrics else 0.0)
    sums = {
        WHOLE_SECONDS: metrics.get("training_seconds", math.nan) + features,
        PROCESSOR_SECONDS: metrics.get("training_processor_seconds", math.nan) + of_processors,
    }
    return {**metrics, **{name: value for name, value in sums.items() if math.isfinite(value)}}


def settings_in(tag: str) -> dict[str, Any]:
    """The typed settings that a run's tag holds; only what would stop a comparison is checked, for runs are many.

    Raises:
        ValueError: says what is wrong with them.
    """
    settings = json.loads(tag)
    if not isinstance(settings, dict):
        raise ValueError("it has no names")
    of_ensemble = ("runs", "weights", "limit") if settings.get("model") == ENSEMBLE else ()
    if missing := [name for name in ("dataset", "model", *of_ensemble) if name not in settings]:
        raise ValueError(f"it lacks {', '.join(missing)}")
    for name, value in settings.items():
        if not isinstance(value, TYPES.get(name, PLAIN)):
            raise ValueError(f"{name} is {json.dumps(value)[:50]}")
    return settings
