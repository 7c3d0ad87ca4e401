"""Scores of networks on the same images, and how long each takes for one."""

import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from imagelab.data.dataset import Dataset
from imagelab.errors import RegistryError
from imagelab.evaluation import Evaluation
from imagelab.registry.gate import Pairs, Scores, pair

BATCH = 128
WARM_UP, TIMED = 5, 50  # calls with one image


@dataclass(frozen=True)
class Comparison:
    """What the gate looks at, and what of it is kept in the run.

    Attributes:
        pairs, champion: None where there is no champion.
        predictions: a row an image: its number in the training images, label, and what each version says.
    """

    challenger: Scores
    champion: Scores | None = None
    pairs: Pairs | None = None
    images: int = 0
    dataset_digest: str = ""
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class Entrant:
    """A version that can be asked.

    Attributes:
        validation: numbers, of the training images, of what its run chose by and did not learn from.
        network: its compiled call: uint8 images to probabilities.
    """

    version: str
    split: dict[str, Any]
    validation: np.ndarray
    network: Any
    size_mb: float


def compiled(network: Any, image_shape: tuple[int, ...]) -> Any:
    """The network as one graph, for any number of images."""
    import tensorflow as tf

    def call(images: Any) -> Any:
        return network(tf.cast(images, tf.float32), training=False)

    return tf.function(call, input_signature=[tf.TensorSpec((None, *image_shape), tf.uint8)])


def compare_entrants(dataset: Dataset, entrants: list[Entrant], common: np.ndarray) -> Comparison:
    labels = dataset.train.labels[common]
    probabilities = [probabilities_of(entrant, dataset.train.images, common) for entrant in entrants]
    evaluations = [Evaluation(labels, given, dataset.class_names) for given in probabilities]
    latencies = latencies_of(entrants, dataset.train.images[common[:1]])
    scores = [
        scores_of(evaluation, latency, entrant)
        for evaluation, latency, entrant in zip(evaluations, latencies, entrants, strict=True)
    ]
    table: dict[str, Any] = {"image": common, "label": labels}
    for role, evaluation in zip(("challenger", "champion"), evaluations, strict=False):
        table |= {f"{role}_predicted": evaluation.predicted, f"{role}_confidence": evaluation.confidence}
    return Comparison(
        scores[0],
        scores[1] if len(scores) > 1 else None,
        pair(evaluations[1].correct, evaluations[0].correct) if len(scores) > 1 else None,
        len(common),
        dataset.digest,
        pd.DataFrame(table),
    )


def scores_of(evaluation: Evaluation, latency: float, entrant: Entrant) -> Scores:
    scores = evaluation.scores()
    return Scores(scores["accuracy"], latency, entrant.size_mb, scores["loss"], scores.get("top_5_accuracy"))


def probabilities_of(entrant: Entrant, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """What the entrant says of the chosen images, float32 (n, classes), a batch at a time."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    starts = range(0, len(chosen), BATCH)
    title = f"version {entrant.version}"
    shown = track(starts, title, console=console, transient=True, disable=not console.is_terminal)
    answers = [entrant.network(images[chosen[start : start + BATCH]]).numpy() for start in shown]
    probabilities = np.concatenate(answers)
    if not np.isfinite(probabilities).all():
        raise RegistryError(f"version {entrant.version}: gives numbers that are none; it is damaged, or has diverged")
    return probabilities


def latencies_of(entrants: list[Entrant], image: np.ndarray) -> list[float]:
    """Median milliseconds of a compiled call with one image, uint8 (1, height, width, channels).

    The entrants take turns, so that whatever else the machine does is shared by both.
    """
    seconds: list[list[float]] = [[] for _ in entrants]
    for turn in range(WARM_UP + TIMED):
        for entrant, taken in zip(entrants, seconds, strict=True):
            began = time.perf_counter()
            entrant.network(image).numpy()
            if turn >= WARM_UP:
                taken.append(time.perf_counter() - began)
    return [1000 * statistics.median(taken) for taken in seconds]
