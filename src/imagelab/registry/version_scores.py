"""Scores of networks on the same images, and how long each takes for one."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from imagelab.data.dataset import Dataset
from imagelab.data.split import SplitSpec
from imagelab.errors import RegistryError
from imagelab.evaluation.scores import Evaluation
from imagelab.evaluation.significance import PairedOutcomes, paired_outcomes
from imagelab.progress import images_progress
from imagelab.registry.gate import Scores

BATCH = 128
WARM_UP, TIMED = 5, 50  # calls with one image
Network = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class VersionScores:
    """What the gate looks at, and what of it is kept in the run.

    Attributes:
        pairs, champion: None where there is no champion.
        predictions: a row an image: its number in the training images, label, and what each version says.
    """

    challenger: Scores
    champion: Scores | None = None
    pairs: PairedOutcomes | None = None
    images: int = 0
    dataset_digest: str = ""
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class ScoredVersion:
    """A version that can be asked.

    Attributes:
        validation: numbers, of the training images, of what its run chose by and did not learn from.
        network: its compiled call: uint8 images to probabilities.
    """

    version: str
    split: SplitSpec
    validation: np.ndarray
    network: Network
    size_mb: float


def compare_versions(dataset: Dataset, versions: list[ScoredVersion], common: np.ndarray) -> VersionScores:
    labels = dataset.train.labels[common]
    images = dataset.train.images[common]
    probabilities = [probabilities_of(each.network, images, f"version {each.version}") for each in versions]
    evaluations = [Evaluation(labels, given, dataset.class_names) for given in probabilities]
    latencies = latencies_of(versions, dataset.train.images[common[:1]])
    scores = [
        scores_of(evaluation, latency, version)
        for evaluation, latency, version in zip(evaluations, latencies, versions, strict=True)
    ]
    table: dict[str, Any] = {"image": common, "label": labels}
    for role, evaluation in zip(("challenger", "champion"), evaluations, strict=False):
        table |= {f"{role}_predicted": evaluation.predicted, f"{role}_confidence": evaluation.confidence}
    return VersionScores(
        scores[0],
        scores[1] if len(scores) > 1 else None,
        paired_outcomes(evaluations[1].correct, evaluations[0].correct) if len(scores) > 1 else None,
        len(common),
        dataset.digest,
        pd.DataFrame(table),
    )


def scores_of(evaluation: Evaluation, latency: float, version: ScoredVersion) -> Scores:
    scores = evaluation.scores()
    return Scores(scores["accuracy"], latency, version.size_mb, scores["loss"], scores.get("top_5_accuracy"))


def probabilities_of(network: Network, images: np.ndarray, title: str, batch_size: int = BATCH) -> np.ndarray:
    """What a network says of uint8 images (n, height, width, channels), float32 (n, classes), a batch at a time.

    Raises:
        RegistryError: its probabilities are NaN or infinite.
    """
    answers = []
    with images_progress(len(images), title) as advance:
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            answers.append(network(batch))
            advance(len(batch))
    probabilities = np.concatenate(answers)
    if not np.isfinite(probabilities).all():
        raise RegistryError(
            f"{title}: the network returned NaN or infinite probabilities; it is damaged, or has diverged"
        )
    return probabilities


def latencies_of(versions: list[ScoredVersion], image: np.ndarray) -> list[float]:
    """Median milliseconds of a compiled call with one image, uint8 (1, height, width, channels).

    The versions take turns, so that whatever else the machine does is shared by both.
    """
    seconds: list[list[float]] = [[] for _ in versions]
    for turn in range(WARM_UP + TIMED):
        for version, taken in zip(versions, seconds, strict=True):
            began = time.perf_counter()
            version.network(image)
            if turn >= WARM_UP:
                taken.append(time.perf_counter() - began)
    return [1000 * statistics.median(taken) for taken in seconds]
