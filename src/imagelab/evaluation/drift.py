"""Whether images differ from those that a network has learned from: figures of an image, compared as distributions.

A difference counts where it is large and no luck. Large is a difference of means of at least half a standard
deviation (a medium effect: Cohen, J. (1988), Statistical power analysis for the behavioral sciences, section 2.2), or
a tenth of the images in other classes. Luck is ruled out where it makes such a difference once in a thousand times.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

LARGE = 0.5  # standard deviations between two means
LARGE_SHARE = 0.1  # of the images
LUCK = 0.001
AT_ONCE = 1000  # images whose pixels are in memory as float64
SIZE = "another size"
PREDICTED = "classes as predicted"  # compared with those of the validation images
COLUMNS = ("figure", "training", "given", "difference", "in_standard_deviations", "p_value", "off")


def pixel_figures(images: np.ndarray) -> dict[str, np.ndarray]:
    """Mean and standard deviation of the pixels of each image, a channel at a time, each float (n,).

    Args:
        images: uint8 (n, height, width, channels).
    """
    channels = images.shape[3]
    names = [""] if channels == 1 else ["red ", "green ", "blue "][:channels]
    figures = {}
    parts = [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)]
    for channel, name in enumerate(names):
        pixels = [part[..., channel].reshape(len(part), -1) for part in parts]
        figures[f"{name}pixel mean"] = np.concatenate([part.mean(axis=1) for part in pixels])
        figures[f"{name}pixel standard deviation"] = np.concatenate([part.std(axis=1) for part in pixels])
    return figures


def mean_drift(figure: str, training: np.ndarray, given: np.ndarray) -> dict[str, object]:
    """A row of the table: the means of a figure of an image, and how far they are apart.

    Args:
        training, given: the figure of each image, (n,) and (m,).
    """
    from scipy.stats import norm

    difference, spread = float(given.mean() - training.mean()), float(training.std())
    error = spread * np.sqrt(1 / len(training) + 1 / len(given))  # the given ones, if drawn alike, spread alike
    p_value = float(2 * norm.sf(abs(difference) / error)) if error else float(difference == 0)
    distance = difference / spread if spread else np.copysign(np.inf, difference) if difference else 0.0
    off = abs(distance) >= LARGE and p_value < LUCK
    return dict(zip(COLUMNS, (figure, training.mean(), given.mean(), difference, distance, p_value, off), strict=True))


def share_drift(figure: str, training: np.ndarray, given: np.ndarray) -> dict[str, object]:
    """A row of the table: the share of the given images that would have to change their class.

    That is half the sum of the differences of the shares (total variation distance), with Pearson's chi-squared test.

    Args:
        training, given: how many images are in each class, (classes,).
    """
    from scipy.stats import chi2_contingency

    counts = np.array([training, given])
    counts = counts[:, counts.sum(axis=0) > 0]
    shares = counts / counts.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    p_value = float(chi2_contingency(counts).pvalue) if counts.shape[1] > 1 else 1.0
    off = distance >= LARGE_SHARE and p_value < LUCK
    return dict(zip(COLUMNS, (figure, 0.0, distance, distance, np.nan, p_value, off), strict=True))


def size_drift(width: int, height: int, images: int, sizes: np.ndarray) -> dict[str, object]:
    """A row of the table: the share of the given images that have another size than all training images.

    Args:
        images: how many training images there are.
        sizes: width and height of each given image in pixels, (m, 2).
    """
    others = int((sizes != (width, height)).any(axis=1).sum())
    row = share_drift(SIZE, np.array([images, 0]), np.array([len(sizes) - others, others]))
    return {**row, "figure": f"{SIZE} than {width} x {height} pixels"}


def class_shares(training: np.ndarray, given: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """The share of each class among predictions: of training images, of given ones, and the difference.

    Args:
        training, given: how many images are predicted to be of each class, (classes,).
    """
    shares = {"training": training / training.sum(), "given": given / given.sum()}
    return pd.DataFrame({"class": class_names, **shares}).assign(difference=shares["given"] - shares["training"])


def warnings_of(drift: pd.DataFrame) -> list[str]:
    """What is off, and by how much, a sentence each."""
    rows = drift[drift["off"].astype(bool)].itertuples(index=False)
    return [sentence_of(*(getattr(row, name) for name in COLUMNS[:5])) for row in rows]


def sentence_of(figure: str, training: float, given: float, difference: float, distance: float) -> str:
    if figure.startswith(SIZE):
        return f"{figure}: {difference:.1%} of the images"
    if np.isnan(distance):
        whose = "the validation images" if figure == PREDICTED else "the training images"
        return f"{figure}: {difference:.1%} of the images are in other classes than by the shares of {whose}"
    how_far = (
        f"{distance:+.1f} standard deviations" if np.isfinite(distance) else "which is that of all training images"
    )
    return f"{figure}: {given:.4g} instead of {training:.4g} ({how_far})"
