"""How long the trainings of a reproduction will take, said before they begin.

Where this machine has trained with the same settings before, that is what they took. Otherwise it is the processor
seconds that they took elsewhere (WORK), at the speed at which this machine computes convolutions at this moment.
"""

import json
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from imagelab.comparison.training import Training, training_of
from imagelab.console import how_many, say
from imagelab.progress import in_words
from imagelab.settings import ReproduceSettings, TrainSettings, configuration_key
from imagelab.tracking import runs_of_all, use_tracking_store
from imagelab.tracking.roles import FINAL

if TYPE_CHECKING:
    from imagelab.tracking import Client
    from imagelab.training_series import PlannedTraining

# Measured on an AMD EPYC with AVX2, in float32: processor seconds of an epoch of the whole training split.
WORK = {
    ("fashion_mnist", "basic_ann"): 2.0,
    ("fashion_mnist", "basic_cnn"): 31.0,
    ("fashion_mnist", "deeper_cnn"): 100.0,
    ("cifar100", "basic_ann"): 3.0,
    ("cifar100", "basic_cnn"): 45.0,
    ("fashion_mnist", "small_resnet"): 260.0,
    ("cifar100", "small_resnet"): 280.0,
    ("cifar100", "deeper_cnn"): 140.0,  # by its ratio to Fashion-MNIST's on another machine
    ("cifar100", "resnet50"): 12.0,  # of the head
    ("digits", "basic_ann"): 0.1,
    ("digits", "basic_cnn"): 0.15,
    ("digits", "deeper_cnn"): 0.6,
}
# Of each training besides: compiling, scores, figures, delivery.
AROUND = {"fashion_mnist": 12.0, "cifar100": 32.0, "digits": 8.0}
FEATURES = 2500.0  # processor seconds for all 60,000 images through ResNet50 at 160 pixels
FEATURES_AT = 160
SPEED = 2.4  # what `convolution_speed` gives there for each processor second
MEASURE_FOR = 1.0  # seconds


@dataclass(frozen=True)
class TimeNeeded:
    """Seconds that each training is expected to take, and how that is known, in words."""

    seconds: Sequence[float]
    source: str


def refuse_early(settings: ReproduceSettings) -> None:
    """Refuse what cannot be trained, before anything is started that takes seconds.

    Raises:
        SettingsError: the settings do not go with a recipe.
        TrackingError: the store does not answer.
    """
    for training in settings.trainings():
        training.with_recipe()
    use_tracking_store()


def time_needed(client: "Client", trainings: Iterable[TrainSettings]) -> TimeNeeded:
    """What the trainings will take one after the other; later seeds find the features of the first in the cache."""
    complete = [settings.with_recipe() for settings in trainings]
    earlier_of = {pair_of(settings): seconds_of_earlier(client, settings) for settings in firsts(complete)}
    known = [earlier_of[pair_of(settings)] for settings in complete]
    if all(known):
        return TimeNeeded([each or 0.0 for each in known], "as long as the same trainings took on this machine before")
    slower = SPEED / convolution_speed()  # seconds from now on for each processor second there
    guessed = []
    for settings, earlier in zip(complete, known, strict=True):
        guessed.append(earlier or slower * work_of(settings, with_features=is_first(settings, complete)))
    some = "earlier trainings of this machine and " if any(known) else ""
    return TimeNeeded(guessed, f"an estimate from {some}what this machine computes in a second")


def pair_of(settings: TrainSettings) -> tuple[str, str]:
    return settings.dataset, settings.model


def firsts(trainings: Sequence[TrainSettings]) -> list[TrainSettings]:
    """The first of each data set and model; the others have another seed."""
    return list({pair_of(settings): settings for settings in reversed(trainings)}.values())


def is_first(settings: TrainSettings, trainings: Sequence[TrainSettings]) -> bool:
    """Whether it is the first training with its backbone."""
    return next(each for each in trainings if each.model == settings.model) is settings


def work_of(settings: TrainSettings, with_features: bool) -> float:
    """Processor seconds that a training takes on the machine of WORK, if it does not stop early."""
    epochs = settings.epochs or 0
    seconds = AROUND[settings.dataset] + epochs * WORK[settings.dataset, settings.model]
    if settings.image_size:
        once = FEATURES * (settings.image_size / FEATURES_AT) ** 1.5  # small ones cost more than their share
        seconds += once * (3 * epochs if settings.weights == "none" else with_features)  # 3: there, back, and the sums
    return seconds


def seconds_of_earlier(client: "Client", settings: TrainSettings) -> float | None:
    """What finished trainings with these settings, whatever their seed, took on this machine; None: there is none."""
    key = configuration_key(json.loads(settings.as_tag()))
    query = (
        f"{FINAL[0]} and tags.dataset = '{settings.dataset}' and tags.model = '{settings.model}' "
        f"and tags.host = '{platform.node()}' and attributes.status = 'FINISHED'"
    )
    found = []
    for run in runs_of_all(client, query):
        training, metrics = training_of(run), run.data.metrics
        if isinstance(training, Training) and training.key == key and "training_seconds" in metrics:
            found.append(AROUND[settings.dataset] + metrics["training_seconds"] + metrics.get("feature_seconds", 0.0))
    return mean(found) if found else None


def convolution_speed() -> float:
    """Thousands of 28x28 pictures with 32 channels a second through a 3x3 convolution to 64 channels, here and now."""
    from keras import ops

    from imagelab.training.precision import choose_dtype_policy

    dtype = "bfloat16" if "bfloat16" in choose_dtype_policy("auto") else "float32"
    pictures = ops.cast(np.ones((128, 28, 28, 32), np.float32), dtype)
    kernel = ops.cast(np.ones((3, 3, 32, 64), np.float32), dtype)
    float(ops.conv(pictures, kernel)[0, 0, 0, 0])  # the first one is slow
    done, started = 0, time.monotonic()
    while time.monotonic() - started < MEASURE_FOR:
        float(ops.conv(pictures, kernel)[0, 0, 0, 0])
        done += len(pictures)
    return done / 1000 / (time.monotonic() - started)


def say_what_comes(settings: ReproduceSettings, left: "Sequence[PlannedTraining]", source: str) -> None:
    """What will be trained, and how long it will take, before it begins.

    Args:
        left: the trainings that no earlier command has finished.
        source: how that is known, in words.
    """
    every = len(settings.trainings())
    what = f"{len(left)} of {every} trainings left" if len(left) < every else how_many(len(settings.pairs), "network")
    about = in_words(sum(each.expected for each in left))
    say(f"{what}, {settings.seeds_text}, recipe {settings.recipe}, about {about}:")
    for pair in settings.pairs:
        those = [each for each in left if pair_of(each.settings) == pair]
        if those:
            epochs, seconds = those[0].settings.with_recipe().epochs, sum(each.expected for each in those)
            say(f"  {pair[1]} on {pair[0]}, at most {epochs} epochs: about {in_words(seconds)}")
    say(f"({source}; less where training stops early or features are in the cache)")
