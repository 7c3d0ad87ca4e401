"""What keeps a network from learning its training images by heart, besides what its layers and images do."""

import keras
import numpy as np


def penalize_kernels(model: keras.Model, strength: float) -> None:
    """Add `strength` times the sum of squares of every kernel that is trained to the loss."""
    for variable in model.trainable_variables:
        if variable.path.endswith("kernel"):
            variable.regularizer = keras.regularizers.L2(strength)


def balanced_weights(labels: np.ndarray, num_classes: int) -> dict[int, float]:
    """What an image of each class weighs in the loss, so that all classes weigh the same: n / (classes * count)."""
    counts = np.maximum(1, np.bincount(labels, minlength=num_classes))
    return {label: float(len(labels) / (num_classes * count)) for label, count in enumerate(counts)}
