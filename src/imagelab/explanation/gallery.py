"""Which images of which classes are explained, and what is shown of each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from imagelab.explanation.explainer import Explainer

SHOWN_CLASSES = 4  # where none are named
BATCH = 8  # maps that are computed at once


@dataclass(frozen=True)
class Answers:
    """What a network says of images whose classes are known: all int64 (n,) but confidence, which is float (n,).

    Attributes:
        indices: numbers of the images in their split.
        labels, predicted: the truth, and what they were taken for.
        confidence: the probability of the latter.
    """

    indices: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    def surest(self, label: int, most: int) -> np.ndarray:
        """Numbers of the images of a class: the surest right ones, then the surest wrong ones, up to `most` of each."""
        order = np.argsort(-self.confidence, kind="stable")
        of_class = order[self.labels[order] == label]
        right = self.predicted[of_class] == label
        return self.indices[np.concatenate([of_class[right][:most], of_class[~right][:most]])]


@dataclass(frozen=True)
class ExplainedImage:
    """An image, the answer to it, and where that comes from.

    Attributes:
        index: its number in its split.
        image: uint8 (height, width, channels).
        confidence, truth_probability: of the predicted class, and of the true one.
        map, truth_map: what speaks for the predicted class and for the true one, as `Explanation.maps` has it; of an
            image that the network gets right there is one map.
    """

    index: int
    image: np.ndarray
    label: int
    predicted: int
    confidence: float
    truth_probability: float
    map: np.ndarray
    truth_map: np.ndarray | None

    @property
    def is_right(self) -> bool:
        return self.label == self.predicted


def classes_to_show(answers: Answers) -> list[int]:
    """The two classes of the most frequent mistake, then those with the lowest accuracy: SHOWN_CLASSES at most."""
    labels, predicted = answers.labels, answers.predicted
    present, images = np.unique(labels, return_counts=True)
    errors = np.array([(predicted[labels == label] != label).sum() for label in present])
    worst_first = present[np.argsort(-errors / images, kind="stable")]
    mistakes = np.stack([labels, predicted], axis=1)[labels != predicted]
    pair: list[int] = []
    if len(mistakes):
        pairs, counts = np.unique(mistakes, axis=0, return_counts=True)
        pair = [each for each in pairs[counts.argmax()].tolist() if each in present]
    return list(dict.fromkeys([*pair, *worst_first.tolist()]))[:SHOWN_CLASSES]


def explain_images(
    explainer: Explainer,
    compute: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    indices: Sequence[int],
    advance: Callable[[int], None],
) -> tuple[list[ExplainedImage], str]:
    """Explain the answers to some images of a split, and say by which method.

    Args:
        compute: the network: uint8 images (n, height, width, channels) to probabilities (n, classes).
        images, labels: the whole split.
        advance: is told how many more images are done.
    """
    explained, method = [], ""
    for start in range(0, len(indices), BATCH):
        chosen = np.asarray(indices[start : start + BATCH])
        batch, truth = images[chosen], labels[chosen]
        probabilities = compute(batch)
        predicted = probabilities.argmax(axis=1)
        answer = explainer.explain(batch, predicted)
        wrong, method = np.flatnonzero(predicted != truth), answer.method
        truth_maps = dict(zip(wrong.tolist(), truth_maps_of(explainer, batch[wrong], truth[wrong]), strict=True))
        for i, index in enumerate(chosen.tolist()):
            label, guess, row = int(truth[i]), int(predicted[i]), probabilities[i]
            maps = answer.maps[i], truth_maps.get(i)
            explained.append(ExplainedImage(index, batch[i], label, guess, float(row[guess]), float(row[label]), *maps))
        advance(len(chosen))
    return explained, method


def truth_maps_of(explainer: Explainer, images: np.ndarray, labels: np.ndarray) -> Iterator[np.ndarray]:
    yield from explainer.explain(images, labels).maps if len(images) else ()
