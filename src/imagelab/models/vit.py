"""A small vision transformer to train from scratch: no library offers weights for it that Keras can load.

Positions come from a depthwise convolution over the patches and the output is their average, with no class token, as
in conditional positional encodings (Chu et al., 2023): any image size fits, and every layer is one of Keras's own.
"""

from typing import Any

import keras
from keras import layers

from imagelab.models.transfer import transfer_network

PATCH = 4  # pixels
WIDTH, DEPTH, ATTENTION_HEADS = 192, 6, 3


def build(
    image_shape: tuple[int, int, int], num_classes: int, dropout_rate: float | None = None, **options: Any
) -> keras.Model:
    """Patches of 4x4 pixels, six pre-norm blocks of width 192 with 3 heads (about 2.7 M parameters)."""
    return transfer_network("vit", vision_transformer, image_shape, num_classes, dropout_rate, **options)


def vision_transformer(include_top: bool, weights: str | None, input_shape: tuple[int, int, int]) -> keras.Model:
    """Take what an application of keras.applications takes; give maps (patches down, patches across, WIDTH).

    Raises:
        ValueError: ImageNet weights are asked for; there are none.
    """
    if weights is not None:
        raise ValueError("there are none for this small vision transformer")
    inputs = keras.Input(input_shape)
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.Conv2D(WIDTH, PATCH, strides=PATCH, name="patches")(x)
    rows, columns = x.shape[1:3]
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same", name="positions")(x)])
    x = layers.Reshape((rows * columns, WIDTH))(x)
    for _ in range(DEPTH):
        x = block(x)
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    return keras.Model(inputs, layers.Reshape((rows, columns, WIDTH))(x), name="vit")


def block(x: keras.KerasTensor) -> keras.KerasTensor:
    """Attention, then a perceptron four times as wide, each normalised before and added after (Xiong et al., 2020)."""
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([x, layers.MultiHeadAttention(ATTENTION_HEADS, WIDTH // ATTENTION_HEADS)(y, y)])
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    y = layers.Dense(4 * WIDTH, activation="gelu")(y)
    return layers.Add()([x, layers.Dense(WIDTH)(y)])
