"""ResNet-20 for small images (He et al., 2016), with shortcuts of 1x1 convolutions where the shape changes."""

import keras

from imagelab.models import Shape
from imagelab.models.residual import residual_network


def build(
    image_shape: Shape,
    num_classes: int,
    dropout_rate: float | None = None,
    stochastic_depth: float = 0.0,
) -> keras.Model:
    """Three stages of three blocks with 16, 32 and 64 filters (about 0.27 M parameters)."""
    blocks = [(filters, strides) for filters, first in ((16, 1), (32, 2), (64, 2)) for strides in (first, 1, 1)]
    return residual_network(
        "resnet20", image_shape, num_classes, dropout_rate, stochastic_depth, stem=[(16, 1)], blocks=blocks
    )
