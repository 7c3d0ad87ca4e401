"""What may be wrong with a data set: labels that a network doubts, images that are there twice, and odd ones.

Label errors are found by confident learning (Northcutt et al., 2021, https://doi.org/10.1613/jair.1.12125), as
cleanlab has it. Copies and odd images are found by their pixels alone, without any network.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from imagelab.data.dataset import Split
from imagelab.evaluation.scores import Evaluation

COPY = 0.995  # least correlation of the pixels of copies; docs/cross_validation.md shows what is above and below
NEIGHBOURS = 10
COMPONENTS = 64
SIDE = 32  # pixels; larger images are made smaller before they are compared, to no less than this
MOST_OUTLIERS = 100
COLUMNS = ("split", "index", "label", "training_index", "training_label", "same_label", "similarity", "exact")


def likely_label_errors(evaluation: Evaluation, indices: np.ndarray) -> pd.DataFrame:
    """A row an image whose label is probably wrong, the least likely label first.

    Args:
        evaluation: what networks that have not learned from these images say of them.
        indices: the number by which each image is known, (n,).
    """
    labels, probabilities = evaluation.labels, evaluation.probabilities
    quality = get_label_quality_scores(labels, probabilities)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "May not flag all label issues")  # a class without images, or with one
        found = np.flatnonzero(find_label_issues(labels, probabilities, n_jobs=1))
    found = found[np.argsort(quality[found], kind="stable")]
    names = np.array(evaluation.class_names)
    return pd.DataFrame(
        {
            "index": indices[found],
            "label": names[labels[found]],
            "predicted": names[evaluation.predicted[found]],
            "label_quality": quality[found],
            "confidence": evaluation.confidence[found],
        }
    )


def patterns(images: np.ndarray) -> np.ndarray:
    """Pixels without brightness and contrast, float32 (n, pixels): the product of two is their correlation.

    Args:
        images: uint8 (n, height, width, channels).
    """
    count, height, width, channels = images.shape
    step = max(1, min(height, width) // SIDE)
    rows, columns = height // step, width // step
    blocks = images[:, : rows * step, : columns * step].reshape(count, rows, step, columns, step, channels)
    pixels = blocks.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1)
    pixels -= pixels.mean(axis=1, keepdims=True)
    return pixels / np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-6)


@dataclass(frozen=True)
class Neighbours:
    """The training images that are nearest to each image: their numbers and distances, the nearest first, (n, k)."""

    numbers: np.ndarray
    distances: np.ndarray


class ImageIndex:
    """Finds the training images that are most like an image.

    Distances are those of the first principal components. A projection makes no distance greater, so it hides no copy.
    """

    def __init__(self, training: Split) -> None:
        self.training, self.patterns = training, patterns(training.images)
        self.components = PCA(min(COMPONENTS, *self.patterns.shape), random_state=0).fit(self.patterns)
        self.search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(training) - 1), algorithm="brute")
        self.search.fit(self.components.transform(self.patterns))

    def neighbours(self, asked: np.ndarray | None = None) -> Neighbours:
        """Of images by their `patterns`, or of each training image among the others."""
        points = None if asked is None else self.components.transform(asked)
        distances, numbers = self.search.kneighbors(points)
        return Neighbours(numbers, distances)

    def copies(self, split: Split, asked: np.ndarray, nearest: Neighbours) -> pd.DataFrame:
        """Each image that has a copy among the training images, with the one that is most like it.

        Args:
            split, asked: the images, and their `patterns`.
        """
        radius = np.sqrt(2 - 2 * COPY) + 1e-3  # of vectors of length 1, and for what float32 rounds
        found = []
        for numbers, distances in zip(nearest.numbers.T, nearest.distances.T, strict=True):
            rows = np.flatnonzero(distances <= radius)
            theirs = numbers[rows]
            exact = (split.images[rows] == self.training.images[theirs]).all(axis=(1, 2, 3))
            alike = np.einsum("ij,ij->i", asked[rows], self.patterns[theirs]).clip(-1, 1)
            alike = np.where(exact, 1.0, alike)
            columns = {"index": rows, "training_index": theirs, "similarity": alike, "exact": exact}
            found.append(pd.DataFrame(columns).query("similarity >= @COPY"))
        order = ["exact", "similarity", "training_index"]
        table = pd.concat(found).sort_values(order, ascending=[False, False, True], kind="stable")
        return table.drop_duplicates("index")


def duplicates(index: ImageIndex, test: Split, names: tuple[str, ...], among: Neighbours) -> pd.DataFrame:
    """A row an image with a copy among the training images: those of other labels first, then the least similar.

    Two training images that are copies of each other are one row.

    Args:
        names: of the classes.
        among: `neighbours` of the training images.
    """
    asked = patterns(test.images)
    inside = index.copies(index.training, index.patterns, among)
    pair = ["training_index", "index"]
    inside[pair] = np.sort(inside[pair].to_numpy(), axis=1)
    across = index.copies(test, asked, index.neighbours(asked))
    training = index.training
    inside = with_labels(inside.drop_duplicates(pair), training, training, names).assign(split="train")
    across = with_labels(across, test, training, names).assign(split="test")
    table = pd.concat([inside, across])[list(COLUMNS)]
    return table.sort_values(["same_label", "similarity", "split", "index"], ignore_index=True)


def with_labels(copies: pd.DataFrame, split: Split, training: Split, names: tuple[str, ...]) -> pd.DataFrame:
    """Copies with the names of both classes, and whether these are the same."""
    label = np.array(names)[split.labels[copies["index"]]]
    training_label = np.array(names)[training.labels[copies["training_index"]]]
    return copies.assign(label=label, training_label=training_label, same_label=label == training_label)


def outliers(training: Split, names: tuple[str, ...], among: Neighbours) -> pd.DataFrame:
    """The training images that are farthest from their nearest neighbours, the farthest first."""
    distances = among.distances.mean(axis=1)
    found = np.argsort(-distances, kind="stable")[:MOST_OUTLIERS]
    labels = np.array(names)[training.labels[found]]
    return pd.DataFrame({"index": found, "label": labels, "mean_distance": distances[found]})
