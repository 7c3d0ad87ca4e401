"""Where a network looks: Grad-CAM where it has feature maps, else gradient times input."""

from dataclasses import dataclass

import keras
import numpy as np

from imagelab.explanation.class_score import largest_is_one
from imagelab.explanation.grad_cam import GradCam
from imagelab.explanation.gradient_times_input import contributions

GRAD_CAM, GRADIENT_TIMES_INPUT = "Grad-CAM", "gradient times input"


@dataclass(frozen=True)
class Explanation:
    """Maps of images.

    Attributes:
        maps: float (n, map height, map width), 0 to 1: what speaks for the class, as a share of the most that does.
        method: GRAD_CAM, whose maps are coarser than the images, or GRADIENT_TIMES_INPUT, a value a pixel.
    """

    maps: np.ndarray
    method: str


class Explainer:
    """Explains one network, again and again; threads may share it."""

    def __init__(self, network: keras.Model) -> None:
        self.network, self.grad_cam = network, GradCam(network)

    def explain(self, images: np.ndarray, classes: np.ndarray | None = None) -> Explanation:
        """Show where the score of a class comes from.

        Args:
            images: uint8 (n, height, width, channels).
            classes: whole numbers (n,), which class is explained; None: the likeliest one of each image.
        """
        maps = self.grad_cam.heat(images, classes)
        if maps is not None:
            return Explanation(maps, GRAD_CAM)
        return Explanation(largest_is_one(contributions(self.network, images, classes)), GRADIENT_TIMES_INPUT)


def explain(network: keras.Model, images: np.ndarray, classes: np.ndarray | None = None) -> Explanation:
    """As `Explainer.explain`, for once."""
    return Explainer(network).explain(images, classes)
