"""A small residual network for processors: few, wide layers on small maps, where matrix products are large and fast."""

import keras

from imagelab.models import Shape
from imagelab.models.residual import residual_network


def build(
    image_shape: Shape,
    num_classes: int,
    dropout_rate: float | None = None,
    stochastic_depth: float = 0.0,
) -> keras.Model:
    """Convolutions of 32 and 64 filters, a block of 64 at half the size, two of 128 at a quarter (0.63 M in all)."""
    return residual_network(
        *("small_resnet", image_shape, num_classes, dropout_rate, stochastic_depth),
        stem=[(32, 1), (64, 2)],
        blocks=[(64, 1), (128, 2), (128, 1)],
    )
