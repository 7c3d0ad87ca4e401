"""Test-time augmentation: the mean of a network's answers to several views of each image."""

from collections.abc import Callable, Iterator

import numpy as np

MOVED = 0.05  # of height and width: half of what training moves images by at most
Network = Callable[[np.ndarray], np.ndarray]


def views(images: np.ndarray, tta: str) -> Iterator[np.ndarray]:
    """The images as they are, then changed: mirrored (flip); as both, also moved in four directions (flip_shift).

    Args:
        images: (n, height, width, channels).
        tta: none, flip (2 views) or flip_shift (10 views).
    """
    sides = [images] if tta == "none" else [images, images[:, :, ::-1]]
    for side in sides:
        yield side
        for axis in (1, 2) if tta == "flip_shift" else ():
            distance = max(1, round(MOVED * images.shape[axis]))
            yield moved(side, axis, distance)
            yield moved(side, axis, -distance)


def moved(images: np.ndarray, axis: int, distance: int) -> np.ndarray:
    """The images moved along an axis by some pixels; the border is repeated, as in training."""
    size = images.shape[axis]
    positions = np.clip(np.arange(size) - distance, 0, size - 1)
    return images.take(positions, axis)


def over_views(network: Network, tta: str) -> Network:
    """A network that answers with the mean of the probabilities of all views of each image."""

    def mean(images: np.ndarray) -> np.ndarray:
        answers = [network(view) for view in views(images, tta)]
        averaged: np.ndarray = np.mean(answers, axis=0)
        return averaged

    return mean
