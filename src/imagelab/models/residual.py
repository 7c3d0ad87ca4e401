"""What residual networks share: convolutions with batch normalisation, blocks with a shortcut, and the way out."""

from collections.abc import Sequence

import keras
from keras import layers

from imagelab.models import Shape, dropout_rates
from imagelab.models.layers import dropout

MOMENTUM = 0.9  # of batch normalisation: settled after some 40 steps, an epoch of 5,000 images
Block = tuple[int, int]  # filters, and strides of its first convolution


def residual_network(
    name: str,
    image_shape: Shape,
    num_classes: int,
    dropout_rate: float | None,
    stochastic_depth: float,
    stem: Sequence[Block],
    blocks: Sequence[Block],
) -> keras.Model:
    """Pixels 0-255 scaled to 0-1, plain convolutions, residual blocks, the average over the picture, one dense layer.

    Args:
        stochastic_depth: how often the last block is skipped in training (Huang et al., 2016); earlier ones less.
        stem: the convolutions before the blocks.
        blocks: each two convolutions around which the shortcut leads.
    """
    inputs = keras.Input(image_shape)
    x = layers.Rescaling(1 / 255)(inputs)
    for filters, strides in stem:
        x = layers.Activation("relu")(convolved(x, filters, strides))
    for number, (filters, strides) in enumerate(blocks, start=1):
        x = residual_block(x, filters, strides, stochastic_depth * number / len(blocks))
    (rate,) = dropout_rates(name, num_classes)
    x = dropout(rate, dropout_rate)(layers.GlobalAveragePooling2D(dtype="float32")(x))
    probabilities = layers.Activation("softmax", dtype="float32", name="probabilities")
    return keras.Model(inputs, probabilities(layers.Dense(num_classes)(x)), name=name)


def residual_block(x: keras.KerasTensor, filters: int, strides: int, skipped: float) -> keras.KerasTensor:
    """Two convolutions, added to their input; that goes through one of 1x1 pixels where the shape changes.

    Args:
        skipped: share of images for which the block gives its shortcut alone, in training.
    """
    y = layers.Activation("relu")(convolved(x, filters, strides))
    y = convolved(y, filters)
    if skipped:
        y = layers.Dropout(skipped, noise_shape=(None, 1, 1, 1))(y)
    shortcut = x if strides == 1 and x.shape[-1] == filters else convolved(x, filters, strides, kernel_size=1)
    return layers.Activation("relu")(layers.Add()([shortcut, y]))


def convolved(x: keras.KerasTensor, filters: int, strides: int = 1, kernel_size: int = 3) -> keras.KerasTensor:
    convolution = layers.Conv2D(
        filters, kernel_size, strides, padding="same", use_bias=False, kernel_initializer="he_normal"
    )
    return layers.BatchNormalization(momentum=MOMENTUM)(convolution(x))
